// limit: 240 s
/**
 * kill -9 under a stream of acked sends: every acked send is in the log once, a repeated key runs nothing twice, what was
 * shown stays, and everything in flight gets an end. The long version is `npm run chaos -- --seeds 30`.
 */
import { assert, suite } from "../support/suite.ts";
import { seedFromEnvironment } from "../support/wait.ts";
import { runSeed, type ChaosReport } from "./chaos-world.ts";

const SEEDS = 5;
const test = suite("chaos");

test(`${SEEDS} worlds keep every promise under kill -9`, { limitMs: 230_000 }, async () => {
  const first = seedFromEnvironment();
  const reports: ChaosReport[] = [];
  for (let at = 0; at < SEEDS; at++) {
    const report = await runSeed((first + at) % 2 ** 32, 1 + (at % 2));
    reports.push(report);
    assert.equal(report.problems, [], `seed ${report.seed}, killed at ${report.moments.join(", ")}`);
  }
  const sum = (of: (report: ChaosReport) => number): number =>
    reports.reduce((all, report) => all + of(report), 0);
  console.log(
    `${sum(({ kills }) => kills)} kills, ${sum(({ acked }) => acked)} acked sends, ${sum(({ runs }) => runs)} runs, ` +
      `${sum(({ calls }) => calls)} calls, ${sum(({ duplicates }) => duplicates)} duplicates`,
  );
  assert.ok(sum(({ kills }) => kills) >= SEEDS);
  assert.ok(sum(({ acked }) => acked) >= 20 * SEEDS);
});

test.run();
