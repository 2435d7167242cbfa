/**
 * Older messages of a session, read backwards from its log and folded like everything else. Owns paging by seq; never
 * reads more of the log than the page and the results of its calls need, and never the whole of it.
 */
import { decodeTrusted } from "../../protocol/codec.ts";
import type { EventFrame } from "../../protocol/entries.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { HistoryMessage, ResultOf, SessionState } from "../../protocol/frames.ts";
import { fold } from "../../protocol/state.ts";
import type { Store } from "../store/store.ts";
import { frameRoom, newestThatFit } from "./snapshot.ts";

const WINDOW = 250;

/** The `limit` messages before the cursor (the newest without one), oldest first; `cursor` where older ones may be. */
export async function readHistory(
  store: Store,
  state: SessionState,
  cursor: string | undefined,
  limit: number,
): Promise<ResultOf<"history">> {
  const before = cursor === undefined ? state.seq + 1 : Number(cursor);
  if (!Number.isSafeInteger(before) || before < 1)
    throw new ProtocolError("bad-frame", "cursor: not one of ours");
  const first = await firstOf(store, state.session.id, before, limit);
  if (first === undefined) return { items: [] };
  const folded = await foldFrom(store, state, first, before);
  const messages = folded.filter((message) => message.seq < before).slice(-limit);
  const items = newestThatFit(messages, frameRoom());
  const oldest = items[0]!.seq;
  return oldest > 1 ? { items, cursor: String(oldest) } : { items };
}

/** The seq of the oldest of the `limit` messages before `before`. */
async function firstOf(store: Store, id: string, before: number, limit: number): Promise<number | undefined> {
  let first: number | undefined;
  let found = 0;
  for (let end = before - 1; end > 0; end -= WINDOW) {
    const start = Math.max(0, end - WINDOW);
    const entries = await store.read(id, start, end - start);
    for (const { seq, bytes } of entries.toReversed()) {
      if ((decodeTrusted(bytes) as EventFrame).event.type !== "message") continue;
      first = seq;
      if (++found === limit) return first;
    }
  }
  return first;
}

/**
 * The messages from seq `first` on, with the results of their calls, and whether they were rolled back: both may be said
 * beyond the page.
 */
async function foldFrom(
  store: Store,
  state: SessionState,
  first: number,
  before: number,
): Promise<readonly HistoryMessage[]> {
  const { run: _run, compacted: _compacted, ...rest } = state;
  let folded: SessionState = { ...rest, seq: first - 1, queue: [], calls: [], requests: [], messages: [] };
  /** Whether a run has begun or ended beyond the page: the run of its last message is over. */
  let isOver = false;
  while (folded.seq < state.seq) {
    const open = folded.calls.some((call) => messageSeq(folded, call.message) < before);
    if (folded.seq >= before - 1 && isOver && !open) break;
    const page = await store.read(state.session.id, folded.seq, Math.min(WINDOW, state.seq - folded.seq));
    if (page.length === 0) break;
    for (const { seq, bytes } of page) {
      const entry = decodeTrusted(bytes) as EventFrame;
      // What was compacted is history all the same. Messages after the page would push it out of what a state keeps.
      const { type } = entry.event;
      if (seq >= before && (type === "run-finished" || type === "run-started")) isOver = true;
      const passed = type === "compacted" || (type === "message" && seq >= before);
      folded = passed ? { ...folded, seq } : fold(folded, entry);
    }
  }
  return folded.messages;
}

function messageSeq(state: SessionState, id: string): number {
  return state.messages.find((message) => message.id === id)?.seq ?? 0;
}
