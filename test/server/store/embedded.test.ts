/**
 * The embedded store passes the contract, on a clock that the tests hold; and what only a home on disk promises:
 * everything is there after a restart, nothing is kept in memory, one process at a time, clear words when it cannot open.
 * What it does when the machine fails it stands in ../../fault/store-*.test.ts.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ClassicLevel } from "classic-level";
import { EmbeddedStore } from "../../../server/store/embedded.ts";
import { FORMAT_KEY, seal } from "../../../server/store/layout.ts";
import { StoreLockedError, StoreOpenError, StoreUnavailableError } from "../../../server/store/store.ts";
import { storeContract } from "../../contract/store.ts";
import {
  Writer,
  bytes,
  granted,
  idsOf,
  indexRow,
  key,
  next,
  texts,
  textOf,
} from "../../contract/store-support.ts";
import { spawnNode, temporaryDirectory } from "../../support/process.ts";
import { assert, suite } from "../../support/suite.ts";

storeContract("embedded", async () => {
  let now = 1_700_000_000_000;
  return {
    store: await EmbeddedStore.open(temporaryDirectory(), { now: () => now }),
    now: () => now,
    advance: async (ms) => void (now += ms),
  };
});

const test = suite("embedded store");
let directory: string;
let store: EmbeddedStore;
let writer: Writer;

async function open(): Promise<void> {
  store = await EmbeddedStore.open(directory);
  writer = new Writer(store, await store.join("one", 60_000), Date.now);
}

async function reopen(): Promise<void> {
  await store.close();
  await open();
}

/** A character for each byte. The store must be closed. */
async function keysOnDisk(): Promise<string[]> {
  const level = new ClassicLevel<Buffer, Buffer>(directory, {
    keyEncoding: "buffer",
    valueEncoding: "buffer",
  });
  const keys = await level.keys().all();
  await level.close();
  return keys.map((row) => row.toString("latin1"));
}

test.before.each(async () => {
  directory = join(temporaryDirectory(), "data");
  await open();
});
test.after.each(() => store.close());

test("everything is there after a restart, and owned by nobody", async () => {
  const index = indexRow({ readers: ["ada", "bob"], open: true, updatedAt: 42 });
  let grant = await writer.create("ses_1", { index, keys: [key("ada", "k", 1)] });
  grant = await writer.append(grant, ["two", "three"]);
  await store.checkpoint(grant, bytes("text so far"));
  await store.snapshot(grant, 2, bytes("state"));
  await store.remove(await writer.create("ses_gone"));
  await store.writeAgent("helper", bytes("defined"));
  await reopen();
  assert.is(store.held, 0);
  assert.equal(await writer.one(next(grant, ["late"])), { status: "fenced" });
  const loaded = await store.load("ses_1");
  assert.is(loaded?.head, 3);
  assert.is(loaded?.epochAtHead, grant.epoch);
  assert.equal(loaded?.index.readers, ["ada", "bob"]);
  assert.is(textOf(loaded?.checkpoint), "text so far");
  assert.is(loaded?.snapshot?.seq, 2);
  assert.equal(await texts(store, "ses_1"), ["ses_1 begins", "two", "three"]);
  assert.is(await store.lookupKey("ses_1", "ada", "k"), 1);
  assert.equal(idsOf(await store.list({ reader: "bob", limit: 5 })), ["ses_1"]);
  assert.equal(await store.orphans(5), ["ses_1"]);
  const agents = await store.agents();
  assert.equal(
    agents.map(({ name, body }) => `${name}: ${textOf(body)}`),
    ["helper: defined"],
  );
  assert.equal(await writer.one(writer.creation("ses_gone")), { status: "conflict", head: 0 });
  assert.equal(await writer.one(writer.creation("ses_1")), { status: "conflict", head: 3 });
  const later = await granted(store.claim("ses_1", writer.member));
  assert.ok(later.epoch > grant.epoch);
  assert.is(later.seq, 3);
  const moved = indexRow({ readers: ["bob"], updatedAt: 43 });
  await writer.append(later, ["four"], { index: moved });
  assert.equal(await store.list({ reader: "ada", limit: 5 }), { items: [] });
  assert.equal(idsOf(await store.list({ limit: 5 })), ["ses_1"]);
  assert.equal(await store.orphans(5), []);
});

