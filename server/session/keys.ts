/**
 * Which key an entry brings to its session's keys: that of an input, so that it is sent once, and the id of a request
 * that was resolved, so that the way it went is found. Owns that rule; how keys are used is commands.ts's and answer.ts's.
 */
import type { EventFrame } from "../../protocol/entries.ts";
import type { KeyRow } from "../store/store.ts";

/** Whose keys the ids of requests are: nobody's, so that no user's key is one. */
export const REQUESTS = "";

export function keyOf({ event, actor, seq }: EventFrame): KeyRow | undefined {
  if (event.type === "request-resolved") return { user: REQUESTS, key: event.request, seq };
  return event.type === "input-queued" && actor !== undefined
    ? { user: actor.id, key: event.key, seq }
    : undefined;
}
