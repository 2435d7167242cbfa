/**
 * The embeddable runtime: its methods, its hooks and its in-process readers, as an embedder meets them. What runs do is
 * tested with the agent loop, what the seed asserted of the same methods in seed/.
 */
import { ProtocolError } from "../../protocol/errors.ts";
import { ModelError } from "../../server/model/model.ts";
import type { AgentEvent } from "../../server/hook.ts";
import { scriptedModel } from "../../server/model/scripted.ts";
import { Runtime } from "../../server/runtime.ts";
import {
  aborted,
  calls,
  closeRuntimes,
  finishes,
  says,
  script,
  startRuntime,
  TestModel,
  type TestRuntime,
} from "../support/runtime.ts";
import { assert, suite } from "../support/suite.ts";
import { deferred, until } from "../support/wait.ts";

const test = suite("the runtime");
test.after.each(closeRuntimes);

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return ((await assert.rejects(promise, ProtocolError)) as ProtocolError).code;
}

/** A run that streams one word and then waits for its signal. */
const waiting = (): TestModel =>
  new TestModel(async function* (_request, signal) {
    yield says("well");
    await aborted(signal);
  });

test("three lines make a runtime that answers", async () => {
  const runtime = new Runtime(scriptedModel);
  await runtime.addAgent({ name: "demo" });
  const response = await runtime.sendTo(await runtime.createSession("demo"), "hello");
  assert.match(response.finalResponse ?? "", /hello/);
  await runtime.close();
});

test("an agent is frozen to its depth, and copies of it are the asker's own", async () => {
  const { runtime } = await startRuntime({ agent: null });
  const given = { name: "a", tools: ["x"], toolChoice: { tool: "x" }, providerOptions: { p: { q: [1] } } };
  const agent = await runtime.addAgent(given);
  given.tools.push("y");
  assert.equal([agent.tools, agent.maxSteps], [["x"], 16]);
  const frozen = (value: unknown): boolean =>
    typeof value !== "object" ||
    value === null ||
    (Object.isFrozen(value) && Object.values(value).every(frozen));
  assert.ok(frozen(runtime.getAgent("a")));
  const copy = runtime.agent("a")!;
  copy.name = "changed";
  assert.is(runtime.getAgent("a")?.name, "a");
  assert.equal(
    runtime.agents().map(({ name }) => name),
    ["a"],
  );
});

test("a bad definition is refused, and an agent of the name stays", async () => {
  const { runtime } = await startRuntime();
  for (const bad of [
    { name: "" },
    { name: "x", maxSteps: 0 },
    { name: "demo", runTimeoutMs: -1 },
    { name: "x", typo: 1 },
  ]) {
    await assert.rejects(runtime.addAgent(bad));
  }
  assert.is(runtime.agents().length, 1);
});

test("an agent that is replaced while it runs ends its run as it began", async () => {
  const gate = deferred();
  const runtime = await startRuntime({
    agent: { instructions: "first" },
    model: new TestModel(
      async function* () {
        await gate.promise;
        yield calls("nobody");
        yield finishes("tool-calls");
      },
      [says("done"), finishes()],
    ),
  });
  const session = await runtime.session();
  await runtime.send(session, "go");
  await runtime.entry(session, "run-started");
  await runtime.runtime.addAgent({ name: "demo", instructions: "second" });
  gate.resolve();
  await runtime.entry(session, "run-finished");
  const model = runtime.runtime.model as TestModel;
  assert.equal(
    model.requests.map(({ instructions }) => instructions),
    ["first", "first"],
  );
  await runtime.run(session, "again");
  assert.is(model.requests.at(-1)?.instructions, "second");
});

// --- sending ---

test("what an embedder sends is held to the wire's bounds", async () => {
  const { runtime } = await startRuntime();
  const session = await runtime.createSession("demo");
  const bad: [unknown, string][] = [
    ["", "bad-frame"],
    [[], "bad-frame"],
    [[{ type: "text" }], "bad-frame"],
    [{ text: "x" }, "bad-frame"],
    ["\ud800", "bad-frame"],
    ["x".repeat(800_000), "too-large"],
  ];
  for (const [content, code] of bad) assert.is(await codeOf(runtime.sendTo(session, content as never)), code);
  assert.is((await runtime.session(session))?.seq, 1, "nothing of it is in the log");
});

