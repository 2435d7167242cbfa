/**
 * Sends and creations that are repeated: the same key with the same words answers the first one, whatever has happened in
 * between; with other words it is a conflict. Nothing that was acked runs twice.
 */
import { ProtocolError } from "../../../protocol/errors.ts";
import { newId } from "../../../protocol/ids.ts";
import * as commands from "../../../server/session/commands.ts";
import { EmbeddedStore } from "../../../server/store/embedded.ts";
import { MemoryStore } from "../../../server/store/memory.ts";
import type { Store } from "../../../server/store/store.ts";
import {
  bodiesOf,
  caller,
  closeRuntimes,
  finishes,
  says,
  startRuntime,
  TestModel,
  type TestRuntime,
} from "../../support/runtime.ts";
import { temporaryDirectory } from "../../support/process.ts";
import { assert, suite } from "../../support/suite.ts";
import { deferred, until } from "../../support/wait.ts";
import { violations } from "../agent/rules.ts";

const test = suite("idempotency keys");
test.after.each(closeRuntimes);

const talk = (): TestModel => new TestModel([says("well"), finishes()]);

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await assert.rejects(promise, ProtocolError);
  return (error as ProtocolError).code;
}

async function spoken(store: Store = new MemoryStore()): Promise<{ runtime: TestRuntime; session: string }> {
  const runtime = await startRuntime({ model: talk(), store });
  return { runtime, session: await runtime.session() };
}

test("a repeated send answers the first one's seq and input, and runs nothing", async () => {
  const { runtime, session } = await spoken();
  const first = await runtime.send(session, "hello", { key: "k1" });
  await runtime.entry(session, "run-finished");
  const again = await runtime.send(session, "hello", { key: "k1" });
  assert.equal(again, { seq: first.seq, input: first.input, position: 0, duplicate: true });
  assert.is(bodiesOf(await runtime.log(session), "run-started").length, 1);
});

test("ten repeats at the same moment are one send", async () => {
  const { runtime, session } = await spoken();
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => runtime.send(session, "hello", { key: "k1" })),
  );
  assert.is(new Set(answers.map(({ seq }) => seq)).size, 1);
  assert.is(answers.filter(({ duplicate }) => !duplicate).length, 1);
  await runtime.entry(session, "run-finished");
  assert.is(bodiesOf(await runtime.log(session), "input-queued").length, 1);
});

test("the same key with other words, another mode or another agent is a conflict", async () => {
  const { runtime, session } = await spoken();
  await runtime.runtime.addAgent({ name: "other" });
  await runtime.send(session, "hello", { key: "k1" });
  assert.is(await codeOf(runtime.send(session, "goodbye", { key: "k1" })), "conflict");
  assert.is(await codeOf(runtime.send(session, "hello", { key: "k1", mode: "interrupt" })), "conflict");
  assert.is(await codeOf(runtime.send(session, "hello", { key: "k1", agent: "other" })), "conflict");
  assert.is(
    await codeOf(runtime.send(session, [{ type: "text", text: "hello" }], { key: "k1" })),
    "conflict",
  );
});

test("a key is its user's in its session, nobody else's", async () => {
  const runtime = await startRuntime({ model: talk() });
  const [one, two] = [await runtime.session(), await runtime.session()];
  const everything = (id: string) => ({ ...caller(id), rights: ["admin"] });
  const send = (session: string, user: string) =>
    runtime.runtime.registry.with(session, (held) =>
      commands.send(held, everything(user), { key: "k1", content: user }, runtime.runtime),
    );
  for (const session of [one, two]) {
    for (const user of ["ada", "bob", 'ada"', "__proto__", ""])
      assert.is((await send(session, user)).duplicate, false);
  }
});

test("a repeat is answered when the input was edited, with the words of then", async () => {
  const gate = deferred();
  const runtime = await startRuntime({
    model: new TestModel(async function* () {
      await gate.promise;
      yield finishes();
    }),
  });
  const session = await runtime.session();
  await runtime.send(session, "first");
  await runtime.entry(session, "run-started");
  const sent = await runtime.send(session, "teh second", { key: "k1" });
  await runtime.runtime.registry.with(session, (held) =>
    commands.editInput(held, caller("ada"), sent.input, "the second"),
  );
  assert.equal(await runtime.send(session, "teh second", { key: "k1" }), { ...sent, duplicate: true });
  assert.is(await codeOf(runtime.send(session, "the second", { key: "k1" })), "conflict");
  gate.resolve();
});

