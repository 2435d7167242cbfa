/**
 * The floor of a session: who may send now. Owns the rules of setting and passing it; in which order inputs are taken is
 * fold's (protocol/queue.ts), and what is queued already stays whatever the floor is.
 */
import type { Floor as FloorState } from "../../protocol/content.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { SessionState } from "../../protocol/frames.ts";
import { floorOf } from "../../protocol/queue.ts";
import { forbidden, mayAs, roleOf } from "./access.ts";
import type { Caller } from "./access.ts";
import { closed, command } from "./commands.ts";
import type { Session } from "./session.ts";

/** Throws ProtocolError `bad-frame` (a holder in another mode than `hand`), `conflict` (a holder who may not send). */
export function setFloor(
  session: Session,
  caller: Caller,
  { mode, holder }: FloorState,
): Promise<{ seq: number }> {
  return command(session, caller, "setFloor", async (state) => {
    if (holder !== undefined && mode !== "hand")
      throw new ProtocolError("bad-frame", "holder: only the mode hand has one");
    return change(
      session,
      caller,
      state,
      mode === "hand" ? { mode, holder: holder ?? caller.actor.id } : { mode },
    );
  });
}

/**
 * Gives the floor to somebody, or to nobody. Throws ProtocolError `conflict` (the mode has no holder, or the new one may
 * not send), `forbidden` (somebody else has it).
 */
export function passFloor(
  session: Session,
  caller: Caller,
  to: string | undefined,
): Promise<{ seq: number }> {
  return command(session, caller, "passFloor", async (state) => {
    const { mode, holder } = floorOf(state);
    if (mode !== "hand") throw new ProtocolError("conflict", `nobody holds the floor in the mode ${mode}`);
    const own = caller.actor.id;
    // What nobody holds is there to be taken.
    const free = holder === undefined && (to === undefined || to === own);
    if (holder !== own && !free && roleOf(caller, state) !== "owner")
      throw forbidden(holder === undefined ? "take the floor first" : "somebody else has the floor");
    return change(session, caller, state, { mode, holder: to });
  });
}

async function change(
  session: Session,
  caller: Caller,
  state: SessionState,
  { mode, holder }: FloorState,
): Promise<{ seq: number }> {
  if (state.session.state === "closed") throw closed(session);
  const floor = floorOf(state);
  if (floor.mode === mode && floor.holder === holder) return { seq: state.seq };
  if (holder !== undefined && !maySend(session, state, caller, holder))
    throw new ProtocolError("conflict", `${holder} may not send here`, { details: { user: holder } });
  const body = { type: "floor-changed", mode, ...(holder === undefined ? {} : { holder }) } as const;
  const { seq } = await session.append([{ body, actor: caller.actor }]);
  return { seq };
}

/** By membership, or by the rights that they are here with. */
function maySend(session: Session, state: SessionState, caller: Caller, user: string): boolean {
  const member = { actor: { ...caller.actor, id: user }, rights: [] };
  const here = user === caller.actor.id ? caller : session.presence.find(user);
  return mayAs("editor", here ?? member, state);
}
