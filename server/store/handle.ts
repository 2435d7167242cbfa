/**
 * The open LevelDB of one data directory. Owns who may use it when, and the way back after a failed write: close,
 * reopen, retry for as long as it takes. Never knows a session.
 */
import { locked, makeDirectory, openLevel, reason, type DirectoryOptions, type Level } from "./directory.ts";
import { StoreUnavailableError } from "./store.ts";

const FIRST_RETRY_MS = 10;
const LAST_RETRY_MS = 1000;

/**
 * Directories open in this process. LevelDB would refuse a second handle, too, but in doing so it closes the lock file,
 * and with that the kernel takes the lock from the first: the next process would get in.
 */
const openDirectories = new Set<string>();

export class Handle {
  /** Called when the directory is open again after a failure. */
  onReopen: () => void = () => {};
  readonly #directory: string;
  readonly #path: string;
  readonly #options: DirectoryOptions;
  #level: Level | undefined;
  #cause: unknown;
  #opening: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #retryMs = FIRST_RETRY_MS;
  #closed = false;
  #working = 0;
  #idle: (() => void) | undefined;

  private constructor(directory: string, path: string, options: DirectoryOptions, level: Level) {
    this.#directory = directory;
    this.#path = path;
    this.#options = options;
    this.#level = level;
  }

  /** Throws StoreLockedError if another process has the directory, StoreOpenError if it cannot be used. */
  static async open(directory: string, options: DirectoryOptions): Promise<Handle> {
    const path = await makeDirectory(directory);
    if (openDirectories.has(path)) throw locked(directory);
    openDirectories.add(path);
    try {
      return new Handle(directory, path, options, await openLevel(directory, options));
    } catch (error) {
      openDirectories.delete(path);
      throw error;
    }
  }

  /**
   * Read or write. Waits for a reopening under way; throws StoreUnavailableError when there is nothing to work with. The work
   * never waits for the lane: a failed write there reopens, and for that waits until nobody works.
   */
  async use<T>(work: (level: Level) => Promise<T>): Promise<T> {
    await this.#opening;
    const level = this.#level;
    if (level === undefined) throw this.#unavailable();
    this.#working++;
    try {
      return await work(level);
    } finally {
      this.#working--;
      if (this.#working === 0) this.#idle?.();
    }
  }

  /**
   * After a failed write the log's end is not what LevelDB believes: later writes would be acked and lost. So the handle
   * is thrown away and the directory opened anew. Resolves after the first attempt; later ones follow by themselves.
   */
  async reopen(cause: unknown): Promise<void> {
    const level = this.#level;
    if (level === undefined || this.#closed) return;
    this.#level = undefined;
    this.#cause = cause;
    this.#retryMs = FIRST_RETRY_MS;
    this.#opening = this.#attempt(level);
    await this.#opening;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    await this.#opening;
    const level = this.#level;
    this.#level = undefined;
    this.#cause = undefined;
    await this.#settled();
    await level?.close();
    openDirectories.delete(this.#path);
  }

  async #attempt(old?: Level): Promise<void> {
    try {
      await this.#settled();
      await old?.close();
      this.#level = await openLevel(this.#directory, this.#options);
    } catch (error) {
      this.#cause = error;
      if (this.#closed) return;
      this.#retry = setTimeout(() => {
        this.#opening = this.#attempt(old);
      }, this.#retryMs);
      this.#retry.unref();
      this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS);
    } finally {
      this.#opening = undefined;
    }
    if (this.#level !== undefined) this.onReopen();
  }

  /** Resolves when nobody works with the handle any more. */
  async #settled(): Promise<void> {
    if (this.#working > 0) await new Promise<void>((done) => (this.#idle = done));
    this.#idle = undefined;
  }

  #unavailable(): StoreUnavailableError {
    if (this.#closed) return new StoreUnavailableError(`the store in ${this.#directory} is closed`);
    const cause = this.#cause;
    return new StoreUnavailableError(`the store in ${this.#directory} is out of work: ${reason(cause)}`, {
      cause,
      retryAfterMs: LAST_RETRY_MS,
    });
  }
}
