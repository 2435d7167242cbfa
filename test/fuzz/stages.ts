/**
 * Stages of the fuzz on a live server with tokens: a peer before its hello, a viewer, an editor and a provider of a session,
 * with frames that name what is there. Owns the server, the people in it and what every input is held to: each request
 * answered or the connection closed with a code of the table, nothing `internal`. Judges no time; it only reads it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { decodeBinary, decodeText, encodeFrame, encodeJsonFrame } from "../../protocol/codec.ts";
import { isRequestType, usableId } from "../../server/socket/inbound.ts";
import { startServer, WireConnection, type Frame, type TestServer } from "../conformance/wire.ts";
import { goldenFrames } from "../protocol/frames.ts";
import { temporaryDirectory } from "../support/process.ts";
import { compiled } from "../support/root.ts";
import type { Random } from "../support/wait.ts";
import { allowedClose, Bystander, count, describe } from "./hostile.ts";
import { damaged, noise, type Input } from "./inputs.ts";
import { References } from "./references.ts";

export const STAGES = ["before hello", "viewer", "editor", "provider"] as const;
export type Stage = (typeof STAGES)[number];

export interface StageReport {
  sent: number;
  /** Requests among the inputs that were answered by `ok`, and hellos by `welcome`. */
  readonly done: Map<string, number>;
  readonly errors: Map<string, number>;
  readonly closes: Map<number, number>;
}

/** Inputs about one session; then another one takes its place, so that no log grows with the number of inputs. */
const ROUND = 1000;
const LANES = 4;
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
const golden = goldenFrames("client");

const PROVIDERS = new Set([
  "offerTools",
  "withdrawTools",
  "drain",
  "callAccepted",
  "callProgress",
  "callResult",
]);
/** What most inputs of a stage began as. */
const OWN: Readonly<Record<Stage, typeof golden>> = {
  "before hello": golden.filter(({ type }) => type === "hello"),
  viewer: golden,
  editor: golden,
  provider: golden.filter(({ type }) => PROVIDERS.has(type)),
};
/** Part of the inputs that come before the first measurement: they fill what any traffic fills, compiled code and caches. */
const WARM_UP = 0.2;
export const MAX_GROWTH_MIB = 32;

export interface Outcome extends StageReport {
  /** How much larger the server's heap was after collection than after the first fifth of the inputs. */
  readonly grownMib: number;
  /** The longest that its event loop was held up after that. */
  readonly stallMs: number;
  /** Questions of the bystander, each answered. */
  readonly asked: number;
}

/** A server of its own, and so many inputs. Throws at the first that breaks a promise. */
export async function playStage(stage: Stage, runs: number, random: Random): Promise<Outcome> {
  const arena = await Arena.start(20);
  const report: StageReport = { sent: 0, done: new Map(), errors: new Map(), closes: new Map() };
  await arena.attack(stage, Math.floor(runs * WARM_UP), random, report);
  const before = await arena.heap();
  await arena.longestStall();
  await arena.attack(stage, runs - report.sent, random, report);
  const stallMs = await arena.longestStall();
  const grownMib = ((await arena.heap()) - before) / 2 ** 20;
  return { ...report, grownMib, stallMs, asked: await arena.stop() };
}

