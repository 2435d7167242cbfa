/**
 * Providers that vanish, return, stay silent or are slow: where a call goes then, and what its log says. Pure calls move,
 * `once` calls stay where they are unless their provider said that it did not start. Clocks are the test's.
 */
import { calls as asks, bodiesOf, Clock, closeRuntimes } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { until } from "../../support/wait.ts";
import { violations } from "../agent/rules.ts";
import { TestStore } from "../session/stores.ts";
import { callsOf, TestProvider, tool, waitingModel, type Calls } from "./provider.ts";

const test = suite("lost and silent providers");
test.after.each(closeRuntimes);

const once = tool("work", { effect: "once" });
const TWO = ["prv_a", "prv_b"];

async function lostCauses({ runtime, session }: Calls): Promise<string[]> {
  return bodiesOf(await runtime.log(session), "tool-lost").map(({ cause }) => cause);
}

async function holds({ runtime, session }: Calls): Promise<void> {
  await runtime.entry(session, "run-finished");
  assert.equal(violations(await runtime.log(session)), []);
  assert.is(runtime.runtime.router.openCalls, 0);
  const [work] = runtime.runtime.tools.visible([], session);
  if (work !== undefined) assert.is(runtime.runtime.router.load(work).inFlight, 0, "no capacity is kept");
}

test("a pure call that is not accepted in time is cancelled and moves", async () => {
  const clock = new Clock();
  const run = await callsOf({ providers: TWO, now: clock.now });
  const [a, b] = run.by;
  const call = await a.nextCall();
  assert.is(call.attempt, 1);
  clock.advance(5_100);
  const moved = await b!.nextCall();
  assert.equal(moved, { ...call, attempt: 2, timeoutMs: moved.timeoutMs });
  assert.ok(moved.timeoutMs <= 55_000, "the deadline goes on");
  assert.equal(await a.nextCancel(), {
    session: run.session,
    call: call.call,
    attempt: 1,
    reason: "not-accepted",
  });
  b!.result(moved, "by b");
  const [result] = await run.ended();
  assert.is(result?.attempt, 2);
  assert.equal(await lostCauses(run), ["not-accepted"]);
  await holds(run);
});

test("a once call that is not accepted in time is cancelled and stays", async () => {
  const clock = new Clock();
  const run = await callsOf({ offer: once, providers: TWO, now: clock.now });
  const [a, b] = run.by;
  const call = await a.nextCall();
  clock.advance(5_100);
  assert.is((await a.nextCancel()).reason, "not-accepted");
  a.result(call, "late but done");
  const [result] = await run.ended();
  assert.is(result?.outcome, "ok");
  assert.equal(b!.calls, []);
  await holds(run);
});

test("acceptance in time keeps the call where it is; of a once call it is logged", async () => {
  for (const offer of [tool("work"), once]) {
    const clock = new Clock();
    const run = await callsOf({ offer, providers: TWO, now: clock.now });
    const [a, b] = run.by;
    const call = await a.nextCall();
    a.accept(call);
    if (offer === once) await run.runtime.entry(run.session, "tool-accepted");
    clock.advance(20_000);
    a.result(call, 1);
    await run.ended();
    assert.equal([a.cancels, b!.calls], [[], []]);
    assert.is(bodiesOf(await run.runtime.log(run.session), "tool-accepted").length, offer === once ? 1 : 0);
    await holds(run);
  }
});

test("a call that its provider did not start moves at once, a once call too", async () => {
  for (const offer of [tool("work"), once]) {
    const run = await callsOf({ offer, providers: TWO });
    const [a, b] = run.by;
    const call = await a.nextCall();
    a.accept(call);
    a.fail(call, "not-started");
    const moved = await b!.nextCall();
    assert.is(moved.attempt, 2);
    assert.is((await a.nextAck()).verdict, "stored", "it need not say so again");
    b!.result(moved, "done");
    const [result] = await run.ended();
    assert.equal([result?.outcome, result?.attempt], ["ok", 2]);
    assert.equal(await lostCauses(run), ["not-started"]);
    await holds(run);
  }
});

test("not started, said twice, moves the call once", async () => {
  const run = await callsOf({ offer: once, providers: TWO });
  const [a, b] = run.by;
  const call = await a.nextCall();
  a.fail(call, "not-started");
  a.fail(call, "not-started");
  const moved = await b!.nextCall();
  b!.result(moved, "done");
  await run.ended();
  assert.is(b!.calls.length, 1);
  await holds(run);
});

