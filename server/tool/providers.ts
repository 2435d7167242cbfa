/**
 * Everybody who offers tools: their sockets, their places while a socket is lost, and the calls that they hold. Owns
 * offers, withdrawal, loss, grace and return; never which of them gets a call (pools.ts) and never an outcome (call.ts).
 */
import type { Labels, ToolSpecification } from "../../protocol/content.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import { measure } from "../../protocol/values.ts";
import type { Deadlines } from "./deadlines.ts";
import { findDifference } from "./compatible.ts";
import { isHere, poolKey } from "./pool.ts";
import type { Offerer, Pool, PooledProvider } from "./pool.ts";
import type { Pools } from "./pools.ts";
import type { RegisteredTool, Scope, ToolRegistry } from "./registry.ts";
import { Lease } from "./ticket.ts";
import type { Ticket } from "./ticket.ts";
import { attemptKey } from "./tool.ts";
import type { CallReference, ToolHost } from "./tool.ts";

/** Stands for the socket that a provider had in a process that is gone. */
const AWAY: ToolHost = { call: () => false, cancelCall() {}, acknowledgeResult() {} };

export interface ProviderOptions {
  /** How long a provider that lost its socket is waited for. Default 30 s. */
  graceMs?: number;
  /** The same, when a newer connection of the provider is already there. Default 5 s. */
  supersededGraceMs?: number;
  /** Tools that one provider may offer at once. Default 512. */
  maxTools?: number;
  /** Bytes of their schemas together. Default 4 MiB. */
  maxSchemaBytes?: number;
}

export interface Offer {
  readonly tools: readonly ToolSpecification[];
  readonly scope: Scope;
  /** Calls this provider executes at once. Default 8. */
  readonly maxConcurrent?: number | undefined;
  /** What agents may require. Those of its last offer count. */
  readonly labels?: Labels | undefined;
  /** Who offers; absent for one whom nobody can send away. */
  readonly by?: Offerer | undefined;
  /** Attempts that the provider is executing from before its return. */
  readonly working?: readonly CallReference[] | undefined;
}

export class Providers {
  readonly graceMs: number;
  readonly #supersededGraceMs: number;
  readonly #maxTools: number;
  readonly #maxSchemaBytes: number;
  readonly #registry: ToolRegistry;
  readonly #pools: Pools;
  readonly #deadlines: Deadlines;
  readonly #providers = new Map<string, PooledProvider>();
  /** By provider and attempt: results whose verdict the log must tell. */
  readonly #expected = new Set<string>();

  constructor(registry: ToolRegistry, pools: Pools, deadlines: Deadlines, options: ProviderOptions) {
    this.#registry = registry;
    this.#pools = pools;
    this.#deadlines = deadlines;
    this.graceMs = options.graceMs ?? 30_000;
    this.#supersededGraceMs = options.supersededGraceMs ?? 5000;
    this.#maxTools = (options.maxTools ?? 512) || Infinity;
    this.#maxSchemaBytes = (options.maxSchemaBytes ?? 4 * 2 ** 20) || Infinity;
  }

