/**
 * The router: which provider gets a call, and what its answers mean for the open ones. Owns providers, their pools and
 * capacity, the grace after a lost socket, and the wait for a free provider. Never decides a call's outcome (call.ts) and
 * never writes to a log: it pushes events into the ticket of the call.
 */
import type { JsonValue, ToolSpecification, Verdict } from "../../protocol/content.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { Deadlines } from "./deadlines.ts";
import { Inbox } from "./inbox.ts";
import type { RegisteredTool, Scope, ToolRegistry } from "./registry.ts";
import { choose, hasHost, isForsaken, poolKey } from "./pool.ts";
import type { Pool, PooledProvider } from "./pool.ts";
import { Lease } from "./ticket.ts";
import type { CallAnswer, Ticket } from "./ticket.ts";
import type { CallReference, ToolHost } from "./tool.ts";

export const LOCAL_PROVIDER = "prv_local";
/** Results that may wait for their calls to be taken up again. */
const MAX_EARLY = 10_000;
/** Stands for the socket that a provider had in a process that is gone. */
const AWAY: ToolHost = { call: () => false, cancelCall() {}, acknowledgeResult() {} };

export interface RouterOptions {
  /** How long a provider that lost its socket is waited for. Default 30 s. */
  graceMs?: number;
  /** The same, when a newer connection of the provider is already there. Default 5 s. */
  supersededGraceMs?: number;
  /** How long a call waits when its tool has no provider at all. Default 5 s. */
  noProviderMs?: number;
  /** Calls that may wait for one tool; further ones are unavailable at once. Default 1000. */
  maxWaiting?: number;
}

export interface Offer {
  readonly tools: readonly ToolSpecification[];
  readonly scope: Scope;
  /** Calls this provider executes at once. Default 8. */
  readonly maxConcurrent?: number | undefined;
  /** Attempts that the provider is executing from before its return. */
  readonly working?: readonly CallReference[] | undefined;
}

export class Router {
  readonly #registry: ToolRegistry;
  readonly #deadlines: Deadlines;
  readonly #options: Required<RouterOptions>;
  readonly #providers = new Map<string, PooledProvider>();
  readonly #pools = new Map<string, Pool>();
  readonly #tickets = new Map<string, Ticket>();
  readonly #local: PooledProvider;
  readonly #executes: (name: string) => boolean;
  readonly #early = new Map<string, { id: string; host: ToolHost; answer: CallAnswer }>();

