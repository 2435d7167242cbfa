/**
 * How long to wait before the next attempt to connect. Owns the numbers: full jitter, a low cap while an outage is
 * young, quick retries only after a connection has lasted. Never sets a timer.
 */
import { between } from "./clock.ts";
import type { Clock } from "./clock.ts";

/** All in milliseconds. */
export interface BackoffOptions {
  /** The first retry of an outage waits 0 to this (1000). */
  readonly firstMs?: number;
  /** Later ones wait from this (250) … */
  readonly minMs?: number;
  /** … to `baseMs` (500) · 2^n, at most the cap. */
  readonly baseMs?: number;
  /** The cap while an outage, the time since the last connection, is younger than `youngMs` (30 000): 2000. */
  readonly youngCapMs?: number;
  readonly youngMs?: number;
  /** The cap after that (30 000). */
  readonly capMs?: number;
  /** After a connection that lasted this long (10 000) the next retry is a first one. */
  readonly stableMs?: number;
}

export interface RetryHint {
  /** The server asked to come back within this window, in ms from now. */
  readonly window?: readonly [number, number];
  /** The server asked not to come back sooner, in ms. */
  readonly retryAfterMs?: number;
  /** The server is overloaded: not even the first retry is quick. */
  readonly slow?: boolean;
}

export class Backoff {
  readonly #options: Required<BackoffOptions>;
  readonly #clock: Clock;
  #retries = 0;
  #outageSince: number | undefined;
  #onlineSince: number | undefined;

  constructor(options: BackoffOptions, clock: Clock) {
    this.#options = {
      firstMs: 1000,
      minMs: 250,
      baseMs: 500,
      youngCapMs: 2000,
      youngMs: 30_000,
      capMs: 30_000,
      stableMs: 10_000,
      ...options,
    };
    this.#clock = clock;
  }

  /** A connection is up. */
  online(): void {
    this.#onlineSince = this.#clock.now();
  }

  /** A connection or an attempt is over; answers the ms to wait before the next attempt. */
  next(hint: RetryHint = {}): number {
    const options = this.#options;
    const now = this.#clock.now();
    if (this.#onlineSince !== undefined) {
      // However short, it says that the server is there: what follows is another outage.
      this.#outageSince = undefined;
      if (now - this.#onlineSince >= options.stableMs) this.#retries = 0;
    }
    this.#onlineSince = undefined;
    this.#outageSince ??= now;
    const retry = this.#retries++;
    if (hint.window !== undefined) return between(this.#clock, ...hint.window);
    const young = now - this.#outageSince < options.youngMs;
    const cap = young ? options.youngCapMs : options.capMs;
    const wait =
      retry === 0 && !hint.slow
        ? between(this.#clock, 0, options.firstMs)
        : between(
            this.#clock,
            options.minMs,
            Math.min(cap, options.baseMs * 2 ** Math.min(Math.max(retry, 1), 30)),
          );
    // The spread stays on top of what the server asked for, or all would come at the same instant.
    return hint.retryAfterMs === undefined ? wait : hint.retryAfterMs + wait;
  }
}
