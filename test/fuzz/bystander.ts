/**
 * `node .build/test/fuzz/bystander.js [--runs N] [--seed S]` (after a build): what hostile peers cost their neighbours. A
 * server takes N (20 000) hostile messages, with 1 MiB ones among them, while a bystander asks every 5 ms; prints the
 * bystander's round trips before and during, and the server's memory after collection before and after. Exits 1 above
 * p99 100 ms or + 64 MiB RSS. Not part of `npm test`, for it judges by time.
 */
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { startServer } from "../conformance/wire.ts";
import { compiled } from "../support/root.ts";
import { seeded, seedFromEnvironment, type Random } from "../support/wait.ts";
import { attack, Bystander } from "./hostile.ts";
import { FUZZED_TYPES, hostileInputs, noise, type Input } from "./inputs.ts";

const P99_MS = 100;
const RSS_MIB = 64;
const QUIET_MS = 5000;
const MIB = 1024 * 1024;

function option(name: string): number | undefined {
  const at = process.argv.indexOf(name);
  return at < 0 ? undefined : Number(process.argv[at + 1]);
}

/** One message in two hundred is as large as a message may be, and made to be slow to refuse. */
function* inputs(runs: number, random: Random): Generator<Input> {
  const any = fc.oneof(noise, ...FUZZED_TYPES.map(hostileInputs));
  const large: Input[] = [
    new Uint8Array(MIB).fill(0x80),
    new Uint8Array(MIB).fill(0x91),
    new Uint8Array(MIB).fill(0xd4),
    `[${"[],".repeat(MIB / 4)}`,
    `{"type":"send","content":"${"\\u0041".repeat(MIB / 7)}"}`,
    "{}\n".repeat(MIB / 3 - 1),
    '"'.repeat(MIB),
    `{"a":"${"\\\\".repeat(MIB / 2 - 10)}`,
  ];
  for (let made = 0; made < runs; made += 1000) {
    for (const input of fc.sample(any, { numRuns: 1000, seed: random.int(2 ** 31) })) {
      yield random.chance(1 / 200) ? random.pick(large) : input;
    }
  }
}

function figures(roundTrips: readonly number[]): { p50: number; p99: number; most: number } {
  const sorted = roundTrips.toSorted((a, b) => a - b);
  const at = (part: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]!;
  return { p50: at(0.5), p99: at(0.99), most: sorted.at(-1)! };
}

async function watch<T>(url: string, work: () => Promise<T>): Promise<{ roundTrips: number[]; result: T }> {
  const bystander = await Bystander.join(url);
  bystander.start(5);
  const result = await work();
  await bystander.stop();
  return { roundTrips: bystander.roundTrips, result };
}

const seed = option("--seed") ?? seedFromEnvironment();
const random = seeded(seed);
const runs = option("--runs") ?? 20_000;
const server = await startServer({}, ["--expose-gc", "--import", compiled("test/fuzz/probe.ts")]);
let reports = 0;
async function memory(): Promise<{ rss: number; heapUsed: number }> {
  reports++;
  process.kill(server.process.pid, "SIGUSR2");
  for (;;) {
    const lines = server.process.stdout.filter((line) => line.startsWith('{"memory"'));
    if (lines.length >= reports) {
      return (JSON.parse(lines.at(-1)!) as { memory: { rss: number; heapUsed: number } }).memory;
    }
    await sleep(50);
  }
}

// A first round warms up what any traffic warms up.
await attack(server.url, inputs(2000, random), random);
const before = await memory();
const quiet = figures((await watch(server.url, () => sleep(QUIET_MS))).roundTrips);
const { roundTrips, result } = await watch(server.url, () =>
  attack(server.url, inputs(runs, random), random),
);
const busy = figures(roundTrips);
const after = await memory();
server.process.kill("SIGKILL");

const ms = (value: number): string => `${value.toFixed(1)} ms`;
const grown = (after.rss - before.rss) / MIB;
console.log(`${result.sent} hostile messages, errors ${JSON.stringify(Object.fromEntries(result.errors))}`);
console.log(`bystander alone:  p50 ${ms(quiet.p50)}, p99 ${ms(quiet.p99)}, most ${ms(quiet.most)}`);
console.log(
  `bystander beside: p50 ${ms(busy.p50)}, p99 ${ms(busy.p99)}, most ${ms(busy.most)} (${roundTrips.length} round trips)`,
);
console.log(
  `server after gc: rss ${(before.rss / MIB).toFixed(1)} → ${(after.rss / MIB).toFixed(1)} MiB, heap ${(
    before.heapUsed / MIB
  ).toFixed(1)} → ${(after.heapUsed / MIB).toFixed(1)} MiB`,
);
const good = busy.p99 <= P99_MS && grown <= RSS_MIB;
console.log(`${good ? "within" : "OVER"} p99 ≤ ${P99_MS} ms and rss ≤ +${RSS_MIB} MiB`);
process.exit(good ? 0 : 1);
