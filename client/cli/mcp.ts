/**
 * `haulout mcp`: offers the tools of an MCP server, a program or a URL, until it is stopped. Owns reading the command line;
 * the bridge itself is ../mcp/bridge.ts, its life provide.ts.
 */
import type { Effect } from "../../protocol/content.ts";
import { McpBridge } from "../mcp/bridge.ts";
import type { McpTarget } from "../mcp/connection.ts";
import { COMMON_HELP, parse, UsageError } from "./options.ts";
import {
  printing,
  PROVIDER_HELP,
  PROVIDER_OPTIONS,
  provideUntilSignal,
  readPairs,
  readProvider,
} from "./provide.ts";
import { nameOf, oneLine } from "./text.ts";

const HELP = `usage: haulout mcp [options] -- COMMAND [ARGUMENT…]
       haulout mcp [options] URL

Offers the tools of an MCP server to agents until it is stopped: of a program that speaks MCP on its standard input and
output, or of a URL (streamable HTTP). Needs the package @modelcontextprotocol/client.

What a tool says of itself decides whether a call may run again after a loss: it only reads → pure, it is idempotent →
idempotent, else once. A server that is lost is started or reached again, while calls wait; if that fails, its tools are gone until it works.

  --prefix TEXT          before the name of each tool, such as files_
  --only NAME            offer this tool of the server only; may be repeated
  --effect NAME=EFFECT   pure, idempotent or once, whatever the server says; may be repeated
  --timeout SECONDS      until a call is given up (60)
  --env NAME[=VALUE]     a variable for the program, which is given few; may be repeated
  --header NAME=VALUE    a header for the URL; may be repeated
${PROVIDER_HELP}
${COMMON_HELP}
`;

const EFFECTS: ReadonlySet<string> = new Set<Effect>(["pure", "idempotent", "once"]);

const OPTIONS = {
  ...PROVIDER_OPTIONS,
  prefix: { type: "string" },
  only: { type: "string", multiple: true },
  effect: { type: "string", multiple: true },
  timeout: { type: "string" },
  env: { type: "string", multiple: true },
  header: { type: "string", multiple: true },
} as const;

export async function mcp(args: string[]): Promise<number> {
  const at = args.indexOf("--");
  const [own, program] = at < 0 ? [args, []] : [args.slice(0, at), args.slice(at + 1)];
  const { common, positionals, text, values } = parse(own, OPTIONS, 1);
  if (common.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const target = readTarget(positionals[0], program, values);
  const effects = readEffects(values["effect"]);
  const timeoutMs = readTimeout(text("timeout"));
  const prefix = text("prefix");
  if (prefix !== undefined && !/^[A-Za-z0-9_-]{1,32}$/.test(prefix)) {
    throw new UsageError("--prefix is of A-Z a-z 0-9 _ -, 32 at most");
  }
  const only = values["only"];
  const { offer, connection } = await readProvider(text, values);
  return provideUntilSignal(common, connection, async (client, say) => {
    const bridge = new McpBridge(
      client,
      target,
      {
        ...offer,
        ...(prefix === undefined ? {} : { prefix }),
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
        ...(effects === undefined ? {} : { effects }),
        ...(Array.isArray(only) ? { includes: (name) => only.includes(name) } : {}),
        wrap: (name, definition) => printing(name, definition, say),
      },
      {
        offered: (names) =>
          say(names.length === 0 ? "providing nothing" : `providing ${names.map(nameOf).join(", ")}`),
        notice: (line) => void process.stderr.write(`${oneLine(line, 500)}\n`),
      },
    );
    const over = bridge.run();
    return {
      get running() {
        return bridge.running;
      },
      drain: () => bridge.stop(),
      over,
    };
  });
}

function readTarget(
  url: string | undefined,
  [command, ...args]: readonly string[],
  values: Readonly<Record<string, string | boolean | string[] | undefined>>,
): McpTarget {
  if (url !== undefined && command !== undefined) throw new UsageError("a URL or a command, not both");
  if (command !== undefined) return { command, args, env: readVariables(values["env"]) };
  if (url === undefined) throw new UsageError("which MCP server? a URL, or -- and its command");
  if (!/^https?:\/\//.test(url) || !URL.canParse(url)) {
    throw new UsageError(`not a URL: ${url} (a command comes after --)`);
  }
  return { url, headers: readPairs("--header NAME=VALUE", values["header"]) ?? {} };
}

function readVariables(given: string | boolean | string[] | undefined): Record<string, string> {
  if (!Array.isArray(given)) return {};
  return Object.fromEntries(
    given.map((variable) => {
      const at = variable.indexOf("=");
      const name = at < 0 ? variable : variable.slice(0, at);
      const value = at < 0 ? process.env[name] : variable.slice(at + 1);
      if (name === "" || value === undefined) throw new UsageError(`--env: there is no variable ${variable}`);
      return [name, value];
    }),
  );
}

function readEffects(given: string | boolean | string[] | undefined): Record<string, Effect> | undefined {
  const pairs = readPairs("--effect NAME=EFFECT", given);
  if (pairs === undefined) return undefined;
  return Object.fromEntries(
    Object.entries(pairs).map(([name, value]) => {
      if (!EFFECTS.has(value)) throw new UsageError(`--effect: ${value} is not pure, idempotent or once`);
      return [name, value as Effect];
    }),
  );
}

function readTimeout(given: string | undefined): number | undefined {
  if (given === undefined) return undefined;
  const seconds = Number(given);
  if (!(seconds >= 0.001 && seconds <= 86_400))
    throw new UsageError("--timeout is a number of seconds, a day at most");
  return Math.round(seconds * 1000);
}
