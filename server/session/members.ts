/**
 * Who is a member of a session, and as what. Owns the rules of granting and revoking: there is always an owner, members are
 * bounded, and what stands already is not written again. What the change means for open streams is the feed's and the
 * router's.
 */
import type { Role } from "../../protocol/content.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { SessionState } from "../../protocol/frames.ts";
import { roleOf as memberRole } from "../../protocol/state.ts";
import type { Caller } from "./access.ts";
import { command } from "./commands.ts";
import type { Session } from "./session.ts";

/**
 * Gives a user a role in place of the one they had. `seq` is that of the entry, or the newest one when nothing changed.
 * Throws ProtocolError `conflict` for the last owner, and for one member more than `maxMembers`.
 */
export function grant(
  session: Session,
  caller: Caller,
  user: string,
  role: Role,
  maxMembers: number,
): Promise<{ seq: number }> {
  return command(session, caller, "grant", async (state) => {
    const present = memberRole(state, user);
    if (present === role) return { seq: state.seq };
    if (present === undefined) needRoom(state, maxMembers);
    else needOwnerBeside(state, user);
    const { seq } = await session.append([
      { body: { type: "member-changed", user, role }, actor: caller.actor },
    ]);
    return { seq };
  });
}

/** Ends a membership, anybody's or one's own. `seq` as in `grant`. Throws ProtocolError `conflict` for the last owner. */
export function revoke(session: Session, caller: Caller, user: string): Promise<{ seq: number }> {
  const end = async (state: SessionState): Promise<{ seq: number }> => {
    if (memberRole(state, user) === undefined) return { seq: state.seq };
    needOwnerBeside(state, user);
    const { seq } = await session.append([
      { body: { type: "member-changed", user, role: null }, actor: caller.actor },
    ]);
    return { seq };
  };
  return command(session, caller, "revoke", end, user);
}

/** Throws ProtocolError `conflict` when there is no place for one more. */
export function needRoom({ members }: SessionState, maxMembers: number): void {
  if (Object.keys(members).length >= maxMembers)
    throw new ProtocolError("conflict", `${maxMembers} members are here already`, {
      details: { limit: maxMembers },
    });
}

function needOwnerBeside({ members }: SessionState, user: string): void {
  const others = Object.entries(members).some(([id, role]) => id !== user && role === "owner");
  if (!others)
    throw new ProtocolError("conflict", "a session keeps at least one owner", { details: { user } });
}
