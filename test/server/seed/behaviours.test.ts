/**
 * What the system that this one re-imagines did right: one test for each behaviour that its later suites asserted, held
 * against the embeddable runtime. Owns that list; where we answer otherwise on purpose, the name of the test says how.
 * Behaviours of its gateway and codec are held by test/protocol and test/e2e, of its persistence by the store contract.
 */
import type { AgentEvent } from "../../../server/hook.ts";
import type { ModelPart } from "../../../server/model/model.ts";
import { ModelError } from "../../../server/model/model.ts";
import type { Runtime } from "../../../server/runtime.ts";
import {
  calls,
  closeRuntimes,
  finishes,
  says,
  startRuntime,
  TestModel,
  thinks,
  typesOf,
  type TestRuntime,
} from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { deferred } from "../../support/wait.ts";

const test = suite("behaviours of the seed");
test.after.each(closeRuntimes);

const look = { name: "look", inputSchema: {}, execute: () => "seen" };
const answers: ModelPart[] = [says("hello "), says("there"), finishes()];

async function collect(runtime: Runtime, session: string, text = "hi"): Promise<AgentEvent[]> {
  const events: AgentEvent[] = [];
  for await (const event of runtime.streamTo(session, text, "ann")) events.push(event);
  return events;
}

function bodies(events: readonly AgentEvent[]): string[] {
  return events.flatMap((event) => (event.type === "event" ? [event.event.type] : []));
}

async function talking(model: TestModel, setup: Partial<Parameters<typeof startRuntime>[0]> = {}) {
  const runtime: TestRuntime = await startRuntime({ model, ...setup });
  return {
    runtime: runtime.runtime,
    session: await runtime.runtime.createSession("demo", "ann"),
    test: runtime,
  };
}

// --- registry ---

test("an agent that was added is found, one that was not is not, and all are listed by name", async () => {
  const { runtime } = await startRuntime();
  await runtime.addAgent({ name: "another", description: "of two" });
  assert.is(runtime.agent("another")?.description, "of two");
  assert.is(runtime.agent("nobody"), undefined);
  assert.equal(
    runtime.agents().map(({ name }) => name),
    ["another", "demo"],
  );
});

test("a tool is unregistered once: true, then false", async () => {
  const { runtime } = await startRuntime({ tools: [look] });
  assert.is(runtime.unregisterTool("look"), true);
  assert.is(runtime.unregisterTool("look"), false);
});

// --- sessions ---

test("a session needs a registered agent", async () => {
  const { runtime } = await startRuntime();
  const error = await assert.rejects(runtime.createSession("nobody", "ann"), /agent 'nobody' not registered/);
  assert.is(error.code, "not-found");
});

test("a session is closed once: true, then false; it stays readable and takes nothing more", async () => {
  const { runtime, session } = await talking(new TestModel(answers));
  assert.is(await runtime.closeSession(session), true);
  assert.is(await runtime.closeSession(session), false);
  assert.is((await runtime.session(session))?.session.state, "closed");
  const refused = await assert.rejects(runtime.sendTo(session, "hi"));
  assert.is(refused.code, "closed");
});

test("a session that never was is undefined, and closing it is false", async () => {
  const { runtime } = await startRuntime();
  assert.is(await runtime.session("nothing"), undefined);
  assert.is(await runtime.closeSession("nothing"), false);
});

test("all sessions are listed", async () => {
  const { runtime } = await startRuntime();
  const made = [await runtime.createSession("demo"), await runtime.createSession("demo")];
  const listed: string[] = [];
  for await (const id of runtime.sessions()) listed.push(id);
  assert.equal(listed.sort(), made.sort());
});

// --- sending ---

test("sending answers the text and why the run ended", async () => {
  const { runtime, session } = await talking(new TestModel(answers));
  const { finalResponse, stopReason, iterations } = await runtime.sendTo(session, "hi", "ann");
  assert.equal([finalResponse, stopReason, iterations], ["hello there", "text", 1]);
});

test("sending to a session that is not there throws not-found", async () => {
  const { runtime } = await startRuntime();
  assert.is((await assert.rejects(runtime.sendTo("nothing", "hi"), /nothing/)).code, "not-found");
});

test("two sends make a history of four messages", async () => {
  const { runtime, session } = await talking(new TestModel(answers));
  await runtime.sendTo(session, "one");
  await runtime.sendTo(session, "two");
  assert.is((await runtime.session(session))?.messages.length, 4);
});

// --- streaming ---

