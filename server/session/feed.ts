/**
 * The feed of one session: its state, its published head and its readers. Owns fan-out and replay: an entry is delivered
 * as the very bytes that were committed, once, in order; a reader enters the live set in the synchronous turn in which it
 * has everything. Never appends and never waits for a reader of the live set.
 */
import { decodeTrusted, EncodedFrame, encodeFrame } from "../../protocol/codec.ts";
import type { EventFrame } from "../../protocol/entries.ts";
import type { Position } from "../../protocol/content.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { ResultOf, ServerFrame, ServerFrameOf, SessionState } from "../../protocol/frames.ts";
import { DEFAULT_TAIL } from "../../protocol/version.ts";
import type { Store } from "../store/store.ts";
import { notFound } from "./access.ts";
import { listedInfo } from "./listing.ts";
import { LiveText } from "./live.ts";
import type { Presence } from "./presence.ts";
import { snapshotFor } from "./snapshot.ts";
import type { Subscriber } from "./subscriber.ts";

/** Entries and bytes of one page of a replay. */
const REPLAY_PAGE = 250;
const REPLAY_PAGE_BYTES = 64 * 1024;
/** Bytes of the newest entries that stay in memory while the session does. */
const RECENT_BYTES = 256 * 1024;

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
  readonly store: Store;
  readonly presence: Pick<Presence, "enter" | "leave" | "tell">;
  /** What a reader's replay failed of. */
  readonly onFault: (error: unknown) => void;
}

let nextChannel = 1;

export class Feed {
  readonly id: string;
  /** Names the session in parts and deltas, on all connections of this process; never used again. */
  readonly channel = nextChannel++;
  readonly live = new LiveText();
  state: SessionState;
  /** Who its readers are. */
  readonly #presence: Pick<Presence, "enter" | "leave" | "tell">;
  readonly #store: Store;
  readonly #onFault: (error: unknown) => void;
  readonly #readers = new Map<Subscriber, Reading>();
  readonly #liveSet = new Set<Subscriber>();
  #recent: { seq: number; epoch: number; frame: EncodedFrame }[] = [];
  #recentBytes = 0;

  constructor(id: string, state: SessionState, parts: FeedParts) {
    this.id = id;
    this.state = state;
    this.#store = parts.store;
    this.#presence = parts.presence;
    this.#onFault = parts.onFault;
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
      this.#remember(entry, frame);
      for (const reader of this.#liveSet) reader.deliver(frame);
    }
  }

  /** A transient frame for the live set: one encoding for all. */
  broadcast(frame: ServerFrame): void {
    if (this.#liveSet.size === 0) return;
    const encoded = new EncodedFrame(encodeFrame(frame));
    for (const reader of this.#liveSet) reader.deliver(encoded);
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
    const current = (): boolean => this.#readers.get(reader) === turn && !reader.gone;
    let answered = false;
    const answer = (result: ResultOf<"attach">): void => {
      answered = true;
      reply(result);
    };
    try {
      await this.#follow(reader, request, answer, current);
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
    if (!current()) return;
    const { state } = this;
    const answer = {
      session: listedInfo(state.session),
      channel: this.channel,
      epoch: state.epoch,
      head: state.seq,
    };
    if (!valid) {
      const snapshot = snapshotFor(state, request.tail ?? DEFAULT_TAIL);
      reply({ ...answer, mode: "snapshot", snapshot });
      this.#enter(reader);
      return;
    }
    reply({ ...answer, mode: "events" });
    for (let cursor = after.seq; ;) {
      if (cursor === this.state.seq) {
        this.#enter(reader);
        return;
      }
      for (const { seq, frame } of await this.#page(cursor)) {
        const room = reader.room();
        if (room !== undefined) await room;
        if (!current()) return;
        reader.deliver(frame);
        cursor = seq;
      }
      if (!current()) return;
    }
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
    const { partial } = this.live;
    const live = { type: "live", session: this.id, epoch: this.state.epoch, seq: this.state.seq };
    reader.deliver(new EncodedFrame(encodeFrame(partial === undefined ? live : { ...live, partial })));
    this.#liveSet.add(reader);
    // What was told while it caught up has passed it by.
    this.#presence.tell();
  }

  async #isValid(position: Position): Promise<boolean> {
    const { state } = this;
    if (position.seq === 0) return true;
    if (position.seq > state.seq) return false;
    if (position.seq === state.seq) return position.epoch === state.epoch;
    const recent = this.#recent.find((item) => item.seq === position.seq);
    if (recent !== undefined) return recent.epoch === position.epoch;
    const [stored] = await this.#store.read(this.id, position.seq - 1, 1);
    return stored !== undefined && (decodeTrusted(stored.bytes) as EventFrame).epoch === position.epoch;
  }

  /** The next entries after a seq, from memory where they are there; none beyond the published head. */
  async #page(after: number): Promise<{ seq: number; frame: EncodedFrame }[]> {
    const first = this.#recent[0]?.seq;
    if (first !== undefined && after + 1 >= first) {
      return this.#recent.slice(after + 1 - first, after + 1 - first + REPLAY_PAGE);
    }
    const limit = Math.min(REPLAY_PAGE, this.state.seq - after);
    const stored = await this.#store.read(this.id, after, limit, REPLAY_PAGE_BYTES);
    return stored.map(({ seq, bytes }) => ({ seq, frame: new EncodedFrame(bytes) }));
  }

  #remember(entry: EventFrame, frame: EncodedFrame): void {
    this.#recent.push({ seq: entry.seq, epoch: entry.epoch, frame });
    this.#recentBytes += frame.bytes.length;
    // A quarter over before anything is dropped, so that the common append moves nothing.
    if (this.#recentBytes <= RECENT_BYTES * 1.25) return;
    let drop = 0;
    while (this.#recentBytes > RECENT_BYTES && drop < this.#recent.length - 1) {
      this.#recentBytes -= this.#recent[drop++]!.frame.bytes.length;
    }
    this.#recent = this.#recent.slice(drop);
  }
}