test("of a deleted session only the tombstone stays on disk", async () => {
  const grant = await writer.create("ses_1", { index: indexRow({ open: true }), keys: [key("ada", "k", 1)] });
  await writer.create("ses_10");
  const many = Array.from({ length: 1700 }, (_, at) => `entry ${at}`);
  await writer.append(grant, many, { keys: many.map((_, at) => key("ada", `k${at}`, at + 2)) });
  await store.checkpoint(grant, bytes("text"));
  await store.markRead("ses_1", "ada", { seq: 1, messages: 0 });
  await store.remove({ ...grant, seq: 1701 });
  await store.purged();
  await store.close();
  const left = (await keysOnDisk()).filter((row) => row.includes("ses_1\0") || row.endsWith("ses_1"));
  assert.equal(left, ["\x02ses_1\0"]);
  await open();
  assert.equal(await texts(store, "ses_10"), ["ses_10 begins"]);
});

test("a purge that a restart interrupted goes on", async () => {
  const many = Array.from({ length: 20 }, () => "x".repeat(100));
  for (let session = 0; session < 40; session++) {
    const id = `ses_${session}`;
    await store.remove(await writer.append(await writer.create(id), many));
  }
  await store.close();
  await open();
  await store.purged();
  await store.close();
  const kinds = new Set((await keysOnDisk()).map((row) => row.charCodeAt(0)));
  assert.equal([...kinds], [0, 2]);
  await open();
});

test("memory holds what is owned and nothing else", async () => {
  for (let round = 0; round < 3; round++) {
    const batch = Array.from({ length: 1000 }, (_, at) => writer.creation(`ses_${round}_${at}`));
    assert.ok((await store.append(batch)).every(({ status }) => status === "ok"));
  }
  assert.is(store.held, 3000);
  await store.release({ id: "ses_0_0", epoch: (await store.load("ses_0_0"))?.epochAtHead ?? 0, seq: 1 });
  assert.is(store.held, 2999);
  await reopen();
  assert.is(store.held, 0);
  await store.load("ses_1_1");
  await store.list({ limit: 50 });
  assert.is(store.held, 0);
});

test("a page of a list and the orphans walk over what they answer, however many sessions there are", async () => {
  for (let round = 0; round < 3; round++) {
    const batch = Array.from({ length: 1000 }, (_, at) =>
      writer.creation(`ses_${round}_${at}`, {
        index: indexRow({ readers: [at === 7 ? "bob" : "ada"], open: at === 9, updatedAt: at }),
      }),
    );
    await store.append(batch);
  }
  const walked = async (work: () => Promise<unknown>): Promise<number> => {
    const before = store.rowsRead;
    await work();
    return store.rowsRead - before;
  };
  assert.is(await walked(() => store.list({ limit: 50 })), 51);
  assert.is(await walked(() => store.list({ reader: "ada", limit: 50 })), 51);
  assert.is(await walked(() => store.list({ reader: "bob", limit: 50 })), 3);
  assert.is(await walked(() => store.list({ limit: 50, cursor: "500.ses_1_500" })), 51);
  assert.is(await walked(() => store.orphans(50)), 3);
});

test("the directory is private, and made with its parents", async () => {
  assert.is(statSync(directory).mode & 0o777, 0o700);
  const deep = join(directory, "..", "a", "b", "c");
  await (await EmbeddedStore.open(deep)).close();
  assert.is(statSync(deep).mode & 0o777, 0o700);
  const given = join(directory, "..", "given");
  mkdirSync(given, { mode: 0o755 });
  await (await EmbeddedStore.open(given)).close();
  assert.is(statSync(given).mode & 0o777, 0o700);
});

