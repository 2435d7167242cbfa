/**
 * Stop stops: whatever the run is doing when the cancel is logged, nothing new begins after it, what is in flight is told,
 * and the history stays valid. The store's gate makes the order of cancel and commit certain.
 */
import {
  aborted,
  bodiesOf,
  calls,
  closeRuntimes,
  finishes,
  says,
  startRuntime,
  TestModel,
  typesOf,
  type TestRuntime,
  type Turn,
} from "../../support/runtime.ts";
import { ModelError } from "../../../server/model/model.ts";
import { assert, suite } from "../../support/suite.ts";
import { deferred } from "../../support/wait.ts";
import { TestStore } from "../session/stores.ts";
import { violations } from "./rules.ts";

const test = suite("cancel");
test.after.each(closeRuntimes);

/** Cancels, and lets the model end as `last` says only when the cancel is on its way to the disk. */
async function cancelFirst(
  last: Turn,
): Promise<{ runtime: TestRuntime; session: string; executed: unknown[] }> {
  const store = new TestStore();
  const goOn = deferred();
  const executed: unknown[] = [];
  const runtime = await startRuntime({
    store,
    model: new TestModel(async function* (request, signal) {
      yield says("well");
      await goOn.promise;
      yield* typeof last === "function" ? last(request, signal) : last;
    }),
    tools: [{ name: "note", inputSchema: {}, execute: (input) => executed.push(input) }],
  });
  const session = await runtime.session();
  await runtime.send(session, "go");
  const { event } = await runtime.entry(session, "run-started");
  await runtime.delta(session, "well");
  const held = store.holdNext();
  const cancelling = runtime.cancel(session, event.run);
  const letGo = await held;
  goOn.resolve();
  // The model's end is taken, and its commit waits for the lock that the cancel holds.
  await new Promise(setImmediate);
  letGo();
  await cancelling;
  await runtime.entry(session, "run-finished");
  return { runtime, session, executed };
}

test("calls that the model asked for before it heard of the cancel are never sent", async () => {
  const { runtime, session, executed } = await cancelFirst([
    calls("note"),
    calls("nobody"),
    finishes("tool-calls"),
  ]);
  const log = await runtime.log(session);
  assert.equal(violations(log), []);
  assert.equal(executed, []);
  assert.equal(bodiesOf(log, "tool-dispatched"), []);
  assert.is(bodiesOf(log, "run-finished")[0]?.reason, "cancelled");
  assert.is(runtime.runtime.router.openCalls, 0);
});

test("a text that was complete before the model heard of the cancel ends a cancelled run", async () => {
  const { runtime, session } = await cancelFirst([says(" done"), finishes()]);
  const log = await runtime.log(session);
  assert.equal(violations(log), []);
  assert.equal(typesOf(log).slice(-4), ["cancel-requested", "message", "step-finished", "run-finished"]);
  assert.is(bodiesOf(log, "run-finished")[0]?.reason, "cancelled");
});

test("a model that fails when the cancel is logged leaves a cancelled run", async () => {
  const { runtime, session } = await cancelFirst(async function* () {
    yield says("!");
    throw new ModelError("overloaded", "no");
  });
  const log = await runtime.log(session);
  assert.equal(violations(log), []);
  assert.is(bodiesOf(log, "run-finished")[0]?.reason, "cancelled");
});

test("cancel reaches an executing tool, and its own word confirms it", async () => {
  const began = deferred();
  const runtime = await startRuntime({
    model: new TestModel([calls("wait"), finishes("tool-calls")]),
    tools: [
      {
        name: "wait",
        inputSchema: {},
        execute: (_input, { signal }) => {
          began.resolve();
          return aborted(signal);
        },
      },
    ],
  });
  const session = await runtime.session();
  await runtime.send(session, "go");
  await began.promise;
  const { event } = await runtime.entry(session, "run-started");
  await runtime.cancel(session, event.run);
  await runtime.entry(session, "run-finished");
  const log = await runtime.log(session);
  assert.equal(violations(log), []);
  assert.is(bodiesOf(log, "tool-result")[0]?.outcome, "cancelled");
});

