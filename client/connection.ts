/**
 * One connection that comes back: the state machine idle → connecting → online ⇄ reconnecting → closed. Owns which socket
 * serves, welcome, ping and pong, the silence watchdog, when to try again and when not to. A change that was planned makes
 * the next socket before it breaks the last. A dead socket's late events change nothing. Knows no request and no session.
 */
import { decodeBinary, decodeText } from "../protocol/codec.ts";
import { afterClose } from "../protocol/errors.ts";
import type { ErrorCode } from "../protocol/errors.ts";
import type { ServerFrame, ServerFrameOf } from "../protocol/frames.ts";
import { Backoff } from "./backoff.ts";
import type { BackoffOptions, RetryHint } from "./backoff.ts";
import { between } from "./clock.ts";
import type { Clock } from "./clock.ts";
import { describe, Dial } from "./dial.ts";
import type { DialOptions } from "./dial.ts";
import { watchPage } from "./page.ts";
import type { OpenTransport } from "./transport.ts";

/** `connecting` until the first welcome, `reconnecting` after it; either may be waiting for `retryAt`. */
export type ConnectionState = "idle" | "connecting" | "online" | "reconnecting" | "closed";
export type Welcome = ServerFrameOf<"welcome">;

export interface ConnectionStatus {
  readonly state: ConnectionState;
  /** Since when, in ms since 1970. */
  readonly since: number;
  /** When the next attempt begins, if none is running. */
  readonly retryAt?: number;
  /** Why the connection is not online, in words. */
  readonly reason?: string;
  /** What the server refused the hello with, if it did. */
  readonly code?: ErrorCode;
}

export interface ConnectionOptions extends DialOptions {
  readonly backoff: BackoffOptions;
}

export interface ConnectionEvents {
  /** Resolves when what has to be said at first is answered: until then a socket that served before is kept. */
  online(welcome: Welcome): Promise<unknown>;
  /** The connection was online and is not any more. */
  offline(reason: string): void;
  /** Every frame as it came, those that the connection itself obeys included. */
  frame(frame: ServerFrame): void;
  /** A frame of a socket that serves no more but is not closed yet; the answer is sent on it. */
  late(frame: ServerFrame): object | undefined;
  status(status: ConnectionStatus): void;
  /** Must make the server answer something, for instance by a request. */
  probe(): void;
}

