/**
 * What a session has used, as fold counts it: by finished steps and by summaries, and by nothing else.
 */
import type { EntryBody } from "../../protocol/entries.ts";
import type { SessionState } from "../../protocol/frames.ts";
import { fold } from "../../protocol/state.ts";
import { assert, suite } from "../support/suite.ts";
import { entry, userMessage } from "./logs.ts";

const test = suite("usage of a session");
const USED = { inputTokens: 2, outputTokens: 1 };
const FINISHED = { type: "step-finished", run: "run_1", step: 1, finishReason: "stop" } as const;

function after(state: SessionState | undefined, ...bodies: EntryBody[]): SessionState {
  return bodies.reduce((now, body) => fold(now, entry((now?.seq ?? 0) + 1, body)), state)!;
}

const running = after(
  undefined,
  { type: "session-created", agent: "demo", owner: "ada" },
  { type: "run-started", run: "run_1", input: "msg_1", agent: "demo", model: "m", tools: [] },
  { type: "message", message: userMessage("msg_1") },
);

test("is absent before the first step, then the sum of steps and summaries, in a run or outside", () => {
  assert.is(running.session.usage, undefined);
  const one = after(running, { ...FINISHED, usage: { ...USED, cost: 7 } });
  assert.equal(one.session.usage, { ...USED, cost: 7 });
  const summed = after(one, { type: "compacted", upTo: 1, summary: "x", usage: USED });
  assert.equal(summed.session.usage, { inputTokens: 4, outputTokens: 2, cost: 7 });
  assert.equal(summed.run?.usage, { ...USED, cost: 7 }, "not of the run");
});

test("does not change by a summary without usage, a step of no open run, the end of a run or a stop at a budget", () => {
  const one = after(running, { ...FINISHED, usage: USED });
  const others: EntryBody[] = [
    { type: "compacted", upTo: 1, summary: "x" },
    { ...FINISHED, run: "other", usage: USED },
    { type: "budget-stopped", run: "run_1", scope: "session", unit: "tokens", limit: 1, spent: 3 },
    { type: "run-finished", run: "run_1", reason: "text", steps: 1, usage: USED, model: "m" },
  ];
  for (const body of others) assert.equal(after(one, body).session.usage, USED, body.type);
});

test.run();
