/**
 * Settings from three places: defaults, a JSON file, the environment, each stronger than the one before. Owns their names,
 * their shapes and errors that say file, field and reason in a line each. Knows nothing of what the parts make of them:
 * what cannot work together is found by the server.
 */
import { existsSync, readFileSync } from "node:fs";
import { basename, resolve } from "node:path";
import { z } from "zod";
import { json } from "../protocol/content.ts";
import { agentDefinition } from "./agent/agent.ts";
import { budgets } from "./agent/budget.ts";
import { auth } from "./config/auth.ts";
import { limits } from "./config/limits.ts";
import { nearest } from "./config/spelling.ts";
import { webhook } from "./config/webhook.ts";
import { price } from "./model/prices.ts";
import { LOG_LEVELS } from "./observe/log.ts";

const text = z.string().min(1);
const unique = (names: string[]): boolean => new Set(names).size === names.length;

const file = z.strictObject({
  /** Address to bind. */
  host: text.default("127.0.0.1"),
  /** 0 picks a free one. */
  port: z.int().min(0).max(65_535).default(4787),
  /** Folder of the embedded store. */
  data: text.default("./haulout-data"),
  store: z
    .string()
    .regex(/^(?:embedded|memory|postgres(?:ql)?:\/\/.*)$/, "embedded, memory or a postgres:// URL")
    .default("embedded"),
  redisUrl: z
    .string()
    .regex(/^rediss?:\/\//, "a redis:// URL")
    .optional(),
  log: z.enum(LOG_LEVELS).default("info"),
  /** How long a lost tool provider may take to return, ms. */
  providerGraceMs: z.int().min(0).default(30_000),
  auth: auth.optional(),
  agents: z
    .array(agentDefinition)
    .min(1)
    .refine((agents) => unique(agents.map(({ name }) => name)), "two agents have the same name")
    .superRefine((agents, context) => {
      const names = agents.map(({ name }) => name);
      for (const [at, { members }] of agents.entries())
        for (const [index, member] of members.entries())
          if (!names.includes(member))
            context.addIssue({ code: "custom", path: [at, "members", index], message: `no agent ${member}` });
    })
    .optional(),
  /** Access to model providers, by name. */
  models: z.record(z.string(), z.record(z.string(), json)).default({}),
  /** What a million tokens of models cost, by globs of their names; the first that matches counts. */
  prices: z.record(text, price).optional(),
  /** What may be used before runs stop. */
  budgets: budgets.optional(),
  /** Hosts and Origins that are served beside those of the bound address. */
  allowedHosts: z.array(text).optional(),
  allowedOrigins: z.array(text).optional(),
  /** Before every path over HTTP. */
  basePath: z
    .string()
    .regex(/^(?:\/[A-Za-z0-9._~-]+)+$/, "a path like /haulout, without a slash at its end")
    .optional(),
  /** Files in PEM. */
  tls: z.strictObject({ cert: text, key: text }).optional(),
  /** Addresses and ranges of proxies whose X-Forwarded headers are believed. */
  trustedProxies: z.array(text).optional(),
  /** Everybody may read /metrics, whatever `auth` says. */
  openMetrics: z.boolean().default(false),
  /** Hosts of files that models may be pointed to, wherever they are. */
  fileHosts: z.array(text).optional(),
  /** A file to which every event of security is appended. */
  auditLog: text.optional(),
  /** Limits that differ from their defaults. */
  limits: limits.optional(),
  /** Sessions without an entry for so many days are deleted; absent: never. */
  retentionDays: z.number().positive().optional(),
  /** Who is told of requests that nobody online may answer, and after how many ms. */
  webhooks: z.array(webhook).max(16).optional(),
  webhookDelayMs: z.int().min(0).default(10_000),
  /** At a stop: ms between "not ready" and the goodbye, for open runs to end, and over which the goodbyes are spread. */
  readyWaitMs: z.int().min(0).default(0),
  runWaitMs: z.int().min(0).default(0),
  drainSpreadMs: z.int().min(0).default(0),
});

export type Config = Readonly<z.infer<typeof file>> & {
  /** What is odd but no error, a line each. */
  readonly warnings: readonly string[];
  /** Where a field comes from: `HAULOUT_HOST`, `haulout.json: host` or `host`. */
  readonly where: (field: string) => string;
  /** The file that was read or would be. */
  readonly path: string;
};

/** One line for each thing that is wrong. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
    this.problems = problems;
  }
}

type Settings = Record<string, unknown>;

const asInteger = (value: string): unknown => (/^\d+$/.test(value) ? Number(value) : value);
const asText = (value: string): unknown => value;

/** Variables that set a field of the file, and how their text becomes a value. */
const VARIABLES: Readonly<Record<string, readonly [field: string, read: (value: string) => unknown]>> = {
  HAULOUT_HOST: ["host", asText],
  HAULOUT_PORT: ["port", asInteger],
  HAULOUT_DATA: ["data", asText],
  HAULOUT_STORE: ["store", asText],
  HAULOUT_REDIS_URL: ["redisUrl", asText],
  HAULOUT_LOG: ["log", asText],
  HAULOUT_PROVIDER_GRACE_MS: ["providerGraceMs", asInteger],
};
const PREFIX = "HAULOUT_";
const OTHER_VARIABLES = ["HAULOUT_CONFIG", "HAULOUT_TOKEN", "HAULOUT_URL"];

export interface ConfigSources {
  /** process.env unless told. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** The folder that relative paths begin in; that of the process unless told. */
  readonly cwd?: string;
}

/** Throws ConfigError with all that is wrong. Reads the file and the environment, nothing else. */
export function loadConfig(sources: ConfigSources = {}): Config {
  const cwd = sources.cwd ?? process.cwd();
  const env = nonEmpty(sources.env ?? process.env);
  const { settings, name, path } = readSettings(env, cwd);
  const from = new Map<string, string>();
  for (const field of Object.keys(settings)) from.set(field, `${name}: ${field}`);
  for (const [variable, [field, read]] of Object.entries(VARIABLES)) {
    const value = env[variable];
    if (value === undefined) continue;
    settings[field] = read(value);
    from.set(field, variable);
  }
  if (env["HAULOUT_TOKEN"] !== undefined) {
    settings["auth"] = withToken(settings["auth"], env["HAULOUT_TOKEN"]);
    from.set("auth", "HAULOUT_TOKEN");
  }
  const where = (field: string): string => from.get(field) ?? field;
  const result = file.safeParse(settings);
  if (!result.success)
    throw new ConfigError(result.error.issues.flatMap((issue) => describe(issue, where, name)));
  const config = withPaths(result.data, (file) => resolve(cwd, file));
  return { ...config, warnings: strangers(env), where, path };
}

/** An empty variable is one that is not set: compose files cannot leave one out. */
function nonEmpty(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => Boolean(entry[1])),
  );
}

