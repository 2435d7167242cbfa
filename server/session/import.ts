/**
 * One session made of an exported log, page by page. Owns the session until the last page: it appends under a grant of its
 * own, in bounded appends that end where nothing is open as long as that is possible, so that a crash leaves a session that
 * nothing restarts. Never trusts a page: each entry is judged and folded before it is written.
 */
import { Mutex } from "async-mutex";
import { encodeFrame } from "../../protocol/codec.ts";
import { eventFrame, type EntryBody, type EventFrame } from "../../protocol/entries.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { ImportedEntry, SessionState } from "../../protocol/frames.ts";
import { fold } from "../../protocol/state.ts";
import { MAX_FRAME_BYTES } from "../../protocol/version.ts";
import type { AppendItem, AppendResult, Grant, KeyRow, Member, Store } from "../store/store.ts";
import { searchable } from "./indexer.ts";
import { keyOf } from "./keys.ts";
import { runEnding, SYSTEM } from "./lifecycle.ts";
import { indexRow } from "./listing.ts";
import type { SessionRegistry } from "./registry.ts";
import type { SessionServices } from "./services.ts";

export interface ImportServices {
  readonly store: Store;
  readonly registry: SessionRegistry;
  readonly commits: { append(item: AppendItem): Promise<AppendResult> };
  readonly now: () => number;
  member(): Member;
  changed: SessionServices["changed"];
}

/** Entries and bytes that are worth an append, where nothing is open. */
const ENOUGH_ENTRIES = 100;
const ENOUGH_BYTES = 64 * 1024;
/** Where something is open all the time, an append is made anyway. */
const MOST_ENTRIES = 2000;
const MOST_BYTES = 4 * 1024 * 1024;

interface Pending {
  readonly entry: EventFrame;
  readonly bytes: Uint8Array;
}

export class Import {
  readonly id: string;
  readonly #services: ImportServices;
  readonly #epoch: number;
  readonly #lock = new Mutex();
  #state: SessionState | undefined;
  #pending: Pending[] = [];
  #pendingBytes = 0;
  /** The last entry on the disk. */
  #written = 0;
  #ended = false;

  constructor(id: string, services: ImportServices) {
    this.id = id;
    this.#services = services;
    this.#epoch = services.now();
  }

