/**
 * All connections of the process: takes sockets in, knows who is connected, lets a newer connection of the same client
 * supersede the older, and tells all to go. Owns that table and the heartbeat's timer; never looks into a frame.
 */
import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";
import { EncodedFrame, encodeFrame } from "../../protocol/codec.ts";
import { CLOSE_CODES, ProtocolError } from "../../protocol/errors.ts";
import type { ServerFrame } from "../../protocol/frames.ts";
import { openAudit, type Audit } from "../observe/audit.ts";
import type { Log } from "../observe/log.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { Authenticator } from "../auth/authenticator.ts";
import type { Identity } from "../auth/identity.ts";
import type { ClientRequest } from "../auth/method.ts";
import { Connection, type ConnectionHost, type Dispatch } from "./connection.ts";
import { Wheel, type WheelOptions } from "./heartbeat.ts";
import { connectionLimits, type ConnectionOptions } from "./limits.ts";
import { outboxTotals, type OutboxTotals } from "./outbox.ts";
import { Allowance, Roster, type Counted } from "./rate.ts";
import { Turn } from "./turn.ts";

export interface ConnectionsParts {
  readonly node: string;
  readonly authenticator: Authenticator;
  readonly dispatch: Dispatch;
  readonly metrics: Metrics;
  readonly log: Log;
  /** Told of every hello that is refused; nobody unless given. */
  readonly audit?: Audit;
}

export interface ConnectionsOptions extends ConnectionOptions {
  /**
   * Connections of one user (500; 0: any number). This and the rates of a user hold for users that were verified: a name
   * that anybody may give bounds nobody.
   */
  readonly maxConnectionsPerUser?: number;
  /** Frames a second from all connections of a user (10 000), and how many more at once (40 000). */
  readonly userFramesPerSecond?: number;
  readonly userFrameBurst?: number;
  /** Bytes a second from all connections of a user (32 MiB), and how many more at once (128 MiB). */
  readonly userBytesPerSecond?: number;
  readonly userByteBurst?: number;
  /**
   * Bytes that may wait for all readers together (512 MiB; 0: any number). Beyond it those for whom most waits are
   * disconnected with 4101, until a quarter is free.
   */
  readonly maxOutboxBytes?: number;
  readonly wheel?: WheelOptions;
  /** Spreads the first pings; Math.random unless told. */
  readonly random?: () => number;
  /** Time in ms since 1970, by which tokens expire; Date.now unless told. */
  readonly wallClock?: () => number;
}

interface User extends Counted {
  readonly allowance: Allowance;
}

/** The part of what may be queued that is left when some was given up. */
const KEPT_WHEN_SHED = 0.75;
/** How long a client over one of its counts is told to wait. */
const COUNT_RETRY_MS = 5000;

export class Connections {
  readonly #users: Roster<User>;
  readonly #maxConnectionsPerUser: number;
  readonly #host: ConnectionHost;
  readonly #wheel: Wheel;
  readonly #log: Log;
  readonly #open = new Set<Connection>();
  /** Sockets whose close is not finished, ended or not. */
  readonly #sockets = new Set<Connection>();
  #draining = false;
  #shedding = false;
  readonly #byProvider = new Map<string, Connection>();
  #onEmpty: (() => void) | undefined;
  readonly totals: OutboxTotals;

