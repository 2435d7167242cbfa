/**
 * Attaching and following: what a reader gets from which position, at any moment of a run, while entries are being
 * appended and while its own socket is slow. Every reader sees every entry once, in order, as the bytes that were stored.
 */
import { MAX_FRAME_BYTES } from "../../../protocol/version.ts";
import type { ProtocolError } from "../../../protocol/errors.ts";
import { cut } from "../../../protocol/state.ts";
import { MemoryStore } from "../../../server/store/memory.ts";
import { grant, revoke } from "../../../server/session/members.ts";
import type { Session } from "../../../server/session/session.ts";
import {
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
import { deferred, seeded, seedFromEnvironment, until } from "../../support/wait.ts";
import { TestReader } from "./reader.ts";

const test = suite("the feed of a session");
test.after.each(closeRuntimes);

const talk = (): TestModel => new TestModel([says("well"), finishes()]);

async function spoken(
  rounds: number,
  store = new MemoryStore(),
): Promise<{ runtime: TestRuntime; session: string }> {
  const runtime = await startRuntime({ model: talk(), store });
  const session = await runtime.session();
  for (let n = 0; n < rounds; n++) await runtime.run(session, `input ${n}`);
  return { runtime, session };
}

function upTo(head: number, from = 1): number[] {
  return Array.from({ length: head - from + 1 }, (_, n) => from + n);
}

test("without a position: the answer with a snapshot, then live, then what comes", async () => {
  const { runtime, session } = await spoken(2);
  const reader = new TestReader();
  await reader.attach(runtime, session);
  const state = await runtime.state(session);
  assert.is(reader.answer?.mode, "snapshot");
  assert.is(reader.answer?.head, state.seq);
  assert.equal(reader.answer?.snapshot?.state, state);
  assert.equal(reader.frames, [{ type: "live", session, epoch: state.epoch, seq: state.seq }]);
  assert.is(reader.answeredAt, 0, "the answer comes first");
  await runtime.run(session, "one more");
  assert.equal(reader.seqs, upTo((await runtime.state(session)).seq, state.seq + 1));
  assert.equal(reader.folded(), await runtime.state(session));
});

test("from seq 0: every entry, as the bytes that were stored, then live", async () => {
  const { runtime, session } = await spoken(60);
  const reader = new TestReader();
  await reader.attach(runtime, session, { after: { epoch: 0, seq: 0 } });
  const stored = await runtime.runtime.store.read(session, 0, 1_000);
  assert.is(reader.answer?.mode, "events");
  assert.equal(reader.seqs, upTo(stored.length));
  for (const [n, { bytes }] of stored.entries()) assert.equal(reader.encoded[n]?.bytes, bytes);
  assert.is(reader.frames.at(-1)?.type, "live");
  assert.equal(reader.folded(), await runtime.state(session));
});

test("from a valid position: what came since; from the head: nothing but live", async () => {
  const { runtime, session } = await spoken(3);
  const { seq: head, epoch } = await runtime.state(session);
  for (const seq of upTo(head)) {
    const reader = new TestReader();
    await reader.attach(runtime, session, { after: { epoch, seq } });
    assert.is(reader.answer?.mode, "events");
    assert.equal(reader.seqs, upTo(head, seq + 1));
    assert.is(reader.of("live").length, 1);
  }
});

test("a position that this log does not have is answered by a snapshot", async () => {
  const { runtime, session } = await spoken(3);
  const { seq: head, epoch } = await runtime.state(session);
  for (const after of [
    { epoch, seq: head + 1 },
    { epoch: epoch + 1, seq: head },
    { epoch: epoch - 1, seq: head },
    { epoch: epoch + 1, seq: 2 },
    { epoch: 0, seq: 1 },
    { epoch, seq: Number.MAX_SAFE_INTEGER },
  ]) {
    const reader = new TestReader();
    await reader.attach(runtime, session, { after });
    assert.is(reader.answer?.mode, "snapshot", JSON.stringify(after));
    assert.is(reader.frames[0]?.type, "live");
  }
});

test("positions stay valid when the session is loaded anew, under whatever epoch it goes on", async () => {
  const store = new MemoryStore();
  const { runtime: first, session } = await spoken(2, store);
  const positions = (await first.log(session)).map(({ epoch, seq }) => ({ epoch, seq }));
  await closeRuntimes();
  const second = await startRuntime({ model: talk(), store });
  await second.run(session, "under a new epoch");
  await second.runtime.registry.unloadIdle(0);
  const log = await second.log(session);
  assert.is.not(log.at(-1)?.epoch, positions[0]?.epoch);
  for (const after of [...positions, ...log.map(({ epoch, seq }) => ({ epoch, seq }))]) {
    const reader = new TestReader();
    await reader.attach(second, session, { after });
    assert.is(reader.answer?.mode, "events");
    assert.equal(reader.seqs, upTo(log.length, after.seq + 1));
    // The old entry's epoch with the new one's seq is another log's position.
    if (after.epoch !== log.at(-1)?.epoch) {
      const other = new TestReader();
      await other.attach(second, session, { after: { epoch: after.epoch, seq: log.length } });
      assert.is(other.answer?.mode, "snapshot");
    }
  }
});

test("who joins in the middle of a text has it whole, then the rest", async () => {
  const [half, end] = [deferred(), deferred()];
  const runtime = await startRuntime({
    model: new TestModel(async function* () {
      yield says("the first ha");
      yield says("lf 😀, ");
      await half.promise;
      yield says("the second half");
      await end.promise;
      yield finishes();
    }),
  });
  const session = await runtime.session();
  const early = new TestReader();
  await early.attach(runtime, session);
  await runtime.send(session, "go");
  await runtime.delta(session, "lf 😀, ");
  const late = new TestReader();
  await late.attach(runtime, session);
  assert.is(late.text(), "the first half 😀, ");
  assert.equal(
    late.of("live")[0]?.partial?.parts.map(({ kind, text }) => [kind, text]),
    [["text", "the first half 😀, "]],
  );
  half.resolve();
  for (const reader of [early, late])
    await reader.until((frame) => frame.type === "delta" && frame.text.includes("second half"));
  assert.is(late.text(), "the first half 😀, the second half");
  assert.is(early.text(), late.text());
  end.resolve();
  await runtime.entry(session, "run-finished");
  assert.is(late.text(), "");
  assert.equal(late.folded(), early.folded());
});

test("a snapshot's reader and a replay's reader, joined at any event of a run, end with one state", async () => {
  const random = seeded(seedFromEnvironment());
  const runtime = await startRuntime({
    model: new TestModel(
      [says("let "), says("me see"), calls("work", 1), calls("work", 2), finishes("tool-calls")],
      [says("so "), says("it is"), finishes()],
    ),
    tools: [{ name: "work", inputSchema: {}, execute: (n) => n }],
  });
  const session = await runtime.session();
  const readers: TestReader[] = [];
  const attaching: Promise<void>[] = [];
  const record = runtime.runtime.onEvent;
  runtime.runtime.onEvent = (event) => {
    record(event);
    if (!random.chance(0.5)) return;
    const reader = new TestReader();
    readers.push(reader);
    const after = random.chance(0.5) ? { after: { epoch: 0, seq: 0 } } : {};
    attaching.push(reader.attach(runtime, session, after));
  };
  for (let n = 0; n < 3; n++) await runtime.run(session, `go ${n}`);
  await Promise.all(attaching);
  const state = await runtime.state(session);
  assert.ok(readers.length > 5);
  for (const reader of readers) {
    assert.is(reader.of("live").length, 1);
    assert.equal(reader.folded(), state);
    assert.is(reader.text(), "", "no text is left over, none was missing");
  }
});

test("entries that are appended during a slow replay come after it, once, and live comes last", async () => {
  const { runtime, session } = await spoken(80);
  const reader = new TestReader();
  const empty = reader.fill();
  const attaching = reader.attach(runtime, session, { after: { epoch: 0, seq: 0 } });
  await runtime.run(session, "meanwhile");
  assert.equal(reader.of("delta"), [], "it is not live yet");
  empty();
  await runtime.run(session, "and on");
  await attaching;
  const { seq } = await runtime.state(session);
  assert.equal(reader.seqs, upTo(seq));
  assert.is(reader.of("live").length, 1);
  const live = reader.frames.findIndex(({ type }) => type === "live");
  const delta = reader.frames.findIndex(({ type }) => type === "delta" || type === "part");
  assert.ok(delta < 0 || delta > live, "no delta before live");
});

test("a slow reader holds nobody up", async () => {
  const { runtime, session } = await spoken(2);
  const slow = new TestReader();
  slow.fill();
  void slow.attach(runtime, session, { after: { epoch: 0, seq: 0 } });
  const quick = new TestReader();
  await quick.attach(runtime, session);
  assert.is((await runtime.run(session, "go")).reason, "text");
  assert.ok(quick.of("event").length > 0);
  assert.equal(slow.of("event"), []);
});

test("a second attach of one reader takes the place of the first", async () => {
  const { runtime, session } = await spoken(30);
  const reader = new TestReader();
  const empty = reader.fill();
  const first = reader.attach(runtime, session, { after: { epoch: 0, seq: 0 } });
  const { epoch, seq } = await runtime.state(session);
  const second = reader.attach(runtime, session, { after: { epoch, seq: seq - 2 } });
  empty();
  await Promise.all([first, second]);
  assert.equal(reader.seqs, [seq - 1, seq]);
  assert.is(reader.of("live").length, 1);
  await runtime.run(session, "more");
  assert.equal(reader.seqs, upTo((await runtime.state(session)).seq, seq - 1), "each entry once");
});

test("who detaches or is gone gets nothing more, in the middle of a replay too", async () => {
  const { runtime, session } = await spoken(30);
  const leaving = new TestReader();
  const empty = leaving.fill();
  const attaching = leaving.attach(runtime, session, { after: { epoch: 0, seq: 0 } });
  await runtime.runtime.registry.with(session, async (held) => {
    assert.is(held.feed.subscribers, 1);
    assert.is(held.feed.detach(leaving), true);
    assert.is(held.feed.detach(leaving), false);
  });
  empty();
  const answer = await attaching.then(
    () => "none",
    (error: unknown) => (error as ProtocolError).code,
  );
  assert.is(answer, "conflict", "an attach that ended before its answer is answered all the same");
  assert.equal(leaving.frames, []);

  const dead = new TestReader();
  await dead.attach(runtime, session);
  const before = dead.frames.length;
  dead.gone = true;
  await runtime.run(session, "go");
  assert.is(dead.frames.length, before);
});

test("who loses the right to read is told so and gets nothing more, live and in replay; the others go on", async () => {
  const { runtime, session } = await spoken(30);
  const [ada, bob, slow, early] = [new TestReader(), new TestReader(), new TestReader(), new TestReader()];
  for (const reader of [bob, slow, early]) reader.user = "bob";
  const { registry } = runtime.runtime;
  const change = (task: (held: Session) => Promise<unknown>): Promise<unknown> =>
    registry.with(session, task);
  await change((held) => grant(held, caller("ada"), "bob", "editor", 9));
  await ada.attach(runtime, session);
  await bob.attach(runtime, session);
  const empty = slow.fill();
  const attaching = slow.attach(runtime, session, { after: { epoch: 0, seq: 0 } });
  await until(() => slow.answer, 10_000, "the answer");
  const revoking = change((held) => revoke(held, caller("ada"), "bob"));
  // Its position is read from the store, so that it has no answer when the right ends.
  const late = early.attach(runtime, session, { after: { epoch: 1, seq: 1 } }).then(
    () => "ok",
    (error: unknown) => (error as ProtocolError).code,
  );
  await Promise.all([revoking, late]);
  empty();
  await attaching;
  const end = { type: "detached", session, reason: "forbidden" };
  const before = [bob.frames.length, slow.frames.length, early.frames.length];
  for (const reader of [bob, slow]) assert.equal(reader.frames.at(-1), end);
  if (early.answer === undefined) assert.is(await late, "not-found");
  await runtime.run(session, "more");
  assert.equal([bob.frames.length, slow.frames.length, early.frames.length], before);
  const told = [bob, slow, early]
    .flatMap(({ frames }) => frames)
    .filter((frame) => {
      return frame.type === "event" && frame.event.type === "member-changed" && frame.event.role === null;
    });
  assert.equal(told, [], "the entry that ends it is not for them");
  assert.equal(ada.of("event").at(-1)!.event.type, "run-finished");
  assert.equal((await runtime.state(session)).members, { ada: "owner" });
});

test("deleting a session tells its readers, in replay too, and stops its run", async () => {
  const gate = deferred();
  const runtime = await startRuntime({
    model: new TestModel(async function* () {
      await gate.promise;
      yield finishes();
    }),
  });
  const session = await runtime.session();
  const [live, replaying] = [new TestReader(), new TestReader()];
  await live.attach(runtime, session);
  const empty = replaying.fill();
  const attaching = replaying.attach(runtime, session, { after: { epoch: 0, seq: 0 } });
  await runtime.send(session, "go");
  await runtime.entry(session, "run-started");
  await runtime.remove(session);
  empty();
  gate.resolve();
  await attaching;
  assert.equal(live.frames.at(-1), { type: "detached", session, reason: "deleted" });
  assert.equal(replaying.frames, [{ type: "detached", session, reason: "deleted" }]);
  assert.is(await runtime.runtime.session(session), undefined);
});

test("an entry is encoded once for all its readers", async () => {
  const { runtime, session } = await spoken(1);
  const readers = [new TestReader(), new TestReader(), new TestReader()];
  for (const reader of readers) await reader.attach(runtime, session);
  await runtime.run(session, "go");
  const [first, ...others] = readers.map((reader) => reader.encoded.slice(1));
  for (const other of others) assert.ok(other.every((frame, n) => frame === first?.[n]));
});

test("a channel is one session's alone, and never used again", async () => {
  const { runtime, session } = await spoken(1);
  const channels: number[] = [];
  for (let n = 0; n < 3; n++) {
    const reader = new TestReader();
    await reader.attach(runtime, session);
    channels.push(reader.answer!.channel);
    reader.gone = true;
    await runtime.runtime.registry.with(session, async (held) => void held.feed.detach(reader));
    await runtime.runtime.registry.unloadIdle(-1);
    assert.is(runtime.runtime.registry.size, 0);
  }
  assert.is(new Set(channels).size, 3);
});

test("a snapshot has the tail that was asked for, and fits one frame whatever is in it", async () => {
  const { runtime, session } = await spoken(5);
  const small = new TestReader();
  await small.attach(runtime, session, { tail: 3 });
  assert.equal(small.answer?.snapshot?.state, cut(await runtime.state(session), 3));
  assert.is(small.answer?.snapshot?.state.messages.length, 3);

  const big = "x".repeat(700_000);
  const gate = deferred();
  const wordy = await startRuntime({
    model: new TestModel([calls("big"), calls("big"), finishes("tool-calls")], async function* () {
      await gate.promise;
      yield finishes();
    }),
    tools: [{ name: "big", inputSchema: {}, execute: () => big }],
  });
  const other = await wordy.session();
  await wordy.send(other, big);
  await wordy.entry(other, "step-finished");
  for (let n = 0; n < 60; n++) await wordy.send(other, `${n}${"😀".repeat(5_000)}`);
  const reader = new TestReader();
  await reader.attach(wordy, other);
  const { answer } = reader;
  assert.ok(JSON.stringify(answer).length < MAX_FRAME_BYTES);
  assert.is(answer?.snapshot?.state.queue.length, 60);
  for (const { content, truncated } of answer?.snapshot?.state.queue ?? []) {
    assert.ok(typeof content === "string" && content.length <= 1_024 && content.isWellFormed());
    assert.is(truncated, true);
  }
  const shown = answer?.snapshot?.state.messages.at(-1);
  assert.ok(shown?.parts.some((part) => part.type === "dynamic-tool" && part.truncated));
  gate.resolve();
});

test("a log of entries far larger than what memory keeps is replayed whole", async () => {
  const runtime = await startRuntime({ model: talk() });
  const session = await runtime.session();
  for (let n = 0; n < 12; n++) await runtime.run(session, `${n} ${"x".repeat(100_000)}`);
  const reader = new TestReader();
  await reader.attach(runtime, session, { after: { epoch: 0, seq: 0 } });
  assert.equal(reader.seqs, upTo((await runtime.state(session)).seq));
});

test.run();
