/**
 * Options that the client's commands share: where the server is, who this is, what is printed. Owns parsing, the
 * environment and the connection that follows from them; prints nothing.
 */
import { exec, type ExecException } from "node:child_process";
import { relative } from "node:path";
import { parseArgs, promisify } from "node:util";
import type { ParseArgsConfig } from "node:util";
import { connect } from "../client.ts";
import type { Client } from "../client.ts";
import type { ConnectOptions } from "../options.ts";
import type { Output } from "./output.ts";
import { jsonLine, oneLine } from "./text.ts";

export const DEFAULT_URL = "ws://127.0.0.1:4787/ws";

export const COMMON_HELP = `  --url URL      the server (HAULOUT_URL, else ${DEFAULT_URL})
  --token TOKEN  a token of that server (HAULOUT_TOKEN)
  --token-command COMMAND
                 a shell command that prints one; run for each connection, and when a token expires
  --as NAME      who you are, where the server does not ask for a token
  --json         print every frame from the server as a line of JSON, and nothing else
  --help         print this`;

/** How long a token command may take. */
const TOKEN_COMMAND_MS = 25_000;

const COMMON = {
  url: { type: "string" },
  token: { type: "string" },
  "token-command": { type: "string" },
  as: { type: "string" },
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const;

type Extra = NonNullable<ParseArgsConfig["options"]>;

export interface CommonOptions {
  readonly url: string;
  readonly token: NonNullable<ConnectOptions["token"]> | undefined;
  readonly as: string | undefined;
  readonly json: boolean;
  readonly help: boolean;
}

/** A mistake in how the command was called: printed with a hint to `--help`, exit code 2. */
export class UsageError extends Error {}

/** Throws UsageError for options that do not exist and for too many arguments. */
export function parse<T extends Extra>(args: string[], extra: T, most: number) {
  let parsed;
  try {
    parsed = parseArgs({ args, options: { ...COMMON, ...extra }, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
  const { positionals } = parsed;
  const values = parsed.values as Record<string, string | boolean | string[] | undefined>;
  if (positionals.length > most) throw new UsageError(`unexpected argument: ${positionals[most]}`);
  const text = (name: string): string | undefined => {
    const value = values[name];
    return typeof value === "string" && value !== "" ? value : undefined;
  };
  const command = text("token-command");
  const common: CommonOptions = {
    url: text("url") ?? (process.env["HAULOUT_URL"] || DEFAULT_URL),
    token:
      text("token") ??
      (command === undefined ? undefined : () => tokenOf(command)) ??
      (process.env["HAULOUT_TOKEN"] || undefined),
    as: text("as"),
    json: values["json"] === true,
    help: values["help"] === true,
  };
  return { common, positionals, text, values };
}

/** What the command prints. Rejects without it: an error may be shown. */
async function tokenOf(command: string): Promise<string> {
  const printed = await promisify(exec)(command, { timeout: TOKEN_COMMAND_MS }).catch((error: unknown) => {
    const { code, signal } = error as ExecException;
    throw new Error(`the token command ended with ${signal ?? code}`);
  });
  return printed.stdout.trim();
}

/** Connects as the options say; with `--json` every frame but `ping` goes to stdout from here on. */
export function connectAs(common: CommonOptions, more: Partial<ConnectOptions> = {}): Client {
  let client: Client;
  try {
    client = connect({
      url: common.url,
      client: { name: "haulout-cli" },
      ...(common.token === undefined ? {} : { token: common.token }),
      ...(common.as === undefined ? {} : { user: { id: common.as, name: common.as } }),
      ...more,
    });
  } catch (error) {
    if (error instanceof TypeError) throw new UsageError(`not a URL of a server: ${common.url}`);
    throw error;
  }
  if (common.json) {
    client.on("frame", (frame) => {
      if (frame.type !== "ping") process.stdout.write(`${jsonLine(frame)}\n`);
    });
  }
  return client;
}

/** Waits until online, at most 10 s for a server that cannot be reached. Throws Error with what to print. */
export async function firstOnline(client: Client, common: CommonOptions): Promise<void> {
  const limit = new Promise<never>((_, reject) => {
    const timer = setTimeout(() => reject(new Error(cannotReach(client, common))), 10_000);
    client.on("status", ({ state }) => (state === "online" || state === "closed") && clearTimeout(timer));
  });
  try {
    await Promise.race([client.online(), limit]);
  } catch (error) {
    if (client.status.state !== "closed") throw error;
    throw new Error(`${common.url}: ${oneLine(client.status.reason ?? "closed")}`, { cause: error });
  }
}

function cannotReach(client: Client, common: CommonOptions): string {
  const why = client.status.reason === undefined ? "" : ` (${oneLine(client.status.reason)})`;
  return `cannot reach ${common.url}${why}; is the server running? start one with: haulout serve`;
}

/** How this program is called again, for hints. */
export function ownCommand(): string {
  const script = process.argv[1] ?? "";
  if (!script.endsWith(".js")) return script.includes("node_modules") ? "npx haulout" : "haulout";
  const path = relative(process.cwd(), script);
  return `node ${path.startsWith("..") ? script : path}`;
}

/** Says when the connection is lost and when it is back. */
export function reportConnection(client: Client, output: Output): void {
  let lost = false;
  client.on("status", ({ state, reason }) => {
    if (state === "reconnecting" && !lost) {
      lost = true;
      output.notice(`reconnecting … ${reason === undefined ? "" : `(${oneLine(reason)})`}`.trimEnd());
    } else if (state === "online" && lost) {
      lost = false;
      output.notice("connected again");
    }
  });
}
