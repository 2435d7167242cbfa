/**
 * What the suites of the seed asserted of its loop, messages, dispatch and persistence, the later additions that were worth
 * keeping included. Its events by our names: TextDelta and ThinkingDelta are deltas, ToolCallsStart is the message with
 * calls, ToolResult is tool-result, ToolCallsComplete is step-finished, Done is run-finished.
 */
import type { AgentEvent } from "../../../server/hook.ts";
import { ModelError } from "../../../server/model/model.ts";
import type { AgentResponse } from "../../../server/reader.ts";
import { EmbeddedStore } from "../../../server/store/embedded.ts";
import type { LocalTool } from "../../../server/tool/local.ts";
import { temporaryDirectory } from "../../support/process.ts";
import {
  bodiesOf,
  calls,
  closeRuntimes,
  finishes,
  says,
  startRuntime,
  TestModel,
  thinks,
  type RuntimeSetup,
} from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { deferred } from "../../support/wait.ts";
import { TestProvider, tool as offered } from "../tool/provider.ts";

const test = suite("the seed's loop");
test.after.each(closeRuntimes);

const echo: LocalTool = { name: "echo", inputSchema: {}, execute: (input) => input };
const DONE = [says("done"), finishes()];

async function respond(setup: RuntimeSetup): Promise<AgentResponse> {
  const { runtime } = await startRuntime({ tools: [echo], ...setup });
  return runtime.sendTo(await runtime.createSession("demo"), "go");
}

async function eventsOf(setup: RuntimeSetup): Promise<string[]> {
  const { runtime } = await startRuntime({ tools: [echo], ...setup });
  const types: string[] = [];
  for await (const event of runtime.streamTo(await runtime.createSession("demo"), "go"))
    types.push(nameOf(event));
  return types;
}

function nameOf(event: AgentEvent): string {
  if (event.type === "delta") return event.kind;
  const { event: body } = event;
  if (body.type !== "message") return body.type;
  return body.message.parts.some(({ type }) => type === "dynamic-tool")
    ? "message with calls"
    : body.message.role;
}

// --- loop ---

test("text: one iteration", async () => {
  const response = await respond({ model: new TestModel(DONE) });
  assert.equal([response.iterations, response.steps.length, response.stopReason], [1, 1, "text"]);
});

test("a tool, then text: two iterations, two steps", async () => {
  const response = await respond({ model: new TestModel([calls("echo"), finishes("tool-calls")], DONE) });
  assert.equal([response.iterations, response.steps.length, response.finalResponse], [2, 2, "done"]);
});

test("calls start, their results come, then the step is complete", async () => {
  const types = await eventsOf({ model: new TestModel([calls("echo"), finishes("tool-calls")], DONE) });
  const order = ["message with calls", "tool-result", "step-finished"].map((type) => types.indexOf(type));
  assert.ok(order[0]! >= 0 && order[0]! < order[1]! && order[1]! < order[2]!, types.join());
});

test("two calls in one step have two results", async () => {
  const response = await respond({
    model: new TestModel([calls("echo", 1), calls("echo", 2), finishes("tool-calls")], DONE),
  });
  assert.equal(
    response.steps[0]?.results.map(({ output }) => output),
    [1, 2],
  );
});

test("sixteen iterations at most, unless told; at most two when told two", async () => {
  const model = () => new TestModel([calls("echo"), finishes("tool-calls")]);
  const usual = await respond({ model: model() });
  assert.equal([usual.stopReason, usual.iterations], ["max-steps", 16]);
  const two = await respond({ model: model(), agent: { maxSteps: 2 } });
  assert.equal([two.stopReason, two.iterations], ["max-steps", 2]);
});

test("an empty reply is no action", async () => {
  assert.is((await respond({ model: new TestModel([finishes()]) })).stopReason, "no-action");
});

test("a provider's error ends the run as an error, with its words", async () => {
  const response = await respond({
    model: new TestModel(() => {
      throw new ModelError("down", "the provider is down");
    }),
  });
  assert.equal([response.stopReason, response.error?.message], ["error", "the provider is down"]);
});

test("thinking is surfaced", async () => {
  assert.equal((await eventsOf({ model: new TestModel([thinks("hm"), ...DONE]) })).slice(2, 4), [
    "reasoning",
    "text",
  ]);
});

test("all events are forwarded, the end too, and nothing comes after it", async () => {
  const types = await eventsOf({
    model: new TestModel([thinks("hm"), calls("echo"), finishes("tool-calls")], DONE),
  });
  assert.equal(
    types.filter((type) => !type.startsWith("tool-")),
    [
      "run-started",
      "user",
      "reasoning",
      "message with calls",
      "step-finished",
      "text",
      "assistant",
      "step-finished",
      "run-finished",
    ],
  );
});

// --- one step ---

test("a step leaves the input, the asking and its result in the history", async () => {
  const model = new TestModel([calls("echo", { a: 1 }), finishes("tool-calls")], DONE);
  await respond({ model });
  assert.equal(
    model.requests[1]?.messages.map(({ role }) => role),
    ["user", "assistant", "tool"],
  );
});

test("a call that nobody executes is answered, not left open", async () => {
  const model = new TestModel([calls("echo"), finishes("tool-calls")], DONE);
  const response = await respond({ model, tools: [] });
  assert.equal(
    response.steps[0]?.results.map(({ outcome }) => outcome),
    ["unavailable"],
  );
  assert.is(response.stopReason, "text");
});

