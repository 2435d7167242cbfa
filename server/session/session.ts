/**
 * One session in memory: the only appender of its log. Owns the lock and the grant; what
 * is decided and what is appended happen in one hold of the lock, never across a model call, a tool wait or a socket.
 */
import { Mutex } from "async-mutex";
import { encodeFrame } from "../../protocol/codec.ts";
import type { EventFrame } from "../../protocol/entries.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { SessionState } from "../../protocol/frames.ts";
import { fold } from "../../protocol/state.ts";
import { MAX_FRAME_BYTES } from "../../protocol/version.ts";
import type { Grant } from "../store/store.ts";
import { mayAs } from "./access.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { Compactor } from "./compact.ts";
import { Feed } from "./feed.ts";
import { searchable } from "./indexer.ts";
import { StateKeeper } from "./keeping.ts";
import { keyOf } from "./keys.ts";
import { indexRow, mustIndex } from "./listing.ts";
import { FloorKeeper } from "./keeper.ts";
import { Presence } from "./presence.ts";
import { RunSlot } from "./slot.ts";
import { tallyOf } from "./spending.ts";
import { SessionDropped } from "./services.ts";
import type { Entry, SessionServices } from "./services.ts";

export type Appended =
  | { readonly duplicate: false; readonly seq: number }
  | { readonly duplicate: true; readonly seq: number };

export class Session {
  readonly id: string;
  readonly feed: Feed;
  readonly presence: Presence;
  readonly #floor: FloorKeeper;
  readonly #keeper: StateKeeper;
  readonly slot: RunSlot;
  readonly compactor: Compactor;
  readonly #services: SessionServices;
  readonly #lock = new Mutex();
  #grant: Grant | undefined;
  #dropped = false;
  /** Once dropped: resolves when its grant is given back, so that it may be loaded anew. */
  left: Promise<void> = Promise.resolve();
  /** Commands that hold it in memory, and when the last one ended. */
  users = 0;
  usedAt: number;

  constructor(
    id: string,
    state: SessionState,
    services: SessionServices,
    from: { grant?: Grant; snapshotSeq?: number; checkpoint?: Checkpoint | undefined },
  ) {
    this.id = id;
    this.#services = services;
    const { store, deadlines, log } = services;
    this.presence = new Presence(
      id,
      { deadlines, broadcast: (frame) => this.feed.broadcast(frame), usersChanged: () => this.#floor.look() },
      services.presence,
    );
    const onFault = (error: unknown): void => log.error({ session: id, err: error }, "a replay failed");
    const parts = { store, presence: this.presence, totals: services.feeds, onFault };
    this.feed = new Feed(id, state, parts, services.limits);
    this.#grant = from.grant;
    this.#keeper = new StateKeeper(services, services.limits.snapshotEvery, from.snapshotSeq);
    this.slot = new RunSlot(this, services, from.checkpoint);
    this.compactor = new Compactor(this, services);
    this.usedAt = services.now();
    this.#floor = new FloorKeeper(this, (ms, work) => deadlines.after(ms, work), services.presence);
    this.#floor.look();
  }

  get state(): SessionState {
    return this.feed.state;
  }

  /** The time that its entries carry, ms since 1970. */
  now(): number {
    return this.#services.now();
  }

  get dropped(): boolean {
    return this.#dropped;
  }

  /** One command at a time: decide and append. Throws SessionDropped when the session left memory meanwhile. */
  exclusive<T>(command: () => Promise<T>): Promise<T> {
    return this.#lock.runExclusive(async () => {
      if (this.#dropped) throw new SessionDropped(this.id);
      return command();
    });
  }

