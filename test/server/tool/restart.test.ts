/**
 * Calls that were open when the process ended, taken up by the next one on the same store: what the next process must not
 * forget of them. Kills at every commit are test/fault's; here the clocks are the test's and the end is orderly.
 */
import type { ProtocolError } from "../../../protocol/errors.ts";
import { MemoryStore } from "../../../server/store/memory.ts";
import { Clock, closeRuntimes, startRuntime, type TestRuntime } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { until } from "../../support/wait.ts";
import { callsOf, TestProvider, tool } from "./provider.ts";

const test = suite("calls over a restart");
test.after.each(closeRuntimes);

/** A store that the end of its runtime does not end. */
class LastingStore extends MemoryStore {
  override async close(): Promise<void> {}
}

function next(store: MemoryStore, clock: Clock): Promise<TestRuntime> {
  return startRuntime({ store, now: clock.now });
}

test("a cancelled call that was lost before the restart is not said to have had no effect", async () => {
  const clock = new Clock();
  const store = new LastingStore();
  const run = await callsOf({ store, now: clock.now });
  await run.by[0].nextCall();
  clock.advance(5_100);
  await run.runtime.entry(run.session, "tool-lost");
  await run.runtime.runtime.close();
  const again = await next(store, clock);
  const { event } = await again.entry(run.session, "run-recovered");
  await again.cancel(run.session, event.run);
  const { event: result } = await again.entry(run.session, "tool-result");
  assert.is(result.outcome, "outcome-unknown");
});

test("a call that was never dispatched before the restart is cancelled as such", async () => {
  const clock = new Clock();
  const store = new LastingStore();
  const run = await callsOf({ store, now: clock.now, times: 2, options: { maxConcurrent: 1 } });
  const [a] = run.by;
  const first = await a.nextCall();
  await run.runtime.runtime.close();
  const again = await next(store, clock);
  const { event } = await again.entry(run.session, "run-recovered");
  await again.cancel(run.session, event.run);
  const { event: result } = await again.entry(run.session, "tool-result", (body) => body.call !== first.call);
  assert.is(result.outcome, "cancelled");
});

test("a provider that is back before the call is taken up goes on with it", async () => {
  const clock = new Clock();
  const store = new LastingStore();
  const run = await callsOf({ store, now: clock.now, offer: tool("work", { effect: "once" }) });
  const call = await run.by[0].nextCall();
  await run.runtime.runtime.close();
  const again = await next(store, clock);
  const back = new TestProvider(again.runtime, "prv_a");
  back.offer([tool("work", { effect: "once" })], { working: [call] });
  await again.entry(run.session, "run-recovered");
  await until(() => back.result(call, "done"), 5_000, "the call to be taken up");
  const { event: result } = await again.entry(run.session, "tool-result");
  assert.equal([result.outcome, result.attempt], ["ok", 1]);
});

test("a once call is never sent again, whatever its tool says of itself after the restart", async () => {
  const clock = new Clock();
  const store = new LastingStore();
  const run = await callsOf({ store, now: clock.now, offer: tool("work", { effect: "once" }) });
  await run.by[0].nextCall();
  await run.runtime.runtime.close();
  const again = await next(store, clock);
  const back = new TestProvider(again.runtime, "prv_a");
  back.offer([tool("work", { effect: "pure" })]);
  const { event: result } = await again.entry(run.session, "tool-result");
  assert.is(result.outcome, "outcome-unknown");
  assert.equal(back.calls, []);
});

for (const effect of ["once", "pure"] as const)
  test(`an approval that comes while the provider of a ${effect} tool is away after a restart holds until it is back`, async () => {
    const clock = new Clock();
    const store = new LastingStore();
    const approval = { mode: "always", editable: true } as const;
    const offer = tool("work", { effect, approval });
    const run = await callsOf({ store, now: clock.now, offer });
    const { event: opened } = await run.runtime.entry(run.session, "request-opened");
    await run.runtime.runtime.close();
    const again = await next(store, clock);
    await again.entry(run.session, "run-recovered");
    const { request } = opened;
    const edited = { request, decision: "approve", input: { n: 2 } } as const;
    // What the tool takes is not known now.
    const refused = await again.answer(run.session, edited).then(
      () => undefined,
      (error: unknown) => (error as ProtocolError).code,
    );
    assert.is(refused, "unavailable");
    await again.answer(run.session, { request, decision: "approve" });
    assert.equal((await again.state(run.session)).requests, []);
    assert.is((await again.state(run.session)).calls[0]?.state, "waiting");
    clock.advance(20_000);
    const back = new TestProvider(again.runtime, "prv_a");
    back.offer([offer]);
    const call = await back.nextCall();
    assert.equal([call.call, call.attempt], [opened.call, 1]);
    back.result(call, "done");
    const { event: result } = await again.entry(run.session, "tool-result");
    assert.equal([result.outcome, result.attempt], ["ok", 1]);
    assert.is(back.calls.length, 1);
  });

test("an approved call whose provider does not come back after a restart is unavailable after the grace", async () => {
  const clock = new Clock();
  const store = new LastingStore();
  const offer = tool("work", { approval: { mode: "always" } });
  const run = await callsOf({ store, now: clock.now, offer });
  const { event: opened } = await run.runtime.entry(run.session, "request-opened");
  await run.runtime.runtime.close();
  const again = await next(store, clock);
  await again.entry(run.session, "run-recovered");
  await again.answer(run.session, { request: opened.request, decision: "approve" });
  clock.advance(31_000);
  const { event: result } = await again.entry(run.session, "tool-result");
  assert.equal([result.outcome, result.attempt], ["unavailable", undefined]);
});

test("a new run waits after a start for the tools that its agent names, for the grace at most", async () => {
  for (const comes of [true, false]) {
    const clock = new Clock();
    const runtime = await startRuntime({ now: clock.now, agent: { tools: ["work"] } });
    await runtime.runtime.addAgent({ name: "open" });
    const [waiting, open] = [await runtime.session(), await runtime.session({ agent: "open" })];
    const { input } = await runtime.send(waiting, "hello");
    // Names no tool: there is none to wait for.
    await runtime.run(open, "hello");
    clock.advance(29_000);
    await runtime.run(open, "hello again");
    assert.equal(
      (await runtime.state(waiting)).queue.map((item) => item.input),
      [input],
    );
    if (comes) new TestProvider(runtime.runtime, "prv_a").offer([tool("work")]);
    else clock.advance(1_100);
    await runtime.endOf(waiting, input);
    const { event } = await runtime.entry(waiting, "run-started");
    assert.equal(
      event.tools.map(({ name }) => name),
      comes ? ["work"] : [],
    );
    if (!comes) await runtime.run(waiting, "at once, for the start is long ago");
  }
});

test.run();
