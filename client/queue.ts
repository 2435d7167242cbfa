/**
 * The queue behind an async iterator: items go in when they happen and come out when the reader asks. Owns its bounds:
 * when a slow reader lets it overflow, the iterator yields what it holds and then throws. Items are never dropped
 * silently. One reader.
 */
import { ProtocolError } from "../protocol/errors.ts";

export interface QueueBounds<T> {
  readonly maxItems: number;
  readonly maxBytes: number;
  /** About how many bytes an item holds. */
  size(item: T): number;
  /** The two as one item, if they can be. */
  merge?(last: T, item: T): T | undefined;
}

export class BoundedQueue<T> implements AsyncIterableIterator<T, undefined> {
  readonly #bounds: QueueBounds<T>;
  readonly #done: () => void;
  #items: T[] = [];
  #bytes = 0;
  #waiting: { resolve(result: IteratorResult<T, undefined>): void; reject(error: Error): void } | undefined;
  #ended = false;
  #error: Error | undefined;

  /** `done` is called once, when nothing more is taken. */
  constructor(bounds: QueueBounds<T>, done: () => void) {
    this.#bounds = bounds;
    this.#done = done;
  }

  push(item: T): void {
    if (this.#ended) return;
    if (this.#waiting !== undefined) {
      this.#waiting.resolve({ value: item, done: false });
      this.#waiting = undefined;
      return;
    }
    const last = this.#items.at(-1);
    const merged = last === undefined ? undefined : this.#bounds.merge?.(last, item);
    if (merged !== undefined) this.#items[this.#items.length - 1] = merged;
    const bytes = this.#bytes + this.#bounds.size(item);
    const count = this.#items.length + (merged === undefined ? 1 : 0);
    if (count > this.#bounds.maxItems || (bytes > this.#bounds.maxBytes && count > 1)) {
      const details = { items: this.#items.length, bytes: this.#bytes };
      this.end(new ProtocolError("queue-full", "the reader of this iterator is too slow", { details }));
      return;
    }
    this.#bytes = bytes;
    if (merged === undefined) this.#items.push(item);
  }

  /** Nothing more comes; after what is queued the iterator ends, or throws `error`. */
  end(error?: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#done();
    if (this.#waiting === undefined) return;
    if (error === undefined) this.#waiting.resolve({ value: undefined, done: true });
    else this.#waiting.reject(this.#takeError()!);
    this.#waiting = undefined;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#items.length > 0) {
      const value = this.#items.shift()!;
      // Merged items would need to be measured again; an empty queue holds nothing for certain.
      this.#bytes = this.#items.length === 0 ? 0 : Math.max(0, this.#bytes - this.#bounds.size(value));
      return Promise.resolve({ value, done: false });
    }
    const error = this.#takeError();
    if (error !== undefined) return Promise.reject(error);
    if (this.#ended) return Promise.resolve({ value: undefined, done: true });
    if (this.#waiting !== undefined) return Promise.reject(new Error("this iterator has one reader"));
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  /** The reader leaves. */
  return(): Promise<IteratorResult<T, undefined>> {
    this.#items = [];
    this.#error = undefined;
    this.end();
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #takeError(): Error | undefined {
    const error = this.#error;
    this.#error = undefined;
    return error;
  }
}
