/**
 * Who speaks on one connection: from its first message, through later tokens, to the end of what it showed. Owns the
 * identity, when it must be renewed, and what comes while a hello is being looked at. Sends nothing and has no timer: its
 * connection does, and asks.
 */
import { identify, type Account, type Identity } from "../auth/identity.ts";
import type { ClientRequest, Hello } from "../auth/method.ts";
import type { Authenticator } from "../auth/authenticator.ts";
import type { ProtocolError } from "../../protocol/errors.ts";
import { readFirst, refusalOf, type Refusal } from "./greeting.ts";
import type { Pausable } from "./inbox.ts";

/** Share of a login's life after which it is told that it ends. */
const WARN_AT = 0.8;

/** `next`: ms until there is something to look at again, Infinity for never. */
export type Standing =
  | { readonly state: "good"; readonly next: number }
  | { readonly state: "expiring"; readonly expiresAt: number; readonly next: number }
  | { readonly state: "over" };

/** What a login tells its connection; the methods must not throw. */
export interface LoginSink {
  /** Makes room for somebody; throws ProtocolError when there is none. */
  admit(identity: Identity): void;
  /** The identity is there. Not called when the connection has ended meanwhile. */
  welcome(hello: Hello): void;
  refuse(refusal: Refusal): void;
  asProtocolError(error: unknown): ProtocolError;
  /** The connection has ended. */
  isGone(): boolean;
}

export interface LoginParts {
  readonly authenticator: Authenticator;
  /** Time in ms since 1970. */
  readonly wallClock: () => number;
}

export class Login {
  readonly #sink: LoginSink;
  readonly #parts: LoginParts;
  readonly #source: Pausable;
  #request: ClientRequest;
  #identity: Identity | undefined;
  /** What came while the hello is being looked at; undefined when it is not. */
  #early: (() => void)[] | undefined;
  /** When to say that the identity expires, ms since 1970; Infinity once said or if it never does. */
  #warnAt = Infinity;

  constructor(sink: LoginSink, source: Pausable, request: ClientRequest, parts: LoginParts) {
    this.#sink = sink;
    this.#source = source;
    this.#request = request;
    this.#parts = parts;
  }

  /** Undefined until a hello was accepted. */
  get identity(): Identity | undefined {
    return this.#identity;
  }

  get address(): string {
    return this.#request.address;
  }

  /** Keeps what comes before the hello is answered: what the socket had already read, the rest waits in the system. */
  hold(receive: () => void): boolean {
    if (this.#early === undefined) return false;
    this.#source.pause();
    this.#early.push(receive);
    return true;
  }

  /** Takes the first message; ends with `welcome` or `refuse`, and then with what was held. */
  async greet(data: Buffer, isBinary: boolean, maxHelloBytes: number): Promise<void> {
    this.#early = [];
    let hello: Hello | Refusal | undefined;
    try {
      hello = readFirst(data, isBinary, maxHelloBytes);
      if ("error" in hello) this.#sink.refuse(hello);
      else {
        const account = await this.#parts.authenticator.authenticate(hello, this.#request);
        // It may have taken longer than a hello may.
        if (!this.#sink.isGone()) this.#welcome(hello, account);
      }
    } catch (error) {
      const id = hello !== undefined && "id" in hello ? hello.id : undefined;
      this.#sink.refuse(refusalOf(this.#sink.asProtocolError(error), id));
    }
    const early = this.#early;
    this.#early = undefined;
    if (early.length > 0 && !this.#sink.isGone()) this.#source.resume();
    for (const receive of early) receive();
  }

  #welcome(hello: Hello, account: Account): void {
    const identity = identify(account, hello.instance);
    this.#sink.admit(identity);
    this.#accept(identity);
    this.#sink.welcome(hello);
  }

  /** Takes a newer token. Rejects with ProtocolError: `unauthenticated`, or `forbidden` for another user's. */
  async refresh(token: string): Promise<void> {
    const identity = this.#identity!;
    const account = await this.#parts.authenticator.refresh(token, identity, this.#request);
    this.#accept(identify(account, identity.instance));
  }

  /** Looks at the settings as they are now: false when what was shown does not count any more. */
  review(): boolean {
    const identity = this.#identity;
    if (identity === undefined) return true;
    const account = this.#parts.authenticator.review(identity);
    if (account === undefined) return false;
    if (account !== identity) this.#identity = identify(account, identity.instance);
    return true;
  }

  /** What the clock says of it. Answers `expiring` once for each token. */
  check(graceMs: number): Standing {
    const expiresAt = this.#identity?.expiresAt;
    if (expiresAt === undefined) return { state: "good", next: Infinity };
    const now = this.#parts.wallClock();
    const endsAt = expiresAt + graceMs;
    if (now >= endsAt) return { state: "over" };
    if (now < this.#warnAt) return { state: "good", next: Math.min(this.#warnAt, endsAt) - now };
    const next = endsAt - now;
    if (this.#warnAt === Infinity) return { state: "good", next };
    this.#warnAt = Infinity;
    return { state: "expiring", expiresAt, next };
  }

  #accept(identity: Identity): void {
    this.#identity = identity;
    // Only a program's own check looks at headers again; they would be a good part of an idle connection.
    if (this.#parts.authenticator.mode !== "custom") this.#request = { ...this.#request, headers: {} };
    const { expiresAt } = identity;
    const now = this.#parts.wallClock();
    this.#warnAt = expiresAt === undefined ? Infinity : now + (expiresAt - now) * WARN_AT;
  }
}
