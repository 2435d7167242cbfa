/**
 * Stages of the fuzz on a live server with tokens: a peer before its hello, a viewer, an editor and a provider of a session,
 * with frames that name what is there. Owns the server, the people in it and what every input is held to: each request
 * answered or the connection closed with a code of the table, nothing `internal`. Judges no time; it only reads it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { startServer, WireConnection, type Frame, type TestServer } from "../conformance/wire.ts";
import type { Encoding } from "../../protocol/version.ts";
import { temporaryDirectory } from "../support/process.ts";
import { compiled } from "../support/root.ts";
import type { Random } from "../support/wait.ts";
import { allowedClose, Bystander, count, describe } from "./hostile.ts";
import type { Input } from "./inputs.ts";
import { References } from "./references.ts";
import { distinct, encodingOf, Inputs, type Stage } from "./stage-inputs.ts";

export interface StageReport {
  sent: number;
  /** Requests among the inputs that were answered by `ok`, and hellos by `welcome`. */
  readonly done: Map<string, number>;
  readonly errors: Map<string, number>;
  readonly closes: Map<number, number>;
}

/** Inputs about one session; then another one takes its place, so that no log grows with the number of inputs. */
const ROUND = 1000;
/** Peers beside each other; before the hello each of their inputs takes a connection of its own. */
const LANES = 3;
const GREETING_LANES = 16;
/** Inputs that a peer sends before it waits for what comes of them. */
const DEPTH = 8;
/** Inputs between two messages of the owner, so that there are runs and calls to be about. */
const SEND_EVERY = 50;
/** None: the limits have tests of their own, and here they would stand before the handlers. */
const LIMITS = [
  [
    "maxConnections",
    "maxConnectionsPerAddress",
    "maxConnectionsPerUser",
    "maxGreeting",
    "maxGreetingPerAddress",
  ],
  ["upgradesPerSecond", "framesPerSecond", "bytesPerSecond", "userFramesPerSecond", "userBytesPerSecond"],
].flat();
const RIGHTS: Readonly<Record<string, readonly string[]>> = {
  owner: ["create:*"],
  bystander: ["create:*"],
  viewer: ["create:*"],
  editor: ["create:*"],
  provider: ["provide:*"],
};
const TOOL = { name: "fuzzed", inputSchema: { type: "object" }, timeoutMs: 2000 };
/** Part of the inputs that come before the first measurement: they fill what any traffic fills, compiled code and caches. */
const WARM_UP = 0.2;
export const MAX_GROWTH_MIB = 32;
export const MAX_STALL_MS = 100;

export interface Stall {
  readonly busyMs: number;
  readonly wallMs: number;
}

export interface Outcome extends StageReport {
  /** How much larger the server's heap was after collection than after the first fifth of the inputs. */
  readonly grownMib: number;
  /** The longest that its event loop computed without a pause after that, and what the clock on the wall said then. */
  readonly stall: Stall;
  /** Questions of the bystander, each answered. */
  readonly asked: number;
}

/** A server of its own, and so many inputs. Throws at the first that breaks a promise. */
export async function playStage(stage: Stage, runs: number, random: Random): Promise<Outcome> {
  const arena = await Arena.start(20);
  const report: StageReport = { sent: 0, done: new Map(), errors: new Map(), closes: new Map() };
  await arena.attack(stage, Math.floor(runs * WARM_UP), random, report);
  const before = await arena.measure();
  await arena.attack(stage, runs - report.sent, random, report);
  const { heapUsed, stall } = await arena.measure();
  const grownMib = (heapUsed - before.heapUsed) / 2 ** 20;
  return { ...report, grownMib, stall, asked: await arena.stop() };
}

/** One line for people. */
export function told(stage: Stage, outcome: Outcome): string {
  const { sent, grownMib, stall, asked, done, errors, closes } = outcome;
  const counts = [done, errors, closes].map((map) => JSON.stringify(Object.fromEntries<number>(map)));
  return (
    `${stage}: ${sent} inputs, done ${counts[0]}, errors ${counts[1]}, closes ${counts[2]}; heap ` +
    `${grownMib.toFixed(1)} MiB more, busy for ${stall.busyMs.toFixed(0)} ms at most (${stall.wallMs.toFixed(0)} ms by the clock); the bystander asked ${asked} times`
  );
}

class Arena {
  readonly #server: TestServer;
  readonly #owner: WireConnection;
  readonly #bystander: Bystander;
  #asked = 0;
  #reports = 0;

