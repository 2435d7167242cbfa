/**
 * Several attempts of one call, and what their providers still say of each: what ends the call and what does not, and that
 * one deadline has one name. Clocks are the test's.
 */
import { decodeTrusted } from "../../../protocol/codec.ts";
import type { EventFrame } from "../../../protocol/entries.ts";
import { Clock, closeRuntimes } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { until } from "../../support/wait.ts";
import { TestStore } from "../session/stores.ts";
import { callsOf, TestProvider, tool } from "./provider.ts";

const test = suite("attempts of a call");
test.after.each(closeRuntimes);

const TWO = ["prv_a", "prv_b"];

test("what a pure call's late provider says to being stopped does not end the call elsewhere", async () => {
  for (const code of ["cancelled", "not-started"]) {
    const clock = new Clock();
    const run = await callsOf({ providers: TWO, now: clock.now });
    const [a, b] = run.by;
    const call = await a.nextCall();
    clock.advance(5_100);
    const moved = await b!.nextCall();
    a.fail(call, code);
    assert.is((await a.nextAck()).verdict, "stale");
    b!.result(moved, "by b");
    const [result] = await run.ended();
    assert.equal([result?.outcome, result?.attempt, result?.output], ["ok", 2, "by b"]);
  }
});

test("a cancel that is confirmed for one attempt says nothing of another that may still run", async () => {
  for (const confirmed of [true, false]) {
    const clock = new Clock();
    const run = await callsOf({ providers: TWO, now: clock.now });
    const [a, b] = run.by;
    const call = await a.nextCall();
    clock.advance(5_100);
    const moved = await b!.nextCall();
    const { event } = await run.runtime.entry(run.session, "run-started");
    await run.runtime.cancel(run.session, event.run);
    await b!.nextCancel();
    if (confirmed) a.fail(call, "cancelled");
    b!.fail(moved, "cancelled");
    const [result] = await run.ended();
    assert.is(result?.outcome, confirmed ? "cancelled" : "outcome-unknown");
  }
});

test("a provider that ends its handler at the deadline gives the outcome no other name", async () => {
  const clock = new Clock();
  const run = await callsOf({ now: clock.now });
  const [a] = run.by;
  const call = await a.nextCall();
  a.accept(call);
  clock.advance(60_000);
  a.fail(call, "timeout");
  const [result] = await run.ended();
  assert.is(result?.outcome, "timeout");
  assert.is((await a.nextAck()).verdict, "stale");
});

test("a lone provider that does not start a call is asked again after pauses that grow, until the deadline", async () => {
  for (const effect of ["pure", "once"] as const) {
    const clock = new Clock();
    const offer = tool("work", { effect, timeoutMs: 3000 });
    const run = await callsOf({ offer, now: clock.now });
    const [a] = run.by;
    const at: number[] = [];
    void (async () => {
      for (;;) {
        const call = await a.nextCall();
        at.push(clock.now());
        a.fail(call, "not-started");
      }
    })();
    let results: Awaited<ReturnType<typeof run.ended>> | undefined;
    void run.ended().then((ended) => (results = ended));
    await until(
      () => {
        clock.advance(20);
        return results !== undefined;
      },
      20_000,
      "the deadline",
    );
    const pauses = at.slice(1).map((time, index) => time - at[index]!);
    assert.ok(pauses.length >= 2 && pauses.length <= 4, String(pauses));
    for (const [index, pause] of pauses.entries()) assert.ok(pause >= 100 * 2 ** index, String(pauses));
    assert.is(results?.[0]?.outcome, "timeout");
  }
});

test("a call that pauses is cancelled at once, and goes at once to another provider that comes", async () => {
  for (const cancelled of [true, false]) {
    const clock = new Clock();
    const run = await callsOf({ now: clock.now });
    const [a] = run.by;
    a.fail(await a.nextCall(), "not-started");
    await run.runtime.entry(run.session, "tool-lost");
    const { event } = await run.runtime.entry(run.session, "run-started");
    if (cancelled) await run.runtime.cancel(run.session, event.run);
    else {
      const b = new TestProvider(run.runtime.runtime, "prv_b");
      b.offer([tool("work")]);
      b.result(await b.nextCall(), "by b");
    }
    const [result] = await run.ended();
    assert.is(result?.outcome, cancelled ? "cancelled" : "ok");
    assert.is(a.calls.length, 1);
  }
});

test("results that come while one is being written share the next append, in their order", async () => {
  const store = new TestStore();
  const appended: number[] = [];
  const append = store.append.bind(store);
  store.append = (batch) => {
    for (const { entries } of batch) {
      const results = entries.filter(
        (bytes) => (decodeTrusted(bytes) as EventFrame).event.type === "tool-result",
      );
      if (results.length > 0) appended.push(results.length);
    }
    return append(batch);
  };
  const run = await callsOf({ store, times: 4 });
  const [a] = run.by;
  const calls = [await a.nextCall(), await a.nextCall(), await a.nextCall(), await a.nextCall()];
  const held = store.holdNext();
  a.result(calls[2]!, 2);
  const letGo = await held;
  for (const at of [3, 0, 1]) a.result(calls[at]!, at);
  await new Promise(setImmediate);
  letGo();
  assert.equal(
    (await run.ended()).map(({ output }) => output),
    [2, 3, 0, 1],
  );
  assert.equal(appended, [1, 3]);
});

test.run();
