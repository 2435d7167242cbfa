// limit: 600 s
/**
 * Ten sessions with three clients each under every request and every fault at once: kills, freezes, broken connections, a
 * bad disk, lost providers. Every promise holds, and a seed is the same schedule again. The long version is
 * `npm run chaos -- --seeds 200`.
 */
import { assert, suite } from "../support/suite.ts";
import { seedFromEnvironment } from "../support/wait.ts";
import { mixedSuite } from "./chaos-mixed.ts";
import { describe, drawSchedule } from "./chaos-schedule.ts";
import { runSeeds, Totals } from "./chaos-suite.ts";

const SEEDS = 15;
const test = suite("chaos");

test("a seed is a schedule: the same again, another for another", () => {
  assert.equal(drawSchedule(7), drawSchedule(7));
  assert.not.equal(describe(drawSchedule(7)), describe(drawSchedule(8)));
});

test(`${SEEDS} worlds keep every promise`, { limitMs: 580_000 }, async () => {
  const totals = new Totals();
  const broken: string[] = [];
  const schedules: string[] = [];
  const range = { first: seedFromEnvironment(), seeds: SEEDS, atOnce: 3 };
  await runSeeds(mixedSuite, range, (report) => {
    totals.add(report);
    const { seed, schedule, problems } = report;
    if (problems.length === 0) return;
    broken.push(...problems.map((problem) => `seed ${seed}: PROBLEM ${problem}`));
    schedules.push(`seed ${seed}`, ...schedule);
  });
  for (const line of totals.lines()) console.log(line);
  assert.is(broken.length, 0, [...broken, ...schedules].join("\n"));
  assert.ok((totals.counts["kill"] ?? 0) >= SEEDS);
  assert.ok((totals.counts["acked"] ?? 0) >= 50 * SEEDS);
  assert.ok((totals.counts["requests"] ?? 0) >= 10 * SEEDS);
});

test.run();
