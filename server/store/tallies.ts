/**
 * The rows of the embedded store that count what users have used: one for each UTC day and one for all of them. Owns their
 * form, the addition within a batch, and that the one is the sum of the others. Never knows which entry counts.
 */
import { isDeepStrictEqual } from "node:util";
import type { Usage } from "../../protocol/content.ts";
import type { Tally } from "../../protocol/lists.ts";
import { addUsage, NO_USAGE } from "../../protocol/usage.ts";
import { readError, type Level } from "./directory.ts";
import type { Batch } from "./lane.ts";
import { Kind, rangeOf, readTallyKey, seal, tallyKey, uint48, unseal } from "./layout.ts";
import { guard, rowsOf, type Report } from "./rows.ts";
import { withSnapshot } from "./scan.ts";
import { StoreDamagedError, type AppendItem, type Spent } from "./store.ts";

/** For errors: these rows belong to no session. */
const NO_SESSION = "(any)";

export function sealTally(key: Buffer, usage: Usage): Buffer {
  return seal(key, Buffer.from(JSON.stringify(usage)));
}

function readUsage(key: Buffer, value: Buffer): Usage {
  return JSON.parse(unseal(NO_SESSION, key, value, "a user's tally").toString()) as Usage;
}

/** The rows that a batch adds to, as they were before it and then item after item. */
export class TallyRows {
  readonly #sums = new Map<string, Usage>();
  readonly #failures = new Map<string, unknown>();

  static async read(level: Level, batch: readonly AppendItem[]): Promise<TallyRows> {
    const rows = new TallyRows();
    const keys = new Map(
      batch.flatMap(({ tallies = [] }) => tallies.flatMap(keysOf)).map((key) => [nameOf(key), key]),
    );
    if (keys.size === 0) return rows;
    const all = [...keys.values()];
    const values = await level.getMany(all).catch(() => undefined);
    for (const [at, key] of all.entries()) {
      try {
        // One by one where a block is damaged: it must not fail those who do not add to it.
        const value = values === undefined ? await level.get(key) : values[at];
        rows.#sums.set(nameOf(key), value === undefined ? NO_USAGE : readUsage(key, value));
      } catch (error) {
        rows.#failures.set(nameOf(key), readError(NO_SESSION, error));
      }
    }
    return rows;
  }

  /** Why one of these cannot be added to, if one cannot. */
  failureOf(tallies: readonly Tally[] = []): unknown {
    if (this.#failures.size === 0) return undefined;
    const failed = tallies.flatMap(keysOf).find((key) => this.#failures.has(nameOf(key)));
    return failed && this.#failures.get(nameOf(failed));
  }

  add(batch: Batch, tallies: readonly Tally[] = []): void {
    for (const tally of tallies) {
      for (const key of keysOf(tally)) {
        const sum = addUsage(this.#sums.get(nameOf(key)) ?? NO_USAGE, tally.usage);
        this.#sums.set(nameOf(key), sum);
        batch.put(key, sealTally(key, sum));
      }
    }
  }
}

function keysOf({ user, day }: Tally): [total: Buffer, day: Buffer] {
  return [tallyKey(user), tallyKey(user, day)];
}

function nameOf(key: Buffer): string {
  return key.toString("latin1");
}

export async function readSpent(level: Level, user: string, since: number): Promise<Spent> {
  const total = tallyKey(user);
  const end = Buffer.from(total);
  end[end.length - 1] = 1;
  return withSnapshot(level, async (snapshot) => {
    const [value, rows] = await Promise.all([
      level.get(total, { snapshot }),
      level.iterator({ gte: Buffer.concat([total, uint48(since)]), lt: end, snapshot }).all(),
    ]);
    return {
      total: value === undefined ? NO_USAGE : readUsage(total, value),
      days: rows.map(([key, row]) => ({ day: readTallyKey(key).day ?? 0, usage: readUsage(key, row) })),
    };
  });
}

/** By user in the order of their JSON's bytes, then by day. */
export async function readTallies(
  level: Level,
  after: Pick<Tally, "user" | "day"> | undefined,
  limit: number,
): Promise<Tally[]> {
  const range = rangeOf(Kind.tally);
  const start = after === undefined ? { gte: range.gte } : { gt: tallyKey(after.user, after.day) };
  const found: Tally[] = [];
  for await (const [key, value] of level.iterator({ ...start, lt: range.lt })) {
    try {
      const { user, day } = readTallyKey(key);
      if (day !== undefined) found.push({ user, day, usage: readUsage(key, value) });
    } catch {
      // Whoever copies what there is cannot mend it; verify names it.
    }
    if (found.length >= limit) break;
  }
  return found;
}

/** What is wrong with the rows: each by itself, and totals that are not the sum of their days. */
export async function inspectTallies(level: Level, report: Report): Promise<void> {
  let whose: string | undefined;
  let total = NO_USAGE;
  let sum = NO_USAGE;
  const close = (): void => {
    if (whose !== undefined && !isDeepStrictEqual(total, sum))
      report({ problem: `what ${JSON.stringify(whose)} used in all is not the sum of the days` });
  };
  await rowsOf(level, rangeOf(Kind.tally), {}, report, (key, value) => {
    const row = guard(
      NO_SESSION,
      ({ problem }) => report({ problem }),
      () => ({ ...tallyOf(key), usage: readUsage(key, value) }),
    );
    if (row === undefined) return;
    if (row.user !== whose) {
      close();
      [whose, total, sum] = [row.user, row.day === undefined ? row.usage : NO_USAGE, NO_USAGE];
    }
    if (row.day !== undefined) sum = addUsage(sum, row.usage);
  });
  close();
}

function tallyOf(key: Buffer): ReturnType<typeof readTallyKey> {
  try {
    return readTallyKey(key);
  } catch (cause) {
    throw new StoreDamagedError(NO_SESSION, undefined, "a user's tally has no user", { cause });
  }
}