  private constructor(server: TestServer, owner: WireConnection, bystander: Bystander) {
    this.#server = server;
    this.#owner = owner;
    this.#bystander = bystander;
  }

  /** A server on the embedded store, without limits of rate, with a bystander who asks every `everyMs`. */
  static async start(everyMs: number): Promise<Arena> {
    const folder = temporaryDirectory();
    const tokens = Object.entries(RIGHTS).map(([user, rights]) => ({ token: user, user, rights }));
    const config = {
      auth: { mode: "token", tokens },
      limits: { ...Object.fromEntries(LIMITS.map((name) => [name, 0])), maxInFlight: 1000 },
    };
    writeFileSync(join(folder, "haulout.json"), JSON.stringify(config));
    const server = await startServer(
      {
        HAULOUT_CONFIG: join(folder, "haulout.json"),
        HAULOUT_DATA: join(folder, "data"),
        HAULOUT_STORE: "embedded",
        HAULOUT_PROVIDER_GRACE_MS: "1000",
      },
      ["--expose-gc", "--import", compiled("test/fuzz/probe.ts")],
    );
    const owner = await WireConnection.open(server.url, "msgpack", { hello: { token: "owner" } });
    const bystander = await Bystander.join(server.url, "msgpack", "bystander");
    bystander.start(everyMs);
    return new Arena(server, owner, bystander);
  }

  /** Throws at the first input that breaks a promise. */
  async attack(stage: Stage, runs: number, random: Random, report: StageReport): Promise<void> {
    for (let left = runs; left > 0; left -= ROUND) {
      const references = new References(random.fork(), [this.#bystander.session], Object.keys(RIGHTS));
      const session = (references.session = await this.#createSession());
      const inputs = new Inputs(stage, Math.min(ROUND, left), random.fork(), references);
      const lanes =
        stage === "before hello"
          ? Array.from({ length: GREETING_LANES }, () => this.#greetingLane(inputs, report))
          : Array.from({ length: LANES }, () => this.#lane(stage, inputs, random.fork(), report));
      await Promise.all(lanes);
      await this.#ask({ type: "close", session });
    }
    if (report.errors.has("internal")) throw new Error(`the server failed:\n${this.#complaints()}`);
  }

  /** Rejects if the bystander was not served, or the server is gone. */
  async stop(): Promise<number> {
    await this.#bystander.stop();
    this.#server.process.kill("SIGKILL");
    return this.#bystander.roundTrips.length;
  }

  /** The server's heap after collection, in bytes, and its longest stall since the last question. */
  async measure(): Promise<{ heapUsed: number; stall: Stall }> {
    this.#reports++;
    process.kill(this.#server.process.pid, "SIGUSR2");
    for (;;) {
      const lines = this.#server.process.stdout.filter((line) => line.startsWith('{"memory"'));
      if (lines.length >= this.#reports) {
        const { memory, stall } = JSON.parse(lines.at(-1)!) as { memory: { heapUsed: number }; stall: Stall };
        return { heapUsed: memory.heapUsed, stall };
      }
      await sleep(50);
    }
  }

  async #createSession(): Promise<string> {
    const { session } = await this.#ask({ type: "createSession", agent: "demo" });
    for (const [user, role] of [
      ["viewer", "viewer"],
      ["editor", "editor"],
      ["provider", "editor"],
    ]) {
      await this.#ask({ type: "grant", session, user, role });
    }
    return session as string;
  }

  async #ask(frame: Frame): Promise<Frame> {
    const answer = await this.#owner.ask({ id: ++this.#asked, ...frame });
    // By then the fuzz may have filled the queue; of anything else it has no right to keep the owner.
    if (answer["type"] === "ok" || answer["code"] === "queue-full") return answer;
    throw new Error(`the owner's ${String(frame["type"])} got ${JSON.stringify(answer)}`);
  }

  async #greetingLane(inputs: Inputs, report: StageReport): Promise<void> {
    for (let [input] = inputs.next(1); input !== undefined; [input] = inputs.next(1)) {
      const connection = await WireConnection.open(this.#server.url, encodingOf(input), { hello: false });
      connection.sendRaw(input);
      await this.#settled(connection, input, report, (frame) => frame["type"] === "welcome");
      connection.terminate();
      report.sent++;
    }
  }

  async #lane(stage: Stage, inputs: Inputs, random: Random, report: StageReport): Promise<void> {
    const connections = new Map<Encoding, WireConnection>();
    try {
      for (;;) {
        if (inputs.due(SEND_EVERY)) await this.#work(inputs.references, random);
        const batch = inputs.next(DEPTH);
        if (batch.length === 0) return;
        for (const encoding of ["json", "msgpack"] as const) {
          let left = batch.filter((input) => encodingOf(input) === encoding);
          while (left.length > 0) {
            const connection = await this.#enter(stage, encoding, inputs.references, connections);
            const done = await this.#strike(connection, left, inputs.references, report);
            report.sent += done;
            left = left.slice(done);
          }
        }
      }
    } finally {
      for (const connection of connections.values()) connection.terminate();
    }
  }

  /** Something for the session to do: words, and a call of what a provider may have offered. */
  async #work({ session }: References, random: Random): Promise<void> {
    const tool = random.pick([TOOL.name, "plain", "clock"]);
    const script = [{ text: "at work" }, { calls: [{ tool, input: {} }] }, { text: "done" }];
    await this.#ask({
      type: "send",
      session,
      key: `work_${this.#asked}`,
      content: JSON.stringify({ script }),
    });
  }

