/**
 * The rows by which open requests are found without their sessions: one with what is open in a session, and one in the
 * list of each reader, in the order of session ids. Owns their keys, and that they are there exactly while something is
 * open. Never knows what a request says.
 */
import type { Level } from "./directory.ts";
import type { Batch } from "./lane.ts";
import { Kind, listPrefix, rangeOf, seal, sessionKey, unseal } from "./layout.ts";
import { guard, rowsOf, type Report } from "./rows.ts";
import { withSnapshot } from "./scan.ts";
import type { AskedQuery, AskedSession, IndexRow } from "./store.ts";

/** A list's prefix says by its first byte which list it is. */
function askedPrefix(reader: string | undefined): Buffer {
  const prefix = listPrefix(reader);
  prefix[0] = Kind.asked;
  return prefix;
}

function askedKey(reader: string | undefined, id: string): Buffer {
  return Buffer.concat([askedPrefix(reader), Buffer.from(id, "latin1")]);
}

/** The rows that an index row brings with it. */
export function putAsked(batch: Batch, id: string, { requests, readers }: IndexRow): void {
  if (requests === undefined) return;
  const row = sessionKey(Kind.requests, id);
  batch.put(row, seal(row, requests));
  for (const reader of [undefined, ...readers]) {
    const key = askedKey(reader, id);
    batch.put(key, seal(key));
  }
}

/** Within a batch a later put of the same key wins. */
export function deleteAsked(batch: Batch, id: string, readers: readonly string[]): void {
  batch.del(sessionKey(Kind.requests, id));
  for (const reader of [undefined, ...readers]) batch.del(askedKey(reader, id));
}

export async function readAsked(
  level: Level,
  { reader, from, limit }: AskedQuery,
  countRow: () => void,
): Promise<AskedSession[]> {
  const prefix = askedPrefix(reader);
  return withSnapshot(level, async (snapshot) => {
    const keys = await level
      .keys({ gte: askedKey(reader, from), lt: Buffer.concat([prefix, Buffer.of(0xff)]), limit, snapshot })
      .all();
    const ids = keys.map((key) => key.toString("latin1", prefix.length));
    const rows = ids.map((id) => sessionKey(Kind.requests, id));
    const values = await level.getMany(rows, { snapshot });
    return ids.flatMap((id, at) => {
      countRow();
      const value = values[at];
      return value === undefined ? [] : [{ id, requests: unseal(id, rows[at]!, value, "its open requests") }];
    });
  });
}

/** What is wrong with the rows of a session that has these readers; `expected`: what they should say. */
export async function wrongAsked(
  level: Level,
  id: string,
  readers: readonly string[],
  expected: Uint8Array | undefined,
): Promise<string[]> {
  const problems: string[] = [];
  const report: Report = ({ problem }) => problems.push(problem);
  const row = sessionKey(Kind.requests, id);
  const value = await level.get(row);
  const body = value && guard(id, report, () => unseal(id, row, value, "its open requests"));
  if (expected === undefined && value !== undefined)
    problems.push("its requests are listed and none is open");
  if (expected !== undefined && value === undefined) problems.push("its open requests are not listed");
  if (expected !== undefined && body !== undefined && !body.equals(expected))
    problems.push("its open requests are listed otherwise");
  if (expected === undefined) return problems;
  for (const reader of [undefined, ...readers]) {
    const key = askedKey(reader, id);
    const mark = await level.get(key);
    const whose = reader === undefined ? "all" : JSON.stringify(reader);
    if (mark === undefined) problems.push(`it is missing among those with requests for ${whose}`);
    else guard(id, report, () => unseal(id, key, mark, "a mark of open requests"));
  }
  return problems;
}

/** Marks that their session does not have. */
export async function inspectAsked(
  level: Level,
  readersOf: (id: string) => Promise<readonly string[] | undefined>,
  report: Report,
): Promise<void> {
  await rowsOf(level, rangeOf(Kind.asked), {}, report, async (key) => {
    const length = key[1] === 0 ? 2 : 18;
    const id = key.toString("latin1", length);
    const readers = await readersOf(id);
    const known =
      readers !== undefined &&
      (await level.get(sessionKey(Kind.requests, id))) !== undefined &&
      [undefined, ...readers].some((reader) => askedKey(reader, id).equals(key));
    if (!known) report({ session: id, problem: "it is listed for open requests where it should not be" });
  });
}
