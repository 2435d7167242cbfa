/**
 * The part of the store contract about logs: creating, appending in batches, idempotency keys, reading, deleting.
 * Owns what an append answers and when nothing may be written. Knows no home.
 * See ./store.ts for how a home takes part.
 */
import type { Member, Store } from "../../server/store/store.ts";
import { assert, suite } from "../support/suite.ts";
import { seedFromEnvironment, seeded } from "../support/wait.ts";
import {
  type Writer,
  begin,
  bytes,
  granted,
  indexRow,
  key,
  next,
  textOf,
  texts,
  type MakeStore,
} from "./store-support.ts";

export function logContract(name: string, makeStore: MakeStore): void {
  const test = suite(`${name}: logs and keys`);
  let store: Store;
  let member: Member;
  let writer: Writer;

  test.before.each(async () => {
    ({ store, member, writer } = await begin(makeStore));
  });
  test.after.each(() => store.close());

  // --- Creating and appending ---

  test("a created session is there with its entries, its index and its grant", async () => {
    const entries = [bytes("first"), bytes("second")];
    const index = indexRow({ readers: ["ada", "bob"], open: true, updatedAt: 77, info: bytes("about") });
    const grant = await writer.create("ses_1", { entries, index });
    const loaded = await store.load("ses_1");
    assert.is(loaded?.head, 2);
    assert.is(loaded?.epochAtHead, grant.epoch);
    assert.equal(loaded?.index.readers, ["ada", "bob"]);
    assert.is(loaded?.index.open, true);
    assert.is(loaded?.index.updatedAt, 77);
    assert.is(textOf(loaded?.index.info), "about");
    assert.is(loaded?.snapshot, undefined);
    assert.is(loaded?.checkpoint, undefined);
    assert.equal(await texts(store, "ses_1"), ["first", "second"]);
    await writer.append(grant, ["third"]);
  });

  test("nothing is there of a session that was never created", async () => {
    assert.is(await store.load("ses_none"), undefined);
    assert.is(await store.claim("ses_none", member), undefined);
    assert.equal(await store.read("ses_none", 0, 10), []);
    assert.is(await store.lookupKey("ses_none", "ada", "k"), undefined);
    assert.equal(await store.append([next({ id: "ses_none", epoch: 1, seq: 0 }, ["x"])]), [
      { status: "fenced" },
    ]);
  });

  test("entries come back in order, byte for byte", async () => {
    const random = seeded(seedFromEnvironment());
    let grant = await writer.create("ses_1");
    const sent: string[] = [];
    for (let round = 0; round < 20; round++) {
      const batch = Array.from(
        { length: random.int(5) },
        () => `${sent.length}:${"x".repeat(random.int(3000))}`,
      );
      grant = await writer.append(grant, batch);
      sent.push(...batch);
    }
    const empty = await writer.append(grant, [""]);
    assert.is(empty.seq, sent.length + 2);
    assert.equal(await texts(store, "ses_1"), ["ses_1 begins", ...sent, ""]);
    const odd = Uint8Array.from({ length: 256 }, (_, at) => at);
    await store.append([{ ...next(empty, []), entries: [odd] }]);
    assert.equal(Uint8Array.from((await store.read("ses_1", empty.seq, 1))[0]?.bytes ?? []), odd);
  });

  test("an append without entries changes the index and not the head", async () => {
    const grant = await writer.create("ses_1");
    await writer.append(grant, [], { index: indexRow({ updatedAt: 5000 }) });
    const loaded = await store.load("ses_1");
    assert.is(loaded?.head, 1);
    assert.is(loaded?.index.updatedAt, 5000);
  });

  test("an append at another head is a conflict that names the head", async () => {
    const grant = await writer.append(await writer.create("ses_1"), ["two"]);
    assert.equal(await writer.one(next({ ...grant, seq: 1 }, ["x"])), { status: "conflict", head: 2 });
    assert.equal(await writer.one(next({ ...grant, seq: 3 }, ["x"])), { status: "conflict", head: 2 });
    assert.equal(await texts(store, "ses_1"), ["ses_1 begins", "two"]);
  });

  test("items of a batch are judged and written each on its own", async () => {
    const a = await writer.create("ses_a");
    const b = await writer.create("ses_b", { keys: [key("ada", "used", 1)] });
    const c = await writer.create("ses_c");
    const results = await store.append([
      next(a, ["a2", "a3"]),
      next(b, ["b2"], { keys: [key("ada", "used", 2)] }),
      next({ ...c, seq: 5 }, ["c"]),
      next({ ...c, id: "ses_x" }, ["x"]),
      writer.creation("ses_d"),
    ]);
    assert.equal(results, [
      { status: "ok", seq: 3 },
      { status: "duplicate", seq: 1 },
      { status: "conflict", head: 1 },
      { status: "fenced" },
      { status: "ok", seq: 1 },
    ]);
    assert.equal(await texts(store, "ses_a"), ["ses_a begins", "a2", "a3"]);
    assert.equal(await texts(store, "ses_b"), ["ses_b begins"]);
    assert.equal(await texts(store, "ses_c"), ["ses_c begins"]);
    assert.equal(await texts(store, "ses_d"), ["ses_d begins"]);
    assert.is(await store.load("ses_x"), undefined);
  });

  test("sessions whose ids begin alike do not see each other", async () => {
    const ids = ["s", "s-", "s0", "s_", "sa", "ss", "S", "s".repeat(64)];
    for (const id of ids) await writer.append(await writer.create(id), [`${id} goes on`]);
    for (const id of ids) {
      assert.equal(await texts(store, id), [`${id} begins`, `${id} goes on`]);
      assert.is((await store.load(id))?.head, 2);
    }
  });

  test("a malformed batch is refused before anything is written", async () => {
    const grant = await writer.create("ses_1");
    const { index: _, ...indexless } = writer.creation("ses_2");
    for (const broken of [
      next({ ...grant, id: "" }, ["x"]),
      next({ ...grant, id: "a b" }, ["x"]),
      next({ ...grant, id: "a\0b" }, ["x"]),
      next({ ...grant, id: "x".repeat(65) }, ["x"]),
      next({ ...grant, id: "ses_2", epoch: 0 }, ["x"]),
      next({ ...grant, id: "ses_2", seq: -1 }, ["x"]),
      next({ ...grant, id: "ses_2", seq: 1.5 }, ["x"]),
      writer.creation("ses_2", { entries: [] }),
      writer.creation("ses_2", { expectedSeq: 1 }),
      indexless,
      next(grant, ["the second item of ses_1"]),
    ]) {
      await assert.rejects(store.append([next(grant, ["fine"]), broken]), TypeError);
    }
    assert.equal(await texts(store, "ses_1"), ["ses_1 begins"]);
  });

  // --- Idempotency keys ---

  test("a key answers its first seq, writes nothing again, and knows users and sessions apart", async () => {
    let grant = await writer.create("ses_1", { keys: [key("ada", "create", 1)] });
    grant = await writer.append(grant, ["two", "three"], { keys: [key("ada", "k", 3)] });
    assert.equal(await writer.one(next(grant, ["x"], { keys: [key("ada", "k", 4)] })), {
      status: "duplicate",
      seq: 3,
    });
    assert.equal(
      await writer.one(next(grant, ["x"], { keys: [key("ada", "new", 4), key("ada", "create", 4)] })),
      {
        status: "duplicate",
        seq: 1,
      },
    );
    grant = await writer.append(grant, ["four"], { keys: [key("bob", "k", 4)] });
    await writer.create("ses_2", { keys: [key("ada", "k", 1)] });
    assert.is(await store.lookupKey("ses_1", "ada", "create"), 1);
    assert.is(await store.lookupKey("ses_1", "ada", "k"), 3);
    assert.is(await store.lookupKey("ses_1", "bob", "k"), 4);
    assert.is(await store.lookupKey("ses_1", "ada", "new"), undefined);
    assert.is(await store.lookupKey("ses_2", "ada", "k"), 1);
    assert.is((await store.load("ses_1"))?.head, 4);
  });

  test("user and key cannot be shifted into each other, whatever their characters", async () => {
    await writer.create("ses_1", { keys: [key("a", "b\0c", 1), key('x","', "y", 1)] });
    assert.is(await store.lookupKey("ses_1", "a\0b", "c"), undefined);
    assert.is(await store.lookupKey("ses_1", "x", '","y'), undefined);
    assert.is(await store.lookupKey("ses_1", "a", "b\0c"), 1);
  });

  test("a repeat is a duplicate even at a head that is out of date, but fenced comes first", async () => {
    const first = await writer.create("ses_1");
    await writer.append(first, ["two"], { keys: [key("ada", "k", 2)] });
    const repeat = next(first, ["two"], { keys: [key("ada", "k", 2)] });
    assert.equal(await writer.one(repeat), { status: "duplicate", seq: 2 });
    await granted(store.claim("ses_1", member));
    assert.equal(await writer.one(repeat), { status: "fenced" });
  });

  // --- Creating what exists ---

  test("an id that exists cannot be created: conflict, or duplicate with the same key", async () => {
    const grant = await writer.create("ses_1", { keys: [key("ada", "k", 1)] });
    await writer.append(grant, ["two"]);
    assert.equal(await writer.one(writer.creation("ses_1")), { status: "conflict", head: 2 });
    const repeat = writer.creation("ses_1", { keys: [key("ada", "k", 1)] });
    assert.equal(await writer.one(repeat), { status: "duplicate", seq: 1 });
    const other = writer.creation("ses_1", { keys: [key("ada", "other", 1)] });
    assert.equal(await writer.one(other), { status: "conflict", head: 2 });
    await writer.append({ ...grant, seq: 2 }, ["three"]);
  });

  test("a deleted id is never used again and nothing of it is left", async () => {
    const grant = await writer.create("ses_1", {
      keys: [key("ada", "k", 1)],
      index: indexRow({ open: true }),
    });
    await writer.append(
      grant,
      Array.from({ length: 50 }, (_, at) => `entry ${at}`),
    );
    await store.checkpoint(grant, bytes("text"));
    await store.snapshot(grant, 10, bytes("state"));
    assert.is(await store.remove(grant), true);
    assert.is(await store.load("ses_1"), undefined);
    assert.equal(await store.read("ses_1", 0, 10), []);
    assert.is(await store.claim("ses_1", member), undefined);
    assert.is(await store.lookupKey("ses_1", "ada", "k"), undefined);
    assert.equal(await store.list({ limit: 10 }), { items: [] });
    assert.equal(await store.list({ reader: "ada", limit: 10 }), { items: [] });
    assert.equal(await store.orphans(10), []);
    assert.equal(await writer.one(next({ ...grant, seq: 51 }, ["x"])), { status: "fenced" });
    assert.is(await store.checkpoint(grant, bytes("late")), false);
    assert.is(await store.remove(grant), false);
    for (const keys of [[], [key("ada", "k", 1)]]) {
      assert.equal(await writer.one(writer.creation("ses_1", { keys })), { status: "conflict", head: 0 });
    }
  });

  test("only the owner removes", async () => {
    const old = await writer.create("ses_1");
    const grant = await granted(store.claim("ses_1", member));
    assert.is(await store.remove(old), false);
    assert.is((await store.load("ses_1"))?.head, 1);
    assert.is(await store.remove(grant), true);
  });

  // --- Reading ---

  test("a read pages through the log by position, count and bytes", async () => {
    const grant = await writer.create("ses_1");
    const all = Array.from({ length: 1200 }, (_, at) => `entry ${at + 2}`);
    await writer.append(grant, all);
    const seen: string[] = [];
    for (;;) {
      const page = await texts(store, "ses_1", seen.length, 250);
      seen.push(...page);
      if (page.length < 250) break;
    }
    assert.equal(seen, ["ses_1 begins", ...all]);
    assert.is((await texts(store, "ses_1", 0, 2000)).length, 1201);
    assert.equal(await texts(store, "ses_1", 1200, 5), ["entry 1201"]);
    assert.equal(await texts(store, "ses_1", 1201, 5), []);
    assert.equal(await texts(store, "ses_1", 5000, 5), []);
    assert.equal(await store.read("ses_1", 0, 0), []);
    assert.is((await store.read("ses_1", 1, 100, 1)).length, 1);
    const bounded = await store.read("ses_1", 1, 100, 25);
    assert.is(bounded.length, 4);
    await store.release(grant);
    assert.equal(await texts(store, "ses_1", 1199, 5), ["entry 1200", "entry 1201"]);
    assert.is((await store.read("ses_1", 1, 100, 25)).length, 4);
  });

  test("entries are read from anywhere at once, in the order asked", async () => {
    const [one, two] = [await writer.create("ses_1"), await writer.create("ses_2")];
    await writer.append(one, ["a", "b"]);
    const asked = [
      ["ses_2", 1],
      ["ses_1", 3],
      ["ses_1", 4],
      ["ses_none", 1],
      ["ses_1", 1],
      ["ses_1", 3],
      ["ses_1", 0],
    ] as const;
    const each = async (): Promise<(string | undefined)[]> =>
      (await store.readEach(asked.map(([id, seq]) => ({ id, seq })))).map(
        (bytes) => bytes && Buffer.from(bytes).toString(),
      );
    const [first, second] = ["ses_1 begins", "ses_2 begins"];
    assert.equal(await each(), [second, "b", undefined, undefined, first, "b", undefined]);
    assert.equal(await store.readEach([]), []);
    await store.remove(two);
    assert.equal(await each(), [undefined, "b", undefined, undefined, first, "b", undefined]);
  });

  test.run();
}
