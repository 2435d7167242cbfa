/**
 * One world of mixed chaos: a server, ten sessions with three clients each, two providers, a load of every kind of
 * request, and the faults that the seed drew. Owns the processes and the order of things; what is drawn is
 * ./chaos-schedule.ts, how a fault is made ./chaos-faults.ts, what must hold ./chaos-oracle.ts.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { EventFrame } from "../../protocol/entries.ts";
import { spawnNode, spawnProcess, temporaryDirectory, type TestProcess } from "../support/process.ts";
import { startProxy, type Proxy } from "../support/proxy.ts";
import { Reader } from "../support/reader.ts";
import { compiled } from "../support/root.ts";
import { TestServer } from "../support/server.ts";
import { deferred, until } from "../support/wait.ts";
import { Wire } from "../support/wire.ts";
import { RawClient, type ChaosClient, type Watcher } from "./chaos-client.ts";
import { makeDisk, type Disk } from "./chaos-disk.ts";
import { Journal } from "./chaos-journal.ts";
import { LibraryClient } from "./chaos-library.ts";
import type { Evidence, Log } from "./chaos-oracle.ts";
import { Answerer } from "./chaos-people.ts";
import { Player } from "./chaos-player.ts";
import type { Recovery } from "./chaos-suite.ts";
import {
  AGENTS,
  CLIENTS,
  CLIENTS_PER_SESSION,
  PROVIDERS,
  SESSIONS,
  type Moment,
  type Schedule,
} from "./chaos-schedule.ts";

const GRACE_MS = 1_000;
/** How long anything may take before it counts as hanging. */
const PATIENCE_MS = 60_000;

export class ChaosWorld implements Watcher {
  readonly schedule: Schedule;
  readonly disk: Disk;
  readonly problems: string[] = [];
  /** One for each client, then one for each provider. */
  readonly links: Proxy[] = [];
  readonly providers: TestProcess[] = [];
  readonly journals: Journal[] = [];
  readonly players: Player[] = [];
  /** By client: what it does about requests. */
  readonly #people = new Map<ChaosClient, Answerer>();
  readonly recoveries: Recovery[] = [];
  /** When the server was ended, by its clock. */
  readonly restarts: number[] = [];
  #server!: TestServer;
  /** Its end is wanted. */
  #ending = false;
  #happened = new Map<string, number>();
  readonly #seen = new Map<string, number>();
  readonly #watchers = new Set<() => void>();
  /** Who is not live again since the server died. */
  readonly #waiting = new Set<ChaosClient>();
  #readyAt: number | undefined;
  #up = deferred();

  private constructor(schedule: Schedule, disk: Disk) {
    this.schedule = schedule;
    this.disk = disk;
  }