  /** `local` executes in-process tools; its `has` says which. */
  constructor(
    registry: ToolRegistry,
    local: ToolHost & { has(name: string): boolean },
    deadlines: Deadlines,
    options: RouterOptions = {},
  ) {
    this.#executes = (name) => local.has(name);
    this.#registry = registry;
    this.#deadlines = deadlines;
    this.#options = {
      graceMs: options.graceMs ?? 30_000,
      supersededGraceMs: options.supersededGraceMs ?? 5000,
      noProviderMs: options.noProviderMs ?? 5000,
      maxWaiting: options.maxWaiting ?? 1000,
    };
    this.#local = {
      id: LOCAL_PROVIDER,
      host: local,
      maxConcurrent: Number.MAX_SAFE_INTEGER,
      leases: new Set(),
      pools: new Set(),
      working: new Set(),
      forget: undefined,
    };
  }

  get graceMs(): number {
    return this.#options.graceMs;
  }

  // --- the provider's side ---

  /** Adds a provider's tools; all or none. Throws ProtocolError `conflict` or `bad-frame`. */
  offer(id: string, host: ToolHost, offer: Offer): string[] {
    const names = offer.tools.map((tool) => tool.name);
    const once = new Set<string>();
    const twice = names.find((name) => once.size === once.add(name).size);
    if (twice !== undefined) throw new ProtocolError("bad-frame", `tools: ${twice} is offered twice`);
    // A tool whose providers are all away, with nothing at work, gives way to another kind of it.
    const giving = offer.tools.flatMap((tool) => {
      const pool = this.#pools.get(poolKey(offer.scope, tool.name));
      const may = pool !== undefined && isForsaken(pool);
      return this.#registry.admit(offer.scope, tool, may) ? [] : [pool!];
    });
    for (const pool of giving) for (const provider of pool.providers) this.#leavePool(provider, pool);
    const provider = this.#provider(id);
    provider.forget?.();
    provider.forget = undefined;
    if (offer.maxConcurrent !== undefined) provider.maxConcurrent = offer.maxConcurrent;
    const pools = offer.tools.map((tool) => {
      this.#registry.add(offer.scope, tool);
      const pool = this.#pool(offer.scope, tool.name);
      pool.providers.add(provider);
      provider.pools.add(pool);
      pool.stopCheck?.();
      pool.stopCheck = undefined;
      return pool;
    });
    const again = (offer.working ?? []).map(attemptKey);
    provider.working = new Set(provider.host === host ? [...provider.working, ...again] : again);
    provider.host = host;
    this.#readopt(provider, host);
    for (const pool of pools) this.#serve(pool);
    return names;
  }

  /** Takes tools back (all when no names are given); calls in flight go on. */
  withdraw(id: string, names?: readonly string[]): void {
    const provider = this.#providers.get(id);
    if (provider === undefined) return;
    for (const pool of provider.pools) {
      if (names === undefined || names.includes(pool.name)) this.#leavePool(provider, pool);
    }
    this.#forgetIfUnused(provider);
  }

  /** The provider's socket is gone. `superseded`: a newer connection of it is there already. */
  gone(id: string, host: ToolHost, superseded: boolean): void {
    const provider = this.#providers.get(id);
    if (provider === undefined || provider.host !== host) return;
    provider.host = undefined;
    const grace = superseded ? this.#options.supersededGraceMs : this.#options.graceMs;
    provider.forget = this.#deadlines.after(grace, () => this.#graceOver(provider));
    for (const lease of provider.leases)
      lease.ticket.inbox.push({ type: "lost", attempt: lease.attempt, host });
    for (const pool of provider.pools) this.#checkEmpty(pool);
  }

  accepted(id: string, reference: CallReference): void {
    const ticket = this.#ticketOf(id, reference);
    ticket?.inbox.push({ type: "accepted", attempt: reference.attempt });
  }

  progress(id: string, reference: CallReference, progress: JsonValue): void {
    this.#ticketOf(id, reference)?.onProgress(reference.attempt, progress);
  }

  /** False: no such call is open for this provider, and only the log knows the verdict. */
  result(id: string, host: ToolHost, reference: CallReference, answer: CallAnswer): boolean {
    const ticket = this.#ticketOf(id, reference);
    if (ticket === undefined) return false;
    if (ticket.answered === undefined) {
      if (answer.error?.code !== "not-started") ticket.answered = reference.attempt;
      ticket.inbox.push({ type: "result", attempt: reference.attempt, answer, host });
    } else {
      ticket.late.push({ host, reference });
    }
    return true;
  }

  // --- the call's side ---

  open(session: string, call: string, onProgress: Ticket["onProgress"]): Ticket {
    const ticket: Ticket = {
      session,
      call,
      inbox: new Inbox(),
      attempts: new Map(),
      onProgress,
      late: [],
      answered: undefined,
      stored: undefined,
    };
    this.#tickets.set(`${session}/${call}`, ticket);
    return ticket;
  }

  /**
   * Takes up an attempt that another process dispatched: its provider is waited for, or is back already. Events follow as
   * if its socket had been lost here.
   */
  adopt(ticket: Ticket, id: string, attempt: number): Lease {
    ticket.attempts.set(attempt, id);
    const reference = { session: ticket.session, call: ticket.call, attempt };
    const provider = id === LOCAL_PROVIDER ? this.#local : this.#provider(id);
    const lease = new Lease(provider, ticket);
    lease.attempt = attempt;
    provider.leases.add(lease);
    if (id === LOCAL_PROVIDER) {
      // What this process executed died with it.
      ticket.inbox.push({ type: "returned", attempt, working: false });
      return lease;
    }
    const early = this.#early.get(attemptKey(reference));
    if (early !== undefined && early.id === id) {
      this.#early.delete(attemptKey(reference));
      this.result(id, early.host, reference, early.answer);
    } else if (provider.host === undefined) {
      lease.host = AWAY;
      provider.forget ??= this.#deadlines.after(this.#options.graceMs, () => this.#graceOver(provider));
      ticket.inbox.push({ type: "lost", attempt, host: AWAY });
    } else {
      lease.host = provider.host;
      const working = provider.working.has(attemptKey(reference));
      ticket.inbox.push({ type: "returned", attempt, working });
    }
    return lease;
  }

  /** Keeps a result whose call is open in the log but not taken up again yet; for the grace at most. */
  keepEarly(id: string, host: ToolHost, reference: CallReference, answer: CallAnswer): void {
    const key = attemptKey(reference);
    if (this.#early.size >= MAX_EARLY || this.#early.has(key)) return;
    this.#early.set(key, { id, host, answer });
    this.#deadlines.after(this.#options.graceMs, () => this.#early.delete(key));
  }

  /** Ends a ticket. With its outcome in the log, results that came too late get their verdict now. */
  close(ticket: Ticket, settled: boolean): void {
    this.#tickets.delete(`${ticket.session}/${ticket.call}`);
    for (const pool of this.#pools.values()) {
      if (pool.waiters.some((waiter) => waiter.ticket === ticket)) {
        pool.waiters = pool.waiters.filter((waiter) => waiter.ticket !== ticket);
      }
    }
    for (const event of ticket.inbox.drain()) {
      if (event.type === "lease") this.release(event.lease);
      else if (event.type === "result") {
        const { session, call } = ticket;
        ticket.late.push({ host: event.host, reference: { session, call, attempt: event.attempt } });
      }
    }
    for (const { host, reference } of settled ? ticket.late : []) {
      const verdict: Verdict = reference.attempt === ticket.stored ? "duplicate" : "stale";
      host.acknowledgeResult(reference, verdict);
    }
  }

  /** Reserves the least busy free provider of the tool, if there is one now. */
  tryLease(ticket: Ticket, tool: RegisteredTool, avoid: ReadonlySet<string> = new Set()): Lease | undefined {
    if (tool.inProcess) {
      const lease = new Lease(this.#local, ticket);
      this.#local.leases.add(lease);
      return lease;
    }
    const pool = this.#pools.get(poolKey(tool.scope, tool.specification.name));
    if (pool === undefined || pool.waiters.length > 0) return undefined;
    return choose(pool, ticket, avoid);
  }

  /** Sends the ticket a `lease` as soon as a provider is free, or `no-provider`. */
  wait(ticket: Ticket, tool: RegisteredTool, avoid: ReadonlySet<string>): void {
    if (tool.inProcess) {
      const { name } = tool.specification;
      const lease = this.#executes(name) ? this.tryLease(ticket, tool) : undefined;
      ticket.inbox.push(
        lease === undefined
          ? { type: "no-provider", detail: `nothing executes ${name} in this process` }
          : { type: "lease", lease },
      );
      return;
    }
    const pool = this.#pool(tool.scope, tool.specification.name);
    if (pool.waiters.length >= this.#options.maxWaiting) {
      ticket.inbox.push({ type: "no-provider", detail: "too many calls wait for this tool" });
      return;
    }
    pool.waiters.push({ ticket, avoid });
    this.#serve(pool);
    this.#checkEmpty(pool);
  }

  /** `open`: the call stays open in the log and its provider goes on with it; whoever takes it up finds it so. */
  release(lease: Lease, open = false): void {
    if (!lease.provider.leases.delete(lease)) return;
    const provider = this.#providers.get(lease.provider.id);
    if (provider === undefined) return;
    if (open && lease.host !== undefined && lease.host === provider.host) {
      const { session, call } = lease.ticket;
      provider.working.add(attemptKey({ session, call, attempt: lease.attempt }));
    }
    for (const pool of provider.pools) this.#serve(pool);
    this.#forgetIfUnused(provider);
  }

  /** Providers of a tool with a live socket, and their calls in flight. */
  load(tool: RegisteredTool): { providers: number; inFlight: number } {
    if (tool.inProcess) return { providers: 1, inFlight: this.#local.leases.size };
    const providers = [...(this.#pools.get(poolKey(tool.scope, tool.specification.name))?.providers ?? [])];
    return {
      providers: providers.filter((provider) => provider.host !== undefined).length,
      inFlight: providers.reduce((sum, provider) => sum + provider.leases.size, 0),
    };
  }

  get openCalls(): number {
    return this.#tickets.size;
  }

  // --- inside ---

  #ticketOf(id: string, reference: CallReference): Ticket | undefined {
    const ticket = this.#tickets.get(`${reference.session}/${reference.call}`);
    return ticket?.attempts.get(reference.attempt) === id ? ticket : undefined;
  }

  #provider(id: string): PooledProvider {
    let provider = this.#providers.get(id);
    if (provider === undefined) {
      const empty = { leases: new Set<Lease>(), pools: new Set<Pool>(), working: new Set<string>() };
      provider = { id, host: undefined, maxConcurrent: 8, forget: undefined, ...empty };
      this.#providers.set(id, provider);
    }
    return provider;
  }

  #pool(scope: Scope, name: string): Pool {
    const key = poolKey(scope, name);
    let pool = this.#pools.get(key);
    if (pool === undefined) {
      pool = { scope, name, providers: new Set(), waiters: [], stopCheck: undefined };
      this.#pools.set(key, pool);
    }
    return pool;
  }

  #serve(pool: Pool): void {
    while (pool.waiters.length > 0) {
      const { ticket, avoid } = pool.waiters[0]!;
      const lease = choose(pool, ticket, avoid);
      if (lease === undefined) return;
      pool.waiters.shift();
      ticket.inbox.push({ type: "lease", lease });
    }
    this.#dropIfUnused(pool);
  }

  /** Calls of a tool that nobody offers wait a bounded time. */
  #checkEmpty(pool: Pool): void {
    if (pool.waiters.length === 0 || pool.stopCheck !== undefined || hasHost(pool)) return;
    pool.stopCheck = this.#deadlines.after(this.#options.noProviderMs, () => {
      pool.stopCheck = undefined;
      if (hasHost(pool)) return;
      for (const { ticket } of pool.waiters.splice(0)) {
        ticket.inbox.push({ type: "no-provider", detail: `nobody offers ${pool.name} now` });
      }
      this.#dropIfUnused(pool);
    });
  }

  /** A provider is back: calls that went out on its old socket are either still being worked on, or forgotten. */
  #readopt(provider: PooledProvider, host: ToolHost): void {
    for (const lease of provider.leases) {
      if (lease.host === undefined || lease.host === host) continue;
      lease.host = host;
      const { ticket, attempt } = lease;
      const working = provider.working.has(
        attemptKey({ session: ticket.session, call: ticket.call, attempt }),
      );
      ticket.inbox.push({ type: "returned", attempt, working });
    }
  }

  #graceOver(provider: PooledProvider): void {
    provider.forget = undefined;
    for (const lease of provider.leases)
      lease.ticket.inbox.push({ type: "grace-over", attempt: lease.attempt });
    for (const pool of provider.pools) this.#leavePool(provider, pool);
    this.#forgetIfUnused(provider);
  }

  #leavePool(provider: PooledProvider, pool: Pool): void {
    pool.providers.delete(provider);
    provider.pools.delete(pool);
    if (pool.providers.size === 0) this.#registry.remove(pool.scope, pool.name);
    this.#checkEmpty(pool);
    this.#dropIfUnused(pool);
  }

  #dropIfUnused(pool: Pool): void {
    if (pool.providers.size === 0 && pool.waiters.length === 0)
      this.#pools.delete(poolKey(pool.scope, pool.name));
  }

  #forgetIfUnused(provider: PooledProvider): void {
    if (provider.id === LOCAL_PROVIDER || provider.pools.size > 0 || provider.leases.size > 0) return;
    provider.forget?.();
    this.#providers.delete(provider.id);
  }
}

function attemptKey({ session, call, attempt }: CallReference): string {
  return `${session}/${call}/${attempt}`;
}
