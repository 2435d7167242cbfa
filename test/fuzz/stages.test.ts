// limit: 1200 s
/**
 * 20 000 hostile inputs on a live server in each stage: before the hello, as a viewer, an editor and a provider of a session.
 * Nothing breaks, nobody else notices, the heap does not grow, and nothing takes the event loop for long: counted by what
 * its thread computed, whatever else the machine does.
 */
import { assert, suite } from "../support/suite.ts";
import { seeded, seedFromEnvironment } from "../support/wait.ts";
import { STAGES } from "./stage-inputs.ts";
import { MAX_GROWTH_MIB, MAX_STALL_MS, playStage, told } from "./stages.ts";

const test = suite("stages of the fuzz");
const RUNS = 20_000;
const seed = seedFromEnvironment();

for (const stage of STAGES) {
  test(`${RUNS} inputs of the stage ${stage} break nothing`, { limitMs: 400_000 }, async () => {
    const outcome = await playStage(stage, RUNS, seeded(seed));
    const { sent, grownMib, stall, done, errors, closes } = outcome;
    assert.is(sent, RUNS);
    assert.ok(grownMib < MAX_GROWTH_MIB, told(stage, outcome));
    assert.ok(stall.busyMs < MAX_STALL_MS, told(stage, outcome));
    // Else the inputs reach no handler, or nothing is wrong with them.
    const good = done.get(stage === "before hello" ? "welcome" : "ok") ?? 0;
    assert.ok(good > RUNS / 100, told(stage, outcome));
    assert.ok(stage === "before hello" ? closes.size >= 2 : errors.size >= 5, told(stage, outcome));
  });
}

test.run();
