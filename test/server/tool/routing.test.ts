/**
 * Which provider gets a call: the least busy with free capacity, in order of waiting; nobody's tool is unavailable after
 * a while; a session's own tools are its own. At the port that connections implement.
 */
import {
  calls as asks,
  bodiesOf,
  Clock,
  closeRuntimes,
  finishes,
  script,
  startRuntime,
  TestModel,
} from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { until } from "../../support/wait.ts";
import { violations } from "../agent/rules.ts";
import { callsOf, TestProvider, tool, waitingModel } from "./provider.ts";

const test = suite("routing of calls");
test.after.each(closeRuntimes);

test("calls spread over providers, the least busy first", async () => {
  const run = await callsOf({ times: 6, providers: ["prv_a", "prv_b", "prv_c"] });
  await Promise.all(run.by.map((provider) => provider.nextCall()));
  assert.equal(
    run.by.map(({ calls }) => calls.length),
    [2, 2, 2],
  );
});

test("a provider gets no more than it said, the rest waits in order", async () => {
  const run = await callsOf({ times: 5, options: { maxConcurrent: 2 } });
  const [a] = run.by;
  const order: unknown[] = [];
  for (let done = 0; done < 5; done++) {
    const call = await a.nextCall();
    assert.ok(a.calls.length - done <= 2, "two at once");
    order.push((call.input as { n: number }).n);
    a.result(call, 1);
  }
  assert.equal(order, [0, 1, 2, 3, 4]);
  await run.ended();
  assert.equal(violations(await run.runtime.log(run.session)), []);
});

test("a call that waited has its own dispatch, after the message's", async () => {
  const run = await callsOf({ times: 2, options: { maxConcurrent: 1 } });
  const [a] = run.by;
  a.result(await a.nextCall(), 1);
  a.result(await a.nextCall(), 2);
  await run.ended();
  const log = await run.runtime.log(run.session);
  const types = log.map(({ event }) => event.type);
  assert.equal(types.slice(types.indexOf("message", 4) + 1, types.indexOf("step-finished")), [
    "tool-dispatched",
    "tool-result",
    "tool-dispatched",
    "tool-result",
  ]);
});

test("a call that waits goes to whoever comes", async () => {
  const run = await callsOf({ times: 2, options: { maxConcurrent: 1 } });
  const first = await run.by[0].nextCall();
  const other = new TestProvider(run.runtime.runtime, "prv_other");
  other.offer([tool("work")]);
  other.result(await other.nextCall(), "other's");
  run.by[0].result(first, "mine");
  assert.is((await run.ended()).length, 2);
});

test("too many waiting calls are refused at once", async () => {
  const run = await callsOf({ times: 4, options: { maxConcurrent: 1 }, router: { maxWaiting: 1 } });
  const call = await run.by[0].nextCall();
  const second = await run.runtime.entry(run.session, "tool-result");
  assert.is(second.event.outcome, "unavailable");
  assert.match(second.event.error?.message ?? "", /too many calls wait/);
  run.by[0].result(call, 1);
  run.by[0].result(await run.by[0].nextCall(), 2);
  const outcomes = (await run.ended()).map(({ outcome }) => outcome).sort();
  assert.equal(outcomes, ["ok", "ok", "unavailable", "unavailable"]);
});

test("a tool whose providers are all gone is unavailable after a while, without a dispatch", async () => {
  const clock = new Clock();
  const { model, goOn } = waitingModel(asks("work"));
  const run = await callsOf({ now: clock.now, model });
  await run.runtime.entry(run.session, "run-started");
  run.by[0].withdraw();
  goOn();
  await run.runtime.entry(run.session, "message", (body) => body.message.role === "assistant");
  await new Promise(setImmediate);
  clock.advance(5_100);
  const [result] = await run.ended();
  assert.equal([result?.outcome, result?.attempt], ["unavailable", undefined]);
  assert.equal(violations(await run.runtime.log(run.session)), []);
});

