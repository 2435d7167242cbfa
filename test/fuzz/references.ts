/**
 * Names that a stage of the fuzz puts into golden frames, so that they reach what stands behind the checks: sessions, runs,
 * inputs, calls, requests and positions that are there, that were there, that are others', and that never were. Owns what
 * is remembered of the frames that came; never sends one.
 */
import { encodeFrame, encodeJsonFrame } from "../../protocol/codec.ts";
import type { Frame } from "../conformance/wire.ts";
import type { GoldenFrame } from "../protocol/frames.ts";
import type { Random } from "../support/wait.ts";

/** So many of a kind are remembered, the newest. */
const REMEMBERED = 16;

export class References {
  /** What most frames are about. */
  session = "ses_none";
  readonly #random: Random;
  readonly #others: readonly string[];
  readonly #tokens: readonly string[];
  readonly #seen = new Map<string, unknown[]>();
  readonly #calls: Frame[] = [];
  #minted = 0;

  /** `others`: sessions of people who gave nobody a role in them. */
  constructor(random: Random, others: readonly string[], tokens: readonly string[]) {
    this.#random = random;
    this.#others = others;
    this.#tokens = tokens;
  }

  /** Remembers what a frame of the server names. */
  note(frame: Frame): void {
    if (frame["type"] === "call") {
      const { session, call, attempt } = frame;
      push(this.#calls, { session, call, attempt });
    }
    if (frame["type"] === "ok" && typeof frame["session"] === "string")
      this.#note("session", frame["session"]);
    if (frame["type"] !== "event") return;
    this.#note("after", { epoch: frame["epoch"], seq: frame["seq"] });
    const body = frame["event"] as Frame;
    for (const name of ["run", "input", "request", "call"]) {
      if (typeof body[name] === "string") this.#note(name, body[name]);
    }
  }

  /** The frame with names of now, in both encodings. */
  put(golden: GoldenFrame): GoldenFrame {
    const frame = this.#within(golden.frame) as Record<string, unknown>;
    return { ...golden, frame, bytes: encodeFrame(frame), line: encodeJsonFrame(frame) };
  }

  #within(value: unknown): unknown {
    if (Array.isArray(value)) return value.map((item) => this.#within(item));
    if (typeof value !== "object" || value === null) return value;
    const made = Object.fromEntries(
      Object.entries(value).map(([name, item]) => [name, this.#named(name, item)]),
    );
    // A call's three names belong together.
    if ("call" in made && "attempt" in made && this.#calls.length > 0 && this.#random.chance(0.7)) {
      Object.assign(made, this.#random.pick(this.#calls));
    }
    return made;
  }

  #named(name: string, item: unknown): unknown {
    const random = this.#random;
    switch (name) {
      case "id":
        return typeof item === "number" ? ++this.#minted % 1_000_000 : item;
      case "session":
        if (random.chance(0.75)) return this.session;
        return random.pick([item, ...this.#others, ...(this.#seen.get(name) ?? [])]);
      case "newSession":
        return random.chance(0.5) ? `ses_${random.int(2 ** 32)}` : this.session;
      case "key":
        return random.chance(0.5) ? `key_${random.int(20)}` : `key_${random.int(2 ** 32)}`;
      case "token":
        return random.chance(0.7) ? random.pick(this.#tokens) : item;
      case "run":
      case "input":
      case "request":
      case "call":
      case "after": {
        const seen = this.#seen.get(name);
        return seen !== undefined && random.chance(0.8) ? random.pick(seen) : item;
      }
      default:
        return this.#within(item);
    }
  }

  #note(name: string, value: unknown): void {
    let seen = this.#seen.get(name);
    if (seen === undefined) this.#seen.set(name, (seen = []));
    push(seen, value);
  }
}

function push(list: unknown[], value: unknown): void {
  list.push(value);
  if (list.length > REMEMBERED) list.shift();
}
