/**
 * Agents that are put, replaced and removed while the runtime runs: what is refused changes nothing, what was put is there
 * after a restart, and a run keeps the definition that it began with, its models and tools too, also over a restart.
 */
import type { AgentOptions } from "../../server/agent/agent.ts";
import { ModelError } from "../../server/model/model.ts";
import type { Model } from "../../server/model/model.ts";
import { MemoryStore } from "../../server/store/memory.ts";
import { StoreUnavailableError } from "../../server/store/store.ts";
import type { JsonValue } from "../../protocol/content.ts";
import type { ProtocolError } from "../../protocol/errors.ts";
import {
  bodiesOf,
  calls,
  closeRuntimes,
  finishes,
  says,
  script,
  startRuntime,
  TestModel,
  type RuntimeSetup,
  type TestRuntime,
} from "../support/runtime.ts";
import { assert, suite } from "../support/suite.ts";
import { deferred, until } from "../support/wait.ts";

const test = suite("agents put at run time");
test.after.each(closeRuntimes);

/** A store that the end of its runtime does not end, and whose next write of an agent may fail. */
class LastingStore extends MemoryStore {
  failing = false;
  /** Writes are done, and nobody is told before this. */
  answer: Promise<void> = Promise.resolve();

  override async close(): Promise<void> {}

  override async writeAgent(...given: Parameters<MemoryStore["writeAgent"]>): Promise<void> {
    if (this.failing) throw new StoreUnavailableError("the disk is gone");
    await super.writeAgent(...given);
    await this.answer;
  }
}

const put = (runtime: TestRuntime, agent: AgentOptions): Promise<{ version: number }> =>
  runtime.runtime.definitions.put(agent as unknown as Record<string, JsonValue>);

async function refused(promise: Promise<unknown>): Promise<[code: string, field: unknown]> {
  const error = (await assert.rejects(promise)) as unknown as ProtocolError;
  return [error.code, error.details?.["field"] ?? error.details?.["agent"]];
}

/** What is kept of a name: its current version, and all that there are. */
async function kept(
  store: MemoryStore,
  name: string,
): Promise<[current: number | undefined, versions: number[]]> {
  const row = (await store.agents()).find((each) => each.name === name);
  if (row?.body === undefined) return [undefined, []];
  const { current, versions } = JSON.parse(Buffer.from(row.body).toString()) as {
    current?: number;
    versions: { version: number }[];
  };
  return [current, versions.map(({ version }) => version)];
}

test("what is no definition, or names a model that cannot be used, is refused and changes nothing", async () => {
  const store = new LastingStore();
  const problem = (model: string): string | undefined => (model === "good" ? undefined : `no ${model}`);
  const runtime = await startRuntime({ store, modelProblem: problem });
  const good = { name: "helper", model: "good" };
  await put(runtime, good);
  const bad: [unknown, string, string][] = [
    [{}, "bad-frame", "agent.name"],
    [{ name: "two words" }, "bad-frame", "agent.name"],
    [{ ...good, maxSteps: 0 }, "bad-frame", "agent.maxSteps"],
    [{ ...good, colour: "red" }, "bad-frame", "agent"],
    [
      { ...good, approvals: { pay: { mode: "when", when: { type: 5 } } } },
      "bad-frame",
      "agent.approvals.pay.when",
    ],
    [{ ...good, model: "bad" }, "bad-frame", "agent.model"],
    [{ ...good, fallback: ["good", "worse"] }, "bad-frame", "agent.fallback.1"],
    [{ ...good, instructions: "x".repeat(800_000) }, "too-large", "agent"],
    [{ ...good, name: "demo" }, "conflict", "demo"],
  ];
  for (const [agent, code, field] of bad) {
    const [found, about] = await refused(put(runtime, agent as AgentOptions));
    assert.equal([found, String(about)], [code, field], JSON.stringify(agent).slice(0, 100));
  }
  store.failing = true;
  await assert.rejects(put(runtime, { ...good, maxSteps: 3 }), StoreUnavailableError);
  await assert.rejects(runtime.runtime.definitions.remove("helper"), StoreUnavailableError);
  assert.equal(
    runtime.runtime.agents().map(({ name, maxSteps }) => [name, maxSteps]),
    [
      ["demo", 16],
      ["helper", 16],
    ],
  );
});

