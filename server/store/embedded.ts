/**
 * The store of one process in one directory, on LevelDB: nothing to install, fsync before every ok. Owns the grants of
 * the process and ties the parts together (layout, handle, lane, append, scan, slots, purge). Keeps nothing in memory of
 * a session that nobody owns, so neither start-up nor memory depends on how many there are.
 */
import { readAgents, writeAgent } from "./agents.ts";
import { NOTHING, deleteListed, judge, listed, readKeySeq, readPriors, type Listed } from "./append.ts";
import { readAsked } from "./asked.ts";
import { checkBatch, isSessionId } from "./check.ts";
import { readError, type DirectoryOptions, type Level } from "./directory.ts";
import { Handle } from "./handle.ts";
import { Indexing } from "./indexing.ts";
import { Lane } from "./lane.ts";
import { FORMAT_KEY, Kind, keyRowKey, seal, sealDeletedSession, sessionKey, uint48 } from "./layout.ts";
import { Marks, readMarks } from "./marks.ts";
import { OwnedCounts } from "./owned.ts";
import { Owners } from "./owners.ts";
import { Purge } from "./purge.ts";
import {
  assertReaches,
  liveRow,
  readHead,
  readIds,
  readIdsFrom,
  readList,
  readLoaded,
  readPlaces,
  readStretch,
  withSnapshot,
} from "./scan.ts";
import { readFound } from "./search.ts";
import { Slots } from "./slots.ts";
import { TallyRows, readSpent, readTallies } from "./tallies.ts";
import type { Tally } from "../../protocol/lists.ts";
import type {
  AgentRow,
  AppendItem,
  AppendResult,
  AskedQuery,
  AskedSession,
  FoundPage,
  Grant,
  IndexItem,
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
  Surveyed,
  Unindexed,
} from "./store.ts";

export interface EmbeddedStoreOptions extends DirectoryOptions {
  /** Milliseconds since 1970; also the clock of leases, where given. */
  readonly now?: () => number;
}

export class EmbeddedStore implements Store {
  readonly #now: () => number;
  readonly #owners: Owners<Listed>;
  readonly #counts: OwnedCounts;
  readonly #handle: Handle;
  readonly #lane: Lane;
  readonly #slots: Slots;
  readonly #marks: Marks;
  readonly #indexing: Indexing;
  readonly #purge: Purge;
  /** Sessions whose head is being read for a claim. */
  readonly #claiming = new Map<string, Promise<unknown>>();
  #probing: Promise<void> | undefined;
  #rowsRead = 0;

  private constructor(
    owners: Owners<Listed>,
    counts: OwnedCounts,
    handle: Handle,
    lane: Lane,
    indexing: Indexing,
    purge: Purge,
    now: () => number,
  ) {
    this.#owners = owners;
    this.#counts = counts;
    this.#handle = handle;
    this.#lane = lane;
    this.#indexing = indexing;
    this.#purge = purge;
    this.#slots = new Slots(lane, owners);
    this.#marks = new Marks(lane);
    this.#now = now;
  }

  /**
   * Makes the directory (mode 0700) if it is not there. Throws StoreLockedError if another process has it,
   * StoreOpenError if it is damaged, of a newer format, or not accessible.
   */
  static async open(directory: string, options: EmbeddedStoreOptions = {}): Promise<EmbeddedStore> {
    const owners = new Owners<Listed>(options.now);
    const handle = await Handle.open(directory, options);
    const counts = new OwnedCounts();
    const lane = new Lane(handle, () => {
      owners.clear();
      counts.clear();
    });
    const indexing = new Indexing(handle, lane);
    const purge = new Purge(handle, lane, indexing);
    handle.onReopen = () => purge.start();
    purge.start();
    return new EmbeddedStore(owners, counts, handle, lane, indexing, purge, options.now ?? Date.now);
  }

  /** Rows that `list` and `orphans` have walked over since the start. */
  get rowsRead(): number {
    return this.#rowsRead;
  }

  /** Sessions that a member holds now, and so all that memory has of sessions. */
  get held(): number {
    return this.#owners.size;
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
    return this.#read(id, (level) => readLoaded(level, id));
  }

