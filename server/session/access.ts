/**
 * Who may do what in a session. Owns the one decision, from its members, the server rights of who asks and the table of
 * frames (auth/rights.ts). What one may not read looks like what does not exist: `not-found`, in the same words; what one
 * may read but not do is `forbidden`.
 */
import type { Role } from "../../protocol/content.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { ClientFrameType, SessionState } from "../../protocol/frames.ts";
import { roleOf as memberRole } from "../../protocol/state.ts";
import { floorOf } from "../../protocol/queue.ts";
import { allows, type Identity } from "../auth/identity.ts";
import { includes, rightOf } from "../auth/rights.ts";

type Members = Pick<SessionState, "members">;

/** Somebody who asks: their actor, and their rights on the server. */
export type Caller = Pick<Identity, "actor" | "rights">;

/** What the caller is here: `admin` acts as owner, `watch` reads; undefined for one who may not even read. */
export function roleOf(caller: Caller, state: Members): Role | undefined {
  if (allows(caller, "admin")) return "owner";
  return memberRole(state, caller.actor.id) ?? (allows(caller, "watch") ? "viewer" : undefined);
}

/** Whether the caller may do what the role may. */
export function mayAs(role: Role, caller: Caller, state: Members): boolean {
  const own = roleOf(caller, state);
  return own !== undefined && includes(own, role);
}

export function mayRead(caller: Caller, state: Members): boolean {
  return roleOf(caller, state) !== undefined;
}

/**
 * `about`: the user that the frame names. Throws ProtocolError `not-found` (may not read), `forbidden` (may read, not do
 * this).
 */
export function authorize(caller: Caller, state: SessionState, frame: ClientFrameType, about?: string): void {
  if (!mayRead(caller, state)) throw notFound(state.session.id);
  const right = rightOf(frame);
  const own = about === caller.actor.id ? right.ownRoles : undefined;
  const roles = own ?? right.roles ?? [];
  if (roles.some((role) => mayAs(role, caller, state))) return;
  throw forbidden(`${frame} needs the role ${roles.join(" or ")} here`);
}

/** Why the caller may not send now; undefined: they may, as far as the floor goes. */
export function refusedByFloor(state: SessionState, caller: Caller): ProtocolError | undefined {
  const floor = floorOf(state);
  const refused =
    floor.mode === "owner-only"
      ? roleOf(caller, state) !== "owner"
      : floor.mode === "hand" && floor.holder !== caller.actor.id;
  if (!refused) return undefined;
  const text = floor.mode === "hand" ? "somebody else has the floor, or nobody" : "only owners send now";
  return new ProtocolError("forbidden", text, { details: { floor: { ...floor } } });
}

export function forbidden(message: string): ProtocolError {
  return new ProtocolError("forbidden", message);
}

export function unknownAgent(name: string): ProtocolError {
  return new ProtocolError("not-found", `agent '${name}' not registered`, { details: { agent: name } });
}

export function notFound(session: string): ProtocolError {
  return new ProtocolError("not-found", `no session ${session}`, { details: { session } });
}
