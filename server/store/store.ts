/**
 * The store: what a durable home for session logs must do. Owns the interface and its result types; every home
 * (memory, embedded, later PostgreSQL) passes the same contract suite. Never knows what an entry means: it sees bytes,
 * sequence numbers, idempotency keys, one index row a session and what is to be added to a user's tally.
 */
import type { Usage } from "../../protocol/content.ts";
import type { DayUsage, Tally } from "../../protocol/lists.ts";

/** A process that may own sessions. `id` is new at every join, so a restarted node is another member. */
export interface Member {
  readonly node: string;
  readonly id: string;
}

/** The right to append to one session: valid while nobody claims under a higher epoch. `seq` = head at the claim. */
export interface Grant {
  readonly id: string;
  readonly epoch: number;
  readonly seq: number;
}

/**
 * What lists and recovery know of a session without reading its log.
 * `readers`: user ids whose list shows it. `open`: a run is open, an input waits or a request is open.
 * `owner`: the user among whose sessions it counts; absent: nobody's.
 * `updatedAt`: ms, the order of lists (newest first). `info`: opaque to the store, at most a few KiB.
 */
export interface IndexRow {
  readonly readers: readonly string[];
  readonly owner?: string;
  readonly open: boolean;
  readonly updatedAt: number;
  readonly info: Uint8Array;
  /** What people are asked in it and allow beyond it, opaque to the store; absent: nothing. Only written and listed, never loaded. */
  readonly requests?: Uint8Array;
}

/** An idempotency key: (`user`, `key`) is unique in its session for ever and answers with `seq`. */
export interface KeyRow {
  readonly user: string;
  readonly key: string;
  readonly seq: number;
}

/**
 * One session's share of a batch. `entries` take seq expectedSeq+1, +2, … With `create` the session must never have
 * existed: expectedSeq is 0, there is an entry and an index, and success gives that member the grant under `epoch`.
 */
export interface AppendItem {
  readonly id: string;
  readonly epoch: number;
  readonly expectedSeq: number;
  readonly entries: readonly Uint8Array[];
  readonly keys?: readonly KeyRow[];
  readonly index?: IndexRow;
  readonly create?: Member;
  /** Added to what users have used, in the same commit. No deletion takes it back. */
  readonly tallies?: readonly Tally[];
  /** What `search` finds of the session changes, or who finds it: `unindexed` names it until that is indexed. */
  readonly searchable?: true;
}

/**
 * ok: durable, `seq` = the new head. duplicate: a key exists, nothing was written, `seq` is what the key answers.
 * fenced: the grant is gone (or, creating, the member). conflict: the head is not expectedSeq (or, creating, the id was
 * used before; `head` is 0 for a deleted session).
 * unknown: the write may or may not be there; forget the session, load it again.
 */
export type AppendResult =
  | { readonly status: "ok"; readonly seq: number }
  | { readonly status: "duplicate"; readonly seq: number }
  | { readonly status: "fenced" }
  | { readonly status: "conflict"; readonly head: number }
  | { readonly status: "unknown"; readonly cause: unknown };

/** What a session starts from in memory. `epochAtHead` is the epoch that the entry at `head` was written under. */
export interface Loaded {
  readonly head: number;
  readonly epochAtHead: number;
  readonly index: IndexRow;
  readonly snapshot?: { readonly seq: number; readonly body: Uint8Array };
  readonly checkpoint?: Uint8Array;
}

export interface StoredEntry {
  readonly seq: number;
  readonly bytes: Uint8Array;
}

/** `reader` absent: every session. `cursor`: from the page before, else RangeError. Newest `updatedAt` first, then by id. */
export interface ListQuery {
  readonly reader?: string;
  readonly limit: number;
  readonly cursor?: string;
}

export interface Surveyed {
  readonly id: string;
  /** ms since 1970; absent while the session is there. */
  readonly deletedAt?: number;
}

/** `reader` absent: every session. Sessions from id `from` on, "" for the first, in the order of their bytes. */
export interface AskedQuery {
  readonly reader?: string;
  readonly from: string;
  readonly limit: number;
}

/** A session in which people are asked something or allowed something beyond it, with what its index said of that. */
export interface AskedSession {
  readonly id: string;
  readonly requests: Uint8Array;
}

