/**
 * Invitations: a token that makes whoever shows it a member. Owns the token's form, what the log keeps of it (never its
 * secret) and the rules of joining; a join counts under the session's lock, so that the last use is used once. A token that
 * is forged, used up, expired or revoked, or of a session that is gone, looks all the same.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { OpenInvite, Role } from "../../protocol/content.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { ResultOf, SessionState } from "../../protocol/frames.ts";
import { newId, SESSION_ID } from "../../protocol/ids.ts";
import { roleOf as memberRole } from "../../protocol/state.ts";
import { includes } from "../auth/rights.ts";
import type { Caller } from "./access.ts";
import { command } from "./commands.ts";
import { needRoom } from "./members.ts";
import type { SessionRegistry } from "./registry.ts";
import type { Session } from "./session.ts";

const SECRET_BYTES = 32;
const DAY_MS = 86_400_000;

export interface InviteRequest {
  readonly role: Role;
  readonly expiresInMs?: number | undefined;
  readonly uses?: number | undefined;
}

export interface MemberLimits {
  readonly maxMembers: number;
  readonly maxInvites: number;
}

/** For 7 days and one use, unless told. The token is said once. Throws ProtocolError `conflict` when too many are open. */
export function invite(
  session: Session,
  caller: Caller,
  { role, expiresInMs = 7 * DAY_MS, uses = 1 }: InviteRequest,
  { maxInvites }: MemberLimits,
): Promise<ResultOf<"invite">> {
  return command(session, caller, "invite", async (state) => {
    const now = session.now();
    if (good(state, now).length >= maxInvites) {
      const details = { limit: maxInvites };
      throw new ProtocolError("conflict", `${maxInvites} invitations are open already`, { details });
    }
    const id = newId("inv", now);
    const secret = randomBytes(SECRET_BYTES).toString("base64url");
    const expiresAt = now + expiresInMs;
    const hash = digest(secret).toString("base64url");
    const { seq } = await session.append([
      {
        body: { type: "invite-created", invite: id, role, hash, expiresAt, uses },
        actor: caller.actor,
      },
    ]);
    return { seq, invite: id, token: `${session.id}.${id}.${secret}`, expiresAt };
  });
}

/** Its token is of no use any more. `seq`: of the entry, or the newest one when no such invitation was open. */
export function revokeInvite(session: Session, caller: Caller, id: string): Promise<{ seq: number }> {
  return command(session, caller, "revokeInvite", async (state) => {
    if (!state.invites?.some((open) => open.invite === id)) return { seq: state.seq };
    const { seq } = await session.append([
      { body: { type: "invite-revoked", invite: id }, actor: caller.actor },
    ]);
    return { seq };
  });
}

/**
 * Makes the caller a member. Takes nothing from a member: one whose role the invitation would not raise keeps it, and uses
 * nothing up; so a repetition is answered like the first. Throws ProtocolError `not-found`, `conflict` (too many members).
 */
export async function join(
  registry: SessionRegistry,
  caller: Caller,
  token: string,
  { maxMembers }: MemberLimits,
): Promise<ResultOf<"join">> {
  const [id = "", name = "", secret = "", ...more] = token.split(".");
  if (!SESSION_ID.test(id) || more.length > 0) throw noInvitation();
  try {
    return await registry.with(id, (session) =>
      session.exclusive(async () => {
        const { state } = session;
        const present = memberRole(state, caller.actor.id);
        const open = good(state, session.now()).find((item) => item.invite === name && opens(item, secret));
        if (present !== undefined && (open === undefined || !raises(open.role, present)))
          return { session: id, role: present, seq: state.seq };
        if (open === undefined) throw noInvitation();
        if (present === undefined) needRoom(state, maxMembers);
        const { role } = open;
        const body = { type: "member-changed", user: caller.actor.id, role, invite: name } as const;
        const { seq } = await session.append([{ body, actor: caller.actor }]);
        return { session: id, role, seq };
      }),
    );
  } catch (error) {
    if (error instanceof ProtocolError && error.code === "not-found") throw noInvitation();
    throw error;
  }
}

function raises(role: Role, present: Role): boolean {
  return role !== present && includes(role, present);
}

function good(state: SessionState, now: number): OpenInvite[] {
  return (state.invites ?? []).filter(({ expiresAt }) => expiresAt > now);
}

function opens({ hash }: OpenInvite, secret: string): boolean {
  const expected = Buffer.from(hash, "base64url");
  const shown = digest(secret);
  return expected.length === shown.length && timingSafeEqual(expected, shown);
}

function digest(secret: string): Buffer {
  return createHash("sha256").update(secret).digest();
}

function noInvitation(): ProtocolError {
  return new ProtocolError("not-found", "no such invitation");
}
