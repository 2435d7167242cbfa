/**
 * The bench harness, not its figures: `bench quick` runs every bench, prints rows for people, and ends with JSON of the
 * documented shape. Also the statistics on numbers whose answer is known. No time is asserted: this is no measurement.
 * limit: 300 s
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { compiled } from "../support/root.ts";
import { spawnNode, temporaryDirectory } from "../support/process.ts";
import { assert, suite } from "../support/suite.ts";
import type { Row } from "../bench/bench.ts";
import { writeCharts } from "../bench/chart.ts";
import { rowsAsJson, table } from "../bench/report.ts";
import { interleave } from "../bench/slices.ts";
import { quantile, ratioOf } from "../bench/stats.ts";

const test = suite("bench");

async function bench(
  ...args: string[]
): Promise<{ code: number | null; out: readonly string[]; err: string }> {
  const child = spawnNode([compiled("test/bench/main.ts"), ...args]);
  const { code } = await child.exited;
  return { code, out: child.stdout, err: child.stderr.join("\n") };
}

test("quick runs every bench and ends with rows as JSON", { limitMs: 240_000 }, async () => {
  const charts = temporaryDirectory();
  const { code, out, err } = await bench("quick", "--samples", "2", "--charts", charts, "--json");
  assert.is(code, 0, err);
  const last = JSON.parse(out.at(-1) ?? "");
  assert.equal(Object.keys(last), ["rows"]);
  for (const row of last.rows) {
    assert.equal(Object.keys(row), ["name", "ratio", "goal", "better", "interval"]);
    const [from, to] = row.interval;
    // A row in µs is a difference, and with two samples the bare side may come out the slower one.
    // And of a short stream the system itself may hold all that one reader does not take.
    const positive = row.ratio > 0 || row.name.includes("µs") || row.name.includes("bytes kept");
    assert.ok(positive && Number.isFinite(row.ratio), JSON.stringify(row));
    assert.ok(from <= to && row.interval.length === 2, JSON.stringify(row));
    assert.ok(row.goal === null || row.goal > 0, JSON.stringify(row));
    assert.ok(["lower", "higher"].includes(row.better), JSON.stringify(row));
    assert.ok(
      out.some((line) => line.startsWith(row.name)),
      `${row.name} is in the table too`,
    );
  }
  for (const name of [
    "fan-out",
    "connections",
    "first-token",
    "durable-sends",
    "tool-call",
    "idle-sessions",
    "recovery",
    "presence",
    "search",
    "replay",
    "slow-readers",
    "long-session",
    "threads",
    "growth",
  ]) {
    assert.ok(
      last.rows.some((row: { name: string }) => row.name.startsWith(name)),
      name,
    );
  }
  assert.match(out.join("\n"), /node v\d+.*\n.*data in/);
  assert.match(out.join("\n"), /load [\d.]+/);
  assert.equal(readdirSync(charts).toSorted(), ["growth-clients.svg", "growth-log.svg", "ratios.svg"]);
});

test("a chart shows each row's own figure, and where it was measured", () => {
  const folder = temporaryDirectory();
  const row = { name: "x", ratio: 0.25, goal: 0.5, better: "lower", interval: [0.2, 0.3] } as const;
  const point = (x: number, ratio: number): Row => ({
    ...row,
    ratio,
    goal: null,
    chart: { name: "clients", title: "More clients", x, xs: "clients", ys: "µs", series: "Haulout" },
  });
  const files = writeCharts(
    folder,
    [row, point(1, 30), point(10, 7.5), point(100, 4)],
    ["2 × Some <processor>"],
  );
  assert.equal(files, ["growth-clients.svg", "ratios.svg"]);
  const [growth = "", ratios = ""] = files.map((file) => readFileSync(join(folder, file), "utf8"));
  assert.equal(
    [...growth.matchAll(/<title>(.*?)<\/title>/g)].map(([, value]) => value),
    ["30", "7.5", "4"],
  );
  assert.match(growth, /More clients[\s\S]*>Haulout<[\s\S]*2 × Some &lt;processor>/);
  const xs = [...growth.matchAll(/cx="([\d.]+)"/g)].map(([, x]) => Number(x));
  assert.ok(Math.abs(xs[1]! - xs[0]! - (xs[2]! - xs[1]!)) < 0.2, "powers of ten are as far from each other");
  assert.match(ratios, />0\.25 \(≤ 0\.5\)</);
});

test("what cannot be run is told, with the names that can", async () => {
  for (const args of [[], ["no-such-bench"], ["quick", "--samples", "none"], ["--fast"]]) {
    const { code, err } = await bench(...args);
    assert.is(code, 2);
    assert.match(err, /usage: .*\n[\s\S]*first-token/);
  }
});

test("quantiles lie between neighbours", () => {
  assert.is(quantile([4, 1, 3, 2], 0.5), 2.5);
  assert.is(quantile([5], 0.99), 5);
  assert.is(quantile([1, 2, 3], 1), 3);
  assert.ok(Number.isNaN(quantile([], 0.5)));
});

test("a ratio of equal sides is 1, and its interval holds the truth", () => {
  const side = (from: number): number[] => Array.from({ length: 20 }, (_, at) => from + at);
  const same = Array.from({ length: 12 }, (_, at) => ({ ours: side(at), theirs: side(at) }));
  const median = (samples: readonly number[]): number => quantile(samples, 0.5);
  const equal = ratioOf(same, median);
  assert.is(equal.ratio, 1);
  const half = ratioOf(
    same.map(({ theirs }, at) => ({
      ours: theirs.map((value) => (value * (at % 2 === 0 ? 0.8 : 1.2)) / 2),
      theirs,
    })),
    median,
  );
  assert.ok(half.interval[0] <= 0.5 && half.interval[1] >= 0.5, String(half.interval));
  assert.ok(half.interval[0] < half.interval[1]);
  assert.equal(ratioOf(same, median, 7), ratioOf(same, median, 7));
});

test("slices go A B B A, and the first group only warms up", async () => {
  const order: string[] = [];
  const subject = (name: string): { name: string; slice(count: number): Promise<number[]> } => ({
    name,
    slice: (count) => {
      order.push(name);
      return Promise.resolve(Array.from({ length: count }, () => order.length));
    },
  });
  const taken = await interleave([subject("A"), subject("B")], 2, 3);
  assert.is(order.join(""), "ABBA".repeat(3));
  assert.equal(taken.get("A"), [
    [5, 5, 5, 8, 8, 8],
    [9, 9, 9, 12, 12, 12],
  ]);
});

test("tables line up, JSON keeps three digits", () => {
  assert.is(table(["a", "bb"], [["long", "1"]]), "a     bb\nlong   1");
  const row = {
    name: "x",
    ratio: 0.123456,
    goal: 0.7,
    better: "lower" as const,
    interval: [0.1, 1234.5] as const,
  };
  assert.is(
    rowsAsJson([row]),
    `{"rows":[{"name":"x","ratio":0.123,"goal":0.7,"better":"lower","interval":[0.1,1235]}]}`,
  );
});

test.run();
