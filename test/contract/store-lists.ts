/**
 * The part of the store contract about what is found without knowing an id: lists by reader, pages, orphans.
 * Owns their order and what moves a row. Knows no home.
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
  idsOf,
  indexRow,
  textOf,
  TTL,
  type MakeStore,
  type StoreUnderTest,
} from "./store-support.ts";

export function listsContract(name: string, makeStore: MakeStore): void {
  const test = suite(`${name}: lists and orphans`);
  let home: StoreUnderTest;
  let store: Store;
  let member: Member;
  let writer: Writer;

  test.before.each(async () => {
    ({ home, store, member, writer } = await begin(makeStore));
  });
  test.after.each(() => store.close());

  test("a reader's list shows that reader's sessions, newest first", async () => {
    await writer.create("ses_1", { index: indexRow({ readers: ["ada"], updatedAt: 30 }) });
    await writer.create("ses_2", { index: indexRow({ readers: ["ada", "bob"], updatedAt: 50 }) });
    await writer.create("ses_3", { index: indexRow({ readers: ["bob"], updatedAt: 40 }) });
    await writer.create("ses_4", { index: indexRow({ readers: [], updatedAt: 60 }) });
    assert.equal(idsOf(await store.list({ reader: "ada", limit: 10 })), ["ses_2", "ses_1"]);
    assert.equal(idsOf(await store.list({ reader: "bob", limit: 10 })), ["ses_2", "ses_3"]);
    assert.equal(idsOf(await store.list({ reader: "eve", limit: 10 })), []);
    const all = await store.list({ limit: 10 });
    assert.equal(idsOf(all), ["ses_4", "ses_2", "ses_3", "ses_1"]);
    assert.equal(all.items[1]?.index.readers, ["ada", "bob"]);
    assert.is(all.items[1]?.index.updatedAt, 50);
    assert.is(textOf(all.items[1]?.index.info), "info");
    assert.is(all.cursor, undefined);
  });

  test("pages of a list follow each other without loss or repeat, also within one millisecond", async () => {
    const random = seeded(seedFromEnvironment());
    const rows = Array.from({ length: 57 }, (_, at) => ({ id: `ses_${at}`, updatedAt: 100 + random.int(8) }));
    await store.append(
      rows.map(({ id, updatedAt }) =>
        writer.creation(id, { index: indexRow({ updatedAt, readers: ["ada"] }) }),
      ),
    );
    const expected = rows
      .toSorted((a, b) => b.updatedAt - a.updatedAt || (a.id < b.id ? -1 : 1))
      .map(({ id }) => id);
    for (const reader of ["ada", undefined]) {
      for (const limit of [1, 7, 19, 56, 57, 58]) {
        const seen: string[] = [];
        let cursor: string | undefined;
        do {
          const page = await store.list({ limit, ...(reader && { reader }), ...(cursor && { cursor }) });
          assert.ok(page.items.length <= limit);
          seen.push(...idsOf(page));
          cursor = page.cursor;
        } while (cursor !== undefined);
        assert.equal(seen, expected);
      }
    }
  });

  test("an update moves a session in every list that shows it", async () => {
    const one = await writer.create("ses_1", { index: indexRow({ updatedAt: 10, readers: ["ada", "bob"] }) });
    await writer.create("ses_2", { index: indexRow({ updatedAt: 20, readers: ["ada", "bob"] }) });
    assert.equal(idsOf(await store.list({ reader: "ada", limit: 1 })), ["ses_2"]);
    const row = indexRow({ updatedAt: 30, readers: ["ada", "bob"], info: bytes("moved") });
    await writer.append(one, ["two"], { index: row });
    for (const query of [{ reader: "ada", limit: 10 }, { reader: "bob", limit: 10 }, { limit: 10 }]) {
      const page = await store.list(query);
      assert.equal(idsOf(page), ["ses_1", "ses_2"]);
      assert.is(textOf(page.items[0]?.index.info), "moved");
    }
  });

  test("who is no reader any more loses the row, who is new gets one, also after a new claim", async () => {
    let grant = await writer.create("ses_1", { index: indexRow({ readers: ["ada", "bob"] }) });
    grant = await writer.append(grant, ["two"], { index: indexRow({ readers: ["bob", "cyd"] }) });
    assert.equal(idsOf(await store.list({ reader: "ada", limit: 10 })), []);
    assert.equal(idsOf(await store.list({ reader: "bob", limit: 10 })), ["ses_1"]);
    assert.equal(idsOf(await store.list({ reader: "cyd", limit: 10 })), ["ses_1"]);
    await store.release(grant);
    grant = await granted(store.claim("ses_1", member));
    await writer.append(grant, ["three"], { index: indexRow({ readers: ["dan"], updatedAt: 2000 }) });
    for (const reader of ["ada", "bob", "cyd"])
      assert.equal(idsOf(await store.list({ reader, limit: 10 })), []);
    assert.equal(idsOf(await store.list({ reader: "dan", limit: 10 })), ["ses_1"]);
    assert.equal(idsOf(await store.list({ limit: 10 })), ["ses_1"]);
  });

  test("a cursor that no store made is a RangeError", async () => {
    for (const cursor of ["", "x", "1.", ".a", "1.a b", "99999999999999999.a", "-1.a", "1.a\0"]) {
      await assert.rejects(store.list({ limit: 1, cursor }), RangeError);
    }
  });

  test("sessions in which something is asked are found by reader, in the order of their ids", async () => {
    const asked = (text: string, ...readers: string[]) => ({
      index: indexRow({ open: true, readers, requests: bytes(text) }),
    });
    await writer.create("ses_3", asked("three", "ada"));
    await writer.create("ses_1", asked("one", "ada", "bob"));
    await writer.create("ses_2", { index: indexRow({ readers: ["ada"] }) });
    await writer.create("Ses_4", asked("four", "bob"));
    const found = async (reader?: string, from = "", limit = 10): Promise<string[]> => {
      const items = await store.asked({ from, limit, ...(reader && { reader }) });
      return items.map(({ id, requests }) => `${id} ${textOf(requests)}`);
    };
    assert.equal(await found("ada"), ["ses_1 one", "ses_3 three"]);
    assert.equal(await found("bob"), ["Ses_4 four", "ses_1 one"]);
    assert.equal(await found("eve"), []);
    assert.equal(await found(), ["Ses_4 four", "ses_1 one", "ses_3 three"]);
    assert.equal(await found("ada", "ses_1"), ["ses_1 one", "ses_3 three"]);
    assert.equal(await found("ada", "ses_1-"), ["ses_3 three"]);
    assert.equal(await found(undefined, "", 2), ["Ses_4 four", "ses_1 one"]);
  });

  test("what is asked in a session is listed from the append that says so to the one that ends it", async () => {
    const found = async (reader?: string): Promise<string[]> =>
      (await store.asked({ from: "", limit: 10, ...(reader && { reader }) })).map(
        ({ id, requests }) => `${id} ${textOf(requests)}`,
      );
    const index = indexRow({ open: true, readers: ["ada", "bob"] });
    let grant = await writer.create("ses_1", { index });
    assert.equal(await found(), []);
    grant = await writer.append(grant, ["two"], { index: { ...index, requests: bytes("what?") } });
    assert.equal(await found("bob"), ["ses_1 what?"]);
    grant = await writer.append(grant, ["three"]);
    assert.equal(await found("bob"), ["ses_1 what?"], "an append without index changes no list");
    await store.release(grant);
    grant = await granted(store.claim("ses_1", member));
    grant = await writer.append(grant, ["four"], {
      index: { ...index, readers: ["bob", "cyd"], requests: bytes("and?") },
    });
    assert.equal(await found("ada"), []);
    assert.equal(await found("bob"), ["ses_1 and?"]);
    assert.equal(await found("cyd"), ["ses_1 and?"]);
    await store.release(grant);
    grant = await granted(store.claim("ses_1", member));
    grant = await writer.append(grant, ["five"], { index: { ...index, readers: ["cyd"] } });
    for (const reader of [undefined, "bob", "cyd"]) assert.equal(await found(reader), []);
    grant = await writer.append(grant, ["six"], { index: { ...index, requests: bytes("again?") } });
    assert.equal(await found("ada"), ["ses_1 again?"]);
    assert.ok(await store.remove(grant));
    for (const reader of [undefined, "ada", "bob"]) assert.equal(await found(reader), []);
  });

  test("a user's sessions are counted from the append that says whose they are to their deletion", async () => {
    const counts = (): Promise<number[]> =>
      Promise.all(["ada", "bob", "ad"].map((user) => store.owned(user)));
    assert.equal(await counts(), [0, 0, 0]);
    const grants = [];
    for (const [at, owner] of ["ada", "bob", "ada"].entries())
      grants.push(await writer.create(`ses_${at}`, { index: indexRow({ owner }) }));
    await writer.create("ses_none");
    await writer.one(writer.creation("ses_0", { index: indexRow({ owner: "bob" }) }));
    assert.equal(await counts(), [2, 1, 0]);
    const moved = await writer.append(grants[1]!, ["two"], { index: indexRow({ owner: "ada" }) });
    await writer.append(grants[0]!, ["two"], { index: indexRow({ owner: "ada", readers: ["bob"] }) });
    assert.equal(await counts(), [3, 0, 0]);
    await store.release(moved);
    const again = await granted(store.claim("ses_1", member));
    assert.ok(await store.remove(again));
    assert.not(await store.remove(again));
    assert.ok(await store.remove(grants[2]!));
    assert.equal(await counts(), [1, 0, 0]);
    assert.is((await store.load("ses_0"))?.index.owner, "ada");
  });

  test("orphans are the open sessions that no live member owns", async () => {
    const open = { index: indexRow({ open: true }) };
    const shut = { index: indexRow({ open: false }) };
    const owned = await writer.create("ses_owned", open);
    const freed = await writer.create("ses_freed", open);
    await store.release(await writer.create("ses_shut", shut));
    await store.release(freed);
    assert.equal(await store.orphans(10), ["ses_freed"]);
    const reopened = await writer.append(await granted(store.claim("ses_shut", member)), ["two"], open);
    assert.equal(await store.orphans(10), ["ses_freed"]);
    await store.release(reopened);
    assert.equal((await store.orphans(10)).toSorted(), ["ses_freed", "ses_shut"]);
    const settled = await writer.append(await granted(store.claim("ses_freed", member)), ["two"], shut);
    await store.release(settled);
    assert.equal(await store.orphans(10), ["ses_shut"]);
    await home.advance(TTL + 1);
    assert.equal((await store.orphans(10)).toSorted(), ["ses_owned", "ses_shut"]);
    assert.is((await store.orphans(1)).length, 1);
    assert.is(owned.seq, 1);
  });

  test.run();
}
