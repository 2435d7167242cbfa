/**
 * What the stages of the fuzz send: golden frames with names of what is there, whole or damaged, and noise. Owns what a
 * stage sends most of, and which answers an input must bring. Opens no socket.
 */
import fc from "fast-check";
import { decodeBinary, decodeText, encodeFrame, encodeJsonFrame } from "../../protocol/codec.ts";
import type { Encoding } from "../../protocol/version.ts";
import { isRequestType, usableId } from "../../server/socket/inbound.ts";
import { goldenFrames } from "../protocol/frames.ts";
import type { Random } from "../support/wait.ts";
import { damaged, noise, type Input } from "./inputs.ts";
import type { References } from "./references.ts";

export const STAGES = ["before hello", "viewer", "editor", "provider"] as const;
export type Stage = (typeof STAGES)[number];

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

/** The inputs of one round, drawn one after another, each about what is known by then. */
export class Inputs {
  readonly references: References;
  readonly #stage: Stage;
  readonly #random: Random;
  readonly #noise: Input[];
  #left: number;
  #drawn = 0;
  #dueAt = 0;

  constructor(stage: Stage, amount: number, random: Random, references: References) {
    this.#stage = stage;
    this.#left = amount;
    this.#random = random;
    this.references = references;
    this.#noise = fc.sample(noise, { numRuns: 100, seed: random.int(2 ** 31) });
  }

  /** Whether so many were drawn since the last time, or none yet. */
  due(every: number): boolean {
    if (this.#left === 0 || this.#drawn < this.#dueAt) return false;
    this.#dueAt += every;
    return true;
  }

  /** The next ones, at most so many; none when all were drawn. */
  next(most: number): Input[] {
    const amount = Math.min(most, this.#left);
    this.#left -= amount;
    this.#drawn += amount;
    return Array.from({ length: amount }, () => this.#draw());
  }

  #draw(): Input {
    const random = this.#random;
    if (random.chance(0.1)) return random.pick(this.#noise);
    const frame = this.references.put(random.pick(random.chance(0.7) ? OWN[this.#stage] : golden));
    if (random.chance(0.4)) return damaged(frame, (below) => random.int(below));
    // Nothing wrong with its shape: what it says is what is wrong, if anything.
    return random.chance(0.5) ? encodeFrame(frame.frame) : encodeJsonFrame(frame.frame);
  }
}

export function encodingOf(input: Input): Encoding {
  return typeof input === "string" ? "json" : "msgpack";
}

/** The first of them, as far as no request has the id of one before it, which would be refused without one. */
export function distinct(inputs: readonly Input[]): { input: Input; ids: Set<number> }[] {
  const seen = new Set<number>();
  const found: { input: Input; ids: Set<number> }[] = [];
  for (const input of inputs) {
    const ids = requestsIn(input);
    if ([...ids].some((id) => seen.has(id))) break;
    for (const id of ids) seen.add(id);
    found.push({ input, ids });
  }
  return found;
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
