/**
 * Group commit: all appends of the process that wait become one durable commit. Owns the queue between sessions and
 * the store, its bounds, and the order in which items are taken. Never looks into an item, never retries one, and never
 * puts two items of one session into a batch.
 */
import { checkItem } from "./check.ts";
import { StoreUnavailableError, type AppendItem, type AppendResult, type Store } from "./store.ts";

export interface CommitStats {
  readonly items: number;
  readonly entries: number;
  readonly bytes: number;
  /** From handing the batch to the store until it answered. */
  readonly ms: number;
}

export interface CommitQueueOptions {
  /** Rows in one commit (1000): entries, keys and what an index row brings. A single larger item is a commit of its own. */
  readonly maxBatchRows?: number;
  /** Bytes in one commit (1 MiB). A single larger item is a commit of its own. */
  readonly maxBatchBytes?: number;
  /** Bytes that may wait (64 MiB); beyond it `append` is refused. */
  readonly maxQueuedBytes?: number;
  /** Items that may wait (100 000); beyond it `append` is refused. */
  readonly maxQueuedItems?: number;
  /** Called after every commit, before its appends are answered. It must not throw. */
  readonly onCommit?: (stats: CommitStats) => void;
}

/** Totals since the start, except `queued` and `queuedBytes`: what waits or is being written now. */
export interface CommitCounters {
  readonly commits: number;
  readonly items: number;
  readonly entries: number;
  readonly bytes: number;
  readonly refused: number;
  readonly queued: number;
  readonly queuedBytes: number;
}

interface Waiting {
  readonly item: AppendItem;
  readonly bytes: number;
  readonly settle: (result: AppendResult) => void;
}

const ITEM_OVERHEAD_BYTES = 64;

export class CommitQueue {
  readonly #store: Pick<Store, "append">;
  readonly #limits: Required<Omit<CommitQueueOptions, "onCommit">>;
  readonly #onCommit: (stats: CommitStats) => void;
  readonly #total = { commits: 0, items: 0, entries: 0, bytes: 0, refused: 0, queued: 0, queuedBytes: 0 };
  #waiting: Waiting[] = [];
  #running: Promise<void> | undefined;
  #closed = false;
  #msPerByte = 0;

  constructor(store: Pick<Store, "append">, options: CommitQueueOptions = {}) {
    this.#store = store;
    this.#limits = {
      maxBatchRows: options.maxBatchRows ?? 1000,
      maxBatchBytes: options.maxBatchBytes ?? 2 ** 20,
      maxQueuedBytes: options.maxQueuedBytes ?? 64 * 2 ** 20,
      maxQueuedItems: options.maxQueuedItems ?? 100_000,
    };
    this.#onCommit = options.onCommit ?? (() => {});
  }

  get counters(): CommitCounters {
    return { ...this.#total };
  }

  /**
   * Settles when the item's commit has: see AppendResult. Rejects, and then nothing is written: StoreUnavailableError
   * with `retryAfterMs` if too much waits, or without it once closed; TypeError for a malformed item.
   */
  append(item: AppendItem): Promise<AppendResult> {
    return new Promise((settle, refuse) => {
      checkItem(item);
      const bytes = sizeOf(item);
      const refusal = this.#refusal(bytes);
      if (refusal !== undefined) {
        this.#total.refused++;
        refuse(refusal);
        return;
      }
      this.#total.queued++;
      this.#total.queuedBytes += bytes;
      this.#waiting.push({ item, bytes, settle });
      this.#running ??= this.#run();
    });
  }

  /** Refuses from now on; resolves when all that was queued is settled. The store stays open. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  #refusal(bytes: number): StoreUnavailableError | undefined {
    if (this.#closed) return new StoreUnavailableError("the commit queue is closed");
    const { queued, queuedBytes } = this.#total;
    // An item larger than the bound must still be able to pass alone.
    if (queued === 0) return undefined;
    if (queued < this.#limits.maxQueuedItems && queuedBytes + bytes <= this.#limits.maxQueuedBytes)
      return undefined;
    const retryAfterMs = Math.min(5000, Math.max(100, Math.ceil(queuedBytes * this.#msPerByte)));
    return new StoreUnavailableError("too many appends wait for the store", { retryAfterMs });
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      // One turn of the event loop, so that all it appends shares the commit.
      await new Promise(setImmediate);
      await this.#commit(this.#take());
    }
    this.#running = undefined;
  }

  #take(): Waiting[] {
    const { maxBatchRows, maxBatchBytes } = this.#limits;
    const taken: Waiting[] = [];
    const held: Waiting[] = [];
    const ids = new Set<string>();
    let rows = 0;
    let bytes = 0;
    let seen = 0;
    for (const waiting of this.#waiting) {
      const { item } = waiting;
      if (ids.has(item.id)) {
        held.push(waiting);
      } else {
        rows += rowsOf(item);
        bytes += waiting.bytes;
        if (taken.length > 0 && (rows > maxBatchRows || bytes > maxBatchBytes)) break;
        taken.push(waiting);
        ids.add(item.id);
      }
      seen++;
    }
    this.#waiting.splice(0, seen, ...held);
    return taken;
  }

  async #commit(taken: readonly Waiting[]): Promise<void> {
    const started = performance.now();
    const batch = taken.map((waiting) => waiting.item);
    let results: readonly AppendResult[] = [];
    let cause: unknown = new Error("the store gave no answer for the item");
    try {
      results = await this.#store.append(batch);
    } catch (error) {
      cause = error;
    }
    this.#count(taken, performance.now() - started);
    taken.forEach((waiting, at) => waiting.settle(results[at] ?? { status: "unknown", cause }));
  }

  #count(taken: readonly Waiting[], ms: number): void {
    const items = taken.length;
    const entries = taken.reduce((sum, waiting) => sum + waiting.item.entries.length, 0);
    const bytes = taken.reduce((sum, waiting) => sum + waiting.bytes, 0);
    this.#total.commits++;
    this.#total.items += items;
    this.#total.entries += entries;
    this.#total.bytes += bytes;
    this.#total.queued -= items;
    this.#total.queuedBytes -= bytes;
    this.#msPerByte = ms / bytes;
    this.#onCommit({ items, entries, bytes, ms });
  }
}

function sizeOf(item: AppendItem): number {
  let bytes =
    ITEM_OVERHEAD_BYTES + (item.index?.info.byteLength ?? 0) + (item.index?.requests?.byteLength ?? 0);
  for (const entry of item.entries) bytes += entry.byteLength;
  return bytes;
}

/** What a store will write, roughly: preparing rows is what a commit costs the event loop. */
function rowsOf(item: AppendItem): number {
  const keys = item.keys?.length ?? 0;
  const lists = item.index?.requests === undefined ? 1 : 2;
  const index = item.index === undefined ? 0 : 4 + lists * item.index.readers.length;
  const tallies = 2 * (item.tallies?.length ?? 0);
  return item.entries.length + keys + index + tallies + (item.searchable ? 1 : 0);
}
