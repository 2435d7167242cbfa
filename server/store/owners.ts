/**
 * Who may append to which session, inside one process: members with leases, and one owner a session with its epoch and
 * head. Owns the rule for epochs. Never reads or writes anything durable: after a restart every grant is gone, which is
 * right, because so is every process that held one.
 */
import { randomUUID } from "node:crypto";
import { StoreUnavailableError, type Grant, type Member } from "./store.ts";

/** `row`: what the store itself wants to remember of a session while it is owned. */
export interface Owner<Row> {
  readonly member: Member;
  readonly epoch: number;
  head: number;
  row: Row;
}

interface Lease {
  readonly ttlMs: number;
  endsAt: number;
}

export class Owners<Row> {
  readonly #leases = new Map<string, Lease>();
  readonly #owners = new Map<string, Owner<Row>>();
  readonly #now: () => number;
  readonly #leaseNow: () => number;
  #lastEpoch = 0;

  /** `now`: ms since 1970. Leases use the monotonic clock, unless a clock is given. */
  constructor(now?: () => number) {
    this.#now = now ?? Date.now;
    this.#leaseNow = now ?? (() => performance.now());
  }

  join(node: string, ttlMs: number): Member {
    const member = { node, id: randomUUID() };
    this.#leases.set(member.id, { ttlMs, endsAt: this.#leaseNow() + ttlMs });
    return member;
  }

  heartbeat(member: Member): boolean {
    const lease = this.#leases.get(member.id);
    if (lease === undefined) return false;
    if (!this.alive(member)) {
      this.leave(member);
      return false;
    }
    lease.endsAt = this.#leaseNow() + lease.ttlMs;
    return true;
  }

  leave(member: Member): void {
    this.#leases.delete(member.id);
    for (const [id, owner] of this.#owners) if (owner.member.id === member.id) this.#owners.delete(id);
  }

  alive(member: Member): boolean {
    const lease = this.#leases.get(member.id);
    return lease !== undefined && lease.endsAt > this.#leaseNow();
  }

  /** Throws StoreUnavailableError if the member is gone. */
  assertAlive(member: Member): void {
    if (!this.alive(member))
      throw new StoreUnavailableError(`member ${member.node} is gone and must join again`);
  }

  get size(): number {
    return this.#owners.size;
  }

  get(id: string): Owner<Row> | undefined {
    return this.#owners.get(id);
  }

  /** The member that owns the session and whose lease has not ended. */
  holder(id: string): Member | undefined {
    const owner = this.#owners.get(id);
    return owner !== undefined && this.alive(owner.member) ? owner.member : undefined;
  }

  /** The owner under this epoch; undefined: fenced. */
  under(grant: { readonly id: string; readonly epoch: number }): Owner<Row> | undefined {
    const owner = this.#owners.get(grant.id);
    return owner?.epoch === grant.epoch ? owner : undefined;
  }

  /**
   * Give the session to `member` under a new epoch. The epoch exceeds every one that this object ever gave, of any
   * session: so nothing needs to be remembered of a released session for its next epoch to be higher.
   */
  give(id: string, member: Member, epochAtHead: number, head: number, row: Row): Grant {
    const epoch = Math.max(epochAtHead + 1, this.#lastEpoch + 1, this.#now());
    this.admit(id, { member, epoch, head, row });
    return { id, epoch, seq: head };
  }

  /** Enter an owner whose epoch was chosen by the caller: a session that has just been created. */
  admit(id: string, owner: Owner<Row>): void {
    this.#lastEpoch = Math.max(this.#lastEpoch, owner.epoch);
    this.#owners.set(id, owner);
  }

  /** Nobody owns the session; with `epoch`, only if it is owned under that epoch. */
  forget(id: string, epoch?: number): void {
    if (epoch === undefined || this.#owners.get(id)?.epoch === epoch) this.#owners.delete(id);
  }

  /** Every grant is void; the members stay. */
  clear(): void {
    this.#owners.clear();
  }
}
