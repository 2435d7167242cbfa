/**
 * One connection that comes back: the state machine idle → connecting → online ⇄ reconnecting → closed. Owns the
 * socket, hello and welcome, ping and pong, the silence watchdog, when to try again and when not to. Sockets are told
 * apart by generation, so a dead socket's late events change nothing. Knows no request and no session.
 */
import { decodeBinary, decodeText, encodeFrame, encodeJsonFrame } from "../protocol/codec.ts";
import { afterClose } from "../protocol/errors.ts";
import type { ErrorCode } from "../protocol/errors.ts";
import type { ServerFrame, ServerFrameOf } from "../protocol/frames.ts";
import { toJsonValue } from "../protocol/values.ts";
import type { Encoding } from "../protocol/version.ts";
import { PROTOCOL_VERSION, SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK } from "../protocol/version.ts";
import { Backoff } from "./backoff.ts";
import type { BackoffOptions, RetryHint } from "./backoff.ts";
import { between } from "./clock.ts";
import type { Clock } from "./clock.ts";
import { watchPage } from "./page.ts";
import type { OpenTransport, Transport } from "./transport.ts";

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

export interface ConnectionOptions {
  readonly url: string;
  readonly instance: string;
  /** Asked before every attempt. */
  readonly token?: string | (() => string | Promise<string>);
  readonly user?: { readonly id: string; readonly name?: string };
  readonly client?: { readonly name: string; readonly version?: string };
  readonly encoding: Encoding;
  readonly backoff: BackoffOptions;
}

export interface ConnectionEvents {
  online(welcome: Welcome): void;
  /** The connection was online and is not any more. */
  offline(reason: string): void;
  /** Every frame as it came, those that the connection itself obeys included. */
  frame(frame: ServerFrame): void;
  status(status: ConnectionStatus): void;
  /** Must make the server answer something, for instance by a request. */
  probe(): void;
}

