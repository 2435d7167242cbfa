/**
 * What recovery decides, for each way in which a process can leave a run: what is counted as a restart of its step, and
 * what ends it. That it comes about in a real process is tested in test/fault/recover.test.ts.
 */
import type { EntryBody, EventFrame } from "../../../protocol/entries.ts";
import type { SessionState } from "../../../protocol/frames.ts";
import { fold } from "../../../protocol/state.ts";
import { defineAgent } from "../../../server/agent/agent.ts";
import type { Checkpoint } from "../../../server/session/checkpoint.ts";
import { planRecovery } from "../../../server/session/recover.ts";
import { assert, suite } from "../../support/suite.ts";

const test = suite("what recovery decides");
const agent = defineAgent({ name: "demo" });
const author = { kind: "agent", id: "demo", name: "demo", verified: true } as const;
const text = "Half a thou";
const partial = { run: "run_1", message: "msg_2", parts: [{ part: 0, kind: "text" as const, text }] };

/** A log that ends in an open run, and more entries of its own. */
class Log {
  state: SessionState;

  constructor(...more: EntryBody[]) {
    const first: EntryBody = { type: "session-created", agent: "demo", owner: "ann" };
    this.state = fold(undefined, this.#entry(first, 1));
    this.add(
      { type: "input-queued", input: "msg_1", key: "k", content: "hi", mode: "queue" },
      { type: "run-started", run: "run_1", input: "msg_1", agent: "demo", model: "m", tools: [] },
      {
        type: "message",
        message: { id: "msg_1", role: "user", author, run: "run_1", parts: [{ type: "text", text: "hi" }] },
      },
      ...more,
    );
  }

  add(...bodies: EntryBody[]): this {
    for (const body of bodies) this.state = fold(this.state, this.#entry(body, this.state.seq + 1));
    return this;
  }

  /** A process ends and the next recovers; what it left in its slot may say that it was meant to. */
  restart(left: Partial<Checkpoint> = {}): EntryBody[] {
    const slot = { seq: this.state.seq, step: (this.state.run?.step ?? 0) + 1, ...left };
    const { entries } = planRecovery(this.state, agent, slot);
    this.add(...entries);
    return entries;
  }

  #entry(event: EntryBody, seq: number): EventFrame {
    return { type: "event", session: "ses_1", epoch: 1, seq, at: 1, event };
  }
}

function call(provider: string, effect: "pure" | "once"): EntryBody[] {
  const part = { type: "dynamic-tool", toolName: "work", toolCallId: "call_1", input: {} } as const;
  return [
    {
      type: "message",
      step: 1,
      message: {
        id: "msg_2",
        role: "assistant",
        author,
        run: "run_1",
        parts: [{ ...part, state: "input-available" }],
      },
    },
    { type: "tool-dispatched", call: "call_1", attempt: 1, provider, effect, deadlineAt: 9 },
  ];
}

const attempts = (entries: readonly EntryBody[]): number[] =>
  entries.flatMap((body) => (body.type === "run-recovered" ? [body.attempt] : []));
const types = (entries: readonly EntryBody[]): string[] => entries.map(({ type }) => type);

test("a step that was cut short is begun again twice, and the third time its run is interrupted", () => {
  const log = new Log();
  assert.equal(attempts(log.restart()), [1]);
  assert.equal(attempts(log.restart()), [2]);
  assert.equal(types(log.restart()), ["run-finished"]);
  assert.is(log.state.lastRun?.reason, "interrupted");
});

test("stops on purpose do not count, before or after a crash", () => {
  const log = new Log();
  assert.equal(attempts(log.restart({ planned: true })), [0]);
  assert.equal(attempts(log.restart()), [1]);
  for (let stop = 0; stop < 5; stop++) assert.equal(attempts(log.restart({ planned: true })), [1]);
  assert.equal(attempts(log.restart()), [2]);
  assert.equal(attempts(log.restart({ planned: true })), [2]);
  assert.equal(types(log.restart()), ["run-finished"]);
});

test("a stop on purpose that something was written after is none", () => {
  const log = new Log();
  assert.equal(attempts(log.restart({ planned: true, seq: log.state.seq - 1 })), [1]);
});

test("waiting for a provider does not count, and neither does what cannot be executed again", () => {
  for (const waiting of [call("prv_far", "pure"), call("prv_far", "once"), call("prv_local", "once")]) {
    const log = new Log(...waiting);
    for (let crash = 0; crash < 5; crash++) assert.equal(attempts(log.restart()), [0]);
  }
});

test("waiting for people does not count, also inside a tool of this process", () => {
  const opened: EntryBody = {
    type: "request-opened",
    request: "req_1",
    kind: "question",
    call: "call_1",
    expiresAt: 9,
  };
  const log = new Log(...call("prv_local", "pure"), opened);
  for (let crash = 0; crash < 5; crash++) assert.equal(attempts(log.restart()), [0]);
});

test("a tool of this process that was at work counts: it may be what kills it", () => {
  const log = new Log(...call("prv_local", "pure"));
  assert.equal(attempts(log.restart()), [1]);
  assert.equal(attempts(log.restart()), [2]);
  assert.equal(types(log.restart()), ["tool-result", "run-finished"]);
  assert.equal([log.state.calls, log.state.lastRun?.reason], [[], "interrupted"]);
});

test("each step is counted for itself", () => {
  const log = new Log();
  log.restart();
  log.restart();
  const usage = { inputTokens: 1, outputTokens: 1 };
  log.add({ type: "step-finished", run: "run_1", step: 1, finishReason: "tool-calls", usage });
  assert.equal(attempts(log.restart()), [1]);
});

test("a summary that is due belongs to the step that it goes before", () => {
  const log = new Log();
  log.restart();
  log.restart();
  log.add({ type: "compacted", upTo: 1, summary: "They greeted." });
  assert.equal(types(log.restart()), ["run-finished"]);
});

test("text that was shown is taken back, and named; on cancel it is kept", () => {
  const log = new Log();
  const [taken, recovered] = log.restart({ partial });
  assert.equal(taken, { type: "message-abandoned", message: "msg_2", text, cause: "crash" });
  assert.is(recovered?.type === "run-recovered" && recovered.abandoned, "msg_2");
  const cancelled = new Log({ type: "cancel-requested", run: "run_1" });
  const [said] = cancelled.restart({ partial });
  assert.ok(said?.type === "message" && said.incomplete);
  assert.equal(cancelled.state.messages.at(-1)?.parts, [{ type: "text", text }]);
  assert.is(cancelled.state.lastRun?.reason, "cancelled");
});

test("text of a message that is committed is not taken back", () => {
  const log = new Log(...call("prv_far", "pure"));
  assert.equal(types(log.restart({ partial, step: 1 })), ["run-recovered"]);
});

test("an agent that is gone ends its run by name", () => {
  const { entries, goesOn } = planRecovery(new Log().state, undefined, undefined);
  const [end] = entries;
  assert.ok(!goesOn && end?.type === "run-finished" && end.error?.code === "not-found");
});

test.run();
