/**
 * What a connection is given by the server around it, and what takes its frames. Owns these two shapes; made in
 * connections.ts and dispatch.ts. They name the connection as a parameter, for it imports them.
 */
import type { ClientFrame } from "../../protocol/frames.ts";
import type { Authenticator } from "../auth/authenticator.ts";
import type { Identity } from "../auth/identity.ts";
import type { Audit } from "../observe/audit.ts";
import type { Log } from "../observe/log.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { ConnectionLimits } from "./limits.ts";
import type { OutboxTotals } from "./outbox.ts";
import type { Allowance } from "./rate.ts";
import type { Turn } from "./turn.ts";

/** What handles the frames of all connections: called in the order of arrival, never awaited. */
export interface DispatchFor<Connection> {
  /** A validated frame, neither `hello` nor `pong`, of a connection that has said hello. */
  frame(connection: Connection, frame: ClientFrame): void;
  /** Once for each connection that has said hello. `successor`: the connection that superseded it. */
  gone(connection: Connection, successor?: Connection): void;
  /** Its user has other rights now. */
  changed(connection: Connection): void;
}

/** What a connection is given by the server around it. */
export interface HostFor<Connection> {
  readonly node: string;
  readonly authenticator: Authenticator;
  readonly dispatch: DispatchFor<Connection>;
  readonly turn: Turn;
  readonly totals: OutboxTotals;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly audit: Audit;
  readonly clock: () => number;
  /** Time in ms since 1970. */
  readonly wallClock: () => number;
  readonly random: () => number;
  readonly options: ConnectionLimits;
  /** True once the server stops: what is in flight is still answered, new requests are not begun. */
  readonly draining: () => boolean;
  /** Counts a connection of a user; answers what all of theirs share. Throws ProtocolError `rate-limited`. */
  admit(identity: Identity): Allowance | undefined;
  /** Looks after it at the next tick, whenever that was due. */
  watch(connection: Connection): void;
  /** More is queued in all than may be: some queues are given up at the end of the turn. */
  pressed(): void;
  /** The hello was accepted; called before `welcome` is sent. */
  greeted(connection: Connection): void;
  /** The connection takes no more frames. Called once for every connection. */
  ended(connection: Connection): void;
  /** Its socket is closed, the last thing that happens to it. */
  closed(connection: Connection): void;
}
