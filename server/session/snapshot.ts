/**
 * Snapshots: a state cut so that it fits one frame, and the folded state that the store keeps so that a session need not
 * be folded from its first entry. Owns both forms; never decides when one is taken.
 */
import { decodeTrusted, encodeFrame } from "../../protocol/codec.ts";
import type { HistoryMessage, QueuedInput, ResultOf, SessionState } from "../../protocol/frames.ts";
import { cut, messageBytes } from "../../protocol/state.ts";
import { cutText, measure } from "../../protocol/values.ts";
import { MAX_FRAME_BYTES, SNAPSHOT_QUEUED_CONTENT } from "../../protocol/version.ts";

/** What the frame holds besides the state. */
const ENVELOPE_BYTES = 4096;
/** Raised whenever fold changes what it makes of entries; an older body is then folded anew. */
const FOLD_VERSION = 1;

/** The state as `attach` sends it: queued contents cut, then as many of the last `tail` messages as fit. */
export function snapshotFor(state: SessionState, tail: number): NonNullable<ResultOf<"attach">["snapshot"]> {
  const queue = state.queue.map(cutQueued);
  let shown = { ...cut(state, tail), queue };
  let room = MAX_FRAME_BYTES - ENVELOPE_BYTES - measure({ ...shown, messages: [] }).bytes;
  const messages: HistoryMessage[] = [];
  for (const message of shown.messages.toReversed()) {
    const bytes = messageBytes(message);
    if (bytes <= room) {
      messages.push(message);
      room -= bytes;
      continue;
    }
    // The newest message is always there, without what does not fit; older ones are had by `history`.
    if (messages.length === 0) messages.push(fitMessage(message, room));
    break;
  }
  shown = { ...shown, messages: messages.reverse() };
  return { epoch: state.epoch, seq: state.seq, state: shown };
}

function cutQueued(item: QueuedInput): QueuedInput {
  if (typeof item.content === "string") {
    if (item.content.length <= SNAPSHOT_QUEUED_CONTENT) return item;
    return { ...item, content: cutText(item.content, SNAPSHOT_QUEUED_CONTENT), truncated: true };
  }
  if (measure(item.content).bytes <= SNAPSHOT_QUEUED_CONTENT) return item;
  const text = item.content.map((part) => (part.type === "text" ? part.text : `[${part.type}]`)).join(" ");
  return { ...item, content: cutText(text, SNAPSHOT_QUEUED_CONTENT), truncated: true };
}

/** The message with the inputs and outputs left out that make it larger than `room` bytes, largest first. */
export function fitMessage(message: HistoryMessage, room: number): HistoryMessage {
  const parts = [...message.parts];
  let bytes = messageBytes(message);
  while (bytes > room) {
    let largest = -1;
    let size = 1024;
    for (const [index, part] of parts.entries()) {
      if (part.type !== "dynamic-tool") continue;
      const own = measure(part).bytes;
      if (own > size) [largest, size] = [index, own];
    }
    const part = parts[largest];
    if (part?.type !== "dynamic-tool") break;
    const { input: _input, output: _output, ...rest } = part;
    parts[largest] = { ...rest, truncated: true };
    bytes -= size - measure(parts[largest]).bytes;
  }
  return { ...message, parts };
}

export function encodeState(state: SessionState): Uint8Array {
  return encodeFrame({ fold: FOLD_VERSION, state });
}

/** undefined: made by another version of fold, of no use. */
export function decodeState(body: Uint8Array): SessionState | undefined {
  const { fold, state } = decodeTrusted(body) as { fold: number; state: SessionState };
  return fold === FOLD_VERSION ? state : undefined;
}
