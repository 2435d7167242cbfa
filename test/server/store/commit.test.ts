/**
 * The commit queue: what shares a commit, what waits, what is refused, what is answered.
 * Runs on the memory store behind a gate, so that the test decides when a commit ends.
 */
import { CommitQueue, type CommitStats } from "../../../server/store/commit.ts";
import { MemoryStore } from "../../../server/store/memory.ts";
import {
  StoreUnavailableError,
  type AppendItem,
  type AppendResult,
  type Grant,
} from "../../../server/store/store.ts";
import { Writer, bytes, next, texts } from "../../contract/store-support.ts";
import { assert, suite } from "../../support/suite.ts";
import { deferred, seedFromEnvironment, seeded, type Deferred } from "../../support/wait.ts";

const test = suite("commit queue");
const OK = (seq: number): AppendResult => ({ status: "ok", seq });

/** A store that holds each batch until the test lets it through. */
class Gate {
  readonly store = new MemoryStore();
  readonly batches: (readonly AppendItem[])[] = [];
  #arrived = deferred();
  #held: Deferred<void> | undefined;
  #open = false;

  async append(batch: readonly AppendItem[]): Promise<AppendResult[]> {
    this.batches.push(batch);
    if (!this.#open) {
      const held = deferred();
      this.#held = held;
      this.#arrived.resolve();
      await held.promise;
    }
    return this.store.append(batch);
  }

  /** Resolves with the batch that waits at the gate. */
  async batch(): Promise<readonly AppendItem[]> {
    await this.#arrived.promise;
    return this.batches.at(-1) ?? [];
  }

  /** Lets the waiting batch through; the next one waits again. */
  pass(): void {
    this.#arrived = deferred();
    this.#held?.resolve();
  }

  fail(error: Error): void {
    this.#arrived = deferred();
    this.#held?.reject(error);
  }

  openForGood(): void {
    this.#open = true;
    this.#held?.resolve();
  }
}

let gate: Gate;
let grants: Grant[];

test.before.each(async () => {
  gate = new Gate();
  const writer = new Writer(gate.store, await gate.store.join("one", 60_000), () => 1);
  grants = await Promise.all(Array.from({ length: 5 }, (_, at) => writer.create(`ses_${at}`)));
});

function item(session: number, change: Partial<AppendItem> = {}): AppendItem {
  const grant = grants[session];
  if (grant === undefined) throw new Error("no such session");
  return next(grant, [`entry of ${session}`], change);
}

const idsOf = (batch: readonly AppendItem[]): string[] => batch.map(({ id }) => id);

test("appends of one turn share a commit and are answered each on its own", async () => {
  const queue = new CommitQueue(gate);
  const answers = [0, 1, 2].map((session) => queue.append(item(session)));
  const late = queue.append(item(3, { expectedSeq: 7 }));
  assert.equal(idsOf(await gate.batch()), ["ses_0", "ses_1", "ses_2", "ses_3"]);
  gate.pass();
  assert.equal(await Promise.all(answers), [OK(2), OK(2), OK(2)]);
  assert.equal(await late, { status: "conflict", head: 1 });
  assert.is(gate.batches.length, 1);
});

test("one commit is in flight, and the next takes all that came meanwhile", async () => {
  const queue = new CommitQueue(gate);
  const first = queue.append(item(0));
  assert.equal(idsOf(await gate.batch()), ["ses_0"]);
  const second = [1, 2].map((session) => queue.append(item(session)));
  await new Promise(setImmediate);
  const third = queue.append(item(3));
  await new Promise(setImmediate);
  assert.is(gate.batches.length, 1);
  gate.pass();
  assert.equal(await first, OK(2));
  assert.equal(idsOf(await gate.batch()), ["ses_1", "ses_2", "ses_3"]);
  gate.pass();
  assert.equal(await Promise.all([...second, third]), [OK(2), OK(2), OK(2)]);
});

