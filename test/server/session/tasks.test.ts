/**
 * Tasks that one agent gives another: what is made for them, what comes back, who bears them, and how both ends find each
 * other's end. A real runtime; every agent plays scripts, a task's is what its caller wrote.
 */
import type { JsonValue, Usage } from "../../../protocol/content.ts";
import type { EntryBodyOf } from "../../../protocol/entries.ts";
import type { AgentOptions } from "../../../server/agent/agent.ts";
import type { Model } from "../../../server/model/model.ts";
import { scriptedModel } from "../../../server/model/scripted.ts";
import { mayRead } from "../../../server/session/access.ts";
import { grant } from "../../../server/session/members.ts";
import type { LocalTool } from "../../../server/tool/local.ts";
import { violations } from "../agent/rules.ts";
import { bodiesOf, caller, calls, Clock, closeRuntimes, finishes, says } from "../../support/runtime.ts";
import { script, startRuntime, TestModel } from "../../support/runtime.ts";
import type { RuntimeSetup, TestRuntime } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { deferred, until } from "../../support/wait.ts";

const test = suite("tasks for other agents");
test.after.each(closeRuntimes);

/** The agent `demo` has the member `helper`, who has `demo`. */
async function team(setup: RuntimeSetup = {}, helper: Partial<AgentOptions> = {}): Promise<TestRuntime> {
  const { agent, ...rest } = setup;
  const test = await startRuntime({ ...rest, agent: { members: ["helper"], ...agent } });
  await test.runtime.addAgent({ name: "helper", description: "Helps.", members: ["demo"], ...helper });
  return test;
}

function gives(...tasks: string[]): JsonValue {
  return { calls: tasks.map((task) => ({ tool: "delegate", input: { agent: "helper", task } })) };
}

const STALLS = script({ text: "at it ", rate: 1000 }, { stall: 60_000 });

/** The session of the n-th task that was given. */
async function child(test: TestRuntime, session: string, at = 0): Promise<string> {
  const given = async () => bodiesOf(await test.log(session), "tool-delegated");
  await until(async () => (await given()).length > at, 5000, "a task");
  return (await given())[at]!.child;
}

async function results(test: TestRuntime, session: string): Promise<EntryBodyOf<"tool-result">[]> {
  return bodiesOf(await test.log(session), "tool-result");
}

/** How the result of a call of `delegate` reads: its outcome, and the code of its error. */
async function ends(test: TestRuntime, session: string): Promise<(string | undefined)[][]> {
  return (await results(test, session)).map(({ outcome, error }) => [outcome, error?.code]);
}

async function reason(test: TestRuntime, session: string): Promise<string | undefined> {
  return (await test.state(session)).lastRun?.reason;
}

/** A tool that answers once so many of its calls are open together. */
function meeting(count: number): LocalTool {
  const waiting: (() => void)[] = [];
  return {
    name: "meet",
    effect: "pure",
    inputSchema: {},
    execute: () =>
      new Promise<string>((resolve) => {
        waiting.push(() => resolve("met"));
        if (waiting.length === count) for (const go of waiting) go();
      }),
  };
}

test("a task is done in a session of its own, and its answer is the call's result", async () => {
  const test = await team();
  const session = await test.session({ metadata: { team: "red" } });
  const { reason } = await test.run(session, script(gives("Say hello\nto all"), { text: "done" }));
  assert.is(reason, "text");
  const [result] = await results(test, session);
  const made = await child(test, session);
  const text = "You said “Say hello\nto all”. I am a script, no language model: I can only quote you.";
  assert.equal([result?.outcome, result?.output], ["ok", { session: made, reason: "text", text }]);
  const { session: info, messages } = await test.state(made);
  const { parent, owner, agent, title, metadata } = info;
  assert.equal([owner, agent, title, metadata], ["ada", "helper", "Say hello", { team: "red" }]);
  const { call, run, input } = parent!;
  const above = await test.state(session);
  const part = above.messages.flatMap(({ parts }) => parts).find(({ type }) => type === "dynamic-tool");
  assert.equal(part?.type === "dynamic-tool" && [part.toolCallId, part.child], [call, made]);
  assert.equal(
    [parent?.session, run, parent?.agent, parent?.depth],
    [session, above.lastRun?.run, "demo", 1],
  );
  assert.equal(
    [messages[0]?.id, messages[0]?.author],
    [input, { kind: "agent", id: "demo", name: "demo", verified: true }],
  );
  for (const id of [session, made]) assert.equal(violations(await test.log(id)), []);
});

