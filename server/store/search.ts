/**
 * The search of the embedded store: from a reader's newest block of documents to the oldest, those that have every term.
 * Owns the bounds of one search. What it reads is the reader's: blocks in which nothing is theirs are never looked at, and a
 * cursor names an entry that they may read. Never knows what a term means.
 */
import type { Snapshot } from "classic-level";
import type { Level } from "./directory.ts";
import { BLOCK, has, keep, latest, noDocuments, type Documents } from "./documents.ts";
import {
  addRow,
  blockOf,
  blockOfReaderKey,
  documentKey,
  offsetOf,
  readDocuments,
  readPlace,
  readText,
  readerKey,
  termKey,
  termRange,
  textKey,
} from "./findable.ts";
import { Kind, sessionKey } from "./layout.ts";
import { liveRow, withSnapshot } from "./scan.ts";
import type { Found, FoundPage, Place, SearchQuery } from "./store.ts";

/** Blocks that one search looks at, with and without a prefix: at least 1 000 000 and 260 000 texts of full blocks. */
const MAX_BLOCKS = 256;
const MAX_PREFIX_BLOCKS = 64;
/** Rows that cross from the engine at once. */
const BLOCKS_AT_ONCE = 16;
const TERMS_AT_ONCE = 1000;
const CURSOR = /^([0-9]{1,15})\.([A-Za-z0-9_-]{1,64})$/;

export async function readFound(level: Level, query: SearchQuery): Promise<FoundPage> {
  const { reader, limit, cursor, terms, prefix } = query;
  const maxBlocks = prefix === undefined ? MAX_BLOCKS : MAX_PREFIX_BLOCKS;
  return withSnapshot(level, async (snapshot) => {
    const view = new View(level, snapshot, reader);
    const before = cursor === undefined ? undefined : await view.documentOf(cursor);
    const items: Found[] = [];
    if (terms.length === 0 && prefix === undefined) return { items };
    const end = before === undefined ? 0xffff_ffff : blockOf(before);
    const rows = level.iterator({
      gte: readerKey(reader, 0),
      lte: readerKey(reader, end),
      reverse: true,
      snapshot,
    });
    let blocks = 0;
    let passed: [Buffer, Buffer] | undefined;
    try {
      for (;;) {
        const page = await rows.nextv(BLOCKS_AT_ONCE);
        if (page.length === 0) return { items };
        for (const [key, value] of page) {
          if (blocks++ === maxBlocks && passed !== undefined)
            return { items, ...(await view.cursorAfter(...passed)) };
          passed = [key, value];
          const block = blockOfReaderKey(key);
          const below = before === undefined || block < end ? BLOCK : offsetOf(before);
          const documents = readDocuments(key, value);
          await view.narrow(documents, block, terms, prefix);
          const found = await view.found(block, latest(documents, below), limit - items.length);
          items.push(...found);
          const last = items.at(-1);
          if (last !== undefined && items.length >= limit) return { items, cursor: cursorOf(last) };
        }
      }
    } finally {
      await rows.close();
    }
  });
}

function cursorOf({ id, seq }: Place): string {
  return `${seq}.${id}`;
}

/** One search's view of the store. */
class View {
  readonly #level: Level;
  readonly #snapshot: Snapshot;
  readonly #reader: string | undefined;

  constructor(level: Level, snapshot: Snapshot, reader: string | undefined) {
    this.#level = level;
    this.#snapshot = snapshot;
    this.#reader = reader;
  }

  /** Throws RangeError for what was never found, or not by this reader. */
  async documentOf(cursor: string): Promise<number> {
    const [, seq, id = ""] = CURSOR.exec(cursor) ?? [];
    const key = textKey(id, Number(seq ?? 0));
    const value = id === "" ? undefined : await this.#level.get(key, { snapshot: this.#snapshot });
    if (value === undefined) throw new RangeError("unknown cursor");
    const { document } = readText(id, key, value);
    const mine = readerKey(this.#reader, blockOf(document));
    const row = await this.#level.get(mine, { snapshot: this.#snapshot });
    if (!has(readDocuments(mine, row), offsetOf(document))) throw new RangeError("unknown cursor");
    return document;
  }

  /** The cursor that goes on below a block of the reader's. */
  async cursorAfter(key: Buffer, value: Buffer): Promise<{ cursor?: string }> {
    const offset = [...latest(readDocuments(key, value))].at(-1) ?? 0;
    const place = documentKey(blockOfReaderKey(key) * BLOCK + offset);
    const stored = await this.#level.get(place, { snapshot: this.#snapshot });
    return stored === undefined ? {} : { cursor: cursorOf(readPlace(place, stored)) };
  }

  /** Leaves those that have all the terms. */
  async narrow(
    documents: Documents,
    block: number,
    terms: readonly string[],
    prefix: string | undefined,
  ): Promise<void> {
    const keys = terms.map((term) => termKey(block, term));
    const values = await this.#level.getMany(keys, { snapshot: this.#snapshot });
    keys.forEach((key, at) => keep(documents, readDocuments(key, values[at])));
    if (prefix === undefined || !documents.some(Boolean)) return;
    const begun = noDocuments();
    const rows = this.#level.iterator({ ...termRange(block, prefix), snapshot: this.#snapshot });
    try {
      for (;;) {
        const page = await rows.nextv(TERMS_AT_ONCE);
        if (page.length === 0) break;
        for (const [key, value] of page) addRow(begun, key, value);
      }
    } finally {
      await rows.close();
    }
    keep(documents, begun);
  }

  /** Where the first `limit` of them stand whose sessions are there, and the reader's. */
  async found(block: number, offsets: Iterator<number, void>, limit: number): Promise<Found[]> {
    const found: Found[] = [];
    while (found.length < limit) {
      const keys: Buffer[] = [];
      while (keys.length < limit - found.length) {
        const next = offsets.next();
        if (next.done === true) break;
        keys.push(documentKey(block * BLOCK + next.value));
      }
      if (keys.length === 0) break;
      const values = await this.#level.getMany(keys, { snapshot: this.#snapshot });
      const places = values.flatMap((value, at) =>
        value === undefined ? [] : [readPlace(keys[at]!, value)],
      );
      const rows = places.map(({ id }) => sessionKey(Kind.session, id));
      const sessions = await this.#level.getMany(rows, { snapshot: this.#snapshot });
      for (const [at, { id, seq }] of places.entries()) {
        const row = liveRow(id, rows[at]!, sessions[at]);
        if (row === undefined) continue;
        if (this.#reader !== undefined && !row.index.readers.includes(this.#reader)) continue;
        found.push({ id, index: row.index, seq });
      }
    }
    return found;
  }
}
