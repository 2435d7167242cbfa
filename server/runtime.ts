/**
 * The runtime: agents, tools, sessions and hooks in one embeddable object; the WebSocket server is built on this same
 * one. Owns registration, start and stop, recovery, and the in-process way of sending; never a socket and never a
 * decision that belongs to a session.
 */
import { hostname } from "node:os";
import type { Content, ToolOffer } from "../protocol/content.ts";
import { ProtocolError } from "../protocol/errors.ts";
import { checkPayload } from "../protocol/values.ts";
import type { OpenRun, SessionState } from "../protocol/frames.ts";
import { newId } from "../protocol/ids.ts";
import type { Agent, AgentOptions } from "./agent/agent.ts";
import { composeHooks, type AgentEvent, type ComposedHook, type Hook } from "./hook.ts";
import type { Model } from "./model/model.ts";
import { silentLog, type Log } from "./observe/log.ts";
import { checkContent, embedder, lastOf, Readers, type AgentResponse, type ReadEvent } from "./reader.ts";
import { AgentRegistry } from "./runtime/agents.ts";
import { servedModels } from "./runtime/models.ts";
import type { RuntimeOptions } from "./runtime/options.ts";
import type { Caller } from "./session/access.ts";
import * as commands from "./session/commands.ts";
import { attachmentLimits, checkAttachments, type AttachmentLimits } from "./session/attachments.ts";
import { createSession } from "./session/create.ts";
import { feedTotals, type FeedTotals } from "./session/feed.ts";
import { fork } from "./session/fork.ts";
import { RunGate } from "./session/gate.ts";
import { Import } from "./session/import.ts";
import { Indexer } from "./session/indexer.ts";
import { Membership } from "./session/membership.ts";
import { SessionQuota } from "./session/quota.ts";
import { allowedElsewhere } from "./session/allowed.ts";
import { SessionRegistry } from "./session/registry.ts";
import { Retention } from "./session/retention.ts";
import { retry } from "./session/retry.ts";
import type { SessionServices, SessionView } from "./session/services.ts";
import type { Session } from "./session/session.ts";
import { Spending } from "./session/spending.ts";
import { TaskKeeper } from "./session/tasks.ts";
import { Unheard } from "./session/unheard.ts";
import { Watches } from "./session/watches.ts";
import { CommitQueue } from "./store/commit.ts";
import { MemoryStore } from "./store/memory.ts";
import type { Store } from "./store/store.ts";
import { Deadlines } from "./tool/deadlines.ts";
import { LocalHost, type LocalTool } from "./tool/local.ts";
import { ToolRegistry } from "./tool/registry.ts";
import { Router } from "./tool/router.ts";

export class Runtime {
  readonly model: Model;
  readonly hook: ComposedHook;
  readonly store: Store;
  readonly commits: CommitQueue;
  readonly definitions: AgentRegistry;
  readonly tools = new ToolRegistry();
  readonly router: Router;
  readonly registry: SessionRegistry;
  readonly gate: RunGate;
  readonly feeds: FeedTotals = feedTotals();
  readonly maxQueue: number;
  readonly maxMembers: number;
  /** What was used in users' names, and what is left of it. */
  readonly spending: Spending;
  readonly #attachments: AttachmentLimits;
  readonly maxInvites: number;
  readonly log: Log;
  readonly #local = new LocalHost();
  readonly #deadlines: Deadlines;
  readonly #services: SessionServices;
  readonly #tasks: TaskKeeper;
  readonly #membership: Membership;
  readonly #retention: Retention | undefined;
  readonly watches: Watches;
  readonly indexer: Indexer;
  readonly #unheard: Unheard | undefined;
  readonly #readers = new Readers();
  /** Called with every committed entry and delta of every session; must not throw. */
  onEvent: (event: AgentEvent) => void = () => {};
  #started: Promise<void> | undefined;
  #closed = false;

