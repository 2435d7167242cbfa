/**
 * A provider's ledger: no attempt runs twice, results are kept until confirmed, a handler's end becomes one result.
 */
import { CallLedger } from "../../client/calls.ts";
import type { CallContext } from "../../client/calls.ts";
import type { ServerFrameOf } from "../../protocol/frames.ts";
import type { JsonValue } from "../../protocol/content.ts";
import { suite, assert } from "../support/suite.ts";
import { deferred } from "../support/wait.ts";
import { manualClock } from "./support/clock.ts";
import { ann } from "./support/entries.ts";

const test = suite("client calls");

const call = (name: string, attempt = 1, timeoutMs = 60_000): ServerFrameOf<"call"> => ({
  type: "call",
  session: "ses_1",
  call: name,
  attempt,
  run: "run_1",
  agent: "demo",
  tool: "add",
  input: { a: 1 },
  actor: ann,
  timeoutMs,
});
const reference = (name: string, attempt = 1) => ({ session: "ses_1", call: name, attempt });

function make() {
  const clock = manualClock();
  const out: string[] = [];
  let settled = 0;
  const ledger = new CallLedger(
    {
      accepted: ({ call: id, attempt }) => out.push(`accepted ${id} ${attempt}`),
      progress: ({ call: id, attempt }, value) =>
        out.push(`progress ${id} ${attempt} ${JSON.stringify(value)}`),
      result: ({ call: id, attempt }, end) =>
        out.push(`result ${id} ${attempt} ${"output" in end ? JSON.stringify(end.output) : end.error.code}`),
    },
    clock,
    () => settled++,
  );
  const works: { context: CallContext; end: ReturnType<typeof deferred<JsonValue>> }[] = [];
  const execute = (context: CallContext): Promise<JsonValue> => {
    const end = deferred<JsonValue>();
    works.push({ context, end });
    return end.promise;
  };
  const receive = (frame: ServerFrameOf<"call">, room = true): void =>
    ledger.call(frame, () => room, execute);
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  return { clock, out, ledger, works, receive, turn, settled: () => settled };
}

test("a call is accepted at once, runs once, and its result is kept until it is confirmed", async () => {
  const { out, ledger, works, receive, turn } = make();
  receive(call("c"));
  assert.equal(out, ["accepted c 1"]);
  receive(call("c"));
  assert.is(works.length, 1);
  assert.equal(ledger.working, [reference("c")]);
  works[0]!.end.resolve(3);
  await turn();
  assert.is(out.at(-1), "result c 1 3");
  ledger.resend();
  receive(call("c"));
  assert.equal(out.slice(-2), ["result c 1 3", "result c 1 3"]);
  assert.is(works.length, 1);
  assert.is(ledger.idle, false);
  ledger.confirm(reference("c"));
  assert.is(ledger.idle, true);
  out.length = 0;
  ledger.resend();
  assert.equal(out, []);
});

test("a repetition after the confirmation does not run again", async () => {
  const { out, ledger, works, receive, turn } = make();
  receive(call("c"));
  works[0]!.end.resolve(1);
  await turn();
  ledger.confirm(reference("c"));
  receive(call("c"));
  assert.is(works.length, 1);
  assert.is(out.at(-1), "result c 1 already-answered");
});

test("a result without a verdict is said again on a connection that lasts, at longer and longer intervals", async () => {
  const { clock, out, ledger, works, receive, turn } = make();
  receive(call("c"));
  receive(call("d"), false);
  works[0]!.end.resolve(3);
  await turn();
  const said = (): number[] =>
    ["result c 1 3", "result d 1 not-started"].map((what) => out.filter((line) => line === what).length);
  assert.equal(said(), [1, 1]);
  clock.advance(9_999);
  assert.equal(said(), [1, 1]);
  clock.advance(1);
  assert.equal(said(), [2, 2]);
  ledger.confirm(reference("d"));
  clock.advance(20_000);
  assert.equal(said(), [3, 2]);
  for (const ms of [40_000, 60_000, 60_000]) clock.advance(ms);
  assert.equal(said(), [6, 2]);
  ledger.confirm(reference("c"));
  clock.advance(600_000);
  assert.equal(said(), [6, 2]);
});

test("a closed client says no result again", async () => {
  const { clock, out, ledger, works, receive, turn } = make();
  receive(call("c"));
  works[0]!.end.resolve(3);
  await turn();
  receive(call("d"));
  ledger.abortAll(new Error("closed"));
  works[1]!.end.resolve(4);
  await turn();
  const before = out.length;
  clock.advance(600_000);
  assert.is(out.length, before);
});

test("beyond the capacity a call is not started, and that answer is kept too", () => {
  const { out, ledger, works, receive } = make();
  receive(call("c"), false);
  assert.equal(out, ["result c 1 not-started"]);
  assert.is(works.length, 0);
  ledger.resend();
  assert.is(out.length, 2);
  receive(call("c", 2));
  assert.is(works.length, 1);
});