test("a tool that finishes although it was cancelled keeps its result", async () => {
  const began = deferred();
  const runtime = await startRuntime({
    model: new TestModel([calls("stubborn"), finishes("tool-calls")]),
    tools: [
      {
        name: "stubborn",
        inputSchema: {},
        execute: async (_input, { signal }) => {
          began.resolve();
          await aborted(signal).catch(() => {});
          return "it is done";
        },
      },
    ],
  });
  const session = await runtime.session();
  await runtime.send(session, "go");
  await began.promise;
  const { event } = await runtime.entry(session, "run-started");
  await runtime.cancel(session, event.run);
  await runtime.entry(session, "run-finished");
  const log = await runtime.log(session);
  assert.equal(violations(log), []);
  const [result] = bodiesOf(log, "tool-result");
  assert.is(result?.outcome, "ok");
  assert.is(result?.output, "it is done");
  assert.is(bodiesOf(log, "run-finished")[0]?.reason, "cancelled");
});

test("a tool that never answers a cancel has an unknown outcome within the bound", async () => {
  const began = deferred();
  const runtime = await startRuntime({
    model: new TestModel([calls("deaf"), calls("deaf"), finishes("tool-calls")]),
    timings: { cancelMs: 40 },
    tools: [{ name: "deaf", inputSchema: {}, execute: () => (began.resolve(), new Promise(() => {})) }],
  });
  const session = await runtime.session();
  await runtime.send(session, "go");
  await began.promise;
  const { event } = await runtime.entry(session, "run-started");
  await runtime.cancel(session, event.run);
  await runtime.entry(session, "run-finished");
  const log = await runtime.log(session);
  assert.equal(violations(log), []);
  assert.equal(
    bodiesOf(log, "tool-result").map(({ outcome }) => outcome),
    ["outcome-unknown", "outcome-unknown"],
  );
  assert.is(runtime.runtime.router.openCalls, 0);
});

test("cancel ends the wait between two tries of the model", async () => {
  let tries = 0;
  const tried = deferred();
  const runtime = await startRuntime({
    // oxlint-disable-next-line require-yield
    model: new TestModel(async function* () {
      tries++;
      tried.resolve();
      throw new ModelError("overloaded", "later", { retryable: true, retryAfterMs: 60_000 });
    }),
  });
  const session = await runtime.session();
  await runtime.send(session, "go");
  await tried.promise;
  const { event } = await runtime.entry(session, "run-started");
  await runtime.cancel(session, event.run);
  const end = await runtime.entry(session, "run-finished");
  assert.is(end.event.reason, "cancelled");
  assert.is(tries, 1);
});

test("waiting inputs stay, and the next one starts", async () => {
  const runtime = await startRuntime({
    model: new TestModel(
      async function* (_request, signal) {
        await aborted(signal);
        yield finishes();
      },
      [says("second"), finishes()],
    ),
  });
  const session = await runtime.session();
  await runtime.send(session, "one");
  const second = await runtime.send(session, "two");
  const { event } = await runtime.entry(session, "run-started");
  await runtime.cancel(session, event.run);
  assert.is((await runtime.endOf(session, second.input)).text, "second");
  assert.equal(violations(await runtime.log(session)), []);
});

test("closing a session cancels its run and withdraws what waits, in one append", async () => {
  const runtime = await startRuntime({
    model: new TestModel(async function* (_request, signal) {
      await aborted(signal);
      yield finishes();
    }),
  });
  const session = await runtime.session();
  await runtime.send(session, "one");
  await runtime.entry(session, "run-started");
  await runtime.send(session, "two");
  await runtime.send(session, "three");
  await runtime.close(session);
  await runtime.entry(session, "run-finished");
  const log = await runtime.log(session);
  assert.equal(violations(log), []);
  assert.equal(typesOf(log).slice(-5), [
    "session-closed",
    "cancel-requested",
    "input-withdrawn",
    "input-withdrawn",
    "run-finished",
  ]);
  await assert.rejects(runtime.send(session, "four"), /closed/);
  await assert.rejects(runtime.close(session), /closed/);
  assert.is((await runtime.state(session)).messages.length, 1, "it stays readable");
});

test.run();
