/**
 * Steps of a run: what is asked of the model each time, calls side by side, retries only while nothing was shown, and what
 * reaches those who watch.
 */
import { ModelError } from "../../../server/model/model.ts";
import type { ModelPart } from "../../../server/model/model.ts";
import {
  bodiesOf,
  calls,
  callsWith,
  Clock,
  closeRuntimes,
  finishes,
  says,
  startRuntime,
  TestModel,
  thinks,
  typesOf,
  type Turn,
} from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { deferred, until } from "../../support/wait.ts";
import { violations } from "./rules.ts";

const test = suite("steps of a run");
test.after.each(closeRuntimes);

/** The wheel of deadlines has looked at the clock at least once since. */
async function turnOfTheWheel(): Promise<void> {
  const began = performance.now();
  await until(() => performance.now() - began > 50, 1_000, "a turn");
}

const DONE: ModelPart[] = [says("done"), finishes()];

test("three tools that wait for one another finish: calls run side by side", async () => {
  const here = [deferred(), deferred(), deferred()];
  const all = Promise.all(here.map(({ promise }) => promise));
  const runtime = await startRuntime({
    model: new TestModel(
      [calls("meet", 0), calls("meet", 1), calls("meet", 2), finishes("tool-calls")],
      DONE,
    ),
    tools: [
      {
        name: "meet",
        inputSchema: {},
        execute: async (n) => {
          here[n as number]?.resolve();
          await all;
          return n;
        },
      },
    ],
  });
  const session = await runtime.session();
  assert.is((await runtime.run(session, "go")).reason, "text");
  assert.equal(violations(await runtime.log(session)), []);
});

test("results are in order of completion in the log, in order of the calls in the prompt", async () => {
  const turns = [deferred(), deferred(), deferred()];
  const model = new TestModel(
    [calls("wait", 0), calls("wait", 1), calls("wait", 2), finishes("tool-calls")],
    DONE,
  );
  const runtime = await startRuntime({
    model,
    tools: [{ name: "wait", inputSchema: {}, execute: (n) => turns[n as number]?.promise.then(() => n) }],
  });
  const session = await runtime.session();
  await runtime.send(session, "go");
  for (const n of [2, 0, 1]) {
    turns[n]?.resolve();
    await runtime.entry(session, "tool-result", (body) => body.output === n);
  }
  await runtime.entry(session, "run-finished");
  assert.equal(
    bodiesOf(await runtime.log(session), "tool-result").map(({ output }) => output),
    [2, 0, 1],
  );
  const results = model.requests[1]?.messages.find(({ role }) => role === "tool");
  assert.equal(results?.role === "tool" ? results.results.map(({ value }) => value) : [], [0, 1, 2]);
});

test("the message comes with its dispatches, the last result with the step's end", async () => {
  const runtime = await startRuntime({
    model: new TestModel([says("see"), calls("a"), calls("b"), finishes("tool-calls")], DONE),
    tools: ["a", "b"].map((name) => ({ name, inputSchema: {}, execute: () => name })),
  });
  const session = await runtime.session();
  await runtime.run(session, "go");
  const log = await runtime.log(session);
  const types = typesOf(log);
  const said = types.indexOf("message", 4);
  assert.equal(types.slice(said, said + 3), ["message", "tool-dispatched", "tool-dispatched"]);
  const end = types.indexOf("step-finished");
  assert.is(types[end - 1], "tool-result");
  assert.is(types.filter((type) => type === "tool-result").length, 2);
  assert.equal(violations(log), []);
});

test("toolChoice holds for the first step, later ones are free", async () => {
  for (const toolChoice of ["required", { tool: "work" }] as const) {
    const model = new TestModel(
      [calls("work"), finishes("tool-calls")],
      [calls("work"), finishes("tool-calls")],
      DONE,
    );
    const runtime = await startRuntime({
      model,
      agent: { toolChoice },
      tools: [{ name: "work", inputSchema: {}, execute: () => 1 }],
    });
    await runtime.run(await runtime.session(), "go");
    assert.equal(
      model.requests.map((request) => request.toolChoice),
      [toolChoice, "auto", "auto"],
    );
    await runtime.run(await runtime.session(), "again");
    assert.equal(model.requests[3]?.toolChoice, toolChoice, "of each run");
  }
});

