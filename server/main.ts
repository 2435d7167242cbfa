#!/usr/bin/env node
/**
 * The command `haulout`: `serve` and `check` here, the client's commands in client/cli. Owns arguments, signals, exit
 * codes and what a person reads at the start; the log goes to stderr as JSON. Never a part of the server itself.
 */
import { relative } from "node:path";
import type { ConfigError } from "./config.ts";
import { VERSION } from "./observe/version.ts";
import type { HauloutServer } from "./server.ts";

const HELP = `haulout ${VERSION}: live, durable agent sessions over one WebSocket

haulout serve               the server (also without a command)
haulout check               whether the configuration is good: prints ok, or what is wrong
haulout chat [SESSION]      talk to an agent in this terminal
haulout tools FILE          offer the tools of a module to agents
haulout mcp SERVER          offer the tools of an MCP server: a URL, or -- COMMAND …
haulout watch [SESSION]     see what happens
haulout inbox               list what waits for your answer, and answer it
haulout allowed             list what your runs need no approval for, and take it back
haulout sessions            list sessions
haulout agents              list agents; with the right admin, put and remove them
haulout search TEXT         find what was said
haulout providers           see who offers tools, or let one of them finish and take no more
haulout usage [USER]        see what models used in your name, and what is left of it
haulout members SESSION     see or change who may take part in a session
haulout invite SESSION      make a token with which others become members
haulout join TOKEN          become a member
haulout models              which models agents can use here, and how to add one
haulout backup DIR          copy all sessions of a running server into a folder
haulout restore DIR         make a data directory of such a copy
haulout export SESSION      write the log of a session as lines of JSON
haulout import FILE         make a session of such a file
haulout verify              check a data directory that no server holds

haulout COMMAND --help      options of a command
haulout --version

Settings of the server: ./haulout.json or HAULOUT_CONFIG, and stronger than the file
HAULOUT_HOST HAULOUT_PORT HAULOUT_DATA HAULOUT_STORE HAULOUT_TOKEN HAULOUT_LOG HAULOUT_PROVIDER_GRACE_MS
`;

async function main([command = "serve", ...args]: string[]): Promise<number | undefined> {
  switch (command) {
    case "serve":
    case "check":
      if (args.includes("--help") || args.includes("-h")) break;
      if (args.length > 0) return misuse(`unexpected argument: ${args[0]}`);
      return command === "serve" ? serve() : check();
    case "chat":
    case "tools":
    case "mcp":
    case "watch":
    case "inbox":
    case "allowed":
    case "agents":
    case "sessions":
    case "search":
    case "providers":
    case "usage":
    case "members":
    case "invite":
    case "join":
    case "backup":
    case "export":
    case "import": {
      const { runClientCommand } = await import("../client/cli/index.ts");
      return runClientCommand(command, args);
    }
    case "models": {
      const { runModels } = await import("./main/models.ts");
      return runModels(args);
    }
    case "verify": {
      const { runVerify } = await import("./main/verify.ts");
      return runVerify(args);
    }
    case "restore": {
      const { runRestore } = await import("./main/restore.ts");
      return runRestore(args);
    }
    case "--version":
    case "-v":
      process.stdout.write(`${VERSION}\n`);
      return 0;
    case "--help":
    case "-h":
    case "help":
      break;
    default:
      return misuse(`no such command: ${command}`);
  }
  process.stdout.write(HELP);
  return 0;
}

function misuse(problem: string): number {
  process.stderr.write(`haulout: ${problem}\ntry: haulout --help\n`);
  return 2;
}

// The client's commands start without loading the server, hence the imports in here.

async function check(): Promise<number> {
  const [{ ConfigError, loadConfig }, { findProblems }] = await Promise.all([
    import("./config.ts"),
    import("./server.ts"),
  ]);
  const config = loadConfig();
  warn(config.warnings);
  const problems = findProblems(config);
  if (problems.length > 0) throw new ConfigError(problems);
  process.stdout.write("ok\n");
  return 0;
}

