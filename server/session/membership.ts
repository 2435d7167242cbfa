/**
 * This process among those that may own sessions: its lease on the store, kept for as long as it lives, and the recovery
 * of what others left open, begun at the start and whenever sessions may have lost their owner. Owns both clocks; never
 * waits for recovery, and never decides what becomes of a run (recover.ts).
 */
import type { Log } from "../observe/log.ts";
import type { Member, Store } from "../store/store.ts";

const LEASE_MS = 30_000;
const RECOVERY_RETRY_MS = 500;
const MAX_RECOVERY_RETRY_MS = 30_000;

export interface MembershipParts {
  readonly store: Pick<Store, "join" | "heartbeat" | "leave">;
  readonly node: string;
  readonly log: Log;
  /** Recovers what nobody owns; answers what it could not. */
  recover(): Promise<readonly string[]>;
}

export class Membership {
  readonly #parts: MembershipParts;
  #member: Member | undefined;
  #heartbeat: NodeJS.Timeout | undefined;
  #recovery: NodeJS.Timeout | undefined;
  #again = false;
  #pauseMs = RECOVERY_RETRY_MS;
  #closed = false;

  constructor(parts: MembershipParts) {
    this.#parts = parts;
  }

  /** Only once it has joined. */
  get member(): Member {
    return this.#member!;
  }

  /** Joins the store; recovery begins, and is not waited for. */
  async join(): Promise<void> {
    const { store, node } = this.#parts;
    this.#member = await store.join(node, LEASE_MS);
    this.#heartbeat = setInterval(() => void this.#keepLease(), LEASE_MS / 3);
    this.#heartbeat.unref();
    this.#schedule(0);
  }

  /** Sessions may be open that nobody owns. */
  recoverSoon(): void {
    this.#schedule(RECOVERY_RETRY_MS);
  }

  /** No heartbeat and no recovery from now on. The grants stay until `leave`. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#heartbeat);
    clearTimeout(this.#recovery);
  }

  /** Gives back every grant. */
  async leave(): Promise<void> {
    if (this.#member !== undefined) await this.#parts.store.leave(this.#member).catch(() => {});
  }

  async #keepLease(): Promise<void> {
    const { store, node, log } = this.#parts;
    try {
      if (await store.heartbeat(this.member)) return;
      this.#member = await store.join(node, LEASE_MS);
      this.#schedule(0);
    } catch (error) {
      log.warn({ err: error }, "the lease could not be kept");
    }
  }

  /** Asked again meanwhile, recovery runs once more when it is done; what fails is tried again at a growing distance. */
  #schedule(ms: number): void {
    if (this.#closed) return;
    if (this.#recovery !== undefined) {
      this.#again = true;
      return;
    }
    this.#again = false;
    this.#recovery = setTimeout(() => void this.#recover(), ms);
    this.#recovery.unref();
  }

  async #recover(): Promise<void> {
    let failed = true;
    try {
      failed = (await this.#parts.recover()).length > 0;
    } catch (error) {
      this.#parts.log.warn({ err: error }, "recovery failed, trying again");
    }
    this.#recovery = undefined;
    this.#pauseMs = failed ? Math.min(this.#pauseMs * 2, MAX_RECOVERY_RETRY_MS) : RECOVERY_RETRY_MS;
    if (this.#again) this.recoverSoon();
    else if (failed) this.#schedule(this.#pauseMs);
  }
}
