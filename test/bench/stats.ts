/**
 * Statistics of the benches: quantiles, and the bootstrap interval of a ratio. Owns the numbers' meaning and nothing
 * else. Groups are resampled, not samples: what disturbs a machine lasts longer than one sample, and the two sides of a
 * group were measured beside each other.
 */
import { seeded } from "../support/wait.ts";

/** The value below which `q` of the samples lie, between neighbours by their distance. NaN for none. */
export function quantile(samples: readonly number[], q: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const below = sorted[Math.floor(at)] ?? NaN;
  const above = sorted[Math.ceil(at)] ?? NaN;
  return below + (above - below) * (at - Math.floor(at));
}

export function median(samples: readonly number[]): number {
  return quantile(samples, 0.5);
}

export interface Estimate {
  readonly ratio: number;
  readonly interval: readonly [number, number];
}

/** Samples of two sides that were measured in the same stretch of time. */
export interface Group {
  readonly ours: readonly number[];
  readonly theirs: readonly number[];
}

const ROUNDS = 1000;

/** `statistic(all ours) / statistic(all theirs)`, with the middle 95 % of what resampled groups give. */
export function ratioOf(
  groups: readonly Group[],
  statistic: (samples: readonly number[]) => number,
  seed = 1,
): Estimate {
  const random = seeded(seed);
  const ratio = (chosen: readonly Group[]): number =>
    statistic(chosen.flatMap(({ ours }) => ours)) / statistic(chosen.flatMap(({ theirs }) => theirs));
  const resampled = Array.from({ length: ROUNDS }, () => ratio(groups.map(() => random.pick(groups))));
  return { ratio: ratio(groups), interval: [quantile(resampled, 0.025), quantile(resampled, 0.975)] };
}