test("a tool that is withdrawn finishes the calls that it has", async () => {
  const run = await callsOf();
  const [a] = run.by;
  const call = await a.nextCall();
  a.withdraw("work");
  assert.equal(run.runtime.runtime.tools.visible([], run.session), []);
  a.result(call, "still");
  assert.is((await run.ended())[0]?.output, "still");
});

test("withdrawing one tool leaves the others", async () => {
  const runtime = await startRuntime();
  const a = new TestProvider(runtime.runtime, "prv_a");
  a.offer([tool("one"), tool("two")]);
  a.withdraw("one", "never offered");
  assert.equal(
    runtime.runtime.tools.visible([], "").map(({ specification }) => specification.name),
    ["two"],
  );
});

test("a session's tools are seen and executed in that session alone", async () => {
  const runtime = await startRuntime();
  const [mine, other] = [await runtime.session(), await runtime.session()];
  const a = new TestProvider(runtime.runtime, "prv_a");
  a.offer([tool("page")], { session: mine });
  const ask = script({ calls: [{ tool: "page" }] }, { text: "ok" });
  await runtime.send(other, ask);
  const refused = await runtime.entry(other, "tool-result");
  assert.is(refused.event.outcome, "unavailable");
  await runtime.send(mine, ask);
  const call = await a.nextCall();
  assert.is(call.session, mine);
  a.result(call, 1);
  await runtime.entry(mine, "run-finished");
  assert.is(a.calls.length, 1);
});

test("one name in two sessions is two tools", async () => {
  const runtime = await startRuntime();
  const sessions = [await runtime.session(), await runtime.session()];
  const providers = sessions.map((session, n) => {
    const provider = new TestProvider(runtime.runtime, `prv_${n}`);
    const inputSchema = { type: "object", properties: { [`field${n}`]: {} } };
    provider.offer([tool("page", { inputSchema })], { session });
    return provider;
  });
  for (const [n, session] of sessions.entries()) {
    await runtime.send(session, script({ calls: [{ tool: "page" }] }));
    const call = await providers[n]!.nextCall();
    assert.is(call.session, session);
    providers[n]!.result(call, n);
    await runtime.entry(session, "run-finished");
  }
});

test("a run keeps the tools that it began with", async () => {
  const run = await callsOf({
    times: 1,
    model: new TestModel(
      [asks("work"), finishes("tool-calls")],
      [asks("newcomer"), finishes("tool-calls")],
      [finishes()],
    ),
  });
  const [a] = run.by;
  const call = await a.nextCall();
  a.offer([tool("newcomer")]);
  a.result(call, 1);
  const results = await run.ended();
  assert.equal(
    results.map(({ outcome }) => outcome),
    ["ok", "unavailable"],
  );
  assert.equal(
    a.calls.map((each) => each.tool),
    ["work"],
  );
});

test("an agent's filter is held at the dispatch, too", async () => {
  const run = await callsOf({
    agent: { tools: ["other"] },
    router: { graceMs: 0 },
    model: new TestModel([asks("work"), finishes("tool-calls")], [finishes()]),
  });
  assert.is((await run.ended())[0]?.outcome, "unavailable");
  assert.equal(run.by[0].calls, []);
  const [started] = bodiesOf(await run.runtime.log(run.session), "run-started");
  assert.equal(started?.tools, []);
});

test("an input that breaks the schema never leaves the server", async () => {
  const inputSchema = { type: "object", required: ["city"], properties: { city: { type: "string" } } };
  const run = await callsOf({
    offer: tool("work", { inputSchema }),
    model: new TestModel(
      [asks("work", { city: 3 }), asks("work", {}), asks("work", { city: "Oslo" }), finishes("tool-calls")],
      [finishes()],
    ),
  });
  const call = await run.by[0].nextCall();
  assert.equal(call.input, { city: "Oslo" });
  run.by[0].result(call, 1);
  const results = await run.ended();
  assert.equal(
    results.map(({ outcome }) => outcome),
    ["invalid-input", "invalid-input", "ok"],
  );
  assert.match(results[0]?.error?.message ?? "", /city.*string/);
  assert.match(results[1]?.error?.message ?? "", /required/);
  assert.is(run.by[0].calls.length, 1);
});

