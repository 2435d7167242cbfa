/**
 * The server: the one place where store, commit queue, runtime, sockets, HTTP and metrics are made and tied together, and
 * taken apart in order. Owns start, readiness and stop; never a request, a frame or a session.
 */
import { hostname } from "node:os";
import type { AgentOptions } from "./agent/agent.ts";
import { ConfigError } from "./config.ts";
import type { Limits } from "./config/limits.ts";
import { demoAgent, demoHook } from "./demo.ts";
import { createEdge } from "./edge/http.ts";
import { Page } from "./edge/page.ts";
import { webhookTell, type Webhook } from "./edge/webhook.ts";
import type { Hook } from "./hook.ts";
import { Catalog } from "./model/catalog.ts";
import type { Model } from "./model/model.ts";
import { scriptedModel } from "./model/scripted.ts";
import { openAudit, type Audit } from "./observe/audit.ts";
import { countEvents } from "./observe/events.ts";
import { createLog, flushLog, type Log, type LogLevel } from "./observe/log.ts";
import { Metrics } from "./observe/metrics.ts";
import { VERSION } from "./observe/version.ts";
import { Runtime } from "./runtime.ts";
import type { RuntimeOptions } from "./runtime/options.ts";
import { Authenticator } from "./auth/authenticator.ts";
import { authOptions, doorProblems, type DoorSettings } from "./server/auth.ts";
import { collect } from "./server/collect.ts";
import { Connections, type ConnectionsOptions } from "./socket/connections.ts";
import { createDispatch } from "./socket/dispatch.ts";
import { Listener, type ListenOptions } from "./socket/listen.ts";
import { CommitQueue } from "./store/commit.ts";
import { EmbeddedStore } from "./store/embedded.ts";
import { MemoryStore } from "./store/memory.ts";
import type { Store } from "./store/store.ts";

/** Everything a configuration has, and what only a program can give. Defaults as in config.ts. */
export interface ServerOptions extends DoorSettings {
  readonly port?: number;
  readonly data?: string;
  /** `embedded` (in `data`), `memory`, or a store that was opened; it is closed with the server. */
  readonly store?: string | Store;
  readonly redisUrl?: string | undefined;
  /** A level, or a log of one's own. */
  readonly log?: LogLevel | Log;
  readonly providerGraceMs?: number;
  /** Sessions without an entry for so many days are deleted, unless something is open in them; never unless told. */
  readonly retentionDays?: number | undefined;
  /** Who is told of requests that nobody online may answer, after `webhookDelayMs` (10 000). */
  readonly webhooks?: readonly Webhook[] | undefined;
  readonly webhookDelayMs?: number;
  /** Without agents there is one, `demo`, with two tools. */
  readonly agents?: readonly AgentOptions[] | undefined;
  readonly hook?: Hook | readonly Hook[];
  /** Models by the name that agents give; `scripted` is always there. */
  readonly models?: ((name: string) => Model | undefined) | Readonly<Record<string, unknown>>;
  readonly allowedHosts?: readonly string[] | undefined;
  readonly allowedOrigins?: readonly string[] | undefined;
  /** At a stop: ms between "not ready" and the goodbye (0), and over which the goodbyes are spread (0). */
  readonly readyWaitMs?: number;
  /** At a stop: ms that open runs may take to end (0); what is open then goes on at the next start. None begins. */
  readonly runWaitMs?: number;
  readonly drainSpreadMs?: number;
  /** How long commits may take to finish at a stop (1000), and clients to close (400). */
  readonly commitWaitMs?: number;
  readonly closeWaitMs?: number;
  /** Limits of any part by their names, for those of the parts' own options that are numbers an operator chooses. */
  readonly limits?: Limits | undefined;
  /** Hosts of files that models may be pointed to, wherever they are; else only public https addresses. */
  readonly fileHosts?: readonly string[] | undefined;
  /** What models cost, and what sessions may use; as a runtime's. */
  readonly prices?: RuntimeOptions["prices"];
  readonly budgets?: RuntimeOptions["budgets"];
  /** A file to which every event of security is appended, a line each; none unless told. */
  readonly auditLog?: string | undefined;
  /** Options of the parts. */
  readonly connections?: ConnectionsOptions;
  readonly listen?: Partial<ListenOptions>;
  readonly runtime?: Omit<RuntimeOptions, "store" | "commits" | "models" | "log" | "node">;
  /** Where a field comes from, for errors. */
  readonly where?: (field: string) => string;
}

export interface HauloutServer {
  /** Where pages and clients reach it: `http://127.0.0.1:4787`. */
  readonly url: string;
  readonly port: number;
  readonly runtime: Runtime;
  readonly connections: Connections;
  readonly metrics: Metrics;
  readonly log: Log;
  /**
   * Takes other settings of authentication (of the same mode) and another certificate, without a restart; connections
   * whose token does not count any more are closed with 4401. Throws ConfigError, and goes on as before.
   */
  reload(settings: Pick<DoorSettings, "auth" | "tls">, where?: (field: string) => string): void;
  /** Drains and stops, once, whoever calls; with `force` cuts everything off instead. */
  stop(options?: { readonly force?: boolean }): Promise<void>;
}

