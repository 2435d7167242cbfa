/**
 * The feed of one session: its state, its published head and its readers. Owns fan-out and replay: an entry is delivered
 * as the very bytes that were committed, once, in order; a reader enters the live set in the synchronous turn in which it
 * has everything, and leaves it while too much waits for it. Never appends and never waits for a reader of the live set.
 */
import { EncodedFrame, encodeFrame } from "../../protocol/codec.ts";
import type { EventFrame } from "../../protocol/entries.ts";
import type { Position } from "../../protocol/content.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { PartKind, ResultOf, ServerFrame, ServerFrameOf, SessionState } from "../../protocol/frames.ts";
import { DEFAULT_TAIL } from "../../protocol/version.ts";
import type { Store } from "../store/store.ts";
import { notFound } from "./access.ts";
import { Coalescer } from "./coalesce.ts";
import type { Schedule } from "./coalesce.ts";
import { listedInfo } from "./listing.ts";
import { LiveText } from "./live.ts";
import { Pages } from "./pages.ts";
import type { Presence } from "./presence.ts";
import { snapshotFor } from "./snapshot.ts";
import type { Subscriber } from "./subscriber.ts";

export interface FeedOptions {
  /** How long streamed text may wait for more of it (50 ms); the first piece after a pause never does. 0: none waits. */
  readonly coalesceMs?: number | undefined;
  /** Node's timers unless told. */
  readonly schedule?: Schedule;
}

/** Totals over all feeds that share them, so that tests and metrics see what fan-out costs. */
export interface FeedTotals {
  /** Pieces of text that models streamed to somebody, and the frames that carried them, each encoded once. */
  pieces: number;
  deltas: number;
  /** Readers that left a live set because too much waited for them. */
  lagged: number;
  /** Attaches that were answered by entries, and by a snapshot. */
  replays: number;
  snapshots: number;
}

export function feedTotals(): FeedTotals {
  return { pieces: 0, deltas: 0, lagged: 0, replays: 0, snapshots: 0 };
}

export interface AttachRequest {
  readonly after?: Position | undefined;
  readonly tail?: number | undefined;
}

/** One attach of one reader. */
interface Reading {
  /** Why it ended; the answer, if it had none yet. */
  left?: ProtocolError;
}

export interface FeedParts {
  readonly store: Pick<Store, "read">;
  readonly presence: Pick<Presence, "enter" | "leave" | "tell">;
  readonly totals: FeedTotals;
  /** What a reader's replay failed of. */
  readonly onFault: (error: unknown) => void;
}

const schedule: Schedule = (ms, callback) => void setTimeout(callback, ms);

let nextChannel = 1;

export class Feed {
  readonly id: string;
  /** Names the session in parts and deltas, on all connections of this process; never used again. */
  readonly channel = nextChannel++;
  readonly live = new LiveText();
  state: SessionState;
  /** Who its readers are. */
  readonly #presence: Pick<Presence, "enter" | "leave" | "tell">;
  readonly #pages: Pages;
  readonly #onFault: (error: unknown) => void;
  readonly #totals: FeedTotals;
  readonly #coalescer: Coalescer;
  readonly #readers = new Map<Subscriber, Reading>();
  readonly #liveSet = new Set<Subscriber>();

