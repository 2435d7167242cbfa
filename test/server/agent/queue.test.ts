/**
 * The queue of inputs: one run at a time in order of admission; steer joins at a step's boundary, interrupt ends the run
 * and goes first, reject answers busy; what waits can be seen, edited and withdrawn.
 */
import { ProtocolError } from "../../../protocol/errors.ts";
import * as commands from "../../../server/session/commands.ts";
import {
  bodiesOf,
  calls,
  caller,
  closeRuntimes,
  finishes,
  says,
  startRuntime,
  TestModel,
  typesOf,
  type TestRuntime,
} from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { deferred, type Deferred } from "../../support/wait.ts";
import { violations } from "./rules.ts";

const test = suite("the queue of inputs");
test.after.each(closeRuntimes);

interface Held {
  readonly runtime: TestRuntime;
  readonly session: string;
  readonly model: TestModel;
  /** Lets the held call of the first run go on. */
  readonly gate: Deferred<void>;
}

/** A first run that waits in a call, so that inputs queue behind it; the rest answers at once. */
async function held(setup: { maxQueue?: number; maxSteps?: number } = {}): Promise<Held> {
  const gate = deferred();
  const model = new TestModel([calls("wait"), finishes("tool-calls")], [says("answer"), finishes()]);
  const { maxSteps, ...options } = setup;
  const runtime = await startRuntime({
    model,
    ...options,
    ...(maxSteps === undefined ? {} : { agent: { maxSteps } }),
    tools: [{ name: "wait", inputSchema: {}, effect: "pure", execute: () => gate.promise }],
  });
  const session = await runtime.session();
  await runtime.send(session, "first");
  await runtime.entry(session, "tool-dispatched");
  return { runtime, session, model, gate };
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await assert.rejects(promise, ProtocolError);
  return (error as ProtocolError).code;
}

/** The texts of user messages, in the order of their runs. */
async function order({ runtime, session }: Held): Promise<string[]> {
  const messages = bodiesOf(await runtime.log(session), "message").filter(
    ({ message }) => message.role === "user",
  );
  return messages.map(({ message }) =>
    message.parts.map((part) => (part.type === "text" ? part.text : "")).join(""),
  );
}

test("inputs run in order of admission, each in a run of its own", async () => {
  const scene = await held();
  const { runtime, session, gate } = scene;
  const sent = await Promise.all(["two", "three", "four"].map((text) => runtime.send(session, text)));
  assert.equal(
    sent.map(({ position }) => position),
    [0, 1, 2],
  );
  gate.resolve();
  await runtime.endOf(session, sent[2]!.input);
  assert.equal(await order(scene), ["first", "two", "three", "four"]);
  assert.is(bodiesOf(await runtime.log(session), "run-started").length, 4);
  assert.equal(violations(await runtime.log(session)), []);
});

test("a full queue refuses, says its bound, and takes more when there is room", async () => {
  const { runtime, session, gate } = await held({ maxQueue: 2 });
  await runtime.send(session, "two");
  const third = await runtime.send(session, "three");
  const refused: unknown = await assert.rejects(runtime.send(session, "four"), ProtocolError);
  assert.equal(
    [
      (refused as ProtocolError).code,
      (refused as ProtocolError).retryable,
      (refused as ProtocolError).details,
    ],
    ["queue-full", true, { limit: 2 }],
  );
  gate.resolve();
  await runtime.endOf(session, third.input);
  assert.is((await runtime.run(session, "four")).reason, "text");
  assert.equal(violations(await runtime.log(session)), []);
});

test("reject answers busy while a run is open or inputs wait, and is an input like others when not", async () => {
  const { runtime, session, gate } = await held();
  assert.is(await codeOf(runtime.send(session, "now?", { mode: "reject" })), "busy");
  gate.resolve();
  await runtime.entry(session, "run-finished");
  assert.is((await runtime.run(session, "now?", { mode: "reject" })).reason, "text");
});

test("a steer joins the run at the step's boundary, before what waits", async () => {
  const scene = await held();
  const { runtime, session, model, gate } = scene;
  const later = await runtime.send(session, "later");
  const steer = await runtime.send(session, "steer", { mode: "steer", user: "ada" });
  assert.is(steer.position, 0);
  gate.resolve();
  await runtime.endOf(session, later.input);
  assert.equal(await order(scene), ["first", "steer", "later"]);
  const log = await runtime.log(session);
  assert.is(bodiesOf(log, "run-started").length, 2, "the steer has no run of its own");
  const types = typesOf(log);
  assert.is(types[types.indexOf("step-finished") + 1], "message", "in the append that closes the step");
  assert.equal(
    model.requests[1]?.messages.map(({ role }) => role),
    ["user", "assistant", "tool", "user"],
  );
  assert.equal(violations(log), []);
});

test("a steer that finds no boundary runs next", async () => {
  const { runtime, session, gate } = await held({ maxSteps: 1 });
  const later = await runtime.send(session, "later");
  const steer = await runtime.send(session, "steer", { mode: "steer" });
  gate.resolve();
  await runtime.endOf(session, later.input);
  const starts = bodiesOf(await runtime.log(session), "run-started").map(({ input }) => input);
  assert.equal(starts.slice(1), [steer.input, later.input]);
  assert.equal(violations(await runtime.log(session)), []);
});

test("a steer without a run is an input like others", async () => {
  const runtime = await startRuntime({ model: new TestModel([says("hi"), finishes()]) });
  assert.is((await runtime.run(await runtime.session(), "hello", { mode: "steer" })).reason, "text");
});

test("several steers join together, in order", async () => {
  const scene = await held();
  const { runtime, session, gate } = scene;
  for (const text of ["one", "two", "three"]) await runtime.send(session, text, { mode: "steer" });
  gate.resolve();
  await runtime.entry(session, "run-finished");
  assert.equal(await order(scene), ["first", "one", "two", "three"]);
  assert.is(bodiesOf(await runtime.log(session), "run-started").length, 1);
});

