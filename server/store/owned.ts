/**
 * The rows that say whose a session is, and how many a user has. Owns those rows, and the counts of users who were asked
 * about: only this process changes them, because it holds the directory alone. Never decides how many are too many.
 */
import type { Level } from "./directory.ts";
import type { Batch, Lane } from "./lane.ts";
import { Kind, idOfOwnedKey, ownedKey, rangeOf, seal, unseal } from "./layout.ts";
import { guard, rowsOf, type Report } from "./rows.ts";
import type { IndexRow } from "./store.ts";

/** Users whose counts are kept; then they are counted anew. */
const MAX_COUNTS = 10_000;
const PAGE = 500;

export class OwnedCounts {
  readonly #counts = new Map<string, number>();

  /** How many sessions the user has. Counted between two writes the first time, so that none is missed. */
  async of(lane: Lane, user: string): Promise<number> {
    return (
      this.#counts.get(user) ??
      lane.write({
        ids: new Set<string>(),
        sync: false,
        prepare: (level) => countRows(level, user),
        build: (_batch, result) => {
          if (this.#counts.size >= MAX_COUNTS) this.#counts.clear();
          this.#counts.set(user, result);
          return { result };
        },
      })
    );
  }

  /** A session is another user's than before; undefined: nobody's. To be called once that is written. */
  changed(before: string | undefined, after: string | undefined): void {
    if (before === after) return;
    this.#add(before, -1);
    this.#add(after, 1);
  }

  clear(): void {
    this.#counts.clear();
  }

  #add(user: string | undefined, more: number): void {
    const known = user === undefined ? undefined : this.#counts.get(user);
    if (user !== undefined && known !== undefined) this.#counts.set(user, known + more);
  }
}

async function countRows(level: Level, user: string): Promise<number> {
  const { gte, lt } = rangeOfOwner(user);
  const keys = level.keys({ gte, lt });
  try {
    let count = 0;
    for (;;) {
      const page = await keys.nextv(PAGE);
      if (page.length === 0) return count;
      count += page.length;
    }
  } finally {
    await keys.close();
  }
}

function rangeOfOwner(user: string): { gte: Buffer; lt: Buffer } {
  return { gte: ownedKey(user), lt: Buffer.concat([ownedKey(user), Buffer.of(0xff)]) };
}

/** The row that an index row brings with it. */
export function putOwned(batch: Batch, id: string, { owner }: IndexRow): void {
  if (owner === undefined) return;
  const key = ownedKey(owner, id);
  batch.put(key, seal(key));
}

/** Within a batch a later put of the same key wins. */
export function deleteOwned(batch: Batch, id: string, owner: string | undefined): void {
  if (owner !== undefined) batch.del(ownedKey(owner, id));
}

/** What is wrong with the row of a session that this user owns. */
export async function wrongOwned(level: Level, id: string, { owner }: IndexRow): Promise<string[]> {
  if (owner === undefined) return [];
  const key = ownedKey(owner, id);
  const value = await level.get(key);
  if (value === undefined) return [`it is missing among the sessions of ${JSON.stringify(owner)}`];
  const problems: string[] = [];
  guard(
    id,
    ({ problem }) => problems.push(problem),
    () => unseal(id, key, value, "its owner's row"),
  );
  return problems;
}

/** Rows that their session does not have. */
export async function inspectOwned(
  level: Level,
  indexOf: (id: string) => Promise<IndexRow | undefined>,
  report: Report,
): Promise<void> {
  await rowsOf(level, rangeOf(Kind.owned), {}, report, async (key) => {
    const id = idOfOwnedKey(key);
    const owner = (await indexOf(id))?.owner;
    if (owner === undefined || !ownedKey(owner, id).equals(key))
      report({ session: id, problem: "it counts for a user who does not own it" });
  });
}
