/**
 * `verify`: finds nothing in a directory that a server left in whatever state, and names every fault that is put there.
 * Owns the proof for each kind of row that a changed, missing, extra or contradicting one is reported.
 */
import { cpSync } from "node:fs";
import { ClassicLevel } from "classic-level";
import { decodeTrusted, encodeFrame } from "../../../protocol/codec.ts";
import type { EventFrame } from "../../../protocol/entries.ts";
import { verify } from "../../../server/session/verify.ts";
import { EmbeddedStore } from "../../../server/store/embedded.ts";
import {
  EntryEncoder,
  Kind,
  encodeIndex,
  entryKey,
  keyRowKey,
  listKey,
  listPrefix,
  ownedKey,
  readEntry,
  readSessionRow,
  seal,
  sealLiveSession,
  sessionKey,
  tallyKey,
  uint48,
  unseal,
} from "../../../server/store/layout.ts";
import { sealTally } from "../../../server/store/tallies.ts";
import type { IndexRow } from "../../../server/store/store.ts";
import { StoreLockedError, StoreOpenError } from "../../../server/store/store.ts";
import { temporaryDirectory } from "../../support/process.ts";
import { closeRuntimes, script, startRuntime } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { seedFromEnvironment, seeded, until } from "../../support/wait.ts";

type Level = ClassicLevel<Buffer, Buffer>;
const test = suite("verify");
const filled = temporaryDirectory();
let directory: string;

async function faults(): Promise<string[]> {
  const found: string[] = [];
  const totals = await verify(directory, ({ session, seq, problem }) =>
    found.push(`${session ?? "store"} ${seq ?? ""}: ${problem}`),
  );
  assert.is(totals.faults, found.length);
  return found;
}

async function behindItsBack(work: (level: Level) => Promise<void>): Promise<void> {
  const level: Level = new ClassicLevel(directory, { keyEncoding: "buffer", valueEncoding: "buffer" });
  await level.open();
  await work(level);
  await level.close();
}

/** A runtime that leaves sessions in every standing: finished, running, queued, closed, deleted, long with a snapshot. */
async function fill(): Promise<void> {
  const store = await EmbeddedStore.open(directory);
  const clock = { name: "clock", inputSchema: { type: "object" }, execute: () => "12:00" };
  const test = await startRuntime({ store, tools: [clock] });
  for (const session of ["done", "running", "closed", "deleted", "long"]) await test.session({ session });
  await test.run("done", script({ calls: [{ tool: "clock", input: {} }] }, { text: "noon" }), { key: "k" });
  await test.run("closed", "hello");
  await test.close("closed");
  await test.run("deleted", "hello");
  await test.remove("deleted");
  for (let at = 0; at < 16; at++) await test.run("long", `say ${at}`);
  const { registry } = test.runtime;
  await until(
    async () => (await registry.unloadIdle(-1)) >= 0 && registry.peek("long") === undefined,
    10_000,
    "the long session to leave memory",
  );
  const { input } = await test.send("running", script({ text: "begun" }, { stall: 60_000 }));
  await test.entry("running", "run-started", (body) => body.input === input);
  await test.send("running", "waits");
  await store.writeAgent("helper", Buffer.from("{}"));
  await store.purged();
  await closeRuntimes();
}

test.before(async () => {
  directory = filled;
  await fill();
});
test.before.each(() => {
  directory = temporaryDirectory();
  cpSync(filled, directory, { recursive: true });
});

test("a directory as a server leaves it has no fault", async () => {
  const totals = await verify(directory, () => {});
  const { sessions, deleted, purging, faults: wrong } = totals;
  assert.equal({ sessions, deleted, purging, wrong }, { sessions: 4, deleted: 1, purging: 0, wrong: 0 });
  assert.ok(totals.entries > 80);
  await behindItsBack(async (level) => {
    assert.ok((await level.get(sessionKey(Kind.snapshot, "long"))) !== undefined);
    assert.ok((await level.get(sessionKey(Kind.open, "running"))) !== undefined);
  });
});