test("put, put again, replaced and removed: a version each, and nothing is kept of what nobody uses", async () => {
  const store = new LastingStore();
  const runtime = await startRuntime({ store });
  const { definitions } = runtime.runtime;
  await until(() => runtime.runtime.registry.definitionsInUse(), 5000, "recovery");
  const { version: first } = await put(runtime, { name: "helper", maxSteps: 3 });
  assert.equal(await put(runtime, { name: "helper", maxSteps: 3 }), { version: first });
  const { version: second } = await put(runtime, { name: "helper", maxSteps: 4 });
  assert.ok(second > first);
  assert.equal(await kept(store, "helper"), [second, [second]]);
  assert.equal([definitions.isPut("helper"), definitions.isPut("demo")], [true, false]);
  await definitions.remove("helper");
  assert.equal(await store.agents(), []);
  assert.equal(await refused(definitions.remove("helper")), ["not-found", "helper"]);
  assert.equal(await refused(definitions.remove("demo")), ["conflict", "demo"]);
  assert.equal(definitions.names(), ["demo"]);
});

test("changes of one name at the same moment come one after another", async () => {
  const store = new LastingStore();
  const runtime = await startRuntime({ store });
  const all = await Promise.all(
    Array.from({ length: 20 }, (_, at) => put(runtime, { name: "helper", maxSteps: at + 1 })),
  );
  const versions = all.map(({ version }) => version);
  assert.equal(
    versions,
    [...new Set(versions)].toSorted((a, b) => a - b),
  );
  assert.is(runtime.runtime.getAgent("helper")?.maxSteps, 20);
  assert.is((await kept(store, "helper"))[0], versions.at(-1));
});

test("what was put is there after a restart; one of the program's own goes before it", async () => {
  const store = new LastingStore();
  const first = await startRuntime({ store });
  await put(first, { name: "helper", description: "put", approvals: { "*": { mode: "always" } } });
  await put(first, { name: "other" });
  await first.runtime.close();
  await store.writeAgent("broken", Buffer.from("{"));
  const second = await startRuntime({ store, agent: { name: "helper", description: "own" } });
  const { definitions } = second.runtime;
  assert.equal(definitions.names(), ["helper", "other"]);
  assert.equal([definitions.get("helper")?.description, definitions.isPut("helper")], ["own", false]);
  assert.equal(await refused(put(second, { name: "helper" })), ["conflict", "helper"]);
  assert.equal(await refused(definitions.remove("helper")), ["conflict", "helper"]);
  await put(second, { name: "broken" });
  await second.runtime.close();
  const third = await startRuntime({ store });
  assert.equal(third.runtime.definitions.names(), ["broken", "demo", "helper", "other"]);
  assert.equal(third.runtime.getAgent("helper")?.approvals["*"]?.mode, "always");
});

/** Two tools; the first holds its call until it is let go. */
function tools(): { setup: RuntimeSetup; called: Promise<void>; letGo: () => void } {
  const called = deferred();
  const gate = deferred();
  const hold = async (): Promise<string> => {
    called.resolve();
    await gate.promise;
    return "held";
  };
  const setup = {
    tools: [
      { name: "hold", inputSchema: {}, effect: "pure" as const, execute: hold },
      { name: "look", inputSchema: {}, effect: "pure" as const, execute: () => "seen" },
    ],
  };
  return { setup, called: called.promise, letGo: () => gate.resolve() };
}

test("a run that is open keeps tools, steps and fallback of the definition it began with; the next has the new one", async () => {
  const down: Model = {
    id: "down",
    // eslint-disable-next-line require-yield
    async *stream() {
      throw new ModelError("unavailable", "down");
    },
  };
  const up = new TestModel(
    [calls("hold"), finishes("tool-calls")],
    [calls("look"), finishes("tool-calls")],
    [says("done"), finishes()],
    [calls("look"), finishes("tool-calls")],
    [says("never"), finishes()],
  );
  const { setup, called, letGo } = tools();
  const models = (name: string): Model => (name === "down" ? down : up);
  const runtime = await startRuntime({ ...setup, models });
  const { definitions } = runtime.runtime;
  await put(runtime, { name: "helper", model: "down", fallback: ["up"], tools: ["hold", "look"] });
  const session = await runtime.session({ agent: "helper" });
  const { input } = await runtime.send(session, "go");
  await called;
  await put(runtime, { name: "helper", model: "down", maxSteps: 1, tools: ["hold"] });
  await definitions.remove("helper");
  const { version } = await put(runtime, { name: "helper", model: "up", maxSteps: 1, tools: ["hold"] });
  letGo();
  assert.is((await runtime.endOf(session, input)).reason, "text");
  assert.is((await runtime.run(session, "again")).reason, "max-steps");
  const log = await runtime.log(session);
  assert.equal(
    bodiesOf(log, "tool-result").map(({ outcome }) => outcome),
    ["ok", "ok", "unavailable"],
  );
  const [first, second] = bodiesOf(log, "run-started").map(({ agentVersion }) => agentVersion!);
  assert.ok(first! < version);
  assert.is(second, version);
});

