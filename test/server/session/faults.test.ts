/**
 * A store that fails: whatever append is lost or comes to nothing, what was acked is there, nobody is told of what is not,
 * and the work goes on by itself when the store does. The store's fault is planted around the real one.
 */
import { ProtocolError } from "../../../protocol/errors.ts";
import { update } from "../../../server/session/commands.ts";
import { CommitQueue } from "../../../server/store/commit.ts";
import type { AppendItem, AppendResult } from "../../../server/store/store.ts";
import { StoreUnavailableError } from "../../../server/store/store.ts";
import {
  bodiesOf,
  caller,
  calls,
  closeRuntimes,
  finishes,
  says,
  startRuntime,
  TestModel,
  type TestRuntime,
} from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { deferred, until } from "../../support/wait.ts";
import { compact } from "../agent/compacting.ts";
import { violations } from "../agent/rules.ts";
import { TestReader } from "./reader.ts";
import { brings, TestStore } from "./stores.ts";

const test = suite("a store that fails");
test.after.each(closeRuntimes);

const FAULTS = ["not written", "written, and the answer lost"] as const;

async function idle(runtime: TestRuntime, session: string): Promise<void> {
  await until(
    async () => {
      const { run, queue } = await runtime.state(session);
      return run === undefined && queue.length === 0;
    },
    15_000,
    "the last run's end",
  );
  assert.equal(violations(await runtime.log(session)), []);
  assert.is(runtime.runtime.router.openCalls, 0);
}

async function refused(promise: Promise<unknown>): Promise<ProtocolError> {
  return (await assert.rejects(promise, ProtocolError)) as ProtocolError;
}

test("an input that waits in a session which a command takes over is answered, though no recovery finds it", async () => {
  const store = new TestStore();
  const runtime = await startRuntime({ store, model: new TestModel([says("well"), finishes()]) });
  const session = await runtime.session();
  store.hideOrphans(true);
  store.failNext("not written", brings("run-started"));
  const { input } = await runtime.send(session, "hello");
  await until(
    () => runtime.runtime.registry.peek(session)?.dropped !== false,
    15_000,
    "the session to be lost",
  );
  await runtime.runtime.registry.with(session, (held) => update(held, caller("ada"), { title: "taken" }));
  assert.is((await runtime.endOf(session, input)).reason, "text");
});

for (const fault of FAULTS) {
  test(`a send whose append is ${fault}: unavailable, and the repeat is one send`, async () => {
    const store = new TestStore();
    const runtime = await startRuntime({ store, model: new TestModel([says("well"), finishes()]) });
    const session = await runtime.session();
    store.failNext(fault);
    const error = await refused(runtime.send(session, "hello", { key: "k1" }));
    assert.equal([error.code, error.retryable], ["unavailable", true]);
    const again = await runtime.send(session, "hello", { key: "k1" });
    assert.is(again.duplicate, fault !== "not written");
    await runtime.endOf(session, again.input).catch(() => {});
    await idle(runtime, session);
    assert.is(bodiesOf(await runtime.log(session), "input-queued").length, 1);
    assert.is(bodiesOf(await runtime.log(session), "run-started").length, 1);
  });

  for (const type of ["run-started", "tool-result", "run-finished"] as const) {
    test(`a run goes on when the append of ${type} is ${fault}`, async () => {
      const store = new TestStore();
      const executed: unknown[] = [];
      const runtime = await startRuntime({
        store,
        model: new TestModel(async function* (request) {
          const asked = request.messages.some(({ role }) => role === "tool");
          if (!asked) yield calls("work");
          else yield says("done");
          yield finishes(asked ? "stop" : "tool-calls");
        }),
        router: { graceMs: 50 },
        tools: [{ name: "work", effect: "once", inputSchema: {}, execute: () => executed.push(1) }],
      });
      const session = await runtime.session();
      store.failNext(fault, brings(type));
      await runtime.send(session, "hello");
      await idle(runtime, session);
      const ends = bodiesOf(await runtime.log(session), "run-finished");
      assert.is(ends.length, 1);
      assert.is(executed.length, 1, "once");
      assert.is((await runtime.run(session, "and again")).reason, "text");
    });
  }

  test(`a cancel whose append is ${fault} is not acked, and can be repeated`, async () => {
    const store = new TestStore();
    const runtime = await startRuntime({
      store,
      agent: { crashPolicy: "stop" },
      model: new TestModel(async function* () {
        yield says("on and on");
        await new Promise(() => {});
      }),
    });
    const session = await runtime.session();
    await runtime.send(session, "hello");
    const { event } = await runtime.entry(session, "run-started");
    await runtime.delta(session, "on and on");
    store.failNext(fault, brings("cancel-requested"));
    assert.is((await refused(runtime.cancel(session, event.run))).code, "unavailable");
    await runtime.cancel(session, event.run);
    await idle(runtime, session);
  });

  test(`readers are told when an append is ${fault}, and read on from where they were`, async () => {
    const store = new TestStore();
    const runtime = await startRuntime({ store, model: new TestModel([says("well"), finishes()]) });
    const session = await runtime.session();
    const reader = new TestReader();
    await reader.attach(runtime, session, { after: { epoch: 0, seq: 0 } });
    store.failNext(fault);
    await refused(runtime.send(session, "hello"));
    assert.equal(reader.frames.at(-1), { type: "detached", session, reason: "unavailable" });
    const last = reader.of("event").at(-1)!;
    await runtime.run(session, "again");
    await idle(runtime, session);
    await reader.attach(runtime, session, { after: { epoch: last.epoch, seq: last.seq } });
    assert.equal(
      reader.seqs,
      (await runtime.log(session)).map(({ seq }) => seq),
    );
    assert.equal(reader.folded(), await runtime.state(session));
  });
}

