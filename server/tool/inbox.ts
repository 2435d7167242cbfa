/**
 * An inbox: events pushed by callbacks, taken one at a time by one async reader. Owns their order; bounded by its users,
 * who push a fixed number of events a cause.
 */

export class Inbox<T> {
  readonly #items: T[] = [];
  #wake: ((item: T) => void) | undefined;

  push(item: T): void {
    const wake = this.#wake;
    if (wake === undefined) this.#items.push(item);
    else {
      this.#wake = undefined;
      wake(item);
    }
  }

  /** The next item; one reader at a time. */
  next(): Promise<T> {
    const item = this.#items.shift();
    if (item !== undefined) return Promise.resolve(item);
    return new Promise((resolve) => (this.#wake = resolve));
  }

  /** Takes out everything that waits, when nobody will ask for it any more. */
  drain(): T[] {
    return this.#items.splice(0);
  }

  get waiting(): number {
    return this.#items.length;
  }
}