  static async start(schedule: Schedule): Promise<ChaosWorld> {
    const world = new ChaosWorld(schedule, await makeDisk());
    const { data, within, env } = world.disk;
    const config = { agents: AGENTS, providerGraceMs: GRACE_MS };
    world.#started(await TestServer.start({ data, within, config, env: { ...env, HAULOUT_LOG: "error" } }));
    for (let at = 0; at < CLIENTS + PROVIDERS; at++) world.links.push(await startProxy(world.#server));
    for (let at = 0; at < PROVIDERS; at++) {
      world.journals.push(new Journal(join(temporaryDirectory(), "journal")));
      world.startProvider(at);
    }
    await Promise.all(world.providers.map((provider) => provider.waitForLine(/^offered$/, PATIENCE_MS)));
    const wire = await Wire.connect(world.#server.url);
    for (let at = 0; at < SESSIONS; at++) {
      const agent = AGENTS[at % AGENTS.length]!.name;
      await wire.ok("createSession", { agent, session: `ses_${at}` });
    }
    await wire.close();
    world.#up.resolve();
    for (let at = 0; at < CLIENTS; at++) world.#addClient(at);
    await until(() => world.players.every(({ client }) => client.seq > 0), PATIENCE_MS, "all clients");
    return world;
  }

  get server(): TestServer {
    return this.#server;
  }

  #addClient(at: number): void {
    const session = `ses_${at % SESSIONS}`;
    const place = Math.floor(at / SESSIONS);
    const options = {
      name: `client${at}`,
      // The second and third of a session are one person with two pages.
      user: `user${at % SESSIONS}.${Math.min(place, CLIENTS_PER_SESSION - 2)}`,
      session,
      url: this.links[at]!.url,
      encoding: at % 2 === 0 ? ("msgpack" as const) : ("json" as const),
    };
    const client = place === 0 ? new LibraryClient(options, this) : new RawClient(options, this);
    const player = new Player(client, (what) => this.happened(what));
    this.players.push(player);
    this.#people.set(client, new Answerer(player, this.schedule.reactions[at]!, place === 0));
  }

  startProvider(at: number): void {
    const kind = at === 0 ? "raw" : "library";
    const args = [this.links[CLIENTS + at]!.url, this.journals[at]!.path, `ins_provider${at}`];
    const seed = String(this.schedule.providerSeeds[at]);
    this.providers[at] = spawnNode([
      "--enable-source-maps",
      compiled("test/fault/chaos-provider.ts"),
      ...args,
      seed,
      kind,
    ]);
  }

  // Watcher

  entry({ session, seq, event }: EventFrame, client: ChaosClient): void {
    this.#people.get(client)?.see(event);
    if (seq <= (this.#seen.get(session) ?? 0)) return;
    this.#seen.set(session, seq);
    this.happened(event.type);
  }

  live(client: ChaosClient): void {
    if (this.#waiting.delete(client)) {
      const ms = this.#readyAt === undefined ? 0 : performance.now() - this.#readyAt;
      this.recoveries.push({ client: client.name, ms });
    }
    this.happened("live");
  }

  up(): Promise<unknown> {
    return this.#up.promise;
  }

  happened(what: string): void {
    this.#happened.set(what, (this.#happened.get(what) ?? 0) + 1);
    for (const watcher of this.#watchers) watcher();
  }

  beginPhase(): void {
    this.#happened = new Map();
  }

  /** Resolves when it has happened so often in this phase, or, for what does not happen so often, after `ms`. */
  async moment({ what, times }: Moment, ms: number): Promise<void> {
    const { promise, resolve } = deferred();
    const look = (): void => {
      if ((this.#happened.get(what) ?? 0) >= times) resolve();
    };
    const timer = setTimeout(resolve, ms);
    this.#watchers.add(look);
    look();
    await promise;
    clearTimeout(timer);
    this.#watchers.delete(look);
  }

  /** Ends the server and starts it again on what it left. */
  async restart(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    this.#ending = true;
    this.#up = deferred();
    this.restarts.push(Date.now());
    this.#server.process.kill(signal);
    const { code } = await this.#server.process.exited;
    if (signal === "SIGTERM" && code !== 0) this.problems.push(`a stopped server ends with ${code}`);
    this.#readyAt = undefined;
    for (const { client } of this.players) this.#waiting.add(client);
    this.#started(await this.#server.again());
    for (const link of this.links) link.target(this.#server.port);
    this.#up.resolve();
    await this.#ready();
    this.#readyAt = performance.now();
  }

  async #ready(): Promise<void> {
    const { http } = this.#server;
    await until(async () => (await fetch(`${http}/readyz`)).status === 200, PATIENCE_MS, "readyz");
  }

  #started(server: TestServer): void {
    this.#server = server;
    this.#ending = false;
    void server.process.exited.then(({ code, signal }) => {
      if (this.#ending) return;
      const said = server.process.stderr.slice(-20).join("\n");
      this.problems.push(`the server ended by itself with ${signal ?? code}: ${said}`);
    });
  }

  /** Waits until everything is answered and shown, and collects what the oracle judges. */
  async rest(): Promise<Evidence> {
    // The store may still be coming back from the last fault of its disk.
    await this.#ready();
    const wire = await Wire.connect(this.#server.url);
    for (const session of await sessionsOf(wire)) {
      const reader = Reader.fromStart(session);
      await readToRest(reader, wire).catch((error: unknown) => this.problems.push(String(error)));
      for (const fault of reader.faults) this.problems.push(`the log of ${session}: ${fault}`);
    }
    wire.cut();
    // Of what is resolved, late answers hear how.
    const answering = (): boolean => [...this.#people.values()].some(({ busy }) => busy);
    await until(() => !answering(), PATIENCE_MS, "all answers").catch((error: unknown) => {
      this.problems.push(String(error));
      for (const { client, asked } of this.players.flatMap(({ pending }) => [...pending]))
        this.problems.push(`${client} waits for the answer to ${JSON.stringify(asked)}`);
    });
    await until(() => this.#untold().length === 0, PATIENCE_MS, "all verdicts").catch(() => {
      for (const call of this.#untold()) this.problems.push(`${call} never had a verdict`);
    });
    // Only now, for a late result leaves a line in its log.
    const logs = await this.#logs();
    const clients = this.players.map(({ client }) => client);
    const behind = (): ChaosClient[] =>
      clients.filter(({ session, seq }) => seq < (logs.get(session)?.entries.length ?? 0));
    await until(() => behind().length === 0, PATIENCE_MS, "all clients to show all").catch(() => {
      for (const { name, session, seq } of behind())
        this.problems.push(`${name} of ${session} stays at ${seq}`);
    });
    return {
      logs,
      views: clients.map((client) => client.view()),
      promised: this.players.flatMap(({ promised }) => promised),
      journals: this.journals.map((journal) => journal.read()),
    };
  }

  async #logs(): Promise<Map<string, Log>> {
    const logs = new Map<string, Log>();
    const wire = await Wire.connect(this.#server.url);
    const other = await Wire.connect(this.#server.url);
    for (const session of await sessionsOf(wire)) {
      const reader = Reader.fromStart(session);
      await reader.enter(wire);
      const snapshot = new Reader(session, { tail: 200 });
      await snapshot.enter(other);
      const entries = reader.entries.map(({ entry }) => entry);
      const raw = reader.entries.map((item) => item.raw as Uint8Array);
      logs.set(session, { entries, raw, snapshot: snapshot.state });
    }
    wire.cut();
    other.cut();
    return logs;
  }

  /** Results that the raw provider keeps, for nobody told it what became of them. */
  #untold(): string[] {
    const kept = new Set<string>();
    for (const line of this.journals[0]!.read()) {
      if (line.did === "problem" || line.did === "begun") continue;
      const { session, call, attempt } = line.reference;
      const name = `${session}/${call}/${attempt}`;
      if (line.did === "done") kept.add(name);
      else kept.delete(name);
    }
    return [...kept];
  }

  /** Stops the server as an operator would, and has what it leaves checked. */
  async verify(): Promise<void> {
    this.#ending = true;
    const { code } = await this.#server.stop();
    if (code !== 0) this.problems.push(`the server ends with ${code}`);
    const command: string[] = [
      ...this.disk.within,
      process.execPath,
      compiled("server/main.ts"),
      "verify",
      "--data",
      this.disk.data,
    ];
    const cwd = temporaryDirectory();
    mkdirSync(cwd, { recursive: true });
    const verify = spawnProcess(command[0]!, command.slice(1), { cwd });
    const exit = await verify.exited;
    if (exit.code !== 0) this.problems.push(`verify: ${[...verify.stdout, ...verify.stderr].join("; ")}`);
  }

  async close(): Promise<void> {
    this.#ending = true;
    for (const { client } of this.players) client.close();
    this.#up.resolve();
    for (const provider of this.providers) provider.kill("SIGKILL");
    this.#server.process.kill("SIGKILL");
    await this.#server.process.exited;
    this.disk.close();
    await Promise.all(this.links.map((link) => link.close()));
  }
}

/** Attaches again whenever the session leaves memory: it may find out late that its owner's grant was lost with a write. */
async function readToRest(reader: Reader, wire: Wire): Promise<void> {
  const atRest = (): boolean => reader.state?.run === undefined && reader.state?.queue.length === 0;
  for (;;) {
    await reader.enter(wire);
    await reader.until(() => atRest() || !reader.live, `the rest of ${reader.session}`, PATIENCE_MS);
    if (reader.live) return;
  }
}

async function sessionsOf(wire: Wire): Promise<string[]> {
  const found: string[] = [];
  for (let cursor: string | undefined; ;) {
    const page = await wire.ok("listSessions", { limit: 200, ...(cursor === undefined ? {} : { cursor }) });
    found.push(...(page["items"] as { id: string }[]).map(({ id }) => id));
    cursor = page["cursor"] as string | undefined;
    if (cursor === undefined) return found;
  }
}
