/**
 * fold, one test per entry: what it does to the state as SPEC.md §8 says, and nothing else. The laws that hold for every
 * log are in fold.test.ts.
 */
import type { EntryBody, EntryBodyOf, EventFrame } from "../../protocol/entries.ts";
import type { SessionState } from "../../protocol/frames.ts";
import { fold, roleOf } from "../../protocol/state.ts";
import { assert, suite } from "../support/suite.ts";
import { ADA, assistantMessage, entry, SESSION, USAGE, userMessage } from "./logs.ts";

const test = suite("fold");

const CREATED: EntryBody = { type: "session-created", agent: "demo", owner: "ada" };
const QUEUED: EntryBodyOf<"input-queued"> = {
  type: "input-queued",
  input: "msg_1",
  key: "k1",
  content: "hello",
  mode: "queue",
};
const STARTED: EntryBody = {
  type: "run-started",
  run: "run_1",
  input: "msg_1",
  agent: "demo",
  model: "m",
  tools: [],
};
const CALLING: EntryBodyOf<"message"> = {
  type: "message",
  message: assistantMessage("msg_2", ["call_1", "call_2"]),
  step: 1,
};
const DISPATCHED: EntryBodyOf<"tool-dispatched"> = {
  type: "tool-dispatched",
  call: "call_1",
  attempt: 2,
  provider: "prv_1",
  effect: "once",
  deadlineAt: 77,
};
const RUNNING = [
  CREATED,
  QUEUED,
  STARTED,
  { type: "message", message: userMessage("msg_1") },
  CALLING,
] as const;

function foldAll(bodies: readonly EntryBody[], extra: Partial<EventFrame> = {}): SessionState {
  let state: SessionState | undefined;
  bodies.forEach((body, index) => (state = fold(state, entry(index + 1, body, extra))));
  assert.ok(state);
  return state;
}

/** The state after, with what every entry changes taken out if it is as it should be. */
function after(before: SessionState, body: EntryBody, extra: Partial<EventFrame> = {}): SessionState {
  const next = fold(before, entry(before.seq + 1, body, extra));
  assert.is(next.seq, before.seq + 1);
  assert.is(next.epoch, extra.epoch ?? 5);
  assert.is(next.session.updatedAt, 1000 + next.seq);
  assert.is(next.session.queued, next.queue.length);
  assert.is(next.session.requests, next.requests.length);
  return next;
}

function unchanged(before: SessionState, next: SessionState): void {
  const { updatedAt: _a, ...was } = before.session;
  const { updatedAt: _b, ...is } = next.session;
  assert.equal({ ...next, session: is, seq: 0 }, { ...before, session: was, seq: 0 });
}

function toolPart(state: SessionState, call: string): Record<string, unknown> {
  for (const message of state.messages) {
    for (const part of message.parts) {
      if (part.type === "dynamic-tool" && part.toolCallId === call) return { ...part };
    }
  }
  throw new Error(`no part of ${call}`);
}

test("session-created begins a state, with its owner as a member", () => {
  const state = fold(
    undefined,
    entry(1, { ...CREATED, title: "T", metadata: [1], forkedFrom: { session: "s", at: 2 } }),
  );
  assert.equal(state, {
    session: {
      id: SESSION,
      agent: "demo",
      owner: "ada",
      title: "T",
      metadata: [1],
      createdAt: 1001,
      updatedAt: 1001,
      state: "idle",
      queued: 0,
      requests: 0,
      forkedFrom: { session: "s", at: 2 },
    },
    epoch: 5,
    seq: 1,
    members: { ada: "owner" },
    queue: [],
    calls: [],
    requests: [],
    messages: [],
  });
});

test("a log that begins otherwise is refused", () => {
  assert.throws(() => fold(undefined, entry(1, QUEUED)), /begins with session-created/);
});

test("session-updated replaces the fields it has", () => {
  const first = after(foldAll([CREATED]), { type: "session-updated", title: "A", metadata: { a: 1 } });
  const second = after(first, { type: "session-updated", metadata: null });
  assert.is(second.session.title, "A");
  assert.is(second.session.metadata, null);
});

