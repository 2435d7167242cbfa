/**
 * Hostile inputs as fast-check arbitraries: golden frames with damaged bytes, damaged text, or damaged fields, frames of
 * random fields, and noise. An input is a binary message or a text message. Never valid by intention, but often enough by
 * chance that the ways behind the checks are walked too.
 */
import fc from "fast-check";
import { encodeFrame, encodeJsonFrame } from "../../protocol/codec.ts";
import { goldenFrames, type GoldenFrame } from "../protocol/frames.ts";
import { JSON_HAZARDS, MSGPACK_HAZARDS } from "../protocol/hazards.ts";

export type Input = Uint8Array | string;

const clientFrames = goldenFrames("client");
const types = [...new Set(clientFrames.map((golden) => golden.type))];
const fieldNames = [...new Set(clientFrames.flatMap((golden) => Object.keys(golden.frame)))];
const splices: readonly Uint8Array[] = [
  ...Object.values(MSGPACK_HAZARDS).filter((bytes) => bytes.length < 200),
  ...clientFrames.map((golden) => golden.bytes),
];
const tokens = ['"', "\\", "{", "}", "[", "]", ",", ":", "\n", "-", "null", "1e999", "9007199254740993"];
const characters = ["\\ud800", "\ud800", "\u0000"];
const snippets: readonly string[] = [
  ...Object.values(JSON_HAZARDS).filter((text) => text.length < 200),
  ...tokens,
  ...characters,
];

/** Values that are wrong in most places: of another kind, at an edge, large, deep, or with a telling key. */
const numbers = [0, -0, -1, 1.5, 2 ** 31, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 2 ** 63, -(2 ** 53), 1e308, 5e-324];
const texts = ["", " ", "x", "\u0000", "__proto__", "constructor", "🦭", "../../etc/passwd"];
const objects = [
  '{"constructor":{"prototype":1}}',
  '{"toJSON":1,"constructor":1}',
  '{"length":-1}',
  '{"then":1}',
];
const shapes = [
  [],
  {},
  [[]],
  [null],
  { type: "text" },
  [{ type: "text", text: 1 }],
  { epoch: -1, seq: 1e300 },
];
const oddValues: readonly unknown[] = [
  null,
  true,
  ...numbers,
  ...texts,
  ...[65, 129, 1025].map((length) => "x".repeat(length)),
  ...shapes,
  ...objects.map((text) => JSON.parse(text) as unknown),
  ...Array.from({ length: 30 }, (_, depth) => nested(depth)),
  ...clientFrames.flatMap((golden) => Object.values(golden.frame)),
  ...fc.sample(fc.jsonValue({ maxDepth: 4, stringUnit: "binary" }), { numRuns: 300, seed: 1 }),
];

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let i = 0; i < depth; i++) value = i % 2 ? [value] : { a: value };
  return value;
}

/** Numbers that decide an input, drawn one after another: cheap to make, and fast-check can shrink them. */
export type Draw = (below: number) => number;
const program = fc.array(fc.nat(), { minLength: 6, maxLength: 20 });

function drawFrom(drawn: readonly number[]): Draw {
  let at = 0;
  return (below) => (drawn[at++ % drawn.length]! + Math.floor(at / drawn.length)) % below;
}

function pick<T>(draw: Draw, from: readonly T[]): T {
  return from[draw(from.length)]!;
}

const encode = (draw: Draw, frame: object): Input => (draw(2) ? encodeFrame(frame) : encodeJsonFrame(frame));

/** One to three edits of bytes: change, insert, delete, cut, double, splice, flip. */
function damagedBytes(golden: GoldenFrame, draw: Draw): Input {
  let bytes: number[] = [...golden.bytes];
  for (let edits = 1 + draw(3); edits > 0; edits--) {
    const kind = draw(7);
    const at = draw(bytes.length + 1);
    if (kind === 0) bytes[at] = draw(256);
    else if (kind === 1) bytes.splice(at, 0, draw(256));
    else if (kind === 2) bytes.splice(at, 1 + draw(4));
    else if (kind === 3) bytes = bytes.slice(0, at);
    else if (kind === 4) bytes.push(...bytes.slice(at));
    else if (kind === 5) bytes.splice(at, draw(8), ...pick(draw, splices));
    else bytes[at] = (bytes[at] ?? 0) ^ (1 << draw(8));
  }
  return Uint8Array.from(bytes);
}

function damagedText(golden: GoldenFrame, draw: Draw): Input {
  let { line } = golden;
  for (let edits = 1 + draw(3); edits > 0; edits--) {
    const kind = draw(4);
    const at = draw(line.length + 1);
    const snippet = kind === 1 || kind === 2 ? "" : pick(draw, snippets);
    const from =
      kind === 0 ? at : kind === 1 ? at + 1 + draw(5) : kind === 2 ? line.length : at + snippet.length;
    line = line.slice(0, at) + snippet + line.slice(from);
  }
  return line;
}

/** The frame with one or two fields, however deep, replaced, removed or added. */
function damagedFields(golden: GoldenFrame, draw: Draw): Input {
  const frame = structuredClone(golden.frame);
  for (let changes = 1 + draw(2); changes > 0; changes--) {
    const holders: [Record<string, unknown>, string][] = [];
    collect(frame, holders);
    const name = pick(draw, fieldNames);
    const [holder, field] = holders.length > 0 ? pick(draw, holders) : [frame, name];
    const kind = draw(4);
    if (kind === 0) delete holder[field];
    else holder[kind === 1 ? name : field] = structuredClone(pick(draw, oddValues));
  }
  return encode(draw, frame);
}

function collect(value: object, into: [Record<string, unknown>, string][]): void {
  for (const [key, inner] of Object.entries(value)) {
    into.push([value as Record<string, unknown>, key]);
    if (typeof inner === "object" && inner !== null) collect(inner, into);
  }
}

/** A frame of this type with odd values under known names. */
function inventedFields(golden: GoldenFrame, draw: Draw): Input {
  const frame: Record<string, unknown> = {};
  for (let fields = draw(6); fields > 0; fields--) frame[pick(draw, fieldNames)] = pick(draw, oddValues);
  return encode(draw, { ...frame, type: golden.type });
}

const WAYS = [damagedBytes, damagedText, damagedFields, inventedFields];

/** One input that began as this frame. */
export function damaged(golden: GoldenFrame, draw: Draw): Input {
  return pick(draw, WAYS)(golden, draw);
}

/** Inputs that began as frames of this type. */
export function hostileInputs(type: string): fc.Arbitrary<Input> {
  const of = clientFrames.filter((golden) => golden.type === type);
  return program.map((drawn) => {
    const draw = drawFrom(drawn);
    return damaged(pick(draw, of), draw);
  });
}

/** Inputs that began as nothing. */
export const noise: fc.Arbitrary<Input> = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc.string({ unit: "binary", maxLength: 200 }),
  fc.json({ maxDepth: 6 }),
  fc.constantFrom<Input>(...Object.values(MSGPACK_HAZARDS), ...Object.values(JSON_HAZARDS)),
  fc.array(fc.constantFrom(...snippets), { maxLength: 30 }).map((parts) => parts.join("")),
);

export const FUZZED_TYPES: readonly string[] = types;