/** Runs until a signal stops the process; answers a code only when it could not start. */
async function serve(): Promise<undefined> {
  const [{ loadConfig }, { startServer }] = await Promise.all([import("./config.ts"), import("./server.ts")]);
  const config = loadConfig();
  warn(config.warnings);
  const server = await startServer(config);
  stopOnSignals(server);
  const { reloadOnChange } = await import("./main/reload.ts");
  reloadOnChange(server, config);
  process.stdout.write(
    greeting(server, (config.auth?.mode ?? "none") !== "none", config.agents?.[0]?.name ?? "demo"),
  );
  if (config.agents === undefined) {
    const { modelHint } = await import("./main/models.ts");
    process.stdout.write(await modelHint(config.models));
  }
  return undefined;
}

function warn(warnings: readonly string[]): void {
  for (const warning of warnings) process.stderr.write(`haulout: ${warning}\n`);
}

function stopOnSignals(server: HauloutServer): void {
  let signals = 0;
  const stop = (): void => {
    signals++;
    // The second one asks for haste, whatever the first is waiting for.
    const force = signals > 1;
    void server.stop({ force }).finally(() => process.exit(force ? 1 : 0));
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  // Without its terminal nobody would find it again; a service that has none reads its settings then.
  if (process.stdin.isTTY) process.on("SIGHUP", stop);
  // What nobody caught may have left anything behind in memory; what is durable is found again by the next start.
  const crash = (error: unknown): void => {
    server.log.fatal({ error }, "uncaught");
    server.log.flush(() => process.exit(1));
    setTimeout(() => process.exit(1), 500);
  };
  process.on("uncaughtException", crash);
  process.on("unhandledRejection", crash);
}

/** The first line is for machines, the rest for people. */
function greeting({ url, port }: HauloutServer, needsToken: boolean, agent: string): string {
  const socket = `${url.replace(/^http/, "ws").replace(/\/\/(?:0\.0\.0\.0|\[::\])/, "//127.0.0.1")}/ws`;
  const variables = [
    ...(needsToken ? ["HAULOUT_TOKEN=…"] : []),
    ...(socket === "ws://127.0.0.1:4787/ws" ? [] : [`HAULOUT_URL=${socket}`]),
  ];
  const run = [...variables, ownCommand()].join(" ");
  const connect = `connect({ url: "${socket}"${needsToken ? ', token: "…"' : ""} })`;
  return `haulout listening on ${url}

Talk to an agent, in another terminal:
  ${run} chat
Join the same session from a third one (chat prints its id):
  ${run} chat SESSION --as ann
Lend the agents your own tools, or watch everything:
  ${run} tools ./my-tools.mjs
  ${run} watch

From code:
  import { connect } from "haulout/client";
  const client = ${connect};
  const { session } = await client.createSession({ agent: "${agent}" });
  const chat = await client.attach(session);
  console.log((await chat.ask("Hello!")).text);
  client.close();

Ctrl-C stops it${port === 4787 ? "" : ` (port ${port})`}. The log follows on stderr.

`;
}

/** How this very program is called again from here. */
function ownCommand(): string {
  const script = process.argv[1] ?? "haulout";
  if (!script.endsWith(".js")) return script.includes("node_modules") ? "npx haulout" : "haulout";
  const path = relative(process.cwd(), script);
  return `node ${path.startsWith("..") ? script : path}`;
}

try {
  const code = await main(process.argv.slice(2));
  if (code !== undefined) process.exitCode = code;
} catch (error) {
  process.stderr.write(`${whyNot(error)}\n`);
  process.exitCode = (error as Error).name === "MisuseError" ? 2 : 1;
}

/** An error that its reader can do something about, in a line; of any other the stack. */
function whyNot(error: unknown): string {
  // By name: loading the classes would load the server.
  const { name } = error as Error;
  if (name === "ConfigError") return (error as ConfigError).problems.join("\n");
  if (name === "MisuseError") return `haulout ${(error as Error).message}\ntry: haulout --help`;
  if (name === "RefusedError") return `haulout: ${(error as Error).message}`;
  if (name === "StoreLockedError" || name === "StoreOpenError") return `haulout: ${(error as Error).message}`;
  const { code, port, address } = error as { code?: string; port?: number; address?: string };
  if (code === "EADDRINUSE")
    return `haulout: port ${port} is taken; set HAULOUT_PORT to another one (0 picks one)`;
  if (code === "EACCES" && port !== undefined)
    return `haulout: port ${port} needs rights that this user does not have`;
  if (code === "EADDRNOTAVAIL") return `haulout: this machine has no address ${address}`;
  return `haulout: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
}
