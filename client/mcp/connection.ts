/**
 * A connection to one MCP server, over the stdio of a process of ours or over streamable HTTP. Owns the library that speaks
 * MCP (an optional package, loaded when asked for) and the moment at which the connection counts as lost. Never makes
 * another connection and knows nothing of Haulout's tools (bridge.ts).
 */
import type * as Library from "@modelcontextprotocol/client";
import type { CallToolResult, Client, Tool, Transport } from "@modelcontextprotocol/client";

/** Where an MCP server is: a program to start, or a URL of streamable HTTP. */
export type McpTarget =
  | {
      readonly command: string;
      readonly args: readonly string[];
      /** Added to the few variables that a program is given: HOME, PATH and their like. */
      readonly env?: Readonly<Record<string, string>>;
    }
  | { readonly url: string; readonly headers?: Readonly<Record<string, string>> };

export interface McpCallOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (progress: unknown) => void;
}

export interface McpConnection {
  /** What the server calls itself. */
  readonly name: string;
  /** Aborted with the reason, an Error, when the server is gone. */
  readonly lost: AbortSignal;
  listTools(): Promise<Tool[]>;
  /** Rejects with the reason of `signal` or `lost`, or with what the server or the library says. */
  callTool(name: string, input: Record<string, unknown>, options: McpCallOptions): Promise<CallToolResult>;
  /** Asks whether the server is still there; `lost` is aborted when it is not. */
  probe(): Promise<void>;
  close(): Promise<void>;
}

/** Calls have deadlines of their own; the library's must not come before them. The most that a timer takes. */
const NO_TIMEOUT_MS = 2 ** 31 - 1;
const PROBE_MS = 5000;
const CONNECT_MS = 30_000;

/** Rejects when the server cannot be reached, and at once when the package is missing. */
export async function openMcp(
  target: McpTarget,
  about: { readonly version: string; readonly onToolsChanged: () => void },
): Promise<McpConnection> {
  const library = await load();
  const lost = new AbortController();
  const lose = (reason: string): void => lost.abort(new Error(reason));
  const client = new library.Client({ name: "haulout", version: about.version });
  const transport = await transportFor(target, library);
  client.onclose = () => lose("the MCP server has closed the connection");
  client.setNotificationHandler("notifications/tools/list_changed", () => about.onToolsChanged());
  try {
    await client.connect(transport, { timeout: CONNECT_MS });
  } catch (error) {
    await client.close().catch(() => undefined);
    throw error;
  }
  const connection = wrap(client, lost, lose);
  // A broken stream is told here and nowhere else; what else goes wrong is told to whoever asked.
  client.onerror = () => void connection.probe();
  return connection;
}

function wrap(client: Client, lost: AbortController, lose: (reason: string) => void): McpConnection {
  let probing: Promise<void> | undefined;
  return {
    name: client.getServerVersion()?.name ?? "MCP server",
    lost: lost.signal,
    async listTools() {
      const { tools } = await client.listTools(undefined, { signal: lost.signal });
      return tools;
    },
    async callTool(name, input, { signal, onProgress }) {
      const either = AbortSignal.any([signal, lost.signal]);
      try {
        const options = { signal: either, onprogress: onProgress, timeout: NO_TIMEOUT_MS };
        return await client.callTool({ name, arguments: input }, options);
      } catch (error) {
        // The library tells an abort as its own time-out.
        either.throwIfAborted();
        throw error;
      }
    },
    probe() {
      probing ??= client
        .ping({ timeout: PROBE_MS, signal: lost.signal })
        .then(
          () => undefined,
          () => lose("the MCP server does not answer"),
        )
        .finally(() => (probing = undefined));
      return probing;
    },
    async close() {
      lose("the connection is closed");
      await client.close();
    },
  };
}

async function load(): Promise<typeof Library> {
  try {
    return await import("@modelcontextprotocol/client");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw new MissingPackageError("MCP needs a package: npm install @modelcontextprotocol/client", {
      cause: error,
    });
  }
}

/** Trying again is of no use before somebody installs it. */
export class MissingPackageError extends Error {}

async function transportFor(target: McpTarget, library: typeof Library): Promise<Transport> {
  if ("url" in target) {
    return new library.StreamableHTTPClientTransport(new URL(target.url), {
      requestInit: { headers: { ...target.headers } },
    });
  }
  const { StdioClientTransport, getDefaultEnvironment } = await import("@modelcontextprotocol/client/stdio");
  const { command, args, env } = target;
  return new StdioClientTransport({
    command,
    args: [...args],
    env: { ...getDefaultEnvironment(), ...env },
    stderr: "inherit",
  });
}
