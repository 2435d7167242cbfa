/**
 * Pages of a backup, one by one: whole logs in the order of ids wherever a page ends, deleted and damaged sessions named,
 * sessions deleted between pages taken back.
 */
import { ClassicLevel } from "classic-level";
import { decodeTrusted, type EncodedFrame } from "../../../protocol/codec.ts";
import type { EventFrame } from "../../../protocol/entries.ts";
import type { BackedUp } from "../../../protocol/frames.ts";
import { ProtocolError } from "../../../protocol/errors.ts";
import { backUp } from "../../../server/session/backup.ts";
import { EmbeddedStore } from "../../../server/store/embedded.ts";
import { entryKey } from "../../../server/store/layout.ts";
import { MemoryStore } from "../../../server/store/memory.ts";
import { fill } from "../../fault/backup-load.ts";
import { temporaryDirectory } from "../../support/process.ts";
import { readLog } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";

const test = suite("backup pages");
const directory = temporaryDirectory();
let ids: string[] = [];
let store: EmbeddedStore;

test.before(async () => {
  ids = await fill(directory, 5, 20);
});
test.before.each(async () => {
  store = await EmbeddedStore.open(directory);
});
test.after.each(() => store.close());

class Reader {
  readonly logs = new Map<string, EventFrame[]>();
  readonly ends: BackedUp[] = [];
  pages = 0;
  gone = false;

  deliver(frame: EncodedFrame): void {
    const entry = decodeTrusted(frame.bytes) as EventFrame;
    const log = this.logs.get(entry.session) ?? [];
    this.logs.set(entry.session, log);
    log.push(entry);
    assert.is(entry.seq, log.length, "gapless, in order");
  }

  room(): undefined {
    return undefined;
  }

  async all(between: (page: number) => Promise<void> = async () => {}): Promise<void> {
    let cursor: string | undefined;
    do {
      const page = await backUp(store, this, cursor);
      this.ends.push(...page.sessions);
      ({ cursor } = page);
      await between(++this.pages);
    } while (cursor !== undefined);
  }
}

test("every log is whole, whichever page it ends on, and deleted ids are named", async () => {
  const reader = new Reader();
  await reader.all();
  assert.ok(reader.pages > 3, `${reader.pages} pages`);
  assert.equal(
    reader.ends.map(({ session }) => session),
    ["gone", ...ids],
  );
  assert.ok(reader.ends[0]!.deletedAt! > 0);
  for (const { session, head } of reader.ends.slice(1)) {
    assert.is(reader.logs.get(session)!.length, head);
    assert.equal(reader.logs.get(session), await readLog(store, session));
  }
});

test("a damaged session is named, and its log comes up to the damage", async () => {
  await store.close();
  const level = new ClassicLevel<Buffer, Buffer>(directory, {
    keyEncoding: "buffer",
    valueEncoding: "buffer",
  });
  const value = await level.get(entryKey("ses_2", 9));
  await level.put(entryKey("ses_2", 9), Buffer.from("nonsense"));
  await level.close();
  store = await EmbeddedStore.open(directory);
  const reader = new Reader();
  await reader.all();
  assert.equal(
    reader.ends.find(({ session }) => session === "ses_2"),
    { session: "ses_2", head: 8, damaged: true },
  );
  assert.is(reader.ends.length, 6);
  await store.close();
  const again = new ClassicLevel<Buffer, Buffer>(directory, {
    keyEncoding: "buffer",
    valueEncoding: "buffer",
  });
  await again.put(entryKey("ses_2", 9), value!);
  await again.close();
  store = await EmbeddedStore.open(directory);
});

test("a session that is deleted between two of its pages is said to be deleted", async () => {
  const member = await store.join("one", 60_000);
  const reader = new Reader();
  let deleted: string | undefined;
  await reader.all(async () => {
    if (deleted !== undefined) return;
    const last = [...reader.logs.keys()].at(-1)!;
    if (reader.ends.some(({ session }) => session === last)) return;
    const grant = await store.claim(last, member);
    if (grant !== undefined && !("heldBy" in grant)) await store.remove(grant);
    deleted = last;
  });
  assert.ok(deleted !== undefined);
  const end = reader.ends.find(({ session }) => session === deleted);
  assert.ok(end?.deletedAt !== undefined && end.head === undefined);
});

test("a cursor that is not ours is a bad frame; a store without ids in order has another backup", async () => {
  const refused = async (promise: Promise<unknown>): Promise<string> =>
    (await assert.rejects(promise, ProtocolError)).code;
  for (const cursor of ["", "x", ".1", "a b.1", "ses_1.-1", `${"x".repeat(66)}.1`])
    assert.is(await refused(backUp(store, new Reader(), cursor)), "bad-frame");
  assert.is(await refused(backUp(new MemoryStore(), new Reader(), undefined)), "unknown-frame");
});

test.run();
