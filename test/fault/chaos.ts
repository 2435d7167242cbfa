/**
 * `npm run chaos -- --seeds N [--seed S] [--suite NAME] [--at-once N]`: N worlds of a suite, from seed S on (a random one
 * unless told). A line a seed; the schedule of one that broke a promise, or of a single one. Ends with 1 if a promise is
 * broken. Owns the command line alone.
 */
import { runSeeds, Totals, type ChaosSuite } from "./chaos-suite.ts";
import { mixedSuite } from "./chaos-mixed.ts";
import { toolsSuite } from "./tools-world.ts";

const SUITES: Readonly<Record<string, ChaosSuite>> = {
  mixed: mixedSuite,
  tools: toolsSuite({ calls: 1000, cancelShare: 0 }),
  "tools-cancels": toolsSuite({ calls: 1000, cancelShare: 0.02 }),
};
/** Restarted clients are live again within this. */
const LIVE_GOAL_MS = 5000;

function option(name: string): string | undefined {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? undefined : (process.argv[at + 1] ?? "");
}

function number(name: string, otherwise: number): number {
  const value = Number(option(name) ?? otherwise);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name} takes a number`);
  return value;
}

const name = option("suite") ?? "mixed";
const suite = SUITES[name];
if (suite === undefined) throw new Error(`--suite takes one of ${Object.keys(SUITES).join(", ")}`);
const seeds = number("seeds", 30);
const first = number("seed", Math.floor(Math.random() * 2 ** 31));
const atOnce = Math.max(1, number("at-once", 2));
const totals = new Totals();

console.log(`${name}: seeds ${first} to ${first + seeds - 1}, ${atOnce} at once`);
await runSeeds(suite, { first, seeds, atOnce }, (report, seconds) => {
  totals.add(report);
  const { seed, counts, problems, schedule } = report;
  console.log(
    `seed ${seed}: ${JSON.stringify(counts)}; ${problems.length} problems, ${seconds.toFixed(1)} s`,
  );
  for (const { client, ms } of report.recoveries)
    if (ms > LIVE_GOAL_MS) console.log(`  ${client} was live again only after ${Math.round(ms)} ms`);
  for (const problem of problems) console.log(`  PROBLEM ${problem}`);
  if (problems.length > 0 || seeds === 1) for (const line of schedule) console.log(`  ${line}`);
  if (problems.length > 0) console.log(`  again: npm run chaos -- --suite ${name} --seed ${seed} --seeds 1`);
});
for (const line of totals.lines()) console.log(line);
const slowest = totals.recoveredWithin(0.99) ?? 0;
if (slowest > LIVE_GOAL_MS) console.log(`goal missed: p99 ${Math.round(slowest)} ms, not ${LIVE_GOAL_MS}`);
process.exit(totals.broken === 0 ? 0 : 1);
