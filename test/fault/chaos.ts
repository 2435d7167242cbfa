/**
 * `npm run chaos -- --seeds N [--seed S] [--kills K]`: N worlds of chaos one after another, K kills -9 in each (2), from
 * seed S on (a random one unless told). A line a seed; ends with 1 if a promise is broken. Owns the command line alone.
 */
import { runSeed } from "./chaos-world.ts";

function option(name: string, otherwise: number): number {
  const at = process.argv.indexOf(`--${name}`);
  const value = at < 0 ? otherwise : Number(process.argv[at + 1]);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name} takes a number`);
  return value;
}

const seeds = option("seeds", 30);
const first = option("seed", Math.floor(Math.random() * 2 ** 31));
const kills = option("kills", 2);
const total = { kills: 0, acked: 0, runs: 0, entries: 0, calls: 0, duplicates: 0, broken: 0 };

console.log(`seeds ${first} to ${first + seeds - 1}, ${kills} kills each`);
for (let seed = first; seed < first + seeds; seed++) {
  const began = performance.now();
  try {
    const report = await runSeed(seed, kills);
    const { acked, runs, entries, calls, duplicates, moments, reasons, problems } = report;
    total.kills += report.kills;
    total.acked += acked;
    total.runs += runs;
    total.entries += entries;
    total.calls += calls;
    total.duplicates += duplicates;
    if (problems.length > 0) total.broken++;
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    console.log(
      `seed ${seed}: ${acked} acks, ${duplicates} duplicates, ${entries} entries, ${calls} calls, ` +
        `runs ${JSON.stringify(reasons)}, killed at ${moments.join(", ")}; ${problems.length} problems, ${seconds} s`,
    );
    for (const problem of problems) console.log(`  PROBLEM ${problem}`);
  } catch (error) {
    total.broken++;
    console.log(`seed ${seed}: PROBLEM`, error);
  }
}
console.log(`${seeds} seeds: ${JSON.stringify(total)}`);
process.exit(total.broken === 0 ? 0 : 1);
