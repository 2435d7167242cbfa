/**
 * Time and chance as the client uses them, so that tests can hold both in their hands. Owns the one default; the
 * connection, the requests and the sessions touch no timer, Date or Math.random but through it.
 */
export interface Clock {
  /** Milliseconds since 1970. May jump; the client compares, it never trusts a timer to be on time. */
  now(): number;
  /** From 0 up to, not including, 1. */
  random(): number;
  /** Runs `work` after `ms` (0: after what is running now); returns what calls it off. */
  after(ms: number, work: () => void): () => void;
}

const LONGEST_TIMER_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  random: () => Math.random(),
  after(ms, work) {
    const timer = setTimeout(work, Math.min(Math.max(ms, 0), LONGEST_TIMER_MS));
    return () => clearTimeout(timer);
  },
};

/** A whole number of milliseconds from `low` to `high`. */
export function between(clock: Clock, low: number, high: number): number {
  return Math.round(low + clock.random() * Math.max(0, high - low));
}
