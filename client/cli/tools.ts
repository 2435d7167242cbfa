/**
 * `haulout tools`: provides the tools of a module until it is stopped, and says what they are asked to do. Owns loading
 * the module and printing the calls; everything about a call is done by the client library.
 */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { CallContext } from "../calls.ts";
import { keepIn } from "../node.ts";
import type { ToolDefinition, ToolDefinitions } from "../tools.ts";
import { COMMON_HELP, connectAs, parse, reportConnection, UsageError } from "./options.ts";
import { plainOutput } from "./output.ts";
import { untilSignal } from "./signal.ts";
import { brief, duration, nameOf, oneLine } from "./text.ts";

const HELP = `usage: haulout tools FILE [options]

Provides the tools of a module to the server until it is stopped (Control-C, SIGTERM: finishes what runs, 10 s at
most). The module's default export maps names to tools:

  export default {
    add: {
      description: "Adds two numbers.",
      input: { type: "object", properties: { a: { type: "number" }, b: { type: "number" } }, required: ["a", "b"] },
      effect: "pure",            // pure, idempotent or once (default): may a call run again?
      timeoutMs: 5000,           // 60 000 unless told
      execute: ({ a, b }, context) => a + b,
    },
  };

  --session ID         offer them to this session only
  --max-concurrent N   calls at once (8)
  --label KEY=VALUE    a label of this provider; may be repeated
  --keep DIR           results and who this is, so that it may crash and go on; one process a folder
  --instance ID        the same provider as before, after a restart; keep it secret
${COMMON_HELP}
`;

const DRAIN_MS = 10_000;

export async function tools(args: string[]): Promise<number> {
  const extra = {
    session: { type: "string" },
    "max-concurrent": { type: "string" },
    label: { type: "string", multiple: true },
    keep: { type: "string" },
    instance: { type: "string" },
  } as const;
  const { common, positionals, text, values } = parse(args, extra, 1);
  if (common.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const [file] = positionals;
  if (file === undefined) throw new UsageError("which file? its default export maps names to tools");
  const [session, instance, most] = [text("session"), text("instance"), text("max-concurrent")];
  const keep = text("keep");
  if (most !== undefined && !(Number.isInteger(Number(most)) && Number(most) > 0)) {
    throw new UsageError("--max-concurrent is a number from 1");
  }
  const labels = readLabels(values["label"]);
  const definitions = await load(file);
  if (keep !== undefined && instance !== undefined) throw new UsageError("--keep has an instance of its own");
  const kept = keep === undefined ? {} : await keepIn(keep);
  const client = connectAs(common, instance === undefined ? kept : { instance });
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
    const provided = client.provideTools(printing(definitions, say), {
      ...(session === undefined ? {} : { session }),
      ...(most === undefined ? {} : { maxConcurrent: Number(most) }),
      ...(labels === undefined ? {} : { labels }),
    });
    provided.catch(() => undefined);
    const first = await Promise.race([provided, stopped, closed]);
    if (typeof first === "number") return first;
    say(`providing ${first.accepted.map(nameOf).join(", ")}`);
    client.on("error", (error) => process.stderr.write(`${error.code}: ${oneLine(error.message)}\n`));
    const code = await Promise.race([stopped, closed]);
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

async function load(file: string): Promise<ToolDefinitions> {
  let module: { default?: unknown };
  try {
    module = (await import(pathToFileURL(resolve(file)).href)) as { default?: unknown };
  } catch (error) {
    throw new Error(`cannot load ${file}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  const definitions = module.default;
  if (typeof definitions !== "object" || definitions === null || Object.keys(definitions).length === 0) {
    throw new UsageError(`${file} has no default export that maps names to tools`);
  }
  for (const [name, definition] of Object.entries(definitions as Record<string, unknown>)) {
    const { description, input, execute } = (definition ?? {}) as Record<string, unknown>;
    if (typeof description !== "string" || typeof input !== "object" || typeof execute !== "function") {
      throw new UsageError(
        `tool ${name} of ${file} needs description, input (a schema) and execute (a function)`,
      );
    }
  }
  return definitions as ToolDefinitions;
}

/** The same tools, with a line at the start and at the end of each call. */
function printing(definitions: ToolDefinitions, say: (line: string) => void): ToolDefinitions {
  const wrap = (name: string, definition: ToolDefinition): ToolDefinition => ({
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
        end(
          `${context.signal.aborted ? "stopped" : "failed"} (${oneLine(error instanceof Error ? error.message : String(error))})`,
        );
        throw error;
      }
    },
  });
  return Object.fromEntries(
    Object.entries(definitions).map(([name, definition]) => [name, wrap(name, definition)]),
  );
}

function labelOf(name: string, context: CallContext): string {
  const attempt = context.attempt > 1 ? ` (attempt ${context.attempt})` : "";
  return `${new Date().toISOString().slice(11, 19)} ${name} ${oneLine(context.call, 64)}${attempt}`;
}

function readLabels(given: string | boolean | string[] | undefined): Record<string, string> | undefined {
  if (!Array.isArray(given) || given.length === 0) return undefined;
  return Object.fromEntries(
    given.map((label) => {
      const at = label.indexOf("=");
      if (at < 1) throw new UsageError(`--label is KEY=VALUE, not ${label}`);
      return [label.slice(0, at), label.slice(at + 1)];
    }),
  );
}
