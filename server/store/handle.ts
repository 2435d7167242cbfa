/**
 * The open LevelDB of one data directory. Owns opening and closing it, the check of the format, the way back after a
 * failed write (close, reopen, retry for as long as it takes) and what its errors mean. Never knows a session.
 */
import { chmod, mkdir, open as openFile, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { ClassicLevel } from "classic-level";
import { FORMAT, FORMAT_KEY, seal, unseal } from "./layout.ts";
import { StoreDamagedError, StoreLockedError, StoreOpenError, StoreUnavailableError } from "./store.ts";

export type Level = ClassicLevel<Buffer, Buffer>;

export interface HandleOptions {
  /** Bytes of the log in memory before it becomes a sorted table (16 MiB). Twice as much may be in use. */
  readonly writeBufferSize?: number;
  /** Bytes of decoded blocks kept in memory (8 MiB). */
  readonly cacheSize?: number;
}

const FIRST_RETRY_MS = 10;
const LAST_RETRY_MS = 1000;

export class Handle {
  /** Called when the directory is open again after a failure. */
  onReopen: () => void = () => {};
  readonly #directory: string;
  readonly #options: HandleOptions;
  #level: Level | undefined;
  #cause: unknown;
  #opening: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #retryMs = FIRST_RETRY_MS;
  #closed = false;
  #working = 0;
  #idle: (() => void) | undefined;

  private constructor(directory: string, options: HandleOptions, level: Level) {
    this.#directory = directory;
    this.#options = options;
    this.#level = level;
  }

  /** Throws StoreLockedError if another process has the directory, StoreOpenError if it cannot be used. */
  static async open(directory: string, options: HandleOptions): Promise<Handle> {
    await makeDirectory(directory);
    return new Handle(directory, options, await openLevel(directory, options));
  }

  /** Read or write. Waits for a reopening under way; throws StoreUnavailableError when there is nothing to work with. */
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

/** What a failed read of the engine means to who asked for `id`. */
export function readError(id: string, error: unknown): unknown {
  if (codeOf(error) === "LEVEL_CORRUPTION") {
    return new StoreDamagedError(id, undefined, `a block cannot be read: ${reason(error)}`, { cause: error });
  }
  if (!codeOf(error)?.startsWith("LEVEL_")) return error;
  return new StoreUnavailableError(`the store cannot be read: ${reason(error)}`, { cause: error });
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Only its owner may look inside; and a power cut after the first ack must not take the directory itself. */
async function makeDirectory(directory: string): Promise<void> {
  try {
    const first = await mkdir(directory, { recursive: true, mode: 0o700 });
    if (await isEmptyOfStore(directory)) await chmod(directory, 0o700).catch(() => {});
    if (first === undefined || process.platform === "win32") return;
    for (let path = resolve(directory); path.length >= resolve(first).length; path = dirname(path)) {
      await syncDirectory(dirname(path));
    }
  } catch (error) {
    throw new StoreOpenError(`data directory ${directory} cannot be made: ${reason(error)}`, {
      cause: error,
    });
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const file = await openFile(directory, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

async function isEmptyOfStore(directory: string): Promise<boolean> {
  return stat(join(directory, "CURRENT")).then(
    () => false,
    () => true,
  );
}

async function openLevel(directory: string, options: HandleOptions): Promise<Level> {
  const level: Level = new ClassicLevel(directory, { keyEncoding: "buffer", valueEncoding: "buffer" });
  const { writeBufferSize = 16 * 2 ** 20, cacheSize = 8 * 2 ** 20 } = options;
  try {
    await level.open({ writeBufferSize, cacheSize });
    await checkFormat(level, directory);
    return level;
  } catch (error) {
    await level.close().catch(() => {});
    if (error instanceof StoreOpenError) throw error;
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
    if (codeOf(cause) === "LEVEL_LOCKED") {
      throw new StoreLockedError(`data directory ${directory} is in use by another server`, { cause });
    }
    throw new StoreOpenError(`data directory ${directory} cannot be opened: ${reason(cause)}`, { cause });
  }
}

/** A new directory gets the format number. When there is a format 2, what brings 1 there is called here. */
async function checkFormat(level: Level, directory: string): Promise<void> {
  const value = await level.get(FORMAT_KEY);
  if (value === undefined) {
    const [anything] = await level.keys({ limit: 1 }).all();
    if (anything !== undefined)
      throw new StoreOpenError(`data directory ${directory} holds something else, or is damaged`);
    const number = Buffer.alloc(4);
    number.writeUInt32BE(FORMAT);
    await level.put(FORMAT_KEY, seal(FORMAT_KEY, number), { sync: true });
    return;
  }
  let format: number;
  try {
    format = unseal("", FORMAT_KEY, value, "the format row").readUInt32BE();
  } catch (cause) {
    throw new StoreOpenError(`data directory ${directory} is damaged: its format row cannot be read`, {
      cause,
    });
  }
  if (format > FORMAT) {
    throw new StoreOpenError(
      `data directory ${directory} has format ${format}; this version knows formats up to ${FORMAT}: use a newer version`,
    );
  }
}
