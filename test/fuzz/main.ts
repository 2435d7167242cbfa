/**
 * `npm run fuzz -- --runs N [--seed S] [--no-live]`: N hostile inputs for each client frame type through scan, decoder,
 * schemas and bounds, then at least 10 000 (N, if more) against a live server with a bystander, then N in each stage of one
 * with tokens. Exits 1 at the first input that breaks a promise, and prints it with the seed; in the stages also when the
 * server's event loop computed for more than 100 ms without a pause, or its heap grew by more than 32 MiB. The short version of every `npm test` is fuzz.test.ts.
 */
import fc from "fast-check";
import { startServer } from "../conformance/wire.ts";
import { seeded, seedFromEnvironment } from "../support/wait.ts";
import { attack, Bystander } from "./hostile.ts";
import { FUZZED_TYPES, hostileInputs, noise, type Input } from "./inputs.ts";
import { takeIn } from "./pipeline.ts";
import { STAGES } from "./stage-inputs.ts";
import { playStage, MAX_GROWTH_MIB, MAX_STALL_MS, told } from "./stages.ts";

const LIVE_MINIMUM = 10_000;
const BATCH = 10_000;
// Half of the inputs end in an error, and its stack costs more than its cause.
Error.stackTraceLimit = 4;

function readArguments(given: readonly string[]): { runs: number; seed: number; live: boolean } {
  let runs = 100_000;
  let seed: number | undefined;
  let live = true;
  for (let at = 0; at < given.length; at++) {
    const name = given[at];
    if (name === "--no-live") live = false;
    else if (name === "--runs" || name === "--seed") {
      const value = Number(given[++at]);
      if (!Number.isInteger(value) || value < 0) throw new Error(`${name} takes a whole number`);
      if (name === "--runs") runs = value;
      else seed = value;
    } else throw new Error(`unknown option ${name}; use: npm run fuzz -- [--runs N] [--seed S] [--no-live]`);
  }
  if (seed !== undefined) process.env["HAULOUT_SEED"] = String(seed);
  return { runs, seed: seedFromEnvironment(), live };
}

function fuzzInProcess(name: string, inputs: fc.Arbitrary<Input>, runs: number, seed: number): void {
  const endings: Record<string, number> = {};
  fc.assert(
    fc.property(inputs, (input) => {
      for (const ending of takeIn(input)) endings[ending] = (endings[ending] ?? 0) + 1;
    }),
    { numRuns: runs, seed, endOnFailure: false },
  );
  console.log(`${name}: ${runs} inputs, ${JSON.stringify(endings)}`);
}

/** In batches, so that a million inputs need not be in memory. */
function* liveInputs(runs: number, seed: number): Generator<Input> {
  const any = fc.oneof(noise, ...FUZZED_TYPES.map(hostileInputs));
  for (let made = 0; made < runs; made += BATCH) {
    yield* fc.sample(any, { numRuns: Math.min(BATCH, runs - made), seed: (seed + made) | 0 });
  }
}

async function fuzzServer(runs: number, seed: number): Promise<void> {
  const { url, process: server } = await startServer();
  const bystander = await Bystander.join(url);
  bystander.start(2);
  const report = await attack(url, liveInputs(runs, seed), seeded(seed));
  await bystander.stop();
  server.kill("SIGKILL");
  const errors = Object.fromEntries(report.errors);
  console.log(
    `live server: ${report.sent} messages, errors ${JSON.stringify(errors)}, closes ${JSON.stringify(
      Object.fromEntries(report.closes),
    )}, ${report.unrefused} not refused; the bystander asked ${bystander.roundTrips.length} times`,
  );
  if (report.errors.has("internal")) {
    throw new Error(`the server failed on an input:\n${server.stderr.slice(0, 5).join("\n")}`);
  }
}

/** Every stage, whatever the one before showed. Throws what did not hold. */
async function fuzzStages(runs: number, seed: number): Promise<void> {
  const faults: string[] = [];
  for (const stage of STAGES) {
    const outcome = await playStage(stage, runs, seeded(seed));
    console.log(told(stage, outcome));
    if (outcome.stall.busyMs > MAX_STALL_MS)
      faults.push(`${stage}: the server computed for ${outcome.stall.busyMs} ms without a pause`);
    if (outcome.grownMib > MAX_GROWTH_MIB) faults.push(`${stage}: the heap grew by ${outcome.grownMib} MiB`);
  }
  if (faults.length > 0) throw new Error(faults.join("\n"));
}

try {
  const { runs, seed, live } = readArguments(process.argv.slice(2));
  for (const type of FUZZED_TYPES) fuzzInProcess(type, hostileInputs(type), runs, seed);
  fuzzInProcess("noise", noise, runs, seed);
  if (live) {
    await fuzzServer(Math.max(LIVE_MINIMUM, runs), seed);
    await fuzzStages(runs, seed);
  }
  console.log("no input broke a promise");
  process.exit(0);
} catch (error) {
  console.error(error);
  process.exit(1);
}
