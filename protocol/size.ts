/**
 * How large a message is, for what must fit into a frame or a state. Owns what is remembered of it; the measure itself is
 * that of payloads (values.ts).
 */
import type { MessagePart } from "./content.ts";
import type { HistoryMessage } from "./frames.ts";
import { measure } from "./values.ts";

export interface MessageSize {
  readonly bytes: number;
  readonly items: number;
}

const sizes = new WeakMap<HistoryMessage | MessagePart, MessageSize>();

/**
 * Bytes and values of one message; remembered, because a message object never changes. By its parts: each result of a step
 * makes a new message of which one part is new.
 */
export function messageSize(message: HistoryMessage): MessageSize {
  const known = sizes.get(message);
  if (known !== undefined) return known;
  let { bytes, items } = measure({ ...message, parts: [] });
  for (const part of message.parts) {
    let size = sizes.get(part);
    if (size === undefined) sizes.set(part, (size = measure(part)));
    bytes += size.bytes;
    items += size.items;
  }
  const size = { bytes, items };
  sizes.set(message, size);
  return size;
}
