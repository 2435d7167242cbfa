/**
 * What an embedder does with a session beyond sending to it: summed up, forked, asked again, stopped, deleted; and that
 * recovery of what others left open comes to its end and is in nobody's way. Sending is runtime.test.ts.
 */
import { ProtocolError } from "../../protocol/errors.ts";
import { MemoryStore } from "../../server/store/memory.ts";
import { aborted, closeRuntimes, finishes, says, startRuntime, TestModel } from "../support/runtime.ts";
import { assert, suite } from "../support/suite.ts";
import { deferred, until } from "../support/wait.ts";

const test = suite("the runtime, onward");
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

test(
  "more open sessions than one round of recovery takes are all recovered",
  { limitMs: 60_000 },
  async () => {
    const store = new MemoryStore();
    const first = await startRuntime({ store, model: waiting(), maxRunsPerUser: 0 });
    const sessions = await Promise.all(Array.from({ length: 700 }, () => first.session()));
    await Promise.all(sessions.map((session) => first.send(session, "go")));
    await until(
      () => first.runtime.router.openCalls === 0 && first.events.all.length > 2_800,
      20_000,
      "all runs",
    );
    await closeRuntimes();
    const second = await startRuntime({ store, model: new TestModel([says("well"), finishes()]) });
    await Promise.all(sessions.map((session) => second.entry(session, "run-finished")));
  },
);

test("an embedder has a session summed up, forked, asked again and deleted", async () => {
  const model = new TestModel(
    [says("half"), finishes("length")],
    [says("whole"), finishes()],
    [says("They greeted."), finishes()],
    [says("in the fork"), finishes()],
  );
  const { runtime } = await startRuntime({ model });
  const session = await runtime.createSession("demo", "ann");
  assert.is(await codeOf(runtime.forkSession(session)), "conflict");
  assert.is(await codeOf(runtime.compactSession(session)), "conflict");
  const cut = await runtime.sendTo(session, "hello", "ann");
  assert.is(cut.stopReason, "max-tokens");
  const whole = await runtime.retry(session, cut.run, "bob");
  assert.equal([whole.stopReason, whole.finalResponse], ["text", "whole"]);
  assert.is(await codeOf(runtime.retry(session, whole.run)), "conflict");
  assert.is(await runtime.compactSession(session), "They greeted.");
  assert.is((await runtime.session(session))!.compacted?.summary, "They greeted.");
  const id = await runtime.forkSession(session, "bob");
  const fork = (await runtime.session(id))!;
  assert.equal([fork.session.owner, fork.session.forkedFrom?.session], ["bob", session]);
  assert.is((await runtime.sendTo(id, "go on", "bob")).finalResponse, "in the fork");
  const at = fork.session.forkedFrom!.at;
  assert.is(await codeOf(runtime.forkSession(session, "bob", { at: at - 1 })), "bad-frame");
  assert.equal([await runtime.deleteSession(session), await runtime.deleteSession(session)], [true, false]);
  assert.is(await runtime.session(session), undefined);
  for (const gone of [
    runtime.forkSession(session),
    runtime.compactSession(session),
    runtime.retry(session, cut.run),
  ])
    assert.is(await codeOf(gone), "not-found");
});

test("an embedder stops a run, once", async () => {
  const { runtime } = await startRuntime({ model: waiting() });
  const session = await runtime.createSession("demo");
  let run = "";
  for await (const event of runtime.streamTo(session, "hello")) {
    if (event.type === "delta") assert.ok(await runtime.cancel(session, (run = event.run)));
    else if (event.event.type === "run-finished") assert.is(event.event.reason, "cancelled");
  }
  assert.is(await runtime.cancel(session, run), false);
  assert.is(await codeOf(runtime.cancel(session, "run_nobody")), "not-found");
});

test("who comes is served at once, however long recovery takes", async () => {
  const store = new MemoryStore();
  const first = await startRuntime({ store, model: waiting(), maxRunsPerUser: 0 });
  const open = await first.session();
  await first.send(open, "hello");
  await first.delta(open, "well");
  await first.runtime.registry.close();
  const asked = deferred();
  const never = new Promise<string[]>(() => asked.resolve());
  store.orphans = async () => (asked.resolve(), never);
  const { runtime } = await startRuntime({ store });
  await asked.promise;
  assert.is((await runtime.session(open))!.session.state, "running");
  const answer = await runtime.sendTo(await runtime.createSession("demo"), "and me?");
  assert.is(answer.stopReason, "text");
});

test.run();