test("a second store on the directory is refused, in this process and in another, and harms nothing", async () => {
  const refusal = `data directory ${directory} is in use by another server`;
  const error = await assert.rejects(EmbeddedStore.open(directory), StoreLockedError);
  assert.is(error.message, refusal);
  const module = fileURLToPath(new URL("../../../server/store/embedded.js", import.meta.url));
  const script = `
    const { EmbeddedStore } = await import(${JSON.stringify(module)});
    await EmbeddedStore.open(process.argv[1]).then(() => console.log("opened"), (e) => console.log(e.name + ": " + e.message));`;
  const other = spawnNode(["--input-type=module", "-e", script, directory]);
  await other.exited;
  assert.equal(other.stdout, [`StoreLockedError: ${refusal}`]);
  await writer.create("ses_1");
  await store.close();
  await (await EmbeddedStore.open(directory)).close();
});

test("a directory of a newer format is refused, and one that is not ours", async () => {
  await store.close();
  const level = new ClassicLevel<Buffer, Buffer>(directory, {
    keyEncoding: "buffer",
    valueEncoding: "buffer",
  });
  await level.put(FORMAT_KEY, seal(FORMAT_KEY, Buffer.of(0, 0, 0, 2)));
  await level.close();
  const newer = await assert.rejects(EmbeddedStore.open(directory), StoreOpenError);
  assert.match(newer.message, `${directory} has format 2; this version knows formats up to 1`);
  await level.open();
  await level.put(FORMAT_KEY, Buffer.from("nonsense"));
  await level.close();
  const damaged = await assert.rejects(EmbeddedStore.open(directory), StoreOpenError);
  assert.match(damaged.message, `${directory} is damaged: its format row cannot be read`);
  await level.open();
  await level.del(FORMAT_KEY);
  await level.put(Buffer.from("someone"), Buffer.from("else's"));
  await level.close();
  const foreign = await assert.rejects(EmbeddedStore.open(directory), StoreOpenError);
  assert.match(foreign.message, `${directory} holds something else`);
});

test("a directory that cannot be opened is named with what is wrong", async () => {
  await store.close();
  const current = join(directory, "CURRENT");
  const before = readFileSync(current);
  writeFileSync(current, "MANIFEST-999999\n");
  const missing = await assert.rejects(EmbeddedStore.open(directory), StoreOpenError);
  assert.match(missing.message, `data directory ${directory} cannot be opened: `);
  writeFileSync(current, before);
  await open();
  await writer.append(
    await writer.create("ses_1"),
    Array.from({ length: 50 }, () => "x".repeat(1000)),
  );
  await reopen();
  await store.close();
  const table = readdirSync(directory).find((name) => name.endsWith(".ldb"));
  rmSync(join(directory, table ?? "none"));
  const gap = await assert.rejects(EmbeddedStore.open(directory), StoreOpenError);
  assert.match(gap.message, new RegExp(`${directory} cannot be opened: .*missing files`));
  const file = join(directory, "..", "file");
  writeFileSync(file, "");
  const wrong = await assert.rejects(EmbeddedStore.open(join(file, "data")), StoreOpenError);
  assert.match(wrong.message, /cannot be made: ENOTDIR/);
});

test("close lets what is under way finish and refuses what comes after", async () => {
  const grant = await writer.create("ses_1");
  const appending = writer.one(next(grant, ["two"]));
  const reading = store.read("ses_1", 0, 10);
  const closing = store.close();
  assert.equal(await appending, { status: "ok", seq: 2 });
  assert.ok((await reading).length >= 1);
  await closing;
  const { status, cause } = {
    cause: undefined,
    ...(await writer.one(next({ ...grant, seq: 2 }, ["three"]))),
  };
  assert.is(status, "unknown");
  assert.instance(cause, StoreUnavailableError);
  await assert.rejects(store.load("ses_1"), StoreUnavailableError);
  await assert.rejects(store.claim("ses_1", writer.member), StoreUnavailableError);
  await assert.rejects(store.list({ limit: 1 }), /is closed/);
  await store.close();
  await open();
  assert.equal(await texts(store, "ses_1"), ["ses_1 begins", "two"]);
});

test.run();