  constructor(model: Model, hook: Hook | readonly Hook[] = [], options: RuntimeOptions = {}) {
    const { now = Date.now, coalesceMs, snapshotEvery, retentionDays, unheard } = options;
    const idleMs = options.idleMs ?? 10_000;
    this.model = model;
    this.hook = composeHooks(...(Array.isArray(hook) ? (hook as readonly Hook[]) : [hook as Hook]));
    this.store = options.store ?? new MemoryStore();
    this.commits = options.commits ?? new CommitQueue(this.store);
    this.log = options.log ?? silentLog();
    this.maxQueue = options.maxQueue ?? 64;
    this.maxMembers = options.maxMembers ?? 1000;
    this.#attachments = attachmentLimits(options);
    this.maxInvites = options.maxInvites ?? 100;
    this.#deadlines = new Deadlines(now);
    this.router = new Router(this.tools, this.#local, this.#deadlines, options.router);
    this.#local.connect(this.router);
    this.gate = new RunGate(options);
    this.spending = new Spending(this.store, options.budgets ?? {}, now);
    this.definitions = new AgentRegistry({
      store: this.store,
      log: this.log,
      now,
      build: (definition) => this.hook.onBuildAgent(definition),
      problem: options.modelProblem ?? (() => undefined),
      inUse: () => this.registry.definitionsInUse(),
    });
    this.#tasks = new TaskKeeper(() => ({ ...this.#services, registry: this.registry }), options);
    const services: SessionServices = (this.#services = {
      gate: this.gate,
      quota: new SessionQuota(this.store, options),
      store: this.store,
      commits: this.commits,
      tools: this.tools,
      router: this.router,
      deadlines: this.#deadlines,
      timings: options.timings ?? {},
      limits: { maxQueue: this.maxQueue, idleMs, coalesceMs, snapshotEvery },
      presence: options.presence,
      feeds: this.feeds,
      log: this.log,
      now,
      startedAt: now(),
      member: () => this.#membership.member,
      agents: this.definitions,
      model: servedModels(model, options),
      spending: this.spending,
      tasks: this.#tasks,
      allowed: (of, but) => allowedElsewhere(this.store, this.registry, of, but),
      onCompact: (prompt) => this.hook.onCompact(prompt),
      observe: (session, event, run) => this.#observe(session, event, run),
      finishing: () => this.registry.finishing,
      dropped: (session, cause) => this.#dropped(session, cause),
      changed: (...change) => this.#changed(...change),
    });
    this.watches = new Watches(options.watches);
    this.registry = new SessionRegistry(services);
    this.indexer = new Indexer(services);
    this.#membership = new Membership({
      store: this.store,
      node: options.node ?? `${hostname()}-${process.pid}`,
      log: this.log,
      recover: async () => {
        const failed = await this.registry.recover();
        await this.definitions.prune();
        return failed;
      },
    });
    const parts = { ...services, registry: this.registry, watches: this.watches };
    if (unheard !== undefined) this.#unheard = new Unheard(parts, unheard);
    if (retentionDays !== undefined) this.#retention = new Retention(parts, retentionDays);
  }

  // --- start and stop ---

  /** Registers the hook's tools, joins the store and recovers what was left open. Every other method waits for it. */
  start(): Promise<void> {
    return (this.#started ??= this.#start());
  }

  async #start(): Promise<void> {
    await this.hook.onRegisterTools({ register: (tool) => this.registerTool(tool) });
    await this.definitions.load();
    await this.#membership.join();
    this.indexer.start();
    this.#retention?.start();
    await this.#unheard?.start();
  }

  /** Stops where it is: appends in flight settle, open runs stay open in the log for recovery. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#membership.close();
    this.#unheard?.close();
    await this.#retention?.close();
    await this.indexer.close();
    await this.registry.close();
    this.#readers.fail(undefined, new ProtocolError("closed", "the runtime was closed"));
    await this.commits.close();
    await this.#membership.leave();
    await this.store.close();
    this.#deadlines.close();
  }

  // --- tools ---

  /** Registers an in-process tool, in place of one of the same name. Without `execute` calls of it are unavailable. */
  registerTool(tool: ToolOffer | LocalTool): void {
    this.tools.register(tool);
    if ("execute" in tool) this.#local.set(tool.name, tool.execute);
  }

  /** False when there was none. Runs that began with it keep it in their set; its calls are unavailable. */
  unregisterTool(name: string): boolean {
    this.#local.delete(name);
    return this.tools.unregister(name);
  }

  // --- agents ---

  /** Registers an agent, in place of one of the same name; open runs keep the one they began with. */
  addAgent(options: AgentOptions): Promise<Agent> {
    return this.definitions.register(options);
  }

  /** The definition as it was registered, as a copy that may be changed. */
  agent(name: string): AgentOptions | undefined {
    return structuredClone(this.getAgent(name));
  }

  /** Copies of all definitions, by name. */
  agents(): AgentOptions[] {
    return this.definitions.names().map((name) => this.agent(name)!);
  }

  /** The frozen agent itself. */
  getAgent(name: string): Agent | undefined {
    return this.definitions.get(name);
  }

  // --- sessions ---

  /** A new session's id. Throws ProtocolError `not-found` for an agent that is not registered. */
  async createSession(agent: string, createdBy = ""): Promise<string> {
    await this.start();
    this.definitions.require(agent);
    const caller = embedder(createdBy);
    return (await createSession(this.registry, this.store, caller, { agent })).session;
  }

  /** Closes a session: true the first time, false when it was closed before or never was. It stays readable. */
  async closeSession(id: string): Promise<boolean> {
    await this.start();
    try {
      await this.registry.with(id, (session) => commands.close(session, embedder()));
      return true;
    } catch (error) {
      if (error instanceof ProtocolError && (error.code === "closed" || error.code === "not-found"))
        return false;
      throw error;
    }
  }

  /** Deletes a session for ever, its run with it: true the first time, false when there is none. */
  async deleteSession(id: string): Promise<boolean> {
    await this.start();
    try {
      await this.registry.with(id, (session) => commands.remove(session, embedder()));
      return true;
    } catch (error) {
      if (error instanceof ProtocolError && error.code === "not-found") return false;
      throw error;
    }
  }

  /**
   * A new session's id, which begins with what was said in this one up to `at`, the seq of a `run-finished` (the last one
   * unless told). Throws ProtocolError `not-found`, `conflict` (no run has finished yet), `bad-frame` (no such place).
   */
  async forkSession(id: string, createdBy = "", { at }: { at?: number } = {}): Promise<string> {
    await this.start();
    const caller = embedder(createdBy);
    return this.registry.with(id, async ({ state }) => {
      this.definitions.require(state.session.agent);
      return (await fork(this.registry, this.store, caller, state, { at })).session;
    });
  }

  /**
   * Has the session's agent sum up what was said, and answers the summary once it is committed. Throws ProtocolError
   * `not-found`, `busy` (a run is open), `conflict` (nothing was answered since the last one), `closed`, `unavailable`
   * (the model gave none), `timeout`.
   */
  async compactSession(id: string, sender = ""): Promise<string> {
    await this.start();
    const caller = embedder(sender);
    return this.registry.with(id, async (session) => (await session.compactor.run(caller)).summary);
  }

  /** The session's state as committed now; undefined when there is no such session. Never waits for a run. */
  async session(id: string): Promise<SessionState | undefined> {
    await this.start();
    try {
      return await this.registry.with(id, (session) => Promise.resolve(session.state));
    } catch (error) {
      if (error instanceof ProtocolError && error.code === "not-found") return undefined;
      throw error;
    }
  }

  /** Ids of all sessions, newest first. */
  async *sessions(): AsyncGenerator<string, void> {
    await this.start();
    for (let cursor: string | undefined; ;) {
      const page = await this.store.list({ limit: 200, ...(cursor === undefined ? {} : { cursor }) });
      for (const { id } of page.items) yield id;
      if (page.cursor === undefined) return;
      ({ cursor } = page);
    }
  }

  /** A session that is to be made of an exported log. */
  startImport(id: string): Import {
    return new Import(id, { ...this.#services, registry: this.registry });
  }

  // --- sending ---

  /** Content that may be sent. Throws ProtocolError `too-large`. */
  checkInput(content: Content): Content {
    checkPayload("content", content);
    checkAttachments(content, this.#attachments);
    return content;
  }

  /** In-process readers now: callers of `sendTo` and `streamTo` whose run has not ended. */
  get readers(): number {
    return this.#readers.size;
  }

  /** Sends and runs to the end. Throws ProtocolError when the input is refused or withdrawn, `closed` when all ends. */
  sendTo(session: string, content: Content, sender = ""): Promise<AgentResponse> {
    return lastOf(this.#send(session, content, sender));
  }

  /** Sends and yields what the run does, as it does it; the last event is `run-finished`. Leaving early stops nothing. */
  async *streamTo(session: string, content: Content, sender = ""): AsyncGenerator<AgentEvent, void> {
    for await (const { event } of this.#send(session, content, sender)) yield event;
  }

  /**
   * Asks again what a run was asked that did not answer, and runs to the end. Throws ProtocolError `not-found` (no such
   * run among the state's messages), `conflict` (it is open, or it answered), and what `sendTo` throws.
   */
  retry(session: string, run: string, sender = ""): Promise<AgentResponse> {
    return lastOf(
      this.#read(session, sender, (held, caller) => retry(held, caller, { run, key: newId("key") }, this)),
    );
  }

  /** Stops a run and waits for nothing: false when it had ended before. Throws ProtocolError `not-found`. */
  async cancel(session: string, run: string): Promise<boolean> {
    await this.start();
    const { state } = await this.registry.with(session, (held) => commands.cancel(held, embedder(), run));
    return state === "cancelling";
  }

  #send(session: string, content: Content, sender: string): AsyncGenerator<ReadEvent, void> {
    return this.#read(session, sender, (held, caller) =>
      commands.send(
        held,
        caller,
        { key: newId("key"), content: this.checkInput(checkContent(content)) },
        this,
      ),
    );
  }

  async *#read(
    id: string,
    sender: string,
    send: (session: Session, caller: Caller) => Promise<{ input: string }>,
  ): AsyncGenerator<ReadEvent, void> {
    await this.start();
    const caller = embedder(sender);
    yield* this.#readers.follow(id, () => this.registry.with(id, (session) => send(session, caller)));
  }

  // --- what sessions tell ---

  #observe(session: SessionView, event: AgentEvent, run: OpenRun | undefined): void {
    this.onEvent(event);
    this.#readers.take(session.id, event);
    const agent = run?.agent ?? session.state.session.agent;
    const context = { session: session.id, run: event.run, agent, actor: run?.actor };
    // Called now, so that events keep their order; a slow or failing hook is its own affair.
    this.hook.onEvent(context, event).catch((error: unknown) => {
      this.log.error({ session: session.id, err: error }, "a hook failed");
    });
  }

  #changed(...change: Parameters<SessionServices["changed"]>): void {
    this.watches.changed(...change);
    this.indexer.changed(change[0].id, change[2]);
    this.#tasks.changed(...change);
    this.#unheard?.changed(change[0], change[1]);
  }

  #dropped(session: SessionView, cause: "deleted" | "lost"): void {
    this.registry.forget(session, cause);
    if (cause === "deleted") {
      this.watches.deleted(session);
      this.#tasks.deleted(session);
      this.#readers.fail(session.id, new ProtocolError("closed", "the session was deleted"));
      return;
    }
    // Also when nothing was open: an append whose answer was lost may have opened it.
    this.#membership.recoverSoon();
  }
}
