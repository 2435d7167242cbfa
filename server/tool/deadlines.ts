/**
 * One wheel for all deadlines: coarse buckets and a single timer, instead of a timer a call. Owns when a callback is due;
 * never what it does. Callbacks run at most one bucket late and never early.
 */

const BUCKET_MS = 20;

export class Deadlines {
  /** The clock that everything here goes by, ms. */
  readonly now: () => number;
  readonly #buckets = new Map<number, Set<() => void>>();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(now: () => number = Date.now) {
    this.now = now;
  }

  /** Runs `callback` once the clock has reached `at` (ms). Returns what takes it back. */
  at(at: number, callback: () => void): () => void {
    const bucket = Math.ceil(at / BUCKET_MS);
    let callbacks = this.#buckets.get(bucket);
    if (callbacks === undefined) this.#buckets.set(bucket, (callbacks = new Set()));
    // A wrapper, so that one function scheduled twice is two deadlines.
    const entry = (): void => callback();
    callbacks.add(entry);
    this.#arm();
    return () => {
      // Also out of a bucket that is being run.
      if (callbacks.delete(entry) && callbacks.size === 0 && this.#buckets.get(bucket) === callbacks) {
        this.#buckets.delete(bucket);
      }
    };
  }

  after(ms: number, callback: () => void): () => void {
    return this.at(this.now() + ms, callback);
  }

  close(): void {
    this.#closed = true;
    this.#buckets.clear();
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#closed) return;
    this.#timer = setInterval(() => this.#turn(), BUCKET_MS);
    this.#timer.unref();
  }

  #turn(): void {
    const reached = Math.floor(this.now() / BUCKET_MS);
    for (const [bucket, callbacks] of this.#buckets) {
      if (bucket > reached) continue;
      this.#buckets.delete(bucket);
      for (const callback of callbacks) callback();
    }
    if (this.#buckets.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
  }
}
