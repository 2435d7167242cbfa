/**
 * `haulout tools`: provides the tools of a module until it is stopped, and says what they are asked to do. Owns loading
 * the module; its life is provide.ts, everything about a call is done by the client library.
 */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { ToolDefinitions } from "../tools.ts";
import { COMMON_HELP, parse, UsageError } from "./options.ts";
import { printing, PROVIDER_HELP, PROVIDER_OPTIONS, provideUntilSignal, readProvider } from "./provide.ts";
import { nameOf } from "./text.ts";

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

${PROVIDER_HELP}
${COMMON_HELP}
`;

export async function tools(args: string[]): Promise<number> {
  const { common, positionals, text, values } = parse(args, PROVIDER_OPTIONS, 1);
  if (common.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const [file] = positionals;
  if (file === undefined) throw new UsageError("which file? its default export maps names to tools");
  const definitions = await load(file);
  const { offer, connection } = await readProvider(text, values);
  return provideUntilSignal(common, connection, async (client, say) => {
    const printed = Object.fromEntries(
      Object.entries(definitions).map(([name, definition]) => [name, printing(name, definition, say)]),
    );
    const provided = await client.provideTools(printed, offer);
    say(`providing ${provided.accepted.map(nameOf).join(", ")}`);
    return provided;
  });
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
