/**
 * The receiving half of a connection: the frames of its messages, one after another, in order, and no more of them in one
 * turn of the event loop than is fair to the others. Owns that budget and the pausing of the socket; never validates.
 */
import { ProtocolError } from "../../protocol/errors.ts";
import type { Turn, TurnTask } from "./turn.ts";

export type RawFrame = Record<string, unknown>;

export interface InboxParts {
  readonly turn: Turn;
  /** Takes a frame; must not throw. */
  readonly onFrame: (frame: RawFrame) => void;
  /** The rest of a message cannot be read. */
  readonly onUnreadable: (error: ProtocolError) => void;
  readonly pause: () => void;
  readonly resume: () => void;
}

export interface InboxOptions {
  /** Frames of one connection handled in one turn of the event loop (256); the rest waits for the next. */
  readonly framesPerTurn?: number;
}

export class Inbox implements TurnTask {
  readonly #parts: InboxParts;
  readonly #framesPerTurn: number;
  #current: Iterator<RawFrame> | undefined;
  /** Messages that the socket still had when it was paused. */
  #waiting: Iterator<RawFrame>[] | undefined;
  #turnNumber = -1;
  #taken = 0;
  #paused = false;
  #closed = false;

  constructor(parts: InboxParts, options: InboxOptions = {}) {
    this.#parts = parts;
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
    if (!this.#paused) this.#parts.resume();
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
        this.#parts.pause();
        this.#parts.turn.later(this);
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
      this.#parts.onUnreadable(
        cause ?? new ProtocolError("bad-frame", "cannot be decoded", { cause: error }),
      );
      return;
    }
    if (next.done === true) this.#advance();
    else this.#parts.onFrame(next.value);
  }

  #advance(): void {
    this.#current = this.#waiting?.shift();
  }

  #mayTake(): boolean {
    const turn = this.#parts.turn.number;
    if (turn !== this.#turnNumber) {
      this.#turnNumber = turn;
      this.#taken = 0;
    }
    return this.#taken++ < this.#framesPerTurn;
  }
}
