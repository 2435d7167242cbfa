/**
 * What a bench is: a name, a sentence, and a run that yields rows. Owns the shapes that main.ts, the benches and whoever
 * reads `--json` share; no behaviour.
 */

/**
 * One figure, always a ratio of two things measured in the same run; `interval` is its 95 % bootstrap interval.
 * `goal`: what we want, see `better`; null for a figure that has none.
 */
export interface Row {
  /** Where it stands in a chart of growth; such a row is no figure that has a goal. */
  readonly chart?: ChartPoint;
  readonly name: string;
  readonly ratio: number;
  readonly goal: number | null;
  readonly better: "lower" | "higher";
  readonly interval: readonly [number, number];
}

/** `name` of the chart, what its axes are called, and of which line the point is. */
export interface ChartPoint {
  readonly name: string;
  readonly title: string;
  readonly x: number;
  readonly xs: string;
  readonly ys: string;
  readonly series: string;
}

/** How thorough: `quick` proves that it runs, `normal` measures, `full` narrows the intervals. */
export type Size = "quick" | "normal" | "full";

export interface BenchOptions {
  readonly size: Size;
  /** Instead of the number of samples that the size has. */
  readonly samples: number | undefined;
  /** A line for people. */
  readonly say: (line: string) => void;
}

export interface Bench {
  readonly name: string;
  readonly about: string;
  readonly run: (options: BenchOptions) => Promise<Row[]>;
}

export function samplesOf(options: BenchOptions, bySize: Readonly<Record<Size, number>>): number {
  return options.samples ?? bySize[options.size];
}
