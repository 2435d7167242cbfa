/**
 * All connections of the process: takes sockets in, knows who is connected, lets a newer connection of the same client
 * supersede the older, and tells all to go. Owns that table and the heartbeat's timer; never looks into a frame.
 */
import type { WebSocket } from "ws";
import { EncodedFrame, encodeFrame } from "../../protocol/codec.ts";
import { CLOSE_CODES } from "../../protocol/errors.ts";
import type { ServerFrame } from "../../protocol/frames.ts";
import { MAX_HELLO_BYTES } from "../../protocol/version.ts";
import type { Log } from "../observe/log.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { Authenticator } from "../auth/authenticator.ts";
import { Connection, type ConnectionHost, type ConnectionOptions, type Dispatch } from "./connection.ts";
import { Wheel, type WheelOptions } from "./heartbeat.ts";
import { outboxTotals, type OutboxTotals } from "./outbox.ts";
import { Turn } from "./turn.ts";

export interface ConnectionsParts {
  readonly node: string;
  readonly authenticator: Authenticator;
  readonly dispatch: Dispatch;
  readonly metrics: Metrics;
  readonly log: Log;
}

export interface ConnectionsOptions extends ConnectionOptions {
  readonly wheel?: WheelOptions;
  /** Spreads the first pings; Math.random unless told. */
  readonly random?: () => number;
}

export class Connections {
  readonly #host: ConnectionHost;
  readonly #wheel: Wheel;
  readonly #log: Log;
  readonly #open = new Set<Connection>();
  /** Sockets whose close is not finished, ended or not. */
  readonly #sockets = new Set<Connection>();
  #draining = false;
  readonly #byProvider = new Map<string, Connection>();
  #onEmpty: (() => void) | undefined;
  readonly totals: OutboxTotals = outboxTotals();

  constructor(parts: ConnectionsParts, options: ConnectionsOptions = {}) {
    this.#log = parts.log;
    this.#wheel = new Wheel(options.wheel);
    this.#host = {
      ...parts,
      turn: new Turn(),
      totals: this.totals,
      clock: () => this.#wheel.now(),
      random: options.random ?? Math.random,
      options: {
        helloTimeoutMs: options.helloTimeoutMs ?? 10_000,
        maxHelloBytes: options.maxHelloBytes ?? MAX_HELLO_BYTES,
        maxInFlight: options.maxInFlight ?? 32,
        maxBadFrames: options.maxBadFrames ?? 10,
        badFrameWindowMs: options.badFrameWindowMs ?? 60_000,
        maxRateLimited: options.maxRateLimited ?? 1000,
        framesPerTurn: options.framesPerTurn ?? 256,
        pingMs: options.pingMs ?? 25_000,
        pongGraceMs: options.pongGraceMs ?? 10_000,
        stuckMs: options.stuckMs ?? 30_000,
        maxQueue: options.maxQueue ?? 64,
        outbox: options.outbox ?? {},
      },
      draining: () => this.#draining,
      greeted: (connection) => this.#greeted(connection),
      ended: (connection) => this.#ended(connection),
      closed: (connection) => {
        this.#sockets.delete(connection);
        if (this.#sockets.size === 0) this.#onEmpty?.();
      },
    };
    this.#wheel.start();
  }

  /** Connections that take frames, those without a hello included. */
  get size(): number {
    return this.#open.size;
  }

  [Symbol.iterator](): IterableIterator<Connection> {
    return this.#open.values();
  }

  /** Takes over a socket that was just upgraded. */
  accept(socket: WebSocket): Connection {
    const connection = new Connection(socket, this.#host);
    this.#open.add(connection);
    this.#sockets.add(connection);
    this.#wheel.watch(connection, this.#host.options.helloTimeoutMs);
    return connection;
  }

  /** Tells all clients that this node stops, and when to come back; from now on requests are refused as `draining`. */
  announceStop(reconnectAfterMs: [number, number]): void {
    this.#draining = true;
    const frame: ServerFrame = { type: "goaway", code: CLOSE_CODES.draining, reconnectAfterMs };
    const encoded = new EncodedFrame(encodeFrame(frame));
    for (const connection of this.#open) if (connection.identity !== undefined) connection.deliver(encoded);
  }

  /** Disconnects all with 4000, evenly over `spreadMs`. Resolves when each has been told. */
  async disconnectAll(spreadMs = 0): Promise<void> {
    const all = [...this.#open];
    const began = performance.now();
    for (const [at, connection] of all.entries()) {
      const due = began + (spreadMs * at) / all.length;
      const wait = due - performance.now();
      if (wait > 1) await new Promise((resolve) => setTimeout(resolve, wait));
      connection.disconnect("draining", "the server stops");
    }
  }

  /** Resolves when all sockets are closed; after `waitMs` the rest is cut off. */
  async close(waitMs: number): Promise<void> {
    if (this.#sockets.size > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, waitMs);
        this.#onEmpty = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    for (const connection of this.#sockets) connection.terminate();
    this.#wheel.stop();
  }

  #greeted(connection: Connection): void {
    const { provider, user } = connection.identity!;
    const previous = this.#byProvider.get(provider);
    this.#byProvider.set(provider, connection);
    this.#wheel.watch(connection, this.#host.options.pingMs * this.#host.random());
    this.#log.debug({ connection: connection.id, user: user.id, superseded: previous?.id }, "connected");
    previous?.disconnect("superseded", "a newer connection of this client took over", connection);
  }

  #ended(connection: Connection): void {
    this.#open.delete(connection);
    this.#wheel.forget(connection);
    const provider = connection.identity?.provider;
    if (provider !== undefined && this.#byProvider.get(provider) === connection) {
      this.#byProvider.delete(provider);
    }
    this.#log.debug({ connection: connection.id, user: connection.identity?.user.id }, "disconnected");
  }
}