  /** Throws ProtocolError: `conflict` (a used id, a page out of turn), `bad-frame` (no log), `too-large`, `unavailable`. */
  add(after: number, entries: readonly ImportedEntry[], last: boolean): Promise<{ seq: number }> {
    return this.#lock.runExclusive(async () => {
      const seq = this.#state?.seq ?? 0;
      if (this.#ended || after !== seq)
        throw new ProtocolError("conflict", `entries after ${seq} are due`, { details: { seq } });
      for (const entry of entries) {
        this.#take(entry);
        if (this.#isFull()) await this.#append();
      }
      if (last) await this.#finish();
      return { seq: this.#state?.seq ?? 0 };
    });
  }

  /** Undoes what has been written; the id stays used. */
  async abandon(): Promise<void> {
    await this.#lock.runExclusive(async () => {
      if (this.#ended) return;
      this.#ended = true;
      if (this.#written === 0) return;
      const { store, registry } = this.#services;
      // Whoever has written to it meanwhile took it over: then it is theirs, as far as it got.
      if (!(await store.checkpoint(this.#grant, null))) return;
      await this.#forget();
      await registry.with(this.id, (session) => session.exclusive(() => session.remove()));
    });
  }

  get #grant(): Grant {
    return { id: this.id, epoch: this.#epoch, seq: this.#written };
  }

  /** Who reads it already has what was there when they came: they are to come again. */
  async #forget(): Promise<void> {
    await this.#services.registry.with(this.id, async (session) => session.drop("imported"));
  }

  #take({ at, run, actor, event }: ImportedEntry): void {
    const seq = (this.#state?.seq ?? 0) + 1;
    const frame = { type: "event", session: this.id, epoch: this.#epoch, seq, at };
    const entry = {
      ...frame,
      ...(run === undefined ? {} : { run }),
      ...(actor === undefined ? {} : { actor }),
      event,
    };
    const { error } = eventFrame.safeParse(entry);
    const [issue] = error?.issues ?? [];
    if (issue !== undefined)
      throw new ProtocolError("bad-frame", `entry ${seq}: ${issue.path.join(".")}: ${issue.message}`);
    this.#add(entry as unknown as EventFrame);
  }

  #add(entry: EventFrame): void {
    if (entry.seq > 1 && entry.event.type === "session-created")
      throw new ProtocolError("bad-frame", `entry ${entry.seq}: a session is created once`);
    const bytes = encodeFrame(entry);
    if (bytes.length > MAX_FRAME_BYTES)
      throw new ProtocolError("too-large", `entry ${entry.seq} is over a frame's limit`);
    try {
      this.#state = fold(this.#state, entry);
    } catch (cause) {
      throw new ProtocolError("bad-frame", `entry ${entry.seq} does not fit what is before it`, { cause });
    }
    this.#pending.push({ entry, bytes });
    this.#pendingBytes += bytes.length;
  }

  #isFull(): boolean {
    const quiet = this.#state !== undefined && !indexRow(this.#state).open && this.#state.calls.length === 0;
    return (
      (quiet && (this.#pending.length >= ENOUGH_ENTRIES || this.#pendingBytes >= ENOUGH_BYTES)) ||
      this.#pending.length >= MOST_ENTRIES ||
      this.#pendingBytes >= MOST_BYTES
    );
  }

  async #append(): Promise<void> {
    const state = this.#state;
    if (state === undefined || this.#pending.length === 0) return;
    const keys = new Map<string, KeyRow>();
    for (const { entry } of this.#pending) {
      const key = keyOf(entry);
      if (key !== undefined) keys.set(JSON.stringify([key.user, key.key]), key);
    }
    const result = await this.#services.commits.append({
      id: this.id,
      epoch: this.#epoch,
      expectedSeq: this.#written,
      entries: this.#pending.map(({ bytes }) => bytes),
      index: indexRow(state),
      ...searchable(this.#pending.map(({ entry }) => entry.event)),
      ...(keys.size === 0 ? {} : { keys: [...keys.values()] }),
      ...(this.#written === 0 ? { create: this.#services.member() } : {}),
    });
    if (result.status !== "ok") throw this.#refusal(result);
    this.#written = result.seq;
    this.#pending = [];
    this.#pendingBytes = 0;
  }

  #refusal({ status }: AppendResult): ProtocolError {
    const details = { session: this.id };
    if (status === "unknown")
      return new ProtocolError("unavailable", "the log cannot be written now", { retryable: false });
    // A used id is found by the keys of its inputs first.
    if (status === "duplicate" && this.#written > 0)
      return new ProtocolError("conflict", "two inputs have the same key", { details });
    return this.#written === 0
      ? new ProtocolError("conflict", `session ${this.id} exists`, { details })
      : new ProtocolError("conflict", "somebody used the session before it was whole", { details });
  }

  /** Closes by name what the log leaves open, and gives the session to whoever comes. */
  async #finish(): Promise<void> {
    const state = this.#state;
    if (state === undefined) throw new ProtocolError("bad-frame", "entries: a log has at least one");
    const run = state.run?.run;
    const bodies: EntryBody[] = run === undefined ? [] : runEnding(state, "interrupted");
    if (run === undefined)
      for (const { request } of state.requests)
        bodies.push({ type: "request-resolved", request, decision: "cancelled" });
    for (const { input } of state.queue) bodies.push({ type: "input-withdrawn", input });
    // Who writes a log may not write what holds beyond it.
    for (const { allowance, everywhere } of state.allowances ?? [])
      if (everywhere) bodies.push({ type: "approval-forgotten", allowance });
    for (const event of bodies) {
      const { seq } = this.#state!;
      const ofRun =
        run !== undefined && event.type !== "input-withdrawn" && event.type !== "approval-forgotten";
      this.#add({
        type: "event",
        session: this.id,
        epoch: this.#epoch,
        seq: seq + 1,
        at: this.#services.now(),
        ...(ofRun ? { run } : {}),
        actor: SYSTEM,
        event,
      });
    }
    await this.#append();
    this.#ended = true;
    await this.#services.store.release(this.#grant);
    await this.#forget();
    this.#services.changed({ id: this.id, state: this.#state! }, undefined, []);
  }
}
