/**
 * What a suite of seeded worlds is to `npm run chaos` and to tests: a seed goes in, a report comes out, the same schedule
 * for the same seed. Owns the shape of a report and how seeds are run, several at once; never what a world does.
 */

/** How long after a restarted server said that it is ready a client was live again. */
export interface Recovery {
  readonly client: string;
  readonly ms: number;
}

export interface SeedReport {
  readonly seed: number;
  /** What was drawn from the seed, a line each: printed when something is wrong. */
  readonly schedule: readonly string[];
  /** Broken promises, in words; a world that hangs or breaks says so here, too. */
  readonly problems: readonly string[];
  /** Summed over all seeds. */
  readonly counts: Readonly<Record<string, number>>;
  readonly recoveries: readonly Recovery[];
  /** Faults that could not be made here, and why. */
  readonly leftOut: readonly string[];
}

export interface ChaosSuite {
  /** Plays one seed. Resolves whatever happens in it. */
  run(seed: number): Promise<SeedReport>;
}

/** Runs `seeds` from `first` on, `atOnce` worlds at a time; `done` hears of each as it ends. */
export async function runSeeds(
  suite: ChaosSuite,
  range: { readonly first: number; readonly seeds: number; readonly atOnce: number },
  done: (report: SeedReport, seconds: number) => void,
): Promise<void> {
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < range.seeds) {
      const seed = (range.first + next++) % 2 ** 32;
      const began = performance.now();
      done(await suite.run(seed), (performance.now() - began) / 1000);
    }
  };
  await Promise.all(Array.from({ length: Math.min(range.atOnce, range.seeds) }, work));
}

/** Adds up what reports count. */
export class Totals {
  readonly counts: Record<string, number> = {};
  readonly recoveries: number[] = [];
  readonly leftOut = new Set<string>();
  seeds = 0;
  broken = 0;

  add(report: SeedReport): void {
    this.seeds++;
    if (report.problems.length > 0) this.broken++;
    for (const [name, count] of Object.entries(report.counts))
      this.counts[name] = (this.counts[name] ?? 0) + count;
    this.recoveries.push(...report.recoveries.map(({ ms }) => ms));
    for (const fault of report.leftOut) this.leftOut.add(fault);
  }

  /** The time within which this share of all clients was live again; undefined when nothing was restarted. */
  recoveredWithin(share: number): number | undefined {
    const sorted = this.recoveries.toSorted((one, other) => one - other);
    return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)];
  }

  lines(): string[] {
    const ms = (share: number): string => `${Math.round(this.recoveredWithin(share) ?? 0)} ms`;
    return [
      `${this.seeds} seeds, ${this.broken} with broken promises: ${JSON.stringify(this.counts)}`,
      ...(this.recoveries.length === 0
        ? []
        : [
            `live again after readiness: p50 ${ms(0.5)}, p99 ${ms(0.99)}, all ${ms(1)} (${this.recoveries.length} clients)`,
          ]),
      ...[...this.leftOut].map((fault) => `left out: ${fault}`),
    ];
  }
}