const ATTEMPT_LIMIT_MS = 8_000;
const TOKEN_LIMIT_MS = 30_000;
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
  #generation = 0;
  #transport: Transport | undefined;
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
  /** The running attempt's limit, or the wait for the next attempt. */
  #endWait: () => void = () => undefined;
  #endWatch: () => void = () => undefined;
  #endGoaway: () => void = () => undefined;

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
    void this.#attempt();
  }

  /** Sends bytes or text that the codec made; false when not online. */
  send(data: Uint8Array | string): boolean {
    if (this.#welcome === undefined || this.#transport === undefined) return false;
    this.#transport.send(data);
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

  async #attempt(): Promise<void> {
    this.#endWait();
    const generation = ++this.#generation;
    this.#refusal = undefined;
    this.#comeBackAt = undefined;
    this.#setStatus(this.#wasOnline ? "reconnecting" : "connecting", {});
    this.#endWait = this.#clock.after(TOKEN_LIMIT_MS, () => this.#lost(generation, 1006, "no token in time"));
    let token: string | undefined;
    try {
      const given = this.#options.token;
      token = typeof given === "function" ? await given() : given;
    } catch (error) {
      this.#lost(generation, 1006, `no token: ${describe(error)}`);
      return;
    }
    if (generation !== this.#generation) return;
    this.#endWait();
    this.#endWait = this.#clock.after(ATTEMPT_LIMIT_MS, () =>
      this.#lost(generation, 1006, "no welcome in time"),
    );
    try {
      const protocols = [this.#options.encoding === "json" ? SUBPROTOCOL_JSON : SUBPROTOCOL_MSGPACK];
      const transport = await this.#open(this.#options.url, protocols, {
        opened: (transport) => this.#opened(generation, transport, token),
        received: (data) => this.#received(generation, data),
        closed: (code, reason) => this.#lost(generation, code, this.#refusal?.reason ?? reason),
      });
      if (generation === this.#generation) this.#transport = transport;
      else transport.close();
    } catch (error) {
      this.#lost(generation, 1006, describe(error));
    }
  }

  #opened(generation: number, transport: Transport, token: string | undefined): void {
    if (generation !== this.#generation) return;
    this.#transport = transport;
    const { user, client, instance } = this.#options;
    this.#write({
      type: "hello",
      id: 0,
      protocol: PROTOCOL_VERSION,
      instance,
      ...(token === undefined ? {} : { token }),
      ...(user === undefined ? {} : { user }),
      ...(client === undefined ? {} : { client }),
    });
  }

  #write(frame: object): void {
    // Without what is undefined: absent fields are omitted on the wire, never nil.
    const value = toJsonValue(frame) as object;
    this.#transport?.send(this.#options.encoding === "json" ? encodeJsonFrame(value) : encodeFrame(value));
  }

  #received(generation: number, data: Uint8Array | string): void {
    if (generation !== this.#generation) return;
    this.#heardAt = this.#clock.now();
    try {
      for (const frame of typeof data === "string" ? decodeText(data) : decodeBinary(data)) {
        this.#obey(frame as ServerFrame);
        // The frame may have ended this socket.
        if (generation !== this.#generation) return;
      }
    } catch (error) {
      this.#lost(generation, 1006, `the server sent what is no frame: ${describe(error)}`);
    }
  }

  #obey(frame: ServerFrame): void {
    const generation = this.#generation;
    switch (frame.type) {
      case "welcome":
        this.#online(frame);
        return;
      case "ping":
        // Inside the message handler, for a hidden page's timers may sleep for a minute.
        this.#write({ type: "pong" });
        break;
      case "error":
        if (this.#welcome === undefined) {
          const { code, message, retryAfterMs } = frame;
          this.#refusal = { code, reason: `${code}: ${message}`, retryAfterMs };
        }
        break;
      case "goaway":
        this.#goAway(generation, frame.reconnectAfterMs);
        break;
      default:
    }
    this.#events.frame(frame);
    if (frame.type === "disconnect") {
      // A stuck peer's close frame may never come: this one is enough.
      this.#lost(generation, frame.code, this.#refusal?.reason ?? frame.reason, frame.reconnect);
    }
  }

  #online(welcome: Welcome): void {
    if (this.#welcome !== undefined) return;
    this.#endWait();
    this.#welcome = welcome;
    this.#wasOnline = true;
    this.#backoff.online();
    this.#watch(this.#generation);
    this.#setStatus("online", {});
    this.#events.frame(welcome);
    this.#events.online(welcome);
  }

  #goAway(generation: number, window: readonly [number, number]): void {
    this.#endGoaway();
    const wait = between(this.#clock, ...window);
    this.#comeBackAt = this.#clock.now() + wait;
    this.#endGoaway = this.#clock.after(wait, () => this.#lost(generation, 4000, "the server is draining"));
  }

  /** Every end of a socket or an attempt that we did not want: decides whether and when there is another. */
  #lost(generation: number, code: number, reason: string, mayReturn = true): void {
    if (generation !== this.#generation) return;
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

  #retryIn(wait: number, reason: string | undefined): void {
    this.#endWait();
    const state = this.#wasOnline ? "reconnecting" : "connecting";
    this.#setStatus(state, {
      retryAt: this.#clock.now() + wait,
      ...(reason === undefined ? {} : { reason }),
    });
    this.#endWait = this.#clock.after(wait, () => void this.#attempt());
  }

  /** Forgets the socket: from here on it is of an older generation. */
  #drop(reason: string): void {
    this.#generation++;
    this.#endWait();
    this.#endWatch();
    this.#endGoaway();
    this.#probing = false;
    const transport = this.#transport;
    const wasOnline = this.#welcome !== undefined;
    this.#transport = undefined;
    this.#welcome = undefined;
    transport?.close();
    if (wasOnline) this.#events.offline(reason);
  }

  #end(reason: string): void {
    this.#setStatus("closed", { reason });
  }

  #watch(generation: number): void {
    const limit = (this.#welcome?.pingMs ?? 0) + SILENCE_SLACK_MS;
    const due = this.#heardAt + limit;
    this.#endWatch();
    this.#endWatch = this.#clock.after(due - this.#clock.now(), () => {
      if (generation !== this.#generation) return;
      const now = this.#clock.now();
      if (now - this.#heardAt < limit) this.#watch(generation);
      else if (now - due > LATE_MS) {
        this.#probe();
        this.#endWatch = this.#clock.after(PROBE_LIMIT_MS + 1, () => this.#watch(generation));
      } else this.#lost(generation, 1006, `nothing heard for ${Math.round((now - this.#heardAt) / 1000)} s`);
    });
  }

  /** Asks for a sign of life and gives it 3 s. */
  #probe(): void {
    if (this.#welcome === undefined || this.#probing) return;
    const generation = this.#generation;
    const heardAt = this.#heardAt;
    this.#probing = true;
    this.#events.probe();
    this.#clock.after(PROBE_LIMIT_MS, () => {
      if (generation !== this.#generation) return;
      this.#probing = false;
      if (this.#heardAt === heardAt) this.#lost(generation, 1006, "no answer to a probe");
    });
  }

  #awake(): void {
    if (this.#stopped || this.#status.state === "closed") return;
    this.#left = false;
    if (this.#welcome !== undefined) {
      const silent = this.#clock.now() - this.#heardAt;
      if (silent > this.#welcome.pingMs + SILENCE_SLACK_MS)
        this.#lost(this.#generation, 1006, "silent while asleep");
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

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
