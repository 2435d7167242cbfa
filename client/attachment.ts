/**
 * The attachment of one session: keeps a view fed across lost connections, gaps and takeovers. Owns when to attach, from
 * which position, and when to give up for good. Never decides what a frame means (view.ts) and offers no commands
 * (session.ts).
 */
import type { Position, SessionInfo, Role } from "../protocol/content.ts";
import type { EntryBodyOf, EventFrame } from "../protocol/entries.ts";
import { ProtocolError } from "../protocol/errors.ts";
import type { OpenRequest, ResultOf, ServerFrame, ServerFrameOf, SessionState } from "../protocol/frames.ts";
import { between } from "./clock.ts";
import type { Clock } from "./clock.ts";
import { Emitter } from "./emitter.ts";
import type { TextDelta } from "./live.ts";
import { NOBODY, OwnPresence, presenceOf } from "./presence.ts";
import type { Presence } from "./presence.ts";
import { SessionView } from "./view.ts";

export interface AttachOptions {
  /** Messages of the first snapshot (50, at most 200). */
  readonly tail?: number;
  /**
   * Begin after this position instead of with a snapshot; `{epoch: 0, seq: 0}` gives every entry. From the middle of a
   * log there is no `state` unless the server answers with a snapshot, because the position is not of this log.
   */
  readonly after?: Position;
}

export interface SessionEvents {
  /** Each committed entry, once, in order. */
  entry: [entry: EventFrame];
  /** Unfinished text that became visible, also by a `live` after a gap. */
  delta: [delta: TextDelta];
  /** People are asked. What was open before is in the state. */
  request: [request: OpenRequest];
  /** A request is resolved: how, and by whom. */
  resolved: [request: OpenRequest, resolution: EntryBodyOf<"request-resolved">];
  /** The state changed. */
  state: [state: SessionState];
  /** The state was replaced by a snapshot: entries before it may never have been seen here. */
  snapshot: [state: SessionState];
  /** Caught up: what comes now is live. */
  live: [];
  /** Anything that a page shows may have changed: state, unfinished text, `caughtUp`. */
  change: [];
  /** The end: nothing comes any more. */
  detached: [error: ProtocolError];
  progress: [progress: ServerFrameOf<"toolProgress">];
  presence: [presence: Presence];
}

/** What an attachment needs of its client. */
export interface AttachmentLink {
  readonly clock: Clock;
  isOnline(): boolean;
  /** Rejects when there is no connection or it is lost; `received` runs before any later frame is looked at. */
  attach(
    frame: { session: string; after?: Position; tail?: number },
    received: (ok: ResultOf<"attach">) => void,
  ): Promise<unknown>;
  detach(session: string): void;
  /** Tells the server what we do, and waits for no answer. */
  setPresence(session: string, doing: { readonly typing?: true; readonly viewing?: string }): void;
  /** From now on this channel's parts and deltas are ours. */
  channel(channel: number, attachment: Attachment): void;
  /** Nothing more may be delivered here. */
  forget(attachment: Attachment): void;
}

export class Attachment {
  readonly session: string;
  readonly events = new Emitter<SessionEvents>();
  readonly view: SessionView;
  readonly own: OwnPresence;
  readonly #link: AttachmentLink;
  readonly #tail: number | undefined;
  #phase: "offline" | "attaching" | "attached" = "offline";
  #turn = 0;
  #failures = 0;
  #held: ServerFrame[] | undefined;
  #first = true;
  #endRetry: () => void = () => undefined;
  #ended: ProtocolError | undefined;
  #info: SessionInfo | undefined;
  #given: { readonly role: Role | undefined } | undefined;
  #presence = NOBODY;

  constructor(link: AttachmentLink, session: string, options: AttachOptions) {
    this.#link = link;
    this.session = session;
    this.#tail = options.tail;
    this.view = new SessionView(options.after);
    this.own = new OwnPresence({
      clock: link.clock,
      send: (doing) => {
        if (this.view.caughtUp) link.setPresence(session, doing);
      },
    });
  }

  get ended(): ProtocolError | undefined {
    return this.#ended;
  }

  /** How the session stood when it was attached last. */
  get info(): SessionInfo | undefined {
    return this.#info;
  }

  /** What the server said one may do here, when it was attached last; another object each time. */
  get given(): { readonly role: Role | undefined } | undefined {
    return this.#given;
  }

  get presence(): Presence {
    return this.#presence;
  }

