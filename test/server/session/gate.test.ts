/**
 * Open runs are counted: who waits, who is next, what a session shows meanwhile, and that nothing waits for ever. A real
 * runtime on a store; the model answers when the test says so.
 */
import { RunGate } from "../../../server/session/gate.ts";
import { EmbeddedStore } from "../../../server/store/embedded.ts";
import type { LocalTool } from "../../../server/tool/local.ts";
import { temporaryDirectory } from "../../support/process.ts";
import {
  aborted,
  closeRuntimes,
  finishes,
  says,
  script,
  startRuntime,
  TestModel,
} from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { until } from "../../support/wait.ts";
import { ASKED, shop } from "./shop.ts";

const test = suite("places for runs");
test.after.each(closeRuntimes);

/** Says who is answered, then waits until it is let go. */
function held(): { model: TestModel; release: (times?: number) => void; open: () => number } {
  const waiting: (() => void)[] = [];
  const model = new TestModel(async function* (_request, signal) {
    yield says("…");
    await Promise.race([new Promise<void>((resolve) => waiting.push(resolve)), aborted(signal)]);
    yield finishes();
  });
  return {
    model,
    release: (times = 1) => waiting.splice(0, times).forEach((go) => go()),
    open: () => waiting.length,
  };
}

test("users take turns, and each user's inputs keep their order", async () => {
  const gate = new RunGate({ maxRuns: 1 });
  const order: string[] = [];
  const enter = (user: string, name: string) => {
    const place = gate.enter({ id: user, verified: true });
    void place.granted.then((granted) => order.push(`${name}${granted ? "" : " gave up"}`));
    return place;
  };
  const places = [
    enter("ann", "a1"),
    enter("ann", "a2"),
    enter("ann", "a3"),
    enter("bob", "b1"),
    enter("cy", "c1"),
  ];
  places[2]!.leave();
  for (const at of [0, 1, 3, 4]) {
    await Promise.resolve();
    places[at]!.leave();
    places[at]!.leave();
  }
  await Promise.resolve();
  assert.equal(order, ["a1", "a3 gave up", "a2", "b1", "c1"]);
  assert.equal([gate.open, gate.waiting], [0, 0]);
});

test("who has many waiting gets every second place while another waits", () => {
  const gate = new RunGate({ maxRuns: 1 });
  const places = ["a", "a", "a", "a", "b", "b"].map((id) => gate.enter({ id, verified: true }));
  const order: string[] = [];
  for (let at = 0; at < places.length; at++) {
    const held = places.find((place) => place.held)!;
    order.push(held.user);
    held.leave();
  }
  assert.equal(order, ["a", "a", "b", "a", "b", "a"]);
});

test("who comes back goes before those who have not begun, in turns, too", () => {
  const gate = new RunGate({ maxRuns: 1, maxRunsPerUser: 1 });
  const by = (id: string) => ({ id, verified: true });
  const first = gate.enter(by("a"));
  const waiting = {
    new: gate.enter(by("a")),
    a1: gate.comeBack(by("a")),
    a2: gate.comeBack(by("a")),
    b: gate.comeBack(by("b")),
    gone: gate.comeBack(by("b")),
  };
  assert.is(gate.waiting, 5);
  waiting.gone.leave();
  const order: string[] = [];
  first.leave();
  for (let at = 0; at < 4; at++) {
    const [name, held] = Object.entries(waiting).find(([, place]) => place.held)!;
    order.push(name);
    held.leave();
  }
  assert.equal(order, ["a1", "b", "a2", "new"]);
  assert.equal([gate.open, gate.waiting], [0, 0]);
});

test("a verified user has so many places, others go past", async () => {
  const gate = new RunGate({ maxRunsPerUser: 1 });
  const ann = { id: "ann", verified: true };
  const first = gate.enter(ann);
  const second = gate.enter(ann);
  gate.enter({ id: "bob", verified: true });
  for (let at = 0; at < 3; at++) gate.enter({ id: "local", verified: false });
  assert.equal([gate.open, gate.waiting], [5, 1]);
  assert.is(second.held, false);
  first.leave();
  assert.is(second.held, true);
});

test("a session without a place keeps its input waiting, and runs once another run ends", async () => {
  const { model, release, open } = held();
  const test = await startRuntime({ model, maxRuns: 1 });
  const [one, two] = [await test.session(), await test.session({}, "bob")];
  const first = await test.send(one, "first");
  await until(() => open() === 1, 2000, "the first run");
  const second = await test.send(two, "second", { user: "bob" });
  assert.is(second.position, 0);
  await until(() => test.runtime.gate.waiting === 1, 2000, "the second to wait");
  const { session, queue, run } = await test.state(two);
  assert.equal([session.state, session.queued, queue.length, run], ["idle", 1, 1, undefined]);
  release();
  await test.endOf(one, first.input);
  await until(() => open() === 1, 2000, "the second run");
  release();
  assert.is((await test.endOf(two, second.input)).reason, "text");
  await until(() => test.runtime.gate.open === 0, 2000, "the place to be free");
});