test("the streamed text is the final text, the last event ends the run, the history has both messages", async () => {
  const { runtime, session } = await talking(new TestModel(answers));
  const events = await collect(runtime, session);
  const text = events.map((event) => (event.type === "delta" ? event.text : "")).join("");
  const last = events.at(-1);
  assert.ok(last?.type === "event" && last.event.type === "run-finished");
  assert.equal([text, last.event.text], ["hello there", "hello there"]);
  assert.is((await runtime.session(session))?.messages.length, 2);
});

test("streaming to a session that is not there throws not-found, where the seed ended with a text", async () => {
  const { runtime } = await startRuntime();
  assert.is((await assert.rejects(collect(runtime, "nothing"))).code, "not-found");
});

test("a hook sees every event of a run as it happens, for both ways of sending, the end included", async () => {
  const seen: string[] = [];
  const onEvent = (_: unknown, event: AgentEvent): void =>
    void seen.push(event.type === "event" ? event.event.type : event.kind);
  const { runtime, session } = await talking(new TestModel([thinks("hm"), ...answers]), {
    hook: { onEvent },
  });
  const streamed = await collect(runtime, session);
  const kinds = streamed.map((event) => (event.type === "event" ? event.event.type : event.kind));
  assert.equal(
    seen.filter((kind) => kind === "text" || kind === "reasoning" || kind === "run-finished"),
    kinds.filter((kind) => kind === "text" || kind === "reasoning" || kind === "run-finished"),
  );
  seen.length = 0;
  await runtime.sendTo(session, "again");
  assert.is(seen.at(-1), "run-finished");
  assert.ok(seen.includes("reasoning"));
});

// --- the loop ---

test("a tool, then text, are two steps, in the order call, result, step, text", async () => {
  const model = new TestModel([calls("look"), finishes("tool-calls")], answers);
  const { runtime, session } = await talking(model, { tools: [look] });
  const events = await collect(runtime, session);
  assert.equal(bodies(events), [
    "run-started",
    "message",
    "message",
    "tool-dispatched",
    ...bodies(events).filter((type) => type === "tool-accepted"),
    "tool-result",
    "step-finished",
    "message",
    "step-finished",
    "run-finished",
  ]);
});

test("sendTo answers each step with its results", async () => {
  const model = new TestModel([calls("look"), calls("look"), finishes("tool-calls")], answers);
  const { runtime, session } = await talking(model, { tools: [look] });
  const { steps, iterations } = await runtime.sendTo(session, "go");
  assert.is(iterations, 2);
  assert.equal(
    steps.map(({ results }) => results.map(({ output }) => output)),
    [["seen", "seen"], []],
  );
});

test("a run that only calls tools ends after maxSteps", async () => {
  const { runtime, session } = await talking(new TestModel([calls("look"), finishes("tool-calls")]), {
    agent: { maxSteps: 2 },
    tools: [look],
  });
  const { stopReason, iterations } = await runtime.sendTo(session, "go");
  assert.equal([stopReason, iterations], ["max-steps", 2]);
});

test("an empty reply is no action", async () => {
  const { runtime, session } = await talking(new TestModel([finishes()]));
  assert.is((await runtime.sendTo(session, "go")).stopReason, "no-action");
});

test("a model's error ends the run with it", async () => {
  const failing = async function* (): AsyncGenerator<ModelPart> {
    yield* [];
    throw new ModelError("overloaded", "too much to do");
  };
  const { runtime, session } = await talking(new TestModel(failing));
  const { stopReason, error } = await runtime.sendTo(session, "go");
  assert.equal([stopReason, error], ["error", { code: "overloaded", message: "too much to do" }]);
});

// --- tools ---

test("a result stands in the history with its call, and the model reads it", async () => {
  const model = new TestModel([calls("look"), finishes("tool-calls")], answers);
  const { runtime, session } = await talking(model, { tools: [look] });
  await runtime.sendTo(session, "go");
  const prompt = model.requests[1]!.messages;
  assert.equal(
    prompt.map(({ role }) => role),
    ["user", "assistant", "tool"],
  );
  const results = prompt[2]?.role === "tool" ? prompt[2].results : [];
  assert.equal(
    results.map(({ tool, ok, value }) => [tool, ok, value]),
    [["look", true, "seen"]],
  );
});