/** What a user has used: in all, and by day, the oldest first. */
export interface Spent {
  readonly total: Usage;
  readonly days: readonly DayUsage[];
}

/** How far somebody has read: up to the entry `seq`, when there were so many `messages`. */
export interface ReadMark {
  readonly seq: number;
  readonly messages: number;
}

/** What is kept under the name of an agent, opaque to the store; without a body what there is cannot be read. */
export interface AgentRow {
  readonly name: string;
  readonly body?: Uint8Array;
}

/** A session whose log goes on after `seq`, up to where it is indexed. */
export interface Unindexed {
  readonly id: string;
  readonly seq: number;
}

/** What an entry is found by. `title`: it names the session, and the one that did so before is found no more. */
export interface IndexText {
  readonly seq: number;
  /** Without spaces, each once; none: nothing is found of it. */
  readonly terms: readonly string[];
  readonly title?: true;
}

/** Of all entries after `after` up to `seq` these are found. `more`: the log goes on, and is to be indexed further. */
export interface IndexItem {
  readonly id: string;
  readonly after: number;
  readonly seq: number;
  readonly texts: readonly IndexText[];
  readonly more?: boolean;
}

/** Entries that have all `terms` and one more that begins with `prefix`. `reader`, `cursor`: as in a list's query. */
export interface SearchQuery extends ListQuery {
  readonly terms: readonly string[];
  readonly prefix?: string;
}

/** Where an entry stands. */
export interface Place {
  /** Of its session. */
  readonly id: string;
  readonly seq: number;
}

/** An entry that is found. */
export interface Found extends Place {
  /** Its session's. */
  readonly index: IndexRow;
}

export interface FoundPage {
  readonly items: readonly Found[];
  readonly cursor?: string;
}

export interface ListPage {
  readonly items: readonly { readonly id: string; readonly index: IndexRow }[];
  readonly cursor?: string;
}

/**
 * A store that is out of work says so by StoreUnavailableError from every method but `append`, which answers `unknown`
 * for each item. A failed write voids every grant: sessions that took no part in it are `fenced` at their next append.
 */
export interface Store {
  /** Enter the set of processes that may own sessions; `ttlMs` without heartbeat and its grants are free. */
  join(node: string, ttlMs: number): Promise<Member>;
  /** False: the member is gone (its lease ended), its grants with it, and it must join again. */
  heartbeat(member: Member): Promise<boolean>;
  /** Gives back every grant of the member; what is appended under them from now on is fenced. */
  leave(member: Member): Promise<void>;

  /** Reads; needs no grant. `undefined`: no such session, or a deleted one. */
  load(id: string): Promise<Loaded | undefined>;
  /**
   * Take ownership: epoch = max(previous + 1, clock in ms). Another live member's session answers `heldBy`; one's own is
   * granted anew and fences the grant before. A member that is gone: StoreUnavailableError. `undefined`: no such session.
   */
  claim(id: string, member: Member): Promise<Grant | { readonly heldBy: Member } | undefined>;
  release(grant: Grant): Promise<void>;

  /**
   * Each item is atomic and its neighbours independent; at most one item a session in a batch. Durable (fsync) on ok.
   * Checked in the order fenced, duplicate, conflict. A malformed batch throws TypeError before anything is written.
   */
  append(batch: readonly AppendItem[]): Promise<AppendResult[]>;
  /**
   * Entries with seq > afterSeq, ascending, at most `limit`, and no more once they reach `maxBytes` (no bound unless
   * told; the first always comes). None if there is no such session. Damage throws StoreDamagedError, never a silent gap.
   */
  read(id: string, afterSeq: number, limit: number, maxBytes?: number): Promise<StoredEntry[]>;
  /** The bytes of entries anywhere, in the order asked; undefined for what is not there. Damage throws StoreDamagedError. */
  readEach(places: readonly Place[]): Promise<(Uint8Array | undefined)[]>;
  /** The seq that a key answers, if it was ever used in the session. */
  lookupKey(id: string, user: string, key: string): Promise<number | undefined>;

