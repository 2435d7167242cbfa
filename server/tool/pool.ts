/**
 * A pool: everybody who offers one tool in one scope, and the calls that wait for one of them. Owns the choice of the
 * least busy; never sends a call and never drops a provider (router.ts).
 */
import { SERVER_SCOPE } from "./registry.ts";
import type { Scope } from "./registry.ts";
import { Lease } from "./ticket.ts";
import type { Provider, Ticket } from "./ticket.ts";

export interface PooledProvider extends Provider {
  readonly pools: Set<Pool>;
  /** What it said it was working on when it came back. */
  working: Set<string>;
}

interface Waiter {
  readonly ticket: Ticket;
  avoid: ReadonlySet<string>;
}

export interface Pool {
  readonly scope: Scope;
  readonly name: string;
  readonly providers: Set<PooledProvider>;
  waiters: Waiter[];
  stopCheck: (() => void) | undefined;
}

/** Reserves the provider with the fewest calls in flight among the free ones; those to avoid come last. */
export function choose(pool: Pool, ticket: Ticket, avoid: ReadonlySet<string>): Lease | undefined {
  let best: PooledProvider | undefined;
  for (const provider of pool.providers) {
    if (provider.host === undefined || provider.leases.size >= provider.maxConcurrent) continue;
    const better =
      best === undefined ||
      Number(avoid.has(provider.id)) < Number(avoid.has(best.id)) ||
      (avoid.has(provider.id) === avoid.has(best.id) && provider.leases.size < best.leases.size);
    if (better) best = provider;
  }
  if (best === undefined) return undefined;
  const lease = new Lease(best, ticket);
  best.leases.add(lease);
  return lease;
}

/** Whether any provider of the pool has a live socket. */
export function hasHost(pool: Pool): boolean {
  for (const provider of pool.providers) if (provider.host !== undefined) return true;
  return false;
}

/** Whether nobody of it is here, and nothing is at work or waits for them to come back. */
export function isForsaken(pool: Pool): boolean {
  if (hasHost(pool) || pool.waiters.length > 0) return false;
  for (const provider of pool.providers) if (provider.leases.size > 0) return false;
  return true;
}

export function poolKey(scope: Scope, name: string): string {
  return scope === SERVER_SCOPE ? name : `${scope}/${name}`;
}
