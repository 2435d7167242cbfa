/**
 * The store without durability: the same semantics as every other home, in Maps. For tests, demos and measurements of
 * what lies above the store. Never copies an entry: the bytes handed in are the bytes handed out.
 */
import type { Usage } from "../../protocol/content.ts";
import type { Tally } from "../../protocol/lists.ts";
import { addUsage, NO_USAGE } from "../../protocol/usage.ts";
import { checkAgentName, checkBatch, decodeCursor, encodeCursor } from "./check.ts";
import { MemorySearch } from "./memory-search.ts";
import { Owners } from "./owners.ts";
import type {
  AgentRow,
  AppendItem,
  AppendResult,
  AskedQuery,
  AskedSession,
  FoundPage,
  Grant,
  IndexItem,
  IndexRow,
  KeyRow,
  ListPage,
  ListQuery,
  Loaded,
  Member,
  Place,
  ReadMark,
  SearchQuery,
  Spent,
  Store,
  StoredEntry,
  Unindexed,
} from "./store.ts";

interface Session {
  readonly entries: { readonly epoch: number; readonly bytes: Uint8Array }[];
  readonly keys: Map<string, number>;
  /** By user. */
  readonly marks: Map<string, ReadMark>;
  index: IndexRow;
  snapshot?: { readonly seq: number; readonly body: Uint8Array };
  checkpoint?: Uint8Array;
}

export interface MemoryStoreOptions {
  /** Milliseconds since 1970; also the clock of leases, where given. */
  readonly now?: () => number;
}

const keyOf = (user: string, key: string): string => JSON.stringify([user, key]);

export class MemoryStore implements Store {
  readonly #sessions = new Map<string, Session>();
  readonly #open = new Set<string>();
  readonly #asked = new Set<string>();
  readonly #deleted = new Set<string>();
  /** Sessions by their owner. */
  readonly #owned = new Map<string, number>();
  /** By user, then by day. */
  readonly #tallies = new Map<string, Map<number, Usage>>();
  readonly #agents = new Map<string, Uint8Array>();
  readonly #owners: Owners<undefined>;
  readonly #search = new MemorySearch();

  constructor(options: MemoryStoreOptions = {}) {
    this.#owners = new Owners(options.now);
  }

  async join(node: string, ttlMs: number): Promise<Member> {
    return this.#owners.join(node, ttlMs);
  }

  async heartbeat(member: Member): Promise<boolean> {
    return this.#owners.heartbeat(member);
  }

  async leave(member: Member): Promise<void> {
    this.#owners.leave(member);
  }

  async load(id: string): Promise<Loaded | undefined> {
    const session = this.#sessions.get(id);
    if (session === undefined) return undefined;
    return {
      head: session.entries.length,
      epochAtHead: session.entries.at(-1)?.epoch ?? 0,
      index: session.index,
      ...(session.snapshot && { snapshot: session.snapshot }),
      ...(session.checkpoint && { checkpoint: session.checkpoint }),
    };
  }

  async claim(id: string, member: Member): Promise<Grant | { readonly heldBy: Member } | undefined> {
    this.#owners.assertAlive(member);
    const session = this.#sessions.get(id);
    if (session === undefined) return undefined;
    const holder = this.#owners.holder(id);
    if (holder !== undefined && holder.id !== member.id) return { heldBy: holder };
    const { length } = session.entries;
    return this.#owners.give(id, member, session.entries.at(-1)?.epoch ?? 0, length, undefined);
  }

  async release(grant: Grant): Promise<void> {
    this.#owners.forget(grant.id, grant.epoch);
  }

  async append(batch: readonly AppendItem[]): Promise<AppendResult[]> {
    checkBatch(batch);
    return batch.map((item) =>
      item.create === undefined ? this.#extend(item) : this.#create(item, item.create),
    );
  }

  async read(id: string, afterSeq: number, limit: number, maxBytes = Infinity): Promise<StoredEntry[]> {
    const found: StoredEntry[] = [];
    let bytes = 0;
    for (const entry of this.#sessions.get(id)?.entries.slice(afterSeq, afterSeq + limit) ?? []) {
      found.push({ seq: afterSeq + found.length + 1, bytes: entry.bytes });
      bytes += entry.bytes.byteLength;
      if (bytes >= maxBytes) break;
    }
    return found;
  }

