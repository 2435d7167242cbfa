/**
 * Snapshots: a state cut so that it fits one frame. Owns what is left out where it does not; never decides who gets one.
 */
import type {
  HistoryMessage,
  OpenRequest,
  QueuedInput,
  ResultOf,
  SessionState,
} from "../../protocol/frames.ts";
import { messageSize } from "../../protocol/size.ts";
import { cut } from "../../protocol/state.ts";
import type { MessageSize } from "../../protocol/size.ts";
import { cutText, measure } from "../../protocol/values.ts";
import { MAX_FRAME_BYTES, MAX_FRAME_ITEMS, SNAPSHOT_QUEUED_CONTENT } from "../../protocol/version.ts";
import { withNewest } from "./stored.ts";

/** What the frame holds besides the state. */
const ENVELOPE: MessageSize = { bytes: 4096, items: 64 };
/** A part smaller than this stays in a message that is cut. */
const MIN_CUT: MessageSize = { bytes: 1024, items: 16 };
/** What whole requests may take of a snapshot. */
const REQUESTS_ROOM: MessageSize = { bytes: 256 * 1024, items: 4000 };

/**
 * The state as `attach` sends it: queued contents cut, then as many of the last `tail` messages, at most MAX_TAIL, as fit.
 */
export function snapshotFor(state: SessionState, tail: number): NonNullable<ResultOf<"attach">["snapshot"]> {
  const queue = state.queue.map(cutQueued);
  const shown = { ...cut(withNewest(state), tail), queue, requests: cutRequests(state.requests) };
  const base = measure({ ...shown, messages: [] });
  const messages = newestThatFit(shown.messages, frameRoom(base));
  return { epoch: state.epoch, seq: state.seq, state: { ...shown, messages } };
}

/** What a frame has left for messages, beside a body of this size. */
export function frameRoom(body: MessageSize = { bytes: 0, items: 0 }): MessageSize {
  return {
    bytes: MAX_FRAME_BYTES - ENVELOPE.bytes - body.bytes,
    items: MAX_FRAME_ITEMS - ENVELOPE.items - body.items,
  };
}

/**
 * The newest messages that fit the room, in order. The very newest is always there, without those inputs and outputs
 * that do not fit.
 */
export function newestThatFit(messages: readonly HistoryMessage[], room: MessageSize): HistoryMessage[] {
  const fitting: HistoryMessage[] = [];
  let { bytes, items } = room;
  for (const message of messages.toReversed()) {
    const shown = fitting.length === 0 ? fitMessage(message, room) : message;
    const size = messageSize(shown);
    if (fitting.length > 0 && (size.bytes > bytes || size.items > items)) break;
    fitting.push(shown);
    bytes -= size.bytes;
    items -= size.items;
  }
  return fitting.reverse();
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

/** The first requests whole, as far as there is room for them; of the others that they are, and until when. */
function cutRequests(requests: readonly OpenRequest[]): OpenRequest[] {
  let { bytes, items } = REQUESTS_ROOM;
  return requests.map((request) => {
    const size = measure(request);
    bytes -= size.bytes;
    items -= size.items;
    if (bytes >= 0 && items >= 0) return request;
    const { request: id, kind, call, expiresAt } = request;
    return { request: id, kind, ...(call === undefined ? {} : { call }), expiresAt, truncated: true };
  });
}

/** The message, without those inputs and outputs that make it larger than the room, largest first. */
function fitMessage(message: HistoryMessage, room: MessageSize): HistoryMessage {
  const { bytes, items } = messageSize(message);
  let over = Math.max(bytes / room.bytes, items / room.items);
  if (over <= 1) return message;
  const parts = [...message.parts];
  const share = (size: MessageSize): number => Math.max(size.bytes / room.bytes, size.items / room.items);
  const sizes = parts.map((part) => (part.type === "dynamic-tool" ? measure(part) : MIN_CUT));
  const largest = sizes.map((_, index) => index).sort((a, b) => share(sizes[b]!) - share(sizes[a]!));
  for (const index of largest) {
    const part = parts[index]!;
    if (over <= 1 || part.type !== "dynamic-tool" || share(sizes[index]!) <= share(MIN_CUT)) break;
    const { input: _input, output: _output, ...rest } = part;
    parts[index] = { ...rest, truncated: true };
    const size = measure({ ...message, parts });
    over = share(size);
  }
  return { ...message, parts };
}
