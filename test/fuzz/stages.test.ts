/**
 * 20 000 hostile inputs on a live server in each stage: before the hello, as a viewer, an editor and a provider of a session.
 * Nothing breaks, nobody else notices, and the heap does not grow. The longest stall is printed, not judged.
 */
// limit: 1200 s
import { assert, suite } from "../support/suite.ts";
import { seeded, seedFromEnvironment } from "../support/wait.ts";
import { MAX_GROWTH_MIB, playStage, STAGES, told } from "./stages.ts";

const test = suite("stages of the fuzz");
const RUNS = 20_000;
const seed = seedFromEnvironment();

for (const stage of STAGES) {
  test(`${RUNS} inputs of the stage ${stage} break nothing`, { limitMs: 400_000 }, async () => {
    const outcome = await playStage(stage, RUNS, seeded(seed));
    const { sent, grownMib, done, errors, closes } = outcome;
    assert.is(sent, RUNS);
    assert.ok(grownMib < MAX_GROWTH_MIB, told(stage, outcome));
    // Else the inputs reach no handler, or nothing is wrong with them.
    const good = done.get(stage === "before hello" ? "welcome" : "ok") ?? 0;
    assert.ok(good > RUNS / 100, told(stage, outcome));
    assert.ok(stage === "before hello" ? closes.size >= 2 : errors.size >= 5, told(stage, outcome));
  });
}

test.run();
