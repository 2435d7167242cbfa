/**
 * What decides who gets a call beside being free: labels, affinity, turns, draining, and how long a call may wait for it.
 * At the port that connections implement; clocks are the test's.
 */
import { bodiesOf, Clock, closeRuntimes, script, startRuntime } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { until } from "../../support/wait.ts";
import { callsOf, TestProvider, tool, type OfferOptions } from "./provider.ts";

const test = suite("pools");
test.after.each(closeRuntimes);

const TWO = ["prv_a", "prv_b"];
const gpu = { gpu: "a100" };
const asking = script({ calls: [{ tool: "work", input: {} }] }, { text: "done" });

test("an agent's labels are held: only who has them all gets its calls", async () => {
  const { runtime } = await startRuntime({ agent: { labels: { ...gpu, zone: "north" } } });
  const at = (id: string, labels: OfferOptions = {}): TestProvider => {
    const provider = new TestProvider(runtime, id);
    provider.offer([tool("work")], labels);
    return provider;
  };
  const others = [
    at("prv_none"),
    at("prv_half", { labels: gpu }),
    at("prv_else", { labels: { ...gpu, zone: "south" } }),
  ];
  const right = at("prv_right", { labels: { ...gpu, zone: "north", more: "x" } });
  for (let n = 0; n < 3; n++) {
    const run = runtime.sendTo(await runtime.createSession("demo"), asking);
    right.result(await right.nextCall(), 1);
    await run;
  }
  assert.equal(
    others.map(({ calls }) => calls.length),
    [0, 0, 0],
  );
});

test("when nobody has the labels, the call is unavailable after the usual while, and says why", async () => {
  const clock = new Clock();
  const run = await callsOf({ agent: { labels: gpu }, providers: TWO, now: clock.now });
  await run.runtime.entry(run.session, "message", ({ message }) => message.role === "assistant");
  await until(() => run.runtime.runtime.router.totals.waiting === 1, 5_000, "the call to wait");
  clock.advance(5_100);
  const [result] = await run.ended();
  assert.is(result?.outcome, "unavailable");
  assert.match(result?.error?.message ?? "", /labels/);
});

test("a call that waits for another label holds up nobody behind it", async () => {
  const { runtime } = await startRuntime({ agent: { labels: gpu } });
  await runtime.addAgent({ name: "plain" });
  const [a, b] = TWO.map((id) => new TestProvider(runtime, id)) as [TestProvider, TestProvider];
  a.offer([tool("work")], { labels: gpu, maxConcurrent: 1 });
  const busy = runtime.sendTo(await runtime.createSession("demo"), asking);
  const first = await a.nextCall();
  const picky = runtime.sendTo(await runtime.createSession("demo"), asking);
  await until(() => runtime.router.totals.waiting === 1, 5_000, "the second to wait");
  const easy = runtime.sendTo(await runtime.createSession("plain"), asking);
  await until(() => runtime.router.totals.waiting === 2, 5_000, "the third to wait");
  b.offer([tool("work")], { maxConcurrent: 1 });
  b.result(await b.nextCall(), 1);
  await easy;
  a.result(first, 1);
  a.result(await a.nextCall(), 1);
  await Promise.all([busy, picky]);
  assert.equal([a.calls.length, b.calls.length], [2, 1]);
});

test("among equals it goes in turn", async () => {
  const { runtime } = await startRuntime();
  const all = ["prv_a", "prv_b", "prv_c"].map((id) => new TestProvider(runtime, id));
  for (const provider of all) {
    provider.offer([tool("work")]);
    provider.onCall = (call) => queueMicrotask(() => provider.result(call, 1));
  }
  for (let n = 0; n < 6; n++) await runtime.sendTo(await runtime.createSession("demo"), asking);
  assert.equal(
    all.map(({ calls }) => calls.length),
    [2, 2, 2],
  );
});

test("with affinity a session keeps its provider, across tools, and goes elsewhere only when it is full", async () => {
  const { runtime } = await startRuntime({ agent: { affinity: true } });
  const all = TWO.map((id) => new TestProvider(runtime, id));
  const answered = new Map<string, string[]>();
  for (const provider of all) {
    provider.offer([tool("work"), tool("look")], { maxConcurrent: 1 });
    provider.onCall = (call) => {
      answered.set(call.session, [...(answered.get(call.session) ?? []), provider.id]);
      queueMicrotask(() => provider.result(call, 1));
    };
  }
  const both = script(
    { calls: [{ tool: "work", input: {} }] },
    { calls: [{ tool: "look", input: {} }] },
    { calls: [{ tool: "work", input: {} }] },
    { text: "done" },
  );
  const sessions = await Promise.all([1, 2, 3].map(() => runtime.createSession("demo")));
  for (let n = 0; n < 3; n++) for (const session of sessions) await runtime.sendTo(session, both);
  for (const session of sessions) {
    const by = answered.get(session)!;
    assert.is(by.length, 9);
    assert.is(new Set(by).size, 1, by.join());
  }
  const [one] = sessions;
  const own = all.find(({ id }) => id === answered.get(one!)![0])!;
  const other = all.find((provider) => provider !== own)!;
  own.onCall = () => {};
  const busy = runtime.sendTo(one!, asking);
  const held = await until(() => own.calls.at(-1), 5_000, "a call that stays");
  await until(() => runtime.router.totals.inFlight === 1, 5_000, "it to be in flight");
  const before = other.calls.length;
  await runtime.sendTo(
    sessions.find((session) => session !== one && answered.get(session)![0] === own.id) ?? sessions[1]!,
    asking,
  );
  assert.is(other.calls.length, before + 1);
  own.result(own.calls.at(-1) ?? held, 1);
  await busy;
});

