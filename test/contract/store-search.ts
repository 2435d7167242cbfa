/**
 * The part of the store contract about search: what is found by whom and in which order, and that it goes with its session.
 * What a term is, the store does not know. See ./store.ts for how a home takes part.
 */
import type { IndexText, SearchQuery, Store } from "../../server/store/store.ts";
import { assert, suite } from "../support/suite.ts";
import { begin, indexRow, type MakeStore, type Writer } from "./store-support.ts";

const text = (seq: number, ...terms: string[]): IndexText => ({ seq, terms });
const title = (seq: number, ...terms: string[]): IndexText => ({ seq, terms, title: true });

export function searchContract(name: string, makeStore: MakeStore): void {
  const test = suite(`${name}: search`);
  let store: Store;
  let writer: Writer;

  test.before.each(async () => {
    ({ store, writer } = await begin(makeStore));
  });
  test.after.each(() => store.close());

  /** A session of so many entries in all, indexed up to its head. */
  const session = async (id: string, entries: number, texts: IndexText[], readers = ["ada"]) => {
    let grant = await writer.create(id, { index: indexRow({ readers }), searchable: true });
    const more = Array.from({ length: entries - 1 }, (_, at) => `entry ${at + 2}`);
    if (more.length > 0) grant = await writer.append(grant, more, { searchable: true });
    assert.is(await store.index([{ id, after: 0, seq: grant.seq, texts }]), true);
    return grant;
  };
  const find = async (terms: string, query: Partial<SearchQuery> = {}): Promise<string> => {
    const words = terms.split(" ").filter((word) => word !== "");
    const prefix = words.findLast((word) => word.endsWith("*"))?.slice(0, -1);
    const page = await store.search({
      terms: words.filter((word) => !word.endsWith("*")),
      ...(prefix === undefined ? {} : { prefix }),
      limit: 100,
      ...query,
    });
    return page.items.map(({ id, seq }) => `${id}:${seq}`).join(" ");
  };

  test("an entry with all terms is found, whole or by the beginning of one, the latest indexed first", async () => {
    await session("ses_1", 3, [text(1, "seal", "ice"), text(3, "sealing", "wax")]);
    await session("ses_2", 2, [text(2, "seal", "wax")]);
    assert.is(await find("seal"), "ses_2:2 ses_1:1");
    assert.is(await find("seal wax"), "ses_2:2");
    assert.is(await find("wax seal*"), "ses_2:2 ses_1:3");
    assert.is(await find("seal*"), "ses_2:2 ses_1:3 ses_1:1");
    assert.is(await find("ice wax"), "");
    assert.is(await find("sea"), "");
    assert.is(await find(""), "");
    const { items } = await store.search({ terms: ["ice"], limit: 1 });
    assert.equal(items[0]?.index.readers, ["ada"]);
  });

  test("what one may not read is not there: not in items, not in pages, not by a cursor", async () => {
    await session("ses_1", 2, [text(1, "seal"), text(2, "seal")], ["ada"]);
    await session("ses_2", 1, [text(1, "seal")], ["bob"]);
    await session("ses_3", 1, [text(1, "seal")], ["ada", "bob"]);
    assert.is(await find("seal", { reader: "bob" }), "ses_3:1 ses_2:1");
    assert.is(await find("seal", { reader: "ada" }), "ses_3:1 ses_1:2 ses_1:1");
    assert.is(await find("seal", { reader: "eve" }), "");
    const theirs = await store.search({ terms: ["seal"], limit: 1, reader: "bob" });
    assert.is(theirs.cursor, "1.ses_3");
    for (const cursor of ["2.ses_1", "9.ses_9", "1", "x.ses_1", ""])
      await assert.rejects(store.search({ terms: ["seal"], limit: 1, reader: "bob", cursor }), RangeError);
  });

  test("pages follow one another and miss nothing, whatever is indexed meanwhile", async () => {
    const texts = Array.from({ length: 25 }, (_, at) => text(at + 1, at % 2 === 0 ? "even" : "odd", "all"));
    await session("ses_1", 25, texts);
    const found: number[] = [];
    let cursor: string | undefined;
    do {
      const page = await store.search({
        terms: ["even"],
        limit: 4,
        ...(cursor === undefined ? {} : { cursor }),
      });
      found.push(...page.items.map(({ seq }) => seq));
      if (cursor === undefined) await session("ses_2", 1, [text(1, "even")]);
      ({ cursor } = page);
    } while (cursor !== undefined);
    assert.equal(found, [25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1]);
  });

  test("a title takes the place of the one before", async () => {
    const grant = await session("ses_1", 1, [title(1, "old", "name")]);
    assert.is(await find("old"), "ses_1:1");
    await writer.append(grant, ["2", "3", "4"], { searchable: true });
    await store.index([
      { id: "ses_1", after: 1, seq: 3, texts: [title(2, "passing"), title(3, "new", "name")], more: true },
    ]);
    assert.is(await find("name"), "ses_1:3");
    assert.is(await find("passing*"), "");
    await store.index([{ id: "ses_1", after: 3, seq: 4, texts: [title(4)] }]);
    assert.is(await find("name"), "");
  });

  test("who becomes a reader finds what was there, and who is one no more nothing", async () => {
    const grant = await session("ses_1", 2, [text(1, "seal"), title(2, "seals")], ["ada"]);
    const index = indexRow({ readers: ["ada", "bob"] });
    const second = await writer.append(grant, ["3"], { index, searchable: true });
    assert.equal(await store.unindexed(10), [{ id: "ses_1", seq: 2 }]);
    await store.index([{ id: "ses_1", after: 2, seq: 3, texts: [title(3, "sealing")] }]);
    assert.is(await find("seal*", { reader: "bob" }), "ses_1:3 ses_1:1");
    await writer.append(second, ["4"], { index: indexRow({ readers: ["bob"] }), searchable: true });
    assert.is(await find("seal*", { reader: "ada" }), "");
    await store.index([{ id: "ses_1", after: 3, seq: 4, texts: [] }]);
    assert.is(await find("seal*", { reader: "ada" }), "");
    assert.is(await find("seal", { reader: "bob" }), "ses_1:1");
  });

  test("a session is to be indexed from the append that says so until all of it is", async () => {
    const grant = await writer.create("ses_1");
    await writer.create("ses_2", { searchable: true });
    assert.equal(await store.unindexed(10, ["ses_1", "ses_2", "ses_9"]), [{ id: "ses_2", seq: 0 }]);
    const second = await writer.append(grant, ["2"], { searchable: true });
    await store.index([{ id: "ses_1", after: 0, seq: 1, texts: [text(1, "one")] }]);
    const waiting = [{ id: "ses_1", seq: 1 }];
    assert.equal(await store.unindexed(10, ["ses_1"]), waiting, "entry 2 is not indexed yet");
    await writer.append(second, ["3"]);
    await store.index([{ id: "ses_1", after: 1, seq: 2, texts: [text(2, "two")], more: true }]);
    assert.equal(await store.unindexed(10, ["ses_1"]), [{ id: "ses_1", seq: 2 }], "there is more");
    await store.index([{ id: "ses_1", after: 2, seq: 3, texts: [text(3, "three")] }]);
    await store.index([{ id: "ses_2", after: 0, seq: 1, texts: [] }]);
    assert.equal(await store.unindexed(10), []);
    await store.index([{ id: "ses_1", after: 2, seq: 3, texts: [text(3, "again")] }]);
    assert.is(await find("again"), "", "it was indexed further than that");
  });

  test("nothing is found of a session that was deleted, and nothing can be indexed of it", async () => {
    const grant = await session("ses_1", 1, [title(1, "seal")]);
    await session("ses_2", 1, [text(1, "seal")]);
    await store.remove(grant);
    assert.is(await find("seal"), "ses_2:1");
    await store.index([{ id: "ses_1", after: 1, seq: 2, texts: [text(2, "seal")] }]);
    await store.index([{ id: "ses_9", after: 0, seq: 1, texts: [text(1, "seal")] }]);
    assert.is(await find("seal"), "ses_2:1");
    assert.equal(await store.unindexed(10), []);
  });

  test.run();
}
