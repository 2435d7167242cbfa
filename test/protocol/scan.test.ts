/**
 * The scan: every hazard is refused before anything is decoded, everything JSON can say passes, and its work is bounded by
 * the bytes it is given. The hazards are those measured against the decoder (see hazards.ts).
 */
import fc from "fast-check";
import { decodeBinary, decodeText, encodeFrame } from "../../protocol/codec.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import { scanJson, scanMsgpack } from "../../protocol/scan.ts";
import { MAX_FRAME_DEPTH, MAX_FRAME_ITEMS } from "../../protocol/version.ts";
import { assert, suite } from "../support/suite.ts";
import { goldenFrames, GROUPS } from "./frames.ts";
import { JSON_HAZARDS, MSGPACK_HAZARDS } from "./hazards.ts";

const test = suite("scan");

function refused(run: () => unknown): ProtocolError {
  try {
    run();
  } catch (error) {
    assert.instance(error, ProtocolError);
    assert.is((error as ProtocolError).code, "bad-frame");
    return error as ProtocolError;
  }
  throw new Error("it was accepted");
}

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replaceAll(" ", ""), "hex"));
const withField = (value: string): Uint8Array => hex(`81a178${value}`);

for (const [name, bytes] of Object.entries(MSGPACK_HAZARDS)) {
  test(`refuses in MessagePack: ${name}`, () => void refused(() => [...decodeBinary(bytes)]));
}

for (const [name, text] of Object.entries(JSON_HAZARDS)) {
  test(`refuses in JSON: ${name}`, () => void refused(() => [...decodeText(text)]));
}

test("a refused frame leaves the decoder healthy and no prototype changed", () => {
  for (const bytes of Object.values(MSGPACK_HAZARDS)) refused(() => [...decodeBinary(bytes)]);
  for (const text of Object.values(JSON_HAZARDS)) refused(() => [...decodeText(text)]);
  assert.is(({} as Record<string, unknown>)["polluted"], undefined);
  for (const golden of goldenFrames("client")) {
    assert.equal([...decodeBinary(golden.bytes)], [golden.frame]);
  }
});

test("a frame cut at any byte is refused", () => {
  for (const golden of GROUPS.flatMap(goldenFrames)) {
    for (let length = 0; length < golden.bytes.length; length++) {
      refused(() => [...decodeBinary(golden.bytes.subarray(0, length))]);
    }
    for (let length = 0; length < golden.line.length; length++) {
      refused(() => [...decodeText(golden.line.slice(0, length))]);
    }
  }
});

test("the scan ends where the frame ends", () => {
  for (const golden of GROUPS.flatMap(goldenFrames)) {
    const padded = new Uint8Array(golden.bytes.length + 6).fill(0xc1);
    padded.set(golden.bytes, 3);
    assert.is(scanMsgpack(padded, 3), golden.bytes.length + 3, golden.name);
  }
});

test("every way of writing a JSON value in MessagePack passes", () => {
  const values: Record<string, unknown> = {
    c0: null,
    c2: false,
    c3: true,
    "00": 0,
    "7f": 127,
    e0: -32,
    ff: -1,
    ccff: 255,
    cdffff: 65_535,
    ceffffffff: 4_294_967_295,
    cf001fffffffffffff: Number.MAX_SAFE_INTEGER,
    d080: -128,
    d18000: -32_768,
    d280000000: -2_147_483_648,
    d3ffe0000000000001: Number.MIN_SAFE_INTEGER,
    ca3fc00000: 1.5,
    cb4415af1d78b58c40: 1e20,
    a0: "",
    a3e282ac: "€",
    a4f09fa6ad: "🦭",
    d90161: "a",
    da000161: "a",
    db0000000161: "a",
    "9101": [1],
    dc000101: [1],
    dd0000000101: [1],
    "80": {},
    "81a16101": { a: 1 },
    de0001a16101: { a: 1 },
    df00000001d9016101: { a: 1 },
    "82a16101a16102": { a: 2 },
    "81a0c0": { "": null },
    "81ab636f6e7374727563746f7201": { constructor: 1 },
  };
  for (const [bytes, value] of Object.entries(values)) {
    assert.equal([...decodeBinary(withField(bytes))], [{ x: value }], bytes);
  }
});

test("depth 24 passes and 25 does not, in both encodings alike", () => {
  const nest = (depth: number): object => {
    let value: unknown = 1;
    for (let i = 1; i < depth; i++) value = i % 2 ? [value] : { a: value };
    return { x: value };
  };
  scanMsgpack(encodeFrame(nest(MAX_FRAME_DEPTH)));
  scanJson(JSON.stringify(nest(MAX_FRAME_DEPTH)));
  refused(() => scanMsgpack(encodeFrame(nest(MAX_FRAME_DEPTH + 1))));
  refused(() => scanJson(JSON.stringify(nest(MAX_FRAME_DEPTH + 1))));
});

test("20 000 values pass and one more does not, in both encodings alike", () => {
  for (const item of [0, [], {}, "a,b", [1]]) {
    // The frame and its list are two; [1] counts for itself and its element.
    const room = MAX_FRAME_ITEMS - 2;
    const count = Array.isArray(item) && item.length === 1 ? room / 2 : room;
    const fits = { x: Array.from({ length: count }, () => item) };
    const over = { x: [...fits.x, item] };
    scanMsgpack(encodeFrame(fits));
    scanJson(JSON.stringify(fits));
    refused(() => scanMsgpack(encodeFrame(over)));
    refused(() => scanJson(JSON.stringify(over)));
  }
});

test("an integer passes in JSON exactly if a double keeps it", () => {
  for (const token of [
    "9007199254740991",
    "-9007199254740991",
    "100000000000000000000",
    "1e20",
    "0.1",
    "-0",
    "1E+2",
  ]) {
    scanJson(`{"x":${token}}`);
  }
  for (const token of [
    "9007199254740993",
    "-9007199254740993",
    "123456789012345678901",
    "1000000000000000000001",
  ]) {
    refused(() => scanJson(`{"x":${token}}`));
  }
  fc.assert(
    fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
      scanJson(`{"x":${JSON.stringify(value)}}`);
    }),
  );
});

test("digits, brackets and __proto__ inside texts are no numbers, depth or keys", () => {
  const frame = { x: '9007199254740993 [[[[[[[[[[[[[[[[[[[[[[[[[[[ "\\" {', y: "__proto__", z: "\\" };
  assert.equal([...decodeText(JSON.stringify(frame))], [frame]);
  assert.equal([...decodeBinary(encodeFrame(frame))], [frame]);
});

test("work is bounded by the bytes: no header makes the scan read or allocate more", () => {
  // Each read goes through the typed array or the DataView over it; both throw RangeError beyond the end.
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      try {
        const end = scanMsgpack(bytes);
        assert.ok(end >= 1 && end <= bytes.length);
      } catch (error) {
        assert.instance(error, ProtocolError);
      }
    }),
    { numRuns: 20_000 },
  );
});

test("what the scan accepts, the decoder takes to its end, and it is a JSON value", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 48 }), (tail) => {
      const bytes = new Uint8Array([0x81, 0xa1, 0x78, ...tail]);
      let end: number;
      try {
        end = scanMsgpack(bytes);
      } catch {
        return;
      }
      const [frame] = [...decodeBinary(bytes.subarray(0, end))];
      assert.equal(JSON.parse(JSON.stringify(frame)), frame);
    }),
    { numRuns: 20_000 },
  );
});

test.run();
