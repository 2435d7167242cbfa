/**
 * Looks at every row of an open data directory and tells what is wrong, a session at a time, so that memory does not grow
 * with the store. Owns what rows owe to each other: checksums, order, lists, marks, keys, tombstones. What entries mean
 * is asked of an Audit. Never writes and never repairs.
 */
import type { Level } from "./directory.ts";
import { Kind, keyRowKey, rangeOf, readEntry, readSessionRow, sessionKey, unseal } from "./layout.ts";
import type { Entry, SessionRow } from "./layout.ts";
import { inspectAgents } from "./agents.ts";
import { readKeySeq } from "./append.ts";
import { wrongAsked } from "./asked.ts";
import { inspectSearch } from "./inspect-search.ts";
import { guard, rowsOf, type Report } from "./rows.ts";
import { inspectMarks } from "./marks.ts";
import { inspectLists, inspectStrays, wrongRows } from "./strays.ts";
import type { IndexRow } from "./store.ts";
import { inspectTallies } from "./tallies.ts";

/** What someone who understands entries makes of one session; each answer is a list of problems. */
export interface Audit {
  /** The next entry, seq after seq, until one is missing. */
  entry(seq: number, entry: Entry): readonly string[];
  /** The idempotency key that an entry brought. */
  keyOf(entry: Entry): { readonly user: string; readonly key: string } | undefined;
  /** After the last entry of a log without gaps. */
  end(index: IndexRow): readonly string[];
  /** What the rows of open requests should say then. */
  requests(): Uint8Array | undefined;
}

export interface StoredState {
  readonly seq: number;
  readonly body: Uint8Array;
}

export interface Totals {
  sessions: number;
  entries: number;
  /** Ids that were used and deleted, and those of them whose rows the next start goes on to take off the disk. */
  deleted: number;
  purging: number;
  faults: number;
}

/** Resolves when every row was looked at. Rejects only when the store is out of work. */
export async function inspect(
  level: Level,
  audit: (id: string, snapshot: StoredState | undefined) => Audit,
  report: Report,
): Promise<Totals> {
  const totals: Totals = { sessions: 0, entries: 0, deleted: 0, purging: 0, faults: 0 };
  const count: Report = (fault) => {
    totals.faults++;
    report(fault);
  };
  await rowsOf(level, rangeOf(Kind.session), {}, count, async (key, value) => {
    const id = key.toString("latin1", 1, key.length - 1);
    const row = guard(id, count, () => readSessionRow(id, key, value));
    if (row !== undefined && "deletedAt" in row) {
      totals.deleted++;
      if ((await level.get(sessionKey(Kind.purge, id))) !== undefined) totals.purging++;
      return;
    }
    totals.sessions++;
    const about: Report = ({ seq, problem }) =>
      count({ session: id, ...(seq === undefined ? {} : { seq }), problem });
    await inspectSession(level, id, row, audit, totals, about);
  });
  await inspectLists(level, count);
  await inspectStrays(level, count);
  await inspectTallies(level, count);
  await inspectMarks(level, count);
  await inspectAgents(level, count);
  await inspectSearch(level, count);
  return totals;
}

async function inspectSession(
  level: Level,
  id: string,
  row: Extract<SessionRow, { head: number }> | undefined,
  audit: (id: string, snapshot: StoredState | undefined) => Audit,
  totals: Totals,
  report: Report,
): Promise<void> {
  const snapshot = await readSlots(level, id, report);
  const auditor = audit(id, snapshot);
  const log = await inspectLog(level, id, auditor, report);
  totals.entries += log.entries;
  if (snapshot !== undefined && snapshot.seq > log.head)
    report({ seq: log.head + 1, problem: "the log ends before its snapshot" });
  if (row === undefined) return;
  if (log.head < row.head) report({ seq: log.head + 1, problem: "the end of the log is missing" });
  else if (log.head === 0) report({ problem: "the session has no entries" });
  else if (log.whole) {
    const asked = await wrongAsked(level, id, row.index.readers, auditor.requests());
    for (const problem of [...auditor.end(row.index), ...asked]) report({ problem });
  }
  for (const problem of await wrongRows(level, id, row.index)) report({ problem });
}