test("what a server holds, what is no store and what is not there are refused", async () => {
  const store = await EmbeddedStore.open(directory);
  await assert.rejects(
    verify(directory, () => {}),
    StoreLockedError,
  );
  await store.close();
  await assert.rejects(
    verify(temporaryDirectory(), () => {}),
    StoreOpenError,
  );
  await assert.rejects(
    verify(`${directory}/none`, () => {}),
    StoreOpenError,
  );
  assert.equal(await faults(), []);
});

test("a bit changed in any value is reported", { limitMs: 60_000 }, async () => {
  const random = seeded(seedFromEnvironment());
  const keys: Buffer[] = [];
  await behindItsBack(async (level) => {
    for await (const key of level.keys({ gte: Buffer.of(1) })) keys.push(key);
  });
  const kinds = new Set(keys.map((key) => key[0]));
  for (const kind of kinds) {
    for (let round = 0; round < 3; round++) {
      const key = random.pick(keys.filter((each) => each[0] === kind));
      let before: Buffer = Buffer.alloc(0);
      await behindItsBack(async (level) => {
        before = (await level.get(key)) ?? before;
        const after = Buffer.from(before);
        const at = random.int(after.length);
        after[at] = after[at]! ^ (1 << random.int(8));
        await level.put(key, after);
      });
      assert.ok((await faults()).length > 0, `a change of kind ${kind} at ${key.toString("latin1")}`);
      await behindItsBack((level) => level.put(key, before));
    }
  }
  assert.equal(await faults(), []);
});

test("a missing row of any kind is reported, but for those that may be missing", async () => {
  const rows: [Buffer, RegExp][] = [
    [entryKey("done", 3), /^done 3: the entry is missing$/],
    [entryKey("closed", 2), /^closed 2: the entry is missing$/],
    [sessionKey(Kind.session, "done"), /^done : it has entries but no row$/],
    [sessionKey(Kind.open, "running"), /^running : it is open but not marked so/],
    [keyRowKey("done", "ada", "k"), /^done 2: its idempotency key is missing$/],
  ];
  await behindItsBack(async (level) => {
    for await (const key of level.keys({ gte: Buffer.of(3), lt: Buffer.of(4) })) {
      const id = key.toString("latin1", key[1] === 0 ? 8 : 24);
      rows.push([key, new RegExp(`^${id} : it is missing in the list of`)]);
    }
  });
  for (const [key, expected] of rows) {
    let value: Buffer | undefined;
    await behindItsBack(async (level) => {
      value = await level.get(key);
      assert.ok(value !== undefined, key.toString("latin1"));
      await level.del(key);
    });
    assert.match((await faults()).join("\n"), new RegExp(expected.source, "m"));
    await behindItsBack((level) => level.put(key, value!));
  }
  assert.equal(await faults(), []);
});

test("the end of a log that is gone is reported, and a session without any entry", async () => {
  await behindItsBack(async (level) => {
    const keys = await level.keys({ gt: entryKey("done", 1), lt: entryKey("done", 1000) }).all();
    await level.del(keys.at(-1)!);
  });
  assert.match((await faults()).join("\n"), /^done \d+: the end of the log is missing$/m);
  await behindItsBack((level) => level.clear({ gte: entryKey("done", 0), lt: entryKey("done", 1000) }));
  assert.match((await faults()).join("\n"), /^done 1: the end of the log is missing$/m);
});