test("what an answer makes others append joins the very next commit", async () => {
  const queue = new CommitQueue(gate);
  const chain = queue
    .append(item(0))
    .then((result) => queue.append(item(0, { expectedSeq: 2 })).then((last) => [result, last]));
  await gate.batch();
  const other = queue.append(item(1));
  gate.pass();
  assert.equal(idsOf(await gate.batch()).toSorted(), ["ses_0", "ses_1"]);
  gate.openForGood();
  assert.equal(await chain, [OK(2), OK(3)]);
  await other;
});

test("two items of one session never share a commit and keep their order", async () => {
  const queue = new CommitQueue(gate);
  gate.openForGood();
  const items = [
    item(0),
    item(0, { expectedSeq: 2 }),
    item(1),
    item(0, { expectedSeq: 3 }),
    item(1, { expectedSeq: 2 }),
  ];
  const answers = await Promise.all(items.map((one) => queue.append(one)));
  assert.equal(answers, [OK(2), OK(3), OK(2), OK(4), OK(3)]);
  assert.equal(gate.batches.map(idsOf), [["ses_0", "ses_1"], ["ses_0", "ses_1"], ["ses_0"]]);
});

test("a commit is bounded in rows and in bytes, and a larger item passes alone", async () => {
  const byRows = new CommitQueue(gate, { maxBatchRows: 4 });
  gate.openForGood();
  const many = (session: number, count: number): AppendItem =>
    item(session, { entries: Array.from({ length: count }, () => bytes("x")) });
  await Promise.all(
    [many(0, 2), many(1, 2), many(2, 1), many(3, 9), many(4, 1)].map((one) => byRows.append(one)),
  );
  assert.equal(gate.batches.map(idsOf), [["ses_0", "ses_1"], ["ses_2"], ["ses_3"], ["ses_4"]]);

  gate.batches.length = 0;
  const weighty = new CommitQueue(gate, { maxBatchRows: 7 });
  const index = { readers: ["ada", "bob"], open: false, updatedAt: 1, info: bytes("") };
  const heads = [3, 3, 2];
  const weights = [item(0, { index }), item(1, { keys: [{ user: "ada", key: "k", seq: 4 }] }), item(2)];
  await Promise.all(weights.map((one, at) => weighty.append({ ...one, expectedSeq: heads[at] ?? 0 })));
  assert.equal(gate.batches.map(idsOf), [["ses_0"], ["ses_1", "ses_2"]]);

  gate.batches.length = 0;
  const byBytes = new CommitQueue(gate, { maxBatchBytes: 1000 });
  const big = (session: number, size: number, expectedSeq: number): AppendItem =>
    item(session, { entries: [new Uint8Array(size)], expectedSeq });
  await Promise.all(
    [big(0, 400, 4), big(1, 400, 4), big(2, 5000, 3), big(4, 1, 2)].map((one) => byBytes.append(one)),
  );
  assert.equal(gate.batches.map(idsOf), [["ses_0", "ses_1"], ["ses_2"], ["ses_4"]]);
});

test("too many items are refused at once with a time to come back", async () => {
  const queue = new CommitQueue(gate, { maxQueuedItems: 3 });
  const accepted = [0, 1, 2].map((session) => queue.append(item(session)));
  const error = await assert.rejects(queue.append(item(3)), StoreUnavailableError);
  assert.ok(error.retryAfterMs >= 100 && error.retryAfterMs <= 5000);
  assert.is(queue.counters.refused, 1);
  gate.openForGood();
  await Promise.all(accepted);
  assert.equal(await queue.append(item(3)), OK(2));
  assert.equal(await texts(gate.store, "ses_3"), ["ses_3 begins", "entry of 3"]);
});

test("too many bytes are refused, what is being written counts, and a single large item still passes", async () => {
  const queue = new CommitQueue(gate, { maxQueuedBytes: 2000 });
  const large = queue.append(item(0, { entries: [new Uint8Array(5000)] }));
  await gate.batch();
  await assert.rejects(queue.append(item(1)), StoreUnavailableError);
  gate.openForGood();
  assert.equal(await large, OK(2));
  assert.equal(await queue.append(item(1)), OK(2));
});