  /** A connection of the stage's user that reads the session; the one before, as long as it lasts. */
  async #enter(
    stage: Stage,
    encoding: Encoding,
    references: References,
    connections: Map<Encoding, WireConnection>,
  ): Promise<WireConnection> {
    const before = connections.get(encoding);
    if (before !== undefined && before.closeCode === undefined) return before;
    const connection = await WireConnection.open(this.#server.url, encoding, { hello: { token: stage } });
    connections.set(encoding, connection);
    if (stage === "provider") connection.send({ type: "offerTools", id: PROBE - 2, tools: [TOOL] });
    connection.send({ type: "attach", id: PROBE - 1, session: references.session });
    return connection;
  }

  /**
   * Sends inputs back to back, each with a good request behind it, and sees what comes of them, in order. Answers how many
   * are done with: the one that ends the connection is the last of them.
   */
  async #strike(
    connection: WireConnection,
    inputs: readonly Input[],
    references: References,
    report: StageReport,
  ): Promise<number> {
    const batch = distinct(inputs);
    batch.forEach(({ input }, at) => {
      connection.sendRaw(input);
      // Whatever the input was, a good request after it is answered, or the connection ends.
      connection.send({ type: "listAgents", id: PROBE + at });
    });
    let done = 0;
    for (const { input, ids } of batch) {
      for (const id of [...ids, PROBE + done])
        await this.#settled(connection, input, report, (frame) => isAnswer(frame) && frame["id"] === id);
      done++;
      if (connection.closeCode !== undefined) break;
    }
    for (const frame of connection.frames.splice(0)) this.#note(frame, references, report);
    return done;
  }

  /** Until a frame that passes has come, or the connection ended as it may. */
  async #settled(
    connection: WireConnection,
    input: Input,
    report: StageReport,
    passes: (frame: Frame) => boolean,
  ): Promise<void> {
    if (connection.closeCode === undefined) {
      try {
        const frame = await connection.take(passes, PATIENCE_MS);
        if (frame["type"] === "welcome") count(report.done, "welcome");
        // Back to the others, to be counted with them.
        if (!isProbe(frame)) connection.frames.push(frame);
        return;
      } catch (error) {
        if (connection.closeCode === undefined) throw describe(error, input);
      }
      count(report.closes, connection.closeCode);
    }
    if (!allowedClose(connection.closeCode, input))
      throw describe(new Error(`closed with ${connection.closeCode}`), input);
  }

  #note(frame: Frame, references: References, report: StageReport): void {
    references.note(frame);
    if (isProbe(frame)) return;
    if (frame["type"] === "error") count(report.errors, frame["code"] as string);
    if (frame["type"] === "ok") count(report.done, "ok");
  }

  #complaints(): string {
    return this.#server.process.stderr.slice(0, 10).join("\n");
  }
}

/** The first id of good requests; what a peer enters with has the two before it. */
const PROBE = 4_100_000_000;
const PATIENCE_MS = 30_000;

function isProbe({ id }: Frame): boolean {
  return (id as number) >= PROBE - 2 && (id as number) < PROBE + DEPTH;
}

function isAnswer({ type }: Frame): boolean {
  return type === "ok" || type === "error";
}
