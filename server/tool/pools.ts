/**
 * All pools: which tools somebody offers, and the calls that wait for one of their providers. Owns who is in which pool,
 * the line before each, and how long anybody stands in it; never when a provider's place is given up (providers.ts).
 */
import type { ToolSpecification } from "../../protocol/content.ts";
import type { Deadlines } from "./deadlines.ts";
import { isSameTool } from "./compatible.ts";
import { choose, hasHost, hasRoom, poolKey } from "./pool.ts";
import type { Pool, PooledProvider, Waiter } from "./pool.ts";
import type { RegisteredTool, Scope, ToolRegistry } from "./registry.ts";
import type { Lease, Ticket } from "./ticket.ts";

export interface PoolOptions {
  /** How long a call waits when nobody is there who may have it. Default 5 s. */
  noProviderMs?: number;
  /** How long a call waits while all who may have it are busy. Default: until its deadline. */
  maxWaitMs?: number;
  /** Calls that may wait for one tool; further ones are unavailable at once. Default 1000. */
  maxWaiting?: number;
}

export class Pools {
  readonly #registry: ToolRegistry;
  readonly #deadlines: Deadlines;
  readonly #noProviderMs: number;
  readonly #maxWaitMs: number | undefined;
  readonly #maxWaiting: number;
  readonly #pools = new Map<string, Pool>();
  /** In whose line a call stands. */
  readonly #lines = new Map<Ticket, Pool>();

  constructor(registry: ToolRegistry, deadlines: Deadlines, options: PoolOptions) {
    this.#registry = registry;
    this.#deadlines = deadlines;
    this.#noProviderMs = options.noProviderMs ?? 5000;
    this.#maxWaitMs = options.maxWaitMs;
    this.#maxWaiting = options.maxWaiting ?? 1000;
  }

  /** Calls that wait for a provider. */
  get waiting(): number {
    return this.#lines.size;
  }

  find(scope: Scope, name: string): Pool | undefined {
    return this.#pools.get(poolKey(scope, name));
  }

  of(tool: RegisteredTool): Pool | undefined {
    return this.#isAnother(tool) ? undefined : this.find(tool.scope, tool.specification.name);
  }

