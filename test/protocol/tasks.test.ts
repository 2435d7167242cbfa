/**
 * fold of what tasks are in a log: the session that a call names, and the session that is made for a task. What holds for
 * every log is in fold.test.ts.
 */
import type { EntryBody, EntryBodyOf, EventFrame } from "../../protocol/entries.ts";
import type { SessionState } from "../../protocol/frames.ts";
import { fold } from "../../protocol/state.ts";
import { assert, suite } from "../support/suite.ts";
import { assistantMessage, entry, USAGE } from "./logs.ts";

const test = suite("fold of tasks");

const CREATED: EntryBodyOf<"session-created"> = { type: "session-created", agent: "demo", owner: "ada" };
const TASK: EntryBody[] = [
  CREATED,
  { type: "run-started", run: "run_1", input: "msg_1", agent: "demo", model: "m", tools: [] },
  { type: "message", message: { ...assistantMessage("msg_2", ["call_1"]), run: "run_1" }, step: 1 },
  { type: "tool-delegated", call: "call_1", child: "ses_2" },
];

function folded(...bodies: EntryBody[]): SessionState {
  const entries = bodies.map((body, index): EventFrame => entry(index + 1, body));
  return entries.reduce<SessionState | undefined>(fold, undefined)!;
}

test("tool-delegated names the session of a task at the call and at its part", () => {
  const { calls, messages } = folded(...TASK);
  const [call] = calls;
  assert.equal([call?.state, call?.attempt, call?.child], ["dispatched", 0, "ses_2"]);
  const part = messages.at(-1)?.parts.find(({ type }) => type === "dynamic-tool");
  assert.is(part?.type === "dynamic-tool" && part.child, "ses_2");
});

test("what a task used is the session's, and not of the run's own steps", () => {
  const result: EntryBody = {
    type: "tool-result",
    call: "call_1",
    outcome: "ok",
    durationMs: 1,
    usage: USAGE,
  };
  const { session, run, messages } = folded(...TASK, result);
  assert.equal([session.usage, run?.usage], [USAGE, { inputTokens: 0, outputTokens: 0 }]);
  const part = messages.at(-1)?.parts.find(({ type }) => type === "dynamic-tool");
  assert.is(part?.type === "dynamic-tool" && part.child, "ses_2", "its session is still known");
});

test("a session that is made for a task has its members from the beginning", () => {
  const parent = {
    session: "ses_1",
    run: "run_1",
    call: "call_1",
    agent: "demo",
    input: "msg_1",
    depth: 1,
    deadlineAt: 9,
  };
  const made: EntryBody = { ...CREATED, parent, members: { bob: "viewer" } };
  const { members, session } = folded(made);
  assert.equal(members, { bob: "viewer", ada: "owner" });
  assert.equal(session.parent, parent);
});

test.run();