test("rows that nobody owns are reported: strays in lists, of the deleted, of unknown kinds", async () => {
  const added: [Buffer, RegExp][] = [
    [listKey(listPrefix("eve"), 5000, "done"), /done : a list has a row that it does not have/],
    [listKey(listPrefix(undefined), 5000, "done"), /done : a list has a row that it does not have/],
    [listKey(listPrefix(undefined), 5000, "nobody"), /nobody : a list has a row/],
    [sessionKey(Kind.open, "done"), /done : it is marked as open and is not/],
    [sessionKey(Kind.open, "deleted"), /deleted : it was deleted but still has a mark as open/],
    [entryKey("deleted", 1), /deleted : it was deleted but still has entries/],
    [keyRowKey("deleted", "ada", "k"), /deleted : it was deleted but still has idempotency keys/],
    [sessionKey(Kind.snapshot, "deleted"), /deleted : it was deleted but still has a snapshot/],
    [sessionKey(Kind.checkpoint, "nobody"), /nobody : it has a checkpoint but no row/],
    [sessionKey(Kind.purge, "done"), /done : it is there and marked as deleted/],
    [keyRowKey("done", "eve", "k"), /done 1: an idempotency key answers with an entry that did not bring it/],
    [Buffer.of(200, 1), /store : a row of the unknown kind 200/],
    [sessionKey(Kind.requests, "done"), /done : its requests are listed and none is open/],
    [sessionKey(Kind.requests, "deleted"), /deleted : it was deleted but still has open requests/],
    [Buffer.from("\x09\0done", "latin1"), /done : it is listed for open requests where it should not be/],
    [Buffer.of(0, 1), /store : an unknown row of the store itself/],
  ];
  for (const [key, expected] of added) {
    await behindItsBack((level) => level.put(key, seal(key, uint48(1))));
    assert.match((await faults()).join("\n"), expected);
    await behindItsBack((level) => level.del(key));
  }
  assert.equal(await faults(), []);
});

test("a deletion that has not come to its end is no fault", async () => {
  await behindItsBack(async (level) => {
    const key = entryKey("deleted", 1);
    const mark = sessionKey(Kind.purge, "deleted");
    await level
      .batch()
      .put(key, seal(key, uint48(1)))
      .put(mark, seal(mark))
      .write();
  });
  const totals = await verify(directory, () => {});
  assert.equal([totals.faults, totals.purging], [0, 1]);
});

/** Writes an entry anew with a right checksum. */
async function rewrite(id: string, seq: number, change: (entry: EventFrame) => object, epoch?: number) {
  await behindItsBack(async (level) => {
    const key = entryKey(id, seq);
    const stored = readEntry(id, seq, key, (await level.get(key))!);
    const entry = change(decodeTrusted(stored.bytes) as EventFrame);
    const encoder = new EntryEncoder();
    encoder.encode(id, epoch ?? stored.epoch, seq, encodeFrame(entry));
    await level.put(encoder.key, encoder.value);
  });
}

test("entries that are whole but say what cannot be are reported with their seq", async () => {
  await rewrite("done", 2, (entry) => ({ ...entry, event: { ...entry.event, mode: "never" } }));
  assert.match((await faults()).join("\n"), /^done 2: event\.mode: /m);
  await rewrite("done", 2, (entry) => ({
    ...entry,
    session: "other",
    seq: 7,
    event: { ...entry.event, mode: "queue" },
  }));
  const found = (await faults()).join("\n");
  assert.match(found, /^done 2: it names the session other$/m);
  assert.match(found, /^done 2: it calls itself entry 7$/m);
  await rewrite("done", 2, (entry) => ({ ...entry, session: "done", seq: 2 }), 1);
  assert.match((await faults()).join("\n"), /^done 2: epoch 1 comes after epoch \d+$/m);
  assert.match((await faults()).join("\n"), /^done 2: it says epoch \d+, its row 1$/m);
});

test("an entry of a later version is no fault", async () => {
  await behindItsBack(async (level) => {
    const id = "closed";
    const keys = await level.keys({ gt: entryKey(id, 0), lt: entryKey(id, 1000) }).all();
    const seq = keys.length + 1;
    const last = readEntry(id, seq - 1, keys.at(-1)!, (await level.get(keys.at(-1)!))!);
    const { epoch, at } = decodeTrusted(last.bytes) as EventFrame;
    const encoder = new EntryEncoder();
    const event = { type: "event", session: id, epoch, seq, at, event: { type: "from-the-future", x: 1 } };
    encoder.encode(id, epoch, seq, encodeFrame(event));
    await level.put(encoder.key, encoder.value);
  });
  assert.equal(await faults(), []);
});

