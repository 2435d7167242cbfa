/**
 * The limits of one connection and their defaults. Owns these numbers; each is enforced where it is named: by the
 * connection, its inbox, its meter or its outbox.
 */
import { MAX_HELLO_BYTES } from "../../protocol/version.ts";
import type { OutboxOptions } from "./outbox.ts";
import type { Rates } from "./rate.ts";

/**
 * Rates of one connection: 5000 frames a second and 20 000 more at once, 16 MiB a second and 64 MiB more at once; a rate of
 * 0 is none. Beyond it requests are `rate-limited`; who owes more than a burst is disconnected with 4104.
 */
export interface ConnectionOptions extends Partial<Rates> {
  /** How long a connection may be silent before its hello (10 000). */
  readonly helloTimeoutMs?: number;
  /** Bytes of the first message (16 KiB). */
  readonly maxHelloBytes?: number;
  /** Requests without an answer (32); one more is `rate-limited`. */
  readonly maxInFlight?: number;
  /** Bad frames within `badFrameWindowMs` that end the connection (10 in 60 000). */
  readonly maxBadFrames?: number;
  readonly badFrameWindowMs?: number;
  /** Requests refused as `rate-limited` within a minute that end the connection with 4104 (1000). */
  readonly maxRateLimited?: number;
  /** Frames of one connection handled in one turn of the event loop (256). */
  readonly framesPerTurn?: number;
  /** Distance of two pings (25 000), and how much longer than that a peer may be silent (10 000). */
  readonly pingMs?: number;
  readonly pongGraceMs?: number;
  /** How long bytes may wait without one of them moving (30 000). */
  readonly stuckMs?: number;
  /** How long a connection goes on after its token's time is over (25 000). */
  readonly authGraceMs?: number;
  /** `welcome.limits.maxQueue`: the inputs a session holds (64). Said here, enforced by the session. */
  readonly maxQueue?: number;
  readonly outbox?: OutboxOptions;
}

export type ConnectionLimits = Required<Omit<ConnectionOptions, "outbox">> & {
  readonly outbox: OutboxOptions;
};

export function connectionLimits(options: ConnectionOptions): ConnectionLimits {
  return {
    helloTimeoutMs: options.helloTimeoutMs ?? 10_000,
    maxHelloBytes: options.maxHelloBytes ?? MAX_HELLO_BYTES,
    maxInFlight: options.maxInFlight ?? 32,
    maxBadFrames: options.maxBadFrames ?? 10,
    badFrameWindowMs: options.badFrameWindowMs ?? 60_000,
    maxRateLimited: options.maxRateLimited ?? 1000,
    framesPerSecond: options.framesPerSecond ?? 5000,
    frameBurst: options.frameBurst ?? 20_000,
    bytesPerSecond: options.bytesPerSecond ?? 16 * 2 ** 20,
    byteBurst: options.byteBurst ?? 64 * 2 ** 20,
    framesPerTurn: options.framesPerTurn ?? 256,
    pingMs: options.pingMs ?? 25_000,
    pongGraceMs: options.pongGraceMs ?? 10_000,
    stuckMs: options.stuckMs ?? 30_000,
    authGraceMs: options.authGraceMs ?? 25_000,
    maxQueue: options.maxQueue ?? 64,
    outbox: options.outbox ?? {},
  };
}