/** What cannot work although each field is well formed: a line each. */
export function findProblems(options: ServerOptions): string[] {
  const { where = (field: string) => field } = options;
  const problems = doorProblems(options, where);
  if (typeof options.store === "string" && !["embedded", "memory"].includes(options.store)) {
    problems.push(`${where("store")}: PostgreSQL is not available in this version; use embedded or memory`);
  }
  if (options.redisUrl !== undefined) {
    problems.push(`${where("redisUrl")}: Redis is not available in this version; it serves one node`);
  }
  problems.push(...unpriced(options).map((field) => `${where("budgets")}.${field}.cost: needs prices`));
  const catalog = catalogOf(options);
  problems.push(...catalog.problems.map((problem) => `${where("models")}.${problem}`));
  for (const [at, { model = "scripted", fallback = [] }] of (options.agents ?? []).entries()) {
    for (const [index, name] of [model, ...fallback].entries()) {
      const problem = catalog.problem(name);
      const field = index === 0 ? "model" : `fallback[${index - 1}]`;
      if (problem !== undefined) problems.push(`${where("agents")}[${at}].${field}: ${problem}`);
    }
  }
  return problems;
}

/** Budgets of cost, where nothing has a price. */
function unpriced({ budgets = {}, prices = {} }: ServerOptions): string[] {
  const { session, user } = budgets;
  const all = { session, "user.day": user?.day, "user.total": user?.total };
  if (Object.keys(prices).length > 0) return [];
  return Object.entries(all).flatMap(([field, budget]) => (budget?.cost === undefined ? [] : [field]));
}

/** The models that agents may name: a program's own, and those that the settings give access to. */
export function catalogOf({ models = {} }: Pick<ServerOptions, "models">): Catalog {
  return new Catalog(typeof models === "function" ? { given: models } : { settings: models });
}

/** Resolves when clients are served. Throws ConfigError for what cannot work, else what kept it from starting. */
export async function startServer(options: ServerOptions = {}): Promise<HauloutServer> {
  const problems = findProblems(options);
  if (problems.length > 0) throw new ConfigError(problems);
  const log = typeof options.log === "object" ? options.log : createLog({ level: options.log ?? "info" });
  const failed = (error: unknown): void => log.error({ error }, "the program's own authentication failed");
  const authenticator = new Authenticator(authOptions(options, failed));
  const audit = openAudit(options.auditLog);
  const metrics = new Metrics({ version: VERSION });
  const node = `${hostname()}-${process.pid}`;
  const host = options.host ?? "127.0.0.1";
  let state: "starting" | "ready" | "draining" = "starting";
  let runtime: Runtime | undefined;
  const listener = new Listener(
    {
      metrics,
      request: createEdge({
        version: VERSION,
        notReady: () => (state === "ready" ? probeStore(runtime?.store) : state),
        metrics: () => metrics.text(),
        openMetrics: options.openMetrics ?? false,
        authenticator,
        audit,
        page: Page.find(),
        originAllowed: (from) => listener.originAllowed(from),
      }),
      accept: (...upgraded) => connections.accept(...upgraded),
      refusing: () => (state === "ready" ? undefined : `The server is ${state}.`),
    },
    {
      port: options.port ?? 4787,
      host,
      allowedHosts: options.allowedHosts,
      allowedOrigins: options.allowedOrigins,
      basePath: options.basePath,
      tls: options.tls,
      trustedProxies: options.trustedProxies,
      ...limitsOf(options),
      ...options.listen,
    },
  );
  // Before the store: a port that is taken is found out before a directory is made.
  const port = await listener.listen();
  try {
    runtime = await startRuntime(options, { metrics, log, node });
  } catch (error) {
    metrics.close();
    await listener.close();
    throw error;
  }
  const connections = new Connections(
    {
      node,
      authenticator,
      dispatch: createDispatch(runtime, audit),
      audit,
      metrics,
      log,
    },
    { ...limitsOf(options), maxQueue: runtime.maxQueue, ...options.connections },
  );
  collect(metrics, runtime, connections);
  state = "ready";
  const scheme = options.tls === undefined ? "http" : "https";
  const url = `${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}${options.basePath ?? ""}`;
  log.info({ url, node, version: VERSION, auth: authenticator.mode }, "ready");

  const parts = { listener, runtime, connections, metrics, log, audit };
  let stopping: Promise<void> | undefined;
  return {
    ...parts,
    url,
    port,
    reload({ auth, tls }, where = (field) => field) {
      const { authenticate } = options;
      const wrong = doorProblems({ ...options, auth, tls }, where);
      if ((tls === undefined) !== (options.tls === undefined))
        wrong.push(`${where("tls")}: takes a restart to change`);
      if (authOptions({ auth, authenticate }).mode !== authenticator.mode)
        wrong.push(`${where("auth")}.mode: takes a restart to change`);
      if (wrong.length > 0) throw new ConfigError(wrong);
      authenticator.reload(authOptions({ auth, authenticate }, failed));
      if (tls !== undefined) listener.reloadTls(tls);
      connections.review();
      log.info("settings were read again");
    },
    stop({ force = false } = {}) {
      state = "draining";
      if (force) return cutOff(parts);
      return (stopping ??= drain(parts, options));
    },
  };
}