test("over a restart an open run keeps its definition too, replaced or removed, and then it is let go", async () => {
  for (const after of ["replaced", "removed"] as const) {
    const store = new LastingStore();
    const one = tools();
    const first = await startRuntime({ ...one.setup, store });
    const { version } = await put(first, { name: "helper", maxSteps: 3 });
    const session = await first.session({ agent: "helper" });
    await first.send(
      session,
      script(
        { calls: [{ tool: "hold", input: {} }] },
        { calls: [{ tool: "look", input: {} }] },
        { text: "done" },
      ),
    );
    await one.called;
    const next = after === "replaced" ? await put(first, { name: "helper", maxSteps: 1 }) : undefined;
    if (next === undefined) await first.runtime.definitions.remove("helper");
    assert.equal(
      await kept(store, "helper"),
      next === undefined ? [undefined, [version]] : [next.version, [version, next.version]],
    );
    await first.runtime.close();
    one.letGo();
    const two = tools();
    const second = await startRuntime({ ...two.setup, store });
    assert.is(second.runtime.definitions.get("helper")?.maxSteps, after === "replaced" ? 1 : undefined);
    two.letGo();
    const { event } = await second.entry(session, "run-finished");
    assert.equal([event.reason, event.steps], ["text", 3], after);
    await second.runtime.close();
    const third = await startRuntime({ store });
    await until(() => third.runtime.registry.definitionsInUse(), 5000, "recovery");
    const left: [number | undefined, number[]] =
      next === undefined ? [undefined, []] : [next.version, [next.version]];
    await until(
      async () => JSON.stringify(await kept(store, "helper")) === JSON.stringify(left),
      5000,
      `the first definition to be let go: ${JSON.stringify(await kept(store, "helper"))}`,
    );
  }
});

test("a run that begins while a change is being written keeps what it began with", async () => {
  const store = new LastingStore();
  const one = tools();
  const first = await startRuntime({ ...one.setup, store });
  await until(() => first.runtime.registry.definitionsInUse(), 5000, "recovery");
  const { version } = await put(first, { name: "helper", maxSteps: 3 });
  const session = await first.session({ agent: "helper" });
  const written = deferred();
  store.answer = written.promise;
  const replaced = put(first, { name: "helper", maxSteps: 1 });
  await until(async () => (await kept(store, "helper"))[0] !== version, 5000, "the write");
  await first.send(
    session,
    script(
      { calls: [{ tool: "hold", input: {} }] },
      { calls: [{ tool: "look", input: {} }] },
      { text: "done" },
    ),
  );
  await one.called;
  written.resolve();
  const { version: next } = await replaced;
  assert.equal(await kept(store, "helper"), [next, [version, next]]);
  await first.runtime.close();
  one.letGo();
  const two = tools();
  two.letGo();
  const second = await startRuntime({ ...two.setup, store });
  assert.is((await second.entry(session, "run-finished")).event.reason, "text");
});

test("a session whose agent was removed is read and refuses what is new; a send repeated is answered as before", async () => {
  const runtime = await startRuntime();
  const { definitions } = runtime.runtime;
  await put(runtime, { name: "helper" });
  const session = await runtime.session({ agent: "helper" });
  await runtime.run(session, "hello", { key: "first" });
  await definitions.remove("helper");
  const { seq } = await runtime.state(session);
  assert.equal(await refused(runtime.send(session, "hello?")), ["not-found", "helper"]);
  assert.equal(await refused(runtime.send(session, "hello?", { agent: "nobody" })), ["not-found", "nobody"]);
  assert.equal(await refused(runtime.runtime.createSession("helper")), ["not-found", "helper"]);
  assert.is((await runtime.send(session, "hello", { key: "first" })).duplicate, true);
  assert.is((await runtime.state(session)).seq, seq);
  assert.is((await runtime.run(session, "and you?", { agent: "demo" })).reason, "text");
  await put(runtime, { name: "helper" });
  assert.is((await runtime.run(session, "hello again")).reason, "text");
});

test("an agent that is put may name members who are put later", async () => {
  const runtime = await startRuntime({});
  await put(runtime, { name: "lead", members: ["late"] });
  const session = await runtime.session({ agent: "lead" });
  const asks = script(
    { calls: [{ tool: "delegate", input: { agent: "late", task: "go" } }] },
    { text: "done" },
  );
  await runtime.run(session, asks);
  await put(runtime, { name: "late" });
  await runtime.run(session, asks);
  const [before, after] = bodiesOf(await runtime.log(session), "tool-result");
  assert.is.not(before?.outcome, "ok");
  assert.is(after?.outcome, "ok");
});

test.run();
