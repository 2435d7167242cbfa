/**
 * A session as one attached client sees it, over as many connections as it takes: the entries with their raw bytes, their
 * fold, the text that is shown by the wire's rule for deltas. Written from SPEC.md §10 alone, beside client/ and the
 * server. Owns the list of `faults`: every frame that breaks a promise is noted there, so tests assert that it is empty.
 */
import type { EventFrame } from "../../protocol/entries.ts";
import type { SessionState } from "../../protocol/frames.ts";
import { fold } from "../../protocol/state.ts";
import { Refused, WireOver, PATIENCE_MS, type Frame, type Received, type Wire } from "./wire.ts";

interface ShownPart {
  readonly part: number;
  readonly kind: string;
  text: string;
}

export class Reader {
  readonly session: string;
  /** What broke the rules, in words. */
  readonly faults: string[] = [];
  /** Entries that were received, once each, with the bytes they came in. */
  readonly entries: { readonly entry: EventFrame; readonly raw: Uint8Array | string }[] = [];
  /** Types of all frames since the last attach, `event` and `delta` included, for tests of order. */
  trace: string[] = [];
  state: SessionState | undefined;
  position: { epoch: number; seq: number } | undefined;
  /** Replay is over; what comes is live. */
  live = false;
  /** How often `live` came, and how many attaches were answered by a snapshot. */
  lives = 0;
  snapshots = 0;
  /** What is shown of the messages that are not committed yet. */
  readonly shown = new Map<string, ShownPart[]>();
  /** The text and reasoning that were shown of a message when it was committed. */
  readonly shownAtCommit = new Map<string, string>();
  /** Messages that were committed or abandoned. */
  readonly #over = new Set<string>();
  readonly #tail: number | undefined;
  readonly #crashes: boolean;
  /** No `live` has come since the attach. */
  #returning = false;
  #wire: Wire | undefined;
  #listener: ((received: Received) => void) | undefined;
  #channel: number | undefined;
  readonly #wakers = new Set<() => void>();

  /**
   * `after`: the position to begin at; without it the first attach gets a snapshot. `crashes`: a server may die under this
   * reader, and what comes after that may know less of an unfinished text than was shown.
   */
  constructor(
    session: string,
    options: { after?: { epoch: number; seq: number }; tail?: number; crashes?: boolean } = {},
  ) {
    this.session = session;
    this.position = options.after;
    this.#tail = options.tail;
    this.#crashes = options.crashes ?? false;
  }

  /** From the first entry on. */
  static fromStart(session: string): Reader {
    return new Reader(session, { after: { epoch: 0, seq: 0 } });
  }

