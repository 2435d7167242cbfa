/**
 * One append to the embedded store: what must be read before it can be judged, the judgement, the rows it writes.
 * Owns the order of checks (fenced, duplicate, conflict) and which rows follow an index row. Never writes by itself.
 */
import { deleteAsked, putAsked } from "./asked.ts";
import { readError, type Level } from "./directory.ts";
import { putUnindexed } from "./indexing.ts";
import type { Batch } from "./lane.ts";
import {
  EntryEncoder,
  Kind,
  encodeIndex,
  entryKey,
  keyRowKey,
  listKey,
  listPrefix,
  seal,
  sealLiveSession,
  sessionKey,
  uint48,
  unseal,
} from "./layout.ts";
import { deleteOwned, putOwned, type OwnedCounts } from "./owned.ts";
import type { Owner, Owners } from "./owners.ts";
import type { TallyRows } from "./tallies.ts";
import { liveRow, readLast } from "./scan.ts";
import {
  StoreDamagedError,
  type AppendItem,
  type AppendResult,
  type IndexRow,
  type KeyRow,
} from "./store.ts";

/** Where the rows of an owned session stand, so that moving them needs no read. */
export type Listed = Pick<IndexRow, "readers" | "owner" | "updatedAt" | "open"> & { readonly asked: boolean };

/** What the disk says about an item: `duplicate` is the seq of a key, `head` that of a session which exists. */
export interface Prior {
  /** The keys' rows, in the order of the item's keys, so that they are hashed once. */
  readonly keyRows?: readonly Buffer[];
  readonly duplicate?: number;
  readonly head?: number;
  readonly failure?: unknown;
}

export const NOTHING: Prior = {};
const NO_ROWS: readonly Buffer[] = [];
const encoder = new EntryEncoder();

/** Only items that create or bring keys need a read; all of a batch share one. */
export async function readPriors(level: Level, batch: readonly AppendItem[]): Promise<readonly Prior[]> {
  const rows = batch.map(rowsToRead);
  const all = rows.flat();
  if (all.length === 0) return [];
  let values: (Buffer | undefined)[];
  try {
    values = await level.getMany(all);
  } catch (error) {
    const [only, ...others] = batch;
    if (only !== undefined && others.length === 0) return [{ failure: readError(only.id, error) }];
    // A block that cannot be read must not fail the neighbours of the session that it belongs to.
    const alone = await Promise.all(batch.map((item) => readPriors(level, [item])));
    return alone.map(([prior]) => prior ?? NOTHING);
  }
  const priors: Prior[] = [];
  let at = 0;
  for (const item of batch) {
    const keyRows = rows[priors.length] ?? [];
    const found = values.slice(at, (at += keyRows.length));
    const prior = item.create === undefined ? { keyRows } : NOTHING;
    priors.push(found.every(isMissing) ? prior : await priorOf(level, item, keyRows, found));
  }
  return priors;
}

function isMissing(value: Buffer | undefined): boolean {
  return value === undefined;
}

function rowsToRead(item: AppendItem): readonly Buffer[] {
  if (item.create !== undefined) return [sessionKey(Kind.session, item.id), entryKey(item.id, 1)];
  return item.keys === undefined ? NO_ROWS : keyRowsOf(item);
}

function keyRowsOf(item: AppendItem): Buffer[] {
  return (item.keys ?? []).map((row) => keyRowKey(item.id, row.user, row.key));
}

async function priorOf(
  level: Level,
  item: AppendItem,
  rows: readonly Buffer[],
  values: readonly (Buffer | undefined)[],
): Promise<Prior> {
  try {
    if (item.create === undefined) return duplicateIn(item.id, rows, values);
    return await priorOfExisting(level, item, values[0]);
  } catch (error) {
    return { failure: readError(item.id, error) };
  }
}

/** A session that is to be created is there already, or was. */
async function priorOfExisting(level: Level, item: AppendItem, value: Buffer | undefined): Promise<Prior> {
  if (value === undefined) throw new StoreDamagedError(item.id, undefined, "the session's row is missing");
  const row = liveRow(item.id, sessionKey(Kind.session, item.id), value);
  if (row === undefined) return { head: 0 };
  const rows = keyRowsOf(item);
  const head = (await readLast(level, item.id))?.seq ?? 0;
  return { head, ...duplicateIn(item.id, rows, await level.getMany(rows)) };
}