  constructor(parts: ConnectionsParts, options: ConnectionsOptions = {}) {
    this.#log = parts.log;
    const maxOutboxBytes = options.maxOutboxBytes ?? 512 * 2 ** 20;
    this.totals = outboxTotals(maxOutboxBytes === 0 ? Infinity : maxOutboxBytes);
    const turn = new Turn();
    this.#wheel = new Wheel(options.wheel);
    this.#maxConnectionsPerUser = options.maxConnectionsPerUser ?? 500;
    const userRates = {
      framesPerSecond: options.userFramesPerSecond ?? 10_000,
      frameBurst: options.userFrameBurst ?? 40_000,
      bytesPerSecond: options.userBytesPerSecond ?? 32 * 2 ** 20,
      byteBurst: options.userByteBurst ?? 128 * 2 ** 20,
    };
    this.#users = new Roster((now) => {
      const allowance = new Allowance(userRates, now);
      return { connections: 0, allowance, isClear: (at) => allowance.isFull(at) };
    });
    this.#host = {
      ...parts,
      audit: parts.audit ?? openAudit(undefined),
      turn,
      totals: this.totals,
      clock: () => this.#wheel.now(),
      wallClock: options.wallClock ?? Date.now,
      random: options.random ?? Math.random,
      options: connectionLimits(options),
      draining: () => this.#draining,
      admit: (identity) => this.#admit(identity),
      watch: (connection) => this.#wheel.watch(connection, 0),
      pressed: () => {
        if (this.#shedding) return;
        this.#shedding = true;
        turn.later({ run: () => this.#shed() });
      },
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

  /** Takes over a socket that was just upgraded, with the one below it. */
  accept(socket: WebSocket, raw: Duplex, request: ClientRequest): Connection {
    const connection = new Connection(socket, raw, this.#host, request);
    this.#open.add(connection);
    this.#sockets.add(connection);
    this.#wheel.watch(connection, this.#host.options.helloTimeoutMs);
    return connection;
  }

  /** Looks again at what all have shown, after the settings have changed; those for whom it counts no more are closed. */
  review(): void {
    for (const connection of this.#open) connection.review();
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

  /** Gives up the longest queues, so that those who read go on. */
  #shed(): void {
    this.#shedding = false;
    const { totals } = this;
    const enough = totals.maxQueuedBytes * KEPT_WHEN_SHED;
    if (totals.queuedBytes <= enough) return;
    const before = totals.queuedBytes;
    const worst = [...this.#open].sort((a, b) => b.queuedBytes - a.queuedBytes);
    let count = 0;
    while (totals.queuedBytes > enough)
      worst[count++]!.disconnect("overloaded", "too much waits for readers");
    this.#log.warn(
      { connections: count, before, after: totals.queuedBytes },
      "slow readers were disconnected",
    );
  }

  /** Counts one more connection of a user. Throws ProtocolError `rate-limited`. */
  #admit({ user, verified, provider }: Identity): Allowance | undefined {
    if (!verified) return undefined;
    const now = this.#wheel.now();
    const known = this.#users.find(user.id, now);
    const most = this.#maxConnectionsPerUser;
    // The one that it supersedes goes at once.
    const count = known.connections - Number(this.#byProvider.has(provider));
    if (most > 0 && count >= most) {
      const details = { limit: "maxConnectionsPerUser", value: most };
      const text = `there are ${most} connections of this user`;
      throw new ProtocolError("rate-limited", text, { retryAfterMs: COUNT_RETRY_MS, details });
    }
    return this.#users.enter(user.id, now).allowance;
  }

  #greeted(connection: Connection): void {
    const { provider, user } = connection.identity!;
    const previous = this.#byProvider.get(provider);
    this.#byProvider.set(provider, connection);
    // At the next tick: from there on the connection itself says when something is due.
    this.#wheel.watch(connection, 0);
    this.#log.debug({ connection: connection.id, user: user.id, superseded: previous?.id }, "connected");
    previous?.disconnect("superseded", "a newer connection of this client took over", connection);
  }

  #ended(connection: Connection): void {
    this.#open.delete(connection);
    this.#wheel.forget(connection);
    const { provider, user, verified } = connection.identity ?? {};
    if (user !== undefined && verified) this.#users.leave(user.id);
    if (provider !== undefined && this.#byProvider.get(provider) === connection) {
      this.#byProvider.delete(provider);
    }
    this.#log.debug({ connection: connection.id, user: connection.identity?.user.id }, "disconnected");
  }
}