test("toolChoice none holds throughout", async () => {
  const model = new TestModel([calls("work"), finishes("tool-calls")], DONE);
  const runtime = await startRuntime({
    model,
    agent: { toolChoice: "none" },
    tools: [{ name: "work", inputSchema: {}, execute: () => 1 }],
  });
  await runtime.run(await runtime.session(), "go");
  assert.equal(
    model.requests.map((request) => request.toolChoice),
    ["none", "none"],
  );
});

test("the model reads instructions, tools and whether to reason", async () => {
  const model = new TestModel(DONE);
  const inputSchema = { type: "object", properties: { city: { type: "string" } } };
  const runtime = await startRuntime({
    model,
    agent: { instructions: "Be brief.", reasoning: true, tools: ["weather"] },
    tools: [
      { name: "weather", description: "of a city", inputSchema, execute: () => 1 },
      { name: "hidden", inputSchema: {}, execute: () => 1 },
    ],
  });
  await runtime.run(await runtime.session(), "hello");
  const [request] = model.requests;
  assert.is(request?.instructions, "Be brief.");
  assert.is(request?.reasoning, true);
  assert.equal(request?.tools, [{ name: "weather", description: "of a city", inputSchema }]);
  assert.equal(request?.messages, [
    {
      role: "user",
      parts: [
        { type: "author", text: '{"author":"ada","user":"ada"}' },
        { type: "text", text: "hello" },
      ],
    },
  ]);
});

test("a model that fails before its first part is asked again, as often as it says it may help, three times in all", async () => {
  const failing: Turn = () => {
    throw new ModelError("overloaded", "later", { retryable: true, retryAfterMs: 1 });
  };
  const twice = new TestModel(failing, failing, DONE);
  const runtime = await startRuntime({ model: twice });
  assert.is((await runtime.run(await runtime.session(), "go")).reason, "text");
  assert.is(twice.requests.length, 3);

  const always = new TestModel(failing);
  const other = await startRuntime({ model: always });
  const session = await other.session();
  const end = await other.run(session, "go");
  assert.equal([end.reason, end.error?.code], ["error", "overloaded"]);
  assert.is(always.requests.length, 3);
  assert.equal(bodiesOf(await other.log(session), "message-abandoned"), [], "nothing was shown");
  assert.equal(violations(await other.log(session)), []);
});

test("a failure that will not pass is not tried again", async () => {
  const model = new TestModel(() => {
    throw new ModelError("bad-request", "no");
  });
  const runtime = await startRuntime({ model });
  assert.is((await runtime.run(await runtime.session(), "go")).reason, "error");
  assert.is(model.requests.length, 1);
});

test("a failure after the first part is not tried again", async () => {
  const model = new TestModel(async function* () {
    yield thinks("hm");
    throw new ModelError("overloaded", "later", { retryable: true, retryAfterMs: 1 });
  });
  const runtime = await startRuntime({ model });
  const session = await runtime.session();
  assert.is((await runtime.run(session, "go")).reason, "error");
  assert.is(model.requests.length, 1);
  assert.is(bodiesOf(await runtime.log(session), "message-abandoned").length, 1);
});

test("retry-after is waited for, up to a minute", async () => {
  for (const [asked, waited] of [
    [5_000, 5_000],
    [600_000, 60_000],
  ] as const) {
    const clock = new Clock();
    const model = new TestModel(() => {
      throw new ModelError("rate-limited", "later", { retryable: true, retryAfterMs: asked });
    }, DONE);
    const runtime = await startRuntime({ model, now: clock.now });
    const session = await runtime.session();
    await runtime.send(session, "go");
    await until(() => model.requests.length === 1, 5_000, "the first try");
    await new Promise(setImmediate);
    clock.advance(waited - 100);
    await turnOfTheWheel();
    assert.is(model.requests.length, 1);
    clock.advance(200);
    await runtime.entry(session, "run-finished");
    assert.is(model.requests.length, 2);
  }
});

test("a stream that ends without a finish is a failed one", async () => {
  const silent = await startRuntime({ model: new TestModel([]) });
  // Nothing was shown, so it is tried again: only the last failure counts.
  const empty = await silent.run(await silent.session(), "go");
  assert.equal([empty.reason, empty.error?.code], ["error", "incomplete"]);
  const spoken = await startRuntime({ model: new TestModel([says("half an ans")]) });
  const session = await spoken.session();
  assert.is((await spoken.run(session, "go")).reason, "error");
  assert.is(bodiesOf(await spoken.log(session), "message-abandoned")[0]?.text, "half an ans");
});

