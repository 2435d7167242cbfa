/**
 * The codec: every JSON value survives both encodings and the way from one into the other, and messages are cut into the
 * frames they were made of. What may not come in is in scan.test.ts.
 */
import fc from "fast-check";
import {
  decodeBinary,
  decodeText,
  decodeTrusted,
  EncodedFrame,
  encodeFrame,
  encodeJsonFrame,
  transcodeToJson,
} from "../../protocol/codec.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import { MAX_FRAME_DEPTH } from "../../protocol/version.ts";
import { assert, suite } from "../support/suite.ts";
import { seedFromEnvironment } from "../support/wait.ts";
import { goldenFrames, GROUPS } from "./frames.ts";

const test = suite("codec");
const seed = seedFromEnvironment();

const text = fc.oneof(fc.string({ unit: "grapheme" }), fc.string({ unit: "binary", maxLength: 40 }));
/** Names that objects have by themselves, and that libraries ask for. */
const telling = [
  "constructor",
  "toJSON",
  "prototype",
  "length",
  "then",
  "hasOwnProperty",
  "toString",
  "valueOf",
  "size",
];
const key = fc.oneof(
  { weight: 4, arbitrary: text.filter((name) => name !== "__proto__") },
  { weight: 1, arbitrary: fc.constantFrom(...telling) },
);
const number = fc.oneof(
  fc.maxSafeInteger(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.integer(),
);
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, depthSize: "medium" },
    fc.oneof(text, number, fc.boolean(), fc.constant(null)),
    fc.array(tie("value"), { maxLength: 6 }),
    fc.dictionary(key, tie("value"), { maxKeys: 6, noNullPrototype: true }),
  ),
}));
/** Some of them as deep as the wire allows. */
const deep = fc.tuple(value, fc.nat(MAX_FRAME_DEPTH - 7)).map(([inner, depth]) => {
  let nested = inner;
  for (let i = 0; i < depth; i++) nested = i % 2 ? [nested, i] : { "": nested };
  return nested;
});
const frame = fc.dictionary(key, fc.oneof(value, deep), { maxKeys: 8, noNullPrototype: true });

/** Equal as JSON, key order included: deep equality looks at `constructor`, which is data here, and JSON has one zero. */
function same(actual: unknown, expected: unknown): void {
  assert.is(JSON.stringify(actual), JSON.stringify(expected));
}

test("every frame of JSON values survives MessagePack", () => {
  fc.assert(
    fc.property(frame, (original) => {
      const bytes = encodeFrame(original);
      same([...decodeBinary(bytes)], [original]);
      same(decodeTrusted(bytes), original);
    }),
    { numRuns: 600, seed },
  );
});

test("every frame of JSON values survives JSON", () => {
  fc.assert(
    fc.property(frame, (original) => {
      const line = encodeJsonFrame(original);
      assert.not(line.includes("\n"));
      same([...decodeText(line)], [original]);
    }),
    { numRuns: 600, seed },
  );
});

test("what one encoding lets in, the other carries on: transcoding never makes a frame that a reader refuses", () => {
  fc.assert(
    fc.property(frame, (original) => {
      const bytes = encodeFrame(original);
      const line = transcodeToJson(bytes);
      assert.is(line, encodeJsonFrame(original));
      const [read] = [...decodeText(line)];
      same([...decodeBinary(encodeFrame(read!))], [original]);
    }),
    { numRuns: 600, seed },
  );
  for (const large of [1e20, -1e20, 2 ** 53, 2 ** 63, 1.7e308, 5e-324, -0]) {
    const [read] = [...decodeText(transcodeToJson(encodeFrame({ large })))];
    assert.equal(read, { large });
  }
});

test("keys that name methods are data", () => {
  const frames: object[] = [
    { constructor: 1, toJSON: 2 },
    { a: { constructor: null, toJSON: { b: 1 } } },
    Object.fromEntries(telling.map((name, index) => [name, index])),
  ];
  for (const original of frames) {
    same([...decodeBinary(encodeFrame(original))], [original]);
  }
});

test("encoding is the same every time", () => {
  fc.assert(
    fc.property(frame, (original) => {
      const bytes = Buffer.from(encodeFrame(original));
      const again = encodeFrame(decodeTrusted(bytes) as object);
      assert.equal(Buffer.from(encodeFrame(original)), bytes);
      assert.equal(Buffer.from(again), bytes);
    }),
    { seed },
  );
});

test("bytes given out stay as they are while more is encoded", () => {
  const first = encodeFrame({ a: "first" });
  const copy = Buffer.from(first);
  for (let i = 0; i < 20_000; i++) encodeFrame({ filler: "x".repeat(i % 100) });
  assert.equal(Buffer.from(first), copy);
});

test("frames back to back in one message are read one after another", () => {
  const all = GROUPS.flatMap(goldenFrames);
  const frames = all.map((golden) => golden.frame);
  assert.equal([...decodeBinary(Buffer.concat(all.map((golden) => golden.bytes)))], frames);
  const lines = all.map((golden) => golden.line);
  assert.equal([...decodeText(lines.join("\n"))], frames);
  assert.equal([...decodeText(`\r\n${lines.join("\r\n\n \t\n")}\n`)], frames);
});

test("frames before a fault are read, those after it are not", () => {
  const good = encodeFrame({ type: "ping" });
  const read: unknown[] = [];
  const binary = Buffer.concat([good, good, Buffer.from([0xc1]), good]);
  assert.throws(
    () => {
      for (const item of decodeBinary(binary)) read.push(item);
    },
    (error: unknown) => error instanceof ProtocolError,
  );
  assert.throws(
    () => {
      for (const item of decodeText('{"type":"ping"}\nnonsense\n{"type":"ping"}')) read.push(item);
    },
    (error: unknown) => error instanceof ProtocolError,
  );
  assert.is(read.length, 3);
});

test("frames of a message are decoded only when asked for", () => {
  const million = new Uint8Array(1_000_000).fill(0x80);
  assert.equal(decodeBinary(million).next().value, {});
  assert.equal(decodeText("{}\n".repeat(300_000)).next().value, {});
});

test("a view into a larger buffer is read at its place", () => {
  const bytes = encodeFrame({ type: "send", number: 1.5, wide: 2 ** 40 });
  const larger = new Uint8Array(bytes.length + 20).fill(0xc1);
  larger.set(bytes, 13);
  const [read] = [...decodeBinary(larger.subarray(13, 13 + bytes.length))];
  assert.equal(read, { type: "send", number: 1.5, wide: 2 ** 40 });
});

test("what was decoded does not change with the buffer it came from", () => {
  const bytes = Uint8Array.from(encodeFrame({ text: "a text of some length ".repeat(10), list: ["short"] }));
  const [read] = [...decodeBinary(bytes)];
  const before = structuredClone(read);
  bytes.fill(0);
  assert.equal(read, before);
});

test("an encoded frame makes its JSON line once, and only if asked", () => {
  const frameObject = { type: "delta", channel: 1, message: "m", part: 0, offset: 0, text: "seal 🦭" };
  const encoded = new EncodedFrame(encodeFrame(frameObject));
  const { line } = encoded;
  encoded.bytes.fill(0);
  assert.is(encoded.line, line);
  assert.equal(JSON.parse(line), frameObject);
});

test("null stays null and an absent field stays absent", () => {
  assert.equal([...decodeBinary(encodeFrame({ a: null }))], [{ a: null }]);
  assert.is(Buffer.from(encodeFrame({ a: null })).toString("hex"), "81a161c0");
});

test.run();
