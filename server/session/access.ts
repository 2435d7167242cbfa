/**
 * Who may enter a session. Owns the one rule; what one may not see looks like `not-found`, so callers answer that for
 * both. In this version a session is its owner's alone, and in auth mode `none` everyone acts as owner.
 */
import type { Actor } from "../../protocol/content.ts";
import { ProtocolError } from "../../protocol/errors.ts";

/** Somebody who asks: their actor, and whether they hold every right (admin, or no authentication at all). */
export interface Caller {
  readonly actor: Actor;
  readonly everything: boolean;
}

export function mayEnter(caller: Caller, members: Readonly<Record<string, string>>): boolean {
  return caller.everything || Object.hasOwn(members, caller.actor.id);
}

export function notFound(session: string): ProtocolError {
  return new ProtocolError("not-found", `no session ${session}`, { details: { session } });
}
