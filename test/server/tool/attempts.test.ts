/**
 * Several attempts of one call, and what their providers still say of each: what ends the call and what does not, and that
 * one deadline has one name. Clocks are the test's.
 */
import { Clock, closeRuntimes } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { callsOf } from "./provider.ts";

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

test.run();