test("another attempt of a running call joins it, and one of a finished call gets its result", async () => {
  const { out, works, receive, turn } = make();
  receive(call("c", 1));
  receive(call("c", 3));
  assert.is(works.length, 1);
  works[0]!.end.resolve("x");
  await turn();
  assert.equal(out.slice(-2), ['result c 1 "x"', 'result c 3 "x"']);
  receive(call("c", 4));
  assert.is(works.length, 1);
  assert.is(out.at(-1), 'result c 4 "x"');
});

test("a cancel aborts the handler; its throw is the confirmation", async () => {
  const { out, ledger, works, receive, turn } = make();
  receive(call("c"));
  ledger.cancel(reference("other"), "run cancelled");
  assert.is(works[0]!.context.signal.aborted, false);
  ledger.cancel(reference("c"), "run cancelled");
  assert.is(works[0]!.context.signal.aborted, true);
  assert.is(out.length, 1);
  works[0]!.end.reject(new Error("stopped"));
  await turn();
  assert.is(out.at(-1), "result c 1 cancelled");
});

test("a once call that runs is not given up for having been accepted late; others are", async () => {
  for (const once of [true, false]) {
    const { out, ledger, works, turn } = make();
    const end = deferred<JsonValue>();
    let signal: AbortSignal | undefined;
    const execute = (context: CallContext): Promise<JsonValue> => {
      ({ signal } = context);
      return end.promise;
    };
    ledger.call(call("c"), () => true, execute, once);
    ledger.cancel(reference("c"), "not-accepted");
    assert.is(signal?.aborted, !once);
    ledger.cancel(reference("c"), "cancelled");
    assert.is(signal?.aborted, true);
    end.resolve("done");
    await turn();
    assert.is(out.at(-1), 'result c 1 "done"');
    assert.equal(works, []);
  }
});

test("work that was done although it was cancelled says so", async () => {
  const { out, ledger, works, receive, turn } = make();
  receive(call("c"));
  ledger.cancel(reference("c"), "too late");
  works[0]!.end.resolve("done");
  await turn();
  assert.is(out.at(-1), 'result c 1 "done"');
});

test("an attempt that comes while an earlier one is still stopping is not started", () => {
  const { out, ledger, works, receive } = make();
  receive(call("c", 1));
  ledger.cancel(reference("c", 1), "moved");
  receive(call("c", 2));
  assert.is(works.length, 1);
  assert.is(out.at(-1), "result c 2 not-started");
});

test("at the deadline the handler is aborted", async () => {
  const { out, clock, works, receive, turn } = make();
  receive(call("c", 1, 5000));
  assert.is(works[0]!.context.deadline, clock.now() + 5000);
  clock.advance(5000);
  assert.is(works[0]!.context.signal.reason.name, "TimeoutError");
  works[0]!.end.reject(new Error("stopped"));
  await turn();
  assert.is(out.at(-1), "result c 1 timeout");
});

test("a throw becomes an error with the thrown code, whatever is thrown", async () => {
  const { out, works, receive, turn } = make();
  for (const [index, thrown] of [
    Object.assign(new Error("x"), { code: "ENOENT" }),
    new Error("x"),
    "text",
    Object.assign(new Error("x"), { code: 7 }),
    Object.assign(new Error("x"), { code: "y".repeat(65) }),
  ].entries()) {
    receive(call(`c${index}`));
    works[index]!.end.reject(thrown as Error);
  }
  await turn();
  assert.equal(
    out.filter((line) => line.startsWith("result")).map((line) => line.split(" ").at(-1)),
    ["ENOENT", "error", "error", "error", "error"],
  );
});

test("an output that no frame can hold is an error", async () => {
  const { out, works, receive, turn } = make();
  receive(call("c"));
  works[0]!.end.resolve("x".repeat(800 * 1024));
  await turn();
  assert.is(out.at(-1), "result c 1 too-large");
});

test("progress is sent at most ten times a second, the last one always, and before the result", async () => {
  const { out, clock, ledger, works, receive, turn } = make();
  receive(call("c"));
  const { context, end } = works[0]!;
  for (let n = 1; n <= 50; n++) {
    context.progress({ n });
    clock.advance(10);
  }
  context.progress({ n: 51 });
  end.resolve(null);
  await turn();
  const progress = out.filter((line) => line.startsWith("progress"));
  assert.ok(progress.length <= 7, `${progress.length} in half a second`);
  assert.is(progress.at(-1), 'progress c 1 {"n":51}');
  assert.is(out.at(-1), "result c 1 null");
  context.progress({ n: 52 });
  assert.is(out.at(-1), "result c 1 null");
  ledger.confirm(reference("c"));
  assert.is(clock.timers, 0);
});

test.run();
