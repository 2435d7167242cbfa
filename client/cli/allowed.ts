/**
 * `haulout allowed`: what one's runs need no approval for in any session, and taking it back. Owns the form of a line only.
 */
import type { ListedAllowance } from "../../protocol/frames.ts";
import type { Client } from "../client.ts";
import { COMMON_HELP, connectAs, firstOnline, parse } from "./options.ts";
import { brief, jsonLine, nameOf, oneLine } from "./text.ts";

const HELP = `usage: haulout allowed [options]

Lists what your runs need no approval for in any session, because somebody said so for you.

  --forget ID    take that one back first; from then on people are asked again
${COMMON_HELP.replace("print every frame from the server as a line of JSON, and nothing else", "print each as a line of JSON, and nothing else")}
`;

export async function allowed(args: string[]): Promise<number> {
  const { common, text } = parse(args, { forget: { type: "string" } } as const, 0);
  if (common.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const client = connectAs({ ...common, json: false });
  try {
    await firstOnline(client, common);
    const forget = text("forget");
    const all = await allOf(client);
    if (forget !== undefined) {
      const item = all.find(({ allowance }) => allowance.allowance === forget);
      if (item === undefined) throw new Error(`nothing is allowed as ${oneLine(forget, 128)}`);
      await client.request("forget", { session: item.session, allowance: forget });
      all.splice(all.indexOf(item), 1);
    }
    if (all.length === 0 && !common.json) process.stdout.write("nothing is allowed in all your sessions\n");
    for (const item of all) process.stdout.write(common.json ? `${jsonLine(item)}\n` : describe(item));
    return 0;
  } finally {
    client.close();
  }
}

async function allOf(client: Client): Promise<ListedAllowance[]> {
  const all: ListedAllowance[] = [];
  for (let cursor: string | undefined; ;) {
    const page = await client.listAllowances(cursor === undefined ? {} : { cursor });
    all.push(...page.items);
    ({ cursor } = page);
    if (cursor === undefined) return all;
  }
}

function describe({ session, allowance }: ListedAllowance): string {
  const { allowance: id, tool, input, by, at } = allowance;
  const calls = input === undefined ? "any input" : brief(input, 200);
  const since = new Date(at).toISOString().slice(0, 10);
  const who = by.map(({ user }) => nameOf(user.name)).join(", ");
  return `${oneLine(id, 128)} ${nameOf(tool)}(${calls}), by ${who} on ${since} in ${oneLine(session, 64)}\n`;
}
