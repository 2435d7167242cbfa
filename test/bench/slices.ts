/**
 * Measuring several things beside each other: slices in the order A B C C B A, so that a machine that gets slower or
 * busier does so for all alike. Owns order and warm-up; never a clock and never a statistic.
 */

export interface Subject {
  readonly name: string;
  /** Takes `count` samples, one after the other. */
  slice(count: number): Promise<number[]>;
}

/**
 * For each subject its samples by group; a group is one A B C C B A. The first group warms up and is thrown away, unless
 * it is not about the figures.
 */
export async function interleave(
  subjects: readonly Subject[],
  groups: number,
  perSlice: number,
  warmUp = true,
): Promise<Map<string, number[][]>> {
  const taken = new Map<string, number[][]>(subjects.map(({ name }) => [name, []]));
  for (let group = warmUp ? 0 : 1; group <= groups; group++) {
    const samples = new Map<string, number[]>(subjects.map(({ name }) => [name, []]));
    for (const subject of [...subjects, ...subjects.toReversed()]) {
      samples.get(subject.name)!.push(...(await subject.slice(perSlice)));
    }
    if (group > 0) for (const [name, list] of samples) taken.get(name)!.push(list);
  }
  return taken;
}