/** Between two tries to move away from a server that stops, from and to. */
const MOVE_AGAIN_MS = [250, 1_000] as const;
/** A socket that served before is kept no longer. */
const RETIRE_LIMIT_MS = 5_000;
const SILENCE_SLACK_MS = 10_000;
const PROBE_LIMIT_MS = 3_000;
/** A timer later than this was throttled or slept: what it missed may be waiting in the socket. */
const LATE_MS = 2_000;
const AWAKE_SPREAD_MS = 250;

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #open: OpenTransport;
  readonly #clock: Clock;
  readonly #events: ConnectionEvents;
  readonly #backoff: Backoff;
  readonly #forgetPage: () => void;
  #status: ConnectionStatus;
  #socket: Dial | undefined;
  /** The one that takes its place once it is welcomed. */
  #next: Dial | undefined;
  /** The one before it, until the new one has said what it has to. */
  #retired: Dial | undefined;
  #welcome: Welcome | undefined;
  #wasOnline = false;
  #stopped = false;
  #left = false;
  #probing = false;
  #heardAt = 0;
  #refusal:
    | { readonly code: ErrorCode; readonly reason: string; readonly retryAfterMs: number | undefined }
    | undefined;
  /** When the server wants this client back, if it said goaway. */
  #comeBackAt: number | undefined;
  /** The wait for the next attempt. */
  #endWait: () => void = () => undefined;
  #endWatch: () => void = () => undefined;
  #endGoaway: () => void = () => undefined;
  #endMove: () => void = () => undefined;
  #endRetired: () => void = () => undefined;

  constructor(options: ConnectionOptions, open: OpenTransport, clock: Clock, events: ConnectionEvents) {
    this.#options = options;
    this.#open = open;
    this.#clock = clock;
    this.#events = events;
    this.#backoff = new Backoff(options.backoff, clock);
    this.#status = { state: "idle", since: clock.now() };
    this.#forgetPage = watchPage({
      awake: () => this.#awake(),
      networkLost: () => this.#probe(),
      left: () => this.#leave(),
    });
  }

  get status(): ConnectionStatus {
    return this.#status;
  }

  /** What the server said of itself; undefined unless online. */
  get welcome(): Welcome | undefined {
    return this.#welcome;
  }

  /** Tries now: at first, while waiting for a retry, or after the server ended it. No-op when trying, online or closed by us. */
  start(): void {
    const { state, retryAt } = this.#status;
    if (this.#stopped || (state !== "idle" && state !== "closed" && retryAt === undefined)) return;
    this.#attempt();
  }

  /** As `start`; online it opens another socket, and lets the one that serves go when that is welcomed and ready. */
  renew(): void {
    if (this.#welcome === undefined) this.start();
    else this.#move();
  }

  /** Sends bytes or text that the codec made; false when not online. */
  send(data: Uint8Array | string): boolean {
    if (this.#welcome === undefined || this.#socket === undefined) return false;
    this.#socket.send(data);
    return true;
  }

  /** The last act: closes and never comes back. */
  stop(reason: string): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#forgetPage();
    this.#drop(reason);
    this.#end(reason);
  }

  #attempt(): void {
    this.#endWait();
    this.#refusal = undefined;
    this.#comeBackAt = undefined;
    this.#setStatus(this.#wasOnline ? "reconnecting" : "connecting", {});
    this.#socket = this.#dial();
    void this.#socket.begin();
  }

  #dial(): Dial {
    const dial: Dial = new Dial(this.#options, this.#open, this.#clock, {
      received: (data) => this.#received(dial, data),
      lost: (code, reason) => this.#lost(dial, code, this.#refusal?.reason ?? reason),
    });
    return dial;
  }

  /** Tries to have another socket, while this one serves. */
  #move(): void {
    if (this.#next !== undefined) return;
    this.#endMove();
    this.#next = this.#dial();
    void this.#next.begin();
  }

  /** This one goes on; away from a server that stops it is tried again as long as that keeps it. */
  #moveFailed(): void {
    this.#next?.close();
    this.#next = undefined;
    if (this.#comeBackAt === undefined) return;
    this.#endMove = this.#clock.after(between(this.#clock, ...MOVE_AGAIN_MS), () => this.#move());
  }

  /** The next socket serves from here on. */
  #moved(welcome: Welcome): void {
    const old = this.#socket;
    this.#endServing();
    this.#welcome = undefined;
    this.#socket = this.#next;
    this.#next = undefined;
    this.#endRetired();
    this.#retired = old;
    this.#heardAt = this.#clock.now();
    this.#events.offline("moved to another socket");
    const endLimit = this.#clock.after(RETIRE_LIMIT_MS, () => this.#endRetired());
    const end = (this.#endRetired = () => {
      endLimit();
      old?.close();
      if (this.#retired === old) this.#retired = undefined;
    });
    this.#online(welcome, end);
  }

  #received(dial: Dial, data: Uint8Array | string): void {
    if (dial === this.#socket) this.#heardAt = this.#clock.now();
    try {
      for (const item of typeof data === "string" ? decodeText(data) : decodeBinary(data)) {
        const frame = item as ServerFrame;
        // The frame before may have changed what this socket is.
        if (dial === this.#socket) this.#obey(dial, frame);
        else if (dial === this.#retired) this.#answerLate(dial, frame);
        else if (dial !== this.#next) return;
        else if (frame.type === "welcome") this.#moved(frame);
        else if (frame.type === "error") this.#moveFailed();
      }
    } catch (error) {
      this.#lost(dial, 1006, `the server sent what is no frame: ${describe(error)}`);
    }
  }

  #answerLate(dial: Dial, frame: ServerFrame): void {
    const answer = this.#events.late(frame);
    if (answer !== undefined) dial.write(answer);
  }

  #obey(socket: Dial, frame: ServerFrame): void {
    switch (frame.type) {
      case "welcome":
        if (this.#welcome === undefined) this.#online(frame);
        return;
      case "ping":
        // Inside the message handler, for a hidden page's timers may sleep for a minute.
        socket.write({ type: "pong" });
        break;
      case "error":
        if (this.#welcome === undefined) {
          const { code, message, retryAfterMs } = frame;
          this.#refusal = { code, reason: `${code}: ${message}`, retryAfterMs };
        }
        break;
      case "goaway":
        this.#goAway(frame.reconnectAfterMs);
        break;
      default:
    }
    this.#events.frame(frame);
    if (frame.type === "disconnect") {
      // A stuck peer's close frame may never come: this one is enough.
      this.#lost(socket, frame.code, this.#refusal?.reason ?? frame.reason, frame.reconnect);
    }
  }

  #online(welcome: Welcome, ready: () => void = () => undefined): void {
    this.#socket?.welcomed();
    this.#welcome = welcome;
    this.#wasOnline = true;
    this.#backoff.online();
    this.#watch();
    this.#setStatus("online", {});
    this.#events.frame(welcome);
    void this.#events.online(welcome).then(ready, ready);
  }

  /** The server closes this socket when it has to; until then it is better than none. */
  #goAway(window: readonly [number, number]): void {
    this.#endGoaway();
    const wait = between(this.#clock, ...window);
    this.#comeBackAt = this.#clock.now() + wait;
    this.#endGoaway = this.#clock.after(wait, () => this.#move());
  }

  /** Every end of a socket or an attempt that we did not want: decides whether and when there is another. */
  #lost(dial: Dial, code: number, reason: string, mayReturn = true): void {
    if (dial === this.#next) return this.#moveFailed();
    if (dial !== this.#socket) return;
    if (this.#next !== undefined) return this.#promote(reason || `closed with ${code}`);
    const retryAfterMs = this.#refusal?.retryAfterMs;
    const comeBackAt = this.#comeBackAt;
    const words = reason || `closed with ${code}`;
    const next = mayReturn ? afterClose(code) : "stop";
    this.#drop(words);
    if (next === "stop") return this.#end(words);
    if (next === "new-token" && typeof this.#options.token !== "function") return this.#end(words);
    const now = this.#clock.now();
    const hint: RetryHint = {
      // Something went wrong with the fresh token too, if this happens twice: the backoff grows.
      slow: code >= 4100 && code <= 4299,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      ...(comeBackAt === undefined ? {} : { window: [comeBackAt - now, comeBackAt - now] as const }),
    };
    this.#retryIn(Math.max(0, this.#backoff.next(hint)), words);
  }

  /** The next socket was on its way already, as when the server lets go of this one because of it. */
  #promote(reason: string): void {
    const next = this.#next;
    this.#next = undefined;
    this.#drop(reason);
    this.#socket = next;
    this.#setStatus("reconnecting", { reason });
  }

  #retryIn(wait: number, reason: string | undefined): void {
    this.#endWait();
    const state = this.#wasOnline ? "reconnecting" : "connecting";
    this.#setStatus(state, {
      retryAt: this.#clock.now() + wait,
      ...(reason === undefined ? {} : { reason }),
    });
    this.#endWait = this.#clock.after(wait, () => this.#attempt());
  }

  /** Forgets every socket. */
  #drop(reason: string): void {
    this.#endWait();
    this.#endServing();
    this.#endRetired();
    const [socket, next] = [this.#socket, this.#next];
    const wasOnline = this.#welcome !== undefined;
    this.#socket = undefined;
    this.#next = undefined;
    this.#welcome = undefined;
    socket?.close();
    next?.close();
    if (wasOnline) this.#events.offline(reason);
  }

  /** What is due because of the socket that served. */
  #endServing(): void {
    this.#endWatch();
    this.#endGoaway();
    this.#endMove();
    this.#probing = false;
    this.#comeBackAt = undefined;
  }

  #end(reason: string): void {
    this.#setStatus("closed", { reason });
  }

  #watch(): void {
    const socket = this.#socket;
    const limit = (this.#welcome?.pingMs ?? 0) + SILENCE_SLACK_MS;
    const due = this.#heardAt + limit;
    this.#endWatch();
    this.#endWatch = this.#clock.after(due - this.#clock.now(), () => {
      if (socket === undefined || socket !== this.#socket) return;
      const now = this.#clock.now();
      if (now - this.#heardAt < limit) this.#watch();
      else if (now - due > LATE_MS) {
        this.#probe();
        this.#endWatch = this.#clock.after(PROBE_LIMIT_MS + 1, () => this.#watch());
      } else this.#lost(socket, 1006, `nothing heard for ${Math.round((now - this.#heardAt) / 1000)} s`);
    });
  }

  /** Asks for a sign of life and gives it 3 s. */
  #probe(): void {
    if (this.#welcome === undefined || this.#probing) return;
    const socket = this.#socket;
    const heardAt = this.#heardAt;
    this.#probing = true;
    this.#events.probe();
    this.#clock.after(PROBE_LIMIT_MS, () => {
      if (socket === undefined || socket !== this.#socket) return;
      this.#probing = false;
      if (this.#heardAt === heardAt) this.#lost(socket, 1006, "no answer to a probe");
    });
  }

  #awake(): void {
    if (this.#stopped || this.#status.state === "closed") return;
    this.#left = false;
    if (this.#welcome !== undefined) {
      const silent = this.#clock.now() - this.#heardAt;
      if (silent > this.#welcome.pingMs + SILENCE_SLACK_MS)
        this.#lost(this.#socket!, 1006, "silent while asleep");
      else this.#probe();
    } else if (this.#status.retryAt !== undefined || this.#left) {
      this.#retryIn(between(this.#clock, 0, AWAKE_SPREAD_MS), this.#status.reason);
    }
  }

  #leave(): void {
    if (this.#stopped || this.#status.state === "closed" || this.#status.state === "idle") return;
    this.#left = true;
    this.#drop("the page was left");
    this.#setStatus("reconnecting", { retryAt: Number.MAX_SAFE_INTEGER, reason: "the page was left" });
  }

  #setStatus(state: ConnectionState, rest: { retryAt?: number; reason?: string }): void {
    const since = state === this.#status.state ? this.#status.since : this.#clock.now();
    const refused = state === "online" || this.#refusal === undefined ? {} : { code: this.#refusal.code };
    this.#status = { state, since, ...rest, ...refused };
    this.#events.status(this.#status);
  }
}