test("session-closed lasts, whatever comes after", () => {
  const state = foldAll([
    CREATED,
    QUEUED,
    STARTED,
    { type: "session-closed" },
    { type: "cancel-requested", run: "run_1" },
  ]);
  assert.is(state.session.state, "closed");
  assert.ok(state.run?.cancelRequested);
});

test("member-changed sets and removes a role", () => {
  const joined = after(foldAll([CREATED]), { type: "member-changed", user: "bob", role: "viewer" });
  assert.equal(joined.members, { ada: "owner", bob: "viewer" });
  assert.is(roleOf(joined, "bob"), "viewer");
  assert.equal(after(joined, { type: "member-changed", user: "bob", role: null }).members, { ada: "owner" });
});

test("nobody is a member by the name of what every object has", () => {
  const state = foldAll([CREATED]);
  for (const name of ["constructor", "toString", "__proto__", "hasOwnProperty"]) {
    assert.is(roleOf(state, name), undefined);
  }
});

test("input-queued joins the queue: interrupts, then steers, then the rest, each by seq", () => {
  const modes = ["queue", "steer", "reject", "interrupt", "steer", "interrupt", "queue"] as const;
  const state = foldAll([
    CREATED,
    ...modes.map((mode, index): EntryBody => ({
      type: "input-queued",
      input: `m${index}`,
      key: `k${index}`,
      content: "x",
      mode,
    })),
  ]);
  assert.equal(
    state.queue.map((item) => item.input),
    ["m3", "m5", "m1", "m4", "m0", "m2", "m6"],
  );
});

test("a queued input has the seq, time, actor and agent of its entry", () => {
  const state = after(foldAll([CREATED]), { ...QUEUED, agent: "other" }, { actor: ADA });
  const item = { input: "msg_1", key: "k1", content: "hello", mode: "queue", agent: "other", actor: ADA };
  assert.equal(state.queue, [{ ...item, seq: 2, at: 1002 }]);
});

test("input-edited replaces a content, and one that a snapshot had cut is whole again", () => {
  const queued = foldAll([CREATED, QUEUED]);
  const cut = { ...queued, queue: [{ ...queued.queue[0]!, content: "he", truncated: true as const }] };
  for (const state of [queued, cut]) {
    const next = after(state, { type: "input-edited", input: "msg_1", content: "new" });
    assert.equal(next.queue, [{ ...queued.queue[0], content: "new" }]);
  }
  unchanged(queued, after(queued, { type: "input-edited", input: "other", content: "new" }));
});

test("input-withdrawn takes an input out of the queue", () => {
  assert.equal(after(foldAll([CREATED, QUEUED]), { type: "input-withdrawn", input: "msg_1" }).queue, []);
});

test("run-started opens the run, and the session is running", () => {
  const state = after(foldAll([CREATED, QUEUED]), STARTED, { actor: ADA });
  assert.equal(state.run, {
    run: "run_1",
    input: "msg_1",
    agent: "demo",
    model: "m",
    tools: [],
    startedAt: 1003,
    actor: ADA,
    step: 0,
    usage: { inputTokens: 0, outputTokens: 0 },
  });
  assert.is(state.session.state, "running");
});

test("a user's message joins the history and consumes the input of its id", () => {
  const state = foldAll(RUNNING.slice(0, 4));
  assert.equal(state.queue, []);
  assert.equal(state.messages, [{ ...userMessage("msg_1"), seq: 4, at: 1004 }]);
});

test("an assistant's message keeps its step, reason, usage and mark, and opens its calls", () => {
  const marks = { finishReason: "tool-calls", usage: USAGE, incomplete: true } as const;
  const state = after(foldAll(RUNNING.slice(0, 4)), { ...CALLING, ...marks });
  assert.equal(state.messages[1], { ...CALLING.message, step: 1, ...marks, seq: 5, at: 1005 });
  const call = { message: "msg_2", run: "run_1", tool: "clock", state: "waiting", attempt: 0 };
  assert.equal(state.calls, [
    { call: "call_1", ...call },
    { call: "call_2", ...call },
  ]);
});

