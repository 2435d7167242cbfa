/**
 * Takes the log, the keys, the read marks and the texts of deleted sessions off the disk, a few rows at a time, in the background.
 * Owns the mark that says there is something left to take, so that a restart goes on where it stopped. Never touches a
 * session's row: that is the tombstone.
 */
import type { Handle } from "./handle.ts";
import type { Indexing } from "./indexing.ts";
import type { Lane } from "./lane.ts";
import { Kind, rangeOf, sessionKey } from "./layout.ts";
import { readIds } from "./scan.ts";

/** Rows in one write: others wait for it. */
const ROWS = 500;
const NO_IDS: ReadonlySet<string> = new Set();

export class Purge {
  readonly #handle: Handle;
  readonly #lane: Lane;
  readonly #indexing: Indexing;
  #running: Promise<void> | undefined;
  #again = false;
  #stopped = false;

  constructor(handle: Handle, lane: Lane, indexing: Indexing) {
    this.#handle = handle;
    this.#lane = lane;
    this.#indexing = indexing;
  }

  /** Looks for marks, now or when the present round is over. */
  start(): void {
    this.#again = true;
    this.#running ??= this.#run();
  }

  /** Resolves when nothing is being taken off the disk. What is left waits for the next start. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  /** Resolves when everything marked so far is gone or the store is out of work. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    try {
      while (this.#again && !this.#stopped) {
        this.#again = false;
        const ids = await this.#handle.use((level) => readIds(level, Kind.purge, ROWS, () => true));
        for (const id of ids) await this.#purge(id);
        if (ids.length === ROWS) this.#again = true;
      }
    } catch {
      // The store is out of work or damaged: who reads or writes is told; the marks stay for the next start.
    } finally {
      this.#running = undefined;
    }
  }

  async #purge(id: string): Promise<void> {
    while (!this.#stopped && (await this.#indexing.drop(id)));
    while (!this.#stopped) {
      const left = await this.#lane.write({
        ids: NO_IDS,
        sync: false,
        prepare: async (level) => [
          ...(await level.keys({ ...rangeOf(Kind.entry, id), limit: ROWS }).all()),
          ...(await level.keys({ ...rangeOf(Kind.key, id), limit: ROWS }).all()),
          ...(await level.keys({ ...rangeOf(Kind.mark, id), limit: ROWS }).all()),
        ],
        build: (batch, keys) => {
          for (const key of keys) batch.del(key);
          if (keys.length === 0) batch.del(sessionKey(Kind.purge, id));
          return { result: keys.length };
        },
      });
      if (left === 0) return;
    }
  }
}
