/**
 * What callers hand to a store, checked before anything is touched: ids, batches and cursors. Owns the limits that
 * every home shares and the form of a list's cursor. Never looks inside an entry.
 */
import type { AppendItem, IndexRow } from "./store.ts";

/** Milliseconds, epochs and sequence numbers are stored in 48 bits. */
export const MAX_UINT48 = 2 ** 48 - 1;

const ID = /^[A-Za-z0-9_-]{1,64}$/;
const MAX_READERS = 10_000;
const MAX_USER_LENGTH = 1024;
const CURSOR = /^([0-9]{1,15})\.([A-Za-z0-9_-]{1,64})$/;

export interface Cursor {
  readonly updatedAt: number;
  readonly id: string;
}

export function isSessionId(id: string): boolean {
  return ID.test(id);
}

/** Throws TypeError: what agents may be called is what sessions may. */
export function checkAgentName(name: string): void {
  if (!ID.test(name)) throw new TypeError("an agent's name is 1 to 64 of A-Z a-z 0-9 _ -");
}

function isUint48(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= MAX_UINT48;
}

function checkIndex(index: IndexRow): void {
  if (!isUint48(index.updatedAt))
    throw new TypeError("index.updatedAt must be milliseconds, an integer of 48 bits");
  const { readers, owner = "" } = index;
  if (owner.length > MAX_USER_LENGTH)
    throw new TypeError(`index.owner has at most ${MAX_USER_LENGTH} characters`);
  if (readers.length > MAX_READERS || readers.some((reader) => reader.length > MAX_USER_LENGTH)) {
    throw new TypeError(
      `index.readers holds at most ${MAX_READERS} user ids of at most ${MAX_USER_LENGTH} characters`,
    );
  }
}

/** Throws TypeError if the item is not one that a store can take. */
export function checkItem(item: AppendItem): void {
  if (!isSessionId(item.id)) throw new TypeError("a session id is 1 to 64 of A-Z a-z 0-9 _ -");
  if (!isUint48(item.epoch) || item.epoch === 0)
    throw new TypeError("epoch must be a positive integer of 48 bits");
  if (!isUint48(item.expectedSeq)) throw new TypeError("expectedSeq must be an integer of 48 bits");
  const head = item.expectedSeq + item.entries.length;
  if (head > MAX_UINT48) throw new TypeError("seq must fit 48 bits");
  if (item.index !== undefined) checkIndex(item.index);
  for (const row of item.keys ?? []) {
    if (!isUint48(row.seq) || row.seq === 0 || row.seq > head)
      throw new TypeError("a key answers a seq up to the head");
  }
  if (item.tallies?.some(({ user, day }) => user.length > MAX_USER_LENGTH || !isUint48(day)))
    throw new TypeError("a tally is of a user and a day, in ms");
  if (item.create === undefined) return;
  if (item.expectedSeq !== 0) throw new TypeError("a new session starts from expectedSeq 0");
  if (item.entries.length === 0) throw new TypeError("a new session has at least one entry");
  if (item.index === undefined) throw new TypeError("a new session has an index row");
}

/** Throws TypeError if an item is malformed or a session has more than one. Answers the ids of the batch. */
export function checkBatch(batch: readonly AppendItem[]): Set<string> {
  const ids = new Set<string>();
  for (const item of batch) {
    checkItem(item);
    ids.add(item.id);
  }
  if (ids.size !== batch.length) throw new TypeError("a batch holds at most one item of a session");
  return ids;
}

export function encodeCursor(cursor: Cursor): string {
  return `${cursor.updatedAt}.${cursor.id}`;
}

/** Throws RangeError for a cursor that no store made. */
export function decodeCursor(text: string): Cursor {
  const match = CURSOR.exec(text);
  const updatedAt = Number(match?.[1]);
  const id = match?.[2];
  if (id === undefined || !isUint48(updatedAt)) throw new RangeError("unknown cursor");
  return { updatedAt, id };
}
