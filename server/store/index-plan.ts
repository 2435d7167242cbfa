/**
 * What one write to the search of the embedded store is to change, read before it. Owns which rows a text has and the
 * numbers of documents; nothing of it is written unless all is as it was when it was read. indexing.ts takes it to the disk.
 */
import type { Level } from "./directory.ts";
import { BLOCK, add, encodeDocuments, remove, type Documents } from "./documents.ts";
import {
  COUNTER_KEY,
  blockOf,
  documentKey,
  offsetOf,
  readCounter,
  readDocuments,
  readIndexed,
  readText,
  readerKey,
  sealCounter,
  sealIndexed,
  sealPlace,
  sealText,
  termKey,
  textKey,
  type Counter,
  type TextRow,
} from "./findable.ts";
import type { Batch } from "./lane.ts";
import { Kind, rangeOf, seal, sessionKey, unseal } from "./layout.ts";
import { liveRow } from "./scan.ts";
import type { IndexItem } from "./store.ts";

/** Rows of terms after which a block is full, however few its documents: so many a prefix may have to walk over. */
const MAX_BLOCK_TERMS = 100_000;
/** Texts of a deleted session that one write takes off the disk. */
const DROPPED_AT_ONCE = 32;
const TEXTS_AT_ONCE = 500;

interface Change {
  readonly key: Buffer;
  /** Of a term's row, which counts for its block. */
  readonly term: boolean;
  /** Offsets that come, and ~ of those that go, in their order. */
  readonly offsets: number[];
  documents?: Documents;
  fresh?: boolean;
}

export class IndexPlan {
  readonly #level: Level;
  readonly #counter: Counter;
  #next: number;
  #terms: number;
  /** Rows that are sets, by their keys. */
  readonly #sets = new Map<string, Change>();
  readonly #puts: [Buffer, Buffer][] = [];
  readonly #dels: Buffer[] = [];
  /** Sessions that must be there when it is written, with the entry up to which they are indexed then. */
  readonly #indexed = new Map<string, number>();

  private constructor(level: Level, counter: Counter) {
    this.#level = level;
    this.#counter = counter;
    const full = counter.terms >= MAX_BLOCK_TERMS;
    this.#next = full ? (blockOf(counter.next) + 1) * BLOCK : counter.next;
    this.#terms = full ? 0 : counter.terms;
  }

  static async begin(level: Level): Promise<IndexPlan> {
    return new IndexPlan(level, readCounter(await level.get(COUNTER_KEY)));
  }

  get empty(): boolean {
    return this.#dels.length === 0 && this.#puts.length === 0;
  }

