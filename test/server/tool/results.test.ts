/**
 * What comes back of a call: output, error, silence, twice, too late, from somebody else. One outcome in the log, and a
 * verdict for every result that was sent, so that no provider keeps one for ever.
 */
import { bodiesOf, calls as asks, Clock, closeRuntimes } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { until } from "../../support/wait.ts";
import { violations } from "../agent/rules.ts";
import { TestStore } from "../session/stores.ts";
import { callsOf, TestProvider, tool, waitingModel, type Calls } from "./provider.ts";

const test = suite("results of calls");
test.after.each(closeRuntimes);

async function holds({ runtime, session }: Calls): Promise<void> {
  await runtime.entry(session, "run-finished");
  assert.equal(violations(await runtime.log(session)), []);
  assert.is(runtime.runtime.router.openCalls, 0);
}

test("a call carries who asks, for what, and how long there is", async () => {
  const run = await callsOf({ offer: tool("work", { timeoutMs: 7_000, effect: "once" }) });
  const call = await run.by[0].nextCall();
  const { event } = await run.runtime.entry(run.session, "run-started");
  assert.equal(
    { ...call, call: "", timeoutMs: 0 },
    {
      session: run.session,
      call: "",
      attempt: 1,
      run: event.run,
      agent: "demo",
      tool: "work",
      input: { n: 0 },
      actor: { kind: "user", id: "ada", name: "ada", verified: true },
      timeoutMs: 0,
    },
  );
  assert.ok(call.timeoutMs > 6_000 && call.timeoutMs <= 7_000);
  assert.match(call.call, /^call_/);
});

test("a call leaves the server only after its dispatch is durable", async () => {
  const store = new TestStore();
  const { model, goOn } = waitingModel(asks("work"));
  const run = await callsOf({ store, model });
  const [a] = run.by;
  await run.runtime.entry(run.session, "run-started");
  const held = store.holdNext();
  goOn();
  const letGo = await held;
  await new Promise(setImmediate);
  assert.equal(a.calls, []);
  letGo();
  a.result(await a.nextCall(), 1);
  await run.ended();
  await holds(run);
});

test("an output is stored, then acknowledged", async () => {
  const run = await callsOf();
  const call = await run.by[0].nextCall();
  run.by[0].result(call, { found: ["a", 1, null] });
  assert.equal(await run.by[0].nextAck(), {
    session: run.session,
    call: call.call,
    attempt: 1,
    verdict: "stored",
  });
  const [result] = bodiesOf(await run.runtime.log(run.session), "tool-result");
  assert.equal([result?.outcome, result?.output], ["ok", { found: ["a", 1, null] }]);
  await holds(run);
});

test("an error has its code and words, and reaches the model as such", async () => {
  const run = await callsOf();
  run.by[0].fail(await run.by[0].nextCall(), "no-such-file", "there is no a.txt");
  const [result] = await run.ended();
  assert.equal([result?.outcome, result?.error?.code], ["error", "no-such-file"]);
  const [, said] = (await run.runtime.state(run.session)).messages;
  const part = said?.parts.at(-1);
  assert.ok(part?.type === "dynamic-tool" && part.state === "output-error");
  assert.match((part as { errorText?: string }).errorText ?? "", /no a\.txt/);
  await holds(run);
});

test("the same result again is a duplicate while the first is being written", async () => {
  const store = new TestStore();
  const run = await callsOf({ store });
  const [a] = run.by;
  const call = await a.nextCall();
  const held = store.holdNext();
  a.result(call, "first");
  const letGo = await held;
  a.result(call, "second");
  letGo();
  const verdicts = [(await a.nextAck()).verdict, (await a.nextAck()).verdict];
  assert.equal(verdicts, ["stored", "duplicate"]);
  const [result] = await run.ended();
  assert.is(result?.output, "first");
  await holds(run);
});

test("a result after the call has ended is left to the log", async () => {
  const run = await callsOf();
  const [a] = run.by;
  const call = await a.nextCall();
  a.result(call, 1);
  await a.nextAck();
  await run.ended();
  assert.is(a.result(call, 2), false);
});

