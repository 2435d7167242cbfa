/**
 * Tools that other processes execute: what a provider is sent and what becomes of its answers, as long as its socket
 * lives. What happens when it dies is in provider-loss.test.ts.
 */
import type { EventFrame } from "../../protocol/entries.ts";
import { Reader } from "../support/reader.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { until } from "../support/wait.ts";
import { Wire, type Frame, type Refused } from "../support/wire.ts";
import { Provider, calls, newSession, referenceOf, say, script, type OfferedTool } from "./play.ts";

const test = suite("tool providers");
let server: TestServer;
let wire: Wire;

test.before(async () => {
  server = await TestServer.start();
  wire = await Wire.connect(server.url);
});
test.after(() => server.kill());

async function provide(
  tools: Readonly<Record<string, OfferedTool>>,
  fields?: Frame,
  instance?: string,
): Promise<Provider> {
  const own = await Wire.connect(server.url, instance === undefined ? {} : { instance });
  return Provider.offer(own, tools, fields);
}

async function run(content: string): Promise<{ session: string; reader: Reader; input: string }> {
  const session = await newSession(wire);
  const reader = Reader.fromStart(session);
  await reader.enter(wire);
  const { input } = await say(wire, session, content);
  return { session, reader, input: input as string };
}

function bodies(reader: Reader, prefix: string): Frame[] {
  return reader.entries
    .map(({ entry }) => entry.event as Frame)
    .filter(({ type }) => type.startsWith(prefix));
}

const isResult = ({ event }: EventFrame): boolean => event.type === "tool-result";

async function resultOf(reader: Reader): Promise<Frame> {
  return (await reader.entry(isResult)).event;
}

test("the metrics count providers, and calls at them and before them", async () => {
  const own = await TestServer.start({ store: "memory" });
  const values = async (): Promise<(number | undefined)[]> => {
    const text = await (await fetch(`${own.http}/metrics`)).text();
    return ["providers", "calls_in_flight", "calls_waiting"].map((name) =>
      Number(new RegExp(`^haulout_tool_${name} (\\d+)$`, "m").exec(text)?.[1]),
    );
  };
  assert.equal(await values(), [0, 0, 0]);
  const provider = await Provider.offer(await Wire.connect(own.url), { one: {} }, { maxConcurrent: 1 });
  assert.equal(await values(), [1, 0, 0]);
  const asking = await Wire.connect(own.url);
  const session = await newSession(asking);
  await say(asking, session, script(calls(["one"], ["one"], ["one"]), { text: "so" }));
  const first = await provider.next();
  await until(async () => (await values())[2] === 2, 10_000, "two that wait");
  assert.equal(await values(), [1, 1, 2]);
  for (let call = first, n = 1; n <= 3; n++) {
    await provider.answer(call, n);
    if (n < 3) call = await provider.next();
  }
  await until(async () => (await values())[1] === 0, 10_000, "none at work");
  provider.wire.cut();
  await until(async () => (await values())[0] === 0, 10_000, "no provider");
  await own.kill();
});

