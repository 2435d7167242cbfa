// limit: 300 s
/**
 * kill -9 during compaction and fork: after every commit there is, and in the middle of every summary. The next process
 * must find a valid log, go on with what the last summary says, and never find half of a fork.
 */
import { buildPrompt } from "../../server/agent/prompt.ts";
import type { EventFrame } from "../../protocol/entries.ts";
import { violations } from "../server/agent/rules.ts";
import { temporaryDirectory } from "../support/process.ts";
import { compiled } from "../support/root.ts";
import { bodiesOf } from "../support/runtime.ts";
import { assert, suite } from "../support/suite.ts";
import { mortal, stateOf } from "./lives.ts";
import { live } from "./onward-child.ts";

const test = suite("kills during compaction and fork");
const CHILD = compiled("test/fault/onward-child.ts");

/** The logs of all sessions, or that the process was killed; without a death it is the life of this process. */
async function life(directory: string, at: number | string): Promise<EventFrame[][] | "killed"> {
  if (at === 0) return live(directory, "0");
  return mortal<EventFrame[]>(CHILD, [directory, String(at)]);
}

function check(logs: readonly EventFrame[][], when: string): void {
  const original = logs.find(([first]) => first?.session === "onward")!;
  assert.equal(violations(original), [], when);
  assert.equal(
    bodiesOf(original, "run-finished").map(({ reason, text }) => `${reason}: ${text}`),
    ["text: looked 3 times", "text: looked 3 times"],
    when,
  );
  const looked = bodiesOf(original, "message").flatMap(({ message }) =>
    message.parts.flatMap((part) => (part.type === "dynamic-tool" ? [part.input] : [])),
  );
  assert.equal(looked, [{ number: 0 }, { number: 1 }, { number: 2 }], `${when}: each step once`);
  const compacted = bodiesOf(original, "compacted");
  // The next process asks for one more where the second run had answered already.
  assert.ok(compacted.length === 4 || compacted.length === 5, `${when}: ${compacted.length} summaries`);
  for (const [index, { upTo, summary }] of compacted.entries()) {
    assert.ok(upTo > (compacted[index - 1]?.upTo ?? 0), when);
    assert.match(summary, /^\d looks so far/, when);
  }
  const forks = logs.filter((log) => log !== original);
  assert.ok(forks.length > 0);
  for (const log of forks) {
    const fork = stateOf(log);
    const { at } = fork.session.forkedFrom!;
    assert.equal(
      buildPrompt(fork, "demo"),
      buildPrompt(stateOf(original.slice(0, at)), "demo"),
      `${when}: a whole fork`,
    );
    assert.is(fork.session.state, "idle");
  }
}

for (const [what, place] of [
  ["after any commit", (n: number) => n],
  ["in the middle of any summary", (n: number) => `summary:${n}`],
] as const) {
  test(`killed ${what}, the session goes on`, { limitMs: 250_000 }, async () => {
    let kills = 0;
    for (let n = 1; ; n++) {
      const directory = temporaryDirectory();
      const first = await life(directory, place(n));
      const logs = first === "killed" ? await life(directory, 0) : first;
      if (logs === "killed") throw new Error("killed without being told");
      check(logs, `${what}: ${n}`);
      if (first !== "killed") break;
      kills++;
    }
    assert.ok(kills >= 4, `only ${kills} kills`);
  });
}

test.run();