function duplicateIn(id: string, rows: readonly Buffer[], values: readonly (Buffer | undefined)[]): Prior {
  const at = values.findIndex((value) => value !== undefined);
  const row = rows[at];
  const value = values[at];
  return row && value ? { duplicate: readKeySeq(id, row, value) } : NOTHING;
}

export function readKeySeq(id: string, key: Buffer, value: Buffer): number {
  return unseal(id, key, value, "an idempotency key").readUIntBE(0, 6);
}

/** What is read of an item, and what it changes, beside its session's rows. */
export interface Beside {
  readonly prior: Prior;
  readonly tallies: TallyRows;
  readonly owned: OwnedCounts;
}

/**
 * Judges an item and, if it passes, adds its rows to the batch; answers what is true once the batch is written.
 * `afterwards` gets what must be changed in `owners` then.
 */
export function judge(
  batch: Batch,
  owners: Owners<Listed>,
  item: AppendItem,
  { prior, tallies, owned }: Beside,
  afterwards: (() => void)[],
): AppendResult {
  const { id, epoch, create: member } = item;
  const owner = member === undefined ? owners.under(item) : undefined;
  const entitled = member === undefined ? owner !== undefined : owners.alive(member);
  if (!entitled) return { status: "fenced" };
  const failure = prior.failure ?? tallies.failureOf(item.tallies);
  if (failure !== undefined) return { status: "unknown", cause: failure };
  if (prior.duplicate !== undefined) return { status: "duplicate", seq: prior.duplicate };
  const present = owner?.head ?? prior.head;
  if (present !== undefined && (member !== undefined || present !== item.expectedSeq)) {
    return { status: "conflict", head: present };
  }
  const head = item.expectedSeq + item.entries.length;
  putEntries(batch, item);
  tallies.add(batch, item.tallies);
  if (item.keys !== undefined) putKeys(batch, item.keys, prior.keyRows ?? keyRowsOf(item));
  if (item.searchable) putUnindexed(batch, id, head);
  if (item.index !== undefined) putIndex(batch, id, head, item.index, owner?.row);
  const row = item.index && listed(item.index, item.index.requests !== undefined);
  const before = owner?.row;
  afterwards.push(() => {
    if (row !== undefined) owned.changed(before?.owner, row.owner);
    if (owner !== undefined) advance(owner, head, row);
    else if (member && row && owners.alive(member)) owners.admit(id, { member, epoch, head, row });
  });
  return { status: "ok", seq: head };
}

function advance(owner: Owner<Listed>, head: number, row: Listed | undefined): void {
  owner.head = head;
  if (row !== undefined) owner.row = row;
}

/** `asked`: whether there are rows of open requests. */
export function listed(index: IndexRow, asked: boolean): Listed {
  const { readers, owner, updatedAt, open } = index;
  return { readers: [...readers], updatedAt, open, asked, ...(owner === undefined ? {} : { owner }) };
}

function putEntries(batch: Batch, item: AppendItem): void {
  const { id, epoch } = item;
  let seq = item.expectedSeq;
  for (const bytes of item.entries) {
    encoder.encode(id, epoch, ++seq, bytes);
    batch.put(encoder.key, encoder.value);
  }
}

function putKeys(batch: Batch, keys: readonly KeyRow[], rows: readonly Buffer[]): void {
  keys.forEach(({ seq }, at) => {
    const row = rows[at];
    if (row !== undefined) batch.put(row, seal(row, uint48(seq)));
  });
}

function putIndex(batch: Batch, id: string, head: number, index: IndexRow, before: Listed | undefined): void {
  const bytes = encodeIndex(index);
  const sessionRow = sessionKey(Kind.session, id);
  batch.put(sessionRow, sealLiveSession(sessionRow, head, bytes));
  if (before !== undefined) deleteListed(batch, id, before);
  for (const reader of [undefined, ...index.readers]) {
    const key = listKey(listPrefix(reader), index.updatedAt, id);
    batch.put(key, seal(key, bytes));
  }
  const openRow = sessionKey(Kind.open, id);
  if (index.open) batch.put(openRow, seal(openRow));
  putAsked(batch, id, index);
  putOwned(batch, id, index);
}

/** Removes the list rows and the marks of an open session. Within a batch a later put of the same key wins. */
export function deleteListed(batch: Batch, id: string, before: Listed): void {
  for (const reader of [undefined, ...before.readers])
    batch.del(listKey(listPrefix(reader), before.updatedAt, id));
  if (before.open) batch.del(sessionKey(Kind.open, id));
  deleteOwned(batch, id, before.owner);
  if (before.asked) deleteAsked(batch, id, before.readers);
}
