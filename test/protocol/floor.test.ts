/**
 * What the entries of the floor and of a rollback mean for a state.
 */
import type { EntryBody } from "../../protocol/entries.ts";
import type { SessionState } from "../../protocol/frames.ts";
import { fold } from "../../protocol/state.ts";
import { floorOf } from "../../protocol/queue.ts";
import { assert, suite } from "../support/suite.ts";
import { assistantMessage, entry, USAGE, userMessage } from "./logs.ts";

const test = suite("floor and rollback in a state");

const CREATED: EntryBody = { type: "session-created", agent: "demo", owner: "ada" };

function after(state: SessionState | undefined, ...bodies: EntryBody[]): SessionState {
  return bodies.reduce((folded, body) => fold(folded, entry((folded?.seq ?? 0) + 1, body)), state)!;
}

test("a run that is to be rolled back ends so, and its messages are marked", () => {
  const ending = { type: "run-finished", run: "run_1", steps: 1, usage: USAGE, model: "m" } as const;
  const running = after(
    undefined,
    CREATED,
    { type: "message", message: { ...userMessage("msg_0"), run: "run_0" } },
    { type: "run-started", run: "run_1", input: "msg_1", agent: "demo", model: "m", tools: [] },
    { type: "message", message: { ...userMessage("msg_1"), run: "run_1" } },
    { type: "message", message: assistantMessage("msg_2") },
  );
  const once = after(running, { type: "cancel-requested", run: "run_1" });
  const twice = after(once, { type: "cancel-requested", run: "run_1", rollback: true });
  assert.equal([twice.run?.cancelRequested, twice.run?.rollback], [once.seq, true]);
  const ended = after(twice, { ...ending, reason: "cancelled", rolledBack: true });
  assert.ok(ended.lastRun?.rolledBack);
  assert.equal(
    ended.messages.map(({ rolledBack }) => rolledBack),
    [undefined, true, true],
  );
  const kept = after(once, { ...ending, reason: "cancelled" });
  assert.ok(kept.messages.every(({ rolledBack }) => rolledBack === undefined));
});

test("floor-changed sets the floor; a holder who may not send any more does not hold it", () => {
  const created = after(undefined, CREATED);
  assert.equal(floorOf(created), { mode: "queue" });
  const held = after(created, { type: "floor-changed", mode: "hand", holder: "bob" });
  assert.equal(floorOf(held), { mode: "hand", holder: "bob" });
  const kept = after(
    held,
    { type: "member-changed", user: "bob", role: "editor" },
    { type: "member-changed", user: "eve", role: null },
  );
  assert.equal(kept.floor, held.floor);
  for (const role of ["viewer", null] as const)
    assert.equal(after(kept, { type: "member-changed", user: "bob", role }).floor, { mode: "hand" });
});

test.run();