test("a sender is named and not verified", async () => {
  const { runtime } = await startRuntime();
  const session = await runtime.createSession("demo", "ada");
  await runtime.sendTo(session, "hello", "bob");
  await runtime.sendTo(session, "hello");
  const state = await runtime.session(session);
  assert.is(state?.session.owner, "ada");
  assert.equal(
    state?.messages.filter(({ role }) => role === "user").map(({ author }) => author),
    [
      { kind: "user", id: "bob", name: "bob", verified: false },
      { kind: "user", id: "local", name: "local", verified: false },
    ],
  );
});

test("a user whom no peer could read of is refused", async () => {
  const { runtime } = await startRuntime();
  const session = await runtime.createSession("demo");
  for (const name of ["__proto__", "x".repeat(129), "half \ud800"]) {
    assert.is(await codeOf(runtime.createSession("demo", name)), "bad-frame");
    assert.is(await codeOf(runtime.sendTo(session, "hello", name)), "bad-frame");
  }
});

test("readers in one session each follow the run of their own input", async () => {
  const { runtime } = await startRuntime();
  const session = await runtime.createSession("demo");
  const answers = await Promise.all(
    Array.from({ length: 8 }, (_, n) => runtime.sendTo(session, script({ text: `answer ${n}`, chunk: 2 }))),
  );
  assert.equal(
    answers.map(({ finalResponse }) => finalResponse),
    answers.map((_, n) => `answer ${n}`),
  );
  assert.is(new Set(answers.map(({ run }) => run)).size, 8);
});

test("a stream begins with its run and ends with its end; others' runs are not in it", async () => {
  const { runtime } = await startRuntime();
  const session = await runtime.createSession("demo");
  await runtime.sendTo(session, "before");
  const events: AgentEvent[] = [];
  for await (const event of runtime.streamTo(session, script({ text: "hi" }))) events.push(event);
  const types = events.map((event) => (event.type === "event" ? event.event.type : event.type));
  assert.equal(types, ["run-started", "message", "delta", "message", "step-finished", "run-finished"]);
  assert.is(new Set(events.map(({ run }) => run)).size, 1);
});

async function streaming(runtime: TestRuntime): Promise<{ session: string; end: Promise<unknown> }> {
  const session = await runtime.session();
  const end = runtime.runtime.sendTo(session, "go", "ada");
  await runtime.delta(session, "well");
  return { session, end };
}

test("a reader whose session is deleted is told", async () => {
  const runtime = await startRuntime({ model: waiting() });
  const { session, end } = await streaming(runtime);
  const told = assert.rejects(end, ProtocolError);
  await runtime.remove(session);
  assert.is(((await told) as ProtocolError).code, "closed");
});

test("readers of a runtime that is closed are told", async () => {
  const runtime = await startRuntime({ model: waiting() });
  const { end } = await streaming(runtime);
  const told = assert.rejects(end, ProtocolError);
  await closeRuntimes();
  assert.is(((await told) as ProtocolError).code, "closed");
});

test("a reader whose session is closed sees its run cancelled, or its input withdrawn", async () => {
  const runtime = await startRuntime({ model: waiting() });
  const { session, end } = await streaming(runtime);
  const withdrawn = assert.rejects(runtime.runtime.sendTo(session, "next"), /withdrawn/);
  await until(async () => (await runtime.state(session)).queue.length === 1, 5_000, "the next input");
  assert.is(await runtime.runtime.closeSession(session), true);
  assert.is(((await end) as { stopReason: string }).stopReason, "cancelled");
  await withdrawn;
});

test("a reader that stops reading keeps what its own run did, and no more", async () => {
  const runtime = await startRuntime({ model: new TestModel([says("well"), finishes()]) });
  const session = await runtime.session();
  const stream = runtime.runtime.streamTo(session, "mine");
  await stream.next();
  for (let n = 0; n < 50; n++) await runtime.run(session, `not mine ${n}`);
  let events = 0;
  for await (const _ of stream) events++;
  assert.ok(events < 10);
  assert.is(runtime.runtime.readers, 0);
});