  /** Whether the name stands for another kind of tool by now. */
  #isAnother({ scope, specification, kind }: RegisteredTool): boolean {
    const now = this.#registry.get(scope, specification.name);
    return kind !== undefined && now !== undefined && now.kind !== kind;
  }

  join(provider: PooledProvider, scope: Scope, specification: ToolSpecification): Pool {
    const pool = this.#open(scope, specification.name);
    const { kind } = this.#registry.add(scope, specification);
    const before = pool.offers.get(provider);
    // Whoever describes it anew comes after those who describe it as before.
    if (before !== undefined && !isSameTool(before, specification)) pool.offers.delete(provider);
    pool.offers.set(provider, specification);
    provider.pools.add(pool);
    this.#describe(pool);
    const others = pool.waiters.filter((waiter) => waiter.kind !== undefined && waiter.kind !== kind);
    for (const waiter of others) this.#giveUp(waiter, `${pool.name} is another tool now`);
    return pool;
  }

  leave(provider: PooledProvider, pool: Pool): void {
    pool.offers.delete(provider);
    provider.pools.delete(pool);
    if (pool.offers.size === 0) this.#registry.remove(pool.scope, pool.name);
    else this.#describe(pool);
    this.check(pool);
    this.#dropIfUnused(pool);
  }

  /** The tool is described as by the first of those who still offer it: the others accept all that it does. */
  #describe(pool: Pool): void {
    const now = this.#registry.get(pool.scope, pool.name)?.specification;
    const [first] = pool.offers.values();
    if (now === undefined || first === undefined) return;
    for (const offered of pool.offers.values()) if (isSameTool(offered, now)) return;
    this.#registry.replace(pool.scope, first);
  }

  /** Reserves the best provider that is free, if there is one now and nobody is before this call. */
  lease(ticket: Ticket, tool: RegisteredTool, avoid: ReadonlySet<string>): Lease | undefined {
    const pool = this.of(tool);
    return pool === undefined || pool.waiters.length > 0 ? undefined : choose(pool, ticket, avoid);
  }

  /** Sends the ticket a `lease` as soon as a provider is free, or `no-provider`. A call that waits keeps its place. */
  wait(ticket: Ticket, tool: RegisteredTool, avoid: ReadonlySet<string>): void {
    if (this.#isAnother(tool)) {
      const detail = `${tool.specification.name} is another tool now`;
      ticket.inbox.push({ type: "no-provider", detail });
      return;
    }
    const pool = this.#open(tool.scope, tool.specification.name);
    if (this.#lines.get(ticket) === pool) {
      for (const waiter of pool.waiters) if (waiter.ticket === ticket) waiter.avoid = avoid;
    } else {
      this.leaveLine(ticket);
      if (pool.waiters.length >= this.#maxWaiting) {
        ticket.inbox.push({ type: "no-provider", detail: "too many calls wait for this tool" });
        return;
      }
      this.#lines.set(ticket, pool);
      const waiter: Waiter = { ticket, kind: tool.kind, avoid, stopAlone: undefined, stopBusy: undefined };
      if (this.#maxWaitMs !== undefined) {
        const detail = `all who offer ${pool.name} are busy`;
        waiter.stopBusy = this.#deadlines.after(this.#maxWaitMs, () => this.#giveUp(waiter, detail));
      }
      pool.waiters.push(waiter);
    }
    this.serve(pool);
    this.check(pool);
  }

  leaveLine(ticket: Ticket): void {
    const pool = this.#lines.get(ticket);
    if (pool === undefined) return;
    const at = pool.waiters.findIndex((waiter) => waiter.ticket === ticket);
    this.#takeOut(pool, at);
    this.#dropIfUnused(pool);
  }

  /** Gives what is free to those who wait, in order; who needs another provider than is free holds up nobody. */
  serve(pool: Pool): void {
    for (let at = 0; at < pool.waiters.length && isFree(pool);) {
      const { ticket, avoid } = pool.waiters[at]!;
      const lease = choose(pool, ticket, avoid);
      if (lease === undefined) {
        at++;
        continue;
      }
      this.#takeOut(pool, at);
      ticket.inbox.push({ type: "lease", lease });
    }
    this.#dropIfUnused(pool);
  }

  /** Calls that nobody who is here may have wait a bounded time. */
  check(pool: Pool): void {
    for (const waiter of pool.waiters) {
      if (hasHost(pool, waiter.ticket)) {
        waiter.stopAlone?.();
        waiter.stopAlone = undefined;
      } else if (waiter.stopAlone === undefined) {
        const detail = `nobody ${Object.keys(waiter.ticket.labels).length > 0 ? "with the agent's labels " : ""}offers ${pool.name} now`;
        waiter.stopAlone = this.#deadlines.after(this.#noProviderMs, () => this.#giveUp(waiter, detail));
      }
    }
  }

  #giveUp({ ticket }: Waiter, detail: string): void {
    this.leaveLine(ticket);
    ticket.inbox.push({ type: "no-provider", detail });
  }

  #takeOut(pool: Pool, at: number): void {
    const [waiter] = pool.waiters.splice(at, 1);
    waiter?.stopAlone?.();
    waiter?.stopBusy?.();
    if (waiter !== undefined) this.#lines.delete(waiter.ticket);
  }

  #open(scope: Scope, name: string): Pool {
    const key = poolKey(scope, name);
    let pool = this.#pools.get(key);
    if (pool === undefined) {
      pool = { scope, name, offers: new Map(), waiters: [] };
      this.#pools.set(key, pool);
    }
    return pool;
  }

  #dropIfUnused(pool: Pool): void {
    if (pool.offers.size === 0 && pool.waiters.length === 0)
      this.#pools.delete(poolKey(pool.scope, pool.name));
  }
}

function isFree(pool: Pool): boolean {
  for (const provider of pool.offers.keys()) if (hasRoom(provider)) return true;
  return false;
}
