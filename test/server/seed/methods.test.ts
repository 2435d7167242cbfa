/**
 * What the first suite of the seed asserted of its runtime's methods: agents, sessions, sending, streaming. Only its faults
 * are not kept: an unknown session is a typed error here, not an end with an error's words in it. Bugs: ../seed.test.ts.
 */
import { ProtocolError } from "../../../protocol/errors.ts";
import type { AgentEvent } from "../../../server/hook.ts";
import { ModelError } from "../../../server/model/model.ts";
import { MemoryStore } from "../../../server/store/memory.ts";
import {
  calls,
  closeRuntimes,
  finishes,
  says,
  startRuntime,
  TestModel,
  thinks,
} from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";

const test = suite("the seed's methods");
test.after.each(closeRuntimes);

const talk = (): TestModel => new TestModel([says("hel"), says("lo"), finishes()]);

async function runtimeOf(model = talk()) {
  return (await startRuntime({ model })).runtime;
}

async function collect(stream: AsyncIterable<AgentEvent>): Promise<AgentEvent[]> {
  const events: AgentEvent[] = [];
  for await (const event of stream) events.push(event);
  return events;
}

const typeOf = (event: AgentEvent): string => (event.type === "event" ? event.event.type : event.type);

// --- registry ---

test("an agent that is added is found again, a missing one is none", async () => {
  const runtime = await runtimeOf();
  await runtime.addAgent({ name: "other", description: "the other" });
  assert.is(runtime.agent("other")?.description, "the other");
  assert.is(runtime.agent("missing"), undefined);
  assert.is(runtime.getAgent("missing"), undefined);
});

test("all agents are listed; one of the same name takes the place of the first", async () => {
  const runtime = await runtimeOf();
  await runtime.addAgent({ name: "b" });
  await runtime.addAgent({ name: "a" });
  await runtime.addAgent({ name: "b", description: "new" });
  assert.equal(
    runtime.agents().map(({ name }) => name),
    ["a", "b", "demo"],
  );
  assert.is(runtime.agent("b")?.description, "new");
});

test("a tool that is registered is unregistered: true, the second time false", async () => {
  const runtime = await runtimeOf();
  runtime.registerTool({ name: "clock", inputSchema: {}, execute: () => 1 });
  assert.equal([runtime.unregisterTool("clock"), runtime.unregisterTool("clock")], [true, false]);
});

// --- sessions ---

test("a session needs a registered agent", async () => {
  const runtime = await runtimeOf();
  const error = await assert.rejects(runtime.createSession("nobody", "ada"), /not registered/);
  assert.is((error as ProtocolError).code, "not-found");
});

test("a session is created, got, and closed: true, then false; it stays readable", async () => {
  const runtime = await runtimeOf();
  const id = await runtime.createSession("demo", "ada");
  const state = await runtime.session(id);
  assert.equal([state?.session.id, state?.session.agent, state?.session.owner], [id, "demo", "ada"]);
  assert.equal([await runtime.closeSession(id), await runtime.closeSession(id)], [true, false]);
  assert.is((await runtime.session(id))?.session.state, "closed");
  assert.is(await runtime.closeSession("ses_never"), false);
  assert.is(await runtime.session("ses_never"), undefined);
});

test("all sessions are listed, their ids differ", async () => {
  const runtime = await runtimeOf();
  const made = [
    await runtime.createSession("demo"),
    await runtime.createSession("demo"),
    await runtime.createSession("demo"),
  ];
  const listed: string[] = [];
  for await (const id of runtime.sessions()) listed.push(id);
  assert.is(new Set(made).size, 3);
  assert.equal(listed.toSorted(), made.toSorted());
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

// --- send ---

test("a send answers the final text and why it ended", async () => {
  const runtime = await runtimeOf();
  const response = await runtime.sendTo(await runtime.createSession("demo"), "hi");
  assert.equal([response.finalResponse, response.stopReason], ["hello", "text"]);
});

test("a send to a session that is not there is not found", async () => {
  const runtime = await runtimeOf();
  const error = await assert.rejects(runtime.sendTo("ses_never", "hi"), ProtocolError);
  assert.is((error as ProtocolError).code, "not-found");
});

test("two sends leave four messages", async () => {
  const runtime = await runtimeOf();
  const id = await runtime.createSession("demo");
  await runtime.sendTo(id, "one");
  await runtime.sendTo(id, "two");
  assert.equal(
    (await runtime.session(id))?.messages.map(({ role }) => role),
    ["user", "assistant", "user", "assistant"],
  );
});

// --- stream ---

test("a stream's deltas add up to the text, and its last event is the end with the same text", async () => {
  const runtime = await runtimeOf();
  const id = await runtime.createSession("demo");
  const events = await collect(runtime.streamTo(id, "hi"));
  const text = events.map((event) => (event.type === "delta" ? event.text : "")).join("");
  assert.is(text, "hello");
  const last = events.at(-1);
  assert.ok(last?.type === "event" && last.event.type === "run-finished");
  assert.equal(
    last?.type === "event" && last.event.type === "run-finished" ? [last.event.text, last.event.reason] : [],
    ["hello", "text"],
  );
  assert.is((await runtime.session(id))?.messages.length, 2);
});

test("a stream to a session that is not there throws what a send throws", async () => {
  const runtime = await runtimeOf();
  const error = await assert.rejects(collect(runtime.streamTo("ses_never", "hi")), ProtocolError);
  assert.is((error as ProtocolError).code, "not-found");
});

test("both ways of sending tell the hook the same events, live", async () => {
  const told: string[][] = [];
  const hook = { onEvent: (_context: unknown, event: AgentEvent) => void told.at(-1)?.push(typeOf(event)) };
  const { runtime } = await startRuntime({ model: talk(), hook });
  const id = await runtime.createSession("demo");
  told.push([]);
  await runtime.sendTo(id, "one");
  told.push([]);
  await collect(runtime.streamTo(id, "two"));
  assert.equal(told[0], told[1]);
  assert.equal(told[0]?.at(-1), "run-finished");
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
  const runtime = await runtimeOf(
    new TestModel(() => {
      throw new ModelError("down", "the provider is down");
    }, [says("back"), finishes()]),
  );
  const id = await runtime.createSession("demo");
  const last = (await collect(runtime.streamTo(id, "hi"))).at(-1);
  assert.ok(last?.type === "event" && last.event.type === "run-finished" && last.event.reason === "error");
  assert.is((await runtime.sendTo(id, "hi")).finalResponse, "back");
});

test.run();