  constructor(id: string, state: SessionState, parts: FeedParts, options: FeedOptions = {}) {
    this.id = id;
    this.state = state;
    this.#presence = parts.presence;
    this.#pages = new Pages(id, parts.store);
    this.#onFault = parts.onFault;
    this.#totals = parts.totals;
    this.#coalescer = new Coalescer(
      options.coalesceMs ?? 50,
      (message, piece) => {
        this.#totals.deltas++;
        this.broadcast({ type: "delta", channel: this.channel, message, ...piece });
      },
      options.schedule ?? schedule,
    );
  }

  get subscribers(): number {
    return this.#readers.size;
  }

  /** Its readers, live or not. */
  [Symbol.iterator](): IterableIterator<Subscriber> {
    return this.#readers.keys();
  }

  /** Makes committed entries visible: the state that they fold to, then every reader of the live set. */
  publish(
    entries: readonly { readonly entry: EventFrame; readonly bytes: Uint8Array }[],
    state: SessionState,
  ): void {
    this.#coalescer.flush();
    const { members } = this.state;
    this.state = state;
    // First: the entry that ends a reader's right is not for that reader.
    if (members !== state.members) this.expel();
    for (const { entry, bytes } of entries) {
      const { event } = entry;
      if (event.type === "message") this.live.clear(event.message.id);
      else if (event.type === "message-abandoned") this.live.clear(event.message);
      else if (event.type === "run-finished") this.live.clear();
      const frame = new EncodedFrame(bytes);
      this.#pages.remember(entry, frame);
      this.#deliver(frame, entry.seq - 1);
    }
  }

  /** A part of a message begins. */
  begin(
    run: string,
    message: string,
    opened: Omit<ServerFrameOf<"part">, "type" | "channel" | "message">,
  ): void {
    const { part, kind, call, tool } = opened;
    this.#coalescer.flush();
    this.live.begin(run, message, part, kind, call, tool);
    this.broadcast({ type: "part", channel: this.channel, message, ...opened });
  }

  /** More text of a part; answers what it is of, undefined when the part is none of the unfinished message. */
  say(message: string, part: number, text: string): { kind: PartKind; offset: number } | undefined {
    const placed = this.live.append(message, part, text);
    if (placed === undefined || this.#liveSet.size === 0) return placed;
    this.#totals.pieces++;
    this.#coalescer.add(message, { part, offset: placed.offset, text });
    return placed;
  }

  /** A transient frame for the live set: one encoding for all. */
  broadcast(frame: ServerFrame): void {
    if (this.#liveSet.size > 0)
      this.#deliver(new EncodedFrame(encodeFrame(frame), this.channel), this.state.seq);
  }

  /** `seq`: the last entry that readers of the live set have. */
  #deliver(frame: EncodedFrame, seq: number): void {
    for (const reader of this.#liveSet) {
      if (reader.lagging) this.#fallBehind(reader, seq);
      else reader.deliver(frame);
    }
  }

  /** Takes a reader out of the live set until it has caught up from the log; what it lost meanwhile is in its next `live`. */
  #fallBehind(reader: Subscriber, seq: number): void {
    const turn = this.#readers.get(reader)!;
    this.#liveSet.delete(reader);
    this.#totals.lagged++;
    reader.drop(this.channel);
    const current = (): boolean => this.#isCurrent(reader, turn);
    this.#pages
      .during(() => this.#catchUp(reader, seq, current))
      .catch((error: unknown) => {
        if (this.#readers.get(reader) !== turn) return;
        this.#readers.delete(reader);
        this.#onFault(error);
        reader.deliver(this.#detached("unavailable"));
      });
  }

  /**
   * Adds a reader: `reply` is called with what `ok` carries, then entries follow, then `live`. A second attach of the same
   * reader replaces the first. Resolves when the reader is live or has left; what fails after the answer is told to it as
   * `detached`, what fails before is thrown.
   */
  async attach(
    reader: Subscriber,
    request: AttachRequest,
    reply: (result: ResultOf<"attach">) => void,
  ): Promise<void> {
    const turn: Reading = {};
    this.#leave(reader, new ProtocolError("conflict", "another attach took this one's place"));
    this.#readers.set(reader, turn);
    this.#presence.enter(reader);
    const current = (): boolean => this.#isCurrent(reader, turn);
    let answered = false;
    const answer = (result: ResultOf<"attach">): void => {
      answered = true;
      reply(result);
    };
    try {
      await this.#pages.during(() => this.#follow(reader, request, answer, current));
      if (!answered && turn.left !== undefined) throw turn.left;
    } catch (error) {
      if (this.#readers.get(reader) === turn) this.#forget(reader);
      else if (answered) return;
      if (!answered) throw error;
      this.#onFault(error);
      reader.deliver(this.#detached("unavailable"));
    }
  }

  async #follow(
    reader: Subscriber,
    request: AttachRequest,
    reply: (result: ResultOf<"attach">) => void,
    current: () => boolean,
  ): Promise<void> {
    const { after } = request;
    const valid = after !== undefined && (await this.#isValid(after));
    // A snapshot may be as large as a frame: whoever attaches to many sessions gets one after the other.
    if (!valid) await reader.room();
    if (!current()) return;
    const { state } = this;
    const answer = {
      session: listedInfo(state.session),
      channel: this.channel,
      epoch: state.epoch,
      head: state.seq,
    };
    if (!valid) {
      this.#totals.snapshots++;
      const snapshot = snapshotFor(state, request.tail ?? DEFAULT_TAIL);
      reply({ ...answer, mode: "snapshot", snapshot });
      this.#enter(reader);
      return;
    }
    this.#totals.replays++;
    reply({ ...answer, mode: "events" });
    await this.#catchUp(reader, after.seq, current);
  }

  /** Hands a reader the log after a seq, page by page as it has room for them, until it has everything and is live. */
  async #catchUp(reader: Subscriber, after: number, current: () => boolean): Promise<void> {
    for (let cursor = after; ;) {
      const room = reader.room();
      if (room !== undefined) await room;
      if (!current()) return;
      const head = this.state.seq;
      if (cursor === head) {
        this.#enter(reader);
        return;
      }
      const page = await this.#pages.after(cursor, head);
      if (page === undefined) throw new Error(`the log ends at ${cursor}, not at ${head}`);
      if (!current()) return;
      reader.deliver(page);
      cursor = page.last;
    }
  }

  #isCurrent(reader: Subscriber, turn: Reading): boolean {
    return this.#readers.get(reader) === turn && !reader.gone;
  }

  detach(reader: Subscriber): boolean {
    return this.#leave(reader, new ProtocolError("conflict", "detached before it was attached"));
  }

  /** Ends the subscriptions of those who may not read any more; of this one, if one is given. */
  expel(only?: Subscriber): void {
    const frame = this.#detached("forbidden");
    for (const reader of this.#readers.keys()) {
      if ((only !== undefined && reader !== only) || reader.mayRead(this.state)) continue;
      this.#leave(reader, notFound(this.id));
      reader.deliver(frame);
    }
  }

  /** Ends every subscription, with the reason. */
  detachAll(reason: "deleted" | "unavailable"): void {
    const frame = this.#detached(reason);
    const left =
      reason === "deleted" ? notFound(this.id) : new ProtocolError(reason, "the session left this process");
    for (const reader of this.#readers.keys()) {
      this.#leave(reader, left);
      reader.deliver(frame);
    }
  }

  #leave(reader: Subscriber, why: ProtocolError): boolean {
    const turn = this.#readers.get(reader);
    if (turn === undefined) return false;
    turn.left = why;
    this.#forget(reader);
    return true;
  }

  #forget(reader: Subscriber): void {
    this.#liveSet.delete(reader);
    this.#readers.delete(reader);
    this.#presence.leave(reader);
  }

  #detached(reason: ServerFrameOf<"detached">["reason"]): EncodedFrame {
    return new EncodedFrame(encodeFrame({ type: "detached", session: this.id, reason }));
  }

  #enter(reader: Subscriber): void {
    // Others have the rest of this text before anybody begins with it.
    this.#coalescer.flush();
    const { partial } = this.live;
    const live = { type: "live", session: this.id, epoch: this.state.epoch, seq: this.state.seq };
    reader.deliver(new EncodedFrame(encodeFrame(partial === undefined ? live : { ...live, partial })));
    this.#liveSet.add(reader);
    // What was told while it caught up has passed it by.
    this.#presence.tell();
  }

  async #isValid({ epoch, seq }: Position): Promise<boolean> {
    const { state } = this;
    if (seq === 0) return true;
    if (seq > state.seq) return false;
    if (seq === state.seq) return epoch === state.epoch;
    return (await this.#pages.epochAt(seq, state.seq)) === epoch;
  }
}