  async take({ id, after, seq, texts, more = false }: IndexItem): Promise<void> {
    const keys = [sessionKey(Kind.session, id), sessionKey(Kind.indexed, id)] as const;
    const [session, value] = await this.#level.getMany([...keys]);
    const row = liveRow(id, keys[0], session);
    const before = readIndexed(id, keys[1], value);
    if (row === undefined || before.seq !== after || this.#indexed.has(id)) return;
    const readers = [...row.index.readers];
    const finders = new Set(readers);
    await this.#moveReaders(id, before.readers, finders);
    const name = texts.findLast((text) => text.title);
    if (name !== undefined && before.title > 0) await this.#forget(id, before.title, readers);
    for (const text of texts)
      if (text.terms.length > 0 && (!text.title || text === name))
        this.#put(id, text.seq, text.terms, readers);
    const title = name === undefined ? before.title : name.terms.length === 0 ? 0 : name.seq;
    this.#puts.push([keys[1], sealIndexed(keys[1], { seq, title, readers })]);
    this.#indexed.set(id, more ? -1 : seq);
  }

  /** Some of the texts of a session that was deleted; the last time how far it was indexed. */
  async drop(id: string): Promise<void> {
    const key = sessionKey(Kind.indexed, id);
    const value = await this.#level.get(key);
    const { readers } = readIndexed(id, key, value);
    const texts = await this.#level.iterator({ ...rangeOf(Kind.text, id), limit: DROPPED_AT_ONCE }).all();
    for (const [row, text] of texts) this.#remove(row, readText(id, row, text), readers);
    if (texts.length === 0 && value !== undefined) this.#dels.push(key);
  }

  /** Reads the sets that change. */
  async load(): Promise<void> {
    const changes = [...this.#sets.values()];
    const values = await this.#level.getMany(changes.map(({ key }) => key));
    for (const [at, change] of changes.entries()) {
      const value = values[at];
      change.documents = readDocuments(change.key, value);
      change.fresh = value === undefined;
      for (const offset of change.offsets)
        if (offset < 0) remove(change.documents, ~offset);
        else add(change.documents, offset);
    }
  }

  /** Whether it is as it was when the plan was made: nothing was lost in between, and no session deleted. */
  async check(level: Level): Promise<boolean> {
    const ids = [...this.#indexed.keys()];
    const keys = ids.flatMap((id) => [sessionKey(Kind.session, id), sessionKey(Kind.unindexed, id)]);
    const [counter, ...rows] = await level.getMany([COUNTER_KEY, ...keys]);
    if (readCounter(counter).writes !== this.#counter.writes) return false;
    for (const [at, id] of ids.entries()) {
      if (liveRow(id, keys[2 * at]!, rows[2 * at]) === undefined) return false;
      const mark = rows[2 * at + 1];
      const key = keys[2 * at + 1]!;
      // An append since then has put a later mark, which stays.
      if (mark !== undefined && unseal(id, key, mark, "a mark").readUIntBE(0, 6) <= this.#indexed.get(id)!)
        this.#dels.push(key);
    }
    return true;
  }

  fill(batch: Batch): void {
    const lastBlock = blockOf(this.#next);
    for (const { key, documents, term, fresh } of this.#sets.values()) {
      const bytes = encodeDocuments(documents!);
      if (bytes === undefined) batch.del(key);
      else batch.put(key, seal(key, bytes));
      if (term && fresh === true && key.readUInt32BE(1) === lastBlock) this.#terms++;
    }
    for (const [key, value] of this.#puts) batch.put(key, value);
    for (const key of this.#dels) batch.del(key);
    const writes = this.#counter.writes + 1;
    batch.put(COUNTER_KEY, sealCounter({ next: this.#next, terms: this.#terms, writes }));
  }

  #put(id: string, seq: number, terms: readonly string[], readers: readonly string[]): void {
    const document = this.#next++;
    if (offsetOf(document) === 0) this.#terms = 0;
    const row = textKey(id, seq);
    const place = documentKey(document);
    this.#puts.push([row, sealText(row, { document, terms })], [place, sealPlace(place, { id, seq })]);
    for (const change of this.#setsOf(document, terms, readers)) change.offsets.push(offsetOf(document));
  }

  async #forget(id: string, seq: number, readers: readonly string[]): Promise<void> {
    const row = textKey(id, seq);
    const value = await this.#level.get(row);
    if (value !== undefined) this.#remove(row, readText(id, row, value), readers);
  }

  #remove(row: Buffer, { document, terms }: TextRow, readers: readonly string[]): void {
    this.#dels.push(row, documentKey(document));
    for (const change of this.#setsOf(document, terms, readers)) change.offsets.push(~offsetOf(document));
  }

  #setsOf(document: number, terms: readonly string[], readers: readonly string[]): Change[] {
    const block = blockOf(document);
    return [
      ...terms.map((term) => this.#change(termKey(block, term), true)),
      ...[undefined, ...readers].map((reader) => this.#change(readerKey(reader, block))),
    ];
  }

  #change(key: Buffer, term = false): Change {
    const name = key.toString("latin1");
    let change = this.#sets.get(name);
    if (change === undefined) this.#sets.set(name, (change = { key, term, offsets: [] }));
    return change;
  }

  /** What was found by those of before is found by those of now. */
  async #moveReaders(id: string, before: readonly string[], now: ReadonlySet<string>): Promise<void> {
    const gone = before.filter((reader) => !now.has(reader));
    const come = [...now].filter((reader) => !before.includes(reader));
    if (before.length === 0 || gone.length + come.length === 0) return;
    const rows = this.#level.iterator(rangeOf(Kind.text, id));
    try {
      for (;;) {
        const page = await rows.nextv(TEXTS_AT_ONCE);
        if (page.length === 0) return;
        for (const [key, value] of page) {
          const { document } = readText(id, key, value);
          const of = (reader: string): Change => this.#change(readerKey(reader, blockOf(document)));
          for (const reader of gone) of(reader).offsets.push(~offsetOf(document));
          for (const reader of come) of(reader).offsets.push(offsetOf(document));
        }
      }
    } finally {
      await rows.close();
    }
  }
}
