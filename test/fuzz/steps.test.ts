/**
 * The scan's work is bounded in steps, not in time: how often it looks at a byte or a character, for damaged frames and for
 * inputs made to be costly. A loop that looks back, or starts over, would show here on any machine.
 */
import fc from "fast-check";
import { ProtocolError } from "../../protocol/errors.ts";
import { scanJson, scanMsgpack } from "../../protocol/scan.ts";
import { assert, suite } from "../support/suite.ts";
import { seedFromEnvironment } from "../support/wait.ts";
import { FUZZED_TYPES, hostileInputs, noise, type Input } from "./inputs.ts";

const test = suite("steps of the scan");
const seed = seedFromEnvironment();

/** Looks per byte or character that are enough for any input, and a few for an empty one. */
const PER_UNIT = 4;
const FIXED = 16;

/** Steps that a scan of this input takes, whatever it says of it. */
function steps(input: Input): number {
  let count = 0;
  try {
    if (typeof input === "string") scanJson(countedText(input, (looks) => (count += looks)));
    else scanMsgpack(countedBytes(input, () => count++));
  } catch (error) {
    assert.instance(error, ProtocolError);
  }
  return count;
}

function countedBytes(bytes: Uint8Array, look: () => void): Uint8Array {
  return new Proxy(bytes, {
    get(target, key) {
      look();
      return Reflect.get(target, key, target) as unknown;
    },
  });
}

/** The part of a string's interface that the scan uses. */
function countedText(text: string, look: (count: number) => void): string {
  const counted = {
    length: text.length,
    charCodeAt(at: number): number {
      look(1);
      return text.charCodeAt(at);
    },
    indexOf(found: string, from: number): number {
      const at = text.indexOf(found, from);
      look((at < 0 ? text.length : at) - from + 1);
      return at;
    },
    slice(from: number, to: number): string {
      look(to - from);
      return text.slice(from, to);
    },
  };
  return counted as unknown as string;
}

function check(input: Input): void {
  const taken = steps(input);
  assert.ok(taken <= PER_UNIT * input.length + FIXED, `${taken} steps for ${input.length}`);
}

test("counting changes nothing", () => {
  assert.is(scanMsgpack(countedBytes(Uint8Array.of(0x81, 0xa1, 0x61, 0x01), () => undefined)), 4);
  assert.throws(() => scanJson(countedText('{"a":1e999}', () => undefined)));
  assert.ok(steps(Uint8Array.of(0x81, 0xa1, 0x61, 0x01)) >= 4);
  assert.ok(steps('{"a":"b"}') >= 9);
});

test("damaged frames and noise take a few steps for each byte", () => {
  fc.assert(fc.property(fc.oneof(noise, ...FUZZED_TYPES.map(hostileInputs)), check), {
    numRuns: 20_000,
    seed,
  });
});

test("inputs made to be costly do too", () => {
  const size = 20_000;
  const repeated = (unit: string): string => unit.repeat(size / unit.length);
  const texts = [
    '"',
    '\\"',
    "\\\\",
    '"\\',
    '""',
    "[",
    "[]",
    "{}",
    "1",
    "-",
    "1,",
    ",",
    " ",
    "e",
    '{"a":',
    '"a"',
    "\\u0022",
  ];
  for (const unit of texts) {
    for (const [before, after] of [
      ["", ""],
      ['"', ""],
      ['{"a":"', '"}'],
      ["[", "]"],
      ["", '"'],
    ] as const) {
      check(before + repeated(unit) + after);
    }
  }
  check(`"${"\\".repeat(size)}"`);
  check(`${'"\\\\"'.repeat(size / 4)}`);
  for (const byte of [
    0x80, 0x81, 0x90, 0x91, 0xa0, 0xa1, 0xbf, 0xc0, 0xc1, 0xd9, 0xdc, 0xdd, 0xde, 0xdf, 0xe2, 0xff,
  ]) {
    check(new Uint8Array(size).fill(byte));
    const inside = new Uint8Array(size).fill(byte);
    // A map of one key, whose value is a list of as many as the bytes can be.
    inside.set([0x81, 0xa1, 0x61, 0xdc, 0x4e, 0x10]);
    check(inside);
  }
});

test.run();
