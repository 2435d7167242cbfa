/**
 * How runs end: each of the nine reasons, what the log says of it, and that the next input runs whatever the end was.
 * Every log written here is held against the rules that hold for all logs.
 */
import type { RunReason } from "../../../protocol/content.ts";
import { ModelError } from "../../../server/model/model.ts";
import { MemoryStore } from "../../../server/store/memory.ts";
import {
  aborted,
  bodiesOf,
  calls,
  Clock,
  closeRuntimes,
  finishes,
  says,
  script,
  startRuntime,
  TestModel,
  thinks,
  typesOf,
  type RuntimeSetup,
  type TestRuntime,
  type Turn,
} from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { deferred } from "../../support/wait.ts";
import { violations } from "./rules.ts";

const test = suite("how runs end");
test.after.each(closeRuntimes);

async function oneRun(
  turn: Turn,
  setup: RuntimeSetup = {},
): Promise<{ test: TestRuntime; session: string; run: string }> {
  const runtime = await startRuntime({ model: new TestModel(turn), ...setup });
  const session = await runtime.session();
  await runtime.send(session, "go");
  const { event } = await runtime.entry(session, "run-started");
  return { test: runtime, session, run: event.run };
}

async function ending(test: TestRuntime, session: string, reason: RunReason) {
  const { event } = await test.entry(session, "run-finished");
  assert.is(event.reason, reason);
  assert.equal(violations(await test.log(session)), []);
  return event;
}

/**
 * A runtime that takes over from one that was stopped in the middle of a call, while `text` waited for its turn: for the
 * agent of that name, if any, whom only the first one has.
 */
async function stoppedInACall(
  text: string,
  agent?: string,
): Promise<{ second: TestRuntime; session: string; input: string }> {
  const store = new MemoryStore();
  const began = deferred();
  const look = { name: "look", effect: "pure", inputSchema: {} } as const;
  const first = await startRuntime({
    store,
    tools: [{ ...look, execute: () => (began.resolve(), new Promise(() => {})) }],
  });
  if (agent !== undefined) await first.runtime.addAgent({ name: agent });
  const session = await first.session();
  await first.send(session, script({ calls: [{ tool: "look" }] }, { text: "seen" }));
  const { input } = await first.send(session, text, agent === undefined ? {} : { agent });
  await began.promise;
  await closeRuntimes();
  return {
    second: await startRuntime({ store, tools: [{ ...look, execute: () => "there" }] }),
    session,
    input,
  };
}

test("text: message, its step's end and the run's end are one append", async () => {
  const { test: runtime, session } = await oneRun([says("well "), says("done"), finishes()]);
  const end = await ending(runtime, session, "text");
  assert.is(end.text, "well done");
  assert.is(end.steps, 1);
  assert.is(end.model, "test");
  assert.equal(end.usage, { inputTokens: 3, outputTokens: 2 });
  const log = await runtime.log(session);
  assert.equal(typesOf(log).slice(-3), ["message", "step-finished", "run-finished"]);
  assert.is(new Set(log.slice(-3).map(({ at }) => at)).size, 1);
});

test("no-action: a model that says nothing leaves no message", async () => {
  const { test: runtime, session } = await oneRun([finishes()]);
  await ending(runtime, session, "no-action");
  assert.is(bodiesOf(await runtime.log(session), "message").length, 1, "the user's");
});

test("no-action: reasoning alone is no answer", async () => {
  const { test: runtime, session } = await oneRun([thinks("hm"), finishes()]);
  const end = await ending(runtime, session, "no-action");
  assert.is(end.text, undefined);
});

test("max-steps: the calls of the last step are still executed", async () => {
  const executed: unknown[] = [];
  const tool = { name: "note", inputSchema: {}, execute: (input: unknown) => executed.push(input) };
  const { test: runtime, session } = await oneRun(
    [says("again"), calls("note", { n: 1 }), finishes("tool-calls")],
    {
      tools: [tool],
      agent: { maxSteps: 3 },
    },
  );
  const end = await ending(runtime, session, "max-steps");
  assert.is(end.steps, 3);
  assert.is(end.text, "again");
  assert.is(executed.length, 3);
});

