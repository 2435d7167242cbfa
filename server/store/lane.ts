/**
 * The one lane of writes to the embedded store: one batch in flight, each seen through to its end before the next is
 * judged. Owns that order and what follows a failed write: every grant is void and the handle is opened anew before
 * anything else is written. Never decides what is written.
 */
import type { ChainedBatch } from "classic-level";
import type { Level } from "./directory.ts";
import type { Handle } from "./handle.ts";
import { FORMAT_KEY } from "./layout.ts";
import { StoreUnavailableError } from "./store.ts";

export type Batch = ChainedBatch<Level, Buffer, Buffer>;

/** `apply` is called once the batch is written, in the same turn in which the lane learns of it. */
export interface Built<T> {
  readonly result: T;
  readonly apply?: () => void;
}

export interface Write<P, T> {
  /** Sessions whose log or existence this may change. */
  readonly ids: ReadonlySet<string>;
  /** fsync before it counts as written. */
  readonly sync: boolean;
  /** Reads what `build` needs. */
  prepare(level: Level): Promise<P>;
  /** Checks and fills the batch in one turn of the event loop: what was true there is true when it is written. */
  build(batch: Batch, prepared: P): Built<T>;
}

class WriteFailed extends Error {}

export class Lane {
  readonly #handle: Handle;
  readonly #onFailure: () => void;
  #tail: Promise<unknown> = Promise.resolve();
  #writing: ReadonlySet<string> | undefined;
  #failing = false;

  constructor(handle: Handle, onFailure: () => void) {
    this.#handle = handle;
    this.#onFailure = onFailure;
  }

  /** Rejects with StoreUnavailableError when the outcome is unknown or the store is out of work. */
  write<P, T>(write: Write<P, T>): Promise<T> {
    const done = this.#tail.then(() => this.#run(write));
    this.#tail = done.catch(() => {});
    return done;
  }

  /** Writes the format's row as it is, through to the disk. */
  probe(): Promise<void> {
    return this.write({
      ids: new Set<string>(),
      sync: true,
      prepare: (level) => level.get(FORMAT_KEY),
      build: (batch, row) => {
        if (row !== undefined) batch.put(FORMAT_KEY, row);
        return { result: undefined };
      },
    });
  }

  /** A write has failed and none has reached the disk since. */
  get failing(): boolean {
    return this.#failing;
  }

  /** A write that may change the session is in flight. */
  touches(id: string): boolean {
    return this.#writing?.has(id) === true;
  }

  /** Resolves when all that was asked for is written. */
  async idle(): Promise<void> {
    await this.#tail;
  }

  async #run<P, T>(write: Write<P, T>): Promise<T> {
    try {
      const { result, apply } = await this.#handle.use((level) => this.#attempt(level, write));
      apply?.();
      return result;
    } catch (error) {
      if (!(error instanceof WriteFailed)) throw error;
      this.#failing = true;
      this.#onFailure();
      await this.#handle.reopen(error.cause);
      throw new StoreUnavailableError("a write failed; it may or may not be there", { cause: error.cause });
    } finally {
      this.#writing = undefined;
    }
  }

  async #attempt<P, T>(level: Level, write: Write<P, T>): Promise<Built<T>> {
    const prepared = await write.prepare(level);
    const batch = level.batch();
    try {
      const built = write.build(batch, prepared);
      if (batch.length === 0) return built;
      this.#writing = write.ids;
      await batch.write({ sync: write.sync }).catch((cause: unknown) => {
        throw new WriteFailed("write failed", { cause });
      });
      if (write.sync) this.#failing = false;
      return built;
    } finally {
      await batch.close();
    }
  }
}