test("a call is dispatched, accepted, shows progress, and its result is stored", async () => {
  const provider = await provide({
    add: { effect: "once", timeoutMs: 20_000, inputSchema: { type: "object", required: ["a"] } },
  });
  const [tool] = (await wire.ok("listTools"))["items"] as Frame[];
  assert.equal(
    { ...tool, inputSchema: undefined, pool: undefined },
    {
      name: "add",
      description: "add, of a test",
      effect: "once",
      timeoutMs: 20_000,
      scope: "server",
      providers: 1,
      inFlight: 0,
      waiting: 0,
      inputSchema: undefined,
      pool: undefined,
    },
  );
  assert.equal(
    (tool!["pool"] as Frame[]).map((one) => ({ ...one, provider: typeof one["provider"] })),
    [{ provider: "string", state: "ready", inFlight: 0, maxConcurrent: 8 }],
  );
  const { session, reader, input } = await run(
    script(calls(["add", { a: 1, b: [2, "ü"] }]), { text: "done" }),
  );
  const other = new Reader(session);
  const call = await provider.next();
  await other.enter(await Wire.connect(server.url, { encoding: "json" }));
  const { timeoutMs, ...rest } = call;
  assert.equal(rest, {
    type: "call",
    session,
    call: call["call"],
    attempt: 1,
    run: reader.state!.run!.run,
    agent: "demo",
    tool: "add",
    input: { a: 1, b: [2, "ü"] },
    actor: { kind: "user", id: "local", name: "local", verified: false },
  });
  assert.ok(timeoutMs > 15_000 && timeoutMs <= 20_000, String(timeoutMs));
  assert.is(reader.state!.calls[0]!.state, "dispatched", "logged before it was sent");

  provider.accept(call);
  await reader.entry("tool-accepted");
  assert.is(reader.state!.calls[0]!.state, "accepted");
  for (const progress of [{ percent: 10 }, "half", [90]]) provider.progress(call, progress);
  for (const reading of [reader, other]) {
    await reading.until(
      () => reading.trace.filter((type) => type === "toolProgress").length === 2,
      "progress",
    );
  }
  const shown = wire.received.map(({ frame }) => frame).filter(({ type }) => type === "toolProgress");
  assert.equal(
    shown.map(({ progress }) => progress),
    [{ percent: 10 }, [90]],
    "the first at once, then the latest",
  );
  assert.is(await provider.verdict(call, { output: { sum: 3 } }), "stored");
  const result = await resultOf(reader);
  assert.equal([result["outcome"], result["output"], result["attempt"]], ["ok", { sum: 3 }, 1]);
  await reader.runOf(input);
  assert.equal(
    bodies(reader, "tool-").map(({ type }) => type),
    ["tool-dispatched", "tool-accepted", "tool-result"],
  );
  assert.equal(reader.faults, []);
  await provider.wire.close();
});

test("a result is stored once; again it is a duplicate, and unknown where it was never asked for", async () => {
  const provider = await provide({ work: { effect: "pure" } });
  const stranger = await provide({ other: {} });
  const { session, reader, input } = await run(script(calls(["work"])));
  const call = await provider.next();
  assert.is(await stranger.verdict(call, { output: "forged" }), "unknown");
  assert.is(await provider.verdict({ ...call, attempt: 2 }, { output: "too soon" }), "unknown");
  assert.is(await provider.answer(call, "mine"), "stored");
  await reader.runOf(input);
  const head = reader.position!.seq;
  assert.is(await provider.verdict(call, { output: "mine" }), "duplicate");
  assert.is(await provider.verdict(call, { output: "other words" }), "duplicate");
  assert.is(await stranger.verdict(call, { output: "forged" }), "unknown");
  assert.is(await provider.verdict({ ...call, call: "call_none" }, { output: 1 }), "unknown");
  assert.is(await provider.verdict({ ...call, session: "ses_none" }, { output: 1 }), "unknown");
  assert.is(reader.position!.seq, head, "none of them is in the log");
  assert.equal((await resultOf(reader))["output"], "mine");
  await wire.ok("deleteSession", { session });
  assert.is(await provider.verdict(call, { output: "mine" }), "unknown");
  for (const { wire: own } of [provider, stranger]) await own.close();
});

test("a call past its deadline ends timeout, is taken back, and its late result is stale", async () => {
  const provider = await provide({ slow: { effect: "once", timeoutMs: 250 } });
  const { reader, input } = await run(script(calls(["slow"]), { text: "on" }));
  const call = await provider.next();
  provider.accept(call);
  assert.is((await provider.cancelled(call))["reason"], "deadline");
  assert.is((await reader.runOf(input)).event.type, "run-finished");
  assert.is((await resultOf(reader))["outcome"], "timeout");
  assert.is(await provider.verdict(call, { output: "at last" }), "stale");
  const audit = (await reader.entry("tool-audit")).event as Frame;
  assert.equal([audit["call"], audit["verdict"]], [call["call"], "stale"]);
  await provider.wire.close();
});