/** The checkpoint's checksum, and the snapshot. */
async function readSlots(level: Level, id: string, report: Report): Promise<StoredState | undefined> {
  const keys = [sessionKey(Kind.snapshot, id), sessionKey(Kind.checkpoint, id)] as const;
  const [snapshot, checkpoint] = await level.getMany([...keys]);
  if (checkpoint) guard(id, report, () => unseal(id, keys[1], checkpoint, "the checkpoint"));
  const body = snapshot && guard(id, report, () => unseal(id, keys[0], snapshot, "the snapshot"));
  return body && { seq: body.readUIntBE(0, 6), body: body.subarray(6) };
}

interface LogSeen {
  /** The last seq there is, whatever is missing before it. */
  readonly head: number;
  readonly entries: number;
  /** Every entry up to it was there and could be read. */
  readonly whole: boolean;
}

async function inspectLog(level: Level, id: string, audit: Audit, report: Report): Promise<LogSeen> {
  let head = 0;
  let epoch = 0;
  let entries = 0;
  let whole = true;
  let keyed = 0;
  const missing = (seq: number, problem: string): void => {
    whole = false;
    report({ seq, problem });
  };
  const read = await rowsOf(level, rangeOf(Kind.entry, id), { session: id }, report, async (key, value) => {
    const seq = key.readUIntBE(key.length - 6, 6);
    if (seq === head + 2) missing(seq - 1, "the entry is missing");
    else if (seq !== head + 1) missing(head + 1, `the entries up to ${seq - 1} are missing`);
    head = seq;
    entries++;
    const entry = guard(id, report, () => readEntry(id, seq, key, value));
    if (entry === undefined) {
      whole = false;
      return;
    }
    if (entry.epoch < epoch) report({ seq, problem: `epoch ${entry.epoch} comes after epoch ${epoch}` });
    ({ epoch } = entry);
    if (whole) for (const problem of audit.entry(seq, entry)) report({ seq, problem });
    const used = audit.keyOf(entry);
    if (used === undefined) return;
    keyed++;
    const row = keyRowKey(id, used.user, used.key);
    const stored = await level.get(row);
    const problem = stored === undefined ? "its idempotency key is missing" : "its idempotency key answers";
    if (stored === undefined) report({ seq, problem });
    else {
      const answer = guard(id, report, () => readKeySeq(id, row, stored));
      if (answer !== undefined && answer !== seq) report({ seq, problem: `${problem} entry ${answer}` });
    }
  });
  if (!read) whole = false;
  await inspectKeys(level, id, audit, keyed, report);
  return { head, entries, whole };
}

/** Every key's row leads to the entry that brought it. Looked at one by one only if there are more rows than keys. */
async function inspectKeys(
  level: Level,
  id: string,
  audit: Audit,
  keyed: number,
  report: Report,
): Promise<void> {
  let rows = 0;
  for await (const _ of level.keys(rangeOf(Kind.key, id))) rows++;
  if (rows <= keyed) return;
  await rowsOf(level, rangeOf(Kind.key, id), { session: id }, report, async (key, value) => {
    const seq = guard(id, report, () => readKeySeq(id, key, value));
    if (seq === undefined) return;
    const entryKey = Buffer.concat([sessionKey(Kind.entry, id), Buffer.alloc(6)]);
    entryKey.writeUIntBE(seq, entryKey.length - 6, 6);
    const stored = await level.get(entryKey);
    const entry =
      stored &&
      guard(
        id,
        () => {},
        () => readEntry(id, seq, entryKey, stored),
      );
    const used = entry && audit.keyOf(entry);
    if (used === undefined || !keyRowKey(id, used.user, used.key).equals(key))
      report({ seq, problem: "an idempotency key answers with an entry that did not bring it" });
  });
}
