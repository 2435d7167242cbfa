/**
 * The search rows of the embedded store: their bytes, directories from before there was a search, many blocks of documents,
 * and that a deleted session leaves nothing. What every store must find is in test/contract.
 */
import { ClassicLevel } from "classic-level";
import { BLOCK } from "../../../server/store/documents.ts";
import { EmbeddedStore } from "../../../server/store/embedded.ts";
import {
  documentKey,
  readerKey,
  sealIndexed,
  sealPlace,
  sealText,
  termKey,
  textKey,
} from "../../../server/store/findable.ts";
import { Kind, sessionKey } from "../../../server/store/layout.ts";
import type { IndexText, Store } from "../../../server/store/store.ts";
import { TTL, Writer, indexRow } from "../../contract/store-support.ts";
import { temporaryDirectory } from "../../support/process.ts";
import { assert, suite } from "../../support/suite.ts";

const test = suite("search rows on disk");
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

async function open(directory: string): Promise<{ store: EmbeddedStore; writer: Writer }> {
  const store = await EmbeddedStore.open(directory);
  return { store, writer: new Writer(store, await store.join("one", TTL), Date.now) };
}

async function rows(directory: string): Promise<[Buffer, Buffer][]> {
  const level = new ClassicLevel<Buffer, Buffer>(directory, {
    keyEncoding: "buffer",
    valueEncoding: "buffer",
  });
  const all = await level.iterator().all();
  await level.close();
  return all;
}

async function find(store: Store, term: string, reader?: string): Promise<string[]> {
  const found: string[] = [];
  for (let cursor: string | undefined; ;) {
    const page = await store.search({
      terms: [term],
      limit: 50,
      ...(reader === undefined ? {} : { reader }),
      ...(cursor === undefined ? {} : { cursor }),
    });
    found.push(...page.items.map(({ id, seq }) => `${id}:${seq}`));
    ({ cursor } = page);
    if (cursor === undefined) return found;
  }
}

test("keys and values are the bytes that they were", () => {
  assert.is(hex(termKey(258, "é")), "0f00000102c3a9");
  assert.is(hex(readerKey(undefined, 258)), "100000000102");
  assert.is(hex(readerKey("ada", 258)), "1001fdee430d40bd57deeac186cd9790033d00000102");
  assert.is(hex(textKey("ses_1", 258)), "117365735f3100000000000102");
  assert.is(hex(documentKey(258)), "12000000000102");
  assert.is(hex(sessionKey(Kind.indexed, "ses_1")), "137365735f3100");
  assert.is(hex(sessionKey(Kind.unindexed, "ses_1")), "147365735f3100");
  const body = (value: Buffer): string => hex(value.subarray(5));
  const text = textKey("ses_1", 2);
  assert.is(body(sealText(text, { document: 258, terms: ["a", "b"] })), "000000000102612062");
  assert.is(body(sealPlace(documentKey(1), { id: "ses_1", seq: 2 })), "0000000000027365735f31");
  const card = sealIndexed(text, { seq: 3, title: 1, readers: ["ada"] });
  assert.is(body(card), "0000000000030000000000015b22616461225d");
});

test("sessions from before there was a search are to be indexed, once, also when that was cut short", async () => {
  const directory = temporaryDirectory();
  const ids = Array.from({ length: 600 }, (_, at) => `ses_${String(at).padStart(3, "0")}`);
  const first = await open(directory);
  await first.store.append(ids.map((id) => first.writer.creation(id)));
  const seen = new Set<string>();
  for (let round = 0; round < 3; round++) {
    for (const { id, seq } of await first.store.unindexed(100)) {
      assert.is(seen.has(id), false);
      seen.add(id);
      await first.store.index([{ id, after: seq, seq: 1, texts: [{ seq: 1, terms: ["old", id] }] }]);
    }
  }
  await first.store.close();
  const second = await open(directory);
  for (;;) {
    const waiting = await second.store.unindexed(200);
    if (waiting.length === 0) break;
    for (const { id } of waiting) assert.is(seen.has(id), false);
    await second.store.index(
      waiting.map(({ id, seq }) => ({ id, after: seq, seq: 1, texts: [{ seq: 1, terms: ["old", id] }] })),
    );
    for (const { id } of waiting) seen.add(id);
  }
  assert.equal([...seen].sort(), ids);
  assert.equal(
    (await find(second.store, "old")).toSorted(),
    ids.map((id) => `${id}:1`),
  );
  await second.writer.create("ses_new");
  assert.equal(await second.store.unindexed(10), [], "what is new says so itself");
  await second.store.close();
});