test("a call whose provider went between the choice and the commit was never sent, and moves, once too", async () => {
  const store = new TestStore();
  const { model, goOn } = waitingModel(asks("work"));
  const run = await callsOf({ offer: once, providers: TWO, store, model });
  const [a, b] = run.by;
  await run.runtime.entry(run.session, "run-started");
  const held = store.holdNext();
  goOn();
  const letGo = await held;
  a.disconnect();
  letGo();
  const call = await b!.nextCall();
  assert.is(call.attempt, 2);
  b!.result(call, "done");
  const [result] = await run.ended();
  assert.is(result?.outcome, "ok");
  assert.equal(await lostCauses(run), ["not-sent"]);
  assert.equal(a.calls, []);
  await holds(run);
});

test("a provider that changed its socket between the choice and the commit gets the call once", async () => {
  const store = new TestStore();
  const { model, goOn } = waitingModel(asks("work"));
  const run = await callsOf({ providers: TWO, store, model });
  const [a, b] = run.by;
  await run.runtime.entry(run.session, "run-started");
  const held = store.holdNext();
  goOn();
  const letGo = await held;
  a.disconnect();
  const back = a.again();
  back.offer([tool("work")], { working: [] });
  letGo();
  const call = await back.nextCall();
  assert.is(call.attempt, 1);
  back.result(call, "done");
  await run.ended();
  assert.equal([a.calls, b!.calls], [[], []]);
  assert.equal(await lostCauses(run), []);
  await holds(run);
});

test("a lost provider's pure call moves at once", async () => {
  const run = await callsOf({ providers: TWO });
  const [a, b] = run.by;
  const call = await a.nextCall();
  a.accept(call);
  a.disconnect();
  const moved = await b!.nextCall();
  assert.is(moved.attempt, 2);
  b!.result(moved, "by b");
  const [result] = await run.ended();
  assert.is(result?.output, "by b");
  assert.equal(await lostCauses(run), ["disconnected"]);
  await holds(run);
});

test("a lost provider's once call waits for it, and its result counts when it is back", async () => {
  const run = await callsOf({ offer: once, providers: TWO });
  const [a, b] = run.by;
  const call = await a.nextCall();
  a.accept(call);
  await run.runtime.entry(run.session, "tool-accepted");
  a.disconnect();
  const back = a.again();
  back.offer([once], { working: [call] });
  back.result(call, "done meanwhile");
  const [result] = await run.ended();
  assert.equal([result?.outcome, result?.attempt], ["ok", 1]);
  assert.is((await back.nextAck()).verdict, "stored");
  assert.equal(b!.calls, []);
  await holds(run);
});

test("a once call whose provider does not return ends outcome-unknown after the grace", async () => {
  const clock = new Clock();
  const run = await callsOf({ offer: once, providers: TWO, now: clock.now });
  const [a, b] = run.by;
  a.accept(await a.nextCall());
  await run.runtime.entry(run.session, "tool-accepted");
  a.disconnect();
  clock.advance(29_000);
  assert.is((await run.runtime.state(run.session)).calls.length, 1, "still waited for");
  clock.advance(1_100);
  const [result] = await run.ended();
  assert.equal([result?.outcome, result?.attempt], ["outcome-unknown", 1]);
  assert.equal(b!.calls, []);
  await holds(run);
});

test("a pure call whose provider does not return goes to one that was busy all the while", async () => {
  const clock = new Clock();
  const run = await callsOf({ providers: TWO, times: 2, options: { maxConcurrent: 1 }, now: clock.now });
  const [a, b] = run.by;
  a.accept(await a.nextCall());
  const long = await b!.nextCall();
  b!.accept(long);
  a.disconnect();
  clock.advance(30_100);
  await until(async () => (await lostCauses(run)).length === 1, 5_000, "the end of the grace");
  b!.result(long, "at last");
  const moved = await b!.nextCall();
  assert.is(moved.attempt, 2);
  b!.result(moved, "both");
  assert.equal(
    (await run.ended()).map(({ outcome }) => outcome),
    ["ok", "ok"],
  );
  await holds(run);
});

test("a superseded provider's calls wait only the short grace", async () => {
  const clock = new Clock();
  const run = await callsOf({ offer: once, now: clock.now });
  const [a] = run.by;
  a.accept(await a.nextCall());
  await run.runtime.entry(run.session, "tool-accepted");
  a.disconnect(true);
  clock.advance(5_100);
  assert.is((await run.ended())[0]?.outcome, "outcome-unknown");
  await holds(run);
});

