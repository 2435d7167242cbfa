/**
 * What one connection may send: its own allowance and that of its user, and how often it was told to wait. Owns when
 * enough is enough; the refusal and the close are the connection's.
 */
import { Allowance, type Rates } from "./rate.ts";

export interface MeterOptions extends Rates {
  /** Requests refused as `rate-limited` within a minute that are a flood. */
  readonly maxRateLimited: number;
}

const MINUTE_MS = 60_000;

export class Meter {
  readonly #own: Allowance;
  readonly #shared: Allowance | undefined;
  readonly #maxRateLimited: number;
  #refused = 0;
  #refusedSince = -Infinity;

  /** `shared`: that of the user, for one who is counted. */
  constructor(options: MeterOptions, now: number, shared: Allowance | undefined) {
    this.#own = new Allowance(options, now);
    this.#shared = shared;
    this.#maxRateLimited = options.maxRateLimited;
  }

  message(bytes: number, now: number): void {
    this.#own.message(bytes, now);
    this.#shared?.message(bytes, now);
  }

  /** Counts one frame of the last message; answers after how many ms it would have been allowed, 0 for now. */
  frame(now: number): number {
    return Math.max(this.#own.frame(now), this.#shared?.frame(now) ?? 0);
  }

  /** Frames that the server asked for do not count. */
  expect(frames: number): void {
    this.#own.expect(frames);
    this.#shared?.expect(frames);
  }

  /** Counts a request that was refused as `rate-limited`. */
  refused(now: number): void {
    if (now - this.#refusedSince >= MINUTE_MS) {
      this.#refused = 0;
      this.#refusedSince = now;
    }
    this.#refused++;
  }

  /** A client that keeps to what it is told never comes here; one that goes on all the same does. */
  get flooded(): boolean {
    return this.#own.flooded || this.#shared?.flooded === true || this.#refused >= this.#maxRateLimited;
  }
}