test("texts are found over many blocks, in their order, by who reads few of them as by who reads all", async () => {
  const { store, writer } = await open(temporaryDirectory());
  const total = 2 * BLOCK + 100;
  await writer.create("big");
  await writer.create("small", { index: indexRow({ readers: ["bob"] }) });
  const page = 500;
  const mine: string[] = [];
  for (let seq = 0; seq < total; seq += page) {
    const texts: IndexText[] = [];
    for (let at = seq + 1; at <= Math.min(seq + page, total); at++)
      texts.push({ seq: at, terms: at % 1000 === 0 ? ["common", "rare"] : ["common"] });
    const upTo = seq + texts.length;
    const one = { id: "small", after: seq / page, seq: seq / page + 1 };
    await store.index([
      { id: "big", after: seq, seq: upTo, texts },
      { ...one, texts: [{ seq: one.seq, terms: ["common"] }] },
    ]);
    mine.unshift(`small:${one.seq}`);
  }
  assert.equal(
    await find(store, "rare"),
    [8000, 7000, 6000, 5000, 4000, 3000, 2000, 1000].map((seq) => `big:${seq}`),
  );
  assert.equal(await find(store, "common", "bob"), mine);
  const all = await find(store, "common");
  assert.is(all.length, total + mine.length);
  assert.is(new Set(all).size, all.length);
  await store.close();
});

test("of a deleted session nothing stays on the disk, also when the store is closed at once", async () => {
  for (const atOnce of [false, true]) {
    const directory = temporaryDirectory();
    const { store, writer } = await open(directory);
    await writer.create("ses_stays", { searchable: true });
    await store.index([
      { id: "ses_stays", after: 0, seq: 1, texts: [{ seq: 1, terms: ["shared", "kept"] }] },
    ]);
    let grant = await writer.create("ses_goes", {
      index: indexRow({ readers: ["ada", "eve"] }),
      searchable: true,
    });
    const more = Array.from({ length: 99 }, (_, at) => `entry ${at}`);
    grant = await writer.append(grant, more, { searchable: true });
    const texts = Array.from({ length: 90 }, (_, at) => ({ seq: at + 1, terms: ["shared", `secret${at}`] }));
    await store.index([{ id: "ses_goes", after: 0, seq: 90, texts }]);
    await store.remove(grant);
    assert.equal(await find(store, "shared"), ["ses_stays:1"]);
    if (atOnce) {
      await store.close();
      const again = await open(directory);
      await again.store.purged();
      await again.store.close();
    } else {
      await store.purged();
      await store.close();
    }
    const left = (await rows(directory)).filter(([key, value]) => {
      return /ses_goes|secret/.test(key.toString("latin1") + value.toString("latin1"));
    });
    assert.equal(
      left.map(([key]) => hex(key)),
      [hex(sessionKey(Kind.session, "ses_goes"))],
    );
    const documents = (await rows(directory)).filter(
      ([key]) => key[0] === Kind.document || key[0] === Kind.found,
    );
    assert.is(documents.length, 3, "one document, in two lists");
  }
});

test("what is to be indexed is marked in the write of the append, so that a kill loses none of it", async () => {
  const directory = temporaryDirectory();
  const { store, writer } = await open(directory);
  await writer.create("ses_1", { searchable: true });
  await store.close();
  const level = new ClassicLevel<Buffer, Buffer>(directory, {
    keyEncoding: "buffer",
    valueEncoding: "buffer",
  });
  assert.ok((await level.get(sessionKey(Kind.unindexed, "ses_1"))) !== undefined);
  await level.close();
  const again = await open(directory);
  assert.equal(await again.store.unindexed(10), [{ id: "ses_1", seq: 0 }]);
  await again.store.close();
});

test.run();
