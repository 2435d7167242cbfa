/**
 * The short fuzz of every `npm test`: 20 000 hostile inputs for each client frame type and as much noise go through scan,
 * decoder, schemas and payload bounds. `npm run fuzz -- --runs N` does more, also against a live server.
 */
// limit: 600 s
import fc from "fast-check";
import { assert, suite } from "../support/suite.ts";
import { seedFromEnvironment } from "../support/wait.ts";
import { TYPES } from "../protocol/frames.ts";
import { FUZZED_TYPES, hostileInputs, noise, type Input } from "./inputs.ts";
import { takeIn } from "./pipeline.ts";

const test = suite("fuzz");
const seed = seedFromEnvironment();
const RUNS = 20_000;
// Half of the inputs end in an error, and its stack costs more than its cause. `npm run fuzz` with the seed shows it.
Error.stackTraceLimit = 0;

function fuzz(inputs: fc.Arbitrary<Input>): Map<string, number> {
  const endings = new Map<string, number>();
  fc.assert(
    fc.property(inputs, (input) => {
      for (const ending of takeIn(input)) endings.set(ending, (endings.get(ending) ?? 0) + 1);
    }),
    { numRuns: RUNS, seed },
  );
  return endings;
}

test("every client frame type is fuzzed", () => {
  assert.equal([...FUZZED_TYPES].toSorted(), [...TYPES.client].toSorted());
});

for (const type of FUZZED_TYPES) {
  test(`${RUNS} damaged ${type} frames are read or refused`, { limitMs: 120_000 }, () => {
    const endings = fuzz(hostileInputs(type));
    // Else the damage is too small or too great to tell anything.
    assert.ok((endings.get("accepted") ?? 0) > RUNS / 100, JSON.stringify([...endings]));
    assert.ok((endings.get("bad-frame") ?? 0) > RUNS / 10, JSON.stringify([...endings]));
  });
}

test(`${RUNS} messages of noise are refused`, { limitMs: 120_000 }, () => {
  const endings = fuzz(noise);
  assert.ok((endings.get("bad-frame") ?? 0) > RUNS / 2, JSON.stringify([...endings]));
});

test.run();
