/**
 * Token buckets: how much somebody may send in a time, and the roster of those who are counted (users, addresses). Owns
 * the arithmetic and when one is forgotten; who is refused or closed is decided by those who ask. A rate of 0 is none.
 */

/** Fills at `rate` a second up to `burst`. Spending is always possible and may leave a debt, which is then waited for. */
export class Bucket {
  readonly #rate: number;
  readonly #burst: number;
  #level: number;
  #at: number;

  constructor(rate: number, burst: number, now: number) {
    this.#rate = rate / 1000;
    this.#burst = burst;
    this.#level = burst;
    this.#at = now;
  }

  /** Takes `amount`; answers after how many ms that would have been allowed, 0 for now. */
  spend(amount: number, now: number): number {
    if (this.#rate === 0) return 0;
    this.#fill(now);
    this.#level -= amount;
    return this.#level >= 0 ? 0 : Math.ceil(-this.#level / this.#rate);
  }

  /** Gives back, up to the burst. */
  credit(amount: number): void {
    this.#level = Math.min(this.#burst, this.#level + amount);
  }

  /** Owes more than a whole burst: it was told to wait, and went on. */
  get flooded(): boolean {
    return this.#rate !== 0 && this.#level < -this.#burst;
  }

  isFull(now: number): boolean {
    this.#fill(now);
    return this.#rate === 0 || this.#level >= this.#burst;
  }

  #fill(now: number): void {
    this.#level = Math.min(this.#burst, this.#level + (now - this.#at) * this.#rate);
    this.#at = now;
  }
}

export interface Rates {
  /** Frames a second on average, and how many more at once. */
  readonly framesPerSecond: number;
  readonly frameBurst: number;
  /** The same of bytes. */
  readonly bytesPerSecond: number;
  readonly byteBurst: number;
}

/** What one connection, or all of one user together, may send. */
export class Allowance {
  readonly #frames: Bucket;
  readonly #bytes: Bucket;
  #owedMs = 0;

  constructor(rates: Rates, now: number) {
    this.#frames = new Bucket(rates.framesPerSecond, rates.frameBurst, now);
    this.#bytes = new Bucket(rates.bytesPerSecond, rates.byteBurst, now);
  }

  message(bytes: number, now: number): void {
    this.#owedMs = this.#bytes.spend(bytes, now);
  }

  /** Counts one frame of the last message; answers after how many ms it would have been allowed, 0 for now. */
  frame(now: number): number {
    return Math.max(this.#frames.spend(1, now), this.#owedMs);
  }

  /** Frames that were asked for are free. */
  expect(frames: number): void {
    this.#frames.credit(frames);
  }

  get flooded(): boolean {
    return this.#frames.flooded || this.#bytes.flooded;
  }

  isFull(now: number): boolean {
    return this.#frames.isFull(now) && this.#bytes.isFull(now);
  }
}

/** Somebody on a roster: how many connections there are now, and whether anything is still held against them. */
export interface Counted {
  connections: number;
  isClear(now: number): boolean;
}

/** By name; who has left is remembered until nothing is held against them, so that coming back starts nothing anew. */
export class Roster<T extends Counted> {
  readonly #all = new Map<string, T>();
  readonly #left = new Set<string>();
  readonly #make: (now: number) => T;

  constructor(make: (now: number) => T) {
    this.#make = make;
  }

  get size(): number {
    return this.#all.size;
  }

  find(name: string, now: number): T {
    this.#forget(now);
    let found = this.#all.get(name);
    if (found === undefined) this.#all.set(name, (found = this.#make(now)));
    // Until a connection comes of it, it is one of those who left.
    if (found.connections === 0) this.#left.add(name);
    return found;
  }

  enter(name: string, now: number): T {
    const found = this.find(name, now);
    found.connections++;
    this.#left.delete(name);
    return found;
  }

  leave(name: string): void {
    const found = this.#all.get(name);
    if (found === undefined || --found.connections > 0) return;
    this.#left.add(name);
  }

  /** In the order in which they left, up to the first who must be remembered. */
  #forget(now: number): void {
    for (const name of this.#left) {
      if (!this.#all.get(name)!.isClear(now)) return;
      this.#all.delete(name);
      this.#left.delete(name);
    }
  }
}