test("a once call that its provider forgot ends outcome-unknown; a pure one goes out again", async () => {
  const forgotten = await callsOf({ offer: once });
  await forgotten.by[0].nextCall();
  forgotten.by[0].disconnect();
  forgotten.by[0].again().offer([once], { working: [] });
  assert.is((await forgotten.ended())[0]?.outcome, "outcome-unknown");
  assert.equal(await lostCauses(forgotten), ["forgotten"]);
  await holds(forgotten);

  const pure = await callsOf();
  await pure.by[0].nextCall();
  pure.by[0].disconnect();
  const back = pure.by[0].again();
  back.offer([tool("work")], { working: [] });
  const second = await back.nextCall();
  assert.is(second.attempt, 2);
  back.result(second, "done");
  assert.is((await pure.ended())[0]?.outcome, "ok");
  await holds(pure);
});

test("a pure call that its returning provider still works on is not sent again", async () => {
  const run = await callsOf();
  const [a] = run.by;
  const call = await a.nextCall();
  a.disconnect();
  const back = a.again();
  back.offer([tool("work")], { working: [call] });
  back.result(call, "done");
  const [result] = await run.ended();
  assert.is(result?.attempt, 1);
  assert.equal(back.calls, []);
  await holds(run);
});

test("the provider's old socket, closing late, takes nothing from the new one", async () => {
  const run = await callsOf({ offer: once });
  const [a] = run.by;
  const call = await a.nextCall();
  const back = a.again();
  back.offer([once], { working: [call] });
  a.disconnect(true);
  back.result(call, "done");
  assert.is((await run.ended())[0]?.outcome, "ok");
  await holds(run);
});

test("many lost calls whose tool's queue is full wait without spinning", async () => {
  const clock = new Clock();
  const run = await callsOf({ times: 4, now: clock.now, router: { maxWaiting: 1 } });
  const [a] = run.by;
  for (let n = 0; n < 4; n++) a.accept(await a.nextCall());
  a.disconnect();
  // The event loop still turns: an immediate comes, and so does the grace.
  await new Promise(setImmediate);
  clock.advance(30_100);
  await until(async () => (await lostCauses(run)).length === 4, 5_000, "the end of the grace");
  clock.advance(5_100);
  const results = await run.ended();
  assert.equal(
    results.map(({ outcome }) => outcome),
    ["unavailable", "unavailable", "unavailable", "unavailable"],
  );
  await holds(run);
});

test("a cancelled call of a lost provider goes to nobody else", async () => {
  const clock = new Clock();
  const run = await callsOf({ now: clock.now });
  const [a] = run.by;
  a.accept(await a.nextCall());
  a.disconnect();
  const { event } = await run.runtime.entry(run.session, "run-started");
  await run.runtime.cancel(run.session, event.run);
  const b = new TestProvider(run.runtime.runtime, "prv_b");
  b.offer([tool("work")]);
  clock.advance(5_100);
  assert.is((await run.ended())[0]?.outcome, "outcome-unknown");
  assert.equal(b.calls, []);
  await holds(run);
});

test("a call that is being moved when the cancel is logged is not sent again", async () => {
  const store = new TestStore();
  const run = await callsOf({ store });
  const [a] = run.by;
  a.accept(await a.nextCall());
  a.disconnect();
  const { event } = await run.runtime.entry(run.session, "run-started");
  const held = store.holdNext();
  const cancelling = run.runtime.cancel(run.session, event.run);
  const letGo = await held;
  // The move waits for the lock that the cancel holds.
  const b = new TestProvider(run.runtime.runtime, "prv_b");
  b.offer([tool("work")]);
  await new Promise(setImmediate);
  letGo();
  await cancelling;
  assert.is((await run.ended())[0]?.outcome, "outcome-unknown");
  assert.equal(b.calls, []);
  await holds(run);
});

test("capacity that comes for a call whose end is being written goes back", async () => {
  const clock = new Clock();
  const store = new TestStore();
  const offer = tool("work", { timeoutMs: 10_000 });
  const run = await callsOf({ now: clock.now, store, offer });
  const [a] = run.by;
  a.accept(await a.nextCall());
  a.disconnect();
  const held = store.holdNext();
  clock.advance(10_100);
  const letGo = await held;
  const b = new TestProvider(run.runtime.runtime, "prv_b");
  b.offer([offer], { maxConcurrent: 1 });
  letGo();
  assert.is((await run.ended())[0]?.outcome, "timeout");
  await holds(run);
});

test("the grace of a provider that has come back does not end", async () => {
  const clock = new Clock();
  const run = await callsOf({ offer: once, now: clock.now });
  const call = await run.by[0].nextCall();
  run.by[0].disconnect();
  const back = run.by[0].again();
  back.offer([once], { working: [call] });
  clock.advance(40_000);
  await new Promise(setImmediate);
  back.result(call, "done");
  assert.is((await run.ended())[0]?.outcome, "ok");
  await holds(run);
});

test.run();