  /**
   * Appends entries of one cause; only inside `exclusive`. They are durable and published when it resolves.
   * With a key that is known (keys.ts) nothing is written, and the answer is `duplicate`. Throws ProtocolError `unavailable` when the store
   * could not take them; then the session has left memory.
   */
  async append(entries: readonly Entry[]): Promise<Appended> {
    const grant = await this.claim();
    const before = this.state;
    let after = before;
    const at = this.#services.now();
    const committed = entries.map(({ body, run, actor }) => {
      const open = after.run;
      const entry: EventFrame = {
        type: "event",
        session: this.id,
        epoch: grant.epoch,
        seq: after.seq + 1,
        at,
        event: body,
      };
      if (run !== undefined) entry.run = run;
      if (actor !== undefined) entry.actor = actor;
      const bytes = encodeFrame(entry);
      if (bytes.length > MAX_FRAME_BYTES)
        throw new ProtocolError("too-large", `a ${body.type} entry over a frame's limit`);
      after = fold(after, entry);
      return { entry, bytes, run: after.run ?? open };
    });
    const tallies = committed.flatMap(({ entry, run }) => tallyOf(entry, run) ?? []);
    const keys = committed.flatMap(({ entry }) => keyOf(entry) ?? []);
    const result = await this.#services.commits.append({
      id: this.id,
      epoch: grant.epoch,
      expectedSeq: before.seq,
      entries: committed.map(({ bytes }) => bytes),
      ...(keys.length === 0 ? {} : { keys }),
      ...(tallies.length === 0 ? {} : { tallies }),
      ...(mustIndex(before, after) ? { index: indexRow(after) } : {}),
      ...searchable(entries.map(({ body }) => body)),
    });
    if (result.status === "duplicate") return { duplicate: true, seq: result.seq };
    if (result.status === "unknown") {
      this.drop(result.status);
      throw new ProtocolError("unavailable", "the log cannot be written now", {
        retryAfterMs: 250,
        cause: result.cause,
      });
    }
    if (result.status !== "ok") {
      // Nothing was written: whoever asked may ask the session that is loaded next.
      this.drop(result.status);
      throw new SessionDropped(this.id);
    }
    if (after.members !== before.members)
      this.#services.router.keep(this.id, (caller) => mayAs("editor", caller, after));
    this.feed.publish(committed, after);
    this.#keeper.added(
      grant,
      after,
      committed.reduce((sum, { bytes }) => sum + bytes.length, 0),
    );
    if (after.floor !== before.floor) this.#floor.look();
    for (const { entry, run } of committed) this.#services.observe(this, entry, run);
    this.#services.changed(
      this,
      before,
      committed.map(({ entry }) => entry),
    );
    return { duplicate: false, seq: before.seq + 1 };
  }

  /** The right to append; only inside `exclusive`. Throws ProtocolError `unavailable` when somebody else has it. */
  async claim(): Promise<Grant> {
    if (this.#grant !== undefined) return this.#grant;
    const claimed = await this.#services.store.claim(this.id, this.#services.member());
    if (claimed === undefined || "heldBy" in claimed || claimed.seq !== this.state.seq) {
      this.drop("claimed elsewhere");
      throw new ProtocolError("unavailable", "the session is being taken over", { retryAfterMs: 100 });
    }
    this.#grant = claimed;
    // What is open was left by another, and nobody looks for it any more now that it has an owner.
    if (this.state.run !== undefined || this.state.queue.length > 0)
      this.background(() => this.slot.recover(), "what was left open could not be recovered");
    return claimed;
  }

  /** Work that nobody waits for, with the session held in memory meanwhile. */
  background(work: () => Promise<void>, fault: string): void {
    this.users++;
    work()
      .catch((error: unknown) => {
        if (error instanceof SessionDropped || this.#dropped) return;
        this.#services.log.error({ session: this.id, err: error }, fault);
      })
      .finally(() => this.users--);
  }

  // --- leaving memory ---

  get idle(): boolean {
    return (
      this.users === 0 &&
      !this.slot.busy &&
      !this.#lock.isLocked() &&
      this.feed.subscribers === 0 &&
      this.state.queue.length === 0 &&
      this.state.requests.length === 0
    );
  }

  /** Leaves memory with its state stored and its grant given back; false when it came into use meanwhile. */
  async unload(): Promise<boolean> {
    return this.#lock.runExclusive(async () => {
      if (this.#dropped) return true;
      if (this.users > 0 || this.feed.subscribers > 0 || this.slot.busy) return false;
      if (this.#grant !== undefined) {
        await this.#keeper.leave(this.#grant, this.state);
        if (this.users > 0 || this.feed.subscribers > 0) return false;
        // From here on whoever comes waits for `left` and loads anew.
        this.#dropped = true;
        this.left = this.#services.store.release(this.#grant);
        await this.left;
      }
      this.#dropped = true;
      return true;
    });
  }

  /** Ownership or certainty is lost: the run stops where it is, readers are told, and the session is loaded anew. */
  drop(cause: string): void {
    if (this.#dropped) return;
    this.#dropped = true;
    this.#services.log.warn({ session: this.id, cause }, "session dropped from memory");
    this.slot.stop("lost");
    this.compactor.stop();
    this.feed.detachAll("unavailable");
    if (this.#grant !== undefined) {
      this.left = this.#services.store.release(this.#grant).catch((error: unknown) => {
        this.#services.log.debug({ session: this.id, err: error }, "release failed");
      });
    }
    this.#services.dropped(this, "lost");
  }

  /** Deletes the session for ever; only inside `exclusive`. */
  async remove(): Promise<void> {
    const grant = await this.claim();
    if (!(await this.#services.store.remove(grant))) {
      this.drop("fenced");
      throw new ProtocolError("unavailable", "the session is being taken over", { retryAfterMs: 100 });
    }
    this.#dropped = true;
    this.slot.stop("deleted");
    this.compactor.stop();
    this.feed.detachAll("deleted");
    this.#services.dropped(this, "deleted");
  }

  /** The process ends: the run is left as it is, its text in the slot; waits for the append in flight. */
  async shutDown(): Promise<void> {
    const stopped = this.slot.stop("shutdown");
    this.compactor.stop();
    await this.#lock.runExclusive(async () => {
      if (stopped && this.#grant !== undefined && !this.#dropped) await this.slot.leave(this.#grant);
      this.#dropped = true;
    });
  }
}