test("input and output are checked against their schemas", async () => {
  const provider = await provide({
    strict: {
      effect: "pure",
      inputSchema: { type: "object", properties: { n: { type: "integer" } }, required: ["n"] },
      outputSchema: { type: "string" },
    },
  });
  const { reader, input } = await run(
    script(calls(["strict", { n: "one" }], ["strict", {}], ["strict", { n: 1 }]), { text: "so" }),
  );
  const call = await provider.next();
  assert.equal(call["input"], { n: 1 });
  assert.is(await provider.answer(call, 7), "stored");
  await reader.runOf(input);
  assert.equal(
    bodies(reader, "tool-result").map(({ outcome }) => outcome),
    ["invalid-input", "invalid-input", "invalid-output"],
  );
  assert.is(provider.calls.length, 1);
  await provider.wire.close();
});

test("a handler's error is the outcome, and an output over the limit is one", async () => {
  const provider = await provide({ fail: { effect: "pure" } });
  const { reader, input } = await run(script(calls(["fail"], ["fail"]), { text: "so" }));
  const [first, second] = [await provider.next(), await provider.next()];
  const error = { code: "no-paper", message: "out of paper" };
  assert.is(await provider.verdict(first, { error }), "stored");
  assert.is(await provider.verdict(second, { output: "x".repeat(800 * 1024) }), "stored");
  await reader.runOf(input);
  assert.equal(
    bodies(reader, "tool-result").map((result) => [result["outcome"], (result["error"] as Frame)["code"]]),
    [
      ["error", "no-paper"],
      ["error", "too-large"],
    ],
  );
  const [message] = reader.state!.messages.filter(({ role }) => role === "assistant");
  assert.is((message!.parts[0] as Frame)["errorText"], "no-paper: out of paper");
  await provider.wire.close();
});

test("calls go to the least busy, no more than a provider takes, and the rest waits", async () => {
  const [one, two] = [
    await provide({ share: { effect: "pure" } }, { maxConcurrent: 1 }),
    await provide({ share: { effect: "pure" } }, { maxConcurrent: 2 }),
  ];
  const { reader, input } = await run(
    script(calls(...Array.from({ length: 5 }, (_, n): [string, object] => ["share", { n }])), {
      text: "all",
    }),
  );
  const given = [await one.next(), await two.next(), await two.next()];
  assert.equal([one.calls.length, two.calls.length], [1, 2]);
  assert.equal(new Set(given.map(({ call }) => call)).size, 3);
  assert.is(await one.answer(given[0]!, "a"), "stored");
  assert.is(await one.answer(await one.next(), "b"), "stored");
  assert.is(await one.answer(await one.next(), "c"), "stored");
  for (const call of given.slice(1)) assert.is(await two.answer(call, "d"), "stored");
  await reader.runOf(input);
  assert.equal([one.calls.length, two.calls.length], [3, 2]);
  for (const { wire: own } of [one, two]) await own.close();
});

test("an offer that stands in another's way is a conflict, and one that cannot be checked a bad frame", async () => {
  const provider = await provide({ taken: { effect: "pure" } });
  const other = new Provider(await Wire.connect(server.url));
  const code = (tools: Readonly<Record<string, OfferedTool>>, fields?: Frame): Promise<string> =>
    other.offer(tools, fields).then(
      () => "ok",
      (error: unknown) => (error as Refused).code,
    );
  const session = await newSession(wire);
  assert.is(await code({ taken: { effect: "pure" } }), "ok");
  assert.is(await code({ taken: { effect: "once" } }), "conflict");
  assert.is(await code({ taken: { effect: "pure", inputSchema: { type: "array" } } }), "conflict");
  assert.is(await code({ clock: {} }), "conflict");
  assert.is(await code({ taken: { effect: "pure" } }, { session }), "conflict");
  assert.is(await code({ good: {}, bad: { inputSchema: { $ref: "https://example.com/no" } } }), "bad-frame");
  const names = ((await wire.ok("listTools"))["items"] as Frame[]).map(({ name }) => name);
  assert.not.ok(names.includes("good"), "all tools of an offer are taken, or none");
  for (const { wire: own } of [provider, other]) await own.close();
});

