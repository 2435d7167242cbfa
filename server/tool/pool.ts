/**
 * A pool: everybody who offers one tool in one scope, and the calls that wait for one of them. Owns who may have a call
 * and the choice among them; never sends a call and never drops a provider (providers.ts).
 */
import type { Labels, ToolSpecification } from "../../protocol/content.ts";
import type { Identity } from "../auth/identity.ts";
import { SERVER_SCOPE } from "./registry.ts";
import type { Scope } from "./registry.ts";
import { Lease } from "./ticket.ts";
import type { Provider, Ticket } from "./ticket.ts";

/** Somebody who asks: their actor, and their rights on the server. */
export type Offerer = Pick<Identity, "actor" | "rights">;

export interface PooledProvider extends Provider {
  /** Who it was when it last offered; absent for a provider inside the process. */
  by: Offerer | undefined;
  readonly pools: Set<Pool>;
  /** What it said it was working on when it came back. */
  working: Set<string>;
  labels: Labels;
  /** It finishes what it has and takes no more. */
  draining: boolean;
  /** When it was last chosen: the lower, the longer ago. */
  turn: number;
}

export interface Waiter {
  readonly ticket: Ticket;
  /** The tool that it was asked of; one of another kind is none for it. */
  readonly kind: object | undefined;
  avoid: ReadonlySet<string>;
  /** Takes back the end of its wait: for want of anybody who may have it, and because all are busy. */
  stopAlone: (() => void) | undefined;
  stopBusy: (() => void) | undefined;
}

export interface Pool {
  readonly scope: Scope;
  readonly name: string;
  /** What each offered, in the order in which they came. */
  readonly offers: Map<PooledProvider, ToolSpecification>;
  waiters: Waiter[];
}

let turns = 0;

/**
 * Reserves a provider that may have the call and has room. Those to avoid come last; then those that served the session
 * come first, where the call asks for that; then whoever has the fewest calls in flight, and among equals in turn.
 */
export function choose(pool: Pool, ticket: Ticket, avoid: ReadonlySet<string>): Lease | undefined {
  const prefer = ticket.prefer();
  let best: PooledProvider | undefined;
  let bestRank: readonly number[] = [];
  for (const provider of pool.offers.keys()) {
    const { id, leases, turn } = provider;
    if (!hasRoom(provider) || !mayHave(provider, ticket) || ticket.resting.has(id)) continue;
    const served = prefer.indexOf(id);
    const rank = [Number(avoid.has(id)), served < 0 ? Infinity : served, leases.size, turn];
    if (best !== undefined && !isLess(rank, bestRank)) continue;
    best = provider;
    bestRank = rank;
  }
  if (best === undefined) return undefined;
  best.turn = ++turns;
  const lease = new Lease(best, ticket, poolKey(pool.scope, pool.name));
  best.leases.add(lease);
  return lease;
}

function isLess(rank: readonly number[], other: readonly number[]): boolean {
  const at = rank.findIndex((value, index) => value !== other[index]);
  return at >= 0 && rank[at]! < other[at]!;
}

/** Whether a new call could go to the provider now. */
export function hasRoom(provider: PooledProvider): boolean {
  return isHere(provider) && provider.leases.size < provider.maxConcurrent;
}

/** Whether it has a live socket and takes new calls at all. */
export function isHere(provider: PooledProvider): boolean {
  return provider.host !== undefined && !provider.draining;
}

/** Whether it has the labels that the call's agent requires. */
function mayHave(provider: PooledProvider, { labels }: Ticket): boolean {
  for (const [key, value] of Object.entries(labels)) if (provider.labels[key] !== value) return false;
  return true;
}

/** Whether anybody is here who may have the call, busy or not. */
export function hasHost(pool: Pool, ticket: Ticket): boolean {
  for (const provider of pool.offers.keys()) if (isHere(provider) && mayHave(provider, ticket)) return true;
  return false;
}

export function poolKey(scope: Scope, name: string): string {
  return scope === SERVER_SCOPE ? name : `${scope}/${name}`;
}
