/**
 * Rows that stand beside a session's log: its rows in the lists, the marks of open and of deleted sessions, and rows of
 * sessions that are not there. Owns both directions: what a session must have, and what nobody owns. Never looks into an
 * entry; inspect.ts does.
 */
import { inspectAsked } from "./asked.ts";
import type { Level } from "./directory.ts";
import { COUNTER_KEY, MARKED_KEY } from "./findable.ts";
import {
  FORMAT_KEY,
  Kind,
  encodeIndex,
  listKey,
  listPrefix,
  rangeOf,
  readSessionRow,
  sessionKey,
  unseal,
} from "./layout.ts";
import { guard, rowsOf, type Report } from "./rows.ts";
import { inspectOwned, wrongOwned } from "./owned.ts";
import type { IndexRow } from "./store.ts";

/** What is wrong with the rows in lists and the open mark of a session that has this index row. */
export async function wrongRows(level: Level, id: string, index: IndexRow): Promise<string[]> {
  const problems: string[] = [];
  const expected = encodeIndex(index);
  for (const reader of [undefined, ...index.readers]) {
    const list = reader === undefined ? "the list of all sessions" : `the list of ${JSON.stringify(reader)}`;
    const key = listKey(listPrefix(reader), index.updatedAt, id);
    const value = await level.get(key);
    if (value === undefined) {
      problems.push(`it is missing in ${list}`);
      continue;
    }
    const report: Report = ({ problem }) => problems.push(`${list}: ${problem}`);
    const body = guard(id, report, () => unseal(id, key, value, "a list's row"));
    if (body !== undefined && !body.equals(expected)) problems.push(`${list} says something else of it`);
  }
  const mark = await level.get(sessionKey(Kind.open, id));
  if (index.open && mark === undefined)
    problems.push("it is open but not marked so: no restart would find it");
  if (mark !== undefined) {
    const report: Report = ({ problem }) => problems.push(problem);
    guard(id, report, () => unseal(id, sessionKey(Kind.open, id), mark, "its mark as open"));
  }
  if (!index.open && mark !== undefined) problems.push("it is marked as open and is not");
  return [...problems, ...(await wrongOwned(level, id, index))];
}

/** Rows of lists that their session does not have. */
export async function inspectLists(level: Level, report: Report): Promise<void> {
  await rowsOf(level, rangeOf(Kind.list), {}, report, async (key) => {
    const ofAll = key[1] === 0;
    const prefix = key.subarray(0, ofAll ? 2 : 18);
    const id = key.toString("latin1", prefix.length + 6);
    const row = await sessionRow(level, id);
    const index = row !== undefined && row !== "damaged" && "index" in row ? row.index : undefined;
    const known =
      index !== undefined &&
      [undefined, ...index.readers].some((reader) =>
        listKey(listPrefix(reader), index.updatedAt, id).equals(key),
      );
    // A session whose row is damaged has been reported.
    if (!known && row !== "damaged")
      report({ session: id, problem: "a list has a row that it does not have" });
  });
  const indexOf = async (id: string): Promise<IndexRow | undefined> => {
    const row = await sessionRow(level, id);
    return row !== undefined && row !== "damaged" && "index" in row ? row.index : undefined;
  };
  await inspectAsked(level, async (id) => (await indexOf(id))?.readers, report);
  await inspectOwned(level, indexOf, report);
}

type Standing = ReturnType<typeof readSessionRow> | "damaged" | undefined;

async function sessionRow(level: Level, id: string): Promise<Standing> {
  const key = sessionKey(Kind.session, id);
  const value = await level.get(key);
  return value === undefined
    ? undefined
    : (guard(
        id,
        () => {},
        () => readSessionRow(id, key, value),
      ) ?? "damaged");
}

const NAMES: Partial<Record<Kind, string>> = {
  [Kind.entry]: "entries",
  [Kind.open]: "a mark as open",
  [Kind.key]: "idempotency keys",
  [Kind.snapshot]: "a snapshot",
  [Kind.checkpoint]: "a checkpoint",
  [Kind.purge]: "a mark as deleted",
  [Kind.requests]: "open requests",
  [Kind.mark]: "read marks",
  [Kind.text]: "texts that are found",
  [Kind.indexed]: "a mark of how far it is indexed",
  [Kind.unindexed]: "a mark as not indexed",
};

const OWNED = [
  Kind.entry,
  Kind.open,
  Kind.key,
  Kind.snapshot,
  Kind.checkpoint,
  Kind.purge,
  Kind.requests,
  Kind.mark,
  Kind.text,
  Kind.indexed,
  Kind.unindexed,
] as const;
/** What a deleted session may still have, until the mark that it is being taken off the disk is gone. */
const PURGED: ReadonlySet<Kind> = new Set([Kind.entry, Kind.key, Kind.mark, Kind.text, Kind.indexed]);

/** Rows of sessions that were deleted or never were. One look a session and kind, however many rows it has. */
export async function inspectStrays(level: Level, report: Report): Promise<void> {
  for (const kind of OWNED) {
    const what = NAMES[kind];
    for await (const id of idsIn(level, kind)) {
      const row = await sessionRow(level, id);
      if (row === "damaged") continue;
      if (row === undefined) report({ session: id, problem: `it has ${what} but no row` });
      else if ("index" in row) {
        if (kind === Kind.purge) report({ session: id, problem: "it is there and marked as deleted" });
      } else if (PURGED.has(kind)) {
        // Until the mark is gone the next start goes on taking them off the disk.
        const mark = await level.get(sessionKey(Kind.purge, id));
        if (mark === undefined) report({ session: id, problem: `it was deleted but still has ${what}` });
      } else if (kind !== Kind.purge)
        report({ session: id, problem: `it was deleted but still has ${what}` });
    }
  }
  const strange = { gte: Buffer.of(Kind.unindexed + 1), lt: Buffer.of(255, 255) };
  await rowsOf(level, strange, {}, report, (key) => {
    report({ problem: `a row of the unknown kind ${key[0]}` });
  });
  await rowsOf(level, rangeOf(Kind.store), {}, report, (key) => {
    if (![FORMAT_KEY, COUNTER_KEY, MARKED_KEY].some((known) => known.equals(key)))
      report({ problem: `an unknown row of the store itself: ${key.toString("hex")}` });
  });
}

/** The ids that have rows in a kind, each once: the iterator jumps from one to the next. */
async function* idsIn(level: Level, kind: Kind): AsyncGenerator<string, void> {
  const keys = level.keys(rangeOf(kind));
  try {
    for (let key = await keys.next(); key !== undefined; key = await keys.next()) {
      const end = key.indexOf(0, 1);
      const id = key.toString("latin1", 1, end < 0 ? key.length : end);
      yield id;
      keys.seek(rangeOf(kind, id).lt);
    }
  } finally {
    await keys.close();
  }
}
