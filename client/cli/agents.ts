/**
 * `haulout agents`: the agents of a running server, listed by anybody, put and removed by admins. Owns reading the file and
 * the form of the list; whether a definition is good the server says.
 */
import { readFile } from "node:fs/promises";
import type { JsonValue } from "../../protocol/content.ts";
import type { ListedAgent } from "../../protocol/lists.ts";
import type { Client } from "../client.ts";
import { COMMON_HELP, connectAs, firstOnline, parse, UsageError } from "./options.ts";
import { aligned, jsonLine, nameOf, oneLine } from "./text.ts";

const HELP = `usage: haulout agents list
       haulout agents put FILE
       haulout agents remove NAME

Lists the agents with which you may begin sessions; puts the one that FILE defines, in JSON as in the "agents" of
haulout.json, in place of one of the same name; removes one that was put. The last two need the right admin, take no
restart and last over it. A run that is open goes on with the definition it began with.

${COMMON_HELP.replace("print every frame from the server as a line of JSON, and nothing else", "print the result as lines of JSON, and nothing else")}
`;

const WITH_ARGUMENT: Readonly<Record<string, string>> = { put: "which file?", remove: "which agent?" };

export async function agents(args: string[]): Promise<number> {
  const { common, positionals } = parse(args, {}, 2);
  if (common.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const [command = "list", argument] = positionals;
  const missing = WITH_ARGUMENT[command];
  if (missing === undefined && command !== "list")
    throw new UsageError(`list, put or remove? not ${command}`);
  if (missing === undefined && argument !== undefined)
    throw new UsageError(`unexpected argument: ${argument}`);
  if (missing !== undefined && argument === undefined) throw new UsageError(missing);
  const definition = command === "put" ? await definitionIn(argument!) : undefined;
  const client = connectAs({ ...common, json: false });
  try {
    await firstOnline(client, common);
    if (command === "list") {
      const found = await all(client);
      process.stdout.write(
        common.json ? found.map((agent) => `${jsonLine(agent)}\n`).join("") : table(found),
      );
    } else if (definition === undefined) {
      await client.removeAgent(argument!);
      process.stdout.write(common.json ? `${jsonLine({})}\n` : `removed ${oneLine(argument!, 64)}\n`);
    } else {
      const result = await client.putAgent(definition);
      const name = nameOf(definition["name"] as string);
      process.stdout.write(common.json ? `${jsonLine(result)}\n` : `${name} ${result.version}\n`);
    }
    return 0;
  } finally {
    client.close();
  }
}

async function definitionIn(file: string): Promise<Record<string, JsonValue>> {
  const text = await readFile(file, "utf8");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // What the parser says quotes the text, in which there may be a key.
    throw new Error(`${file} is not valid JSON`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new Error(`${file}: an object is needed`);
  return value as Record<string, JsonValue>;
}

async function all(client: Client): Promise<ListedAgent[]> {
  const found: ListedAgent[] = [];
  let cursor: string | undefined;
  do {
    const page = await client.listAgents(cursor === undefined ? {} : { cursor });
    found.push(...page.items);
    cursor = page.cursor;
  } while (cursor !== undefined);
  return found;
}

function table(found: readonly ListedAgent[]): string {
  return aligned([
    ["AGENT", "MODEL", "", "DESCRIPTION"],
    ...found.map(({ name, model, put, description }) => [
      oneLine(name, 64),
      oneLine(model, 64),
      put ? "put" : "",
      oneLine(description, 80),
    ]),
  ]);
}