test("an input whose answer was lost runs although nobody repeats it", async () => {
  const store = new TestStore();
  const runtime = await startRuntime({ store, model: new TestModel([says("well"), finishes()]) });
  const session = await runtime.session();
  const first = await runtime.run(session, "first");
  store.failNext("written, and the answer lost");
  await refused(runtime.send(session, "hello"));
  await runtime.entry(session, "run-finished", (body) => body.run !== first.run);
  await idle(runtime, session);
});

test("what is not durable is told to nobody", async () => {
  const store = new TestStore();
  const runtime = await startRuntime({ store, model: new TestModel([says("well"), finishes()]) });
  const session = await runtime.session();
  const reader = new TestReader();
  await reader.attach(runtime, session);
  const held = store.holdNext();
  const sending = runtime.send(session, "hello");
  const letGo = await held;
  await new Promise(setImmediate);
  assert.equal(reader.of("event"), []);
  assert.equal((await runtime.state(session)).queue, []);
  letGo();
  await sending;
  assert.is(reader.of("event")[0]?.event.type, "input-queued");
});

/** A commit queue that is full for a while, as one is behind a slow disk. */
class FullQueue extends CommitQueue {
  full: (item: AppendItem) => boolean = () => false;

  override append(item: AppendItem): Promise<AppendResult> {
    if (!this.full(item)) return super.append(item);
    return Promise.reject(new StoreUnavailableError("too many appends wait", { retryAfterMs: 100 }));
  }
}

test("an input that could not be started for want of room is started when there is some", async () => {
  const store = new TestStore();
  const commits = new FullQueue(store);
  const runtime = await startRuntime({ store, commits, model: new TestModel([says("well"), finishes()]) });
  const session = await runtime.session();
  let refusals = 0;
  commits.full = (item) => brings("run-started")([item]) && refusals++ < 3;
  await runtime.send(session, "hello");
  await runtime.entry(session, "run-finished");
  assert.is(refusals > 3, true);
  await idle(runtime, session);
});

test("a run whose end found no room is ended when there is some", async () => {
  const store = new TestStore();
  const commits = new FullQueue(store);
  const runtime = await startRuntime({ store, commits, model: new TestModel([says("well"), finishes()]) });
  const session = await runtime.session();
  let refusals = 0;
  commits.full = (item) => brings("run-finished")([item]) && refusals++ < 3;
  await runtime.send(session, "hello");
  await idle(runtime, session);
  assert.is(bodiesOf(await runtime.log(session), "run-finished").length, 1);
});

