/**
 * The router: the meeting point of open calls and those who execute them. Owns the tickets of open calls and matches what
 * providers say to them; results that come before their call is taken up wait here. Never decides a call's outcome
 * (call.ts) and never writes to a log: it pushes events into the ticket of the call.
 */
import type { JsonValue, Labels, Verdict } from "../../protocol/content.ts";
import type { ListedProvider } from "../../protocol/frames.ts";
import { Affinity } from "./affinity.ts";
import type { Deadlines } from "./deadlines.ts";
import { Inbox } from "./inbox.ts";
import { poolKey } from "./pool.ts";
import { Pools } from "./pools.ts";
import type { Offerer } from "./pool.ts";
import type { PoolOptions } from "./pools.ts";
import { Providers } from "./providers.ts";
import type { Offer, ProviderOptions } from "./providers.ts";
import type { RegisteredTool, Scope, ToolRegistry } from "./registry.ts";
import { Lease } from "./ticket.ts";
import type { GivenResult, Provider, Ticket } from "./ticket.ts";
import { LOCAL_PROVIDER } from "./tool.ts";
import type { CallReference, ToolHost } from "./tool.ts";

/** Calls whose results may wait for them to be taken up again. */
const MAX_EARLY = 10_000;

/** Providers of one tool that a list names. */
const MAX_LISTED = 100;

export interface PoolLoad {
  /** With a live socket. */
  readonly providers: number;
  readonly inFlight: number;
  readonly waiting: number;
  /** The first hundred of them, those away included. */
  readonly pool: ListedProvider[];
}

export interface RouterOptions extends PoolOptions, ProviderOptions {
  /** Progress of a call is shown at most so often, the latest; what comes meanwhile is passed over. Default 100 ms. */
  progressEveryMs?: number;
}

export class Router {
  readonly #deadlines: Deadlines;
  readonly #progressEveryMs: number;
  readonly #pools: Pools;
  readonly #providers: Providers;
  readonly #tickets = new Map<string, Ticket>();
  readonly #local: Provider;
  readonly #affinity = new Affinity();
  readonly #executes: (name: string) => boolean;
  /** By call, then by attempt. */
  readonly #early = new Map<string, Map<number, GivenResult>>();

  /** `local` executes in-process tools; its `has` says which. */
  constructor(
    registry: ToolRegistry,
    local: ToolHost & { has(name: string): boolean },
    deadlines: Deadlines,
    options: RouterOptions = {},
  ) {
    this.#executes = (name) => local.has(name);
    this.#deadlines = deadlines;
    this.#progressEveryMs = options.progressEveryMs ?? 100;
    this.#pools = new Pools(registry, deadlines, options);
    this.#providers = new Providers(registry, this.#pools, deadlines, options);
    const maxConcurrent = Number.MAX_SAFE_INTEGER;
    this.#local = { id: LOCAL_PROVIDER, host: local, maxConcurrent, leases: new Set(), forget: undefined };
  }

  get graceMs(): number {
    return this.#providers.graceMs;
  }

  // --- the provider's side ---

  /** Adds a provider's tools; all or none. Throws ProtocolError `conflict` or `bad-frame`. */
  offer(id: string, host: ToolHost, offer: Offer): string[] {
    return this.#providers.offer(id, host, offer);
  }

  /** Takes tools back (all when no names are given); calls in flight go on. */
  withdraw(id: string, names?: readonly string[]): void {
    this.#providers.withdraw(id, names);
  }

  /** Who may provide in a scope has changed: whoever may not any more loses the place and its calls. */
  keep(scope: Scope, may: (by: Offerer, tool: string) => boolean): void {
    this.#providers.keep(scope, may);
  }

  /** A provider has other rights now. Answers the scopes in which it offers tools: what it may keep there is to be asked. */
  renew(id: string, by: Offerer): Scope[] {
    return this.#providers.renew(id, by);
  }

  /** The provider's socket is gone. `superseded`: a newer connection of it is there already. */
  gone(id: string, host: ToolHost, superseded: boolean): void {
    this.#providers.gone(id, host, superseded);
  }

  /** The provider takes no more calls; what it has it finishes, and then its tools are taken back. False: there is none. */
  drain(id: string): boolean {
    return this.#providers.drain(id);
  }

  accepted(id: string, reference: CallReference): void {
    const ticket = this.#ticketOf(id, reference);
    ticket?.inbox.push({ type: "accepted", attempt: reference.attempt });
  }

