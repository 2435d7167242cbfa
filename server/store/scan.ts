/**
 * Reads of the embedded store that walk over rows: a stretch of a log, its end, a page of a list, the open sessions.
 * Owns the proof that nothing is missing between the rows it answers. Never writes, never looks at grants.
 */
import type { Snapshot } from "classic-level";
import { decodeCursor, encodeCursor } from "./check.ts";
import type { Level } from "./directory.ts";
import {
  Kind,
  entryKey,
  idOfListKey,
  idOfSessionKey,
  listEnd,
  listKey,
  listPrefix,
  rangeOf,
  readEntry,
  readIndex,
  readSessionRow,
  sessionKey,
  unseal,
  type SessionRow,
} from "./layout.ts";
import {
  StoreDamagedError,
  type ListPage,
  type ListQuery,
  type Loaded,
  type Place,
  type StoredEntry,
  type Surveyed,
} from "./store.ts";

/** How many rows cross from the engine at once: more would hold up the event loop. */
const PAGE = 500;
const PAGE_BYTES = 256 * 1024;

export interface Stretch {
  readonly entries: StoredEntry[];
  /** No entry follows these. */
  readonly ended: boolean;
}

export async function readStretch(
  level: Level,
  id: string,
  afterSeq: number,
  bounds: { readonly limit: number; readonly maxBytes: number },
  snapshot?: Snapshot,
): Promise<Stretch> {
  const { limit, maxBytes } = bounds;
  const entries: StoredEntry[] = [];
  let left = maxBytes;
  const rows = level.values({
    gt: entryKey(id, afterSeq),
    lt: rangeOf(Kind.entry, id).lt,
    limit,
    highWaterMarkBytes: Math.min(PAGE_BYTES, maxBytes),
    ...(snapshot && { snapshot }),
  });
  try {
    while (entries.length < limit && left > 0) {
      const values = await rows.nextv(Math.min(PAGE, limit - entries.length));
      if (values.length === 0) return { entries, ended: true };
      for (const value of values) {
        const seq = afterSeq + entries.length + 1;
        // The row's own key is not read: if it is not the one expected here, the checksum differs.
        const { bytes } = readEntry(id, seq, entryKey(id, seq), value);
        entries.push({ seq, bytes });
        left -= bytes.byteLength;
        if (left <= 0) break;
      }
    }
  } finally {
    await rows.close();
  }
  return { entries, ended: false };
}

/** Entries of any sessions, in the order asked; undefined for what is not there. */
export async function readPlaces(
  level: Level,
  places: readonly Place[],
): Promise<(Uint8Array | undefined)[]> {
  const sessions = places.map(({ id }) => sessionKey(Kind.session, id));
  const entries = places.map(({ id, seq }) => entryKey(id, seq));
  const values = await level.getMany([...sessions, ...entries]);
  return places.map(({ id, seq }, at) => {
    const row = liveRow(id, sessions[at]!, values[at]);
    if (row === undefined) return undefined;
    const value = values[places.length + at];
    if (value !== undefined) return readEntry(id, seq, entries[at]!, value).bytes;
    if (seq > 0 && seq <= row.head) throw new StoreDamagedError(id, seq, "the entry is missing");
    return undefined;
  });
}

/** The last entry of a log; undefined: it has none. */
export async function readLast(
  level: Level,
  id: string,
  snapshot?: Snapshot,
): Promise<{ readonly seq: number; readonly epoch: number } | undefined> {
  const rows = level.iterator({
    ...rangeOf(Kind.entry, id),
    reverse: true,
    limit: 1,
    ...(snapshot && { snapshot }),
  });
  try {
    const row = await rows.next();
    if (row === undefined) return undefined;
    const [key, value] = row;
    const seq = key.readUIntBE(key.length - 6, 6);
    return { seq, epoch: readEntry(id, seq, key, value).epoch };
  } finally {
    await rows.close();
  }
}

export type LiveRow = Extract<SessionRow, { readonly head: number }>;

export interface Head {
  readonly row: LiveRow;
  readonly seq: number;
  readonly epoch: number;
}

/** Undefined: no such session, or a deleted one. */
export async function readHead(level: Level, id: string, snapshot: Snapshot): Promise<Head | undefined> {
  const key = sessionKey(Kind.session, id);
  const [value, last] = await Promise.all([level.get(key, { snapshot }), readLast(level, id, snapshot)]);
  const row = liveRow(id, key, value);
  if (row === undefined) {
    if (value === undefined && last !== undefined)
      throw new StoreDamagedError(id, undefined, "the session's row is missing");
    return undefined;
  }
  const head = { row, seq: last?.seq ?? 0, epoch: last?.epoch ?? 0 };
  assertReaches(id, head.seq, row.head);
  return head;
}