async function startRuntime(
  options: ServerOptions,
  { metrics, log, node }: { metrics: Metrics; log: Log; node: string },
): Promise<Runtime> {
  const store = await openStore(options);
  const commits = new CommitQueue(store, {
    onCommit: ({ entries, bytes, ms }) => {
      metrics.commits.add(1);
      metrics.commitEntries.add(entries);
      metrics.commitBytes.add(bytes);
      metrics.commitSeconds.observe(ms / 1000);
    },
  });
  const hooks = [options.hook ?? []].flat();
  const catalog = catalogOf(options);
  const runtime = new Runtime(scriptedModel, options.agents === undefined ? [demoHook, ...hooks] : hooks, {
    ...limitsOf(options),
    fileHosts: options.fileHosts,
    prices: options.prices,
    budgets: options.budgets,
    ...options.runtime,
    retentionDays: options.retentionDays ?? options.runtime?.retentionDays,
    unheard: unheardOf(options),
    router: { ...limitsOf(options), graceMs: options.providerGraceMs ?? 30_000, ...options.runtime?.router },
    models: (name) => catalog.model(name),
    modelProblem: (name) => problemOfPut(name, options, catalog),
    store,
    commits,
    log,
    node,
  });
  const count = countEvents(metrics);
  runtime.onEvent = (event) => {
    if (event.type === "event") count(event);
  };
  try {
    for (const agent of options.agents ?? [demoAgent]) await runtime.addAgent(agent);
    await runtime.start();
    return runtime;
  } catch (error) {
    await runtime.close();
    throw error;
  }
}

/** Why an agent that is put may not name the model: a file of code is named by who starts the server alone. */
function problemOfPut(name: string, { agents = [] }: ServerOptions, catalog: Catalog): string | undefined {
  const named = agents.some(({ model, fallback = [] }) => model === name || fallback.includes(name));
  if (name.startsWith("module:") && !named)
    return `"${name}": a module must stand in an agent of the configuration first`;
  return catalog.problem(name);
}

function unheardOf({ webhooks = [], webhookDelayMs, runtime }: ServerOptions): RuntimeOptions["unheard"] {
  if (webhooks.length === 0) return runtime?.unheard;
  const delay = webhookDelayMs === undefined ? {} : { delayMs: webhookDelayMs };
  return { ...runtime?.unheard, ...delay, tell: webhookTell(webhooks) };
}

async function openStore({ store = "embedded", data = "./haulout-data" }: ServerOptions): Promise<Store> {
  if (typeof store === "object") return store;
  return store === "memory" ? new MemoryStore() : EmbeddedStore.open(data);
}

/** Each part takes those that it knows. */
function limitsOf({ limits = {} }: ServerOptions): Record<string, number> {
  return Object.fromEntries(
    Object.entries(limits).filter((entry): entry is [string, number] => entry[1] !== undefined),
  );
}

/** Why the store cannot be used, as far as it tells within a second. */
async function probeStore(store: Store | undefined): Promise<string | undefined> {
  const late = new Promise<string>((resolve) => {
    setTimeout(() => resolve("the store does not answer"), 1000).unref();
  });
  const asked = store?.ready === undefined ? store?.load("readyz") : store.ready();
  const read = (asked ?? Promise.reject(new Error("no store"))).then(
    () => undefined,
    () => "the store cannot be used",
  );
  return Promise.race([read, late]);
}

interface Parts {
  readonly listener: Listener;
  readonly runtime: Runtime;
  readonly connections: Connections;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly audit: Audit;
}

/** Not ready, open runs, goodbye, commits, close, cut off the rest. What was acked is durable; open runs are recovered elsewhere. */
async function drain(
  { listener, runtime, connections, metrics, log, audit }: Parts,
  options: ServerOptions,
): Promise<void> {
  const began = performance.now();
  const { readyWaitMs = 0, runWaitMs = 0, drainSpreadMs = 0 } = options;
  const { commitWaitMs = 1000, closeWaitMs = 400 } = options;
  log.info({ connections: connections.size }, "stopping");
  if (readyWaitMs > 0) await wait(readyWaitMs);
  if (runWaitMs > 0) await runtime.registry.finishRuns(runWaitMs);
  connections.announceStop([0, drainSpreadMs]);
  const closed = runtime.close().catch((error: unknown) => {
    log.error({ error }, "the runtime did not close well");
  });
  await Promise.race([closed, wait(commitWaitMs)]);
  await connections.disconnectAll(drainSpreadMs);
  await connections.close(closeWaitMs);
  await listener.close();
  metrics.close();
  log.info({ ms: Math.round(performance.now() - began) }, "stopped");
  await audit.close();
  await flushLog(log);
}

async function cutOff({ listener, connections, metrics, log, audit }: Parts): Promise<void> {
  log.warn({ connections: connections.size }, "stopping by force");
  await connections.close(0);
  await listener.close();
  metrics.close();
  await audit.close();
  await flushLog(log);
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
