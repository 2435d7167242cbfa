/**
 * What `haulout tools` and `haulout mcp` share: options of a provider, its life until a signal, and a line for each call.
 * Owns how a provider process ends (it finishes what runs, 10 s at most); where the tools come from is the command's.
 */
import type { CallContext } from "../calls.ts";
import type { Client } from "../client.ts";
import { keepIn } from "../node.ts";
import type { ConnectOptions } from "../options.ts";
import type { ProvideOptions, ToolDefinition } from "../tools.ts";
import { connectAs, reportConnection, UsageError } from "./options.ts";
import type { CommonOptions } from "./options.ts";
import { plainOutput } from "./output.ts";
import { untilSignal } from "./signal.ts";
import { brief, duration, nameOf, oneLine } from "./text.ts";

export const PROVIDER_OPTIONS = {
  session: { type: "string" },
  "max-concurrent": { type: "string" },
  label: { type: "string", multiple: true },
  keep: { type: "string" },
  instance: { type: "string" },
} as const;

export const PROVIDER_HELP = `  --session ID         offer them to this session only
  --max-concurrent N   calls at once (8)
  --label KEY=VALUE    a label of this provider; may be repeated
  --keep DIR           results and who this is, so that it may crash and go on; one process a folder
  --instance ID        the same provider as before, after a restart; keep it secret`;

const DRAIN_MS = 10_000;

/** What is being provided, and how it ends. */
export interface Providing {
  readonly running: number;
  /** Finishes what runs and takes nothing more. */
  drain(): Promise<void>;
  /** Rejects when it cannot go on. */
  readonly over?: Promise<unknown>;
}

export interface ProviderOptions {
  readonly offer: ProvideOptions;
  /** Who the provider is across its own restarts. */
  readonly connection: Partial<ConnectOptions>;
}

/** Opens the folder of `--keep`, where there is one. Throws UsageError. */
export async function readProvider(
  text: (name: string) => string | undefined,
  values: Readonly<Record<string, string | boolean | string[] | undefined>>,
): Promise<ProviderOptions> {
  const [session, instance, most, keep] = ["session", "instance", "max-concurrent", "keep"].map(text);
  if (most !== undefined && !(Number.isInteger(Number(most)) && Number(most) > 0)) {
    throw new UsageError("--max-concurrent is a number from 1");
  }
  const labels = readPairs("--label KEY=VALUE", values["label"]);
  if (keep !== undefined && instance !== undefined) throw new UsageError("--keep has an instance of its own");
  const kept = keep === undefined ? {} : await keepIn(keep);
  return {
    offer: {
      ...(session === undefined ? {} : { session }),
      ...(most === undefined ? {} : { maxConcurrent: Number(most) }),
      ...(labels === undefined ? {} : { labels }),
    },
    connection: instance === undefined ? kept : { instance },
  };
}

/** A repeated option of two halves; undefined if it was not given. Throws UsageError. */
export function readPairs(
  form: string,
  given: string | boolean | string[] | undefined,
): Record<string, string> | undefined {
  if (!Array.isArray(given) || given.length === 0) return undefined;
  return Object.fromEntries(
    given.map((pair) => {
      const at = pair.indexOf("=");
      if (at < 1) throw new UsageError(`${form} is expected, not ${pair}`);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

/** Provides until a signal or the end of the connection. Resolves with the exit code; rejects when `start` does. */
export async function provideUntilSignal(
  common: CommonOptions,
  connection: Partial<ConnectOptions>,
  start: (client: Client, say: (line: string) => void) => Promise<Providing>,
): Promise<number> {
  const client = connectAs(common, connection);
  const say = (line: string): void => void (common.json || process.stdout.write(`${line}\n`));
  if (!common.json) reportConnection(client, plainOutput(process.stdout, process.stderr));
  let over = false;
  const closed = new Promise<number>((done) => {
    client.on("status", ({ state, reason, retryAt }) => {
      if (state === "connecting" && retryAt !== undefined && !common.json) {
        process.stderr.write(`cannot reach ${common.url} (${oneLine(reason ?? "")}), trying again\n`);
      }
      if (state !== "closed" || over) return;
      process.stderr.write(`closed: ${oneLine(reason ?? "")}\n`);
      done(1);
    });
  });
  const stopped = untilSignal();
  try {
    const providing = start(client, say);
    providing.catch(() => undefined);
    const first = await Promise.race([providing, stopped, closed]);
    if (typeof first === "number") return first;
    client.on("error", (error) => process.stderr.write(`${error.code}: ${oneLine(error.message)}\n`));
    const code = await Promise.race([stopped, closed, failure(first.over)]);
    if (code === 0) {
      if (first.running > 0) say(`finishing ${first.running} calls`);
      await Promise.race([first.drain(), new Promise((done) => setTimeout(done, DRAIN_MS).unref()), closed]);
    }
    return code;
  } finally {
    over = true;
    client.close();
  }
}

/** Never resolves; rejects when `over` does. */
function failure(over: Promise<unknown> = Promise.resolve()): Promise<never> {
  return new Promise((_, reject) => void over.catch(reject));
}

/** The same tool, with a line at the start and at the end of each call. */
export function printing(
  name: string,
  definition: ToolDefinition,
  say: (line: string) => void,
): ToolDefinition {
  return {
    ...definition,
    async execute(input, context) {
      const began = performance.now();
      const label = labelOf(name, context);
      say(`${label} called with ${brief(context.input, 120)} for ${nameOf(context.actor.name)}`);
      const end = (outcome: string): void =>
        say(`${label} ${outcome} in ${duration(performance.now() - began)}`);
      try {
        const output: unknown = await definition.execute(input, context);
        end("ok");
        return output;
      } catch (error) {
        const why = oneLine(error instanceof Error ? error.message : String(error));
        end(`${context.signal.aborted ? "stopped" : "failed"} (${why})`);
        throw error;
      }
    },
  };
}

function labelOf(name: string, context: CallContext): string {
  const attempt = context.attempt > 1 ? ` (attempt ${context.attempt})` : "";
  return `${new Date().toISOString().slice(11, 19)} ${name} ${oneLine(context.call, 64)}${attempt}`;
}