test("a result that comes while the timeout is being written is stale", async () => {
  const clock = new Clock();
  const store = new TestStore();
  const run = await callsOf({ now: clock.now, store, offer: tool("work", { timeoutMs: 9_000 }) });
  const [a] = run.by;
  const call = await a.nextCall();
  a.accept(call);
  const held = store.holdNext();
  clock.advance(9_100);
  const letGo = await held;
  a.result(call, "too late");
  a.result(call, "and again");
  letGo();
  assert.equal([(await a.nextAck()).verdict, (await a.nextAck()).verdict], ["stale", "stale"]);
  assert.is((await run.ended())[0]?.outcome, "timeout");
  await holds(run);
});

test("the deadline ends the call as timeout and tells its provider; progress extends nothing", async () => {
  const clock = new Clock();
  const run = await callsOf({ now: clock.now, offer: tool("work", { timeoutMs: 9_000, effect: "once" }) });
  const [a] = run.by;
  const call = await a.nextCall();
  a.accept(call);
  clock.advance(8_000);
  a.progress(call, { percent: 80 });
  clock.advance(1_100);
  assert.equal(await a.nextCancel(), {
    session: run.session,
    call: call.call,
    attempt: 1,
    reason: "deadline",
  });
  const [result] = await run.ended();
  assert.equal([result?.outcome, result?.attempt], ["timeout", 1]);
  assert.ok((result?.durationMs ?? 0) >= 9_000);
  await holds(run);
});

test("a result of an earlier attempt counts, and the later attempt is cancelled", async () => {
  const clock = new Clock();
  const run = await callsOf({ providers: ["prv_a", "prv_b"], now: clock.now });
  const [a, b] = run.by;
  const first = await a.nextCall();
  clock.advance(5_100);
  const second = await b!.nextCall();
  assert.is(a.result(first, "slow but here"), true);
  const [result] = await run.ended();
  assert.equal([result?.attempt, result?.output], [1, "slow but here"]);
  assert.equal(await b!.nextCancel(), {
    session: run.session,
    call: first.call,
    attempt: 2,
    reason: "answered",
  });
  assert.is(b!.result(second, "me too"), false);
  await holds(run);
});

test("nobody answers for an attempt that was given to another", async () => {
  const run = await callsOf({ providers: ["prv_a", "prv_b"] });
  const [a, b] = run.by;
  const call = await a.nextCall();
  assert.is(b!.result(call, "mine"), false);
  assert.is(a.result({ ...call, attempt: 2 }, "of an attempt that is not"), false);
  assert.is(a.result({ ...call, session: "ses_other" }, "of another session"), false);
  b!.accept(call);
  b!.progress(call, "mine");
  a.result(call, "a's");
  assert.is((await run.ended())[0]?.output, "a's");
  await holds(run);
});

test("an output that does not fit its schema is invalid-output, and says why", async () => {
  const outputSchema = { type: "object", required: ["sum"], properties: { sum: { type: "integer" } } };
  const run = await callsOf({ offer: tool("work", { outputSchema }) });
  const call = await run.by[0].nextCall();
  run.by[0].result(call, { sum: "many" });
  const [result] = await run.ended();
  assert.is(result?.outcome, "invalid-output");
  assert.is(result?.output, undefined);
  assert.match(result?.error?.message ?? "", /sum.*integer/);
  assert.is((await run.by[0].nextAck()).verdict, "stored");
  await holds(run);
});

test("progress reaches the readers of the session, and no log", async () => {
  const run = await callsOf();
  const frames: string[] = [];
  await run.runtime.runtime.registry.with(run.session, (session) =>
    session.feed.attach(
      {
        mayRead: () => true,
        gone: false,
        lagging: false,
        drop: () => {},
        room: () => undefined,
        deliver: (frame) => void frames.push(frame.line),
      },
      {},
      () => {},
    ),
  );
  const call = await run.by[0].nextCall();
  run.by[0].progress(call, { percent: 50 });
  const shown = frames.map((line) => JSON.parse(line)).find(({ type }) => type === "toolProgress");
  assert.equal(shown, {
    type: "toolProgress",
    session: run.session,
    call: call.call,
    attempt: 1,
    progress: { percent: 50 },
  });
  run.by[0].result(call, 1);
  await run.ended();
  await holds(run);
});