  /** Attaches on a connection where this reader left off, and resolves with the `ok`; what follows is taken as it comes. Rejects with Refused. */
  async attach(wire: Wire): Promise<Frame> {
    this.#leave();
    const id = wire.newRequest();
    const answers = ({ frame }: Received): boolean => frame["id"] === id;
    this.#wire = wire;
    this.#channel = undefined;
    this.live = false;
    this.#returning = true;
    this.trace = [];
    const listener = (received: Received): void => {
      if (answers(received)) this.#attached(received.frame);
      else if (this.#channel !== undefined) this.#take(received);
      this.#wake();
    };
    this.#listener = listener;
    wire.listeners.add(listener);
    wire.send({
      type: "attach",
      id,
      session: this.session,
      ...(this.position === undefined ? {} : { after: this.position }),
      ...(this.#tail === undefined ? {} : { tail: this.#tail }),
    });
    const answer = await wire.frame((frame) => frame["id"] === id, { what: "the answer to attach" });
    if (answer["type"] !== "ok") throw new Refused("attach", answer);
    return answer;
  }

  /** Attaches and waits for `live`. */
  async enter(wire: Wire): Promise<Frame> {
    const ok = await this.attach(wire);
    await this.until(() => this.live, "live");
    return ok;
  }

  /** Asks now and after every frame until `look` answers something truthy. Rejects when the connection ends first. */
  until<T>(look: () => T, what: string, ms = PATIENCE_MS): Promise<NonNullable<T>> {
    const wire = this.#wire;
    return new Promise((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#wakers.delete(again);
      };
      const again = (): void => {
        const found = look();
        if (found) {
          done();
          resolve(found);
        } else if (wire?.over) {
          done();
          reject(new WireOver(`the connection ended before ${what}`));
        }
      };
      const timer = setTimeout(() => {
        done();
        const at = JSON.stringify(this.position);
        reject(new Error(`waited ${ms} ms for ${what} of ${this.session}; at ${at}, live: ${this.live}`));
      }, ms);
      this.#wakers.add(again);
      void wire?.closed.then(again);
      again();
    });
  }

  /** The first entry that matches among those received so far and those to come. */
  entry(match: string | ((entry: EventFrame) => boolean), ms = PATIENCE_MS): Promise<EventFrame> {
    const fits = typeof match === "string" ? (entry: EventFrame) => entry.event.type === match : match;
    let at = 0;
    const look = (): EventFrame | undefined => {
      while (at < this.entries.length) {
        const { entry } = this.entries[at++]!;
        if (fits(entry)) return entry;
      }
      return undefined;
    };
    return this.until(look, typeof match === "string" ? match : "an entry", ms);
  }

  /** The end of the run that an input started. */
  async runOf(input: string, ms = PATIENCE_MS): Promise<EventFrame> {
    const started = await this.entry(
      ({ event }) => event.type === "run-started" && event.input === input,
      ms,
    );
    return this.entry(({ event, run }) => event.type === "run-finished" && run === started.run, ms);
  }

  /** The entries' bodies, for tests of their order. */
  get types(): string[] {
    return this.entries.map(({ entry }) => entry.event.type);
  }

  #leave(): void {
    if (this.#listener !== undefined) this.#wire?.listeners.delete(this.#listener);
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#wakers) wake();
  }

  #fault(text: string): void {
    this.faults.push(`${this.session} at ${JSON.stringify(this.position)}: ${text}`);
  }