test("a tool part that is not waiting for its output opens no call", () => {
  const message = assistantMessage("msg_2", ["call_1"]);
  for (const part of message.parts) if (part.type === "dynamic-tool") part.state = "input-streaming";
  assert.equal(foldAll([CREATED, STARTED, { type: "message", message }]).calls, []);
});

test("tool-dispatched, tool-accepted and tool-lost move the call", () => {
  const dispatched = after(foldAll(RUNNING), DISPATCHED);
  const call = { call: "call_1", message: "msg_2", run: "run_1", tool: "clock" };
  const at = { attempt: 2, provider: "prv_1", effect: "once", deadlineAt: 77 };
  assert.equal(dispatched.calls[0], { ...call, state: "dispatched", ...at });
  assert.is(dispatched.calls[1]!.state, "waiting");
  const accepted = after(dispatched, { type: "tool-accepted", call: "call_1", attempt: 2 });
  assert.equal(accepted.calls[0], { ...call, state: "accepted", ...at });
  const lost = after(accepted, { type: "tool-lost", call: "call_1", attempt: 2, cause: "gone" });
  assert.equal(lost.calls[0], { ...call, state: "lost", ...at });
});

test("tool-result closes the call and completes its part, by outcome", () => {
  const cases: [Partial<Extract<EntryBody, { type: "tool-result" }>>, object][] = [
    [
      { outcome: "ok", output: 12 },
      { state: "output-available", output: 12 },
    ],
    [{ outcome: "ok" }, { state: "output-available" }],
    [
      { outcome: "error", error: { code: "c", message: "m" } },
      { state: "output-error", errorText: "c: m" },
    ],
    [{ outcome: "timeout" }, { state: "output-error", errorText: "timeout" }],
    [{ outcome: "outcome-unknown" }, { state: "output-error", errorText: "outcome-unknown" }],
    [{ outcome: "denied" }, { state: "output-denied", errorText: "denied" }],
    [{ outcome: "approval-expired" }, { state: "output-denied", errorText: "approval-expired" }],
    [
      { outcome: "invalid-output", output: [1] },
      { state: "output-error", output: [1], errorText: "invalid-output" },
    ],
  ];
  const before = foldAll(RUNNING);
  for (const [body, expected] of cases) {
    const next = after(before, { type: "tool-result", call: "call_1", durationMs: 1, ...body } as EntryBody);
    assert.equal(
      next.calls.map((call) => call.call),
      ["call_2"],
    );
    const base = { type: "dynamic-tool", toolName: "clock", toolCallId: "call_1", input: { call: "call_1" } };
    const became = { outcome: body.outcome, durationMs: 1 };
    assert.equal(toolPart(next, "call_1"), { ...base, ...expected, ...became });
    assert.is(toolPart(next, "call_2")["state"], "input-available");
  }
});

test("request-opened and request-resolved keep the list and mark the part of an approval", () => {
  const opened = after(foldAll(RUNNING), {
    type: "request-opened",
    request: "req_1",
    kind: "approval",
    call: "call_1",
    subject: { why: 1 },
    expiresAt: 9,
  });
  assert.equal(opened.requests, [
    { request: "req_1", kind: "approval", call: "call_1", subject: { why: 1 }, expiresAt: 9 },
  ]);
  assert.is(toolPart(opened, "call_1")["state"], "approval-requested");
  assert.equal(toolPart(opened, "call_1")["approval"], { id: "req_1" });
  assert.is(opened.session.state, "waiting");
  const resolved = after(opened, {
    type: "request-resolved",
    request: "req_1",
    decision: "deny",
    reason: "no",
    input: { other: 1 },
  });
  assert.equal(resolved.requests, []);
  assert.is(toolPart(resolved, "call_1")["state"], "approval-responded");
  assert.equal(toolPart(resolved, "call_1")["approval"], { id: "req_1", approved: false, reason: "no" });
  assert.equal(toolPart(resolved, "call_1")["input"], { other: 1 });
});

