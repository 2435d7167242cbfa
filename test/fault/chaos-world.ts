/**
 * One seed of chaos: a server on one directory under a stream of keyed sends, killed with -9 at random moments and started
 * again, until everything is answered. Owns the processes, the moments of death and the order of things; what the
 * clients do is theirs (./chaos-sender.ts, ./chaos-provider.ts), what must hold is ./chaos-check.ts.
 */
import { TestServer } from "../support/server.ts";
import { deferred, seeded, type Random } from "../support/wait.ts";
import { Wire } from "../support/wire.ts";
import { check, type Checked } from "./chaos-check.ts";
import { ChaosProvider } from "./chaos-provider.ts";
import { Sender } from "./chaos-sender.ts";
import type { ChaosSuite, SeedReport } from "./chaos-suite.ts";

export interface ChaosReport extends Checked {
  readonly seed: number;
  readonly kills: number;
  /** What the server was doing when it was killed, as its clients saw it. */
  readonly moments: readonly string[];
  readonly connections: number;
  readonly repeats: number;
  readonly duplicates: number;
}

const SESSIONS = 4;
const SENDERS = 4;
/** Acks that a seed has at least, however slow the machine. */
const MIN_ACKS = 30;
/** What a kill may wait for. */
const MOMENTS = [
  "ack",
  "input-queued",
  "run-started",
  "message",
  "tool-dispatched",
  "tool-accepted",
  "tool-result",
  "cancel-requested",
  "run-finished",
  "offer",
  "start",
];

export class World {
  sessions: { id: string; epoch: number; seq: number }[] = [];
  /** No new sends; what was sent is waited for. */
  settling = false;
  acks = 0;
  over = false;
  readonly #end = deferred();
  readonly ending = this.#end.promise;
  #server: TestServer | undefined;
  #up = deferred<string>();
  #happened = new Map<string, number>();
  #watch: (() => void) | undefined;

  get server(): TestServer {
    if (this.#server === undefined) throw new Error("no server runs");
    return this.#server;
  }

  /** Where the server is; waits while there is none. */
  url(): Promise<string> {
    return this.#up.promise;
  }

  /** Before another attempt to connect: the server of that moment is being killed, or not yet there. */
  pause(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, 20));
  }

  happened(what: string): void {
    this.#happened.set(what, (this.#happened.get(what) ?? 0) + 1);
    if (what === "ack") this.acks++;
    this.#watch?.();
  }

  async start(data?: string): Promise<void> {
    this.#happened = new Map();
    this.#server = await TestServer.start(data === undefined ? {} : { data });
    this.#up.resolve(this.#server.url);
    this.happened("start");
  }

  /** Kills the server once `what` has happened `times` times since its start. */
  async killAfter(what: string, times: number, limitMs: number): Promise<string> {
    const moment = await new Promise<string>((resolve) => {
      const timer = setTimeout(() => resolve(`after ${limitMs} ms`), limitMs);
      this.#watch = () => {
        if ((this.#happened.get(what) ?? 0) < times) return;
        clearTimeout(timer);
        resolve(`${what} ${times}`);
      };
      this.#watch();
    });
    this.#watch = undefined;
    const { server } = this;
    server.process.kill("SIGKILL");
    this.#up = deferred();
    await server.process.exited;
    return moment;
  }

  /** Resolves when so many sends have been acked in all lives. */
  acked(times: number): Promise<void> {
    return new Promise((resolve) => {
      this.#watch = () => {
        if (this.acks >= times) resolve();
      };
      this.#watch();
    });
  }

  finish(): void {
    this.over = true;
    this.#end.resolve();
  }
}

/** Kills in each world. */
const KILLS = 2;

export const mixedSuite: ChaosSuite = {
  async run(seed): Promise<SeedReport> {
    const fixed = { seed, recoveries: [], leftOut: [] };
    try {
      const report = await runSeed(seed, KILLS);
      const { acked, runs, entries, calls, duplicates, kills, problems } = report;
      const schedule = report.moments.map((moment) => `kill -9 at ${moment}`);
      return { ...fixed, schedule, problems, counts: { kills, acked, runs, entries, calls, duplicates } };
    } catch (error) {
      return { ...fixed, schedule: [], counts: {}, problems: [(error as Error).stack ?? String(error)] };
    }
  },
};

/** Runs one seed. Rejects when it hangs; what is wrong otherwise stands in `problems`. */
export async function runSeed(seed: number, kills = 2): Promise<ChaosReport> {
  const random = seeded(seed);
  const world = new World();
  await world.start();
  const first = await Wire.connect(world.server.url);
  for (let at = 0; at < SESSIONS; at++) {
    const ok = await first.ok("createSession", { agent: "demo" });
    world.sessions.push({
      id: ok["session"] as string,
      epoch: ok["epoch"] as number,
      seq: ok["seq"] as number,
    });
  }
  first.cut();
  const senders = Array.from({ length: SENDERS }, (_, at) => new Sender(`user${at}`, world, random.fork()));
  const provider = new ChaosProvider(world, random.fork());
  const providing = provider.run();
  const sending = senders.map((sender) => sender.run());
  const everyone = Promise.all([providing, ...sending]);
  // A client that breaks must end the seed, not wait for a kill that never comes.
  const broken = new Promise<never>((_, reject) => void everyone.catch(reject));
  const moments = await Promise.race([killAll(world, random, kills), broken]);
  await Promise.race([world.acked(MIN_ACKS), broken]);
  world.settling = true;
  await Promise.race([Promise.all(sending), broken]);
  world.finish();
  await providing;
  const checked = await check(world, senders, provider);
  await world.server.kill();
  const sum = (of: (sender: Sender) => number): number =>
    senders.reduce((total, sender) => total + of(sender), 0);
  return {
    seed,
    kills,
    moments,
    ...checked,
    connections: sum(({ counts }) => counts.connections),
    repeats: sum(({ counts }) => counts.repeats),
    duplicates: sum(({ counts }) => counts.duplicates),
  };
}

async function killAll(world: World, random: Random, kills: number): Promise<string[]> {
  const moments: string[] = [];
  for (let kill = 0; kill < kills; kill++) {
    const what = random.pick(MOMENTS);
    const times = what === "start" || what === "offer" ? 1 : 1 + random.int(20);
    moments.push(await world.killAfter(what, times, 1500 + random.int(500)));
    await world.start(world.server.data);
  }
  return moments;
}
