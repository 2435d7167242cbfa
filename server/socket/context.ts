/**
 * What every handler is given and the two ways into a session. Owns those shapes; what a request means is the handler's.
 */
import type { ClientFrameOf, RequestType, ResultOf } from "../../protocol/frames.ts";
import type { Runtime } from "../runtime.ts";
import { mayEnter, notFound } from "../session/access.ts";
import type { Caller } from "../session/access.ts";
import type { Session } from "../session/session.ts";
import type { Identity } from "../auth/identity.ts";
import type { Connection } from "./connection.ts";

/** What a handler knows of who asks. */
export interface Context {
  readonly runtime: Runtime;
  readonly connection: Connection;
  readonly identity: Identity;
  readonly caller: Caller;
  /** Sessions that this connection reads, by id. */
  readonly attached: Map<string, Session>;
  /** Late results of this connection that its sessions' logs have noted. */
  readonly audited: Set<string>;
}

/** Resolves with what `ok` carries; or calls `reply` itself, when frames must follow the answer at once. */
export type Handler<T extends Exclude<RequestType, "hello">> = (
  context: Context,
  frame: ClientFrameOf<T>,
  reply: (result: ResultOf<T>) => void,
) => Promise<ResultOf<T> | undefined>;

/** The session, held in memory while `use` runs. Throws `not-found` when there is none for this caller. */
export function enter<T>(
  { runtime, caller }: Context,
  id: string,
  use: (session: Session) => Promise<T>,
): Promise<T> {
  return runtime.registry.with(id, (session) => {
    if (!mayEnter(caller, session.state.members)) throw notFound(id);
    return use(session);
  });
}

/** For commands, which check under the session's lock whether the caller may enter. */
export function command<T>(
  { runtime }: Context,
  id: string,
  run: (session: Session) => Promise<T>,
): Promise<T> {
  return runtime.registry.with(id, run);
}