/** One line for people. */
export function told(stage: Stage, outcome: Outcome): string {
  const { sent, grownMib, stallMs, asked, done, errors, closes } = outcome;
  const counts = [done, errors, closes].map((map) => JSON.stringify(Object.fromEntries<number>(map)));
  return (
    `${stage}: ${sent} inputs, done ${counts[0]}, errors ${counts[1]}, closes ${counts[2]}; heap ` +
    `${grownMib.toFixed(1)} MiB more, longest stall ${stallMs.toFixed(0)} ms; the bystander asked ${asked} times`
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
      openMetrics: true,
    };
    writeFileSync(join(folder, "haulout.json"), JSON.stringify(config));
    const server = await startServer(
      {
        HAULOUT_CONFIG: join(folder, "haulout.json"),
        HAULOUT_DATA: join(folder, "data"),
        HAULOUT_STORE: "embedded",
        HAULOUT_PROVIDER_GRACE_MS: "1000",
      },
      ["--expose-gc", "--import", compiled("test/fuzz/gc.ts")],
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
      const lanes = Array.from({ length: LANES }, () => this.#lane(stage, inputs, random.fork(), report));
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

  /** The longest that the server's event loop was held up since the last question, ms. */
  async longestStall(): Promise<number> {
    const text = await (
      await fetch(`${this.#server.url.replace("ws:", "http:").replace(/ws$/, "metrics")}`)
    ).text();
    const [, seconds] = /^haulout_event_loop_delay_seconds\{quantile="1"\} (\S+)$/m.exec(text) ?? [];
    return Number(seconds) * 1000;
  }

  /** Bytes of the server's heap after collection. */
  async heap(): Promise<number> {
    this.#reports++;
    process.kill(this.#server.process.pid, "SIGUSR2");
    for (;;) {
      const lines = this.#server.process.stdout.filter((line) => line.startsWith('{"memory"'));
      if (lines.length >= this.#reports)
        return (JSON.parse(lines.at(-1)!) as { memory: { heapUsed: number } }).memory.heapUsed;
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

  async #lane(stage: Stage, inputs: Inputs, random: Random, report: StageReport): Promise<void> {
    const connections = new Map<string, WireConnection>();
    try {
      for (let input = inputs.next(); input !== undefined; input = inputs.next()) {
        if (stage !== "before hello" && report.sent % SEND_EVERY === 0)
          await this.#work(inputs.references, random);
        const encoding = typeof input === "string" ? "json" : "msgpack";
        if (stage === "before hello") await this.#greet(input, encoding, report);
        else await this.#strike(stage, input, encoding, inputs.references, connections, report);
        report.sent++;
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

  async #greet(input: Input, encoding: "json" | "msgpack", report: StageReport): Promise<void> {
    const connection = await WireConnection.open(this.#server.url, encoding, { hello: false });
    connection.sendRaw(input);
    await this.#settled(connection, input, report, (frame) => frame["type"] === "welcome");
    connection.terminate();
  }

  async #strike(
    stage: Stage,
    input: Input,
    encoding: "json" | "msgpack",
    references: References,
    connections: Map<string, WireConnection>,
    report: StageReport,
  ): Promise<void> {
    let connection = connections.get(encoding);
    if (connection === undefined || connection.closeCode !== undefined) {
      connection = await WireConnection.open(this.#server.url, encoding, { hello: { token: stage } });
      connections.set(encoding, connection);
      if (stage === "provider") connection.send({ type: "offerTools", id: PROBE - 2, tools: [TOOL] });
      connection.send({ type: "attach", id: PROBE - 1, session: references.session });
    }
    const asked = requestsIn(input);
    connection.sendRaw(input);
    // Whatever the input was, a good request after it is answered, or the connection ends.
    connection.send({ type: "listAgents", id: PROBE });
    for (const id of [...asked, PROBE])
      await this.#settled(connection, input, report, (frame) => isAnswer(frame) && frame["id"] === id);
    for (const frame of connection.frames.splice(0)) this.#note(frame, references, report);
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
        if (frame["id"] !== PROBE) connection.frames.push(frame);
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
    if ((frame["id"] as number) >= PROBE - 2) return;
    if (frame["type"] === "error") count(report.errors, frame["code"] as string);
    if (frame["type"] === "ok") count(report.done, "ok");
  }

  #complaints(): string {
    return this.#server.process.stderr.slice(0, 10).join("\n");
  }
}

const PROBE = 4_100_000_000;
const PATIENCE_MS = 30_000;

function isAnswer({ type }: Frame): boolean {
  return type === "ok" || type === "error";
}

/** The ids in it that an answer must come for, if the connection lives. */
function requestsIn(input: Input): Set<number> {
  const ids = new Set<number>();
  try {
    for (const raw of typeof input === "string" ? decodeText(input) : decodeBinary(input)) {
      const id = usableId(raw);
      if (id !== undefined && isRequestType(raw["type"])) ids.add(id);
    }
  } catch {
    // Refused as a whole.
    ids.clear();
  }
  return ids;
}

/** The inputs of one round, drawn one after another, each about what is known by then. */
class Inputs {
  readonly references: References;
  readonly #stage: Stage;
  readonly #random: Random;
  readonly #noise: Input[];
  #left: number;

  constructor(stage: Stage, amount: number, random: Random, references: References) {
    this.#stage = stage;
    this.#left = amount;
    this.#random = random;
    this.references = references;
    this.#noise = fc.sample(noise, { numRuns: 100, seed: random.int(2 ** 31) });
  }

  next(): Input | undefined {
    if (this.#left-- <= 0) return undefined;
    const random = this.#random;
    if (random.chance(0.1)) return random.pick(this.#noise);
    const frame = this.references.put(random.pick(random.chance(0.7) ? OWN[this.#stage] : golden));
    if (random.chance(0.4)) return damaged(frame, (below) => random.int(below));
    // Nothing wrong with its shape: what it says is what is wrong, if anything.
    return random.chance(0.5) ? encodeFrame(frame.frame) : encodeJsonFrame(frame.frame);
  }
}