/** Changes a session's index row in all its places, with right checksums. */
async function reindex(id: string, change: Partial<IndexRow>): Promise<void> {
  await behindItsBack(async (level) => {
    const key = sessionKey(Kind.session, id);
    const row = readSessionRow(id, key, (await level.get(key))!);
    if (!("index" in row)) throw new Error(`${id} is deleted`);
    const bytes = encodeIndex({ ...row.index, ...change });
    await level.put(key, sealLiveSession(key, row.head, bytes));
    for (const reader of [undefined, ...row.index.readers]) {
      const list = listKey(listPrefix(reader), row.index.updatedAt, id);
      await level.put(list, seal(list, bytes));
    }
    const mark = sessionKey(Kind.open, id);
    if (change.open === true) await level.put(mark, seal(mark));
    if (change.open === false) await level.del(mark);
  });
}

test("an index row that contradicts its log is reported", async () => {
  await reindex("running", { open: false });
  assert.equal(await faults(), ["running : a run, an input or a request is open, its row says none is"]);
  await reindex("running", { open: true });
  await reindex("done", { open: true });
  assert.equal(await faults(), ["done : its row says that something is open, nothing is"]);
  await reindex("done", { open: false, info: encodeFrame({ id: "done", title: "other", state: "idle" }) });
  assert.equal(await faults(), ["done : its row describes it otherwise"]);
});

test("a snapshot that is not what its log folds to is reported", async () => {
  await behindItsBack(async (level) => {
    const key = sessionKey(Kind.snapshot, "long");
    const body = unseal("long", key, (await level.get(key))!, "the snapshot");
    const { fold, state } = decodeTrusted(body.subarray(6)) as { fold: number; state: { members: object } };
    const other = encodeFrame({ fold, state: { ...state, members: { ...state.members, eve: "owner" } } });
    await level.put(key, seal(key, body.subarray(0, 6), other));
  });
  assert.match(
    (await faults()).join("\n"),
    /^long \d+: the snapshot as of here is not what the log folds to$/,
  );
});

test("a tally that is missing, changed or not the sum of its days is reported", async () => {
  const today = (await daysOf("ada")).at(-1)!;
  const more = { inputTokens: 1, outputTokens: 1 };
  const broken: readonly [string, (level: Level) => Promise<void>][] = [
    ["is not the sum of the days", (level) => level.del(tallyKey("ada", today))],
    ["is not the sum of the days", (level) => level.del(tallyKey("ada"))],
    ["is not the sum of the days", (level) => level.put(tallyKey("ada"), sealTally(tallyKey("ada"), more))],
    ["fails its checksum", (level) => level.put(tallyKey("bob", 5), sealTally(tallyKey("bob"), more))],
    ["has no user", (level) => level.put(Buffer.from([Kind.tally, 1, 0]), Buffer.from("x"))],
  ];
  for (const [words, damage] of broken) {
    directory = temporaryDirectory();
    cpSync(filled, directory, { recursive: true });
    await behindItsBack(damage);
    assert.match((await faults()).join("\n"), new RegExp(`^store : .*${words}$`));
  }
});

test("a session that is missing among its owner's, or counts for another, is reported", async () => {
  await behindItsBack((level) => level.del(ownedKey("ada", "done")));
  assert.equal(await faults(), ['done : it is missing among the sessions of "ada"']);
  const wrong = ownedKey("bob", "done");
  await behindItsBack((level) => level.put(wrong, seal(wrong)));
  assert.equal((await faults()).at(-1), "done : it counts for a user who does not own it");
});

async function daysOf(user: string): Promise<number[]> {
  const store = await EmbeddedStore.open(directory);
  const { days } = await store.spent(user, 0);
  await store.close();
  return days.map(({ day }) => day);
}

test.run();
