/**
 * What every handler is given. Owns those shapes; what a request means is the handler's, who may send it was asked before
 * (dispatch.ts).
 */
import type { ClientFrameOf, RequestType, ResultOf } from "../../protocol/frames.ts";
import type { Runtime } from "../runtime.ts";
import type { Session } from "../session/session.ts";
import type { Identity } from "../auth/identity.ts";
import type { FRAME_RIGHTS } from "../auth/rights.ts";
import type { Connection } from "./connection.ts";

/** What a handler knows of who asks. */
export interface Context {
  readonly runtime: Runtime;
  readonly connection: Connection;
  /** As it is now: rights change while a connection lasts. */
  readonly identity: Identity;
  /** Sessions that this connection reads, by id. */
  readonly attached: Map<string, Session>;
  /** Late results of this connection that its sessions' logs have noted. */
  readonly audited: Set<string>;
  /** Attempts that its provider named when it returned. */
  readonly returned: Set<string>;
}

/** The session that a frame is about, where the table asks for a role in it. */
export type SessionOf<T extends RequestType> = (typeof FRAME_RIGHTS)[T] extends { readonly roles: unknown }
  ? ClientFrameOf<T> extends { session: string }
    ? Session
    : Session | undefined
  : undefined;

/**
 * Resolves with what `ok` carries; or calls `reply` itself, when frames must follow the answer at once. The session is held
 * in memory meanwhile. Called again with the session as it is then, if that leaves memory under it.
 */
export type Handler<T extends Exclude<RequestType, "hello">> = (
  context: Context,
  frame: ClientFrameOf<T>,
  session: SessionOf<T>,
  reply: (result: ResultOf<T>) => void,
) => Promise<ResultOf<T> | undefined>;