test("a question marks no part", () => {
  const before = foldAll(RUNNING);
  const opened = after(before, {
    type: "request-opened",
    request: "q",
    kind: "question",
    call: "call_1",
    expiresAt: 9,
  });
  const resolved = after(opened, {
    type: "request-resolved",
    request: "q",
    decision: "approve",
    answers: [1],
  });
  assert.equal(toolPart(resolved, "call_1"), toolPart(before, "call_1"));
});

test("a run is waiting only while a request is open and no call is at work", () => {
  const opened = foldAll([
    ...RUNNING,
    { type: "request-opened", request: "r", kind: "approval", call: "call_1", expiresAt: 9 },
  ]);
  const dispatched = after(opened, { ...DISPATCHED, call: "call_2" });
  assert.is(opened.session.state, "waiting");
  assert.is(dispatched.session.state, "running");
});

test("step-finished counts the step and adds its usage", () => {
  const usage = { inputTokens: 2, outputTokens: 1, reasoningTokens: 1 };
  const one = after(foldAll(RUNNING), {
    type: "step-finished",
    run: "run_1",
    step: 1,
    finishReason: "stop",
    usage,
  });
  const two = after(one, {
    type: "step-finished",
    run: "run_1",
    step: 2,
    finishReason: "stop",
    usage: USAGE,
  });
  assert.is(two.run?.step, 2);
  assert.equal(two.run?.usage, { inputTokens: 4, outputTokens: 2, reasoningTokens: 1 });
});

test("cancel-requested marks the run with its seq", () => {
  assert.is(after(foldAll(RUNNING), { type: "cancel-requested", run: "run_1" }).run?.cancelRequested, 6);
});

test("run-recovered says which step of the run goes on", () => {
  const body: EntryBody = {
    type: "run-recovered",
    run: "run_1",
    policy: "restart-step",
    step: 2,
    attempt: 1,
  };
  assert.equal(after(foldAll(RUNNING), body).run?.recovered, { step: 2, attempt: 1 });
});

test("run-finished closes the run and is remembered", () => {
  const finish = { type: "run-finished", run: "run_1", steps: 1, usage: USAGE, model: "m" } as const;
  const state = after(foldAll(RUNNING), { ...finish, reason: "text" });
  assert.is(state.run, undefined);
  assert.not("run" in state);
  assert.equal(state.lastRun, { run: "run_1", reason: "text", steps: 1, usage: USAGE, at: 1006, tools: [] });
  assert.is(state.session.state, "idle");
  assert.not("failed" in state.session);
  const failed = after(foldAll(RUNNING), { ...finish, reason: "deadline" });
  assert.is(failed.session.failed, "deadline");
  assert.not("failed" in after(failed, { ...STARTED, run: "run_2" }).session);
});

test("entries about something that is not there, of unknown types, or without effect count their seq", () => {
  const before = foldAll(RUNNING);
  const bodies: EntryBody[] = [
    { type: "message-abandoned", message: "msg_9", text: "x", cause: "retry" },
    { type: "tool-audit", call: "call_1", attempt: 1, verdict: "stale" },
    { type: "run-recovered", run: "other", policy: "stop", step: 1, attempt: 1 },
    { type: "tool-accepted", call: "nobody", attempt: 1 },
    { type: "tool-result", call: "nobody", outcome: "ok", output: 1, durationMs: 1 },
    { type: "request-resolved", request: "nobody", decision: "deny" },
    { type: "step-finished", run: "other", step: 9, finishReason: "stop", usage: USAGE },
    { type: "cancel-requested", run: "other" },
    { type: "run-finished", run: "other", reason: "text", steps: 0, usage: USAGE, model: "m" },
    { type: "input-withdrawn", input: "nobody" },
    { type: "inputs-ordered", inputs: ["nobody"] },
    { type: "from-the-future", anything: [1] } as unknown as EntryBody,
  ];
  for (const body of bodies) unchanged(before, after(before, body));
});

test.run();