test("a tool that nothing executes is unavailable, and the run goes on", async () => {
  const model = new TestModel([calls("idle"), finishes("tool-calls")], answers);
  const { runtime, session, test: host } = await talking(model);
  runtime.registerTool({ name: "idle", inputSchema: {} });
  assert.is((await runtime.sendTo(session, "go")).stopReason, "text");
  const results = (await host.log(session)).filter(({ event }) => event.type === "tool-result");
  assert.equal(
    results.map(({ event }) => event.type === "tool-result" && event.outcome),
    ["unavailable"],
  );
});

test("an agent's filter keeps others out, at the offer and at the call; an empty one lets all in", async () => {
  const model = new TestModel([calls("other"), finishes("tool-calls")], answers);
  const other = { ...look, name: "other" };
  const {
    runtime,
    session,
    test: host,
  } = await talking(model, {
    agent: { tools: ["look", "unknown"] },
    tools: [look, other],
    router: { graceMs: 0 },
  });
  await runtime.sendTo(session, "go");
  assert.equal(
    model.requests[0]!.tools.map(({ name }) => name),
    ["look"],
  );
  const result = (await host.log(session)).find(({ event }) => event.type === "tool-result")?.event;
  assert.ok(result?.type === "tool-result" && result.outcome === "unavailable");
  await runtime.addAgent({ name: "open" });
  await runtime.sendTo(await runtime.createSession("open"), "go");
  assert.equal(
    model.requests.at(-1)!.tools.map(({ name }) => name),
    ["look", "other"],
  );
});

test("registering a name again replaces the tool", async () => {
  const model = new TestModel([calls("look"), finishes("tool-calls")], answers);
  const { runtime, session } = await talking(model, { tools: [look] });
  runtime.registerTool({ ...look, description: "better", execute: () => "seen better" });
  const { steps } = await runtime.sendTo(session, "go");
  assert.is(model.requests[0]!.tools[0]?.description, "better");
  assert.is(steps[0]?.results[0]?.output, "seen better");
});

test("calls of one step run side by side, results come as they are done, the model reads them as it asked", async () => {
  const gates = { slow: deferred(), quick: deferred() };
  const wait = (name: "slow" | "quick", next?: "slow") => ({
    name,
    inputSchema: {},
    execute: async () => {
      if (next !== undefined) setImmediate(() => gates[next].resolve());
      else await gates[name].promise;
      return name;
    },
  });
  const model = new TestModel([calls("slow"), calls("quick"), finishes("tool-calls")], answers);
  const { runtime, session } = await talking(model, { tools: [wait("slow"), wait("quick", "slow")] });
  const { steps } = await runtime.sendTo(session, "go");
  assert.equal(
    steps[0]?.results.map(({ output }) => output),
    ["quick", "slow"],
  );
  const read = model.requests[1]!.messages.at(-1);
  assert.ok(read?.role === "tool");
  assert.equal(
    read.results.map(({ value }) => value),
    ["slow", "quick"],
  );
});

test("a tool's error is marked as one, and its text is in the history", async () => {
  const broken = {
    ...look,
    execute: () => {
      throw new Error("the lamp is out");
    },
  };
  const {
    runtime,
    session,
    test: host,
  } = await talking(new TestModel([calls("look"), finishes("tool-calls")], answers), { tools: [broken] });
  await runtime.sendTo(session, "go");
  const state = await host.state(session);
  const part = state.messages.flatMap(({ parts }) => parts).find(({ type }) => type === "dynamic-tool");
  assert.ok(part?.type === "dynamic-tool" && part.state === "output-error");
  assert.match(part.errorText!, /the lamp is out/);
});

test("text and reasoning are parts of their own, in order, and stand before the calls", async () => {
  const model = new TestModel(
    [
      thinks("first ", "a"),
      thinks("this", "a"),
      says("then ", "b"),
      says("that", "b"),
      calls("look"),
      finishes(),
    ],
    answers,
  );
  const { runtime, session } = await talking(model, { tools: [look] });
  const { steps } = await runtime.sendTo(session, "go");
  assert.equal(
    steps[0]?.message.parts.map((part) => ("text" in part ? [part.type, part.text] : [part.type])),
    [["reasoning", "first this"], ["text", "then that"], ["dynamic-tool"]],
  );
});

test("nothing of a run is lost to the log: it has every step that the answer has", async () => {
  const {
    runtime,
    session,
    test: host,
  } = await talking(new TestModel([calls("look"), finishes("tool-calls")], answers), { tools: [look] });
  const { iterations } = await runtime.sendTo(session, "go");
  const steps = typesOf(await host.log(session)).filter((type) => type === "step-finished");
  assert.is(steps.length, iterations);
});

test.run();
