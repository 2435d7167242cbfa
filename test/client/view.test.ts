/**
 * A session's view: every entry once, in order; what does not continue it is noticed.
 */
import { SessionView } from "../../client/view.ts";
import { fold } from "../../protocol/state.ts";
import type { SessionState } from "../../protocol/frames.ts";
import { suite, assert } from "../support/suite.ts";
import { Log } from "./support/entries.ts";

const test = suite("client view");

function talk(): Log {
  const log = new Log();
  log.created();
  log.asked("hi", { input: "msg_1", run: "run_1" });
  log.answered("msg_2", "run_1", [{ type: "text", text: "Hello" }]);
  log.finished("run_1");
  return log;
}

test("from seq 0 every entry is folded once, repetitions are known", () => {
  const log = talk();
  const view = new SessionView({ epoch: 0, seq: 0 });
  for (const entry of log.entries) {
    assert.is(view.event(entry), "applied");
    assert.is(view.event(entry), "known");
  }
  assert.equal(view.state, log.entries.reduce<SessionState | undefined>(fold, undefined));
  assert.equal(view.position, { epoch: 10, seq: log.entries.length });
});

test("a gap is lost and changes nothing", () => {
  const log = talk();
  const view = new SessionView({ epoch: 0, seq: 0 });
  view.event(log.entries[0]!);
  const { state, position } = view;
  assert.is(view.event(log.entries[2]!), "lost");
  assert.is(view.state, state);
  assert.equal(view.position, position);
});

test("a higher epoch continues, a lower one or another entry under a known seq is lost", () => {
  const log = talk();
  const view = new SessionView({ epoch: 0, seq: 0 });
  view.event(log.entries[0]!);
  assert.is(view.event({ ...log.entries[1]!, epoch: 12 }), "applied");
  assert.is(view.event({ ...log.entries[1]!, epoch: 13 }), "lost");
  assert.is(view.event({ ...log.entries[2]!, epoch: 11 }), "lost");
  assert.is(view.event({ ...log.entries[0]!, epoch: 99 }), "known");
});

test("a snapshot sets state and position, and takes away the unfinished text of what it contains", () => {
  const log = talk();
  const state = log.entries.reduce<SessionState | undefined>(fold, undefined)!;
  const view = new SessionView();
  view.part({ type: "part", channel: 1, message: "msg_2", part: 0, kind: "text" });
  view.snapshot({ epoch: 10, seq: state.seq, state });
  assert.is(view.partial, undefined);
  assert.is(
    view.delta({ type: "delta", channel: 1, message: "msg_2", part: 0, offset: 0, text: "Hello" }),
    undefined,
  );
  const next = log.add({ type: "session-updated", title: "t" });
  assert.is(view.event(next), "applied");
  assert.is(view.state?.session.title, "t");
});

test("a view from the middle of a log counts entries without a state", () => {
  const log = talk();
  const view = new SessionView({ epoch: 10, seq: 2 });
  assert.is(view.event(log.entries[2]!), "applied");
  assert.is(view.state, undefined);
  assert.equal(view.position, { epoch: 10, seq: 3 });
});

test("live says caught up, unless entries before it are missing", () => {
  const log = talk();
  const view = new SessionView({ epoch: 0, seq: 0 });
  const live = { type: "live", session: "ses_1", epoch: 10, seq: 2 } as const;
  assert.is(view.live(live), "lost");
  assert.is(view.caughtUp, false);
  for (const entry of log.entries.slice(0, 2)) view.event(entry);
  assert.equal(view.live(live), []);
  assert.is(view.caughtUp, true);
  view.behind();
  assert.is(view.caughtUp, false);
});

test("what is shown is the history and then the unfinished message, with its agent as the author", () => {
  const log = talk();
  log.asked("more", { input: "msg_3", run: "run_2" });
  const view = new SessionView({ epoch: 0, seq: 0 });
  for (const entry of log.entries) view.event(entry);
  view.part({ type: "part", channel: 1, message: "msg_4", part: 0, kind: "text" });
  view.delta({ type: "delta", channel: 1, message: "msg_4", part: 0, offset: 0, text: "Ye" });
  view.part({
    type: "part",
    channel: 1,
    message: "msg_4",
    part: 1,
    kind: "tool-input",
    call: "call_1",
    tool: "clock",
  });
  view.delta({ type: "delta", channel: 1, message: "msg_4", part: 1, offset: 0, text: '{"a' });
  const shown = view.shown();
  assert.equal(
    shown.map((message) => message.id),
    ["msg_1", "msg_2", "msg_3", "msg_4"],
  );
  const last = shown.at(-1)!;
  assert.is(last.unfinished, true);
  assert.is(last.run, "run_2");
  assert.is(last.author.id, "demo");
  assert.equal(last.parts, [
    { type: "text", text: "Ye" },
    { type: "dynamic-tool", toolName: "clock", toolCallId: "call_1", state: "input-streaming", input: '{"a' },
  ]);
  view.event(log.answered("msg_4", "run_2", [{ type: "text", text: "Yes" }]));
  assert.is(view.partial, undefined);
  assert.is(view.shown().length, 4);
});

test("an entry of an unknown type is counted", () => {
  const log = talk();
  const view = new SessionView({ epoch: 0, seq: 0 });
  for (const entry of log.entries) view.event(entry);
  assert.is(view.event(log.add({ type: "something-new" } as never)), "applied");
  assert.is(view.position?.seq, log.entries.length);
});

test.run();
