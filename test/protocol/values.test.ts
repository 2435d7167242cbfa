/**
 * Payload values: what is measured bounds what the codec writes, anything becomes a JSON value, text is cut between code
 * points, and ids have the form they promise.
 */
import fc from "fast-check";
import { encodeFrame } from "../../protocol/codec.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import { newId, SESSION_ID } from "../../protocol/ids.ts";
import { checkJsonValue } from "../../protocol/scan.ts";
import { messageSize } from "../../protocol/size.ts";
import { checkPayload, cutText, measure, toJsonValue } from "../../protocol/values.ts";
import { MAX_PAYLOAD_BYTES, MAX_PAYLOAD_DEPTH, MAX_PAYLOAD_ITEMS } from "../../protocol/version.ts";
import { assert, suite } from "../support/suite.ts";
import { seedFromEnvironment } from "../support/wait.ts";

const test = suite("payload values");
const seed = seedFromEnvironment();

function tooLarge(value: unknown): ProtocolError {
  try {
    checkPayload("input", value);
  } catch (error) {
    assert.instance(error, ProtocolError);
    assert.is((error as ProtocolError).code, "too-large");
    return error as ProtocolError;
  }
  throw new Error("it passed");
}

function nest(depth: number): unknown {
  let value: unknown = 1;
  for (let i = 0; i < depth; i++) value = i % 2 ? [value] : { a: value };
  return value;
}

test("measured bytes are never fewer than either encoding writes", () => {
  const notMany = (value: unknown): void => {
    const { bytes } = measure({ value });
    assert.ok(bytes >= encodeFrame({ value }).length);
    assert.ok(bytes >= Buffer.byteLength(JSON.stringify({ value })));
  };
  for (const unit of ["grapheme", "binary"] as const) {
    fc.assert(fc.property(fc.jsonValue({ maxDepth: 6, stringUnit: unit }), notMany), { numRuns: 1000, seed });
  }
  fc.assert(fc.property(fc.array(fc.double({ noNaN: true, noDefaultInfinity: true })), notMany), { seed });
  const numbers = [
    0,
    -1,
    9_999_999,
    -9_999_999,
    1e7,
    -1.7976931348623157e308,
    5e-324,
    Number.MIN_SAFE_INTEGER,
  ];
  for (const value of ["\u0001".repeat(99), '"\\\n\t\r\b\f'.repeat(99), [null, true, false, [], {}], numbers])
    notMany(value);
});

test("text is measured within five bytes of what JSON makes of it", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme", maxLength: 400 }), (text) => {
      assert.is(measure(text).bytes, Buffer.byteLength(JSON.stringify(text)) + 3);
    }),
    { seed },
  );
});

test("depth and values are counted as the scan counts them", () => {
  assert.equal(measure(1), { bytes: 9, depth: 0, items: 1 });
  assert.is(measure([]).depth, 1);
  assert.equal([measure([[1], { a: 2 }]).depth, measure([[1], { a: 2 }]).items], [2, 5]);
  assert.is(measure(nest(9)).depth, 9);
});

test("a payload at its bounds passes, one over them is too-large and says which", () => {
  checkPayload("input", undefined);
  checkPayload("input", "x".repeat(MAX_PAYLOAD_BYTES - 5));
  checkPayload("input", nest(MAX_PAYLOAD_DEPTH));
  checkPayload(
    "input",
    Array.from({ length: MAX_PAYLOAD_ITEMS - 1 }, () => 1),
  );
  assert.is(tooLarge("x".repeat(MAX_PAYLOAD_BYTES - 4)).details?.["limit"], MAX_PAYLOAD_BYTES);
  assert.is(tooLarge("€".repeat(MAX_PAYLOAD_BYTES / 3)).details?.["field"], "input");
  assert.is(tooLarge(nest(MAX_PAYLOAD_DEPTH + 1)).details?.["limit"], MAX_PAYLOAD_DEPTH);
  assert.is(
    tooLarge(Array.from({ length: MAX_PAYLOAD_ITEMS }, () => 1)).details?.["limit"],
    MAX_PAYLOAD_ITEMS,
  );
});

test("measuring does not recurse", () => {
  assert.is(measure(nest(200_000)).depth, 200_000);
});