test("of much progress the first and the latest are shown, and the last one before the result", async () => {
  const clock = new Clock();
  const run = await callsOf({ now: clock.now });
  const shown: unknown[] = [];
  await run.runtime.runtime.registry.with(run.session, (session) =>
    session.feed.attach(
      {
        mayRead: () => true,
        gone: false,
        lagging: false,
        drop: () => {},
        room: () => undefined,
        deliver: (frame) => {
          const { type, progress } = JSON.parse(frame.line) as { type: string; progress: unknown };
          if (type === "toolProgress") shown.push(progress);
        },
      },
      {},
      () => {},
    ),
  );
  const [a] = run.by;
  const call = await a.nextCall();
  for (let n = 1; n <= 50; n++) a.progress(call, n);
  assert.equal(shown, [1]);
  clock.advance(120);
  await until(() => shown.length === 2, 5_000, "the latest");
  a.progress(call, 51);
  a.progress(call, 52);
  a.result(call, "done");
  a.progress(call, 53);
  await run.ended();
  assert.equal(shown, [1, 50, 52]);
});

test("cancel is confirmed by the provider's word", async () => {
  const run = await callsOf();
  const [a] = run.by;
  const call = await a.nextCall();
  const { event } = await run.runtime.entry(run.session, "run-started");
  await run.runtime.cancel(run.session, event.run);
  assert.is((await a.nextCancel()).reason, "cancelled");
  a.fail(call, "cancelled", "stopped at line 3");
  const [result] = await run.ended();
  assert.equal([result?.outcome, result?.error?.message], ["cancelled", "stopped at line 3"]);
  await holds(run);
});

test("a cancel that the provider never answers ends outcome-unknown after five seconds", async () => {
  const clock = new Clock();
  const run = await callsOf({ now: clock.now });
  const [a] = run.by;
  a.accept(await a.nextCall());
  const { event } = await run.runtime.entry(run.session, "run-started");
  await run.runtime.cancel(run.session, event.run);
  await a.nextCancel();
  clock.advance(4_900);
  assert.is((await run.runtime.state(run.session)).calls.length, 1);
  clock.advance(200);
  assert.is((await run.ended())[0]?.outcome, "outcome-unknown");
  await holds(run);
});

test("a cancelled call that no provider has is cancelled at once", async () => {
  const run = await callsOf({ times: 2, options: { maxConcurrent: 1 } });
  const [a] = run.by;
  const call = await a.nextCall();
  const { event } = await run.runtime.entry(run.session, "run-started");
  await run.runtime.cancel(run.session, event.run);
  const { event: waiting } = await run.runtime.entry(run.session, "tool-result");
  assert.equal([waiting.outcome, waiting.attempt], ["cancelled", undefined]);
  a.fail(call, "cancelled");
  await run.ended();
  assert.is(a.calls.length, 1);
  await holds(run);
});

test("results come in order of completion in the log, in order of the calls in the history", async () => {
  const run = await callsOf({ times: 3 });
  const [a] = run.by;
  const asked = [await a.nextCall(), await a.nextCall(), await a.nextCall()];
  for (const call of asked.toReversed()) {
    a.result(call, call.input);
    await a.nextAck();
  }
  const results = await run.ended();
  assert.equal(
    results.map(({ output }) => output),
    [{ n: 2 }, { n: 1 }, { n: 0 }],
  );
  const [, said] = (await run.runtime.state(run.session)).messages;
  assert.equal(
    said?.parts.map((part) => (part.type === "dynamic-tool" ? part.output : part.type)),
    [{ n: 0 }, { n: 1 }, { n: 2 }],
  );
  await holds(run);
});

test("a provider's words cannot grow the log beyond a frame", async () => {
  const run = await callsOf();
  const [a] = run.by;
  const call = await a.nextCall();
  a.fail(call, "x".repeat(64), "y".repeat(65_536));
  assert.is((await run.ended())[0]?.outcome, "error");
  const other = new TestProvider(run.runtime.runtime, "prv_other");
  assert.is(other.result(call, 1), false);
  await holds(run);
});

test.run();
