/**
 * The sending half of a connection: a queue of encoded frames, counted in bytes. Owns the one write per turn of the event
 * loop, the bounds on what a slow reader may cost, and whether bytes still move. Never encodes, never looks into a frame,
 * never closes the socket: it says `onOverflow` or `onPressure`, and whoever hears it decides.
 */
import type { Turn, TurnTask } from "./turn.ts";

/** A frame in the form of its connection: MessagePack bytes, or a JSON line. One outbox sees only one of the two. */
export type WireFrame = Uint8Array | string;

/** What the outbox needs of a WebSocket. `sent` is called when the system has taken the bytes, or never will. */
export interface Wire {
  readonly bufferedAmount: number;
  /** Frames as one message; with `fin` false a piece of one, whose rest follows. Pieces are bytes, of text as well. */
  send(frames: readonly WireFrame[], isText: boolean, fin: boolean, sent: () => void): void;
}

export interface OutboxOptions {
  /** Bytes that may be queued (4 MiB); one frame more and the reader is given up. */
  readonly maxQueuedBytes?: number;
  /** From how many queued bytes on the reader lags: what it is sent live, it reads from the log instead (256 KiB). */
  readonly lagBytes?: number;
  /** Up to how many queued bytes there is room for another page of replay (64 KiB). */
  readonly roomBytes?: number;
  /** Bytes written at once, and bytes in the socket's own buffer from which on it gets no more (64 KiB). */
  readonly windowBytes?: number;
}

/** Totals over all outboxes that share them, so that tests and metrics see what sending costs. */
export interface OutboxTotals {
  /** Handed to a socket: each is one WebSocket message, or one fragment of a frame larger than the window. */
  writes: number;
  frames: number;
  bytes: number;
  /** Queued now. */
  queuedBytes: number;
  /** What may be queued in all of them; one frame more and `onPressure` is called. */
  readonly maxQueuedBytes: number;
}

export function outboxTotals(maxQueuedBytes = Infinity): OutboxTotals {
  return { writes: 0, frames: 0, bytes: 0, queuedBytes: 0, maxQueuedBytes };
}

/** The channel of what is not to be dropped. */
const KEPT = 0;

interface Queued {
  readonly frame: WireFrame;
  readonly size: number;
  readonly channel: number;
  /** How many frames it holds: a page of replay is many. */
  readonly count: number;
}

/** What holding a small frame costs beside its own bytes; without it a bound in bytes would bound nothing. */
const FRAME_OVERHEAD_BYTES = 256;

export class Outbox implements TurnTask {
  readonly #wire: Wire;
  readonly #turn: Turn;
  readonly #totals: OutboxTotals;
  readonly #onOverflow: () => void;
  readonly #onPressure: () => void;
  readonly #clock: () => number;
  readonly #maxQueuedBytes: number;
  readonly #lagBytes: number;
  readonly #roomBytes: number;
  readonly #windowBytes: number;
  #queue: Queued[] = [];
  #queuedBytes = 0;
  /** What is left of a frame larger than the window. */
  #rest: Uint8Array | undefined;
  #restIsText = false;
  #scheduled = false;
  #closed = false;
  /** Since when the socket takes no more, or the last time it took something meanwhile. */
  #stuckSince: number | undefined;
  #freedAt = 0;
  #room: { promise: Promise<void>; resolve: () => void } | undefined;

  constructor(
    parts: {
      wire: Wire;
      turn: Turn;
      totals: OutboxTotals;
      onOverflow: () => void;
      onPressure: () => void;
      clock: () => number;
    },
    options: OutboxOptions = {},
  ) {
    this.#wire = parts.wire;
    this.#turn = parts.turn;
    this.#totals = parts.totals;
    this.#onOverflow = parts.onOverflow;
    this.#onPressure = parts.onPressure;
    this.#clock = parts.clock;
    this.#maxQueuedBytes = options.maxQueuedBytes ?? 4 * 2 ** 20;
    this.#lagBytes = options.lagBytes ?? 256 * 2 ** 10;
    this.#roomBytes = options.roomBytes ?? 64 * 2 ** 10;
    this.#windowBytes = options.windowBytes ?? 64 * 2 ** 10;
  }

  /** Bytes that wait here, each frame with its overhead; what the socket has taken is not among them. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** More waits here than a live reader may leave unread. */
  get lagging(): boolean {
    return this.#queuedBytes > this.#lagBytes;
  }

  /** When a socket that took nothing last emptied the queue; 0 if that never happened. */
  get freedAt(): number {
    return this.#freedAt;
  }

  /** For how many ms bytes have been waiting without any of them moving. */
  stuckFor(now: number): number {
    return this.#stuckSince === undefined ? 0 : now - this.#stuckSince;
  }