test("an assistant that only calls has no text part, one that only speaks no call", async () => {
  const response = await respond({ model: new TestModel([calls("echo"), finishes("tool-calls")], DONE) });
  assert.equal(
    response.steps.map(({ message }) => message.parts.map(({ type }) => type)),
    [["dynamic-tool"], ["text"]],
  );
});

// --- later additions ---

test("calls run at the same time: the last to begin may be the first to end", async () => {
  const stored = [deferred(), deferred(), deferred()];
  const response = await respond({
    model: new TestModel(
      [calls("slow", 0), calls("slow", 1), calls("slow", 2), finishes("tool-calls")],
      DONE,
    ),
    // Each waits until the one after it has its result in the log.
    tools: [
      {
        name: "slow",
        inputSchema: {},
        execute: (n) => stored[(n as number) + 1]?.promise.then(() => n) ?? n,
      },
    ],
    hook: {
      onEvent: (_context, event) => {
        if (event.type === "event" && event.event.type === "tool-result")
          stored[event.event.output as number]?.resolve();
      },
    },
  });
  assert.equal(
    response.steps[0]?.results.map(({ output }) => output),
    [2, 1, 0],
  );
  const asked = response.steps[0]?.message.parts.map((part) =>
    part.type === "dynamic-tool" ? part.input : part.type,
  );
  assert.equal(asked, [0, 1, 2], "in the history they stand as they were asked");
});

test("a tool's error is marked, and its words are in the history", async () => {
  const model = new TestModel([calls("bad"), finishes("tool-calls")], DONE);
  const response = await respond({
    model,
    tools: [
      {
        name: "bad",
        inputSchema: {},
        execute: () => {
          throw new Error("no such file");
        },
      },
    ],
  });
  assert.is(response.steps[0]?.results[0]?.outcome, "error");
  const read = model.requests[1]?.messages.at(-1);
  assert.ok(read?.role === "tool" && read.results[0]?.ok === false);
  assert.match(JSON.stringify(read), /no such file/);
});

test("text and thinking are parts of their own, in order, closed before the calls", async () => {
  const response = await respond({
    model: new TestModel(
      [thinks("a"), says("b"), thinks("c", "1"), calls("echo"), finishes("tool-calls")],
      DONE,
    ),
  });
  assert.equal(
    response.steps[0]?.message.parts.map(({ type }) => type),
    ["reasoning", "text", "reasoning", "dynamic-tool"],
  );
});

test("usage and model are in the end", async () => {
  const response = await respond({ model: new TestModel([calls("echo"), finishes("tool-calls")], DONE) });
  assert.equal([response.model, response.usage], ["test", { inputTokens: 6, outputTokens: 4 }]);
});

// --- dispatch ---

test("a filter shows and executes what it names; an empty one shows all", async () => {
  const tools = ["a", "b"].map((name) => ({ ...echo, name }));
  for (const [filter, shown, outcomes] of [
    [["a"], ["a"], ["ok", "unavailable"]],
    [[], ["a", "b"], ["ok", "ok"]],
    [["nobody"], [], ["unavailable", "unavailable"]],
  ] as const) {
    const model = new TestModel([calls("a"), calls("b"), finishes("tool-calls")], DONE);
    const response = await respond({ model, tools, agent: { tools: [...filter] } });
    assert.equal(
      model.requests[0]?.tools.map(({ name }) => name),
      shown,
    );
    assert.equal(response.steps[0]?.results.map(({ outcome }) => outcome).toSorted(), outcomes.toSorted());
  }
});

test("tools of another scope are rejected at the dispatch, whatever the prompt says", async () => {
  const test = await startRuntime({ model: new TestModel([calls("secret"), finishes("tool-calls")], DONE) });
  const [mine, other] = [await test.session(), await test.session()];
  const provider = new TestProvider(test.runtime, "prv_a");
  provider.offer([offered("secret")], { session: other });
  await test.run(mine, "go");
  assert.is(bodiesOf(await test.log(mine), "tool-result")[0]?.outcome, "unavailable");
  assert.equal(provider.calls, []);
});

test("a tool that was registered later is the next run's", async () => {
  const model = new TestModel(DONE);
  const { runtime } = await startRuntime({ model });
  const session = await runtime.createSession("demo");
  await runtime.sendTo(session, "one");
  runtime.registerTool(echo);
  await runtime.sendTo(session, "two");
  assert.equal(
    model.requests.map(({ tools }) => tools.length),
    [0, 1],
  );
});

// --- persistence ---

test("a session's history is the same after a restart, calls and results included", async () => {
  const directory = temporaryDirectory();
  const setup = async (): Promise<RuntimeSetup> => ({
    store: await EmbeddedStore.open(directory),
    tools: [echo],
    model: new TestModel([thinks("hm"), calls("echo", { n: 1 }), finishes("tool-calls")], DONE),
  });
  const first = await startRuntime(await setup());
  const session = await first.session({ title: "Ours", metadata: { of: ["ada"] } });
  await first.run(session, [
    { type: "text", text: "go" },
    { type: "data-note", data: { n: 1 } },
  ]);
  const before = await first.state(session);
  await closeRuntimes();
  const second = await startRuntime(await setup());
  assert.equal(await second.state(session), before);
});

test("what the server adds to a prompt is in no history", async () => {
  const model = new TestModel(DONE);
  const runtime = await startRuntime({ model, agent: { instructions: "Be brief." } });
  const session = await runtime.session();
  await runtime.run(session, "hello");
  const log = JSON.stringify(await runtime.log(session));
  assert.is(log.includes("Be brief."), false);
  assert.is(log.includes('{\\"author\\"'), false);
});

test.run();
