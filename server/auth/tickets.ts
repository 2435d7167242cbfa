/**
 * One-time tickets: what a page shows in `hello` in place of a token that it should not hold for long. Owns their number,
 * their age and that each counts once. Keeps SHA-256 only, in this process alone: a ticket is for the node that gave it.
 */
import { randomBytes } from "node:crypto";
import { ProtocolError } from "../../protocol/errors.ts";
import { sha256, type Account } from "./identity.ts";
import { expired } from "./method.ts";

/** Tells tickets from tokens. */
export const TICKET_PREFIX = "tkt_";

export interface TicketOptions {
  /** How long a ticket may wait to be used, ms (30 000). */
  readonly ticketMs?: number;
  /** Unused tickets of all users (10 000) and of one (32); one more is `rate-limited`. */
  readonly maxTickets?: number;
  readonly maxTicketsPerUser?: number;
  /** Time in ms since 1970; Date.now unless told. */
  readonly now?: () => number;
}

export interface Ticket {
  readonly ticket: string;
  readonly expiresAt: number;
}

interface Held {
  readonly account: Account;
  readonly expiresAt: number;
}

export class Tickets {
  readonly #ticketMs: number;
  readonly #maxTickets: number;
  readonly #maxTicketsPerUser: number;
  readonly #now: () => number;
  /** By hash, the oldest first: a look-up by hash tells nothing about the ticket itself. */
  readonly #held = new Map<string, Held>();
  readonly #perUser = new Map<string, number>();

  constructor(options: TicketOptions = {}) {
    this.#ticketMs = options.ticketMs ?? 30_000;
    this.#maxTickets = options.maxTickets ?? 10_000;
    this.#maxTicketsPerUser = options.maxTicketsPerUser ?? 32;
    this.#now = options.now ?? Date.now;
  }

  /** Unused tickets, those included whose time is over since the last use. */
  get size(): number {
    return this.#held.size;
  }

  /** Throws ProtocolError `rate-limited`. */
  issue(account: Account): Ticket {
    this.#forgetOld();
    const { id } = account.user;
    const count = this.#perUser.get(id) ?? 0;
    if (this.#held.size >= this.#maxTickets || count >= this.#maxTicketsPerUser) {
      const retryAfterMs = this.#ticketMs;
      throw new ProtocolError("rate-limited", "too many tickets are unused", { retryAfterMs });
    }
    const ticket = `${TICKET_PREFIX}${randomBytes(32).toString("base64url")}`;
    const expiresAt = this.#now() + this.#ticketMs;
    this.#held.set(keyOf(ticket), { account, expiresAt });
    this.#perUser.set(id, count + 1);
    return { ticket, expiresAt };
  }

  /** Whom the ticket was given to; it is used up. Throws `unauthenticated`: unknown, used and old ones look the same. */
  redeem(ticket: string): Account {
    this.#forgetOld();
    const key = keyOf(ticket);
    const held = this.#held.get(key);
    if (held === undefined) throw expired("the ticket is not valid, or was used");
    this.#forget(key, held);
    return held.account;
  }

  #forgetOld(): void {
    const now = this.#now();
    for (const [key, held] of this.#held) {
      if (held.expiresAt > now) return;
      this.#forget(key, held);
    }
  }

  #forget(key: string, { account }: Held): void {
    this.#held.delete(key);
    const { id } = account.user;
    const left = this.#perUser.get(id)! - 1;
    if (left === 0) this.#perUser.delete(id);
    else this.#perUser.set(id, left);
  }
}

function keyOf(ticket: string): string {
  return sha256(ticket).toString("base64url");
}
