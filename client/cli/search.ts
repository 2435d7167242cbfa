/**
 * `haulout search`: where something was said. Owns the form of a line only: who said it and where, then the piece with what
 * was looked for in bold, where the terminal has that.
 */
import type { SearchHit } from "../../protocol/frames.ts";
import { COMMON_HELP, connectAs, firstOnline, parse, UsageError } from "./options.ts";
import { jsonLine, moment, nameOf, oneLine } from "./text.ts";

const HELP = `usage: haulout search TEXT… [options]

Finds messages and titles with all of these words, the last one at least as a beginning, the latest first.

  --agent NAME   only in sessions of this agent
  --owner USER   only in sessions of this user
  --limit N      at most so many (20)
${COMMON_HELP.replace("print every frame from the server as a line of JSON, and nothing else", "print each as a line of JSON, and nothing else")}
`;

export async function search(args: string[]): Promise<number> {
  const extra = { agent: { type: "string" }, owner: { type: "string" }, limit: { type: "string" } } as const;
  const { common, positionals, text } = parse(args, extra, Infinity);
  if (common.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const wanted = positionals.join(" ");
  if (wanted.trim() === "") throw new UsageError("what is to be found?");
  const most = Number(text("limit") ?? 20);
  if (!Number.isInteger(most) || most < 1) throw new UsageError("--limit is a number from 1");
  const agent = text("agent");
  const owner = text("owner");
  const client = connectAs({ ...common, json: false });
  try {
    await firstOnline(client, common);
    const bold = process.stdout.isTTY && !process.env["NO_COLOR"];
    let left = most;
    let cursor: string | undefined;
    do {
      const page = await client.search({
        text: wanted,
        limit: Math.min(50, left),
        ...(agent === undefined ? {} : { agent }),
        ...(owner === undefined ? {} : { owner }),
        ...(cursor === undefined ? {} : { cursor }),
      });
      for (const hit of page.items)
        process.stdout.write(`${common.json ? jsonLine(hit) : describe(hit, bold)}\n`);
      left -= page.items.length;
      cursor = page.cursor;
    } while (cursor !== undefined && left > 0);
    if (left === most && !common.json) process.stdout.write("nothing found\n");
    if (cursor !== undefined && !common.json)
      process.stderr.write(`there is more: haulout search --limit ${most * 2}\n`);
    return 0;
  } finally {
    client.close();
  }
}

function describe(hit: SearchHit, bold: boolean): string {
  const who = hit.author === undefined ? "title" : nameOf(hit.author.name);
  const place = `${oneLine(hit.session, 64)}:${hit.seq}`;
  const title = hit.title === undefined || hit.message === undefined ? "" : ` (${oneLine(hit.title, 60)})`;
  return `${moment(hit.at)} ${place}${title} ${who}: ${marked(hit, bold)}`;
}

/** The piece on one line; what is marked in it bold. */
function marked({ snippet, marks }: SearchHit, bold: boolean): string {
  if (!bold) return oneLine(snippet, 400);
  let at = 0;
  let line = "";
  const plain = (to: number): string => oneLine(`|${snippet.slice(at, to)}|`, 400).slice(1, -1);
  for (const [from, to] of marks) {
    line += plain(from);
    at = from;
    line += `\u001b[1m${plain(to)}\u001b[22m`;
    at = to;
  }
  return line + plain(snippet.length);
}
