/**
 * A call that is taken up again from the log: nothing is sent that the log does not say, `once` stays `once`, its deadline
 * is the one it had, and what earlier attempts still say is heard. The log is what the test says it is.
 */
import type { EntryBody } from "../../../protocol/entries.ts";
import { toolSpecification } from "../../../protocol/content.ts";
import type { OpenCall } from "../../../protocol/frames.ts";
import { prepareCall } from "../../../server/tool/call.ts";
import { Deadlines } from "../../../server/tool/deadlines.ts";
import { LocalHost } from "../../../server/tool/local.ts";
import { SERVER_SCOPE, ToolRegistry } from "../../../server/tool/registry.ts";
import { Router } from "../../../server/tool/router.ts";
import type { CallReference, ToolCall, ToolHost } from "../../../server/tool/tool.ts";
import { Clock } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { tool } from "./provider.ts";

const test = suite("calls taken up again");

class Host implements ToolHost {
  readonly calls: ToolCall[] = [];
  readonly acks: string[] = [];
  call(call: ToolCall): boolean {
    this.calls.push(call);
    return true;
  }
  cancelCall(): void {}
  acknowledgeResult({ attempt }: CallReference, verdict: string): void {
    this.acks.push(`${attempt} ${verdict}`);
  }
}

/** A call in the state that the log left it in, and one provider that is there. */
function resumed(from: Partial<OpenCall>, effect: "pure" | "once" = "pure") {
  const clock = new Clock();
  const registry = new ToolRegistry();
  const deadlines = new Deadlines(clock.now);
  const router = new Router(registry, new LocalHost(), deadlines);
  const host = new Host();
  const specification = toolSpecification.parse(tool("work", { effect, timeoutMs: 60_000 }));
  const provider = "prv_b";
  const reference = { session: "ses_1", call: "call_1" };
  router.offer(provider, host, {
    scope: SERVER_SCOPE,
    tools: [specification],
    working: [{ ...reference, attempt: 2 }],
  });
  const make = () =>
    prepareCall(
      {
        ...reference,
        run: "run_1",
        agent: "demo",
        actor: { kind: "user", id: "ann", name: "Ann", verified: false },
        tool: () => registry.get(SERVER_SCOPE, "work")!,
        input: {},
        askedAt: clock.now() - 50_000,
        cancelled: () => false,
      },
      { router, deadlines, now: clock.now, timings: {}, onProgress: () => {} },
      { ...reference, message: "msg_1", run: "run_1", tool: "work", state: "waiting", attempt: 0, ...from },
    );
  const cancel = new AbortController();
  const stop = new AbortController();
  return { clock, router, host, provider, reference, make, cancel, stop };
}

type Run = ReturnType<ReturnType<typeof prepareCall>["run"]>;

async function entriesOf(run: Run): Promise<EntryBody[]> {
  const { value } = await run.next();
  return typeof value === "function" ? value() : (value ?? []);
}

for (const from of [{}, { state: "lost", attempt: 1, provider: "prv_a", effect: "once" }] as const) {
  test(`a call that the log has as ${"state" in from ? from.state : "waiting"} is dispatched in the log before it is sent`, async () => {
    const { make, host, cancel, stop } = resumed(from, "once");
    const prepared = make();
    // Nobody commits what a call brings along that is in the log already.
    assert.equal(prepared.entries, []);
    const run = prepared.run(cancel.signal, stop.signal);
    const [dispatched] = await entriesOf(run);
    assert.is(dispatched?.type, "tool-dispatched");
    assert.equal(host.calls, []);
    stop.abort();
    await run.next();
    assert.equal(
      host.calls.map(({ attempt }) => attempt),
      [("attempt" in from ? from.attempt : 0) + 1],
    );
  });
}

test("the deadline of a call that was never dispatched runs from its message, and leaves the grace", async () => {
  const { make, clock, cancel, stop } = resumed({});
  const run = make().run(cancel.signal, stop.signal);
  const [dispatched] = await entriesOf(run);
  assert.ok(dispatched?.type === "tool-dispatched" && dispatched.deadlineAt === clock.now() + 30_000);
  stop.abort();
  await run.next();
});