test("every attempt has a message id of its own, deltas too", async () => {
  const runtime = await startRuntime({
    model: new TestModel(
      async function* () {
        yield says("one");
        throw new ModelError("x", "x");
      },
      [says("two"), finishes()],
    ),
  });
  const session = await runtime.session();
  await runtime.run(session, "go");
  await runtime.run(session, "go on");
  const ids = runtime.events.all.flatMap((event) => (event.type === "delta" ? [event.message] : []));
  assert.is(new Set(ids).size, 2);
  const log = await runtime.log(session);
  assert.is(bodiesOf(log, "message-abandoned")[0]?.message, ids[0]);
  assert.is(bodiesOf(log, "message").at(-1)?.message.id, ids[1]);
});

test("deltas carry offsets that add up to the committed text, reasoning and text apart", async () => {
  const model = new TestModel([
    thinks("let "),
    thinks("me"),
    says("a\ud83d"),
    thinks(" see"),
    says("\ude00b"),
    says("c", "second"),
    finishes(),
  ]);
  const runtime = await startRuntime({ model });
  const session = await runtime.session();
  await runtime.run(session, "go");
  const parts = new Map<number, { kind: string; text: string }>();
  for (const event of runtime.events.all) {
    if (event.type !== "delta") continue;
    const part = parts.get(event.part) ?? { kind: event.kind, text: "" };
    assert.is(event.offset, part.text.length);
    assert.is(event.kind, part.kind);
    assert.ok(event.text.isWellFormed());
    parts.set(event.part, { ...part, text: part.text + event.text });
  }
  const said = bodiesOf(await runtime.log(session), "message").at(-1)?.message.parts;
  assert.equal(
    [...parts.values()].map(({ kind, text }) => ({ type: kind, text })),
    said,
  );
  assert.equal(said, [
    { type: "reasoning", text: "let me see" },
    { type: "text", text: "a😀b" },
    { type: "text", text: "c" },
  ]);
});

test("input that is no JSON, breaks the schema, or is for a tool that is not there: the model reads why, nobody executes", async () => {
  const executed: unknown[] = [];
  const model = new TestModel(
    [
      callsWith("work", "{not json"),
      calls("work", { n: "x" }),
      calls("nobody"),
      calls("work", { n: 1 }),
      finishes("tool-calls"),
    ],
    DONE,
  );
  const inputSchema = { type: "object", properties: { n: { type: "number" } }, required: ["n"] };
  const runtime = await startRuntime({
    model,
    tools: [{ name: "work", inputSchema, execute: (input) => executed.push(input) }],
  });
  const session = await runtime.session();
  await runtime.run(session, "go");
  assert.equal(executed, [{ n: 1 }]);
  const asked = bodiesOf(await runtime.log(session), "message")[1]?.message.parts ?? [];
  const outcomes = new Map(
    bodiesOf(await runtime.log(session), "tool-result").map((body) => [body.call, body.outcome]),
  );
  assert.equal(
    asked.map((part) => (part.type === "dynamic-tool" ? outcomes.get(part.toolCallId) : "")),
    ["invalid-input", "invalid-input", "unavailable", "ok"],
  );
  const read = model.requests[1]?.messages.at(-1);
  assert.match(JSON.stringify(read), /JSON.*number.*no tool nobody/);
  assert.equal(violations(await runtime.log(session)), []);
});

test("a step whose calls are all refused goes on at once", async () => {
  const runtime = await startRuntime({
    model: new TestModel([calls("nobody"), finishes("tool-calls")], DONE),
  });
  const session = await runtime.session();
  await runtime.run(session, "go");
  assert.equal(typesOf(await runtime.log(session)).slice(4), [
    "message",
    "tool-result",
    "step-finished",
    "message",
    "step-finished",
    "run-finished",
  ]);
});

test("usage is each step's, and the run's is their sum", async () => {
  const runtime = await startRuntime({
    model: new TestModel(
      [calls("nobody"), finishes("tool-calls", { inputTokens: 10, outputTokens: 4, cachedInputTokens: 8 })],
      [says("x"), finishes("stop", { inputTokens: 20, outputTokens: 1, reasoningTokens: 1 })],
    ),
  });
  const end = await runtime.run(await runtime.session(), "go");
  assert.equal(end.usage, { inputTokens: 30, outputTokens: 5, cachedInputTokens: 8, reasoningTokens: 1 });
});

test.run();