  progress(id: string, reference: CallReference, progress: JsonValue): void {
    const ticket = this.#ticketOf(id, reference);
    if (ticket === undefined || ticket.answered !== undefined) return;
    const isPaused = ticket.progress !== undefined;
    ticket.progress = () => ticket.onProgress(reference.attempt, progress);
    if (!isPaused) this.#showProgress(ticket);
  }

  /** Whether the attempt is this provider's, of a call that is taken up here. */
  isOpen(id: string, reference: CallReference): boolean {
    return this.#ticketOf(id, reference) !== undefined;
  }

  /** False: no such call is open for this provider, and only the log knows the verdict. */
  result(result: GivenResult): boolean {
    const ticket = this.#ticketOf(result.id, result.reference);
    if (ticket === undefined) return false;
    this.#take(ticket, result);
    return true;
  }

  /**
   * A result whose call is open in the log, which names this provider for the attempt: of an attempt before the one that
   * was taken up again, or of a call that is not yet. Kept for the grace at most.
   */
  resultByLog(result: GivenResult): void {
    const { id, reference } = result;
    const ticket = this.#tickets.get(callKey(reference));
    if (ticket !== undefined) {
      ticket.attempts.set(reference.attempt, id);
      this.#take(ticket, result);
    } else this.#keep(result);
  }

