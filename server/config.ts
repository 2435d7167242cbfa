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
import { LOG_LEVELS } from "./observe/log.ts";

const text = z.string().min(1);
const right = z
  .string()
  .regex(
    /^(?:admin|watch|(?:create|provide):[A-Za-z0-9_*-]{1,128})$/,
    "admin, watch, create:<glob> or provide:<glob>",
  );
const token = z
  .strictObject({
    token: text.max(8192).optional(),
    sha256: z
      .string()
      .regex(/^[0-9a-fA-F]{64}$/, "64 hexadecimal digits")
      .optional(),
    user: text.max(128),
    name: text.max(256).optional(),
    rights: z.array(right).optional(),
  })
  .refine(
    (value) => (value.token === undefined) !== (value.sha256 === undefined),
    "either token or sha256 is needed",
  );
const auth = z
  .strictObject({ mode: z.enum(["none", "token"]), tokens: z.array(token).optional() })
  .refine((value) => value.mode === "none" || (value.tokens ?? []).length > 0, {
    path: ["tokens"],
    message: "mode token needs at least one token",
  })
  .refine((value) => value.mode === "token" || value.tokens === undefined, {
    path: ["tokens"],
    message: 'tokens are of no use with mode "none"',
  });
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
    .optional(),
  /** Access to model providers, by name. */
  models: z.record(z.string(), z.record(z.string(), json)).default({}),
  /** Hosts and Origins that are served beside those of the bound address. */
  allowedHosts: z.array(text).optional(),
  allowedOrigins: z.array(text).optional(),
  /** Sessions without an entry for so many days are deleted; absent: never. */
  retentionDays: z.number().positive().optional(),
  /** At a stop: ms between "not ready" and the goodbye, and over which the goodbyes are spread. */
  readyWaitMs: z.int().min(0).default(0),
  drainSpreadMs: z.int().min(0).default(0),
});

export type Config = Readonly<z.infer<typeof file>> & {
  /** What is odd but no error, a line each. */
  readonly warnings: readonly string[];
  /** Where a field comes from: `HAULOUT_HOST`, `haulout.json: host` or `host`. */
  readonly where: (field: string) => string;
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
  const { settings, name } = readSettings(env, cwd);
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
  return { ...result.data, data: resolve(cwd, result.data.data), warnings: strangers(env), where };
}

/** An empty variable is one that is not set: compose files cannot leave one out. */
function nonEmpty(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => Boolean(entry[1])),
  );
}

function readSettings(env: Record<string, string>, cwd: string): { settings: Settings; name: string } {
  const given = env["HAULOUT_CONFIG"];
  const path = resolve(cwd, given ?? "haulout.json");
  if (!existsSync(path)) {
    if (given !== undefined) throw new ConfigError([`HAULOUT_CONFIG: there is no file ${path}`]);
    return { settings: {}, name: "haulout.json" };
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
  return { settings: { ...content }, name };
}

/** The parser quotes the text around the fault, which may be a token. */
function whyUnreadable(error: Error): string {
  if (!(error instanceof SyntaxError)) return `cannot be read: ${error.message}`;
  const fault = error.message.replace(/, (?:\.\.\.)?".*$/s, "").replace(/ in JSON at position.*$/s, "");
  const at = /\(line \d+ column \d+\)/.exec(error.message)?.[0] ?? /position \d+/.exec(error.message)?.[0];
  return `is not valid JSON: ${fault}${at === undefined ? "" : ` ${at}`}`;
}

/** The one token of the environment holds all rights, beside those of the file. */
function withToken(auth: unknown, value: string): unknown {
  const given =
    typeof auth === "object" && auth !== null ? (auth as { mode?: unknown; tokens?: unknown }) : {};
  const listed = given.mode === "token" && Array.isArray(given.tokens) ? (given.tokens as unknown[]) : [];
  const all = { token: value, user: "admin", name: "admin", rights: ["admin"] };
  return { mode: "token", tokens: [...listed, all] };
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

/** The known name that is fewest edits away, if that is few for its length. */
function nearest(name: string, known: readonly string[]): string | undefined {
  const edits = (candidate: string): number => distance(name.toLowerCase(), candidate.toLowerCase());
  const [best] = known.toSorted((a, b) => edits(a) - edits(b));
  return best !== undefined && edits(best) <= Math.max(1, Math.floor(best.length / 3)) ? best : undefined;
}

/** Insertions, deletions, changes and swaps of neighbours that make `b` of `a`. */
function distance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, at) => at)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const above = rows[i - 1]!;
      let least = Math.min(row[j - 1]! + 1, above[j]! + 1, above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, rows[i - 2]![j - 2]! + 1);
      }
      row.push(least);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
