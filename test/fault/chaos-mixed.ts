/**
 * The mixed suite: plays a schedule in a world, phase by phase, and reports. Owns how each fault is made; whom it strikes
 * and when was drawn before (./chaos-schedule.ts).
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Proxy } from "../support/proxy.ts";
import { repositoryRoot } from "../support/root.ts";
import { deferred } from "../support/wait.ts";
import { judge, type Evidence } from "./chaos-oracle.ts";
import { countRequests } from "./chaos-requests.ts";
import {
  describe,
  drawSchedule,
  SESSIONS,
  type Fault,
  type LinkFault,
  type Schedule,
} from "./chaos-schedule.ts";
import type { ChaosSuite, SeedReport } from "./chaos-suite.ts";
import { ChaosWorld } from "./chaos-world.ts";

/** What a fault waits for its moment. */
const MOMENT_MS = 1_500;
const SEED_LIMIT_MS = 300_000;

export const mixedSuite: ChaosSuite = {
  async run(seed): Promise<SeedReport> {
    const schedule = drawSchedule(seed);
    const report = { seed, schedule: describe(schedule) };
    let world: ChaosWorld | undefined;
    try {
      world = await ChaosWorld.start(schedule);
      const counts = await inTime(play(world, schedule));
      return {
        ...report,
        problems: world.problems,
        counts,
        recoveries: world.recoveries,
        leftOut: world.disk.leftOut,
      };
    } catch (error) {
      const pending = world?.players.flatMap((player) => [...player.pending]) ?? [];
      const problems = [
        ...(world?.problems ?? []),
        ...(world?.players.flatMap(({ client }) => client.view().faults) ?? []),
        ...pending.map(({ client, asked }) => `${client} waits for the answer to ${JSON.stringify(asked)}`),
        (error as Error).stack ?? String(error),
      ];
      return { ...report, problems, counts: {}, recoveries: [], leftOut: world?.disk.leftOut ?? [] };
    } finally {
      await world?.close();
    }
  },
};

async function play(world: ChaosWorld, schedule: Schedule): Promise<Record<string, number>> {
  const begun = schedule.phases.map(() => deferred());
  const playing = Promise.all(
    world.players.map(async (player, client) => {
      for (const [phase, { ops }] of schedule.phases.entries()) {
        await begun[phase]!.promise;
        for (const op of ops[client]!) await player.play(op);
      }
    }),
  );
  // It is awaited below; until then it must not end the process.
  playing.catch(() => undefined);
  const struck: Record<string, number> = {};
  for (const [phase, { faults }] of schedule.phases.entries()) {
    world.beginPhase();
    begun[phase]!.resolve();
    await Promise.all(
      faults.map(async (fault) => {
        await world.moment(fault.after, MOMENT_MS);
        struck[fault.kind] = (struck[fault.kind] ?? 0) + 1;
        await strike(world, fault);
      }),
    );
  }
  await playing;
  const evidence = await world.rest();
  world.problems.push(...world.players.flatMap(({ problems }) => problems), ...judge(evidence));
  if (world.problems.length > 0) keep(evidence, world.problems, schedule.seed);
  await world.verify();
  const count = (type: string): number =>
    [...evidence.logs.values()].flatMap(({ entries }) => entries).filter(({ event }) => event.type === type)
      .length;
  return {
    acked: evidence.promised.filter(({ answer }) => answer === "acked").length,
    runs: count("run-finished"),
    calls: count("tool-result"),
    compacted: count("compacted"),
    forks: evidence.logs.size - SESSIONS,
    ...countRequests(evidence, world.restarts),
    ...struck,
  };
}

/** For whoever looks for the cause: the logs, a line an entry. */
function keep({ logs, journals }: Evidence, problems: readonly string[], seed: number): void {
  const folder = join(repositoryRoot, ".artifacts", `chaos-${seed}`);
  mkdirSync(folder, { recursive: true });
  const write = (name: string, lines: readonly unknown[]): void =>
    writeFileSync(join(folder, name), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  write("problems.jsonl", problems);
  for (const [session, { entries }] of logs) write(`${session}.jsonl`, entries);
  for (const [at, lines] of journals.entries()) write(`provider${at}.jsonl`, lines);
}

async function strike(world: ChaosWorld, fault: Fault): Promise<void> {
  switch (fault.kind) {
    case "kill":
      return world.restart("SIGKILL");
    case "stop":
      return world.restart("SIGTERM");
    case "freeze":
      world.server.process.kill("SIGSTOP");
      await pause(fault.ms);
      world.server.process.kill("SIGCONT");
      return;
    case "full":
      world.disk.fill();
      await pause(fault.ms);
      world.disk.free();
      return;
    case "failing":
      world.disk.failing(true);
      await pause(fault.ms);
      world.disk.failing(false);
      return;
    case "kill-provider":
      world.providers[fault.provider]!.kill("SIGKILL");
      await pause(fault.ms);
      world.startProvider(fault.provider);
      return;
    case "freeze-provider":
      world.providers[fault.provider]!.kill("SIGSTOP");
      await pause(fault.ms);
      world.providers[fault.provider]!.kill("SIGCONT");
      return;
    default:
      for (const link of fault.links) begin(fault.kind, world.links[link]!);
      await pause(fault.ms);
      for (const link of fault.links) end(fault.kind, world.links[link]!);
  }
}

function begin(kind: LinkFault, link: Proxy): void {
  if (kind === "cut") link.cut();
  else if (kind === "stall") link.stall();
  else if (kind === "stall-server") link.stallServer();
  else if (kind === "half-open") link.halfOpen();
  else if (kind === "bytes") link.singleBytes(true);
  else if (kind === "delay") link.delay(20);
  else link.refuse(true);
}

function end(kind: LinkFault, link: Proxy): void {
  if (kind === "stall" || kind === "stall-server") link.flow();
  else if (kind === "half-open") link.loseClients();
  else if (kind === "bytes") link.singleBytes(false);
  else if (kind === "delay") link.delay(0);
  else if (kind === "refuse") link.refuse(false);
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  const { promise, reject } = deferred<never>();
  const timer = setTimeout(() => reject(new Error(`not over after ${SEED_LIMIT_MS} ms`)), SEED_LIMIT_MS);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}