test("a repeat is answered when the input was withdrawn, when the queue is full and when the session is closed", async () => {
  const gate = deferred();
  const runtime = await startRuntime({
    maxQueue: 1,
    model: new TestModel(async function* () {
      await gate.promise;
      yield finishes();
    }),
  });
  const session = await runtime.session();
  const first = await runtime.send(session, "first", { key: "k0", mode: "reject" });
  await runtime.entry(session, "run-started");
  const sent = await runtime.send(session, "second", { key: "k1" });
  const repeat = async (key: string, mode?: "reject") =>
    runtime.send(session, key === "k0" ? "first" : "second", {
      key,
      ...(mode === undefined ? {} : { mode }),
    });
  assert.is(await codeOf(runtime.send(session, "third")), "queue-full");
  assert.is((await repeat("k1")).seq, sent.seq);
  assert.is((await repeat("k0", "reject")).seq, first.seq, "busy now, and not then");
  await runtime.runtime.registry.with(session, (held) =>
    commands.withdrawInput(held, caller("ada"), sent.input),
  );
  assert.is((await repeat("k1")).duplicate, true);
  await runtime.close(session);
  assert.is(await codeOf(runtime.send(session, "third")), "closed");
  assert.is((await repeat("k1")).seq, sent.seq);
  gate.resolve();
  await runtime.entry(session, "run-finished");
  assert.equal(violations(await runtime.log(session)), []);
});

for (const home of ["memory", "embedded"]) {
  test(`keys outlive the process: ${home}`, async () => {
    const directory = temporaryDirectory();
    const memory = new MemoryStore();
    const open = async (): Promise<Store> => (home === "memory" ? memory : EmbeddedStore.open(directory));
    const { runtime, session } = await spoken(await open());
    const id = newId("ses");
    await runtime.session({ session: id, key: "c1", title: "mine" });
    const sent = await runtime.send(session, "hello", { key: "k1" });
    await runtime.entry(session, "run-finished");
    await closeRuntimes();

    const again = await startRuntime({ model: talk(), store: await open() });
    assert.equal(await again.send(session, "hello", { key: "k1" }), {
      ...sent,
      position: 0,
      duplicate: true,
    });
    assert.is(await codeOf(again.send(session, "other", { key: "k1" })), "conflict");
    assert.is(await again.session({ session: id, key: "c1", title: "mine" }), id);
    assert.is(await codeOf(again.session({ session: id, key: "c1", title: "other" })), "conflict");
    assert.equal(bodiesOf(await again.log(session), "run-started").length, 1);
  });
}

test("a key outlives the session's stay in memory", async () => {
  const { runtime, session } = await spoken();
  const sent = await runtime.send(session, "hello", { key: "k1" });
  await runtime.entry(session, "run-finished");
  await until(() => runtime.runtime.registry.unloadIdle(-1), 5_000, "the session's end in memory");
  assert.is(runtime.runtime.registry.size, 0);
  assert.is((await runtime.send(session, "hello", { key: "k1" })).seq, sent.seq);
});

test("creating a session again with its key answers it; without, or by another, it is a conflict", async () => {
  const { runtime } = await spoken();
  const id = newId("ses");
  const request = { session: id, key: "c1", metadata: { a: [1], b: 2 } };
  assert.is(await runtime.session(request), id);
  assert.is(await runtime.session({ ...request, metadata: { b: 2, a: [1] } }), id);
  await runtime.run(id, "hello");
  assert.is(await runtime.session(request), id, "also when it has been used");
  for (const [change, user] of [
    [{ key: "c2" }, "ada"],
    [{ metadata: {} }, "ada"],
    [{ agent: "other" }, "ada"],
    [{}, "eve"],
  ] as const) {
    assert.is(await codeOf(runtime.session({ ...request, ...change }, user)), "conflict");
  }
  const { key: _, ...keyless } = request;
  assert.is(await codeOf(runtime.session(keyless)), "conflict");
  assert.is(await codeOf(runtime.session({ key: "c1" })), "bad-frame");
});

test("a deleted session's id is never used again, with its key neither", async () => {
  const { runtime } = await spoken();
  const id = newId("ses");
  await runtime.session({ session: id, key: "c1" });
  await runtime.remove(id);
  assert.is(await codeOf(runtime.session({ session: id, key: "c1" })), "conflict");
  assert.is(await codeOf(runtime.session({ session: id })), "conflict");
  assert.is(await codeOf(runtime.send(id, "hello")), "not-found");
});

test.run();