test("a provider that is gone for good is forgotten with its tools", async () => {
  const clock = new Clock();
  const runtime = await startRuntime({ now: clock.now });
  const a = new TestProvider(runtime.runtime, "prv_a");
  a.offer([tool("work")]);
  a.disconnect();
  assert.is(runtime.runtime.tools.visible([], "").length, 1, "its place is kept for the grace");
  clock.advance(30_100);
  const b = new TestProvider(runtime.runtime, "prv_b");
  await until(() => runtime.runtime.tools.visible([], "").length === 0, 5_000, "the provider's end");
  b.offer([tool("work", { effect: "once" })]);
});

test("a tool that is named twice in one offer is refused, and so is the whole offer", async () => {
  const { runtime } = await startRuntime();
  const a = new TestProvider(runtime, "prv_a");
  assert.throws(
    () => a.offer([tool("one"), tool("two"), tool("two", { effect: "once" })]),
    /two is offered twice/,
  );
  assert.equal(runtime.tools.visible([], ""), []);
});

test("a tool whose provider is away gives way to another kind of it, unless something is at work", async () => {
  const old = tool("work", { effect: "once" });
  const next = tool("work", { effect: "pure" });
  const { runtime } = await startRuntime();
  const first = new TestProvider(runtime, "prv_first");
  first.offer([old]);
  const second = new TestProvider(runtime, "prv_second");
  assert.throws(() => second.offer([next]), /another effect/);
  first.disconnect();
  second.offer([next]);
  assert.throws(() => first.again().offer([old]), /another effect/);
  assert.is(runtime.tools.get("", "work")?.specification.effect, "pure");
  // The same provider, on its next socket, too.
  second.disconnect();
  second.again().offer([old]);

  const run = await callsOf({ offer: old });
  const call = await run.by[0].nextCall();
  run.by[0].disconnect();
  const other = new TestProvider(run.runtime.runtime, "prv_other");
  assert.throws(() => other.offer([next]), /another effect/);
  const back = run.by[0].again();
  back.offer([old], { working: [call] });
  back.result(call, "done");
  assert.is((await run.ended())[0]?.outcome, "ok");
});

test("an offer is taken whole or not at all", async () => {
  const { runtime } = await startRuntime();
  new TestProvider(runtime, "prv_a").offer([tool("two")]);
  const b = new TestProvider(runtime, "prv_b");
  assert.throws(() => b.offer([tool("one"), tool("two", { effect: "once" })]), /another effect/);
  assert.equal(
    runtime.tools.visible([], "").map(({ specification }) => specification.name),
    ["two"],
  );
});

test("how many providers a tool has, and how busy they are", async () => {
  const run = await callsOf({ times: 3, providers: ["prv_a", "prv_b"] });
  const [a, b] = run.by;
  await Promise.all([a.nextCall(), b!.nextCall()]);
  const [work] = run.runtime.runtime.tools.visible([], run.session);
  const { router } = run.runtime.runtime;
  assert.equal(router.load(work!), {
    providers: 2,
    inFlight: 3,
    waiting: 0,
    pool: [
      { provider: "prv_a", state: "ready", inFlight: 2, maxConcurrent: 8 },
      { provider: "prv_b", state: "ready", inFlight: 1, maxConcurrent: 8 },
    ],
  });
  a.offer([tool("other")], { labels: { zone: "north" } });
  b!.disconnect();
  a.drain();
  const { providers, pool } = router.load(work!);
  assert.is(providers, 1);
  assert.equal(
    pool.map(({ state, labels }) => [state, labels]),
    [
      ["draining", { zone: "north" }],
      ["away", undefined],
    ],
  );
  const [other] = run.runtime.runtime.tools.visible(["other"], run.session);
  assert.is(router.load(other!).inFlight, 0, "calls are counted by tool");
});

test.run();
