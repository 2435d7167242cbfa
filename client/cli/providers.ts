/**
 * `haulout providers`: who offers tools to a server and how busy they are, and sending one of them no more calls. Owns the
 * form of that table only; what draining means is the server's.
 */
import type { ListedProvider } from "../../protocol/lists.ts";
import type { Client } from "../client.ts";
import { COMMON_HELP, connectAs, firstOnline, parse } from "./options.ts";
import { aligned, jsonLine, oneLine } from "./text.ts";

const HELP = `usage: haulout providers [options]

Lists who offers tools to the whole server: calls at work, and how many at most.

  --session ID   those of a session, too
  --drain NAME   no new calls for this provider; what it has it finishes, then its tools are gone until it offers
                 them again. Needs the right admin
${COMMON_HELP.replace("print every frame from the server as a line of JSON, and nothing else", "print each provider as a line of JSON, and nothing else")}
`;

interface Row extends ListedProvider {
  readonly tools: readonly string[];
}

export async function providers(args: string[]): Promise<number> {
  const { common, text } = parse(args, { session: { type: "string" }, drain: { type: "string" } }, 0);
  if (common.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const client = connectAs({ ...common, json: false });
  try {
    await firstOnline(client, common);
    const drained = text("drain");
    if (drained !== undefined) await client.drainProvider(drained);
    const found = await list(client, text("session"));
    process.stdout.write(common.json ? found.map((row) => `${jsonLine(row)}\n`).join("") : table(found));
    return 0;
  } finally {
    client.close();
  }
}

async function list(client: Client, session: string | undefined): Promise<Row[]> {
  const found = new Map<string, Row>();
  let cursor: string | undefined;
  do {
    const page = await client.listTools({
      ...(session === undefined ? {} : { session }),
      ...(cursor === undefined ? {} : { cursor }),
    });
    for (const { name, pool = [] } of page.items)
      for (const each of pool)
        found.set(each.provider, { ...each, tools: [...(found.get(each.provider)?.tools ?? []), name] });
    cursor = page.cursor;
  } while (cursor !== undefined);
  return [...found.values()];
}

function table(rows: readonly Row[]): string {
  return aligned([
    ["PROVIDER", "STATE", "CALLS", "LABELS", "TOOLS"],
    ...rows.map(({ provider, state, inFlight, maxConcurrent, labels = {}, tools }) => [
      oneLine(provider, 64),
      state,
      `${inFlight}/${maxConcurrent}`,
      oneLine(
        Object.entries(labels)
          .map(([key, value]) => `${key}=${value}`)
          .join(" "),
        60,
      ),
      oneLine(tools.join(" "), 200),
    ]),
  ]);
}