  /** `channel`: of what `drop` may take back while it waits. `count`: the frames in it. */
  push(frame: WireFrame, channel: number = KEPT, count = 1): void {
    if (this.#closed) return;
    const size = typeof frame === "string" ? Buffer.byteLength(frame) : frame.length;
    const charge = size + FRAME_OVERHEAD_BYTES;
    if (this.#queuedBytes + charge > this.#maxQueuedBytes) {
      this.#onOverflow();
      return;
    }
    this.#queue.push({ frame, size, channel, count });
    this.#count(charge);
    if (this.#totals.queuedBytes > this.#totals.maxQueuedBytes) this.#onPressure();
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#turn.later(this);
  }

  /** Takes back the frames of a channel that wait; one that is half written goes on. */
  drop(channel: number): void {
    let bytes = 0;
    this.#queue = this.#queue.filter((item) => {
      if (item.channel !== channel) return true;
      bytes += item.size + FRAME_OVERHEAD_BYTES;
      return false;
    });
    if (bytes > 0) this.#count(-bytes);
  }

  /** undefined: there is room. Else resolves when there is, or when the outbox is closed. */
  room(): Promise<void> | undefined {
    if (this.#closed || this.#queuedBytes <= this.#roomBytes) return undefined;
    if (this.#room === undefined) {
      let resolve!: () => void;
      const promise = new Promise<void>((done) => (resolve = done));
      this.#room = { promise, resolve };
    }
    return this.#room.promise;
  }

  /** Writes what the socket takes now. */
  run(): void {
    this.#scheduled = false;
    while (this.#rest !== undefined || this.#queue.length > 0) {
      if (this.#wire.bufferedAmount >= this.#windowBytes) {
        this.#stuckSince ??= this.#clock();
        return;
      }
      if (this.#rest === undefined) this.#writeFrames();
      else this.#writeFragment(this.#rest);
    }
    if (this.#stuckSince !== undefined) {
      this.#stuckSince = undefined;
      this.#freedAt = this.#clock();
    }
  }

  /**
   * Writes what the socket takes now, forgets the rest, and takes `last` if it can still follow (it cannot inside a
   * frame that is half written). Nothing is taken afterwards.
   */
  finish(last: WireFrame): void {
    if (this.#closed) return;
    this.run();
    const canFollow = this.#rest === undefined;
    this.close();
    if (!canFollow) return;
    this.#totals.frames++;
    this.#write([last], Buffer.byteLength(last), typeof last === "string", true);
  }

  /** Forgets the queue; takes nothing any more. */
  close(): void {
    this.#closed = true;
    this.#count(-this.#queuedBytes);
    this.#queue = [];
    this.#rest = undefined;
    this.#room?.resolve();
    this.#room = undefined;
  }

  /** As many frames as the window holds, and at least one, as one message. */
  #writeFrames(): void {
    const [first] = this.#queue as [Queued];
    let bytes = first.size;
    let items = 1;
    while (items < this.#queue.length && bytes + this.#queue[items]!.size < this.#windowBytes) {
      bytes += this.#queue[items++]!.size;
    }
    const taken = this.#take(items);
    for (const { count } of taken) this.#totals.frames += count;
    const isText = typeof first.frame === "string";
    if (bytes > this.#windowBytes) {
      this.#count(-FRAME_OVERHEAD_BYTES);
      this.#restIsText = isText;
      this.#writeFragment(isText ? Buffer.from(first.frame) : first.frame);
      return;
    }
    this.#count(-(bytes + items * FRAME_OVERHEAD_BYTES));
    this.#write(
      taken.map(({ frame }) => frame),
      bytes,
      isText,
      true,
    );
  }

  /** A frame larger than the window goes in fragments, so that one can see whether its bytes move. */
  #writeFragment(bytes: Uint8Array): void {
    const piece = bytes.subarray(0, this.#windowBytes);
    const ends = piece.length === bytes.length;
    this.#rest = ends ? undefined : bytes.subarray(piece.length);
    this.#count(-piece.length);
    this.#write([piece], piece.length, this.#restIsText, ends);
  }

  #write(frames: readonly WireFrame[], bytes: number, isText: boolean, fin: boolean): void {
    this.#totals.writes++;
    this.#totals.bytes += bytes;
    this.#wire.send(frames, isText, fin, this.#sent);
  }

  readonly #sent = (): void => {
    if (this.#stuckSince === undefined) return;
    this.#stuckSince = this.#clock();
    if (this.#scheduled || this.#closed) return;
    this.#scheduled = true;
    this.#turn.later(this);
  };

  #take(items: number): Queued[] {
    const taken = this.#queue;
    if (items === taken.length) {
      this.#queue = [];
      return taken;
    }
    this.#queue = taken.slice(items);
    return taken.slice(0, items);
  }

  #count(change: number): void {
    this.#queuedBytes += change;
    this.#totals.queuedBytes += change;
    if (this.#room !== undefined && this.#queuedBytes <= this.#roomBytes) {
      this.#room.resolve();
      this.#room = undefined;
    }
  }
}