test("only an agent with members has the tool, and it names them", async () => {
  const model = new TestModel([says("done"), finishes()]);
  const test = await team({ model });
  await test.runtime.addAgent({ name: "alone" });
  await test.run(await test.session(), "hello");
  await test.run(await test.session({ agent: "alone" }), "hello");
  const [first, second] = model.requests;
  assert.equal(
    first?.tools.map(({ name }) => name),
    ["delegate"],
  );
  assert.match(first!.tools[0]!.description, /helper: Helps\.$/);
  assert.equal(second?.tools, []);
  assert.throws(
    () => test.runtime.registerTool({ name: "delegate", inputSchema: {}, execute: () => 1 }),
    /server's own name/,
  );
});

test("tasks of one step are worked on side by side", async () => {
  const test = await team({ tools: [meeting(3)] });
  const session = await test.session();
  const meets = script({ calls: [{ tool: "meet" }] }, { text: "met" });
  assert.is((await test.run(session, script(gives(meets, meets, meets), { text: "done" }))).reason, "text");
  assert.equal(await ends(test, session), [
    ["ok", undefined],
    ["ok", undefined],
    ["ok", undefined],
  ]);
});

test("four that give four tasks each end on a server for four runs, and no more are at work at once", async () => {
  let open = 0;
  let most = 0;
  const counted: Model = {
    id: "counted",
    async *stream(request, signal) {
      most = Math.max(most, ++open);
      for await (const part of scriptedModel.stream(request, signal)) {
        if (part.type === "finish") open--;
        yield part;
      }
    },
  };
  const test = await team({ model: counted, maxRuns: 4, maxRunsPerUser: 4 });
  const sessions = await Promise.all([1, 2, 3, 4].map(() => test.session()));
  const slow = script({ text: "working on it", rate: 1000, chunk: 1 });
  const task = script(gives(slow, slow, slow, slow), { text: "done" });
  const inputs = await Promise.all(sessions.map((session) => test.send(session, task)));
  for (const [at, session] of sessions.entries()) {
    assert.is((await test.endOf(session, inputs[at]!.input)).text, "done");
    assert.equal(
      (await ends(test, session)).map(([outcome]) => outcome),
      ["ok", "ok", "ok", "ok"],
    );
  }
  assert.ok(most > 1 && most <= 4, `${most} at once`);
  await until(() => test.runtime.gate.open === 0, 2000, "all places to be free");
  assert.is(test.runtime.gate.waiting, 0);
});

test("a cancel ends all that was given, however deep, and the tools at work there", async () => {
  const told = deferred<string>();
  const stuck: LocalTool = {
    name: "stuck",
    inputSchema: {},
    execute: (_, { signal }) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => {
          told.resolve((signal.reason as Error).message);
          reject(new Error("stopped"));
        });
      }),
  };
  const test = await team({ tools: [stuck] });
  const session = await test.session();
  const leaf = script({ calls: [{ tool: "stuck" }] }, { text: "never" });
  const middle = script({ calls: [{ tool: "delegate", input: { agent: "demo", task: leaf } }] });
  const { input } = await test.send(session, script(gives(middle, STALLS)));
  const one = await child(test, session);
  const two = await child(test, session, 1);
  const deep = await child(test, one);
  await test.entry(deep, "tool-dispatched");
  await test.delta(two, "at it");
  const { event } = await test.entry(session, "run-started");
  await test.cancel(session, event.run);
  assert.is((await test.endOf(session, input)).reason, "cancelled");
  assert.is(await told.promise, "cancelled");
  assert.equal(await ends(test, session), [
    ["cancelled", "cancelled"],
    ["cancelled", "cancelled"],
  ]);
  for (const id of [session, one, two, deep]) {
    assert.is(await reason(test, id), "cancelled");
    assert.equal(violations(await test.log(id)), []);
  }
  const by = (await test.log(deep)).find((entry) => entry.event.type === "cancel-requested");
  assert.is(by?.actor?.kind, "system");
});

