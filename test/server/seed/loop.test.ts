/**
 * The rest of what the seed's suites asserted, at the edges of its methods and its loop: what is listed, forwarded, seen
 * and kept. Its events by our names: TextDelta and ThinkingDelta are deltas, ToolCallsStart is the message with calls,
 * ToolCallsComplete is step-finished, Done is run-finished.
 */
import type { AgentEvent } from "../../../server/hook.ts";
import { ModelError } from "../../../server/model/model.ts";
import type { AgentResponse } from "../../../server/reader.ts";
import { EmbeddedStore } from "../../../server/store/embedded.ts";
import { MemoryStore } from "../../../server/store/memory.ts";
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
import { TestProvider, tool as offered } from "../tool/provider.ts";

const test = suite("the rest of the seed's behaviours");
test.after.each(closeRuntimes);

const echo: LocalTool = { name: "echo", inputSchema: {}, execute: (input) => input };
const DONE = [says("done"), finishes()];
const talk = (): TestModel => new TestModel(DONE);

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

async function collect(stream: AsyncIterable<AgentEvent>): Promise<AgentEvent[]> {
  const events: AgentEvent[] = [];
  for await (const event of stream) events.push(event);
  return events;
}

const typeOf = (event: AgentEvent): string => (event.type === "event" ? event.event.type : event.type);

test("all agents are listed; one of the same name takes the place of the first", async () => {
  const { runtime } = await startRuntime();
  await runtime.addAgent({ name: "b" });
  await runtime.addAgent({ name: "a" });
  await runtime.addAgent({ name: "b", description: "new" });
  assert.equal(
    runtime.agents().map(({ name }) => name),
    ["a", "b", "demo"],
  );
  assert.is(runtime.agent("b")?.description, "new");
});

test("a session keeps its id in another runtime", async () => {
  const store = new MemoryStore();
  const first = await startRuntime({ model: talk(), store });
  const id = await first.runtime.createSession("demo");
  await first.runtime.sendTo(id, "hi");
  await closeRuntimes();
  const second = await startRuntime({ model: talk(), store });
  assert.is((await second.runtime.session(id))?.messages.length, 2);
  await second.runtime.sendTo(id, "hi again");
  assert.is((await second.runtime.session(id))?.messages.length, 4);
});

test("what a stream yields is what its hook is told of the run", async () => {
  const told: AgentEvent[] = [];
  const hook = { onEvent: (_context: unknown, event: AgentEvent) => void told.push(event) };
  const { runtime } = await startRuntime({
    hook,
    model: new TestModel([thinks("hm"), calls("nobody"), finishes("tool-calls")], [says("done"), finishes()]),
  });
  const events = await collect(runtime.streamTo(await runtime.createSession("demo"), "go"));
  const joined = (all: AgentEvent[]): string[] =>
    all.map(typeOf).filter((type, n, types) => type !== "delta" || types[n - 1] !== "delta");
  assert.equal(joined(events), joined(told.filter(({ run }) => run !== undefined)));
});

test("a failing model ends the stream with an error, and the next send works", async () => {
  const { runtime } = await startRuntime({
    model: new TestModel(() => {
      throw new ModelError("down", "the provider is down");
    }, [says("back"), finishes()]),
  });
  const id = await runtime.createSession("demo");
  const last = (await collect(runtime.streamTo(id, "hi"))).at(-1);
  assert.ok(last?.type === "event" && last.event.type === "run-finished" && last.event.reason === "error");
  assert.is((await runtime.sendTo(id, "hi")).finalResponse, "back");
});

test("sixteen iterations at most, unless told; at most two when told two", async () => {
  const model = () => new TestModel([calls("echo"), finishes("tool-calls")]);
  const usual = await respond({ model: model() });
  assert.equal([usual.stopReason, usual.iterations], ["max-steps", 16]);
  const two = await respond({ model: model(), agent: { maxSteps: 2 } });
  assert.equal([two.stopReason, two.iterations], ["max-steps", 2]);
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

test("an assistant that only calls has no text part, one that only speaks no call", async () => {
  const response = await respond({ model: new TestModel([calls("echo"), finishes("tool-calls")], DONE) });
  assert.equal(
    response.steps.map(({ message }) => message.parts.map(({ type }) => type)),
    [["dynamic-tool"], ["text"]],
  );
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