test("an input that is withdrawn, closed or deleted while it waits leaves the line", async () => {
  const { model, release, open } = held();
  const test = await startRuntime({ model, maxRuns: 1 });
  const sessions = [await test.session(), await test.session(), await test.session(), await test.session()];
  const first = await test.send(sessions[0]!, "first");
  await until(() => open() === 1, 2000, "the first run");
  for (const session of sessions.slice(1)) await test.send(session, "waits");
  await until(() => test.runtime.gate.waiting === 3, 2000, "three to wait");
  await test.close(sessions[1]!);
  await test.remove(sessions[2]!);
  release();
  await test.endOf(sessions[0]!, first.input);
  await until(() => open() === 1, 2000, "the last run");
  assert.is((await test.state(sessions[3]!)).session.state, "running");
  release();
  await until(() => test.runtime.gate.open === 0, 2000, "the end");
  assert.is(test.runtime.gate.waiting, 0);
});

test("an input that waits for its agent's tools after a start takes nobody's place", async () => {
  const model = new TestModel([says("done"), finishes()]);
  const agent = { tools: ["away"] };
  const test = await startRuntime({ model, agent, maxRuns: 1, router: { graceMs: 60_000 } });
  await test.runtime.addAgent({ name: "ready", tools: ["here"] });
  test.runtime.registerTool(tool("here"));
  const [one, two] = [await test.session(), await test.session({ agent: "ready" })];
  const first = await test.send(one, "first");
  assert.is((await test.run(two, "second")).reason, "text");
  await until(() => test.runtime.gate.open === 0, 2000, "the place to be free");
  assert.is((await test.state(one)).queue.length, 1);
  test.runtime.registerTool(tool("away"));
  assert.is((await test.endOf(one, first.input)).reason, "text");
});

test("a run that goes on after a crash and waits for its tools takes nobody's place", async () => {
  const data = temporaryDirectory();
  const before = held();
  const first = await startRuntime({
    model: before.model,
    tools: [tool("away")],
    store: await EmbeddedStore.open(data),
  });
  const one = await first.session();
  await first.send(one, "first");
  await until(() => before.open() === 1, 2000, "the run");
  await closeRuntimes();
  const test = await startRuntime({
    model: new TestModel([says("done"), finishes()]),
    agent: { tools: [] },
    store: await EmbeddedStore.open(data),
    maxRuns: 1,
    router: { graceMs: 60_000 },
  });
  await test.entry(one, "run-recovered");
  await test.runtime.addAgent({ name: "ready", tools: [] });
  const two = await test.session({ agent: "ready" });
  assert.is((await test.run(two, "second")).reason, "text");
  assert.ok((await test.state(one)).run !== undefined);
  test.runtime.registerTool(tool("away"));
  assert.is((await test.entry(one, "run-finished")).event.reason, "text");
});

test("a run that waits for people keeps nobody from beginning, and goes on at once when they have answered", async () => {
  const { runtime, session, pay } = await shop({ mode: "always" }, { maxRuns: 1, maxRunsPerUser: 1 });
  const { input } = await runtime.send(session, ASKED);
  const { event } = await runtime.entry(session, "request-opened");
  assert.is((await runtime.run(await runtime.session(), "meanwhile")).reason, "text");
  const busy = await runtime.session();
  await runtime.send(busy, script({ text: "x", rate: 0.001 }));
  await runtime.entry(busy, "run-started");
  await runtime.answer(session, { request: event.request, decision: "approve" });
  assert.is((await runtime.endOf(session, input)).reason, "text");
  await until(() => runtime.runtime.gate.open === 1, 2000, "its place to be free again");
  assert.is(pay.paid.length, 1);
});

const tool = (name: string): LocalTool => ({
  name,
  effect: "pure",
  inputSchema: { type: "object" },
  execute: () => "done",
});

test("runs that were open at a stop all go on at once, and what waited comes after them", async () => {
  const data = temporaryDirectory();
  const before = held();
  const first = await startRuntime({ model: before.model, store: await EmbeddedStore.open(data) });
  const sessions = await Promise.all([1, 2, 3].map(() => first.session()));
  for (const session of sessions) await first.send(session, "open");
  await until(() => before.open() === 3, 2000, "three runs");
  for (const session of sessions) await first.send(session, "next");
  await closeRuntimes();
  const after = held();
  const again = await startRuntime({
    model: after.model,
    store: await EmbeddedStore.open(data),
    maxRuns: 1,
  });
  await until(() => after.open() === 3, 5000, "three runs again");
  assert.is(again.runtime.gate.open, 3);
  let ended = 0;
  again.runtime.onEvent = (event) => {
    if (event.type === "event" && event.event.type === "run-finished") ended++;
  };
  after.release(3);
  for (let at = 0; at < 3; at++) {
    await until(() => after.open() === 1, 5000, "the next run");
    assert.is(again.runtime.gate.open, 1);
    after.release();
  }
  await until(() => ended === 6, 5000, "six ends");
});

test.run();