test("a cancel takes back a task that waits for its turn", async () => {
  const test = await team({ maxRuns: 1 });
  const session = await test.session();
  const { input } = await test.send(session, script(gives(STALLS, "later")));
  await test.delta(await child(test, session), "at it");
  const waiting = await child(test, session, 1);
  await test.entry(waiting, "input-queued");
  await test.cancel(session, (await test.entry(session, "run-started")).event.run);
  assert.is((await test.endOf(session, input)).reason, "cancelled");
  const { queue, run, lastRun } = await test.state(waiting);
  assert.equal([queue, run, lastRun], [[], undefined, undefined]);
  assert.is(bodiesOf(await test.log(waiting), "input-withdrawn").length, 1);
});

test("a session that is closed or deleted ends what it gave", async () => {
  const test = await team();
  for (const end of ["close", "remove"] as const) {
    const session = await test.session();
    await test.send(session, script(gives(STALLS)));
    const made = await child(test, session);
    await test.delta(made, "at it");
    await test[end](session);
    assert.is((await test.entry(made, "run-finished")).event.reason, "cancelled", end);
  }
});

test("a task ends when the time of the run is over that waits for it", async () => {
  const clock = new Clock();
  const test = await team({ now: clock.now, agent: { runTimeoutMs: 60_000 } });
  const session = await test.session();
  const { input } = await test.send(session, script(gives(STALLS)));
  const made = await child(test, session);
  await test.delta(made, "at it");
  const { startedAt } = (await test.state(session)).run!;
  assert.is((await test.state(made)).session.parent?.deadlineAt, startedAt + 60_000);
  clock.advance(60_000);
  assert.is((await test.endOf(session, input)).reason, "deadline");
  assert.is(await reason(test, made), "deadline");
});

test("a task whose own time is over is a timeout for who waits, and the run goes on", async () => {
  const clock = new Clock();
  const test = await team({ now: clock.now }, { runTimeoutMs: 1000 });
  const session = await test.session();
  const { input } = await test.send(session, script(gives(STALLS), { text: "so be it" }));
  await test.delta(await child(test, session), "at it");
  clock.advance(1000);
  assert.is((await test.endOf(session, input)).text, "so be it");
  assert.equal(await ends(test, session), [["timeout", "timeout"]]);
});

const USED = (tokens: number): Usage => ({ inputTokens: tokens, outputTokens: 0 });

/** Gives two tasks, one after the other, each of which calls a tool once; every model call uses ten tokens. */
function spender(): Model {
  return {
    id: "spender",
    async *stream({ messages, tools }) {
      await Promise.resolve();
      const done = messages.filter(({ role }) => role === "tool").length;
      const gives = tools.some(({ name }) => name === "delegate");
      const most = gives ? 2 : 1;
      if (done < most) yield calls(gives ? "delegate" : "look", gives ? { agent: "helper", task: "x" } : {});
      else yield says("done");
      yield finishes(done < most ? "tool-calls" : "stop", USED(10));
    },
  };
}
const look: LocalTool = { name: "look", effect: "pure", inputSchema: {}, execute: () => "seen" };

test("what a task uses counts once for its user, and for the session that gave it", async () => {
  const test = await team({ model: spender(), tools: [look] }, { members: [] });
  const session = await test.session();
  assert.is((await test.run(session, "go")).text, "done");
  const made = await child(test, session);
  assert.equal(
    [(await test.state(made)).session.usage, (await test.state(session)).session.usage],
    [USED(20), USED(70)],
  );
  assert.equal((await test.runtime.store.spent("ada", 0)).total, USED(70));
});

for (const [tokens, given, ended] of [
  [20, [["error", "over-budget"]], "the first task is stopped at its second step"],
  [30, [["ok", undefined]], "no second task is given"],
  [
    50,
    [
      ["ok", undefined],
      ["error", "over-budget"],
    ],
    "the second task is stopped",
  ],
] as const)
  test(`the budget of a session holds for its tasks: ${ended}`, async () => {
    const budgets = { session: { tokens } };
    const test = await team({ model: spender(), tools: [look], budgets }, { members: [] });
    const session = await test.session();
    const { reason, error } = await test.run(session, "go");
    assert.equal([reason, error?.code], ["error", "over-budget"]);
    assert.equal(await ends(test, session), given);
    assert.is((await test.state(session)).session.usage?.inputTokens, tokens);
  });

