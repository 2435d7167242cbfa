/**
 * Runs the conformance cases against a real server, each in both encodings on connections of its own.
 */
// limit: 300 s
import { isDeepStrictEqual } from "node:util";
import { newId } from "../../protocol/ids.ts";
import type { Encoding } from "../../protocol/version.ts";
import { assert, suite } from "../support/suite.ts";
import { until } from "../support/wait.ts";
import { ANY, CONNECTION_CASES, NONE, type Case, type Pattern, type Step } from "./cases.ts";
import { ONWARD_CASES } from "./onward-cases.ts";
import { PEOPLE_CASES } from "./people-cases.ts";
import { SESSION_CASES } from "./session-cases.ts";
import { WATCH_CASES } from "./watch-cases.ts";
import { startServer, WireConnection, type Frame } from "./wire.ts";

const test = suite("the wire");
const { url } = await startServer();

const TRANSIENT = new Set(["part", "delta", "presence", "toolProgress"]);
const ANSWERS = new Set(["ok", "error", "welcome"]);

class Run {
  readonly #case: Case;
  readonly #encoding: Encoding;
  readonly #connections = new Map<string, WireConnection>();
  /** `$minted` is an id that nobody has used. */
  readonly #names = new Map<string, unknown>([["$minted", newId("ses")]]);

  /** The last id of a request that is repeated, far from those of cases. */
  #repeated = 1_000_000;

  constructor(given: Case, encoding: Encoding) {
    this.#case = given;
    this.#encoding = encoding;
  }

  async play(): Promise<void> {
    try {
      for (const step of this.#case.steps) await this.#step(step);
    } finally {
      for (const connection of this.#connections.values()) connection.terminate();
    }
  }

  async #step(step: Step): Promise<void> {
    const connection = await this.#connection(step.on ?? "a");
    if ("send" in step) {
      const frames = [step.send].flat().map((frame) => this.#filled(frame) as Frame);
      connection.send(...frames);
    } else if ("raw" in step) {
      connection.sendRaw(step.raw);
    } else if ("close" in step) {
      assert.ok(
        [step.close].flat().includes(await connection.closed()),
        `closed with ${connection.closeCode}`,
      );
    } else if ("repeat" in step) {
      await until(
        async () => {
          const id = ++this.#repeated;
          connection.send({ ...(this.#filled(step.repeat) as Frame), id });
          return this.#matches(await connection.take((frame) => frame["id"] === id), step.answer);
        },
        10_000,
        `${show(step.answer)} in answer to ${show(step.repeat)}`,
      );
    } else if ("until" in step) {
      await connection.take((frame) => this.#matches(frame, step.until));
      if (!isAnswer(step.until)) connection.forget((frame) => !isAnswer(frame));
    } else {
      const frame = await connection.take(
        (next) =>
          next["type"] === step.expect["type"] ||
          (isAnswer(next) === isAnswer(step.expect) && !TRANSIENT.has(next["type"] as string)),
      );
      assert.ok(
        this.#matches(frame, step.expect),
        `${show(frame)} is not ${show(this.#filled(step.expect))}`,
      );
    }
  }

  async #connection(name: string): Promise<WireConnection> {
    let connection = this.#connections.get(name);
    if (connection === undefined) {
      const hello = this.#case.hello?.[name];
      connection = await WireConnection.open(url, this.#encoding, hello === undefined ? {} : { hello });
      this.#connections.set(name, connection);
    }
    return connection;
  }

  /** Remembers names only if the whole frame matches. */
  #matches(frame: unknown, pattern: unknown): boolean {
    const found = new Map<string, unknown>();
    if (!this.#match(frame, pattern, found)) return false;
    for (const [name, value] of found) this.#names.set(name, value);
    return true;
  }

  #match(value: unknown, pattern: unknown, found: Map<string, unknown>): boolean {
    if (pattern === NONE) return value === undefined;
    if (value === undefined) return false;
    if (pattern === ANY) return true;
    if (typeof pattern === "string" && pattern.startsWith("$")) {
      const known = found.get(pattern) ?? this.#names.get(pattern);
      if (known !== undefined) return isDeepStrictEqual(known, value);
      found.set(pattern, value);
      return true;
    }
    if (Array.isArray(pattern)) {
      if (!Array.isArray(value) || value.length !== pattern.length) return false;
      return pattern.every((item, index) => this.#match(value[index], item, found));
    }
    if (typeof pattern === "object" && pattern !== null) {
      if (typeof value !== "object" || value === null) return false;
      return Object.entries(pattern).every(([key, item]) => this.#match((value as Frame)[key], item, found));
    }
    return Object.is(pattern, value);
  }

  #filled(pattern: unknown): unknown {
    if (typeof pattern === "string" && this.#names.has(pattern)) return this.#names.get(pattern);
    if (Array.isArray(pattern)) return pattern.map((item) => this.#filled(item));
    if (typeof pattern !== "object" || pattern === null) return pattern;
    return Object.fromEntries(Object.entries(pattern).map(([key, value]) => [key, this.#filled(value)]));
  }
}

function isAnswer(frame: Pattern): boolean {
  return ANSWERS.has(frame["type"] as string);
}

function show(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) => (typeof item === "symbol" ? String(item) : item)).slice(
    0,
    2000,
  );
}

const CASES = [...CONNECTION_CASES, ...SESSION_CASES, ...ONWARD_CASES, ...WATCH_CASES, ...PEOPLE_CASES];

for (const given of CASES) {
  for (const encoding of ["json", "msgpack"] as const) {
    if (given.encoding !== undefined && given.encoding !== encoding) continue;
    test(`${given.name} (${encoding})`, () => new Run(given, encoding).play());
  }
}

test.run();
