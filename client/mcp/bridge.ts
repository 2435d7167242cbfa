/**
 * The bridge: the tools of an MCP server, offered to Haulout as by any provider for as long as that server is there. Owns
 * the connection to it, made anew when it is lost, and which tools are offered; how a call survives Haulout's own restarts
 * is the client library's (tools.ts, calls.ts).
 */
import { isDeepStrictEqual } from "node:util";
import type { Tool } from "@modelcontextprotocol/client";
import type { Effect } from "../../protocol/content.ts";
import type { CallContext } from "../calls.ts";
import type { Client } from "../client.ts";
import type { ProvidedTools, ProvideOptions, ToolDefinition } from "../tools.ts";
import { MissingPackageError, openMcp } from "./connection.ts";
import type { McpConnection, McpTarget } from "./connection.ts";
import {
  descriptionOf,
  effectOf,
  inputSchemaOf,
  needsTask,
  outputOf,
  outputSchemaOf,
  ToolError,
  toolNameOf,
} from "./tools.ts";

export interface BridgeOptions extends ProvideOptions {
  /** Before the name of each tool. */
  readonly prefix?: string;
  /** Milliseconds from a call to its deadline (60 000). */
  readonly timeoutMs?: number;
  /** Whether a tool of the server, by its own name, is offered. */
  readonly includes?: (name: string) => boolean;
  /** Effects by the server's names, instead of what its hints say. */
  readonly effects?: Readonly<Record<string, Effect>>;
  /** Wraps each definition before it is offered, to watch its calls. */
  readonly wrap?: (name: string, definition: ToolDefinition) => ToolDefinition;
  readonly version?: string;
  /** Milliseconds before the first attempt to connect anew (500), doubled up to a minute. */
  readonly retryMs?: number;
}

export interface BridgeEvents {
  /** The names that are offered now, after every change. */
  readonly offered: (names: readonly string[]) => void;
  /** Something that its user should read: a refused tool, a lost server. */
  readonly notice: (text: string) => void;
}

interface Offered {
  readonly tool: Tool;
  readonly provided: ProvidedTools;
}

const MAX_RETRY_MS = 60_000;
/** A call that takes the server down with it is not tried for ever. */
const MAX_LOSSES = 2;

/** What a call that surely had no effect here is answered, so that it may go elsewhere. */
class NotStartedError extends Error {
  readonly code = "not-started";
}
/** The server is gone, and nobody knows how far it came with a call that must not run twice. */
class LostServerError extends Error {
  readonly code = "connection-lost";
}

export class McpBridge {
  readonly #client: Client;
  readonly #target: McpTarget;
  readonly #options: BridgeOptions;
  readonly #events: BridgeEvents;
  readonly #offered = new Map<string, Offered>();
  readonly #stop = new AbortController();
  #connection: McpConnection | undefined;
  /** Pending while a lost server is tried again for the first time. */
  #returning: Promise<void> = Promise.resolve();
  #returned: () => void = () => undefined;
  #syncing: Promise<void> = Promise.resolve();

  constructor(client: Client, target: McpTarget, options: BridgeOptions, events: BridgeEvents) {
    this.#client = client;
    this.#target = target;
    this.#options = options;
    this.#events = events;
  }

  /** Calls that run now. */
  get running(): number {
    return [...this.#offered.values()].reduce((sum, { provided }) => sum + provided.running, 0);
  }

  /** Resolves after `stop`. Rejects if the first connection cannot be made, or the package for it is missing. */
  async run(): Promise<void> {
    let failures = 0;
    let first = true;
    while (!this.#stop.signal.aborted) {
      try {
        await this.#serve(() => {
          first = false;
          failures = 0;
        });
      } catch (error) {
        if (first || error instanceof MissingPackageError) throw error;
        this.#events.notice(messageOf(error));
        // It does not come right back: others may serve its tools, and calls that wait here may go to them.
        this.#syncing = this.#syncing.then(() => this.#offer([]));
        await this.#syncing;
        this.#returned();
      }
      if (this.#stop.signal.aborted) return;
      await this.#pause(Math.min(MAX_RETRY_MS, (this.#options.retryMs ?? 500) * 2 ** failures++));
    }
  }

  /** Takes no more calls; resolves when what ran is over and Haulout has every result. The MCP server is then left. */
  async stop(): Promise<void> {
    const [any] = this.#offered.values();
    await any?.provided.drain();
    this.#stop.abort();
    await this.#connection?.close();
  }

