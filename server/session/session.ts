/**
 * One session in memory: the only appender of its log. Owns the lock, the grant, the queue and the slot of the run; what
 * is decided and what is appended happen in one hold of the lock, never across a model call, a tool wait or a socket.
 */
import { Mutex } from "async-mutex";
import { encodeFrame } from "../../protocol/codec.ts";
import type { EntryBody, EventFrame } from "../../protocol/entries.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { SessionState } from "../../protocol/frames.ts";
import { fold } from "../../protocol/state.ts";
import { MAX_FRAME_BYTES } from "../../protocol/version.ts";
import { runAgent } from "../agent/run.ts";
import type { Grant, KeyRow } from "../store/store.ts";
import { Feed } from "./feed.ts";
import { indexRow, mustIndex } from "./listing.ts";
import { inputMessage, runEnding, startRun } from "./lifecycle.ts";
import type { StartedRun } from "./lifecycle.ts";
import { encodeState } from "./snapshot.ts";
import { SessionDropped } from "./services.ts";
import type { Entry, SessionServices } from "./services.ts";

/** Entries since the last stored state that make another one worth its write at unload. */
const SNAPSHOT_EVERY = 64;

interface CurrentRun {
  readonly run: string;
  readonly end: AbortController;
  readonly stop: AbortController;
}

export type Appended =
  | { readonly duplicate: false; readonly seq: number }
  | { readonly duplicate: true; readonly seq: number };

export class Session {
  readonly id: string;
  readonly feed: Feed;
  readonly #services: SessionServices;
  readonly #lock = new Mutex();
  #grant: Grant | undefined;
  #current: CurrentRun | undefined;
  #dropped = false;
  #snapshotSeq: number;
  /** Once dropped: resolves when its grant is given back, so that it may be loaded anew. */
  left: Promise<void> = Promise.resolve();
  /** Commands that hold it in memory, and when the last one ended. */
  users = 0;
  usedAt: number;

  constructor(
    id: string,
    state: SessionState,
    services: SessionServices,
    from: { grant?: Grant; snapshotSeq?: number },
  ) {
    this.id = id;
    this.#services = services;
    this.feed = new Feed(id, state, services.store);
    this.#grant = from.grant;
    this.#snapshotSeq = from.snapshotSeq ?? 0;
    this.usedAt = services.now();
  }

  get state(): SessionState {
    return this.feed.state;
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
   * With `keys`, a known key writes nothing and answers `duplicate`. Throws ProtocolError `unavailable` when the store
   * could not take them; then the session has left memory.
   */
  async append(entries: readonly Entry[], keys?: readonly Omit<KeyRow, "seq">[]): Promise<Appended> {
    const grant = await this.#claim();
    const before = this.state;
    let after = before;
    const at = this.#services.now();
    const committed = entries.map(({ body, run, actor }) => {
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
      return { entry, bytes };
    });
    const result = await this.#services.commits.append({
      id: this.id,
      epoch: grant.epoch,
      expectedSeq: before.seq,
      entries: committed.map(({ bytes }) => bytes),
      ...(keys === undefined ? {} : { keys: keys.map((key) => ({ ...key, seq: before.seq + 1 })) }),
      ...(mustIndex(before, after) ? { index: indexRow(after) } : {}),
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
    this.feed.publish(committed, after);
    for (const { entry } of committed) this.#services.observe(this, entry);
    return { duplicate: false, seq: before.seq + 1 };
  }

  async #claim(): Promise<Grant> {
    if (this.#grant !== undefined) return this.#grant;
    const claimed = await this.#services.store.claim(this.id, this.#services.member());
    if (claimed === undefined || "heldBy" in claimed || claimed.seq !== this.state.seq) {
      this.drop("claimed elsewhere");
      throw new ProtocolError("unavailable", "the session is being taken over", { retryAfterMs: 100 });
    }
    this.#grant = claimed;
    // A run that this process does not drive was left open by another: whoever claims it first recovers it.
    if (this.state.run !== undefined)
      this.#background(() => this.recover(), "an open run could not be recovered");
    return claimed;
  }

  /** Work that nobody waits for, with the session held in memory meanwhile. */
  #background(work: () => Promise<void>, fault: string): void {
    this.users++;
    work()
      .catch((error: unknown) => this.#fault(error, fault))
      .finally(() => this.users--);
  }

  // --- the slot of the run ---

  /** Starts the next waiting input, if the slot is free. Never throws: what fails here is found again by recovery. */
  advance(): void {
    if (this.#dropped || this.#current !== undefined || this.state.queue.length === 0) return;
    this.#background(() => this.exclusive(() => this.#startNext()), "an input could not be started");
  }

  async #startNext(): Promise<void> {
    const { state } = this;
    const input = state.queue[0];
    if (input === undefined || state.run !== undefined || this.#current !== undefined) return;
    const start = startRun(state, input, this.#services);
    await this.append(start.entries);
    if (start.context === undefined) {
      queueMicrotask(() => this.advance());
      return;
    }
    const current = { run: start.run, end: new AbortController(), stop: new AbortController() };
    this.#current = current;
    void this.#drive(current, start.context);
  }

  async #drive(current: CurrentRun, context: StartedRun): Promise<void> {
    const { run, end, stop } = current;
    const { feed } = this;
    const { log, deadlines, router, timings, now } = this.#services;
    const clearTimeout = deadlines.after(context.agent.runTimeoutMs, () => end.abort("deadline"));
    const loop = runAgent({
      ...context,
      services: {
        router,
        deadlines,
        timings,
        now,
        onProgress: (call, attempt, progress) =>
          feed.broadcast({ type: "toolProgress", session: this.id, call, attempt, progress }),
      },
      state: () => this.state,
      joinSteers: () => this.#joinSteers(run),
      end: end.signal,
      stop: stop.signal,
      onFault: (error) => log.error({ session: this.id, run, err: error }, "model failed"),
    });
    try {
      for await (const output of loop) {
        if (stop.signal.aborted) break;
        if (output.type === "commit") {
          await this.exclusive(() => this.append(output.entries().map((body) => ({ body, run }))));
        } else if (output.type === "part") {
          const { message, part, kind, call, tool } = output;
          feed.live.begin(run, message, part, kind, call, tool);
          feed.broadcast({ ...output, channel: feed.channel });
        } else {
          const { message, part, text } = output;
          const placed = feed.live.append(message, part, text);
          if (placed === undefined) continue;
          const { offset } = placed;
          feed.broadcast({ type: "delta", channel: feed.channel, message, part, offset, text });
          this.#services.observe(this, {
            type: "delta",
            session: this.id,
            run,
            message,
            part,
            ...placed,
            text,
          });
        }
      }
    } catch (error) {
      this.#fault(error, "a run could not go on");
      stop.abort("lost");
      await this.#endFailed(run);
    } finally {
      clearTimeout();
      if (this.#current === current) this.#current = undefined;
      this.usedAt = this.#services.now();
      this.advance();
    }
  }

  #joinSteers(run: string): EntryBody[] {
    return this.state.queue.filter((item) => item.mode === "steer").map((item) => inputMessage(item, run));
  }

