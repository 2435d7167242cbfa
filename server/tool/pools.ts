/**
 * All pools: which tools somebody offers, and the calls that wait for one of their providers. Owns who is in which pool,
 * the line before each, and how long it may get; never what a provider is or when its place is given up (providers.ts).
 */
import type { Deadlines } from "./deadlines.ts";
import { choose, hasHost, poolKey } from "./pool.ts";
import type { Pool, PooledProvider } from "./pool.ts";
import type { RegisteredTool, Scope, ToolRegistry } from "./registry.ts";
import type { Lease, Ticket } from "./ticket.ts";

export interface PoolOptions {
  /** How long a call waits when its tool has no provider at all. Default 5 s. */
  noProviderMs?: number;
  /** Calls that may wait for one tool; further ones are unavailable at once. Default 1000. */
  maxWaiting?: number;
}

export class Pools {
  readonly #registry: ToolRegistry;
  readonly #deadlines: Deadlines;
  readonly #noProviderMs: number;
  readonly #maxWaiting: number;
  readonly #pools = new Map<string, Pool>();
  /** In whose line a call stands. */
  readonly #lines = new Map<Ticket, Pool>();

  constructor(registry: ToolRegistry, deadlines: Deadlines, options: PoolOptions) {
    this.#registry = registry;
    this.#deadlines = deadlines;
    this.#noProviderMs = options.noProviderMs ?? 5000;
    this.#maxWaiting = options.maxWaiting ?? 1000;
  }

  find(scope: Scope, name: string): Pool | undefined {
    return this.#pools.get(poolKey(scope, name));
  }

  of(tool: RegisteredTool): Pool | undefined {
    return this.find(tool.scope, tool.specification.name);
  }

  join(provider: PooledProvider, scope: Scope, name: string): Pool {
    const pool = this.#open(scope, name);
    pool.providers.add(provider);
    provider.pools.add(pool);
    pool.stopCheck?.();
    pool.stopCheck = undefined;
    return pool;
  }

  leave(provider: PooledProvider, pool: Pool): void {
    pool.providers.delete(provider);
    provider.pools.delete(pool);
    if (pool.providers.size === 0) this.#registry.remove(pool.scope, pool.name);
    this.checkEmpty(pool);
    this.#dropIfUnused(pool);
  }

  /** Reserves the least busy free provider, if there is one now and nobody is before this call. */
  lease(ticket: Ticket, tool: RegisteredTool, avoid: ReadonlySet<string>): Lease | undefined {
    const pool = this.of(tool);
    return pool === undefined || pool.waiters.length > 0 ? undefined : choose(pool, ticket, avoid);
  }

  /** Sends the ticket a `lease` as soon as a provider is free, or `no-provider`. A call that waits keeps its place. */
  wait(ticket: Ticket, tool: RegisteredTool, avoid: ReadonlySet<string>): void {
    const pool = this.#open(tool.scope, tool.specification.name);
    if (this.#lines.get(ticket) === pool) {
      for (const waiter of pool.waiters) if (waiter.ticket === ticket) waiter.avoid = avoid;
    } else {
      this.leaveLine(ticket);
      if (pool.waiters.length >= this.#maxWaiting) {
        ticket.inbox.push({ type: "no-provider", detail: "too many calls wait for this tool" });
        return;
      }
      pool.waiters.push({ ticket, avoid });
      this.#lines.set(ticket, pool);
    }
    this.serve(pool);
    this.checkEmpty(pool);
  }

  leaveLine(ticket: Ticket): void {
    const pool = this.#lines.get(ticket);
    if (pool === undefined) return;
    this.#lines.delete(ticket);
    pool.waiters = pool.waiters.filter((waiter) => waiter.ticket !== ticket);
    this.#dropIfUnused(pool);
  }

  /** Gives what is free to those who wait. */
  serve(pool: Pool): void {
    while (pool.waiters.length > 0) {
      const { ticket, avoid } = pool.waiters[0]!;
      const lease = choose(pool, ticket, avoid);
      if (lease === undefined) return;
      pool.waiters.shift();
      this.#lines.delete(ticket);
      ticket.inbox.push({ type: "lease", lease });
    }
    this.#dropIfUnused(pool);
  }

  /** Calls of a tool that nobody offers wait a bounded time. */
  checkEmpty(pool: Pool): void {
    if (pool.waiters.length === 0 || pool.stopCheck !== undefined || hasHost(pool)) return;
    pool.stopCheck = this.#deadlines.after(this.#noProviderMs, () => {
      pool.stopCheck = undefined;
      if (hasHost(pool)) return;
      for (const { ticket } of pool.waiters.splice(0)) {
        this.#lines.delete(ticket);
        ticket.inbox.push({ type: "no-provider", detail: `nobody offers ${pool.name} now` });
      }
      this.#dropIfUnused(pool);
    });
  }

  #open(scope: Scope, name: string): Pool {
    const key = poolKey(scope, name);
    let pool = this.#pools.get(key);
    if (pool === undefined) {
      pool = { scope, name, providers: new Set(), waiters: [], stopCheck: undefined };
      this.#pools.set(key, pool);
    }
    return pool;
  }

  #dropIfUnused(pool: Pool): void {
    if (pool.providers.size === 0 && pool.waiters.length === 0)
      this.#pools.delete(poolKey(pool.scope, pool.name));
  }
}