test("tasks of tasks end at the depth that is set, and the model is told", async () => {
  const test = await team({ maxTaskDepth: 2 });
  const session = await test.session();
  const asks = (agent: string, task: string) =>
    script({ calls: [{ tool: "delegate", input: { agent, task } }] }, { text: "went on" });
  await test.run(session, asks("helper", asks("demo", asks("helper", "too deep"))));
  const one = await child(test, session);
  const two = await child(test, one);
  assert.equal(await ends(test, two), [["error", "too-deep"]]);
  const { session: info, messages } = await test.state(two);
  assert.is(info.parent?.depth, 2);
  const said = messages.at(-1)?.parts.map((part) => (part.type === "text" ? part.text : ""));
  assert.equal(said, ["went on"]);
});

test("no more tasks are given at once than may be", async () => {
  const test = await team({ maxTasks: 2 });
  const session = await test.session();
  await test.run(session, script(gives("a", "b", "c")));
  assert.equal(await ends(test, session), [
    ["error", "too-many"],
    ["ok", undefined],
    ["ok", undefined],
  ]);
});

test("an agent that is no member gets no task", async () => {
  const test = await team();
  const session = await test.session();
  await test.run(session, script({ calls: [{ tool: "delegate", input: { agent: "demo", task: "x" } }] }));
  assert.equal(await ends(test, session), [["invalid-input", "invalid-input"]]);
});

test("a task that fails, is cancelled by people, withdrawn or deleted is no end of the run", async () => {
  const test = await team({ maxRuns: 2 });
  const end: Record<string, (made: string) => Promise<unknown>> = {
    cancelled: async (made) => test.cancel(made, (await test.entry(made, "run-started")).event.run),
    "not-found": (made) => test.remove(made),
    scripted: () => Promise.resolve(),
  };
  for (const [code, act] of Object.entries(end)) {
    const session = await test.session();
    const task = code === "scripted" ? script({ error: "broken" }) : STALLS;
    const { input } = await test.send(session, script(gives(task), { text: "so be it" }));
    const made = await child(test, session);
    await test.entry(made, "run-started");
    await act(made);
    assert.is((await test.endOf(session, input)).text, "so be it");
    assert.equal(await ends(test, session), [[code === "cancelled" ? code : "error", code]]);
  }
});

test("whose session gives a task, theirs is the session of the task, with the same members", async () => {
  const test = await team();
  const session = await test.session();
  const { registry } = test.runtime;
  await registry.with(session, (held) => grant(held, caller("ada"), "bob", "editor", 10));
  await registry.with(session, (held) => grant(held, caller("ada"), "eve", "viewer", 10));
  await test.run(session, script(gives("Say hello")), { user: "bob" });
  const made = await child(test, session);
  const state = await test.state(made);
  assert.equal(state.members, { ada: "owner", bob: "editor", eve: "viewer" });
  assert.is(state.session.owner, "ada");
  const [queued] = (await test.log(made)).filter(({ event }) => event.type === "input-queued");
  assert.is(queued?.actor?.id, "bob", "who asked bears it");
  assert.equal(
    ["eve", "mallory"].map((user) => mayRead(caller(user), state)),
    [true, false],
  );
});

test("a task that people must allow is not begun before they have", async () => {
  const test = await team({ agent: { approvals: { delegate: { mode: "always", editable: true } } } });
  const session = await test.session();
  const { input } = await test.send(session, script(gives("Say hello"), { text: "done" }));
  const { event } = await test.entry(session, "request-opened");
  assert.equal(bodiesOf(await test.log(session), "tool-delegated"), []);
  const edited = { agent: "helper", task: "Say goodbye" };
  await test.answer(session, { request: event.request, decision: "approve", input: edited });
  assert.is((await test.endOf(session, input)).text, "done");
  assert.is((await test.state(await child(test, session))).session.title, "Say goodbye");
  assert.equal(await ends(test, session), [["ok", undefined]]);
});

test.run();
