/**
 * One seed of tool calls in chaos: five provider processes and a server process, each behind a proxy, killed, frozen and
 * cut while one client asks for calls. Owns the processes and the faults, drawn from the seed; what is asked is
 * ./tools-load.ts, what must hold is ./tools-check.ts.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { EventFrame } from "../../protocol/entries.ts";
import { newId } from "../../protocol/ids.ts";
import { spawnNode, temporaryDirectory, type TestProcess } from "../support/process.ts";
import { startProxy, type Proxy } from "../support/proxy.ts";
import { Reader } from "../support/reader.ts";
import { compiled } from "../support/root.ts";
import { seeded, type Random } from "../support/wait.ts";
import { Wire } from "../support/wire.ts";
import type { ChaosSuite, SeedReport } from "./chaos-suite.ts";
import { judge } from "./tools-check.ts";
import { Load } from "./tools-load.ts";
import type { Trace } from "./tools-rules.ts";

const PROVIDERS = 5;
const START_LIMIT_MS = 60_000;
/** Of a seed, by its calls: a busy machine is slow, and this is no measurement. */
const LIMIT_MS = 60_000;
const LIMIT_PER_CALL_MS = 300;
/** A fault waits for progress, so that a slow machine is not killed to a standstill; but no longer than this. */
const PATIENCE_MS = 8000;

export interface ToolsOptions {
  readonly calls: number;
  /** Of the moments at which a run may be cancelled; 0: nobody cancels. */
  readonly cancelShare: number;
}

interface Provider {
  readonly name: string;
  readonly proxy: Proxy;
  instance: string;
  process: TestProcess;
  faulty: boolean;
}

export function toolsSuite(options: ToolsOptions): ChaosSuite {
  return {
    async run(seed) {
      const world = new ToolsWorld(seed, options);
      try {
        return await world.run();
      } catch (error) {
        return world.report([error instanceof Error ? (error.stack ?? error.message) : String(error)]);
      } finally {
        await world.end();
      }
    },
  };
}

class ToolsWorld {
  readonly #seed: number;
  readonly #options: ToolsOptions;
  readonly #random: Random;
  readonly #data = temporaryDirectory();
  readonly #traces = temporaryDirectory();
  readonly #providers: Provider[] = [];
  readonly #killed = new Set<number>();
  readonly #stopped: { from: number; to: number }[] = [];
  readonly #schedule: string[] = [];
  readonly #counts: Record<string, number> = {};
  readonly #began = performance.now();
  #server: TestProcess | undefined;
  #port = 0;
  #front: Proxy | undefined;
  #load: Load | undefined;
  #over = false;

  constructor(seed: number, options: ToolsOptions) {
    this.#seed = seed;
    this.#options = options;
    this.#random = seeded(seed);
  }

