/**
 * `haulout import FILE`: makes a session of an exported log. Owns reading the file in pieces and checking that all of it
 * is there before the last piece is sent; what an entry may be is the server's to judge.
 */
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { EXPORT_VERSION, exportHeader, readHeader } from "../../protocol/archive.ts";
import type { JsonValue } from "../../protocol/content.ts";
import type { ImportedEntry } from "../../protocol/frames.ts";
import { newId } from "../../protocol/ids.ts";
import type { Client } from "../client.ts";
import { COMMON_HELP, connectAs, firstOnline, parse, UsageError } from "./options.ts";
import { jsonLine } from "./text.ts";

const HELP = `usage: haulout import FILE [options]

Makes a session of a file that haulout export wrote; needs the right admin. What was open in it is closed: a run ends
interrupted, inputs are withdrawn. Prints the id of the session. Authors are believed as the file names them.

  --session ID   the id, which must never have been used (a new one)
${COMMON_HELP.replace("print every frame from the server as a line of JSON, and nothing else", "print session and seq as a line of JSON, and nothing else")}
`;

/** What one request carries: half of a frame, and some. */
const PAGE_UNITS = 256 * 1024;
const PAGE_ENTRIES = 250;

export async function importSession(args: string[]): Promise<number> {
  const { common, positionals, text } = parse(args, { session: { type: "string" } }, 1);
  if (common.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const [path] = positionals;
  if (path === undefined) throw new UsageError("which file? haulout import FILE");
  const client = connectAs({ ...common, json: false });
  try {
    await firstOnline(client, common);
    const session = text("session") ?? newId("ses");
    const seq = await copyFile(client, path, session);
    process.stdout.write(common.json ? `${jsonLine({ session, seq })}\n` : `${session}\n`);
    return 0;
  } finally {
    client.close();
  }
}

async function copyFile(client: Client, path: string, session: string): Promise<number> {
  const lines = createInterface({ input: createReadStream(path, "utf8"), crlfDelay: Infinity });
  let header: ReturnType<typeof exportHeader.parse> | undefined;
  let entries: ImportedEntry[] = [];
  let units = 0;
  let read = 0;
  let sent = 0;
  const send = async (last: boolean): Promise<number> => {
    const page = { session, after: sent, entries, ...(last ? { last } : {}) };
    const { seq } = await client.request("importEntries", page, { timeoutMs: 120_000 });
    sent += entries.length;
    entries = [];
    units = 0;
    return seq;
  };
  for await (const line of lines) {
    if (line.trim() === "") continue;
    if (header === undefined) {
      const what = { format: "haulout-session", version: EXPORT_VERSION, name: path } as const;
      header = readHeader(exportHeader, what, line);
      continue;
    }
    if (entries.length >= PAGE_ENTRIES || (entries.length > 0 && units + line.length > PAGE_UNITS))
      await send(false);
    entries.push(entryOf(line, ++read));
    units += line.length;
  }
  if (header === undefined) throw new Error(`${path} is empty`);
  if (read !== header.entries)
    throw new Error(`${path} is not whole: it has ${read} of ${header.entries} entries`);
  return send(true);
}

function entryOf(line: string, seq: number): ImportedEntry {
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(line) as Record<string, unknown>;
  } catch (cause) {
    throw new Error(`entry ${seq} is not JSON`, { cause });
  }
  if (value["seq"] !== seq) throw new Error(`entry ${seq} is missing`);
  const { at, run, actor, event } = value as unknown as ImportedEntry & { event: JsonValue };
  return {
    at,
    event,
    ...(run === undefined ? {} : { run }),
    ...(actor === undefined ? {} : { actor }),
  };
}