test("an interrupt ends the run as cancelled and goes first; what waited stays", async () => {
  const scene = await held();
  const { runtime, session, gate } = scene;
  const waiting = await runtime.send(session, "waiting");
  await runtime.send(session, "steer", { mode: "steer" });
  const now = await runtime.send(session, "now", { mode: "interrupt" });
  assert.is(now.position, 0);
  gate.resolve();
  await runtime.endOf(session, waiting.input);
  assert.equal(await order(scene), ["first", "now", "steer", "waiting"]);
  const log = await runtime.log(session);
  assert.is(bodiesOf(log, "run-finished")[0]?.reason, "cancelled");
  const queued = log.findIndex(({ event }) => event.type === "input-queued" && event.input === now.input);
  assert.is(log[queued + 1]?.event.type, "cancel-requested", "one append");
  assert.equal(violations(log), []);
});

test("two interrupts cancel once and run in order", async () => {
  const scene = await held();
  const { runtime, session, gate } = scene;
  await runtime.send(session, "one", { mode: "interrupt" });
  const two = await runtime.send(session, "two", { mode: "interrupt" });
  gate.resolve();
  await runtime.endOf(session, two.input);
  assert.equal(violations(await runtime.log(session)), []);
  assert.equal(
    (await order(scene)).filter((text) => text !== "first"),
    ["one", "two"],
  );
});

test("an interrupt without a run is an input like others", async () => {
  const runtime = await startRuntime({ model: new TestModel([says("hi"), finishes()]) });
  const session = await runtime.session();
  assert.is((await runtime.run(session, "hello", { mode: "interrupt" })).reason, "text");
  assert.equal(bodiesOf(await runtime.log(session), "cancel-requested"), []);
});

test("what waits can be edited, and runs as edited", async () => {
  const scene = await held();
  const { runtime, session, gate } = scene;
  const second = await runtime.send(session, "teh second");
  const edit = (input: string, text: string) =>
    runtime.runtime.registry.with(session, (it) => commands.editInput(it, caller("ada"), input, text));
  await edit(second.input, "the second");
  assert.is((await runtime.state(session)).queue[0]?.content, "the second");
  gate.resolve();
  await runtime.endOf(session, second.input);
  assert.equal(await order(scene), ["first", "the second"]);
  assert.is(await codeOf(edit(second.input, "too late")), "conflict");
  assert.equal(violations(await runtime.log(session)), []);
});

test("what waits can be withdrawn, and never runs", async () => {
  const scene = await held();
  const { runtime, session, gate } = scene;
  const second = await runtime.send(session, "second");
  const third = await runtime.send(session, "third");
  const withdraw = () =>
    runtime.runtime.registry.with(session, (it) => commands.withdrawInput(it, caller("ada"), second.input));
  await withdraw();
  assert.is(await codeOf(withdraw()), "conflict");
  gate.resolve();
  await runtime.endOf(session, third.input);
  assert.equal(await order(scene), ["first", "third"]);
  assert.equal(violations(await runtime.log(session)), []);
});

test("an input may ask for another agent, for its own run; each reads who said what", async () => {
  const { runtime, session, model, gate } = await held();
  await runtime.runtime.addAgent({ name: "other" });
  const second = await runtime.send(session, "second", { agent: "other" });
  const third = await runtime.send(session, "third");
  gate.resolve();
  await runtime.endOf(session, third.input);
  const log = await runtime.log(session);
  assert.equal(
    bodiesOf(log, "run-started").map(({ agent }) => agent),
    ["demo", "other", "demo"],
  );
  assert.equal(
    bodiesOf(log, "message").flatMap(({ message }) => (message.role === "user" ? [] : [message.author.id])),
    ["demo", "demo", "other", "demo"],
  );
  const told = (request: number): string[] =>
    model.requests[request]!.messages.flatMap((message) => {
      if (message.role !== "user") return [message.role];
      const [first] = message.parts;
      return first?.type === "author" ? [first.text] : [];
    });
  const ada = '{"author":"ada","user":"ada"}';
  const demo = '{"author":"demo","agent":"demo"}';
  const other = '{"author":"other","agent":"other"}';
  assert.equal(told(2), [ada, demo, demo, ada]);
  assert.equal(told(3), [ada, "assistant", "tool", "assistant", ada, other, ada]);
  assert.ok(second.seq < third.seq);
  assert.equal(violations(log), []);
});

test("a steer to another agent joins no run of this one, and has a run of its own", async () => {
  const { runtime, session, gate } = await held();
  await runtime.runtime.addAgent({ name: "other" });
  const own = await runtime.send(session, "to you", { mode: "steer", agent: "demo" });
  const steer = await runtime.send(session, "to the other", { mode: "steer", agent: "other" });
  gate.resolve();
  await runtime.endOf(session, steer.input);
  const log = await runtime.log(session);
  assert.equal(
    bodiesOf(log, "run-started").map(({ agent }) => agent),
    ["demo", "other"],
  );
  const joined = log.find(({ event }) => event.type === "message" && event.message.id === own.input);
  assert.is(joined?.run, bodiesOf(log, "run-started")[0]?.run);
  assert.equal(violations(log), []);
});

test("who may not enter learns of no session", async () => {
  const { runtime, session } = await held();
  for (const act of [
    () => runtime.send(session, "hello", { user: "eve" }),
    () => runtime.cancel(session, "run_1", "eve"),
    () => runtime.close(session, "eve"),
    () => runtime.remove(session, "eve"),
  ]) {
    assert.is(await codeOf(act()), "not-found");
  }
});

test.run();