  /** Resolves when the session is attached for the first time; rejects when it never will be. */
  attached(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) return reject(this.#ended);
      if (!this.#first) return resolve();
      const ends = [
        this.events.on("detached", (error) => settle(() => reject(error))),
        this.#onFirst(() => settle(resolve)),
      ];
      const settle = (act: () => void): void => {
        for (const end of ends) end();
        act();
      };
    });
  }

  readonly #firstListeners = new Set<() => void>();
  #onFirst(listener: () => void): () => void {
    this.#firstListeners.add(listener);
    return () => void this.#firstListeners.delete(listener);
  }

  online(): void {
    if (this.#ended === undefined) this.#attach(this.view.position);
  }

  offline(): void {
    if (this.#ended !== undefined) return;
    this.#turn++;
    this.#endRetry();
    this.#phase = "offline";
    this.#held = undefined;
    this.view.behind();
    this.events.emit("change");
  }

  /** A frame of this session or of its channel. */
  receive(frame: ServerFrame): void {
    // Before the answer to our attach, what comes belongs to an attachment that it replaces.
    if (this.#phase !== "attached") return;
    if (this.#held !== undefined) this.#held.push(frame);
    else this.#take(frame);
  }

  /** Ends it for good: by us, by the server, or with the client. */
  end(error: ProtocolError): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    this.#turn++;
    this.#endRetry();
    if (this.#phase !== "offline") this.#link.detach(this.session);
    this.#link.forget(this);
    this.own.end();
    this.view.behind();
    this.events.emit("detached", error);
    this.events.emit("change");
  }

  #attach(after: Position | undefined): void {
    const turn = ++this.#turn;
    this.#endRetry();
    this.#phase = "attaching";
    this.#held = undefined;
    this.view.behind();
    const frame = {
      session: this.session,
      ...(after === undefined ? {} : { after }),
      ...(this.#tail === undefined ? {} : { tail: this.#tail }),
    };
    this.#link
      .attach(frame, (ok) => {
        if (turn === this.#turn) this.#attached(ok);
      })
      .catch((error: unknown) => {
        if (turn === this.#turn) this.#refused(error);
      });
  }

  #attached(ok: ResultOf<"attach">): void {
    this.#phase = "attached";
    this.#info = ok.session;
    this.#given = { role: ok.role };
    this.#link.channel(ok.channel, this);
    if (ok.snapshot !== undefined) {
      this.view.snapshot(ok.snapshot);
      this.events.emit("snapshot", ok.snapshot.state);
      this.events.emit("state", ok.snapshot.state);
      this.events.emit("change");
    }
    if (!this.#first) return;
    this.#first = false;
    // Whoever awaits the attach gets a turn to listen before the first entry is handed out.
    this.#held = [];
    const turn = this.#turn;
    this.#link.clock.after(0, () => {
      if (turn !== this.#turn) return;
      const held = this.#held ?? [];
      this.#held = undefined;
      for (const frame of held) if (turn === this.#turn) this.#take(frame);
    });
    for (const listener of this.#firstListeners) listener();
  }

  #refused(error: unknown): void {
    if (error instanceof ProtocolError && !error.retryable) {
      this.#phase = "offline";
      return this.end(error);
    }
    // Without a connection the next one attaches.
    if (!this.#link.isOnline()) return;
    this.#again(this.view.position, error instanceof ProtocolError ? error.retryAfterMs : undefined);
  }

  /** Attaches anew: at once the first time, later and later while that does not help. */
  #again(after: Position | undefined, leastMs = 0): void {
    this.#turn++;
    this.#endRetry();
    this.#phase = "attaching";
    this.view.behind();
    const failures = this.#failures++;
    if (failures === 0 && leastMs === 0) return this.#attach(after);
    const wait =
      leastMs + between(this.#link.clock, 100, Math.min(10_000, 250 * 2 ** Math.min(failures, 10)));
    this.#endRetry = this.#link.clock.after(wait, () => this.#attach(after));
  }

  #take(frame: ServerFrame): void {
    switch (frame.type) {
      case "event":
        return this.#event(frame);
      case "part":
        if (this.view.part(frame)) this.events.emit("change");
        return;
      case "delta": {
        const delta = this.view.delta(frame);
        if (delta === undefined) return;
        this.events.emit("delta", delta);
        this.events.emit("change");
        return;
      }
      case "live": {
        const added = this.view.live(frame);
        if (added === "lost") return this.#again(undefined);
        this.#failures = 0;
        for (const delta of added) this.events.emit("delta", delta);
        this.own.live();
        this.events.emit("live");
        this.events.emit("change");
        return;
      }
      case "detached":
        return this.#detached(frame.reason);
      case "toolProgress":
        this.events.emit("progress", frame);
        return;
      case "presence":
        this.#presence = presenceOf(frame);
        this.events.emit("presence", this.#presence);
        return;
      default:
    }
  }

  #event(frame: ServerFrameOf<"event">): void {
    const entry: EventFrame = frame;
    const before = this.view.state;
    const applied = this.view.event(entry);
    if (applied === "lost") this.#again(undefined);
    if (applied !== "applied") return;
    this.events.emit("entry", entry);
    const { state } = this.view;
    this.#tellRequest(entry, before, state);
    if (state !== undefined && state !== before) this.events.emit("state", state);
    this.events.emit("change");
  }

  #tellRequest(
    { event }: EventFrame,
    before: SessionState | undefined,
    after: SessionState | undefined,
  ): void {
    if (event.type !== "request-opened" && event.type !== "request-resolved") return;
    const of = event.type === "request-opened" ? after : before;
    const request = of?.requests.find((item) => item.request === event.request);
    if (request === undefined) return;
    if (event.type === "request-opened") this.events.emit("request", request);
    else this.events.emit("resolved", request, event);
  }

  #detached(reason: ServerFrameOf<"detached">["reason"]): void {
    if (reason === "position-lost") this.#again(undefined);
    else if (reason === "unavailable") this.#again(this.view.position, 1);
    else {
      this.#phase = "offline";
      const code = reason === "forbidden" ? "forbidden" : "not-found";
      this.end(new ProtocolError(code, `detached: ${reason}`, { details: { reason } }));
    }
  }
}