  /** One connection, from its beginning to its loss. */
  async #serve(connected: () => void): Promise<void> {
    const connection = await openMcp(this.#target, {
      version: this.#options.version ?? "1",
      onToolsChanged: () => this.#sync(),
    });
    this.#connection = connection;
    const lost = new Promise<void>((resolve) => {
      const end = (): void => {
        this.#connection = undefined;
        this.#returning = new Promise((returned) => (this.#returned = returned));
        resolve();
      };
      connection.lost.addEventListener("abort", end, { once: true });
      if (connection.lost.aborted) end();
    });
    if (this.#stop.signal.aborted) return connection.close();
    this.#sync();
    await this.#syncing;
    if (!connection.lost.aborted) {
      this.#returned();
      connected();
    }
    await lost;
    await connection.close().catch(() => undefined);
    if (!this.#stop.signal.aborted)
      this.#events.notice(`${connection.name}: ${messageOf(connection.lost.reason)}`);
  }

  /** Offers what the server has now; one after the other, for the last answer counts. */
  #sync(): void {
    this.#syncing = this.#syncing.then(async () => {
      const connection = this.#connection;
      if (connection === undefined) return;
      try {
        await this.#offer(await connection.listTools());
      } catch (error) {
        if (!connection.lost.aborted) this.#events.notice(`cannot list the tools: ${messageOf(error)}`);
        await connection.probe();
      }
    });
  }

  async #offer(tools: readonly Tool[]): Promise<void> {
    const wanted = new Map<string, Tool>();
    for (const tool of tools) {
      if (this.#options.includes?.(tool.name) === false) continue;
      if (needsTask(tool))
        this.#events.notice(`${tool.name} is left out: it can be called as an MCP task only`);
      else wanted.set(toolNameOf(this.#options.prefix ?? "", tool.name), tool);
    }
    const kept = (name: string, tool: Tool): boolean => isDeepStrictEqual(wanted.get(name), tool);
    const gone = [...this.#offered].filter(([name, { tool }]) => !kept(name, tool));
    for (const [name] of gone) this.#offered.delete(name);
    // While Haulout cannot be reached, nothing is offered there either.
    await Promise.all(gone.map(([, { provided }]) => provided.withdraw().catch(() => undefined)));
    const added = [...wanted].filter(([name]) => !this.#offered.has(name));
    await Promise.all(added.map(([name, tool]) => this.#provide(name, tool)));
    if (gone.length > 0 || added.length > 0) this.#events.offered([...this.#offered.keys()]);
  }

  /** One offer a tool, so that one that is refused leaves the others. */
  async #provide(name: string, tool: Tool): Promise<void> {
    const { session, labels, maxConcurrent, wrap = (_, definition) => definition } = this.#options;
    try {
      const provided = await this.#client.provideTools(
        { [name]: wrap(name, this.#definition(tool)) },
        {
          ...(session === undefined ? {} : { session }),
          ...(labels === undefined ? {} : { labels }),
          ...(maxConcurrent === undefined ? {} : { maxConcurrent }),
        },
      );
      this.#offered.set(name, { tool, provided });
    } catch (error) {
      this.#events.notice(`${name} is refused: ${messageOf(error)}`);
    }
  }

  #definition(tool: Tool): ToolDefinition {
    const effect = this.#options.effects?.[tool.name] ?? effectOf(tool);
    const output = outputSchemaOf(tool);
    return {
      description: descriptionOf(tool),
      input: inputSchemaOf(tool),
      ...(output === undefined ? {} : { output }),
      effect,
      timeoutMs: this.#options.timeoutMs ?? 60_000,
      execute: (input, context) => this.#call(tool.name, effect, input as Record<string, unknown>, context),
    };
  }

  async #call(
    name: string,
    effect: Effect,
    input: Record<string, unknown>,
    context: CallContext,
  ): Promise<unknown> {
    const { signal } = context;
    for (let losses = 0; ; losses++) {
      const connection = await this.#reach(signal);
      try {
        const onProgress = (progress: unknown): void => context.progress(progress);
        return outputOf(await connection.callTool(name, input, { signal, onProgress }));
      } catch (error) {
        signal.throwIfAborted();
        // The tool has spoken; anything else may mean that the server is gone, and it is asked.
        if (error instanceof ToolError || typeof (error as { code?: unknown }).code === "number") throw error;
        await connection.probe();
        if (!connection.lost.aborted) throw error;
        if (losses < MAX_LOSSES && (effect !== "once" || wasNotSent(error))) continue;
        throw new LostServerError("the MCP server went away during the call, which may have taken effect", {
          cause: error,
        });
      }
    }
  }

  /** The connection, or the one that is being made in place of a lost one. */
  async #reach(signal: AbortSignal): Promise<McpConnection> {
    if (this.#connection === undefined) {
      const aborted = new Promise<void>((resolve) =>
        signal.addEventListener("abort", () => resolve(), { once: true }),
      );
      await Promise.race([this.#returning, aborted]);
      signal.throwIfAborted();
    }
    if (this.#connection === undefined) throw new NotStartedError("the MCP server is not there now");
    return this.#connection;
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#stop.signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
    });
  }
}

/** The request did not reach a server that would run it: nobody listened, or it refused the request as such. */
function wasNotSent(error: unknown): boolean {
  const { status, cause } = error as { status?: number; cause?: { code?: string } };
  return cause?.code === "ECONNREFUSED" || (status !== undefined && status >= 400 && status < 500);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
