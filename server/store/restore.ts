/**
 * A data directory made anew, row by row, from logs that come from elsewhere. Owns that it is empty before, and that no
 * server takes it for a store before it is whole: the format's row is written last. Never knows what an entry means.
 */
import { mkdir, readdir } from "node:fs/promises";
import { ClassicLevel } from "classic-level";
import type { Usage } from "../../protocol/content.ts";
import type { Tally } from "../../protocol/lists.ts";
import { putAsked } from "./asked.ts";
import { makeDirectory, type Level } from "./directory.ts";
import type { Batch } from "./lane.ts";
import {
  EntryEncoder,
  FORMAT,
  FORMAT_KEY,
  Kind,
  RESTORING_KEY,
  encodeIndex,
  keyRowKey,
  listKey,
  listPrefix,
  rangeOf,
  seal,
  sealDeletedSession,
  sealLiveSession,
  sessionKey,
  tallyKey,
  uint48,
} from "./layout.ts";
import { putOwned } from "./owned.ts";
import { StoreOpenError, type IndexRow } from "./store.ts";
import { sealTally } from "./tallies.ts";

/** Rows and bytes of one write. */
const BATCH_ROWS = 1000;
const BATCH_BYTES = 1024 * 1024;

export class Restorer {
  readonly #level: Level;
  readonly #encoder = new EntryEncoder();
  #batch: Batch;
  #bytes = 0;

  private constructor(level: Level) {
    this.#level = level;
    this.#batch = level.batch();
  }

  /** Throws StoreOpenError unless the directory is empty or can be made. */
  static async create(directory: string): Promise<Restorer> {
    await mkdir(directory, { recursive: true, mode: 0o700 }).catch(() => {});
    const path = await makeDirectory(directory);
    if ((await readdir(path)).length > 0)
      throw new StoreOpenError(`data directory ${directory} is not empty: restore into a new one`);
    const level: Level = new ClassicLevel(path, { keyEncoding: "buffer", valueEncoding: "buffer" });
    await level.open({ writeBufferSize: 16 * 2 ** 20 });
    await level.put(RESTORING_KEY, seal(RESTORING_KEY), { sync: true });
    return new Restorer(level);
  }

  async entry(id: string, epoch: number, seq: number, bytes: Uint8Array): Promise<void> {
    this.#encoder.encode(id, epoch, seq, bytes);
    await this.#put(this.#encoder.key, this.#encoder.value);
  }

  async key(id: string, user: string, key: string, seq: number): Promise<void> {
    const row = keyRowKey(id, user, key);
    await this.#put(row, seal(row, uint48(seq)));
  }

  /** The session is whole: its row, its places in lists, its mark if it is open. */
  async session(id: string, head: number, index: IndexRow): Promise<void> {
    const bytes = encodeIndex(index);
    const row = sessionKey(Kind.session, id);
    await this.#put(row, sealLiveSession(row, head, bytes));
    for (const reader of [undefined, ...index.readers]) {
      const key = listKey(listPrefix(reader), index.updatedAt, id);
      await this.#put(key, seal(key, bytes));
    }
    const mark = sessionKey(Kind.open, id);
    if (index.open) await this.#put(mark, seal(mark));
    putAsked(this.#batch, id, index);
    putOwned(this.#batch, id, index);
  }

  /** What a user used on a day. Days of one user come one after another; `total` is that of those up to this one. */
  async tally({ user, day, usage }: Tally, total: Usage): Promise<void> {
    await this.#put(tallyKey(user, day), sealTally(tallyKey(user, day), usage));
    await this.#put(tallyKey(user), sealTally(tallyKey(user), total));
  }

  /** The id was used; entries that were written of it go. */
  async deleted(id: string, deletedAt: number): Promise<void> {
    await this.#flush();
    await this.#level.clear(rangeOf(Kind.entry, id));
    await this.#level.clear(rangeOf(Kind.key, id));
    const row = sessionKey(Kind.session, id);
    await this.#put(row, sealDeletedSession(row, deletedAt));
  }

  /** From here on the directory is a store. */
  async finish(): Promise<void> {
    await this.#flush();
    const number = Buffer.alloc(4);
    number.writeUInt32BE(FORMAT);
    this.#batch.del(RESTORING_KEY).put(FORMAT_KEY, seal(FORMAT_KEY, number));
    await this.#flush();
    await this.close();
  }

  async close(): Promise<void> {
    await this.#batch.close();
    await this.#level.close();
  }

  async #put(key: Buffer, value: Buffer): Promise<void> {
    // The batch takes copies: the encoder's buffers may be used again.
    this.#batch.put(key, value);
    this.#bytes += value.length;
    if (this.#batch.length >= BATCH_ROWS || this.#bytes >= BATCH_BYTES) await this.#flush();
  }

  async #flush(): Promise<void> {
    if (this.#batch.length > 0) await this.#batch.write({ sync: true });
    else await this.#batch.close();
    this.#batch = this.#level.batch();
    this.#bytes = 0;
  }
}