  /** Adds a provider's tools; all or none. Throws ProtocolError `conflict`, `bad-frame` or `too-large`. */
  offer(id: string, host: ToolHost, offer: Offer): string[] {
    const names = offer.tools.map((tool) => tool.name);
    const once = new Set<string>();
    const twice = names.find((name) => once.size === once.add(name).size);
    if (twice !== undefined) throw new ProtocolError("bad-frame", `tools: ${twice} is offered twice`);
    this.#checkRoom(this.#providers.get(id), offer);
    const giving = offer.tools.flatMap((tool) => {
      this.#registry.admit(offer.scope, tool);
      return givesWay(this.#pools.find(offer.scope, tool.name), id, tool);
    });
    for (const pool of giving) for (const provider of pool.offers.keys()) this.#pools.leave(provider, pool);
    const provider = this.#open(id);
    provider.by = offer.by;
    provider.forget?.();
    provider.forget = undefined;
    if (offer.maxConcurrent !== undefined) provider.maxConcurrent = offer.maxConcurrent;
    if (offer.labels !== undefined) provider.labels = offer.labels;
    provider.draining = false;
    const pools = offer.tools.map((tool) => this.#pools.join(provider, offer.scope, tool));
    const again = (offer.working ?? []).map(attemptKey);
    provider.working = new Set(provider.host === host ? [...provider.working, ...again] : again);
    provider.host = host;
    this.#readopt(provider, host);
    for (const pool of new Set([...pools, ...provider.pools])) {
      this.#pools.serve(pool);
      this.#pools.check(pool);
    }
    return names;
  }

  /** What it offers already counts, too. */
  #checkRoom(provider: PooledProvider | undefined, { tools, scope }: Offer): void {
    const all = new Map<string, ToolSpecification>();
    for (const pool of provider?.pools ?? []) {
      const known = this.#registry.get(pool.scope, pool.name);
      if (known !== undefined) all.set(poolKey(pool.scope, pool.name), known.specification);
    }
    for (const tool of tools) all.set(poolKey(scope, tool.name), tool);
    let bytes = 0;
    for (const tool of all.values()) bytes += schemaBytes(tool);
    const over =
      all.size > this.#maxTools
        ? { limit: "maxTools", value: this.#maxTools, given: all.size }
        : bytes > this.#maxSchemaBytes
          ? { limit: "maxSchemaBytes", value: this.#maxSchemaBytes, given: bytes }
          : undefined;
    if (over !== undefined)
      throw new ProtocolError("too-large", `tools: over ${over.limit}`, { details: over });
  }

  /** Takes tools back (all when no names are given); calls in flight go on. */
  withdraw(id: string, names?: readonly string[]): void {
    const provider = this.#providers.get(id);
    if (provider === undefined) return;
    for (const pool of provider.pools) {
      if (names === undefined || names.includes(pool.name)) this.#pools.leave(provider, pool);
    }
    this.#forgetIfUnused(provider);
  }

  /** The provider takes no more calls; what it has it finishes, and then its tools are taken back. False: there is none. */
  drain(id: string): boolean {
    const provider = this.#providers.get(id);
    if (provider === undefined) return false;
    provider.draining = true;
    for (const pool of provider.pools) this.#pools.check(pool);
    this.#withdrawIfDrained(provider);
    return true;
  }

  /**
   * Takes the tools of a scope from every provider that may not offer them any more: it is told to stop, and nothing that
   * it still sends of those calls counts.
   */
  keep(scope: Scope, may: (by: Offerer, tool: string) => boolean): void {
    for (const provider of this.#providers.values()) {
      const { by } = provider;
      if (by === undefined) continue;
      for (const pool of provider.pools)
        if (pool.scope === scope && !may(by, pool.name)) this.#pools.leave(provider, pool);
      for (const lease of provider.leases)
        if (lease.ticket.scope === scope && !may(by, lease.ticket.tool)) lease.revoke();
      this.#forgetIfUnused(provider);
    }
  }

  /** It has other rights now. Answers the scopes in which it offers tools or has calls. */
  renew(id: string, by: Offerer): Scope[] {
    const provider = this.#providers.get(id);
    if (provider === undefined) return [];
    provider.by = by;
    const scopes = [...provider.pools].map((pool) => pool.scope);
    return [...new Set([...scopes, ...[...provider.leases].map((lease) => lease.ticket.scope)])];
  }

  /**
   * A result that waits for its verdict: its attempt is not forgotten, although the provider names it no more. Answers what
   * ends that.
   */
  expectResult(id: string, reference: CallReference): () => void {
    const key = `${id}/${attemptKey(reference)}`;
    this.#expected.add(key);
    return () => void this.#expected.delete(key);
  }

  #vouches({ id, working }: PooledProvider, attempt: string): boolean {
    return working.has(attempt) || this.#expected.has(`${id}/${attempt}`);
  }

  /** The provider's socket is gone. `superseded`: a newer connection of it is there already. */
  gone(id: string, host: ToolHost, superseded: boolean): void {
    const provider = this.#providers.get(id);
    if (provider === undefined || provider.host !== host) return;
    provider.host = undefined;
    const grace = superseded ? this.#supersededGraceMs : this.graceMs;
    provider.forget = this.#deadlines.after(grace, () => this.#graceOver(provider));
    // Whoever takes over names what it goes on with at once: until then nothing is lost.
    if (!superseded) {
      for (const lease of provider.leases)
        lease.ticket.inbox.push({ type: "lost", attempt: lease.attempt, host });
    }
    for (const pool of provider.pools) this.#pools.check(pool);
  }

  /** Holds a provider's capacity for an attempt that another process dispatched, and says how the provider stands. */
  adopt(id: string, ticket: Ticket, attempt: number, tool: RegisteredTool): Lease {
    const provider = this.#open(id);
    const lease = new Lease(provider, ticket, poolKey(tool.scope, tool.specification.name));
    lease.attempt = attempt;
    provider.leases.add(lease);
    if (provider.host === undefined) {
      lease.host = AWAY;
      provider.forget ??= this.#deadlines.after(this.graceMs, () => this.#graceOver(provider));
      ticket.inbox.push({ type: "lost", attempt, host: AWAY });
    } else {
      lease.host = provider.host;
      const { session, call } = ticket;
      const working = this.#vouches(provider, attemptKey({ session, call, attempt }));
      ticket.inbox.push({ type: "returned", attempt, working });
    }
    return lease;
  }

  /** `open`: the call stays open in the log and its provider goes on with it; whoever takes it up finds it so. */
  release(lease: Lease, open: boolean): void {
    if (!lease.provider.leases.delete(lease)) return;
    const provider = this.#providers.get(lease.provider.id);
    if (provider === undefined) return;
    if (open && lease.host !== undefined && lease.host === provider.host) {
      const { session, call } = lease.ticket;
      provider.working.add(attemptKey({ session, call, attempt: lease.attempt }));
    }
    for (const pool of provider.pools) this.#pools.serve(pool);
    this.#withdrawIfDrained(provider);
    this.#forgetIfUnused(provider);
  }

  hostOf(id: string): ToolHost | undefined {
    return this.#providers.get(id)?.host;
  }

  /** Providers with a live socket, and the calls that all of them hold. */
  get totals(): { here: number; inFlight: number } {
    let [here, inFlight] = [0, 0];
    for (const { host, leases } of this.#providers.values()) {
      here += Number(host !== undefined);
      inFlight += leases.size;
    }
    return { here, inFlight };
  }

  #withdrawIfDrained(provider: PooledProvider): void {
    if (provider.draining && provider.leases.size === 0) this.withdraw(provider.id);
  }

  #open(id: string): PooledProvider {
    let provider = this.#providers.get(id);
    if (provider === undefined) {
      const empty = { leases: new Set<Lease>(), pools: new Set<Pool>(), working: new Set<string>() };
      const fresh = {
        by: undefined,
        host: undefined,
        forget: undefined,
        labels: {},
        draining: false,
        turn: 0,
      };
      provider = { id, maxConcurrent: 8, ...fresh, ...empty };
      this.#providers.set(id, provider);
    }
    return provider;
  }

