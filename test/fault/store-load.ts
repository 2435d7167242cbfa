/**
 * The load that a store is put under before it is killed, and the proof that it kept its word. Owns what every entry
 * must hold, the lines in which a writer says what was acked, and the check of a directory against them.
 */
import { EmbeddedStore } from "../../server/store/embedded.ts";
import { bytes, idsOf, texts } from "../contract/store-support.ts";
import { assert } from "../support/suite.ts";
import type { Random } from "../support/wait.ts";

export const READER = "ada";

/** 60 to 300 bytes, or up to 20 KB for one in twenty; the same for the same session and seq, for ever. */
export function contentOf(id: string, seq: number): string {
  let mixed = seq;
  for (const character of id) mixed = Math.imul(mixed ^ character.charCodeAt(0), 0x01000193) >>> 0;
  const length = mixed % 20 === 0 ? mixed % 20_000 : 60 + (mixed % 240);
  return `${id} ${seq} `.padEnd(length, `${mixed} `);
}

export function entriesFrom(id: string, afterSeq: number, count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, at) => bytes(contentOf(id, afterSeq + at + 1)));
}

export function keyNameOf(seq: number): string {
  return `key ${seq}`;
}

/** What writers have acked over all their lives. */
export class Acks {
  readonly heads = new Map<string, number>();
  readonly removed = new Set<string>();
  total = 0;

  /** Takes the lines of a writer: `ack <session> <seq>` and `removed <session>`. */
  take(lines: readonly string[]): void {
    for (const line of lines) {
      const [word, id, seq] = line.split(" ");
      if (id === undefined || (word !== "ack" && word !== "removed")) continue;
      this.total++;
      if (word === "removed") this.removed.add(id);
      else this.heads.set(id, Math.max(this.heads.get(id) ?? 0, Number(seq)));
    }
  }
}

export interface Verdict {
  readonly sessions: number;
  readonly entries: number;
  /** Entries that were committed but never acked. */
  readonly unacked: number;
}

/** Opens the directory and throws unless all that was acked is there, in order, unchanged, and nothing deleted is. */
export async function verify(directory: string, acks: Acks, random: Random): Promise<Verdict> {
  const store = await EmbeddedStore.open(directory);
  let entries = 0;
  let unacked = 0;
  try {
    for (const [id, acked] of acks.heads) {
      if (acks.removed.has(id)) continue;
      const loaded = await store.load(id);
      // A session may have been deleted without the word of it getting out.
      if (loaded === undefined && id.startsWith("tmp_")) continue;
      assert.ok(loaded !== undefined && loaded.head >= acked, `${id}: acked ${acked}, found ${loaded?.head}`);
      const found = await texts(store, id, 0, Infinity);
      assert.is(found.length, loaded.head);
      found.forEach((text, at) =>
        assert.ok(text === contentOf(id, at + 1), `${id} ${at + 1} holds something else`),
      );
      const seq = 1 + random.int(acked);
      assert.is(await store.lookupKey(id, READER, keyNameOf(acked)), acked);
      assert.ok([seq, undefined].includes(await store.lookupKey(id, READER, keyNameOf(seq))));
      entries += found.length;
      unacked += found.length - acked;
    }
    for (const id of acks.removed) {
      assert.is(await store.load(id), undefined);
      assert.equal(await store.read(id, 0, 10), []);
    }
    const listed = idsOf(await store.list({ reader: READER, limit: 100_000 }));
    assert.is(new Set(listed).size, listed.length);
    for (const id of listed) assert.ok((await store.load(id)) !== undefined);
    for (const id of acks.heads.keys()) {
      if (!id.startsWith("tmp_")) assert.ok(listed.includes(id), `${id} is not listed`);
    }
    return { sessions: listed.length, entries, unacked };
  } finally {
    await store.close();
  }
}
