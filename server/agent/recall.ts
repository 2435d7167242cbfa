/**
 * What a model's provider wants to see again (signatures of reasoning, of calls) and which calls it executed itself: kept
 * in the message as one `data-model` part that names parts by their index. Owns that part's form; what is in it is
 * opaque, goes back into the prompt only, and is nothing a client needs.
 */
import type { DataPart, JsonValue, MessagePart } from "../../protocol/content.ts";

const TYPE = "data-model";

/** Of one message part: `state` as the model gave it, `executed` for a call that its provider ran. */
export interface Recalled {
  readonly part: number;
  readonly state?: JsonValue;
  readonly executed?: true;
}

export function recallPart(parts: readonly Recalled[]): DataPart {
  return { type: TYPE, data: { parts: parts.map((part) => ({ ...part })) } };
}

/** By the index of the part. What cannot be read is left out: another version may have written it. */
export function recall(parts: readonly MessagePart[]): Map<number, Recalled> {
  const found = new Map<number, Recalled>();
  for (const part of parts) {
    if (part.type !== TYPE) continue;
    const { data } = part;
    const listed = typeof data === "object" && data !== null && "parts" in data ? data["parts"] : undefined;
    for (const each of Array.isArray(listed) ? listed : []) {
      const recalled = each as Partial<Recalled> | null;
      if (typeof recalled?.part === "number") found.set(recalled.part, recalled as Recalled);
    }
  }
  return found;
}