test("anything becomes what JSON.stringify makes of it", () => {
  const cases: [unknown, unknown][] = [
    [undefined, null],
    [() => 1, null],
    [NaN, null],
    [
      [undefined, Infinity],
      [null, null],
    ],
    [{ a: undefined, b: new Date(0) }, { b: "1970-01-01T00:00:00.000Z" }],
    [new Map([[1, 2]]), {}],
    [new Uint8Array([1, 2]), { 0: 1, 1: 2 }],
    [{ toJSON: () => "x" }, "x"],
    [new Error("x"), {}],
  ];
  for (const [value, expected] of cases) assert.equal(toJsonValue(value), expected);
});

test("what JSON cannot hold throws a TypeError", () => {
  const cycle: Record<string, unknown> = {};
  cycle["self"] = cycle;
  assert.throws(
    () => toJsonValue(cycle),
    (error: unknown) => error instanceof TypeError,
  );
  assert.throws(
    () => toJsonValue(1n),
    (error: unknown) => error instanceof TypeError,
  );
});

test("lone surrogates become U+FFFD and __proto__ keys go, in values and keys, at any depth", () => {
  const value: unknown = JSON.parse(
    '{"a":"x\\ud800y","\\udc00":[{"\\ud800":{"__proto__":1,"b":"\\udfff"}}],"__proto__":{"polluted":true}}',
  );
  const clean = toJsonValue(value);
  assert.equal(clean, { a: "x\ufffdy", "\ufffd": [{ "\ufffd": { b: "\ufffd" } }] });
  checkJsonValue(clean);
  assert.is(({} as Record<string, unknown>)["polluted"], undefined);
});

test("whatever goes in, what comes out passes the scan", () => {
  const anything = fc.anything({ withBigInt: false, withDate: true, withMap: true, withTypedArray: true });
  fc.assert(
    fc.property(
      fc.oneof(
        anything,
        fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((n) => String.fromCharCode(n)) }),
      ),
      (value) => {
        let clean: unknown;
        try {
          clean = toJsonValue(value);
        } catch (error) {
          assert.instance(error, TypeError);
          return;
        }
        checkJsonValue(clean);
        assert.equal(JSON.parse(JSON.stringify(clean)), clean);
      },
    ),
    { numRuns: 2000, seed },
  );
});

test("text is cut between code points", () => {
  assert.is(cutText("seal", 10), "seal");
  assert.is(cutText("seal", 4), "seal");
  assert.is(cutText("seal", 2), "se");
  assert.is(cutText("a🦭b", 2), "a");
  assert.is(cutText("a🦭b", 3), "a🦭");
  assert.is(cutText("🦭", 1), "");
  assert.is(cutText("🦭", 0), "");
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), fc.nat(40), (text, units) => {
      const cut = cutText(text, units);
      assert.ok(cut.isWellFormed() && text.startsWith(cut) && cut.length <= units);
      assert.ok(cut.length >= Math.min(text.length, units - 1));
    }),
    { seed },
  );
});

test("minted ids are session ids, sort by time and never repeat", () => {
  const ids = new Set<string>();
  for (let i = 0; i < 10_000; i++) ids.add(newId("ses"));
  assert.is(ids.size, 10_000);
  for (const id of ids) assert.match(id, SESSION_ID);
  assert.match(newId("call"), /^call_[0-9a-hjkmnp-tv-z]{26}$/);
  const times = [0, 1, 31, 32, 1_700_000_000_000, 1_700_000_000_001, 2 ** 49];
  const minted = times.map((time) => newId("run", time));
  assert.equal(minted.toSorted(), minted);
});

test("a message's size is that of the whole, also after one of its parts was replaced", () => {
  const call = (at: number, more: object = {}) => ({
    type: "dynamic-tool" as const,
    toolName: "work",
    toolCallId: `call_${at}`,
    state: "input-available" as const,
    input: { at, text: "wörk" },
    ...more,
  });
  const author = { kind: "agent" as const, id: "demo", name: "demo", verified: true };
  const message = {
    id: "msg_1",
    role: "assistant" as const,
    author,
    parts: [call(1), call(2), { type: "text" as const, text: "now 🦭" }],
    seq: 7,
    at: 1_700_000_000_000,
  };
  const replaced = {
    ...message,
    parts: message.parts.with(1, call(2, { output: [1, 2.5, null] })),
  };
  for (const whole of [message, replaced, message]) {
    const { bytes, items } = measure(whole);
    assert.equal(messageSize(whole), { bytes, items });
  }
});

test.run();
