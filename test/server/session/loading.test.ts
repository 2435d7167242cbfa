/**
 * Sessions in memory: loaded once however many ask, gone when nobody needs them, back as they were; never gone while
 * somebody is inside, and never two of one session.
 */
import { ProtocolError } from "../../../protocol/errors.ts";
import { MemoryStore } from "../../../server/store/memory.ts";
import type { Loaded, StoredEntry } from "../../../server/store/store.ts";
import {
  aborted,
  bodiesOf,
  closeRuntimes,
  finishes,
  says,
  script,
  startRuntime,
  TestModel,
} from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { deferred, seeded, seedFromEnvironment, until } from "../../support/wait.ts";
import { violations } from "../agent/rules.ts";
import { TestReader } from "./reader.ts";

const test = suite("sessions in memory");
test.after.each(closeRuntimes);

/** Counts what is read of it. */
class CountingStore extends MemoryStore {
  loads = 0;
  entriesRead = 0;

  override load(id: string): Promise<Loaded | undefined> {
    this.loads++;
    return super.load(id);
  }

  override async read(...given: Parameters<MemoryStore["read"]>): Promise<StoredEntry[]> {
    const entries = await super.read(...given);
    this.entriesRead += entries.length;
    return entries;
  }
}

const talk = (): TestModel => new TestModel([says("well"), finishes()]);

async function spoken(rounds: number) {
  const store = new CountingStore();
  const runtime = await startRuntime({ store, model: talk() });
  const session = await runtime.session();
  for (let n = 0; n < rounds; n++) await runtime.run(session, `input ${n}`);
  const { registry } = runtime.runtime;
  /** Until nothing is in memory. */
  const empty = () =>
    until(async () => (await registry.unloadIdle(-1), registry.size === 0), 5_000, "an empty registry");
  return { store, runtime, session, registry, empty };
}

test("an idle session leaves memory and comes back as it was", async () => {
  for (const rounds of [0, 1, 40]) {
    const { runtime, session, empty } = await spoken(rounds);
    const before = await runtime.state(session);
    await empty();
    assert.equal(await runtime.state(session), before);
    await empty();
    await runtime.run(session, "and on");
    await empty();
    const log = await runtime.log(session);
    assert.equal(violations(log), []);
    assert.is((await runtime.state(session)).seq, log.length);
  }
});

test("a long session comes back from its stored state, not from its first entry", async () => {
  const { store, runtime, session, empty } = await spoken(100);
  await empty();
  store.entriesRead = 0;
  const state = await runtime.state(session);
  assert.is(state.messages.length, 200);
  assert.is(store.entriesRead, 0);
  await runtime.run(session, "a little more");
  await empty();
  store.entriesRead = 0;
  const log = await runtime.log(session);
  store.entriesRead = 0;
  assert.is((await runtime.state(session)).seq, log.length);
  assert.ok(store.entriesRead <= 10, `${store.entriesRead} entries`);
});

test("however many ask at once, a session is loaded once", async () => {
  const { store, runtime, session, registry, empty } = await spoken(3);
  await empty();
  store.loads = 0;
  const states = await Promise.all(Array.from({ length: 50 }, () => runtime.state(session)));
  assert.is(store.loads, 1);
  assert.ok(states.every((state) => state === states[0]));
  assert.is(registry.size, 1);
});

test("a session that is not there is asked for each time, and kept by nobody", async () => {
  const { store, registry } = await spoken(0);
  store.loads = 0;
  for (let n = 0; n < 3; n++) {
    const error = await assert.rejects(
      registry.with("ses_none", () => Promise.resolve()),
      ProtocolError,
    );
    assert.is((error as ProtocolError).code, "not-found");
  }
  assert.is(store.loads, 3);
  assert.is(registry.peek("ses_none"), undefined);
  assert.is(registry.size, 1);
});