test("a kept result of an attempt before the last counts, whenever it comes", async () => {
  for (const early of [true, false]) {
    const { make, host, router, reference, cancel, stop } = resumed({
      state: "dispatched",
      attempt: 2,
      provider: "prv_b",
    });
    const say = (): void =>
      router.resultByLog({
        id: "prv_a",
        host,
        reference: { ...reference, attempt: 1 },
        answer: { output: "kept" },
      });
    if (early) say();
    const run = make().run(cancel.signal, stop.signal);
    if (!early) say();
    const seen: EntryBody[] = [];
    for (let n = 0; n < 3 && !seen.some(({ type }) => type === "tool-result"); n++)
      seen.push(...(await entriesOf(run)));
    const result = seen.at(-1);
    assert.ok(result?.type === "tool-result" && result.outcome === "ok" && result.attempt === 1);
    await run.next();
    assert.equal(host.acks, ["1 stored"]);
  }
});

test("a once call whose result is here is not forgotten while the log is asked about it", async () => {
  const from = { state: "accepted", attempt: 1, provider: "prv_b" } as const;
  const { make, host, router, provider, reference, cancel, stop } = resumed(from, "once");
  const settled = router.expectResult(provider, { ...reference, attempt: 1 });
  const run = make().run(cancel.signal, stop.signal);
  const ended = entriesOf(run);
  await new Promise(setImmediate);
  router.resultByLog({
    id: provider,
    host,
    reference: { ...reference, attempt: 1 },
    answer: { output: "kept" },
  });
  settled();
  const result = (await ended).at(-1);
  assert.ok(result?.type === "tool-result" && result.outcome === "ok");
  await run.next();
  assert.equal(host.acks, ["1 stored"]);
});

for (const code of ["timeout", "cancelled"]) {
  test(`a provider that says ${code} of a deadline over which the server was away says no more than that`, async () => {
    const { make, host, router, provider, reference, cancel, stop } = resumed({
      state: "dispatched",
      attempt: 2,
      provider: "prv_b",
      deadlineAt: new Clock().now() - 1,
    });
    const run = make().run(cancel.signal, stop.signal);
    const ended = entriesOf(run);
    router.result({
      id: provider,
      host,
      reference: { ...reference, attempt: 2 },
      answer: { error: { code, message: "" } },
    });
    const result = (await ended).at(-1);
    assert.ok(result?.type === "tool-result" && result.outcome === "timeout");
    await run.next();
    assert.equal(host.acks, ["2 stale"]);
  });
}

test("a result whose append failed counts when the call is taken up again", async () => {
  const { make, host, router, reference, cancel, stop } = resumed({
    state: "dispatched",
    attempt: 1,
    provider: "prv_a",
  });
  const failing = make().run(cancel.signal, stop.signal);
  router.resultByLog({
    id: "prv_a",
    host,
    reference: { ...reference, attempt: 1 },
    answer: { output: "done" },
  });
  const first = await entriesOf(failing);
  assert.equal(
    first.map(({ type }) => type),
    ["tool-result"],
  );
  await assert.rejects(failing.throw(new Error("the store cannot commit")));
  assert.equal(host.acks, []);

  const again = make().run(cancel.signal, stop.signal);
  const [result] = await entriesOf(again);
  assert.ok(result?.type === "tool-result" && result.outcome === "ok" && result.output === "done");
  await again.next();
  assert.equal(host.acks, ["1 stored"]);
});

test("a cancel that is confirmed says nothing of an attempt before the restart", async () => {
  const { make, host, router, provider, reference, cancel, stop } = resumed({
    state: "dispatched",
    attempt: 2,
    provider: "prv_b",
  });
  const run = make().run(cancel.signal, stop.signal);
  const ended = entriesOf(run);
  cancel.abort();
  router.result({
    id: provider,
    host,
    reference: { ...reference, attempt: 2 },
    answer: { error: { code: "cancelled", message: "" } },
  });
  const result = (await ended).at(-1);
  assert.ok(result?.type === "tool-result" && result.outcome === "outcome-unknown");
  await run.next();
  assert.equal(host.acks, ["2 stale"]);
});

test.run();
