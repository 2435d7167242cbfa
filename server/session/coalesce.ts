/**
 * Streamed text on its way out: the first piece at once, what follows within the window as one piece a part. Owns when
 * text is sent and how much of it together, so that a quick model costs a slow rate of frames; never the text itself
 * (live.ts) and never a reader.
 */

/** A piece of one part's text, beginning at `offset` (UTF-16 units). */
export interface Piece {
  readonly part: number;
  readonly offset: number;
  readonly text: string;
}

/** Calls back once, in so many ms. */
export type Schedule = (ms: number, callback: () => void) => void;

export class Coalescer {
  readonly #windowMs: number;
  readonly #send: (message: string, piece: Piece) => void;
  readonly #schedule: Schedule;
  #message = "";
  /** By part, in the order in which they were touched. */
  readonly #waiting = new Map<number, { part: number; offset: number; text: string }>();
  /** Something was sent less than a window ago. */
  #busy = false;

  /** `windowMs` 0: every piece is sent as it comes. */
  constructor(windowMs: number, send: (message: string, piece: Piece) => void, schedule: Schedule) {
    this.#windowMs = windowMs;
    this.#send = send;
    this.#schedule = schedule;
  }

  add(message: string, piece: Piece): void {
    if (message !== this.#message) this.flush();
    this.#message = message;
    const waiting = this.#waiting.get(piece.part);
    if (waiting !== undefined) waiting.text += piece.text;
    else if (this.#busy) this.#waiting.set(piece.part, { ...piece });
    else {
      this.#send(message, piece);
      this.#open();
    }
  }

  /** Sends what waits: before anything that must come after it. */
  flush(): void {
    if (this.#waiting.size === 0) return;
    const pieces = [...this.#waiting.values()];
    // First: a reader may come back while they are sent, and asks for what waits.
    this.#waiting.clear();
    for (const piece of pieces) this.#send(this.#message, piece);
  }

  #open(): void {
    if (this.#windowMs === 0) return;
    this.#busy = true;
    this.#schedule(this.#windowMs, () => {
      this.#busy = false;
      if (this.#waiting.size === 0) return;
      this.flush();
      this.#open();
    });
  }
}
