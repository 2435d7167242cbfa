/**
 * The search of the store in memory: the same answers as everywhere, by looking at every text. Owns what is indexed of
 * sessions; the sessions are the store's.
 */
import type { Found, FoundPage, IndexItem, IndexRow, SearchQuery, Unindexed } from "./store.ts";

interface Text {
  readonly id: string;
  readonly seq: number;
  readonly terms: readonly string[];
  readonly title: boolean;
}

export class MemorySearch {
  /** In the order in which they were indexed. */
  readonly #texts = new Set<Text>();
  /** By session: the entry up to which there is something to be indexed. */
  readonly #marked = new Map<string, number>();
  /** By session. */
  readonly #indexed = new Map<string, number>();

  mark(id: string, seq: number): void {
    this.#marked.set(id, seq);
  }

  unindexed(limit: number, ids: readonly string[] = [...this.#marked.keys()].sort()): Unindexed[] {
    const marked = ids.filter((id) => this.#marked.has(id)).slice(0, limit);
    return marked.map((id) => ({ id, seq: this.#indexed.get(id) ?? 0 }));
  }

  index({ id, after, seq, texts, more = false }: IndexItem): void {
    if ((this.#indexed.get(id) ?? 0) !== after) return;
    const name = texts.findLast(({ title }) => title);
    if (name !== undefined) this.#drop((text) => text.id === id && text.title);
    for (const { seq, terms, title = false } of texts)
      if (!title || seq === name?.seq) this.#texts.add({ id, seq, terms, title });
    this.#indexed.set(id, seq);
    if (!more && (this.#marked.get(id) ?? 0) <= seq) this.#marked.delete(id);
  }

  forget(id: string): void {
    this.#marked.delete(id);
    this.#indexed.delete(id);
    this.#drop((text) => text.id === id);
  }

  /** `indexOf`: of a session that is there. */
  search(
    { reader, terms, prefix, limit, cursor }: SearchQuery,
    indexOf: (id: string) => IndexRow | undefined,
  ): FoundPage {
    const mine = [...this.#texts].reverse().flatMap((text) => {
      const index = indexOf(text.id);
      return index === undefined || (reader !== undefined && !index.readers.includes(reader))
        ? []
        : [{ text, index }];
    });
    const start = cursor === undefined ? 0 : 1 + mine.findIndex(({ text }) => cursorOf(text) === cursor);
    if (cursor !== undefined && start === 0) throw new RangeError("unknown cursor");
    const items: Found[] = [];
    if (terms.length === 0 && prefix === undefined) return { items };
    for (const { text, index } of mine.slice(start)) {
      const all = terms.every((term) => text.terms.includes(term));
      if (!all || (prefix !== undefined && !text.terms.some((term) => term.startsWith(prefix)))) continue;
      items.push({ id: text.id, index, seq: text.seq });
      if (items.length >= limit) return { items, cursor: cursorOf(text) };
    }
    return { items };
  }

  #drop(goes: (text: Text) => boolean): void {
    for (const text of this.#texts) if (goes(text)) this.#texts.delete(text);
  }
}

function cursorOf({ id, seq }: Pick<Text, "id" | "seq">): string {
  return `${seq}.${id}`;
}
