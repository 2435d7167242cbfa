/**
 * Damage on disk is told, never passed on: rows changed, removed or exchanged behind the store's back, and bits flipped
 * in the engine's tables, which the engine itself does not notice. Owns the proof that what is answered is right or an
 * error; that the neighbours of a damaged session go on; and that no damage makes a log shorter in silence.
 */
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ClassicLevel } from "classic-level";
import { EmbeddedStore } from "../../server/store/embedded.ts";
import { Kind, entryKey, keyRowKey, listKey, listPrefix, sessionKey } from "../../server/store/layout.ts";
import { StoreDamagedError, type Place, type Grant } from "../../server/store/store.ts";
import { Writer, bytes, indexRow, key, next, textOf, texts } from "../contract/store-support.ts";
import { spawnNode, temporaryDirectory, type TestProcess } from "../support/process.ts";
import { compiled } from "../support/root.ts";
import { assert, suite } from "../support/suite.ts";
import { seedFromEnvironment, seeded, until } from "../support/wait.ts";
import { contentOf } from "./store-load.ts";

type Level = ClassicLevel<Buffer, Buffer>;

const test = suite("embedded store on damaged disks");
let directory: string;
let store: EmbeddedStore;
let writer: Writer;

async function open(): Promise<void> {
  store = await EmbeddedStore.open(directory);
  writer = new Writer(store, await store.join("one", 60_000), Date.now);
}

/** Closes the store, lets `work` loose on its rows, opens it again. */
async function behindItsBack(work: (level: Level) => Promise<void>): Promise<void> {
  await store.close();
  const level: Level = new ClassicLevel(directory, { keyEncoding: "buffer", valueEncoding: "buffer" });
  await level.open();
  await work(level);
  await level.close();
  await open();
}

async function flip(level: Level, row: Buffer, at = -1): Promise<void> {
  const value = await level.get(row);
  if (value === undefined) throw new Error("no such row");
  const index = at < 0 ? value.length + at : at;
  value[index] = (value[index] ?? 0) ^ 1;
  await level.put(row, value);
}

/** Two sessions of five entries; ses_2 is the neighbour that must never suffer. */
async function twoSessions(): Promise<void> {
  for (const id of ["ses_1", "ses_2"]) {
    const grant = await writer.create(id, { keys: [key("ada", "k", 1)], index: indexRow({ open: true }) });
    const all = await writer.append(grant, ["two", "three", "four", "five"], {
      index: indexRow({ open: true, updatedAt: 2000 }),
    });
    await store.checkpoint(all, bytes("text"));
    await store.snapshot(all, 3, bytes("state"));
  }
}

async function neighbourIsFine(): Promise<void> {
  assert.is((await store.load("ses_2"))?.head, 5);
  assert.is((await texts(store, "ses_2")).length, 5);
  const grant = await store.claim("ses_2", writer.member);
  assert.ok(grant !== undefined && !("heldBy" in grant));
  await store.release(grant);
}

/** Of each session whose tables are damaged. */
const ENTRIES = 31;

const at = (id: string, seq: number): Place => ({ id, seq });

async function damaged(promise: Promise<unknown>, seq?: number): Promise<void> {
  const error = await assert.rejects(promise, StoreDamagedError);
  assert.is(error.id, "ses_1");
  if (seq !== undefined) assert.is(error.seq, seq);
}

test.before.each(async () => {
  directory = temporaryDirectory();
  await open();
  await twoSessions();
});
test.after.each(() => store.close());

test("a changed entry is named, and what stands before it is still read", async () => {
  await behindItsBack((level) => flip(level, entryKey("ses_1", 3)));
  await damaged(store.read("ses_1", 0, 10), 3);
  await damaged(store.read("ses_1", 2, 1), 3);
  await damaged(store.readEach([at("ses_2", 3), at("ses_1", 3)]), 3);
  assert.is((await store.readEach([at("ses_2", 3), at("ses_1", 2)])).filter(Boolean).length, 2);
  assert.equal(await texts(store, "ses_1", 0, 2), ["ses_1 begins", "two"]);
  assert.equal(await texts(store, "ses_1", 3, 10), ["four", "five"]);
  await neighbourIsFine();
});

