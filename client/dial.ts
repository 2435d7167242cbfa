/**
 * One socket from its beginning to its end: the token, the opening, the hello, and the limits until it is welcomed. Owns
 * that attempt; what its frames mean, and whether there is another one, is the connection's.
 */
import { encodeFrame, encodeJsonFrame } from "../protocol/codec.ts";
import { toJsonValue } from "../protocol/values.ts";
import type { Encoding } from "../protocol/version.ts";
import { PROTOCOL_VERSION, SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK } from "../protocol/version.ts";
import type { Clock } from "./clock.ts";
import type { OpenTransport, Transport } from "./transport.ts";

export interface DialOptions {
  readonly url: string;
  readonly instance: string;
  /** Asked before every attempt. */
  readonly token?: string | (() => string | Promise<string>);
  readonly user?: { readonly id: string; readonly name?: string };
  readonly client?: { readonly name: string; readonly version?: string };
  readonly encoding: Encoding;
}

export interface DialEvents {
  received(data: Uint8Array | string): void;
  /** It came to nothing, or is over. Not called once it was let go. */
  lost(code: number, reason: string): void;
}

const ATTEMPT_LIMIT_MS = 8_000;
const TOKEN_LIMIT_MS = 30_000;

export class Dial {
  readonly #options: DialOptions;
  readonly #open: OpenTransport;
  readonly #clock: Clock;
  readonly #events: DialEvents;
  #transport: Transport | undefined;
  #over = false;
  #endLimit: () => void = () => undefined;

  constructor(options: DialOptions, open: OpenTransport, clock: Clock, events: DialEvents) {
    this.#options = options;
    this.#open = open;
    this.#clock = clock;
    this.#events = events;
  }

  async begin(): Promise<void> {
    const { token: given, url, encoding } = this.#options;
    this.#limit(TOKEN_LIMIT_MS, "no token in time");
    let token: string | undefined;
    try {
      token = typeof given === "function" ? await given() : given;
    } catch (error) {
      this.#lost(1006, `no token: ${describe(error)}`);
      return;
    }
    if (this.#over) return;
    this.#limit(ATTEMPT_LIMIT_MS, "no welcome in time");
    try {
      const protocols = [encoding === "json" ? SUBPROTOCOL_JSON : SUBPROTOCOL_MSGPACK];
      const transport = await this.#open(url, protocols, {
        opened: (transport) => this.#opened(transport, token),
        received: (data) => {
          if (!this.#over) this.#events.received(data);
        },
        closed: (code, reason) => this.#lost(code, reason),
      });
      if (this.#over) transport.close();
      else this.#transport = transport;
    } catch (error) {
      this.#lost(1006, describe(error));
    }
  }

  /** From now on it may last. */
  welcomed(): void {
    this.#endLimit();
  }

  send(data: Uint8Array | string): void {
    this.#transport?.send(data);
  }

  write(frame: object): void {
    // Without what is undefined: absent fields are omitted on the wire, never nil.
    const value = toJsonValue(frame) as object;
    this.send(this.#options.encoding === "json" ? encodeJsonFrame(value) : encodeFrame(value));
  }

  /** Lets go of it: nothing is heard of it any more. */
  close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#endLimit();
    this.#transport?.close();
  }

  #opened(transport: Transport, token: string | undefined): void {
    if (this.#over) return;
    this.#transport = transport;
    const { user, client, instance } = this.#options;
    this.write({
      type: "hello",
      id: 0,
      protocol: PROTOCOL_VERSION,
      instance,
      ...(token === undefined ? {} : { token }),
      ...(user === undefined ? {} : { user }),
      ...(client === undefined ? {} : { client }),
    });
  }

  #limit(ms: number, reason: string): void {
    this.#endLimit();
    this.#endLimit = this.#clock.after(ms, () => this.#lost(1006, reason));
  }

  #lost(code: number, reason: string): void {
    if (!this.#over) this.#events.lost(code, reason);
  }
}

export function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