test("a reader that leaves is forgotten", async () => {
  const runtime = await startRuntime({ model: waiting() });
  const session = await runtime.session();
  for await (const event of runtime.runtime.streamTo(session, "go")) if (event.type === "delta") break;
  assert.is(runtime.runtime.readers, 0);
  assert.ok((await runtime.state(session)).run !== undefined, "and its run goes on");
});

test("an error of the model is in the answer, not thrown", async () => {
  const runtime = await startRuntime({
    model: new TestModel(() => {
      throw new ModelError("no-key", "there is no key");
    }),
  });
  const response = await runtime.runtime.sendTo(await runtime.session(), "go");
  assert.equal([response.stopReason, response.error?.code, response.iterations], ["error", "no-key", 0]);
  assert.is(response.finalResponse, undefined);
});

test("the answer has the last step's words, every step's results, and what it cost", async () => {
  const runtime = await startRuntime({
    tools: [{ name: "add", inputSchema: {}, execute: (input) => (input as { n: number }).n + 1 }],
  });
  const response = await runtime.runtime.sendTo(
    await runtime.session(),
    script({ text: "first " }, { calls: [{ tool: "add", input: { n: 1 } }] }, { text: "last" }),
  );
  assert.is(response.finalResponse, "last");
  assert.is(response.iterations, 2);
  assert.equal(
    response.steps.map(({ results }) => results.map(({ output }) => output)),
    [[2], []],
  );
  assert.ok(response.usage.outputTokens > 0);
  assert.is(response.model, "scripted");
});

// --- tools, lists, the end ---

test("an in-process tool knows who asks, and its call's id and signal", async () => {
  const contexts: Record<string, unknown>[] = [];
  const runtime = await startRuntime({
    tools: [
      { name: "look", inputSchema: {}, execute: (_input, context) => void contexts.push({ ...context }) },
    ],
  });
  const session = await runtime.session();
  const end = await runtime.run(session, script({ calls: [{ tool: "look" }] }));
  const [context] = contexts;
  assert.equal([context?.["session"], context?.["run"], context?.["agent"]], [session, end.run, "demo"]);
  assert.is((context?.["actor"] as { id: string } | undefined)?.id, "ada");
  assert.match(context?.["call"] as string, /^call_/);
  assert.ok(context?.["signal"] instanceof AbortSignal);
});

test("a tool that is unregistered in the middle of a run is unavailable to it", async () => {
  const runtime = await startRuntime({
    tools: [
      { name: "once", inputSchema: {}, execute: () => runtime.runtime.unregisterTool("later") },
      { name: "later", inputSchema: {}, execute: () => 1 },
    ],
  });
  const session = await runtime.session();
  const response = await runtime.runtime.sendTo(
    session,
    script({ calls: [{ tool: "once" }] }, { calls: [{ tool: "later" }] }, { text: "on" }),
  );
  assert.equal(
    response.steps.flatMap(({ results }) => results.map(({ outcome }) => outcome)),
    ["ok", "unavailable"],
  );
});

test("sessions are listed newest first, beyond a page", async () => {
  let now = 1_700_000_000_000;
  const { runtime } = await startRuntime({ now: () => now });
  const made: string[] = [];
  for (let n = 0; n < 450; n++) {
    now++;
    made.unshift(await runtime.createSession("demo"));
  }
  const listed: string[] = [];
  for await (const id of runtime.sessions()) listed.push(id);
  assert.equal(listed, made);
});

test("a session's state never waits for its run", async () => {
  const runtime = await startRuntime({ model: waiting() });
  const { session, end } = await streaming(runtime);
  const state = await runtime.runtime.session(session);
  assert.is(state?.session.state, "running");
  for await (const id of runtime.runtime.sessions()) assert.is(id, session);
  assert.is(await runtime.runtime.closeSession(session), true);
  await end;
});

test("closing twice is closing once", async () => {
  const { runtime } = await startRuntime();
  await Promise.all([runtime.close(), runtime.close()]);
  await runtime.close();
});

test.run();