  async run(): Promise<SeedReport> {
    await this.#startServer();
    this.#front = await startProxy({ port: this.#port });
    for (let at = 0; at < PROVIDERS; at++) {
      const proxy = await startProxy({ port: this.#port });
      const instance = newId("ins");
      const name = `p${at}`;
      this.#providers.push({
        name,
        proxy,
        instance,
        process: this.#spawn(name, proxy, instance),
        faulty: false,
      });
    }
    await Promise.all(this.#providers.map(({ process }) => process.waitForLine(/^offered$/, START_LIMIT_MS)));
    const load = new Load(this.#front.url, this.#random.fork(), this.#options.cancelShare);
    this.#load = load;
    const trouble = [this.#random.fork(), this.#random.fork(), this.#random.fork()];
    await load.ask(this.#options.calls);
    const faults = [
      this.#troubleServer(trouble[0]!),
      ...trouble.slice(1).map((random) => this.#troubleProviders(random)),
    ];
    const broken = new Promise<never>((_, reject) => void Promise.all(faults).catch(reject));
    const limitMs = LIMIT_MS + LIMIT_PER_CALL_MS * this.#options.calls;
    await inTime(Promise.race([load.done, broken]), limitMs, () => load.unfinished);
    this.#over = true;
    await Promise.all(faults);
    load.close();
    const problems = [...load.problems, ...(await this.#drain())];
    const logs = await this.#logs(load.sessions, problems);
    const judged = judge({ logs, traces: this.#readTraces(), killed: this.#killed, stopped: this.#stopped });
    Object.assign(this.#counts, judged.counts, { asked: load.asked, cancels: load.cancels });
    return this.report([...problems, ...judged.problems]);
  }

  report(problems: readonly string[]): SeedReport {
    const counts = this.#counts;
    return { seed: this.#seed, schedule: this.#schedule, problems, counts, recoveries: [], leftOut: [] };
  }

  async end(): Promise<void> {
    this.#over = true;
    const all = [...this.#providers.map(({ process }) => process), ...(this.#server ? [this.#server] : [])];
    for (const process of all) process.kill("SIGKILL");
    await Promise.all(all.map(({ exited }) => exited));
    await this.#front?.close();
    await Promise.all(this.#providers.map(({ proxy }) => proxy.close()));
  }

  // --- the server ---

  async #startServer(): Promise<void> {
    this.#server = spawnNode(["--enable-source-maps", compiled("test/fault/tools-server.ts"), this.#data]);
    const [, port] = await this.#server.waitForLine(/^listening on port (\d+)$/, START_LIMIT_MS);
    this.#port = Number(port);
    this.#front?.target(this.#port);
    for (const { proxy } of this.#providers) proxy.target(this.#port);
  }

  async #troubleServer(random: Random): Promise<void> {
    for (;;) {
      if (!(await this.#progress(10 + random.int(60)))) return;
      const from = Date.now();
      if (random.chance(0.5)) {
        this.#note("kill", "server");
        this.#server!.kill("SIGKILL");
        await this.#server!.exited;
        await pause(random.int(200));
        await this.#startServer();
      } else {
        const ms = 50 + random.int(700);
        this.#note("freeze", `server for ${ms} ms`);
        await freeze(this.#server!, ms);
      }
      this.#stopped.push({ from, to: Date.now() });
    }
  }

  // --- providers: two may have trouble at once, so that the others live ---

  #spawn(name: string, proxy: Proxy, instance: string): TestProcess {
    const file = compiled("test/fault/tools-provider.ts");
    return spawnNode(["--enable-source-maps", file, proxy.url, name, instance, this.#traces]);
  }

  async #troubleProviders(random: Random): Promise<void> {
    for (;;) {
      if (!(await this.#progress(random.int(12)))) return;
      const provider = random.pick(this.#providers.filter(({ faulty }) => !faulty));
      provider.faulty = true;
      await this.#trouble(provider, random);
      provider.faulty = false;
    }
  }

  async #trouble(provider: Provider, random: Random): Promise<void> {
    const { name, proxy, process } = provider;
    const ms = random.int(random.pick([50, 600, 1200]));
    switch (random.pick(["kill", "freeze", "cut", "cut", "stall", "cut short", "drain"] as const)) {
      case "kill": {
        const same = random.chance(0.5);
        this.#note("kill", `${name}, back after ${ms} ms${same ? " by its name" : ""}`);
        this.#killed.add(process.pid);
        process.kill("SIGKILL");
        await process.exited;
        await this.#again(provider, ms, same);
        return;
      }
      case "freeze":
        this.#note("freeze", `${name} for ${ms} ms`);
        await freeze(process, ms);
        return;
      case "cut":
        this.#note("cut", `${name}, refused for ${ms} ms`);
        proxy.refuse(true);
        proxy.cut();
        await pause(ms);
        proxy.refuse(false);
        return;
      case "stall": {
        const cuts = random.chance(0.5);
        this.#note("stall", `${name} for ${ms} ms${cuts ? ", then cut" : ""}`);
        if (random.chance(0.5)) proxy.stall();
        else proxy.stallServer();
        await pause(ms);
        if (cuts) proxy.cut();
        proxy.flow();
        return;
      }
      case "cut short": {
        const bytes = 200 + random.int(4000);
        this.#note("cut short", `${name} after ${bytes} bytes`);
        proxy.cutAfter(bytes);
        proxy.cut();
        await pause(ms);
        proxy.cutAfter(undefined);
        return;
      }
      case "drain":
        this.#note("drain", `${name}, replaced after ${ms} ms`);
        process.kill("SIGTERM");
        // One that cannot say goodbye is not waited for; it may hang on a server that is away.
        if ((await Promise.race([process.exited, pause(3000)])) === undefined) {
          this.#killed.add(process.pid);
          process.kill("SIGKILL");
          await process.exited;
        }
        await this.#again(provider, ms, false);
        return;
    }
  }

  async #again(provider: Provider, ms: number, same: boolean): Promise<void> {
    await pause(ms);
    if (!same) provider.instance = newId("ins");
    provider.process = this.#spawn(provider.name, provider.proxy, provider.instance);
    await provider.process.waitForLine(/^offered$/, START_LIMIT_MS);
  }

  /** Every provider comes to rest by itself: nothing runs, and the server has given each result its verdict. */
  async #drain(): Promise<string[]> {
    const problems: string[] = [];
    for (const { name, process } of this.#providers) {
      process.kill("SIGTERM");
      const line = await process
        .waitForLine(/^drained, (\d+) running$/, START_LIMIT_MS)
        .catch((error: unknown) => {
          problems.push(`${name} does not come to rest: ${String(error)}`);
          this.#killed.add(process.pid);
        });
      if (line !== undefined && line[1] !== "0") problems.push(`${name} ends with ${line[1]} running`);
    }
    return problems;
  }

  // --- evidence ---

  async #logs(sessions: readonly string[], problems: string[]): Promise<EventFrame[][]> {
    const wire = await Wire.connect(`ws://127.0.0.1:${this.#port}/ws`);
    const logs: EventFrame[][] = [];
    for (const session of sessions) {
      const reader = Reader.fromStart(session);
      await reader.enter(wire);
      problems.push(...reader.faults);
      const { run, queue, calls } = reader.state!;
      if (run !== undefined || queue.length + calls.length > 0) problems.push(`${session} is not at rest`);
      logs.push(reader.entries.map(({ entry }) => entry));
    }
    wire.cut();
    return logs;
  }

  #readTraces(): Trace[] {
    return readdirSync(this.#traces).flatMap((file) =>
      readFileSync(join(this.#traces, file), "utf8")
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line) as Trace),
    );
  }

  #note(fault: string, whom: string): void {
    this.#schedule.push(`${Math.round(performance.now() - this.#began)} ms: ${fault} ${whom}`);
    const name = `faults: ${fault}${whom.startsWith("server") ? " server" : ""}`;
    this.#counts[name] = (this.#counts[name] ?? 0) + 1;
  }

  /** Resolves when so many more calls have their outcome; false when there is no more trouble to make. */
  async #progress(outcomes: number): Promise<boolean> {
    const load = this.#load!;
    const [from, patience] = [load.outcomes, performance.now() + PATIENCE_MS];
    while (!this.#over && load.outcomes < from + outcomes && performance.now() < patience) await pause(10);
    return !this.#over;
  }
}

/** Time is what this is about: faults come at drawn moments. */
function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function freeze(process: TestProcess, ms: number): Promise<void> {
  process.kill("SIGSTOP");
  await pause(ms);
  process.kill("SIGCONT");
}

async function inTime<T>(work: Promise<T>, limitMs: number, state: () => string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not over after ${limitMs} ms: ${state()}`)), limitMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
