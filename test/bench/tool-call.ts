/**
 * tool-call: the CPU that a server spends on one tool call to a provider over a socket, with a deadline, 64 in flight:
 * Haulout on the memory and the embedded store with its log, beside Socket.IO's `emitWithAck` with a timeout and HTTP POST
 * over connections that are kept. Each side is two processes, and only the calling one is measured. Both sides of a ratio
 * call in bursts of 64 and wait for all.
 */
import { compiled } from "../support/root.ts";
import { spawnNode, temporaryDirectory, type TestProcess } from "../support/process.ts";
import { samplesOf } from "./bench.ts";
import type { Bench, BenchOptions, Row } from "./bench.ts";
import { table } from "./report.ts";
import { interleave } from "./slices.ts";
import type { Subject } from "./slices.ts";
import { median, quantile, ratioOf } from "./stats.ts";
import { BURST } from "./tool-call-shape.ts";

const KINDS = ["socket.io", "memory", "embedded", "http"] as const;
type Kind = (typeof KINDS)[number];
const GOAL = 0.8;
/** Bursts of one sample, so that it is long beside the resolution of the clock. */
const BURSTS = 10;
const SLICE_LIMIT_MS = 60_000;

export const toolCall: Bench = {
  name: "tool-call",
  about: "server CPU per tool call, beside Socket.IO's emitWithAck and HTTP POST",
  async run(options) {
    const bursts = options.size === "quick" ? 1 : BURSTS;
    const groups = Math.max(1, Math.ceil(samplesOf(options, { quick: 4, normal: 40, full: 160 }) / 2));
    const running: TestProcess[] = [];
    try {
      const subjects: Subject[] = [];
      for (const kind of KINDS) subjects.push(await start(kind, bursts, running));
      // Compilers need more than one slice.
      if (options.size !== "quick") for (const subject of subjects) await subject.slice(8);
      return report(await interleave(subjects, groups, 1, options.size !== "quick"), bursts, options);
    } finally {
      for (const child of running) child.kill("SIGKILL");
      await Promise.all(running.map(({ exited }) => exited));
    }
  },
};

/** Samples are microseconds of CPU per call. */
async function start(kind: Kind, bursts: number, running: TestProcess[]): Promise<Subject> {
  const spawn = (side: "server" | "provider", url = ""): TestProcess => {
    const child = spawnNode([compiled(`test/bench/tool-call-${side}.ts`), kind, url], {
      cwd: temporaryDirectory(),
    });
    running.push(child);
    return child;
  };
  const address = async (child: TestProcess): Promise<string> =>
    (await child.waitForLine(/listening on (http:\S+)/, SLICE_LIMIT_MS))[1]!;
  let server: TestProcess;
  if (kind === "http") server = spawn("server", await address(spawn("provider")));
  else {
    server = spawn("server");
    await spawn("provider", await address(server)).waitForLine(/^provides$/, SLICE_LIMIT_MS);
  }
  let answers = 0;
  return {
    name: kind,
    async slice(count) {
      const taken: number[] = [];
      for (let at = 0; at < count; at++) {
        server.stdin.write(`${bursts}\n`);
        const [, us] = await server.waitForLine(new RegExp(`^spent ${++answers} (\\d+)$`), SLICE_LIMIT_MS);
        taken.push(Number(us));
      }
      return taken.map((us) => us / (bursts * BURST));
    },
  };
}

function report(
  taken: ReadonlyMap<string, readonly number[][]>,
  bursts: number,
  { say }: BenchOptions,
): Row[] {
  const all = (name: string): number[] => taken.get(name)!.flat();
  say(
    table(
      [`µs of CPU per call, ${bursts * BURST} calls each`, "samples", "p25", "p50", "p75"],
      [...taken.keys()].map((name) => [
        name,
        String(all(name).length),
        ...[0.25, 0.5, 0.75].map((q) => quantile(all(name), q).toFixed(1)),
      ]),
    ),
  );
  const row = (ours: Kind, theirs: Kind, name: string, goal: number | null): Row => {
    const groups = taken.get(ours)!.map((samples, at) => ({
      ours: samples,
      theirs: taken.get(theirs)![at] ?? [],
    }));
    return { name: `tool-call, ${name}`, ...ratioOf(groups, median), goal, better: "lower" };
  };
  return [
    row("memory", "socket.io", "memory store / emitWithAck with timeout", GOAL),
    row("embedded", "socket.io", "embedded store / the same", null),
    row("memory", "http", "memory store / HTTP POST", null),
  ];
}