  /** The one slot for unfinished text; null clears it. Not fsynced. Fenced: false. */
  checkpoint(grant: Grant, body: Uint8Array | null): Promise<boolean>;
  /** A folded state as of `seq` (up to the head, else TypeError), so that loading need not fold from 1. Fenced: false. */
  snapshot(grant: Grant, seq: number, body: Uint8Array): Promise<boolean>;

  list(query: ListQuery): Promise<ListPage>;
  /** Sessions whose index has requests; costs what they are, not what there is. */
  asked(query: AskedQuery): Promise<readonly AskedSession[]>;
  /** Ids of sessions whose index says open and that no live member owns. */
  orphans(limit: number): Promise<string[]>;
  /** How many sessions the user owns, by their index rows. */
  owned(user: string): Promise<number>;
  /** What was used in a user's name: in all, and on days that began at `since` or later. */
  spent(user: string, since: number): Promise<Spent>;
  /** Of a user's marks in a session that with the later `seq` stays. Not fsynced; nothing for a session that is not there. */
  markRead(id: string, user: string, mark: ReadMark): Promise<void>;
  /** The user's marks in these sessions, in their order. */
  readMarks(user: string, ids: readonly string[]): Promise<readonly (ReadMark | undefined)[]>;
  /** Keeps this under an agent's name (1 to 64 of A-Z a-z 0-9 _ -), in place of what was there; null: nothing. Durable (fsync). */
  writeAgent(name: string, body: Uint8Array | null): Promise<void>;
  /** All that is kept under names of agents, in the order of their bytes. */
  agents(): Promise<readonly AgentRow[]>;
  /** Of these sessions, else of all, some of which something is to be indexed. */
  unindexed(limit: number, ids?: readonly string[]): Promise<readonly Unindexed[]>;
  /**
   * Has `search` find what the items say, for those who read the sessions now. Not fsynced: what is lost is unindexed
   * again. Passes over items of sessions that are gone, or not indexed up to `after`. False: nothing was written, look again.
   */
  index(items: readonly IndexItem[]): Promise<boolean>;
  /**
   * The latest indexed first. What it costs, and where a page ends, depends on what the reader may read alone. A page may
   * have fewer items than `limit`, even none, with a cursor.
   */
  search(query: SearchQuery): Promise<FoundPage>;
  /** Delete: a tombstone stays, so the id is never used again. Fenced: false. */
  remove(grant: Grant): Promise<boolean>;

  /**
   * Every id that was ever used, from `from` on, in the order of their bytes; deleted ones say when. A store without it
   * has a backup of its own.
   */
  survey?(from: string, limit: number): Promise<readonly Surveyed[]>;
  /**
   * All tallies after that of this user and day; the days of a user come one after another. Damaged ones are left out.
   * There wherever `survey` is.
   */
  tallies?(after: Pick<Tally, "user" | "day"> | undefined, limit: number): Promise<readonly Tally[]>;

  /**
   * Resolves when the store can be read and, as far as it knows, written; a store whose last write failed tries one.
   * Rejects with why not. A store without it is asked by a read.
   */
  ready?(): Promise<void>;

  close(): Promise<void>;
}

/** A record that fails its checksum, its order or its form. `seq` where it is known. */
export class StoreDamagedError extends Error {
  override readonly name = "StoreDamagedError";
  readonly id: string;
  readonly seq: number | undefined;

  constructor(id: string, seq: number | undefined, detail: string, options?: ErrorOptions) {
    super(`session ${id}${seq === undefined ? "" : ` entry ${seq}`}: ${detail}`, options);
    this.id = id;
    this.seq = seq;
  }
}

/** The store cannot be read or written now; trying again, after `retryAfterMs` where it is known, may help. */
export class StoreUnavailableError extends Error {
  override readonly name = "StoreUnavailableError";
  readonly retryAfterMs: number | undefined;

  constructor(message: string, options?: ErrorOptions & { readonly retryAfterMs?: number }) {
    super(message, options);
    this.retryAfterMs = options?.retryAfterMs;
  }
}

/** The data directory belongs to another process. */
export class StoreLockedError extends Error {
  override readonly name = "StoreLockedError";
}

/** The data directory cannot be used at all: damaged, of a newer format, or not accessible. */
export class StoreOpenError extends Error {
  override readonly name = "StoreOpenError";
}