test("a tool that is offered to one session is seen and called there alone", async () => {
  const { session, reader } = await run("hello");
  const provider = await provide({ private: { effect: "pure" } }, { session });
  const tools = async (fields: Frame): Promise<string[]> =>
    ((await wire.ok("listTools", fields))["items"] as Frame[]).map(({ name }) => name as string);
  assert.ok((await tools({ session })).includes("private"));
  assert.not.ok((await tools({})).includes("private"));
  const content = script(calls(["private"]), { text: "ok" });
  const { input } = await say(wire, session, content);
  assert.is(await provider.answer(await provider.next(), "seen"), "stored");
  await reader.runOf(input as string);
  const elsewhere = await run(content);
  await elsewhere.reader.runOf(elsewhere.input);
  assert.is((await resultOf(elsewhere.reader))["outcome"], "unavailable");
  assert.is(provider.calls.length, 1);
  await provider.wire.close();
});

test("deleting a session takes its calls back, and later results are unknown", async () => {
  const provider = await provide({ doomed: { effect: "once" } });
  const { session } = await run(script(calls(["doomed"])));
  const call = await provider.next();
  provider.accept(call);
  await wire.ok("deleteSession", { session });
  assert.is((await provider.cancelled(call))["reason"], "deleted");
  assert.is(await provider.verdict(call, { output: "late" }), "unknown");
  assert.equal(referenceOf(call), { session, call: call["call"], attempt: 1 });
  await provider.wire.close();
});

test("a provider that drains gets no new call, finishes what it has, and is then without tools", async () => {
  const labels = { zone: "north" };
  const [old, next] = [
    await provide({ roll: {} }, { labels }),
    await provide({ roll: {} }, { maxConcurrent: 1 }),
  ];
  const first = await run(script(calls(["roll"]), { text: "one" }));
  const held = await old.next();
  await old.wire.ok("drain");
  const poolOf = async (): Promise<Frame[]> => {
    const items = (await wire.ok("listTools"))["items"] as Frame[];
    return items.find(({ name }) => name === "roll")!["pool"] as Frame[];
  };
  assert.equal(
    (await poolOf()).map((one) => [one["state"], one["inFlight"], one["labels"]]),
    [
      ["draining", 1, labels],
      ["ready", 0, undefined],
    ],
  );
  const second = await run(script(calls(["roll"]), { text: "two" }));
  await next.answer(await next.next(), 2);
  await second.reader.entry("run-finished");
  assert.is(await old.answer(held, 1), "stored");
  await first.reader.entry("run-finished");
  assert.is((await poolOf()).length, 1);
  await Promise.all([old.wire.close(), next.wire.close()]);
});

test("withdrawn tools get no new calls, and the call at work goes on", async () => {
  const provider = await provide({ leaving: { effect: "pure" } });
  const { reader, input } = await run(script(calls(["leaving"]), { text: "ok" }));
  const call = await provider.next();
  provider.accept(call);
  await provider.wire.ok("withdrawTools", { names: ["leaving"] });
  const after = await run(script(calls(["leaving"]), { text: "none" }));
  await after.reader.runOf(after.input);
  assert.is((await resultOf(after.reader))["outcome"], "unavailable");
  assert.is(await provider.verdict(call, { output: "still here" }), "stored");
  await reader.runOf(input);
  assert.is((await resultOf(reader))["outcome"], "ok");
  await provider.wire.close();
});

test.run();
