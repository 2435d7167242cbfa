/**
 * The command `haulout models`: what agents can name as their model here and now, and what is missing for the rest; and
 * the hint that a server without any model of its own gives at its start. Owns printing; what is usable the model
 * folder knows.
 */
import { loadConfig } from "../config.ts";
import { describeUsable, howToBegin, listUsable } from "../model/usable.ts";
import { catalogOf } from "../server.ts";
import { parse } from "./options.ts";

const HELP = `usage: haulout models [options]

Lists what the "model" of an agent may begin with: whether it can be used now, and what to do where it cannot.
Asks servers that run models at an address of their own (Ollama's, unless told) for the names they have.

  --json      print a line of JSON
  --help      print this
`;
/** A start is not kept waiting for a server that is not there. */
const HINT_WAIT_MS = 300;

export async function runModels(args: string[]): Promise<number> {
  const { values } = parse("models", args, { json: { type: "boolean" } }, 0);
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const catalog = catalogOf(loadConfig());
  for (const problem of catalog.problems) process.stderr.write(`haulout: models.${problem}\n`);
  const list = await listUsable(catalog);
  process.stdout.write(values.json === true ? `${JSON.stringify({ models: list })}\n` : describeUsable(list));
  return 0;
}

/** How to come by a language model, for who starts a server for the first time. */
export async function modelHint(models: Readonly<Record<string, unknown>>): Promise<string> {
  return howToBegin(await listUsable(catalogOf({ models }), { timeoutMs: HINT_WAIT_MS }));
}