/** What a session starts from in memory; undefined: no such session, or a deleted one. */
export async function readLoaded(level: Level, id: string): Promise<Loaded | undefined> {
  return withSnapshot(level, async (view) => {
    const keys = [sessionKey(Kind.snapshot, id), sessionKey(Kind.checkpoint, id)] as const;
    const [head, slots] = await Promise.all([
      readHead(level, id, view),
      level.getMany([...keys], { snapshot: view }),
    ]);
    if (head === undefined) return undefined;
    const snapshot = slots[0] && readSnapshot(id, keys[0], slots[0], head.seq);
    const checkpoint = slots[1] && unseal(id, keys[1], slots[1], "the checkpoint");
    const { seq, epoch, row } = head;
    return {
      head: seq,
      epochAtHead: epoch,
      index: row.index,
      ...(snapshot && { snapshot }),
      ...(checkpoint && { checkpoint }),
    };
  });
}

function readSnapshot(id: string, key: Buffer, value: Buffer, head: number): { seq: number; body: Buffer } {
  const bytes = unseal(id, key, value, "the snapshot");
  const seq = bytes.readUIntBE(0, 6);
  if (seq > head) throw new StoreDamagedError(id, head + 1, "the log ends before its snapshot");
  return { seq, body: bytes.subarray(6) };
}

export function liveRow(id: string, key: Buffer, value: Buffer | undefined): LiveRow | undefined {
  if (value === undefined) return undefined;
  const row = readSessionRow(id, key, value);
  return "head" in row ? row : undefined;
}

/** A log that ends at `seq` is damaged if it is known to have reached further. */
export function assertReaches(id: string, seq: number, known: number): void {
  if (seq < known) throw new StoreDamagedError(id, seq + 1, "the end of the log is missing");
}

/** Work with one consistent view of the store. */
export async function withSnapshot<T>(level: Level, work: (snapshot: Snapshot) => Promise<T>): Promise<T> {
  const snapshot = level.snapshot();
  try {
    return await work(snapshot);
  } finally {
    await snapshot.close();
  }
}

export async function readList(level: Level, query: ListQuery, countRow: () => void): Promise<ListPage> {
  const prefix = listPrefix(query.reader);
  const after = query.cursor === undefined ? undefined : decodeCursor(query.cursor);
  const start = after === undefined ? prefix : listKey(prefix, after.updatedAt, after.id);
  const items: ListPage["items"][number][] = [];
  const rows = level.iterator({
    gt: start,
    lt: listEnd(prefix),
    limit: query.limit + 1,
    highWaterMarkBytes: PAGE_BYTES,
  });
  try {
    while (true) {
      const page = await rows.nextv(PAGE);
      if (page.length === 0) return { items };
      for (const [key, value] of page) {
        countRow();
        const last = items.at(-1);
        if (items.length === query.limit) {
          return last === undefined
            ? { items }
            : { items, cursor: encodeCursor({ updatedAt: last.index.updatedAt, id: last.id }) };
        }
        const id = idOfListKey(prefix, key);
        items.push({ id, index: readIndex(unseal(id, key, value, "a list's row")) });
      }
    }
  } finally {
    await rows.close();
  }
}

/** Ids of the kind's rows, one a session, that `wanted` accepts. */
export async function readIds(
  level: Level,
  kind: Kind,
  limit: number,
  wanted: (id: string) => boolean,
): Promise<string[]> {
  const ids: string[] = [];
  const rows = level.iterator({ ...rangeOf(kind), highWaterMarkBytes: PAGE_BYTES });
  try {
    while (ids.length < limit) {
      const page = await rows.nextv(PAGE);
      if (page.length === 0) break;
      for (const [key, value] of page) {
        const id = idOfSessionKey(key);
        unseal(id, key, value, "a mark");
        if (ids.length < limit && wanted(id)) ids.push(id);
      }
    }
  } finally {
    await rows.close();
  }
  return ids;
}

/** Every id that was ever used, from `from` on; an id whose row is damaged is answered as if it were there. */
export async function readIdsFrom(level: Level, from: string, limit: number): Promise<Surveyed[]> {
  const found: Surveyed[] = [];
  const { lt } = rangeOf(Kind.session);
  const rows = level.iterator({
    gte: sessionKey(Kind.session, from),
    lt,
    limit,
    highWaterMarkBytes: PAGE_BYTES,
  });
  try {
    while (found.length < limit) {
      const page = await rows.nextv(Math.min(PAGE, limit - found.length));
      if (page.length === 0) break;
      for (const [key, value] of page) found.push(surveyed(idOfSessionKey(key), key, value));
    }
  } finally {
    await rows.close();
  }
  return found;
}

function surveyed(id: string, key: Buffer, value: Buffer): Surveyed {
  try {
    const row = readSessionRow(id, key, value);
    return "deletedAt" in row ? { id, deletedAt: row.deletedAt } : { id };
  } catch (error) {
    if (error instanceof StoreDamagedError) return { id };
    throw error;
  }
}