test("max-tokens: calls of an answer that was cut off are not executed", async () => {
  const executed: unknown[] = [];
  const tool = { name: "note", inputSchema: {}, execute: (input: unknown) => executed.push(input) };
  const { test: runtime, session } = await oneRun([says("half"), calls("note"), finishes("length")], {
    tools: [tool],
  });
  const end = await ending(runtime, session, "max-tokens");
  assert.is(end.text, "half");
  assert.equal(executed, []);
});

test("content-filter", async () => {
  const { test: runtime, session } = await oneRun([says("I"), finishes("content-filter")]);
  await ending(runtime, session, "content-filter");
});

test("cancelled in the middle of text: the text stays, as an incomplete message", async () => {
  const {
    test: runtime,
    session,
    run,
  } = await oneRun(async function* (_request, signal) {
    yield thinks("why ");
    yield says("so far");
    await aborted(signal);
  });
  await runtime.delta(session, "so far");
  await runtime.cancel(session, run);
  const end = await ending(runtime, session, "cancelled");
  assert.is(end.steps, 0);
  const [, said] = bodiesOf(await runtime.log(session), "message");
  assert.is(said?.incomplete, true);
  assert.equal(said?.message.parts, [
    { type: "reasoning", text: "why " },
    { type: "text", text: "so far" },
  ]);
});

test("cancelled before the first part: no message but the user's", async () => {
  const {
    test: runtime,
    session,
    run,
  } = await oneRun(async function* (_request, signal) {
    await aborted(signal);
    yield finishes();
  });
  await runtime.cancel(session, run);
  await ending(runtime, session, "cancelled");
  assert.is(bodiesOf(await runtime.log(session), "message").length, 1);
});

test("cancelled: a model that ignores its signal does not hold the run", async () => {
  const {
    test: runtime,
    session,
    run,
  } = await oneRun(async function* () {
    yield says("I go on");
    await new Promise(() => {});
  });
  await runtime.delta(session, "I go on");
  await runtime.cancel(session, run);
  await ending(runtime, session, "cancelled");
});

test("cancelled with half a call streamed: the call leaves no trace", async () => {
  const {
    test: runtime,
    session,
    run,
  } = await oneRun(async function* (_request, signal) {
    yield says("let me see");
    yield { type: "tool-input", block: "c", tool: "note", text: `{"n":` };
    await aborted(signal);
  });
  await runtime.delta(session, `{"n":`);
  await runtime.cancel(session, run);
  await ending(runtime, session, "cancelled");
  const [, said] = bodiesOf(await runtime.log(session), "message");
  assert.equal(said?.message.parts, [{ type: "text", text: "let me see" }]);
});

test("a second cancel answers the first one's seq; later ones that it is finished", async () => {
  const ignoring = async function* () {
    await new Promise(() => {});
    yield finishes();
  };
  const { test: runtime, session, run } = await oneRun(ignoring);
  const [first, second] = await Promise.all([runtime.cancel(session, run), runtime.cancel(session, run)]);
  assert.is(first.state, "cancelling");
  assert.is(first.seq, (await runtime.entry(session, "cancel-requested")).seq);
  assert.is(second.seq ?? first.seq, first.seq);
  await ending(runtime, session, "cancelled");
  assert.equal(await runtime.cancel(session, run), { state: "finished" });
  await assert.rejects(runtime.cancel(session, "run_never"), /no run/);
});

test("deadline: the run's own, by the clock", async () => {
  const clock = new Clock();
  const { test: runtime, session } = await oneRun(
    async function* (_request, signal) {
      yield says("long");
      await aborted(signal);
    },
    { now: clock.now, agent: { runTimeoutMs: 60_000 } },
  );
  await runtime.delta(session, "long");
  clock.advance(59_000);
  assert.is((await runtime.state(session)).run === undefined, false);
  clock.advance(1_100);
  await ending(runtime, session, "deadline");
});

