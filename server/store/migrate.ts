/**
 * The way of a data directory from an older format to the one of this version, a step for each number. Owns the order of
 * the steps and that the number on the disk is never ahead of the rows. Never runs on a newer format, and never beside a
 * server: the directory is not open to anyone before it is done.
 */
import type { ClassicLevel } from "classic-level";
import { FORMAT, FORMAT_KEY, seal } from "./layout.ts";
import { StoreOpenError } from "./store.ts";

/**
 * Brings every row from one format to the next. A process may be killed in it anywhere, then it begins anew: so it must
 * know the rows that it has changed already. It writes in bounded batches.
 */
export type Migration = (level: ClassicLevel<Buffer, Buffer>) => Promise<void>;

/** By the format that a step begins with. There is one format so far, so there is none. */
export const MIGRATIONS: ReadonlyMap<number, Migration> = new Map();

/** Throws StoreOpenError when no step leads on from a format; what the steps before it did stays. */
export async function migrate(
  level: ClassicLevel<Buffer, Buffer>,
  directory: string,
  from: number,
  to: number = FORMAT,
  steps: ReadonlyMap<number, Migration> = MIGRATIONS,
): Promise<void> {
  for (let format = from; format < to; format++) {
    const step = steps.get(format);
    if (step === undefined)
      throw new StoreOpenError(
        `data directory ${directory} has format ${format}, from which no way leads to ${to}: use an older version`,
      );
    await step(level);
    await writeFormat(level, format + 1);
  }
}

/** With all that was written before it: they share one log, which is synced up to here. */
export async function writeFormat(level: ClassicLevel<Buffer, Buffer>, format: number): Promise<void> {
  const number = Buffer.alloc(4);
  number.writeUInt32BE(format);
  await level.put(FORMAT_KEY, seal(FORMAT_KEY, number), { sync: true });
}