test("a store that throws leaves every item of the batch unknown, and the queue goes on", async () => {
  const queue = new CommitQueue(gate);
  const answers = [0, 1].map((session) => queue.append(item(session)));
  await gate.batch();
  const cause = new Error("the disk is on fire");
  gate.fail(cause);
  assert.equal(await Promise.all(answers), [
    { status: "unknown", cause },
    { status: "unknown", cause },
  ]);
  gate.openForGood();
  assert.equal(await queue.append(item(2)), OK(2));
});

test("a store that answers too few items leaves the rest unknown", async () => {
  const queue = new CommitQueue({ append: async () => [OK(2)] });
  const [first, second] = await Promise.all([queue.append(item(0)), queue.append(item(1))]);
  assert.equal(first, OK(2));
  assert.is(second?.status, "unknown");
});

test("a malformed item is refused alone", async () => {
  const queue = new CommitQueue(gate);
  gate.openForGood();
  const fine = queue.append(item(0));
  await assert.rejects(queue.append(item(1, { id: "not an id" })), TypeError);
  assert.equal(await fine, OK(2));
  assert.is(queue.counters.queued, 0);
});

test("close settles what is queued and refuses what comes after", async () => {
  const queue = new CommitQueue(gate, { maxBatchRows: 1 });
  const answers = [0, 1, 2].map((session) => queue.append(item(session)));
  let closed = false;
  const closing = queue.close().then(() => (closed = true));
  await assert.rejects(queue.append(item(3)), StoreUnavailableError);
  await gate.batch();
  assert.not(closed);
  gate.openForGood();
  assert.equal(await Promise.all(answers), [OK(2), OK(2), OK(2)]);
  await closing;
  await assert.rejects(queue.append(item(3)), StoreUnavailableError);
  await new CommitQueue(gate).close();
});

test("counters and the hook tell what was committed", async () => {
  const seen: CommitStats[] = [];
  const queue = new CommitQueue(gate, { onCommit: (stats) => seen.push(stats) });
  const answers = [0, 1].map((session) => queue.append(item(session, { entries: [bytes("a"), bytes("b")] })));
  await gate.batch();
  assert.is(queue.counters.queued, 2);
  assert.ok(queue.counters.queuedBytes >= 4);
  gate.pass();
  await Promise.all(answers);
  const { commits, items, entries, bytes: total, queued, queuedBytes, refused } = queue.counters;
  assert.equal([commits, items, entries, queued, queuedBytes, refused], [1, 2, 4, 0, 0, 0]);
  assert.is(seen.length, 1);
  assert.equal([seen[0]?.items, seen[0]?.entries, seen[0]?.bytes], [2, 4, total]);
  assert.ok((seen[0]?.ms ?? -1) >= 0);
});

test("random load from many sessions loses nothing and keeps every session's order", async () => {
  const random = seeded(seedFromEnvironment());
  const queue = new CommitQueue(gate, { maxBatchRows: 7, maxBatchBytes: 3000 });
  gate.openForGood();
  const sent = await Promise.all(
    grants.map(async (grant) => {
      const all: string[] = [];
      while (all.length < 200) {
        const some = Array.from(
          { length: 1 + random.int(4) },
          (_, at) => `${all.length + at} ${"x".repeat(random.int(500))}`,
        );
        const result = await queue.append(next({ ...grant, seq: all.length + 1 }, some));
        assert.equal(result, OK(all.length + 1 + some.length));
        all.push(...some);
        if (random.chance(0.3)) await new Promise(setImmediate);
      }
      return all;
    }),
  );
  for (const [at, grant] of grants.entries()) {
    assert.equal(await texts(gate.store, grant.id), [`${grant.id} begins`, ...(sent[at] ?? [])]);
  }
  for (const batch of gate.batches) assert.is(new Set(idsOf(batch)).size, batch.length);
});

test.run();