test("a full queue is told as unavailable, with the time to wait", async () => {
  const store = new TestStore();
  const commits = new FullQueue(store);
  const runtime = await startRuntime({ store, commits });
  const session = await runtime.session();
  commits.full = () => true;
  for (const act of [() => runtime.send(session, "hello"), () => runtime.session()]) {
    const error = (await assert.rejects(act())) as Error & { retryAfterMs?: number };
    assert.is(error.retryAfterMs, 100);
  }
  commits.full = () => false;
  assert.is((await runtime.run(session, "hello")).reason, "text");
});

test("a summary that could not be committed is the store's fault, not the model's, and can be asked for again", async () => {
  const store = new TestStore();
  const commits = new FullQueue(store);
  const runtime = await startRuntime({ store, commits, model: new TestModel([says("well"), finishes()]) });
  const session = await runtime.session();
  await runtime.run(session, "hello");
  commits.full = (item) => brings("compacted")([item]);
  const error = (await assert.rejects(compact(runtime, session), StoreUnavailableError)) as Error & {
    retryAfterMs?: number;
  };
  assert.is(error.retryAfterMs, 100);
  commits.full = () => false;
  assert.is((await compact(runtime, session)).summary, "well");
});

test("a replay that cannot be read ends for its reader, who is told, and can be asked for again", async () => {
  const store = new TestStore();
  const runtime = await startRuntime({ store, model: new TestModel([says("well"), finishes()]) });
  const session = await runtime.session();
  for (let n = 0; n < 70; n++) await runtime.run(session, `input ${n}`);
  const { registry } = runtime.runtime;
  const empty = () =>
    until(async () => (await registry.unloadIdle(-1), registry.size === 0), 5_000, "an empty registry");
  await empty();
  for (const pages of [0, 1]) {
    const reader = new TestReader();
    store.failReads(pages);
    // What comes after the answer is no second answer.
    await reader.attach(runtime, session, { after: { epoch: 0, seq: 0 } });
    store.failReads(Infinity);
    assert.is(reader.answer?.mode, "events");
    assert.equal(reader.frames.at(-1), { type: "detached", session, reason: "unavailable" });
    await empty();
    await reader.attach(runtime, session, { after: { epoch: 0, seq: reader.seqs.at(-1) ?? 0 } });
    assert.is(reader.frames.at(-1)?.type, "live");
    await registry.with(session, async (held) => void held.feed.detach(reader));
    await empty();
  }
});

test("a position that cannot be checked is an error, and leaves no reader behind", async () => {
  const store = new TestStore();
  const runtime = await startRuntime({ store, model: new TestModel([says("well"), finishes()]) });
  const session = await runtime.session();
  for (let n = 0; n < 70; n++) await runtime.run(session, `input ${n}`);
  const { registry } = runtime.runtime;
  await until(async () => (await registry.unloadIdle(-1), registry.size === 0), 5_000, "an empty registry");
  await runtime.state(session);
  const reader = new TestReader();
  store.failReads(0);
  await assert.rejects(
    reader.attach(runtime, session, { after: { epoch: 1, seq: 3 } }),
    StoreUnavailableError,
  );
  store.failReads(Infinity);
  assert.is(registry.peek(session)?.feed.subscribers, 0);
});

test("one session's fault is its own", async () => {
  const store = new TestStore();
  const gate = deferred();
  const runtime = await startRuntime({
    store,
    model: new TestModel(async function* () {
      yield says("well");
      await gate.promise;
      yield finishes();
    }),
  });
  const [one, two] = [await runtime.session(), await runtime.session()];
  await runtime.send(two, "hello");
  await runtime.delta(two, "well");
  store.failNext("not written");
  await refused(runtime.send(one, "hello"));
  gate.resolve();
  assert.is((await runtime.entry(two, "run-finished")).event.reason, "text");
  assert.equal(bodiesOf(await runtime.log(two), "run-recovered"), []);
});

test.run();
