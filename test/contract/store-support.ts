/**
 * What the parts of the store contract share: rows and items made up for tests, and a writer that appends as a session
 * would. Owns no test. Also of use where a store is tortured instead of examined.
 */
import type {
  AppendItem,
  AppendResult,
  Grant,
  IndexRow,
  KeyRow,
  ListPage,
  Member,
  Store,
} from "../../server/store/store.ts";
import { assert } from "../support/suite.ts";

export interface StoreUnderTest {
  readonly store: Store;
  /** Milliseconds since 1970, as the store sees them. */
  now(): number;
  /** Lets that much time pass for leases and epochs. */
  advance(ms: number): Promise<void>;
}

export type MakeStore = () => Promise<StoreUnderTest>;

/** How long a member of these tests may be silent, ms. */
export const TTL = 10_000;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function bytes(text: string): Uint8Array {
  return encoder.encode(text);
}

export function textOf(body: Uint8Array | undefined): string | undefined {
  return body && decoder.decode(body);
}

export function indexRow(change: Partial<IndexRow> = {}): IndexRow {
  return { readers: ["ada"], open: false, updatedAt: 1000, info: bytes("info"), ...change };
}

export async function granted(claim: ReturnType<Store["claim"]>): Promise<Grant> {
  const answer = await claim;
  if (answer === undefined || "heldBy" in answer) throw new Error(`no grant: ${JSON.stringify(answer)}`);
  return answer;
}

export async function texts(store: Store, id: string, afterSeq = 0, limit = 1000): Promise<string[]> {
  const entries = await store.read(id, afterSeq, limit);
  entries.forEach((entry, at) => assert.is(entry.seq, afterSeq + at + 1));
  return entries.map((entry) => decoder.decode(entry.bytes));
}

/** `create` and `append` for tests: what is not given is made up. */
export class Writer {
  readonly store: Store;
  readonly member: Member;
  readonly now: () => number;

  constructor(store: Store, member: Member, now: () => number) {
    this.store = store;
    this.member = member;
    this.now = now;
  }

  creation(id: string, change: Partial<AppendItem> = {}): AppendItem {
    const entries = [bytes(`${id} begins`)];
    return {
      id,
      epoch: this.now(),
      expectedSeq: 0,
      entries,
      index: indexRow(),
      create: this.member,
      ...change,
    };
  }

  async one(item: AppendItem): Promise<AppendResult> {
    const [result] = await this.store.append([item]);
    if (result === undefined) throw new Error("no result");
    return result;
  }

  async create(id: string, change: Partial<AppendItem> = {}): Promise<Grant> {
    const item = this.creation(id, change);
    assert.equal(await this.one(item), { status: "ok", seq: item.entries.length });
    return { id, epoch: item.epoch, seq: item.entries.length };
  }

  /** Answers the grant with the new head. */
  async append(grant: Grant, entries: readonly string[], change: Partial<AppendItem> = {}): Promise<Grant> {
    const result = await this.one(next(grant, entries, change));
    assert.equal(result, { status: "ok", seq: grant.seq + entries.length });
    return { ...grant, seq: grant.seq + entries.length };
  }
}

export function next(grant: Grant, entries: readonly string[], change: Partial<AppendItem> = {}): AppendItem {
  return { id: grant.id, epoch: grant.epoch, expectedSeq: grant.seq, entries: entries.map(bytes), ...change };
}

export function key(user: string, name: string, seq: number): KeyRow {
  return { user, key: name, seq };
}

export const idsOf = (page: ListPage): string[] => page.items.map((item) => item.id);

/** What every test starts from: a new store with one member. */
export async function begin(
  makeStore: MakeStore,
): Promise<{ home: StoreUnderTest; store: Store; member: Member; writer: Writer }> {
  const home = await makeStore();
  const { store } = home;
  const member = await store.join("one", TTL);
  return { home, store, member, writer: new Writer(store, member, () => home.now()) };
}
