/**
 * A clock for client tests: time passes when the test says so, chance is what the test says. Owns no real timer.
 */
import type { Clock } from "../../../client/clock.ts";

export interface ManualClock extends Clock {
  /** What `random` answers (0.5). */
  chance: number;
  /** Lets `ms` pass: what is due runs, in order of its time, what that sets up included. */
  advance(ms: number): void;
  /** How many timers are set. */
  readonly timers: number;
}

export function manualClock(start = 1_000_000): ManualClock {
  let now = start;
  let order = 0;
  let timers: { at: number; order: number; work: () => void }[] = [];
  return {
    chance: 0.5,
    now: () => now,
    random() {
      return this.chance;
    },
    after(ms, work) {
      const timer = { at: now + Math.max(0, ms), order: order++, work };
      timers.push(timer);
      return () => {
        timers = timers.filter((item) => item !== timer);
      };
    },
    advance(ms) {
      const until = now + ms;
      for (;;) {
        const [next] = timers
          .filter((item) => item.at <= until)
          .sort((a, b) => a.at - b.at || a.order - b.order);
        if (next === undefined) break;
        timers = timers.filter((item) => item !== next);
        now = Math.max(now, next.at);
        next.work();
      }
      now = until;
    },
    get timers() {
      return timers.length;
    },
  };
}