  /** A provider is back: calls that went out on its old socket are either still being worked on, or forgotten. */
  #readopt(provider: PooledProvider, host: ToolHost): void {
    for (const lease of provider.leases) {
      if (lease.host === undefined || lease.host === host) continue;
      lease.host = host;
      const { ticket, attempt } = lease;
      const working = this.#vouches(
        provider,
        attemptKey({ session: ticket.session, call: ticket.call, attempt }),
      );
      ticket.inbox.push({ type: "returned", attempt, working });
    }
  }

  #graceOver(provider: PooledProvider): void {
    provider.forget = undefined;
    for (const lease of provider.leases)
      lease.ticket.inbox.push({ type: "grace-over", attempt: lease.attempt });
    for (const pool of provider.pools) this.#pools.leave(provider, pool);
    this.#forgetIfUnused(provider);
  }

  #forgetIfUnused(provider: PooledProvider): void {
    if (provider.pools.size > 0 || provider.leases.size > 0) return;
    provider.forget?.();
    this.#providers.delete(provider.id);
  }
}

/**
 * The pool that an offer of another kind of tool takes the place of, if it does: one without others than the offerer, or
 * whose providers are all away or draining. Throws ProtocolError `conflict` with the difference while others stand.
 */
function givesWay(pool: Pool | undefined, id: string, offered: ToolSpecification): Pool[] {
  for (const [provider, present] of pool?.offers ?? []) {
    // Beside others, what it said before is what it takes back.
    const difference =
      provider.id === id && pool!.offers.size > 1 ? undefined : findDifference(offered, present);
    if (difference === undefined) continue;
    if (isForsaken(pool!, id)) return [pool!];
    const { field, path } = difference;
    const where = path === "" ? "" : ` at ${path}`;
    throw new ProtocolError("conflict", `tool ${offered.name} is offered with another ${field}${where}`, {
      details: { tool: offered.name, ...difference },
    });
  }
  return [];
}

/** Whether nobody else of it takes calls, and nothing is at work or waits for them to come back. */
function isForsaken(pool: Pool, id: string): boolean {
  if (pool.waiters.length > 0) return false;
  for (const provider of pool.offers.keys()) {
    if (isHere(provider) && provider.id !== id) return false;
    // What a draining provider has it finishes, whatever is offered then.
    if (!provider.draining && provider.leases.size > 0) return false;
  }
  return true;
}

const measured = new WeakMap<ToolSpecification, number>();

function schemaBytes(tool: ToolSpecification): number {
  let bytes = measured.get(tool);
  if (bytes === undefined) {
    const { inputSchema, outputSchema } = tool;
    bytes = measure(inputSchema).bytes + (outputSchema === undefined ? 0 : measure(outputSchema).bytes);
    measured.set(tool, bytes);
  }
  return bytes;
}