  #attached(frame: Frame): void {
    if (frame["type"] !== "ok") return;
    this.#channel = frame["channel"] as number;
    if (frame["mode"] === "snapshot") {
      const snapshot = frame["snapshot"] as { epoch: number; seq: number; state: SessionState };
      this.snapshots++;
      this.state = snapshot.state;
      this.position = { epoch: snapshot.epoch, seq: snapshot.seq };
      if (snapshot.seq !== frame["head"])
        this.#fault(`a snapshot of ${snapshot.seq} under head ${frame["head"]}`);
    } else if ((this.position?.seq ?? 0) > (frame["head"] as number)) {
      this.#fault(`head ${frame["head"]} is behind the position`);
    }
  }

  #take({ frame, raw }: Received): void {
    const type = frame["type"] as string;
    const mine = "channel" in frame ? frame["channel"] === this.#channel : frame["session"] === this.session;
    if (!mine) return;
    this.trace.push(type);
    if (type === "event") this.#event(frame as unknown as EventFrame, raw);
    else if (type === "live") this.#live(frame);
    else if (type === "part") this.#part(frame);
    else if (type === "delta") this.#delta(frame);
    else if (type === "detached") this.live = false;
  }

  #event(entry: EventFrame, raw: Uint8Array | string): void {
    const { epoch, seq } = this.position ?? { epoch: 0, seq: 0 };
    if (entry.seq !== seq + 1) {
      this.#fault(`entry ${entry.seq} follows ${seq}`);
      return;
    }
    if (entry.epoch < epoch) this.#fault(`epoch ${entry.epoch} follows ${epoch}`);
    this.position = { epoch: entry.epoch, seq: entry.seq };
    this.entries.push({ entry, raw });
    if (this.state !== undefined || entry.seq === 1) this.state = fold(this.state, entry);
    const { event } = entry;
    if (event.type === "message")
      this.#committed(event.message.id, event.message.parts, event.incomplete === true);
    else if (event.type === "message-abandoned") this.#close(event.message);
    else if (event.type === "run-finished") {
      const left = [...this.shown.values()].flat().filter(({ text }) => text !== "");
      // In a replay it is the text of a process that died, and the next `live` clears it.
      if (this.live && left.length > 0)
        this.#fault(`${quote(left[0]!.text)} is neither committed nor abandoned`);
      this.shown.clear();
    }
  }

  /** What was shown is the beginning of what is committed: nothing doubled, nothing left out, nothing taken back. */
  #committed(
    message: string,
    parts: readonly { readonly type: string; readonly text?: string }[],
    incomplete: boolean,
  ): void {
    const shown = this.shown.get(message) ?? [];
    const visible = shown.filter(({ kind }) => kind !== "tool-input").map(({ text }) => text);
    if (shown.length > 0) this.shownAtCommit.set(message, visible.join("|"));
    for (const kind of ["text", "reasoning"]) {
      const before = shown.filter((part) => part.kind === kind);
      const after = parts.filter((part) => part.type === kind);
      for (const [at, { text }] of before.entries()) {
        const committed = after[at]?.text ?? "";
        // After a crash what was kept of it is committed, when its run had been cancelled.
        const isOlder = this.#crashes && incomplete && text.startsWith(committed);
        if (!committed.startsWith(text) && !isOlder)
          this.#fault(`shown ${quote(text)}, committed ${quote(committed)}`);
      }
    }
    this.#close(message);
  }

  #close(message: string): void {
    this.shown.delete(message);
    this.#over.add(message);
  }

  #live(frame: Frame): void {
    this.lives++;
    this.live = true;
    const { epoch, seq } = this.position ?? { epoch: 0, seq: 0 };
    if (frame["seq"] !== seq) this.#fault(`live at ${frame["seq"]}, entries up to ${seq}`);
    if (seq > 0 && frame["epoch"] !== epoch)
      this.#fault(`live of epoch ${frame["epoch"]}, entries of ${epoch}`);
    const partial = frame["partial"] as Frame | undefined;
    const before = partial && this.shown.get(partial["message"] as string);
    this.shown.clear();
    const returning = this.#returning;
    this.#returning = false;
    if (partial === undefined) return;
    const message = partial["message"] as string;
    if (this.#over.has(message)) this.#fault(`live shows ${message}, which is over`);
    const parts = (partial["parts"] as ShownPart[]).map(({ part, kind, text }) => ({ part, kind, text }));
    for (const { part, text } of before ?? []) {
      const now = parts.find((item) => item.part === part)?.text ?? "";
      const isOlder = this.#crashes && returning && text.startsWith(now);
      if (!now.startsWith(text) && !isOlder)
        this.#fault(`live has ${quote(now)} where ${quote(text)} was shown`);
    }
    this.shown.set(message, parts);
  }

  #part(frame: Frame): void {
    const { message, part, kind } = frame as { message: string; part: number; kind: string };
    if (!this.live) this.#fault("a part before live");
    if (this.#over.has(message)) this.#fault(`a part of ${message}, which is over`);
    const parts = this.shown.get(message) ?? [];
    if (parts.some((item) => item.part === part)) this.#fault(`part ${part} of ${message} begins twice`);
    this.shown.set(message, [...parts, { part, kind, text: "" }]);
  }

  #delta(frame: Frame): void {
    const { message, offset, text } = frame as { message: string; offset: number; text: string };
    if (!this.live) this.#fault("a delta before live");
    if (this.#over.has(message)) this.#fault(`a delta of ${message}, which is over`);
    const part = this.shown.get(message)?.find((item) => item.part === frame["part"]);
    if (part === undefined) {
      this.#fault(`a delta of an unknown part ${frame["part"]} of ${message}`);
      return;
    }
    if (offset > part.text.length) {
      this.#fault(`a delta at ${offset}, but there are ${part.text.length}`);
      return;
    }
    const known = part.text.slice(offset);
    const overlap = Math.min(known.length, text.length);
    if (known.slice(0, overlap) !== text.slice(0, overlap)) this.#fault("a delta rewrites what was shown");
    part.text += text.slice(known.length);
  }
}

function quote(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 30)}…${text.slice(-30)}` : text);
}