test("a call waits for a busy provider only as long as the server is set to", async () => {
  const clock = new Clock();
  const run = await callsOf({
    times: 2,
    options: { maxConcurrent: 1 },
    now: clock.now,
    router: { maxWaitMs: 2_000 },
  });
  const [a] = run.by;
  const first = await a.nextCall();
  a.accept(first);
  await until(() => run.runtime.runtime.router.totals.waiting === 1, 5_000, "the second to wait");
  clock.advance(1_900);
  await new Promise(setImmediate);
  assert.is(run.runtime.runtime.router.totals.waiting, 1);
  clock.advance(200);
  const { event } = await run.runtime.entry(run.session, "tool-result");
  assert.is(event.outcome, "unavailable");
  assert.match(event.error?.message ?? "", /busy/);
  assert.is(event.attempt, undefined);
  a.result(first, 1);
  assert.equal(
    (await run.ended()).map(({ outcome }) => outcome),
    ["unavailable", "ok"],
  );
});

test("a draining provider gets nothing new, keeps its calls, and takes its tools back with the last one", async () => {
  const { runtime } = await startRuntime();
  const [a, b] = TWO.map((id) => new TestProvider(runtime, id)) as [TestProvider, TestProvider];
  const names = (): string[] => runtime.tools.visible([], "").map(({ specification }) => specification.name);
  a.offer([tool("work")], { maxConcurrent: 2 });
  const [one, two] = await Promise.all([runtime.createSession("demo"), runtime.createSession("demo")]);
  const first = runtime.sendTo(one, asking);
  const held = await a.nextCall();
  a.drain();
  assert.equal(names(), ["work"], "its tool is seen while it has something of it");
  const second = runtime.sendTo(two, asking);
  await until(() => runtime.router.totals.waiting === 1, 5_000, "the second to wait");
  b.offer([tool("work")]);
  b.result(await b.nextCall(), 1);
  await second;
  assert.is(a.calls.length, 1);
  assert.equal(a.cancels, []);
  b.withdraw();
  assert.equal(names(), ["work"]);
  a.result(held, "to the end");
  await first;
  assert.is((await a.nextAck()).verdict, "stored");
  assert.equal(names(), []);
  a.offer([tool("work")]);
  const third = runtime.sendTo(one, asking);
  a.result(await a.nextCall(), 1);
  await third;
});

test("an idle provider that drains is gone at once", async () => {
  const { runtime } = await startRuntime();
  const a = new TestProvider(runtime, "prv_a");
  a.offer([tool("work"), tool("more")]);
  a.drain();
  assert.equal(runtime.tools.visible([], ""), []);
  assert.not.ok(runtime.router.drain("prv_stranger"), "whom nobody knows");
});

test("while a newer connection takes over, no call of the old one moves", async () => {
  const clock = new Clock();
  const run = await callsOf({ providers: TWO, now: clock.now });
  const [a, b] = run.by;
  const call = await a.nextCall();
  a.accept(call);
  a.disconnect(true);
  clock.advance(4_000);
  await new Promise(setImmediate);
  const back = a.again();
  back.offer([tool("work")], { working: [call] });
  clock.advance(4_000);
  back.result(call, "done");
  assert.equal(
    (await run.ended()).map(({ outcome, attempt }) => [outcome, attempt]),
    [["ok", 1]],
  );
  assert.equal(b!.calls, []);
  assert.equal(bodiesOf(await run.runtime.log(run.session), "tool-lost"), []);
});

test("one that does not take over in time loses them, and pure ones move", async () => {
  const clock = new Clock();
  const run = await callsOf({ providers: TWO, now: clock.now });
  const [a, b] = run.by;
  a.accept(await a.nextCall());
  a.disconnect(true);
  clock.advance(5_100);
  const moved = await b!.nextCall();
  b!.result(moved, "by b");
  assert.is((await run.ended())[0]?.attempt, 2);
});

test("a provider that was away when its call was cancelled is told when it is back", async () => {
  const run = await callsOf();
  const [a] = run.by;
  const call = await a.nextCall();
  a.disconnect();
  const { event } = await run.runtime.entry(run.session, "run-started");
  await run.runtime.cancel(run.session, event.run);
  const back = a.again();
  back.offer([tool("work")], { working: [call] });
  assert.is((await back.nextCancel()).reason, "cancelled");
  back.fail(call, "cancelled");
  assert.is((await run.ended())[0]?.outcome, "cancelled");
});

test.run();
