/**
 * Which requests may be sent again: those that change nothing, and those with a key. Owns that choice; the sending is
 * requests.ts's.
 */
import type { RequestType } from "../protocol/frames.ts";
import type { RequestOptions, RequestPolicy } from "./requests.ts";

const REPEATABLE = new Set<RequestType>([
  "send",
  "cancel",
  "join",
  "answer",
  "forget",
  "markRead",
  "drainProvider",
  "listSessions",
  "search",
  "listRequests",
  "listAllowances",
  "history",
  "listAgents",
  "listTools",
]);

export function policyOf(type: RequestType, fields: object): RequestPolicy {
  const keyed =
    "key" in fields &&
    (type === "send" ||
      type === "retry" ||
      (type === "createSession" && "session" in fields) ||
      (type === "fork" && "newSession" in fields));
  // `reject` asks to be refused at once while a run is open.
  const retry = keyed && !("mode" in fields && fields.mode === "reject");
  return { replay: keyed || REPEATABLE.has(type), retry };
}

export function requestOptions(
  timeoutMs: number | undefined,
  signal: AbortSignal | undefined,
): RequestOptions {
  return { ...(timeoutMs === undefined ? {} : { timeoutMs }), ...(signal === undefined ? {} : { signal }) };
}