  async claim(id: string, member: Member): Promise<Grant | { readonly heldBy: Member } | undefined> {
    this.#owners.assertAlive(member);
    for (let busy = this.#busy(id); busy !== undefined; busy = this.#busy(id)) await busy;
    this.#owners.assertAlive(member);
    const owner = this.#owners.get(id);
    if (owner !== undefined) {
      const holder = this.#owners.holder(id);
      if (holder !== undefined && holder.id !== member.id) return { heldBy: holder };
      return this.#owners.give(id, member, owner.epoch, owner.head, owner.row);
    }
    const reading = this.#read(id, (level) =>
      withSnapshot(level, async (view) => {
        const asked = level.get(sessionKey(Kind.requests, id), { snapshot: view });
        const [head, requests] = await Promise.all([readHead(level, id, view), asked]);
        return head && { ...head, asked: requests !== undefined };
      }),
    );
    this.#claiming.set(
      id,
      reading.catch(() => {}),
    );
    try {
      const head = await reading;
      if (head === undefined) return undefined;
      this.#owners.assertAlive(member);
      return this.#owners.give(id, member, head.epoch, head.seq, listed(head.row.index, head.asked));
    } finally {
      this.#claiming.delete(id);
    }
  }

  async release(grant: Grant): Promise<void> {
    this.#owners.forget(grant.id, grant.epoch);
  }

  async append(batch: readonly AppendItem[]): Promise<AppendResult[]> {
    const ids = checkBatch(batch);
    try {
      return await this.#lane.write({
        ids,
        sync: true,
        prepare: (level) => Promise.all([readPriors(level, batch), TallyRows.read(level, batch)]),
        build: (rows, [priors, tallies]) => {
          const owned = this.#counts;
          const afterwards: (() => void)[] = [];
          const result = batch.map((item, at) =>
            judge(rows, this.#owners, item, { prior: priors[at] ?? NOTHING, tallies, owned }, afterwards),
          );
          return { result, apply: () => afterwards.forEach((change) => change()) };
        },
      });
    } catch (cause) {
      return batch.map(() => ({ status: "unknown", cause }));
    }
  }

  async read(id: string, afterSeq: number, limit: number, maxBytes = Infinity): Promise<StoredEntry[]> {
    if (limit <= 0) return [];
    const entries = await this.#read(id, async (level) => {
      const bounds = { limit, maxBytes };
      // An owned session exists, and its head is known: the row need not be read.
      const owner = this.#owners.get(id);
      if (owner !== undefined) {
        const known = owner.head;
        const { entries, ended } = await readStretch(level, id, afterSeq, bounds);
        if (ended && afterSeq < known) assertReaches(id, afterSeq + entries.length, known);
        return entries;
      }
      return withSnapshot(level, async (view) => {
        const key = sessionKey(Kind.session, id);
        const [stretch, value] = await Promise.all([
          readStretch(level, id, afterSeq, bounds, view),
          level.get(key, { snapshot: view }),
        ]);
        const row = liveRow(id, key, value);
        if (row === undefined) return [];
        const { entries, ended } = stretch;
        if (ended && afterSeq < row.head) assertReaches(id, afterSeq + entries.length, row.head);
        return entries;
      });
    });
    return entries ?? [];
  }

  async readEach(places: readonly Place[]): Promise<(Uint8Array | undefined)[]> {
    return this.#scan((level) => readPlaces(level, places));
  }

  async lookupKey(id: string, user: string, key: string): Promise<number | undefined> {
    return this.#read(id, async (level) => {
      const sessionRow = sessionKey(Kind.session, id);
      const keyRow = keyRowKey(id, user, key);
      const [session, value] = await level.getMany([sessionRow, keyRow]);
      if (value === undefined || liveRow(id, sessionRow, session) === undefined) return undefined;
      return readKeySeq(id, keyRow, value);
    });
  }

  async checkpoint(grant: Grant, body: Uint8Array | null): Promise<boolean> {
    if (this.#owners.under(grant) === undefined) return false;
    const key = sessionKey(Kind.checkpoint, grant.id);
    return this.#slots.write(grant, key, body === null ? null : seal(key, body));
  }

  async snapshot(grant: Grant, seq: number, body: Uint8Array): Promise<boolean> {
    const owner = this.#owners.under(grant);
    if (owner === undefined) return false;
    if (seq > owner.head) throw new TypeError("a snapshot cannot be ahead of its log");
    const key = sessionKey(Kind.snapshot, grant.id);
    return this.#slots.write(grant, key, seal(key, uint48(seq), body));
  }

  async list(query: ListQuery): Promise<ListPage> {
    return this.#scan((level) => readList(level, query, () => this.#rowsRead++));
  }

  async asked(query: AskedQuery): Promise<AskedSession[]> {
    return this.#scan((level) => readAsked(level, query, () => this.#rowsRead++));
  }

  async survey(from: string, limit: number): Promise<Surveyed[]> {
    return this.#scan((level) => readIdsFrom(level, from, limit));
  }

  async owned(user: string): Promise<number> {
    return this.#counts.of(this.#lane, user);
  }

  async spent(user: string, since: number): Promise<Spent> {
    return this.#scan((level) => readSpent(level, user, since));
  }

  async tallies(after: Pick<Tally, "user" | "day"> | undefined, limit: number): Promise<readonly Tally[]> {
    return this.#scan((level) => readTallies(level, after, limit));
  }

  async orphans(limit: number): Promise<string[]> {
    return this.#scan((level) =>
      readIds(level, Kind.open, limit, (id) => {
        this.#rowsRead++;
        return this.#owners.holder(id) === undefined && !this.#claiming.has(id);
      }),
    );
  }

  async markRead(id: string, user: string, mark: ReadMark): Promise<void> {
    if (isSessionId(id)) await this.#marks.write(id, user, mark);
  }

  async readMarks(user: string, ids: readonly string[]): Promise<readonly (ReadMark | undefined)[]> {
    return this.#scan((level) => readMarks(level, user, ids));
  }

  async writeAgent(name: string, body: Uint8Array | null): Promise<void> {
    await writeAgent(this.#lane, name, body);
  }

  async agents(): Promise<readonly AgentRow[]> {
    return this.#scan(readAgents);
  }

  async unindexed(limit: number, ids?: readonly string[]): Promise<readonly Unindexed[]> {
    return this.#told(() => this.#indexing.unindexed(limit, ids));
  }

  async index(items: readonly IndexItem[]): Promise<boolean> {
    return this.#told(() => this.#indexing.index(items));
  }

  async search(query: SearchQuery): Promise<FoundPage> {
    return this.#scan((level) => readFound(level, query));
  }

  async remove(grant: Grant): Promise<boolean> {
    const { id } = grant;
    const removed = await this.#lane.write({
      ids: new Set([id]),
      sync: true,
      prepare: async () => {},
      build: (batch) => {
        const owner = this.#owners.under(grant);
        if (owner === undefined) return { result: false };
        deleteListed(batch, id, owner.row);
        for (const kind of [Kind.snapshot, Kind.checkpoint, Kind.unindexed] as const)
          batch.del(sessionKey(kind, id));
        const row = sessionKey(Kind.session, id);
        const mark = sessionKey(Kind.purge, id);
        batch.put(row, sealDeletedSession(row, this.#now()));
        batch.put(mark, seal(mark));
        const apply = (): void => {
          this.#owners.forget(id);
          this.#counts.changed(owner.row.owner, undefined);
        };
        return { result: true, apply };
      },
    });
    if (removed) this.#purge.start();
    return removed;
  }

  /** After a failed write a small one is tried, so that nobody has to send something to find out that the disk is back. */
  async ready(): Promise<void> {
    await this.#handle.use((level) => level.get(FORMAT_KEY));
    if (!this.#lane.failing) return;
    await (this.#probing ??= this.#lane.probe().finally(() => (this.#probing = undefined)));
  }

  /** Resolves when nothing of the sessions deleted so far is left but their tombstones, or the store is out of work. */
  async purged(): Promise<void> {
    await this.#purge.idle();
  }

  async close(): Promise<void> {
    await this.#purge.stop();
    await this.#lane.idle();
    this.#owners.clear();
    await this.#handle.close();
  }

  /** What is in flight for a session decides its head and its owner: a claim waits for it. Never rejects. */
  #busy(id: string): Promise<unknown> | undefined {
    return this.#lane.touches(id) ? this.#lane.idle() : this.#claiming.get(id);
  }

  async #read<T>(id: string, work: (level: Level) => Promise<T | undefined>): Promise<T | undefined> {
    if (!isSessionId(id)) return undefined;
    try {
      return await this.#handle.use(work);
    } catch (error) {
      throw readError(id, error);
    }
  }

  #scan<T>(work: (level: Level) => Promise<T>): Promise<T> {
    return this.#told(() => this.#handle.use(work));
  }

  async #told<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw readError("(any)", error);
    }
  }
}
