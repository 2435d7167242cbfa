/**
 * The receiving half of a connection: the frames of its messages, one after another, in order, and no more of them in one
 * turn of the event loop than is fair to the others. Owns that budget and the pausing of the socket; never validates.
 */
import { ProtocolError } from "../../protocol/errors.ts";
import type { Turn, TurnTask } from "./turn.ts";

export type RawFrame = Record<string, unknown>;

/** Where frames go; its methods must not throw. */
export interface FrameSink {
  frame(raw: RawFrame): void;
  /** The rest of a message cannot be read. */
  unreadable(error: ProtocolError): void;
}

/** What is stopped while more frames wait than are fair. */
export interface Pausable {
  pause(): void;
  resume(): void;
}

export interface InboxOptions {
  /** Frames of one connection handled in one turn of the event loop (256); the rest waits for the next. */
  readonly framesPerTurn?: number;
}

export class Inbox implements TurnTask {
  readonly #sink: FrameSink;
  readonly #source: Pausable;
  readonly #turn: Turn;
  readonly #framesPerTurn: number;
  #current: Iterator<RawFrame> | undefined;
  /** Messages that the socket still had when it was paused. */
  #waiting: Iterator<RawFrame>[] | undefined;
  #turnNumber = -1;
  #taken = 0;
  #paused = false;
  #closed = false;

  constructor(sink: FrameSink, source: Pausable, turn: Turn, options: InboxOptions = {}) {
    this.#sink = sink;
    this.#source = source;
    this.#turn = turn;
    this.#framesPerTurn = options.framesPerTurn ?? 256;
  }

  /** The frames of one message. They are decoded as they are taken. */
  receive(frames: Iterator<RawFrame>): void {
    if (this.#closed) return;
    if (this.#current !== undefined) {
      (this.#waiting ??= []).push(frames);
      return;
    }
    this.#current = frames;
    this.#drain();
  }

  /** Goes on in a later turn. */
  run(): void {
    if (this.#closed) return;
    this.#paused = false;
    this.#drain();
    if (!this.#paused) this.#source.resume();
  }

  close(): void {
    this.#closed = true;
    this.#current = undefined;
    this.#waiting = undefined;
  }

  #drain(): void {
    while (this.#current !== undefined) {
      if (!this.#mayTake()) {
        this.#paused = true;
        this.#source.pause();
        this.#turn.later(this);
        return;
      }
      this.#step(this.#current);
    }
  }

  #step(frames: Iterator<RawFrame>): void {
    let next: IteratorResult<RawFrame> | undefined;
    try {
      next = frames.next();
    } catch (error) {
      this.#advance();
      const cause = error instanceof ProtocolError ? error : undefined;
      this.#sink.unreadable(cause ?? new ProtocolError("bad-frame", "cannot be decoded", { cause: error }));
      return;
    }
    if (next.done === true) this.#advance();
    else this.#sink.frame(next.value);
  }

  #advance(): void {
    this.#current = this.#waiting?.shift();
  }

  #mayTake(): boolean {
    const turn = this.#turn.number;
    if (turn !== this.#turnNumber) {
      this.#turnNumber = turn;
      this.#taken = 0;
    }
    return this.#taken++ < this.#framesPerTurn;
  }
}