  /** For whoever takes the call up, within the grace. */
  #keep(result: GivenResult): void {
    const { reference } = result;
    const key = callKey(reference);
    let early = this.#early.get(key);
    if (early === undefined) {
      if (this.#early.size >= MAX_EARLY) return;
      const waiting = (early = new Map<number, GivenResult>());
      this.#early.set(key, waiting);
      this.#deadlines.after(this.graceMs, () => {
        // What was taken up meanwhile has its verdict from there.
        if (this.#early.get(key) !== waiting) return;
        this.#early.delete(key);
        for (const { again } of waiting.values()) again?.();
      });
    }
    early.set(reference.attempt, result);
  }

  /** Until what is answered is called, this provider's attempt is not taken for forgotten: its result is here. */
  expectResult(id: string, reference: CallReference): () => void {
    return this.#providers.expectResult(id, reference);
  }

  #take(ticket: Ticket, result: GivenResult): void {
    const { id, host, reference, answer } = result;
    ticket.results.push(result);
    if (ticket.affinity) this.#affinity.note(ticket.session, id);
    if (ticket.answered === undefined) {
      ticket.progress?.();
      ticket.progress = undefined;
      // These two may end no more than their attempt.
      const { code } = answer.error ?? {};
      if (code !== "not-started" && code !== "cancelled") ticket.answered = reference.attempt;
      ticket.inbox.push({ type: "result", attempt: reference.attempt, answer, host });
    } else {
      ticket.late.push({ host, reference });
    }
  }

  // --- the call's side ---

  /** `affinity`: who served the session last comes first. */
  open(
    session: string,
    call: string,
    onProgress: Ticket["onProgress"],
    tool: RegisteredTool,
    { labels = {}, affinity = false }: { labels?: Labels | undefined; affinity?: boolean } = {},
  ): Ticket {
    const ticket: Ticket = {
      session,
      call,
      scope: tool.scope,
      tool: tool.specification.name,
      inbox: new Inbox(),
      attempts: new Map(),
      onProgress,
      labels,
      affinity,
      prefer: () => (affinity ? this.#affinity.of(session) : []),
      resting: new Set(),
      late: [],
      results: [],
      answered: undefined,
      progress: undefined,
      stored: undefined,
    };
    const key = callKey(ticket);
    this.#tickets.set(key, ticket);
    for (const [attempt, result] of this.#early.get(key) ?? []) {
      ticket.attempts.set(attempt, result.id);
      this.#take(ticket, result);
    }
    this.#early.delete(key);
    return ticket;
  }

  /**
   * Takes up an attempt that another process dispatched: its provider is waited for, or is back already. Events follow as
   * if its socket had been lost here.
   */
  adopt(ticket: Ticket, id: string, attempt: number, tool: RegisteredTool): Lease {
    ticket.attempts.set(attempt, id);
    if (id === LOCAL_PROVIDER) {
      // What this process executed died with it.
      const lease = this.#localLease(ticket, tool);
      lease.attempt = attempt;
      ticket.inbox.push({ type: "returned", attempt, working: false });
      return lease;
    }
    return this.#providers.adopt(id, ticket, attempt, tool);
  }

  /** Tells everybody who was given an attempt to stop, those included that the call has moved on from. */
  cancelAll(ticket: Ticket, reason: string): void {
    const { session, call } = ticket;
    for (const [attempt, id] of ticket.attempts)
      this.#hostOf(id)?.cancelCall({ session, call, attempt }, reason);
  }

  #hostOf(id: string): ToolHost | undefined {
    return id === LOCAL_PROVIDER ? this.#local.host : this.#providers.hostOf(id);
  }

  /** Ends a ticket. With its outcome in the log, results that came too late get their verdict now. */
  close(ticket: Ticket, settled: boolean): void {
    this.#tickets.delete(callKey(ticket));
    this.#pools.leaveLine(ticket);
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
    if (settled) return;
    // The call is open in the log, as when its append failed; its provider says nothing twice on one socket.
    for (const result of ticket.results) if (result.answer.error?.code !== "not-started") this.#keep(result);
  }

  /** Reserves the least busy free provider of the tool, if there is one now. */
  tryLease(ticket: Ticket, tool: RegisteredTool, avoid: ReadonlySet<string> = new Set()): Lease | undefined {
    return tool.inProcess ? this.#localLease(ticket, tool) : this.#pools.lease(ticket, tool, avoid);
  }

  /** Sends the ticket a `lease` as soon as a provider is free, or `no-provider`. */
  wait(ticket: Ticket, tool: RegisteredTool, avoid: ReadonlySet<string>): void {
    if (!tool.inProcess) {
      this.#pools.wait(ticket, tool, avoid);
      return;
    }
    const { name } = tool.specification;
    if (ticket.resting.has(LOCAL_PROVIDER)) return;
    ticket.inbox.push(
      this.#executes(name)
        ? { type: "lease", lease: this.#localLease(ticket, tool) }
        : { type: "no-provider", detail: `nothing executes ${name} in this process` },
    );
  }

  /** `open`: the call stays open in the log and its provider goes on with it; whoever takes it up finds it so. */
  release(lease: Lease, open = false): void {
    if (lease.provider === this.#local) this.#local.leases.delete(lease);
    else this.#providers.release(lease, open);
  }

  /** Who offers a tool, and the calls of it that are in flight or wait. */
  load(tool: RegisteredTool): PoolLoad {
    if (tool.inProcess) {
      return {
        providers: 1,
        inFlight: inFlight([this.#local], tool.specification.name),
        waiting: 0,
        pool: [],
      };
    }
    const pool = this.#pools.of(tool);
    const all = [...(pool?.offers.keys() ?? [])];
    return {
      providers: all.filter((provider) => provider.host !== undefined).length,
      inFlight: inFlight(all, poolKey(tool.scope, tool.specification.name)),
      waiting: pool?.waiters.length ?? 0,
      pool: all.slice(0, MAX_LISTED).map((provider) => ({
        provider: provider.id,
        state: provider.host === undefined ? "away" : provider.draining ? "draining" : "ready",
        inFlight: provider.leases.size,
        maxConcurrent: provider.maxConcurrent,
        ...(Object.keys(provider.labels).length > 0 ? { labels: provider.labels } : {}),
      })),
    };
  }

  /** Of all tools, the in-process ones included. */
  get totals(): { providers: number; inFlight: number; waiting: number } {
    const { here, inFlight: remote } = this.#providers.totals;
    return { providers: here, inFlight: remote + this.#local.leases.size, waiting: this.#pools.waiting };
  }

  get openCalls(): number {
    return this.#tickets.size;
  }

  // --- inside ---

  /** What there is now, and after a pause the last of what came meanwhile. */
  #showProgress(ticket: Ticket): void {
    ticket.progress?.();
    const nothing = (): void => {};
    ticket.progress = nothing;
    this.#deadlines.after(this.#progressEveryMs, () => {
      if (ticket.progress === nothing) ticket.progress = undefined;
      else if (ticket.answered === undefined && this.#isOpen(ticket)) this.#showProgress(ticket);
    });
  }

  #isOpen(ticket: Ticket): boolean {
    return this.#tickets.get(`${ticket.session}/${ticket.call}`) === ticket;
  }

  #ticketOf(id: string, reference: CallReference): Ticket | undefined {
    const ticket = this.#tickets.get(callKey(reference));
    return ticket?.attempts.get(reference.attempt) === id ? ticket : undefined;
  }

  #localLease(ticket: Ticket, tool: RegisteredTool): Lease {
    const lease = new Lease(this.#local, ticket, tool.specification.name);
    this.#local.leases.add(lease);
    return lease;
  }
}

function inFlight(providers: readonly Provider[], tool: string): number {
  let count = 0;
  for (const { leases } of providers) for (const lease of leases) if (lease.tool === tool) count++;
  return count;
}

function callKey({ session, call }: { readonly session: string; readonly call: string }): string {
  return `${session}/${call}`;
}
