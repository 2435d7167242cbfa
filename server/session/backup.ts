/**
 * A backup of all sessions while they are in use: the logs, id after id, a page at a time, then what users used. Owns what a
 * page holds and its cursor; nothing is kept between pages. Logs only grow, so a log read to its end is whole as of that
 * moment. Never loads a session and never waits for one.
 */
import type { ResultOf } from "../../protocol/frames.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import { SESSION_ID } from "../../protocol/ids.ts";
import { EncodedFrame } from "../../protocol/codec.ts";
import { StoreDamagedError, type Store } from "../store/store.ts";
import type { Subscriber } from "./subscriber.ts";

/** What one page may send before it is answered. */
const PAGE_BYTES = 512 * 1024;
const PAGE_SESSIONS = 500;
const READ_ENTRIES = 250;
const READ_BYTES = 128 * 1024;
const PAGE_TALLIES = 500;
/** What begins the cursor of a page of tallies: no id does. */
const TALLIES = "=";

/** Sends the entries of the next sessions to the reader and answers which are complete. Throws ProtocolError. */
export async function backUp(
  store: Store,
  reader: Pick<Subscriber, "deliver" | "room" | "gone">,
  cursor: string | undefined,
): Promise<ResultOf<"backup">> {
  if (store.survey === undefined)
    throw new ProtocolError("unknown-frame", "this store has a backup of its own");
  if (cursor?.startsWith(TALLIES)) return tallyPage(store, cursor);
  const start = decodeCursor(cursor);
  const ids = await store.survey(start.id, PAGE_SESSIONS);
  const sessions: ResultOf<"backup">["sessions"] = [];
  let bytes = 0;
  for (const [at, { id, deletedAt }] of ids.entries()) {
    // A session that was begun on the page before and deleted meanwhile is named like any other.
    if (deletedAt !== undefined) {
      sessions.push({ session: id, deletedAt });
      continue;
    }
    let seq = id === start.id ? start.seq : 0;
    for (;;) {
      if (bytes >= PAGE_BYTES) return { sessions, cursor: `${id}.${seq}` };
      const read = await readSome(store, id, seq);
      for (const frame of read.frames) {
        const room = reader.room();
        if (room !== undefined) await room;
        if (reader.gone) return { sessions };
        reader.deliver(frame);
        bytes += frame.bytes.length;
        seq++;
      }
      if (read.damaged) sessions.push({ session: id, head: seq, damaged: true });
      if (read.damaged) break;
      if (!read.ended) continue;
      // A deletion ends a log like any other end: look again.
      const [now] = await store.survey(id, 1);
      const gone = now?.id === id ? now.deletedAt : undefined;
      sessions.push(gone === undefined ? { session: id, head: seq } : { session: id, deletedAt: gone });
      break;
    }
    const next = ids[at + 1];
    if (next !== undefined && bytes >= PAGE_BYTES) return { sessions, cursor: `${next.id}.0` };
  }
  const last = ids.at(-1);
  // The least id after it.
  if (last !== undefined && ids.length === PAGE_SESSIONS) return { sessions, cursor: `${last.id}-.0` };
  return { sessions, cursor: TALLIES };
}

async function tallyPage(store: Store, cursor: string): Promise<ResultOf<"backup">> {
  const [, day, user = ""] = /^=(?:(\d{1,15})\.(.+))?$/su.exec(cursor) ?? refuse();
  const after = day === undefined ? undefined : { user, day: Number(day) };
  const tallies = [...((await store.tallies?.(after, PAGE_TALLIES)) ?? [])];
  const last = tallies.at(-1);
  if (last === undefined || tallies.length < PAGE_TALLIES) return { sessions: [], tallies };
  return { sessions: [], tallies, cursor: `${TALLIES}${last.day}.${last.user}` };
}

async function readSome(
  store: Store,
  id: string,
  afterSeq: number,
): Promise<{ frames: EncodedFrame[]; ended: boolean; damaged: boolean }> {
  try {
    const entries = await store.read(id, afterSeq, READ_ENTRIES, READ_BYTES);
    return {
      frames: entries.map(({ bytes }) => new EncodedFrame(bytes)),
      ended: entries.length === 0,
      damaged: false,
    };
  } catch (error) {
    if (!(error instanceof StoreDamagedError)) throw error;
    // One by one up to the damage.
    const frames: EncodedFrame[] = [];
    try {
      for (;;) {
        const [entry] = await store.read(id, afterSeq + frames.length, 1);
        if (entry === undefined) break;
        frames.push(new EncodedFrame(entry.bytes));
      }
    } catch (again) {
      if (!(again instanceof StoreDamagedError)) throw again;
    }
    return { frames, ended: true, damaged: true };
  }
}

function decodeCursor(cursor: string | undefined): { id: string; seq: number } {
  if (cursor === undefined) return { id: "", seq: 0 };
  const [id = "", rest = ""] = cursor.split(".");
  // One character more than an id may have: the place after the last id of a page.
  if (!SESSION_ID.test(id.slice(0, 64)) || id.length > 65 || !/^\d{1,15}$/.test(rest)) refuse();
  return { id, seq: Number(rest) };
}

function refuse(): never {
  throw new ProtocolError("bad-frame", "cursor: not one of ours");
}