test("nobody is put out: not a reader, not a run, not what waits, not who is inside", async () => {
  const gate = deferred();
  const runtime = await startRuntime({
    model: new TestModel(async function* (_request, signal) {
      await Promise.race([gate.promise, aborted(signal)]);
      yield finishes();
    }),
  });
  const { registry } = runtime.runtime;
  const [read, busy, used] = [await runtime.session(), await runtime.session(), await runtime.session()];
  const reader = new TestReader();
  await reader.attach(runtime, read);
  await runtime.send(busy, "go");
  await runtime.send(busy, "waits");
  const inside = deferred();
  const using = registry.with(used, () => inside.promise);
  await new Promise(setImmediate);
  assert.is(await registry.unloadIdle(-1), 0);
  assert.is(registry.size, 3);
  inside.resolve();
  gate.resolve();
  await using;
  await registry.with(read, async (held) => void held.feed.detach(reader));
  await until(async () => (await registry.unloadIdle(-1), registry.size === 0), 5_000, "an empty registry");
  assert.is(bodiesOf(await runtime.log(busy), "run-finished").length, 2);
});

test("who was inside just now is not idle yet", async () => {
  let now = 1_700_000_000_000;
  const runtime = await startRuntime({ now: () => now, idleMs: 10_000 });
  const session = await runtime.session();
  const { registry } = runtime.runtime;
  now += 9_000;
  await runtime.state(session);
  now += 9_000;
  assert.is(await registry.unloadIdle(), 0);
  now += 1_000;
  assert.is(await registry.unloadIdle(), 1);
});

test(
  "readers and commands that come while the session leaves get it, whole",
  { limitMs: 60_000 },
  async () => {
    const random = seeded(seedFromEnvironment());
    const { runtime, session: first, registry } = await spoken(2);
    let session = first;
    const turns = async (most: number): Promise<void> => {
      for (let n = random.int(most); n > 0; n--) await Promise.resolve();
    };
    let sent = 0;
    for (let round = 0; round < 300; round++) {
      // A snapshot holds fifty messages.
      if (round % 10 === 0) session = await runtime.session();
      const reader = new TestReader();
      const leaving = (async () => {
        await turns(30);
        await registry.unloadIdle(-1);
      })();
      const attaching = (async () => {
        await turns(40);
        await reader.attach(runtime, session, random.chance(0.5) ? { after: { epoch: 0, seq: 0 } } : {});
      })();
      const sending = (async () => {
        await turns(40);
        if (random.chance(0.3)) await runtime.send(session, script({ text: `${sent++}` }));
      })();
      await Promise.all([leaving, attaching, sending]);
      await runtime.run(session, "is anybody there?");
      assert.equal(reader.folded(), await runtime.state(session), `round ${round}`);
      await registry.with(session, async (held) => void held.feed.detach(reader));
      assert.equal(violations(await runtime.log(session)), []);
    }
  },
);

test("fifty sends at once to one session run one after another, in the order of their acks", async () => {
  const running = { now: 0, most: 0 };
  const order: string[] = [];
  const runtime = await startRuntime({
    model: new TestModel(async function* (request) {
      running.most = Math.max(running.most, ++running.now);
      const last = request.messages.at(-1);
      order.push(
        last?.role === "user"
          ? last.parts.map((part) => (part.type === "text" ? part.text : "")).join("")
          : "",
      );
      await new Promise(setImmediate);
      yield says("well");
      await new Promise(setImmediate);
      running.now--;
      yield finishes();
    }),
  });
  const session = await runtime.session();
  const acked: { text: string; input: string; seq: number }[] = [];
  await Promise.all(
    Array.from({ length: 50 }, async (_, n) => {
      const { input, seq } = await runtime.send(session, `input ${n}`);
      acked.push({ text: `input ${n}`, input, seq });
    }),
  );
  await Promise.all(acked.map(({ input }) => runtime.endOf(session, input)));
  assert.is(running.most, 1);
  assert.equal(
    order,
    acked.map(({ text }) => text),
  );
  assert.equal(
    acked.map(({ seq }) => seq),
    acked.map(({ seq }) => seq).toSorted((a, b) => a - b),
  );
  assert.equal(violations(await runtime.log(session)), []);
});

test("fifty sends at once to fifty sessions run side by side", async () => {
  const all = deferred();
  let here = 0;
  const runtime = await startRuntime({
    model: new TestModel(async function* () {
      if (++here === 50) all.resolve();
      // None ends before all have begun.
      await all.promise;
      yield finishes();
    }),
  });
  const sessions = await Promise.all(Array.from({ length: 50 }, () => runtime.session()));
  await Promise.all(sessions.map((session) => runtime.run(session, "go")));
  assert.is(here, 50);
});

test.run();
