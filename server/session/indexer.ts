/**
 * Has the store index what is said, soon after it is committed, and what was there before, a page of a log at a time. Owns
 * which entries are found and by what, and how much of the process's time that may take; which logs are to be indexed is
 * the store's to remember. Never holds up an append, and never waits for a session.
 */
import { setTimeout as pause } from "node:timers/promises";
import { decodeTrusted } from "../../protocol/codec.ts";
import type { EntryBody, EventFrame } from "../../protocol/entries.ts";
import type { Log } from "../observe/log.ts";
import { MAX_UINT48 } from "../store/check.ts";
import { StoreDamagedError } from "../store/store.ts";
import type { IndexItem, IndexText, Store, StoredEntry, Unindexed } from "../store/store.ts";
import { termsOf } from "./words.ts";

/** What comes within this time is indexed together. */
const SOON_MS = 100;
/** Logs and different words of one write. */
const SESSIONS_AT_ONCE = 32;
const TERMS_AT_ONCE = 2000;
const PAGE_ENTRIES = 100;
const PAGE_BYTES = 32 * 1024;
const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 60_000;

/** The text by which an entry is found, if it is: a title, or what people and agents said. */
export function textOf(event: EntryBody): { readonly text: string; readonly title: boolean } | undefined {
  switch (event.type) {
    case "session-created":
    case "session-updated":
      return event.title === undefined ? undefined : { text: event.title, title: true };
    case "message": {
      const texts = event.message.parts.flatMap((part) => (part.type === "text" ? [part.text] : []));
      return texts.length === 0 ? undefined : { text: texts.join("\n"), title: false };
    }
    default:
      return undefined;
  }
}

/** For the append of these: whether they change what is found, or by whom. */
export function searchable(entries: readonly EntryBody[]): { readonly searchable?: true } {
  const some = entries.some(
    (event) =>
      event.type === "member-changed" ||
      (event.type === "message"
        ? event.message.parts.some(({ type }) => type === "text")
        : textOf(event) !== undefined),
  );
  return some ? { searchable: true } : {};
}

export interface IndexerParts {
  readonly store: Pick<Store, "unindexed" | "index" | "read">;
  readonly log: Log;
}

export class Indexer {
  readonly #parts: IndexerParts;
  /** Sessions that were written to. */
  readonly #soon = new Set<string>();
  /** There may be others that are to be indexed. */
  #others = false;
  #running: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #retryMs = FIRST_RETRY_MS;
  #closed = false;

  constructor(parts: IndexerParts) {
    this.#parts = parts;
  }

  /** Goes on with what is left of before. */
  start(): void {
    this.#others = true;
    this.#later(SOON_MS);
  }

  /** Entries of the session were committed; none given: any. */
  changed(id: string, entries: readonly EventFrame[]): void {
    if (entries.length > 0 && searchable(entries.map(({ event }) => event)).searchable === undefined) return;
    this.#soon.add(id);
    this.#later(SOON_MS);
  }

  /** Resolves when all that was committed by now can be found, or the store is out of work. */
  async idle(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#running;
    await (this.#running = this.#run(false));
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  #later(ms: number): void {
    if (this.#closed || this.#timer !== undefined || this.#running !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#running = this.#run(true);
    }, ms);
    this.#timer.unref();
  }

  /** `gently`: with a pause after each write that is as long as the write took. */
  async #run(gently: boolean): Promise<void> {
    let retryMs: number | undefined;
    try {
      while (!this.#closed) {
        const began = performance.now();
        if (!(await this.#step())) break;
        if (gently) await pause(performance.now() - began);
      }
      this.#retryMs = FIRST_RETRY_MS;
    } catch (error) {
      this.#others = true;
      retryMs = this.#retryMs;
      this.#retryMs = Math.min(2 * retryMs, LAST_RETRY_MS);
      if (!this.#closed) this.#parts.log.warn({ err: error, retryMs }, "texts could not be indexed");
    }
    this.#running = undefined;
    if (retryMs !== undefined) this.#later(retryMs);
    else if (this.#soon.size > 0) this.#later(SOON_MS);
  }

  /** Indexes some more; false: there is nothing left. */
  async #step(): Promise<boolean> {
    const { store } = this.#parts;
    const ids = [...this.#soon].slice(0, SESSIONS_AT_ONCE);
    for (const id of ids) this.#soon.delete(id);
    if (ids.length === 0 && !this.#others) return false;
    const waiting = await store.unindexed(SESSIONS_AT_ONCE, ...(ids.length === 0 ? [] : [ids]));
    if (waiting.length === 0) {
      if (ids.length === 0) this.#others = false;
      return ids.length > 0 || this.#soon.size > 0;
    }
    const items: IndexItem[] = [];
    let terms = 0;
    for (const log of waiting) {
      const item = terms < TERMS_AT_ONCE ? await this.#page(log) : undefined;
      if (item !== undefined) items.push(item);
      terms += item?.texts.reduce((sum, text) => sum + text.terms.length, 0) ?? 0;
      if (ids.length > 0 && (item === undefined || item.more)) this.#soon.add(log.id);
    }
    if (!(await store.index(items))) for (const { id } of items) this.#soon.add(id);
    return true;
  }

  /** The next entries of a log. */
  async #page({ id, seq }: Unindexed): Promise<IndexItem> {
    const entries = await this.#read(id, seq);
    if (entries === undefined) return { id, after: seq, seq: MAX_UINT48, texts: [] };
    const texts: IndexText[] = [];
    let bytes = 0;
    for (const entry of entries) {
      bytes += entry.bytes.byteLength;
      const found = textOf((decodeTrusted(entry.bytes) as EventFrame).event);
      if (found === undefined) continue;
      const text = { seq: entry.seq, terms: termsOf(found.text) };
      texts.push(found.title ? { ...text, title: true } : text);
    }
    const more = entries.length === PAGE_ENTRIES || bytes >= PAGE_BYTES;
    return { id, after: seq, seq: seq + entries.length, texts, more };
  }

  /** Undefined: the log is damaged there, and so nobody can write to it; the others need not wait for it. */
  async #read(id: string, seq: number): Promise<StoredEntry[] | undefined> {
    try {
      return await this.#parts.store.read(id, seq, PAGE_ENTRIES, PAGE_BYTES);
    } catch (error) {
      if (!(error instanceof StoreDamagedError)) throw error;
      this.#parts.log.warn({ session: id, err: error }, "a damaged log is not indexed any further");
      return undefined;
    }
  }
}
