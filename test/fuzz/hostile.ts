/**
 * A hostile peer and a bystander on a live server. The peer sends inputs one after another on real connections and holds
 * each to the promise: a typed error, or a close with a code of the table, or it was no bad frame after all. Throws when
 * the server does anything else. Never measures time; the bystander only notes it.
 */
import { CLOSE_CODES } from "../../protocol/errors.ts";
import { WireConnection, type Frame } from "../conformance/wire.ts";
import type { Random } from "../support/wait.ts";
import type { Input } from "./inputs.ts";

/** Those of the table, and those that the WebSocket layer sends itself. 1006: it was cut off before the code came. */
const ALLOWED_CLOSES = new Set<number>([...Object.values(CLOSE_CODES), 1002, 1003, 1007, 1008, 1009]);

export interface Report {
  sent: number;
  /** Frames that were answered as if nothing was wrong with them, or not at all. */
  unrefused: number;
  readonly errors: Map<string, number>;
  readonly closes: Map<number, number>;
}

/** Sends every input, on several connections beside each other. */
export async function attack(
  url: string,
  inputs: Iterable<Input>,
  random: Random,
  lanes = 4,
): Promise<Report> {
  const report: Report = { sent: 0, unrefused: 0, errors: new Map(), closes: new Map() };
  const iterator = inputs[Symbol.iterator]();
  const lane = async (own: Random): Promise<void> => {
    const connections = new Map<string, WireConnection>();
    try {
      for (let next = iterator.next(); next.done !== true; next = iterator.next()) {
        await strike(url, next.value, own, connections, report);
        report.sent++;
      }
    } finally {
      for (const connection of connections.values()) connection.terminate();
    }
  };
  await Promise.all(Array.from({ length: lanes }, () => lane(random.fork())));
  return report;
}

async function strike(
  url: string,
  input: Input,
  random: Random,
  connections: Map<string, WireConnection>,
  report: Report,
): Promise<void> {
  const natural = typeof input === "string" ? "json" : "msgpack";
  // Sometimes on a connection of the other encoding, sometimes before hello.
  const encoding = random.chance(0.05) ? (natural === "json" ? "msgpack" : "json") : natural;
  const greeted = !random.chance(0.1);
  let connection = connections.get(encoding);
  if (!greeted || connection === undefined || connection.closeCode !== undefined) {
    connection = await WireConnection.open(url, encoding, greeted ? {} : { hello: false });
    if (greeted) connections.set(encoding, connection);
  }
  connection.sendRaw(input);
  // Whatever the input was, a good request after it is answered, or the connection ends.
  const probe = 4_000_000_000 + random.int(200_000_000);
  const answered = (frame: Frame): boolean => "id" in frame && frame["id"] === probe;
  if (greeted) connection.send({ type: "listAgents", id: probe });
  try {
    await connection.take(greeted ? answered : (frame) => frame["type"] === "welcome");
  } catch (error) {
    if (connection.closeCode === undefined) throw describe(error, input);
  }
  let refused = false;
  for (const frame of connection.frames.splice(0)) {
    if (frame["type"] !== "error") continue;
    refused = true;
    count(report.errors, frame["code"] as string);
  }
  const { closeCode } = connection;
  if (closeCode !== undefined) {
    count(report.closes, closeCode);
    if (!allowedClose(closeCode, input)) throw describe(new Error(`closed with ${closeCode}`), input);
  } else if (!refused) report.unrefused++;
  if (!greeted) connection.terminate();
}

/** A cut without a word is for messages that are larger than the socket reads. */
export function allowedClose(code: number, input: Input): boolean {
  return ALLOWED_CLOSES.has(code) || (code === 1006 && input.length >= 1024 * 1024);
}

export function count<T>(counts: Map<T, number>, key: T): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

export function describe(error: unknown, input: Input): Error {
  const shown = typeof input === "string" ? JSON.stringify(input) : Buffer.from(input).toString("hex");
  return new Error(`${(error as Error).message} after ${shown.slice(0, 4000)}`, { cause: error });
}

/** A well-behaved client that asks something, again and again, while others misbehave. */
export class Bystander {
  /** Milliseconds of each round trip. */
  readonly roundTrips: number[] = [];
  readonly #connection: WireConnection;
  readonly session: string;
  #running: Promise<void> | undefined;
  #stopped = false;

  private constructor(connection: WireConnection, session: string) {
    this.#connection = connection;
    this.session = session;
  }

  static async join(
    url: string,
    encoding: "json" | "msgpack" = "msgpack",
    token?: string,
  ): Promise<Bystander> {
    const connection = await WireConnection.open(
      url,
      encoding,
      token === undefined ? {} : { hello: { token } },
    );
    const created = await connection.ask({ type: "createSession", id: 1, agent: "demo" });
    const session = created["session"] as string;
    await connection.ask({ type: "attach", id: 2, session });
    return new Bystander(connection, session);
  }

  /** Asks without a pause, or every `everyMs`. */
  start(everyMs = 0): void {
    this.#running = this.#ask(everyMs);
  }

  /** Rejects if any request was not answered, or the connection did not last. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
    if (this.#connection.closeCode !== undefined) throw new Error("the bystander was closed");
    // What it shares with others still works: a run, from send to end.
    const content = '{"script":[{"text":"still here"}]}';
    await this.#connection.ask({ type: "send", id: 3, session: this.session, key: "last", content });
    await this.#connection.take(
      (frame) => (frame["event"] as Frame | undefined)?.["type"] === "run-finished",
    );
    this.#connection.terminate();
  }

  async #ask(everyMs: number): Promise<void> {
    for (let id = 100; !this.#stopped; id++) {
      const began = performance.now();
      const answer = await this.#connection.ask({ type: "history", id, session: this.session });
      if (answer["type"] !== "ok") throw new Error(`the bystander got ${JSON.stringify(answer)}`);
      this.roundTrips.push(performance.now() - began);
      // Nobody else has a right in this session, so nothing has happened in it.
      const strange = this.#connection.frames
        .splice(0)
        .filter(
          ({ type, users }) => type !== "live" && !(type === "presence" && (users as unknown[]).length === 1),
        );
      if (JSON.stringify(answer["items"]) !== "[]" || strange.length > 0)
        throw new Error(`the bystander has ${JSON.stringify([answer, ...strange]).slice(0, 2000)}`);
      await new Promise<void>((resolve) =>
        everyMs > 0 ? setTimeout(resolve, everyMs) : setImmediate(resolve),
      );
    }
  }
}
