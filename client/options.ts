/**
 * What an application passes to `connect` and what it can listen to. Owns the defaults of the URL; no behaviour.
 */
import type { ProtocolError } from "../protocol/errors.ts";
import type { ClientFrameInputOf, ServerFrame } from "../protocol/frames.ts";
import type { Encoding } from "../protocol/version.ts";
import type { BackoffOptions } from "./backoff.ts";
import type { ResultStore } from "./calls.ts";
import type { Clock } from "./clock.ts";
import type { ConnectionStatus } from "./connection.ts";
import type { OutboxLimits, RequestOptions } from "./requests.ts";
import type { OpenTransport, WebSocketConstructor } from "./transport.ts";

export interface ConnectOptions {
  /** `ws:`, `wss:`, `http:` or `https:`; the path is `/ws` unless given. */
  readonly url: string;
  /** Sent in `hello`; a function is asked before every attempt and when the server says that the token expires. */
  readonly token?: string | (() => string | Promise<string>);
  /** Who this is, where the server lets clients name themselves (auth mode `none`). */
  readonly user?: { readonly id: string; readonly name?: string };
  /** Kept to itself by this client; a new connection with it replaces the old one. Minted unless given. */
  readonly instance?: string;
  /** Where a provider's results outlive its process: `keepIn` of `haulout/client/node`, with its `instance`. */
  readonly results?: ResultStore;
  readonly client?: { readonly name: string; readonly version?: string };
  /** `msgpack` unless told. */
  readonly encoding?: Encoding;
  /** The WebSocket class to use instead of the platform's. */
  readonly WebSocket?: WebSocketConstructor;
  readonly backoff?: BackoffOptions;
  readonly outbox?: OutboxLimits;
  /** For tests: time, chance and sockets. */
  readonly clock?: Clock;
  readonly transport?: OpenTransport;
}

export interface ClientStatus extends ConnectionStatus {
  /** Requests that wait for a connection or for the server's consent. */
  readonly unsent: number;
}

export interface ClientEvents {
  status: [status: ClientStatus];
  /** Every frame from the server, as it came. */
  frame: [frame: ServerFrame];
  /** A refusal that answers no request of ours, or tools that the server took no more, or a result that could not be stored. */
  error: [error: ProtocolError];
}

export interface CreateSessionOptions extends RequestOptions {
  readonly agent: string;
  /** Minted unless given. */
  readonly session?: string;
  readonly title?: string;
  readonly metadata?: ClientFrameInputOf<"createSession">["metadata"];
  /** Minted unless given; makes repetitions one. */
  readonly key?: string;
}

/** The WebSocket URL of a server given by any of its URLs; relative ones are relative to the page. Throws TypeError. */
export function socketUrl(given: string): string {
  const base = typeof location === "object" ? location.href : undefined;
  const url = new URL(given, base);
  url.protocol = url.protocol === "http:" ? "ws:" : url.protocol === "https:" ? "wss:" : url.protocol;
  if (url.protocol !== "ws:" && url.protocol !== "wss:")
    throw new TypeError(`not the URL of a WebSocket: ${given}`);
  if (url.pathname === "" || url.pathname === "/") url.pathname = "/ws";
  url.hash = "";
  return url.href;
}
