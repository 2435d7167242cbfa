/**
 * In-process tools: one more provider with the same entries. Never short of capacity, told of cancel and deadline by their
 * signal, and their progress is everybody's.
 */
import type { JsonValue } from "../../../protocol/content.ts";
import type { ExecuteContext } from "../../../server/tool/local.ts";
import { LOCAL_PROVIDER } from "../../../server/tool/tool.ts";
import {
  aborted,
  bodiesOf,
  calls,
  Clock,
  closeRuntimes,
  finishes,
  says,
  startRuntime,
  TestModel,
} from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { deferred } from "../../support/wait.ts";
import { violations } from "../agent/rules.ts";
import { TestReader } from "../session/reader.ts";

const test = suite("in-process tools");
test.after.each(closeRuntimes);

const once = (times = 1): TestModel =>
  new TestModel(
    [...Array.from({ length: times }, (_, n) => calls("work", { n })), finishes("tool-calls")],
    [says("done"), finishes()],
  );

test("a call is dispatched to prv_local, executed and stored like any other", async () => {
  const runtime = await startRuntime({
    model: once(),
    tools: [{ name: "work", effect: "once", inputSchema: {}, execute: (input) => ({ got: input }) }],
  });
  const session = await runtime.session();
  await runtime.run(session, "go");
  const log = await runtime.log(session);
  assert.equal(violations(log), []);
  const [dispatched] = bodiesOf(log, "tool-dispatched");
  assert.equal([dispatched?.provider, dispatched?.effect, dispatched?.attempt], [LOCAL_PROVIDER, "once", 1]);
  const [result] = bodiesOf(log, "tool-result");
  assert.equal([result?.outcome, result?.output, result?.attempt], ["ok", { got: { n: 0 } }, 1]);
});

test("a hundred calls are executed at once", async () => {
  const all = deferred();
  let here = 0;
  const execute = async (): Promise<void> => {
    if (++here === 100) all.resolve();
    await all.promise;
  };
  const runtime = await startRuntime({
    model: once(100),
    tools: [{ name: "work", inputSchema: {}, execute }],
  });
  const session = await runtime.session();
  assert.is((await runtime.run(session, "go")).reason, "text");
  const [work] = runtime.runtime.tools.visible([], session);
  assert.equal(runtime.runtime.router.load(work!), { providers: 1, inFlight: 0, waiting: 0, pool: [] });
});

test("a tool with a schema and nothing that executes it is unavailable", async () => {
  const runtime = await startRuntime({ model: once() });
  runtime.runtime.registerTool({ name: "work", inputSchema: {} });
  const session = await runtime.session();
  assert.is((await runtime.run(session, "go")).reason, "text");
  const log = await runtime.log(session);
  assert.is(bodiesOf(log, "tool-result")[0]?.outcome, "unavailable");
  assert.equal(violations(log), []);
});

test("the newest function of a name is executed", async () => {
  const runtime = await startRuntime({ model: once() });
  for (const version of ["one", "two"]) {
    runtime.runtime.registerTool({ name: "work", inputSchema: {}, execute: () => version });
  }
  const session = await runtime.session();
  await runtime.run(session, "go");
  assert.is(bodiesOf(await runtime.log(session), "tool-result")[0]?.output, "two");
});

test("the deadline aborts the signal, and what comes later is not heard", async () => {
  const clock = new Clock();
  const [began, reason] = [deferred(), deferred<unknown>()];
  const late = deferred<JsonValue>();
  const runtime = await startRuntime({
    now: clock.now,
    model: once(),
    tools: [
      {
        name: "work",
        timeoutMs: 5_000,
        inputSchema: {},
        execute: (_input, { signal }) => {
          signal.addEventListener("abort", () => reason.resolve(signal.reason));
          began.resolve();
          return late.promise;
        },
      },
    ],
  });
  const session = await runtime.session();
  await runtime.send(session, "go");
  await began.promise;
  clock.advance(5_100);
  assert.match(String(await reason.promise), /deadline/);
  await runtime.entry(session, "run-finished");
  late.resolve("too late");
  await new Promise(setImmediate);
  const log = await runtime.log(session);
  assert.equal(
    bodiesOf(log, "tool-result").map(({ outcome }) => outcome),
    ["timeout"],
  );
  assert.equal(violations(log), []);
});

test("a deleted session's tool is told", async () => {
  const [began, told] = [deferred(), deferred<unknown>()];
  const runtime = await startRuntime({
    model: once(),
    tools: [
      {
        name: "work",
        inputSchema: {},
        execute: (_input, { signal }) => {
          signal.addEventListener("abort", () => told.resolve(signal.reason));
          began.resolve();
          return aborted(signal);
        },
      },
    ],
  });
  const session = await runtime.session();
  await runtime.send(session, "go");
  await began.promise;
  await runtime.remove(session);
  assert.match(String(await told.promise), /deleted/);
  assert.is(runtime.runtime.router.openCalls, 0);
});

test("progress reaches readers; what does not fit the wire is the tool's own fault", async () => {
  const seen: unknown[] = [];
  const execute = (_input: JsonValue, { progress }: ExecuteContext): void => {
    progress({ percent: 50 });
    for (const bad of [10n as never, "x".repeat(900_000)]) {
      try {
        progress(bad);
      } catch (error) {
        seen.push((error as Error).name);
      }
    }
  };
  const runtime = await startRuntime({ model: once(), tools: [{ name: "work", inputSchema: {}, execute }] });
  const session = await runtime.session();
  const reader = new TestReader();
  await reader.attach(runtime, session);
  await runtime.run(session, "go");
  assert.equal(
    reader.of("toolProgress").map(({ progress }) => progress),
    [{ percent: 50 }],
  );
  assert.equal(seen, ["TypeError", "ProtocolError"]);
});

test("an input is the tool's own copy", async () => {
  const runtime = await startRuntime({
    model: once(),
    tools: [
      {
        name: "work",
        inputSchema: {},
        execute: (input) => {
          (input as { n: unknown }).n = "changed";
          return 1;
        },
      },
    ],
  });
  const session = await runtime.session();
  await runtime.run(session, "go");
  const part = (await runtime.state(session)).messages[1]?.parts[0];
  assert.equal(part?.type === "dynamic-tool" ? part.input : undefined, { n: 0 });
});

test.run();
