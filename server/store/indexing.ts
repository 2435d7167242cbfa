/**
 * Writes what the embedded store's search reads. Owns that all rows of a text come and go in one write, and that logs which
 * were there before there was a search are marked to be indexed. One writer at a time, which reads beside the lane and takes
 * the lane only to write; what it writes is not fsynced, because the mark of what is to be indexed goes in the same write.
 */
import { MARKED_KEY, readIndexed } from "./findable.ts";
import type { Handle } from "./handle.ts";
import { IndexPlan } from "./index-plan.ts";
import type { Batch, Lane } from "./lane.ts";
import { Kind, idOfSessionKey, rangeOf, seal, sessionKey, uint48, unseal } from "./layout.ts";
import { readIdsFrom } from "./scan.ts";
import type { IndexItem, Unindexed } from "./store.ts";

/** Sessions of before that one write marks. */
const MARKED_AT_ONCE = 200;
const NO_IDS: ReadonlySet<string> = new Set();
const ALL_MARKED = Buffer.of(0);

export class Indexing {
  readonly #handle: Handle;
  readonly #lane: Lane;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(handle: Handle, lane: Lane) {
    this.#handle = handle;
    this.#lane = lane;
  }

  async unindexed(limit: number, ids?: readonly string[]): Promise<Unindexed[]> {
    const found = await this.#marked(limit, ids);
    if (found.length > 0 || ids !== undefined) return found;
    return (await this.#alone(() => this.#markOld())) ? this.#marked(limit) : [];
  }

  #marked(limit: number, ids?: readonly string[]): Promise<Unindexed[]> {
    return this.#handle.use(async (level) => {
      const marks =
        ids?.map((id) => sessionKey(Kind.unindexed, id)) ??
        (await level.keys({ ...rangeOf(Kind.unindexed), limit }).all());
      const marked =
        ids === undefined ? marks : (await level.getMany(marks)).map((mark, at) => mark && marks[at]);
      const found = marked.flatMap((key) => (key === undefined ? [] : [idOfSessionKey(key)])).slice(0, limit);
      const rows = found.map((id) => sessionKey(Kind.indexed, id));
      const values = await level.getMany(rows);
      return found.map((id, at) => ({ id, seq: readIndexed(id, rows[at]!, values[at]).seq }));
    });
  }

  index(items: readonly IndexItem[]): Promise<boolean> {
    return this.#alone(async () => {
      const plan = await this.#handle.use(async (level) => {
        const made = await IndexPlan.begin(level);
        for (const item of items) await made.take(item);
        await made.load();
        return made;
      });
      return this.#write(plan);
    });
  }

  /** Takes some of the rows of a deleted session off the disk. False: there are none left. */
  drop(id: string): Promise<boolean> {
    return this.#alone(async () => {
      const plan = await this.#handle.use(async (level) => {
        const made = await IndexPlan.begin(level);
        await made.drop(id);
        await made.load();
        return made;
      });
      if (plan.empty) return false;
      await this.#write(plan);
      return true;
    });
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#tail.then(work);
    this.#tail = done.catch(() => {});
    return done;
  }

  /** False: what the plan was made of is not so any more. */
  #write(plan: IndexPlan): Promise<boolean> {
    return this.#lane.write({
      ids: NO_IDS,
      sync: false,
      prepare: (level) => plan.check(level),
      build: (batch, good) => {
        if (good) plan.fill(batch);
        return { result: good };
      },
    });
  }

  /** Marks some of the sessions that were there before there was a search. False: all are. */
  async #markOld(): Promise<boolean> {
    for (;;) {
      const marked = await this.#lane.write({
        ids: NO_IDS,
        sync: false,
        prepare: async (level) => {
          const value = await level.get(MARKED_KEY);
          const from =
            value && unseal("(any)", MARKED_KEY, value, "which sessions are marked").toString("latin1");
          if (from === "\0") return undefined;
          const sessions = await readIdsFrom(level, from ?? "", MARKED_AT_ONCE);
          const ids = sessions.flatMap(({ id, deletedAt }) => (deletedAt === undefined ? [id] : []));
          const keys = ids.flatMap((id) => [sessionKey(Kind.indexed, id), sessionKey(Kind.unindexed, id)]);
          const rows = await level.getMany(keys);
          const fresh = ids.filter((_, at) => rows[2 * at] === undefined && rows[2 * at + 1] === undefined);
          return { fresh, last: sessions.length < MARKED_AT_ONCE ? undefined : sessions.at(-1)!.id };
        },
        build: (batch, found) => {
          if (found === undefined) return { result: undefined };
          for (const id of found.fresh) putUnindexed(batch, id, 0);
          // The least id after the last one.
          const next = found.last === undefined ? ALL_MARKED : Buffer.from(`${found.last}-`, "latin1");
          batch.put(MARKED_KEY, seal(MARKED_KEY, next));
          return { result: found.fresh.length };
        },
      });
      if (marked !== 0) return marked !== undefined;
    }
  }
}

/** The log is to be indexed up to `seq` at least. */
export function putUnindexed(batch: Batch, id: string, seq: number): void {
  const key = sessionKey(Kind.unindexed, id);
  batch.put(key, seal(key, uint48(seq)));
}
