/**
 * The data directory of the embedded store. Owns making it, opening the LevelDB in it, the check of the format, and the
 * words for what is wrong with it. Never keeps a handle: see ./handle.ts.
 */
import { chmod, mkdir, open as openFile, realpath, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { ClassicLevel } from "classic-level";
import { FORMAT, FORMAT_KEY, RESTORING_KEY, unseal } from "./layout.ts";
import { migrate, writeFormat } from "./migrate.ts";
import { StoreDamagedError, StoreLockedError, StoreOpenError, StoreUnavailableError } from "./store.ts";

export type Level = ClassicLevel<Buffer, Buffer>;

export interface DirectoryOptions {
  /** Bytes of the log in memory before it becomes a sorted table (16 MiB). Twice as much may be in use. */
  readonly writeBufferSize?: number;
  /** Bytes of decoded blocks kept in memory (8 MiB). */
  readonly cacheSize?: number;
}

/**
 * Makes the directory if it is not there; answers its real path. Only its owner may look inside; and a power cut after
 * the first ack must not take the directory itself.
 */
export async function makeDirectory(directory: string): Promise<string> {
  try {
    const first = await mkdir(directory, { recursive: true, mode: 0o700 });
    if (await holdsNoStore(directory)) await chmod(directory, 0o700).catch(() => {});
    if (first !== undefined && process.platform !== "win32") {
      const last = resolve(first);
      for (let made = resolve(directory); made.length >= last.length; made = dirname(made)) {
        await syncDirectory(dirname(made));
      }
    }
    return await realpath(directory);
  } catch (cause) {
    throw new StoreOpenError(`data directory ${directory} cannot be made: ${reason(cause)}`, { cause });
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

async function holdsNoStore(directory: string): Promise<boolean> {
  return stat(join(directory, "CURRENT")).then(
    () => false,
    () => true,
  );
}

export async function openLevel(directory: string, options: DirectoryOptions): Promise<Level> {
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
    if (codeOf(cause) === "LEVEL_LOCKED") throw locked(directory, { cause });
    throw new StoreOpenError(`data directory ${directory} cannot be opened: ${reason(cause)}`, { cause });
  }
}

export function locked(directory: string, options?: ErrorOptions): StoreLockedError {
  return new StoreLockedError(`data directory ${directory} is in use by another server`, options);
}

/** A new directory gets the format number, an older one is brought to it. */
async function checkFormat(level: Level, directory: string): Promise<void> {
  const value = await level.get(FORMAT_KEY);
  if (value === undefined) {
    const [anything] = await level.keys({ limit: 1 }).all();
    if (anything !== undefined)
      throw new StoreOpenError(
        anything.equals(RESTORING_KEY)
          ? `data directory ${directory} is of a restore that did not come to its end: remove it and restore again`
          : `data directory ${directory} holds something else, or is damaged`,
      );
    await writeFormat(level, FORMAT);
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
  await migrate(level, directory, format);
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

export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