test("a changed header, an unknown version and a cut value are damage", async () => {
  for (const at of [0, 1, 5, 10]) {
    await behindItsBack((level) => flip(level, entryKey("ses_1", 3), at));
    await damaged(store.read("ses_1", 0, 10), 3);
    await behindItsBack((level) => flip(level, entryKey("ses_1", 3), at));
  }
  await behindItsBack((level) => level.put(entryKey("ses_1", 3), Buffer.of(1, 2)));
  await damaged(store.read("ses_1", 0, 10), 3);
});

test("a missing entry is a gap, and entries that changed places are damage", async () => {
  await behindItsBack(async (level) => {
    const [two, four] = await level.getMany([entryKey("ses_1", 2), entryKey("ses_1", 4)]);
    if (two === undefined || four === undefined) throw new Error("no such rows");
    await level.put(entryKey("ses_1", 2), four);
    await level.put(entryKey("ses_1", 4), two);
  });
  await damaged(store.read("ses_1", 0, 10), 2);
  await damaged(store.read("ses_1", 3, 10), 4);
  await behindItsBack((level) => level.del(entryKey("ses_1", 2)));
  await damaged(store.read("ses_1", 0, 10), 2);
  await damaged(store.readEach([at("ses_1", 2)]), 2);
  await neighbourIsFine();
});

test("a log whose end is gone is not taken for a shorter log", async () => {
  await behindItsBack((level) => level.del(entryKey("ses_1", 5)));
  await damaged(store.load("ses_1"), 5);
  await damaged(store.claim("ses_1", writer.member), 5);
  await damaged(store.read("ses_1", 0, 10), 5);
  await behindItsBack(async (level) => {
    for (const seq of [1, 2, 3, 4]) await level.del(entryKey("ses_1", seq));
  });
  await damaged(store.load("ses_1"));
  await damaged(store.read("ses_1", 0, 10));
  await neighbourIsFine();
});

test("a damaged last entry is not built upon", async () => {
  await behindItsBack((level) => flip(level, entryKey("ses_1", 5)));
  await damaged(store.load("ses_1"), 5);
  await damaged(store.claim("ses_1", writer.member), 5);
  await neighbourIsFine();
});

test("a session without its row is damaged, not unknown, and cannot be created over", async () => {
  await behindItsBack((level) => level.del(sessionKey(Kind.session, "ses_1")));
  await damaged(store.load("ses_1"));
  await damaged(store.claim("ses_1", writer.member));
  const [over, neighbour] = await store.append([writer.creation("ses_1"), writer.creation("ses_3")]);
  assert.is(over?.status, "unknown");
  assert.equal(neighbour, { status: "ok", seq: 1 });
  await neighbourIsFine();
});

test("every other kind of row is checked as well", async () => {
  const rows: [Buffer, () => Promise<unknown>][] = [
    [sessionKey(Kind.session, "ses_1"), () => store.load("ses_1")],
    [sessionKey(Kind.session, "ses_1"), () => store.claim("ses_1", writer.member)],
    [sessionKey(Kind.session, "ses_1"), () => store.read("ses_1", 0, 10)],
    [sessionKey(Kind.session, "ses_1"), () => store.lookupKey("ses_1", "ada", "k")],
    [sessionKey(Kind.snapshot, "ses_1"), () => store.load("ses_1")],
    [sessionKey(Kind.checkpoint, "ses_1"), () => store.load("ses_1")],
    [sessionKey(Kind.open, "ses_1"), () => store.orphans(10)],
    [keyRowKey("ses_1", "ada", "k"), () => store.lookupKey("ses_1", "ada", "k")],
    [listKey(listPrefix("ada"), 2000, "ses_1"), () => store.list({ reader: "ada", limit: 10 })],
    [listKey(listPrefix(undefined), 2000, "ses_1"), () => store.list({ limit: 10 })],
  ];
  for (const [row, use] of rows) {
    await behindItsBack((level) => flip(level, row));
    await damaged(use());
    await neighbourIsFine();
    await behindItsBack((level) => flip(level, row));
    await use();
  }
});

