/**
 * Which idempotency key an entry brought: so keys can be written again with a log that comes from elsewhere, and checked
 * against it. Owns that rule; how keys are used is commands.ts's.
 */
import type { EventFrame } from "../../protocol/entries.ts";

export function keyOf({
  event,
  actor,
}: EventFrame): { readonly user: string; readonly key: string } | undefined {
  return event.type === "input-queued" && actor !== undefined
    ? { user: actor.id, key: event.key }
    : undefined;
}