test("error: the model failed after it had shown text, and what was shown is taken back", async () => {
  const failing: Turn = async function* () {
    yield says("I was going to");
    throw new ModelError("overloaded", "try later", { retryable: true });
  };
  const { test: runtime, session } = await oneRun(failing);
  const end = await ending(runtime, session, "error");
  assert.equal(end.error, { code: "overloaded", message: "try later" });
  const [taken] = bodiesOf(await runtime.log(session), "message-abandoned");
  assert.is(taken?.text, "I was going to");
  assert.is(taken?.cause, "overloaded");
  assert.is((await runtime.state(session)).messages.length, 1);
});

test("error: a fault of ours is told without its words", async () => {
  const { test: runtime, session } = await oneRun(async function* () {
    yield says("x");
    throw new TypeError("secret of the house");
  });
  const end = await ending(runtime, session, "error");
  assert.is(end.error?.code, "internal");
  assert.is(JSON.stringify(end).includes("secret"), false);
});

test("error: a model that throws before it streams is a failed model, not a failed run", async () => {
  const { test: runtime, session } = await oneRun(() => {
    throw new ModelError("no-key", "there is no key for this provider");
  });
  const end = await ending(runtime, session, "error");
  assert.is(end.error?.code, "no-key");
});

test("error: an agent that is gone when its input's turn comes ends the run in the append that starts it", async () => {
  const { second, session, input } = await stoppedInACall("hello?", "gone");
  const end = await second.endOf(session, input);
  assert.is(end.reason, "error");
  assert.is(end.error?.code, "not-found");
  const entries = (await second.log(session)).filter(({ run }) => run === end.run);
  assert.equal(typesOf(entries), ["run-started", "message", "run-finished"]);
  assert.is(new Set(entries.map(({ at }) => at)).size, 1, "one append");
  assert.is((await second.run(session, "and now?")).reason, "text");
  assert.equal(violations(await second.log(session)), []);
});

test("a run that a stop on purpose left open goes on at the next start, and so does the queue", async () => {
  const { second, session } = await stoppedInACall("next");
  const [run] = bodiesOf(await second.log(session), "run-started");
  const end = await second.entry(session, "run-finished");
  assert.is(end.event.run, run?.run);
  assert.is(end.event.reason, "text");
  const { event: next } = await second.entry(session, "run-finished", (body) => body.run !== run?.run);
  assert.is(next.reason, "text");
  const log = await second.log(session);
  assert.equal(violations(log), []);
  assert.equal(
    bodiesOf(log, "tool-result").map(({ outcome, attempt }) => [outcome, attempt]),
    [["ok", 2]],
  );
});

test("a run whose cancel was logged when its process ended is recovered as cancelled", async () => {
  const store = new MemoryStore();
  const deaf: Turn = async function* () {
    await new Promise(() => {});
    yield finishes();
  };
  const { test: first, session, run } = await oneRun(deaf, { store });
  // Nothing of this process but the append of the cancel gets any further.
  const logged = first.runtime.registry.with(session, (held) =>
    held.exclusive(() => held.append([{ body: { type: "cancel-requested", run }, run }])),
  );
  await logged;
  await closeRuntimes();
  assert.equal(typesOf(await first.log(session)).slice(-1), ["cancel-requested"]);

  const second = await startRuntime({ store });
  await ending(second, session, "cancelled");
});

test("after every end the next input runs", async () => {
  const ends: { item: object; reason: RunReason }[] = [
    { item: { text: "yes" }, reason: "text" },
    { item: { reasoning: "hm" }, reason: "no-action" },
    { item: { finish: "length" }, reason: "max-tokens" },
    { item: { finish: "content-filter" }, reason: "content-filter" },
    { item: { error: "no" }, reason: "error" },
    { item: { calls: [{ tool: "nobody" }] }, reason: "max-steps" },
  ];
  const runtime = await startRuntime({ agent: { maxSteps: 1 } });
  const session = await runtime.session();
  for (const { item, reason } of ends) {
    assert.is((await runtime.run(session, JSON.stringify({ script: [item] }))).reason, reason);
    assert.is((await runtime.run(session, "still there?")).reason, "text", `after ${reason}`);
  }
  assert.equal(violations(await runtime.log(session)), []);
});

test.run();