  /** A run that our own fault ended while the log still works. */
  async #endFailed(run: string): Promise<void> {
    if (this.#dropped || this.state.run?.run !== run) return;
    const error = { code: "internal", message: "the run could not go on" };
    await this.exclusive(async () => {
      await this.append(runEnding(this.state, "error", error).map((body) => ({ body, run })));
    }).catch((fault: unknown) => {
      this.#fault(fault, "a failed run could not be ended");
      this.drop("a run without its end");
    });
  }

  /** Ends the current run, when `run` names it; its end is logged by the loop. */
  endRun(run: string): void {
    if (this.#current?.run === run) this.#current.end.abort("cancelled");
  }

  /** A run left open by a process that is gone gets its named end, and the queue goes on. */
  async recover(): Promise<void> {
    await this.exclusive(async () => {
      await this.#claim();
      const { run } = this.state;
      if (this.#current !== undefined || run === undefined) return;
      const reason = run.cancelRequested === undefined ? "interrupted" : "cancelled";
      await this.append(runEnding(this.state, reason).map((body) => ({ body, run: run.run })));
    });
    this.advance();
  }

  // --- leaving memory ---

  get idle(): boolean {
    return (
      this.users === 0 &&
      this.#current === undefined &&
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
      if (this.users > 0 || this.feed.subscribers > 0 || this.#current !== undefined) return false;
      if (this.#grant !== undefined) {
        const { state } = this;
        if (state.seq - this.#snapshotSeq >= SNAPSHOT_EVERY) {
          await this.#services.store.snapshot(this.#grant, state.seq, encodeState(state));
          this.#snapshotSeq = state.seq;
        }
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
    this.#current?.stop.abort("lost");
    this.feed.detachAll("unavailable");
    if (this.#grant !== undefined) {
      this.left = this.#services.store.release(this.#grant).catch((error: unknown) => {
        this.#services.log.debug({ session: this.id, err: error }, "release failed");
      });
    }
    this.#services.dropped(this);
  }

  /** Deletes the session for ever; only inside `exclusive`. */
  async remove(): Promise<void> {
    const grant = await this.#claim();
    if (!(await this.#services.store.remove(grant))) {
      this.drop("fenced");
      throw new ProtocolError("unavailable", "the session is being taken over", { retryAfterMs: 100 });
    }
    this.#dropped = true;
    this.#current?.stop.abort("deleted");
    this.feed.detachAll("deleted");
    this.#services.dropped(this);
  }

  /** The process ends: the run is left as it is, for recovery; waits for the append in flight. */
  async shutDown(): Promise<void> {
    this.#current?.stop.abort("shutdown");
    await this.#lock.runExclusive(() => {
      this.#dropped = true;
    });
  }

  #fault(error: unknown, what: string): void {
    if (error instanceof SessionDropped || this.#dropped) return;
    this.#services.log.error({ session: this.id, err: error }, what);
  }
}