test("an agent whose row is damaged keeps no other from being there, and may be written anew", async () => {
  await store.writeAgent("one", bytes("first"));
  await store.writeAgent("two", bytes("second"));
  await behindItsBack((level) => flip(level, sessionKey(Kind.agent, "one")));
  const kept = async (): Promise<unknown[]> =>
    (await store.agents()).map(({ name, body }) => [name, textOf(body)]);
  assert.equal(await kept(), [
    ["one", undefined],
    ["two", "second"],
  ]);
  await store.writeAgent("one", bytes("third"));
  assert.equal((await kept())[0], ["one", "third"]);
});

test("a damaged key leaves its own append unknown and the neighbours alone", async () => {
  await behindItsBack((level) => flip(level, keyRowKey("ses_1", "ada", "k")));
  const grants = await Promise.all(["ses_1", "ses_2"].map((id) => store.claim(id, writer.member)));
  const items = grants.map((grant) => next(grant as Grant, ["six"], { keys: [key("ada", "k", 6)] }));
  const [one, two] = await store.append(items);
  assert.is(one?.status, "unknown");
  assert.instance(one?.status === "unknown" && one.cause, StoreDamagedError);
  assert.equal(two, { status: "duplicate", seq: 1 });
  assert.is((await store.load("ses_1"))?.head, 5);
});

test("a snapshot ahead of its log is damage", async () => {
  await behindItsBack(async (level) => {
    const row = sessionKey(Kind.snapshot, "ses_2");
    const value = await level.get(row);
    await level.put(sessionKey(Kind.snapshot, "ses_1"), value ?? row);
  });
  await damaged(store.load("ses_1"));
});

test(
  "bits flipped in the tables never change or hide an entry in silence",
  { limitMs: 120_000 },
  async () => {
    const random = seeded(seedFromEnvironment());
    const ids = Array.from({ length: 60 }, (_, at) => `ses_x${at}`);
    for (const id of ids) {
      const grant = await writer.create(id, { entries: [bytes(contentOf(id, 1))] });
      const more = Array.from({ length: ENTRIES - 1 }, (_, at) => contentOf(id, at + 2));
      // The index row comes with the last append, so that the end of every log is known.
      await writer.append(grant, more, { index: indexRow() });
    }
    await behindItsBack((level) => level.compactRange(Buffer.of(0), Buffer.of(255)));
    await store.close();
    const tables = readdirSync(directory).filter((name) => name.endsWith(".ldb"));
    const child = compiled("test/fault/store-damage-child.ts");
    const start = (): TestProcess => spawnNode([child, directory, String(ids.length), String(ENTRIES)]);
    let reader = start();
    let answers = 0;
    const outcomes = { right: 0, damaged: 0, unreadable: 0, closed: 0, aborted: 0 };
    for (let round = 0; round < 60; round++) {
      const path = join(directory, random.pick(tables));
      const before = readFileSync(path);
      const after = Buffer.from(before);
      const at = random.int(after.length);
      after[at] = (after[at] ?? 0) ^ (1 << random.int(8));
      writeFileSync(path, after);
      reader.stdin.write("look\n");
      const seen = await answered(reader, answers++);
      if (seen === "SIGABRT") {
        outcomes.aborted++;
        reader = start();
        answers = 0;
      } else for (const [outcome, count] of Object.entries(seen)) outcomes[outcome as "right"] += count;
      // What opening wrote meanwhile stands in newer files.
      if (readdirSync(directory).some((name) => path.endsWith(name))) writeFileSync(path, before);
    }
    reader.kill("SIGKILL");
    await reader.exited;
    console.log(`flipped bits: ${JSON.stringify(outcomes)}`);
    assert.ok(outcomes.right > 1000 && outcomes.damaged > 0);
    await open();
  },
);

/**
 * What the reader saw of the sessions, or that it was ended by an assertion of the engine, which nobody can catch. Throws if
 * it ends in any other way: then it says what was wrong.
 */
async function answered(
  reader: TestProcess,
  answers: number,
): Promise<Readonly<Record<string, number>> | "SIGABRT"> {
  await Promise.race([reader.exited, until(() => reader.stdout.length > answers, 60_000, "an answer")]);
  const line = reader.stdout[answers];
  if (line !== undefined) return JSON.parse(line) as Record<string, number>;
  const { signal } = await reader.exited;
  const said = reader.stderr.join("\n");
  assert.ok(signal === "SIGABRT" && said.includes("leveldb"), said);
  return "SIGABRT";
}

test.run();