  async readEach(places: readonly Place[]): Promise<(Uint8Array | undefined)[]> {
    return places.map(({ id, seq }) => this.#sessions.get(id)?.entries[seq - 1]?.bytes);
  }

  async lookupKey(id: string, user: string, key: string): Promise<number | undefined> {
    return this.#sessions.get(id)?.keys.get(keyOf(user, key));
  }

  async checkpoint(grant: Grant, body: Uint8Array | null): Promise<boolean> {
    const session = this.#held(grant);
    if (session === undefined) return false;
    if (body === null) delete session.checkpoint;
    else session.checkpoint = body;
    return true;
  }

  async snapshot(grant: Grant, seq: number, body: Uint8Array): Promise<boolean> {
    const session = this.#held(grant);
    if (session === undefined) return false;
    if (seq > session.entries.length) throw new TypeError("a snapshot cannot be ahead of its log");
    session.snapshot = { seq, body };
    return true;
  }

  async list(query: ListQuery): Promise<ListPage> {
    const { reader, limit } = query;
    const after = query.cursor === undefined ? undefined : decodeCursor(query.cursor);
    const found: { id: string; index: IndexRow }[] = [];
    for (const [id, { index }] of this.#sessions) {
      if (reader !== undefined && !index.readers.includes(reader)) continue;
      if (after === undefined || compare({ id, index }, { id: after.id, index: after }) > 0)
        found.push({ id, index });
    }
    const items = found.toSorted(compare).slice(0, limit);
    const last = items.at(-1);
    if (last === undefined || found.length <= limit) return { items };
    return { items, cursor: encodeCursor({ updatedAt: last.index.updatedAt, id: last.id }) };
  }

  async asked({ reader, from, limit }: AskedQuery): Promise<AskedSession[]> {
    const found: AskedSession[] = [];
    for (const id of [...this.#asked].filter((id) => id >= from).sort()) {
      const { readers = [], requests } = this.#sessions.get(id)?.index ?? {};
      if (found.length >= limit) break;
      if (requests !== undefined && (reader === undefined || readers.includes(reader)))
        found.push({ id, requests });
    }
    return found;
  }

  async owned(user: string): Promise<number> {
    return this.#owned.get(user) ?? 0;
  }

  async spent(user: string, since: number): Promise<Spent> {
    const all = [...(this.#tallies.get(user) ?? [])].map(([day, usage]) => ({ day, usage }));
    const days = all.filter(({ day }) => day >= since).toSorted((a, b) => a.day - b.day);
    return { total: all.reduce((sum, { usage }) => addUsage(sum, usage), NO_USAGE), days };
  }

  async orphans(limit: number): Promise<string[]> {
    const ids: string[] = [];
    for (const id of this.#open) {
      if (ids.length >= limit) break;
      if (this.#owners.holder(id) === undefined) ids.push(id);
    }
    return ids;
  }

  async markRead(id: string, user: string, mark: ReadMark): Promise<void> {
    const marks = this.#sessions.get(id)?.marks;
    if (mark.seq > (marks?.get(user)?.seq ?? -1)) marks?.set(user, mark);
  }

  async readMarks(user: string, ids: readonly string[]): Promise<readonly (ReadMark | undefined)[]> {
    return ids.map((id) => this.#sessions.get(id)?.marks.get(user));
  }

  async writeAgent(name: string, body: Uint8Array | null): Promise<void> {
    checkAgentName(name);
    if (body === null) this.#agents.delete(name);
    else this.#agents.set(name, body);
  }

  async agents(): Promise<readonly AgentRow[]> {
    return [...this.#agents.keys()].sort().map((name) => ({ name, body: this.#agents.get(name)! }));
  }

  async unindexed(limit: number, ids?: readonly string[]): Promise<readonly Unindexed[]> {
    return this.#search.unindexed(limit, ids);
  }

  async index(items: readonly IndexItem[]): Promise<boolean> {
    for (const item of items) if (this.#sessions.has(item.id)) this.#search.index(item);
    return true;
  }

  async search(query: SearchQuery): Promise<FoundPage> {
    return this.#search.search(query, (id) => this.#sessions.get(id)?.index);
  }

  async remove(grant: Grant): Promise<boolean> {
    const session = this.#held(grant);
    if (session === undefined) return false;
    this.#own(session.index.owner, -1);
    this.#sessions.delete(grant.id);
    this.#open.delete(grant.id);
    this.#asked.delete(grant.id);
    this.#search.forget(grant.id);
    this.#owners.forget(grant.id);
    this.#deleted.add(grant.id);
    return true;
  }

  async close(): Promise<void> {
    this.#owners.clear();
  }

  #held(grant: Grant): Session | undefined {
    return this.#owners.under(grant) && this.#sessions.get(grant.id);
  }

  #create(item: AppendItem, member: Member): AppendResult {
    const { id, epoch } = item;
    if (!this.#owners.alive(member)) return { status: "fenced" };
    const existing = this.#sessions.get(id);
    const duplicate = existing && duplicateOf(existing, item.keys);
    if (duplicate !== undefined) return { status: "duplicate", seq: duplicate };
    if (existing !== undefined) return { status: "conflict", head: existing.entries.length };
    if (this.#deleted.has(id) || item.index === undefined) return { status: "conflict", head: 0 };
    const session: Session = { entries: [], keys: new Map(), marks: new Map(), index: item.index };
    this.#sessions.set(id, session);
    this.#write(session, item);
    this.#owners.admit(id, { member, epoch, head: session.entries.length, row: undefined });
    return { status: "ok", seq: session.entries.length };
  }

  #extend(item: AppendItem): AppendResult {
    const owner = this.#owners.under(item);
    const session = this.#sessions.get(item.id);
    if (owner === undefined || session === undefined) return { status: "fenced" };
    const duplicate = duplicateOf(session, item.keys);
    if (duplicate !== undefined) return { status: "duplicate", seq: duplicate };
    if (owner.head !== item.expectedSeq) return { status: "conflict", head: owner.head };
    this.#write(session, item);
    owner.head = session.entries.length;
    return { status: "ok", seq: owner.head };
  }

  #write(session: Session, item: AppendItem): void {
    for (const bytes of item.entries) session.entries.push({ epoch: item.epoch, bytes });
    for (const row of item.keys ?? []) session.keys.set(keyOf(row.user, row.key), row.seq);
    for (const tally of item.tallies ?? []) this.#count(tally);
    if (item.searchable) this.#search.mark(item.id, session.entries.length);
    if (item.index === undefined) return;
    if (item.create === undefined) this.#own(session.index.owner, -1);
    this.#own(item.index.owner, 1);
    session.index = item.index;
    if (item.index.open) this.#open.add(item.id);
    else this.#open.delete(item.id);
    if (item.index.requests === undefined) this.#asked.delete(item.id);
    else this.#asked.add(item.id);
  }

  #own(user: string | undefined, more: number): void {
    if (user !== undefined) this.#owned.set(user, (this.#owned.get(user) ?? 0) + more);
  }

  #count({ user, day, usage }: Tally): void {
    const days = this.#tallies.get(user) ?? new Map<number, Usage>();
    this.#tallies.set(user, days.set(day, addUsage(days.get(day) ?? NO_USAGE, usage)));
  }
}

function duplicateOf(session: Session, keys: readonly KeyRow[] = []): number | undefined {
  for (const row of keys) {
    const seq = session.keys.get(keyOf(row.user, row.key));
    if (seq !== undefined) return seq;
  }
  return undefined;
}

type Listed = { readonly id: string; readonly index: { readonly updatedAt: number } };

/** Newest first; ids compare as bytes, which for their alphabet is how strings compare. */
function compare(a: Listed, b: Listed): number {
  if (a.index.updatedAt !== b.index.updatedAt) return b.index.updatedAt - a.index.updatedAt;
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}