/** Files as absolute paths: a later reload must not depend on where the process stands then. */
function withPaths<T extends z.infer<typeof file>>(config: T, from: (file: string) => string): T {
  const { data, tls, auth: { jwt } = {} } = config;
  return {
    ...config,
    data: from(data),
    ...(tls === undefined ? {} : { tls: { cert: from(tls.cert), key: from(tls.key) } }),
    ...(jwt?.jwksFile === undefined
      ? {}
      : { auth: { ...config.auth, jwt: { ...jwt, jwksFile: from(jwt.jwksFile) } } }),
  };
}

function readSettings(
  env: Record<string, string>,
  cwd: string,
): { settings: Settings; name: string; path: string } {
  const given = env["HAULOUT_CONFIG"];
  const path = resolve(cwd, given ?? "haulout.json");
  if (!existsSync(path)) {
    if (given !== undefined) throw new ConfigError([`HAULOUT_CONFIG: there is no file ${path}`]);
    return { settings: {}, name: "haulout.json", path };
  }
  const name = given ?? basename(path);
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new ConfigError([`${name}: ${whyUnreadable(error as Error)}`]);
  }
  if (typeof content !== "object" || content === null || Array.isArray(content)) {
    throw new ConfigError([`${name}: an object is needed`]);
  }
  return { settings: { ...content }, name, path };
}

/** The parser quotes the text around the fault, which may be a token. */
function whyUnreadable(error: Error): string {
  if (!(error instanceof SyntaxError)) return `cannot be read: ${error.message}`;
  const fault = error.message.replace(/, (?:\.\.\.)?".*$/s, "").replace(/ in JSON at position.*$/s, "");
  const at = /\(line \d+ column \d+\)/.exec(error.message)?.[0] ?? /position \d+/.exec(error.message)?.[0];
  return `is not valid JSON: ${fault}${at === undefined ? "" : ` ${at}`}`;
}

/** The one token of the environment holds all rights, beside those of the file. */
function withToken(settings: unknown, value: string): unknown {
  const given =
    typeof settings === "object" && settings !== null
      ? (settings as { mode?: unknown; tokens?: unknown })
      : {};
  const all = { token: value, user: "admin", name: "admin", rights: ["admin"] };
  if (given.mode !== "token" && given.mode !== "jwt") return { mode: "token", tokens: [all] };
  return { ...given, tokens: [...(Array.isArray(given.tokens) ? (given.tokens as unknown[]) : []), all] };
}

function describe(issue: z.core.$ZodIssue, where: (field: string) => string, name: string): string[] {
  const [first, ...rest] = issue.path;
  const field = (path: readonly PropertyKey[]): string =>
    path.map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`)).join("");
  const place = first === undefined ? name : `${where(String(first))}${field(rest)}`;
  if (issue.code !== "unrecognized_keys")
    return [`${place}: ${issue.message.replace(/^Invalid input: /, "")}`];
  const known = keysAt(file, issue.path);
  return issue.keys.map((key) => {
    const close = nearest(key, known);
    return `${place}: unknown key "${key}"${close === undefined ? "" : `; did you mean "${close}"?`}`;
  });
}

/** The keys of the object that a path of the file leads to. */
function keysAt(schema: unknown, path: readonly PropertyKey[]): string[] {
  let at = schema;
  const rest = [...path];
  for (;;) {
    if (at instanceof z.ZodOptional || at instanceof z.ZodDefault) at = at.unwrap();
    else if (rest.length === 0) return at instanceof z.ZodObject ? Object.keys(at.shape) : [];
    else if (at instanceof z.ZodObject) at = (at.shape as Record<PropertyKey, unknown>)[rest.shift()!];
    else if (at instanceof z.ZodArray) {
      rest.shift();
      at = at.element;
    } else return [];
  }
}

/** Variables of ours that nobody reads, if they look like one that somebody does. */
function strangers(env: Record<string, string>): string[] {
  const known = [...Object.keys(VARIABLES), ...OTHER_VARIABLES];
  const names = known.map((name) => name.slice(PREFIX.length));
  return Object.keys(env)
    .filter((name) => name.startsWith(PREFIX) && !known.includes(name))
    .flatMap((name) => {
      const close = nearest(name.slice(PREFIX.length), names);
      return close === undefined ? [] : [`${name} is not read; did you mean ${PREFIX}${close}?`];
    });
}
