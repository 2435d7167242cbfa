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
    const size = partSize(part);
    bytes += size.bytes;
    items += size.items;
  }
  const size = { bytes, items };
  sizes.set(message, size);
  return size;
}

/** The message with another part in one place; its size follows from the one that is known. */
export function withPart(message: HistoryMessage, at: number, part: MessagePart): HistoryMessage {
  const changed = { ...message, parts: message.parts.with(at, part) };
  const known = sizes.get(message);
  const before = message.parts[at];
  if (known === undefined || before === undefined) return changed;
  const [old, size] = [partSize(before), partSize(part)];
  sizes.set(changed, {
    bytes: known.bytes + size.bytes - old.bytes,
    items: known.items + size.items - old.items,
  });
  return changed;
}

function partSize(part: MessagePart): MessageSize {
  let size = sizes.get(part);
  if (size === undefined) sizes.set(part, (size = measure(part)));
  return size;
}

const totals = new WeakMap<readonly HistoryMessage[], number>();

/** Bytes of all these messages; remembered, because a list of messages never changes either. */
export function totalBytes(messages: readonly HistoryMessage[]): number {
  let total = totals.get(messages);
  if (total === undefined) {
    total = 0;
    for (const message of messages) total += messageSize(message).bytes;
    totals.set(messages, total);
  }
  return total;
}

/** What the messages of a list measure, for who knows it. */
export function rememberTotal(messages: readonly HistoryMessage[], bytes: number): void {
  totals.set(messages, bytes);
}

/** The list with one more message at its end. */
export function withLast(messages: readonly HistoryMessage[], message: HistoryMessage): HistoryMessage[] {
  const longer = messages.concat([message]);
  totals.set(longer, totalBytes(messages) + messageSize(message).bytes);
  return longer;
}

/** The list with another message in one place. */
export function withMessageAt(
  messages: readonly HistoryMessage[],
  at: number,
  message: HistoryMessage,
): HistoryMessage[] {
  const changed = messages.with(at, message);
  const before = messages[at];
  if (before !== undefined)
    totals.set(changed, totalBytes(messages) + messageSize(message).bytes - messageSize(before).bytes);
  return changed;
}

/** The list without its first `count` messages, but for those that are kept all the same. */
export function withoutFirst(
  messages: readonly HistoryMessage[],
  count: number,
  isKept: (message: HistoryMessage) => boolean,
): HistoryMessage[] {
  let total = totalBytes(messages);
  const kept: HistoryMessage[] = [];
  for (const message of messages.slice(0, count)) {
    if (isKept(message)) kept.push(message);
    else total -= messageSize(message).bytes;
  }
  const rest = messages.slice(count);
  const shorter = kept.length === 0 ? rest : [...kept, ...rest];
  totals.set(shorter, total);
  return shorter;
}
