/**
 * `haulout usage`: what was used in a user's name, by day, and what is left of it. Owns the form of that table only.
 */
import type { Usage } from "../../protocol/content.ts";
import type { ResultOf } from "../../protocol/frames.ts";
import { COMMON_HELP, connectAs, firstOnline, parse } from "./options.ts";
import { jsonLine, nameOf } from "./text.ts";

const HELP = `usage: haulout usage [USER] [options]

Shows what models used in your name, or in that of USER with the right admin: by UTC day for the last month, in all, and
what budgets there are.

${COMMON_HELP.replace("print every frame from the server as a line of JSON, and nothing else", "print the result as a line of JSON, and nothing else")}
`;

export async function usage(args: string[]): Promise<number> {
  const { common, positionals } = parse(args, {}, 1);
  if (common.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const [user] = positionals;
  const client = connectAs({ ...common, json: false });
  try {
    await firstOnline(client, common);
    const found = await client.usage(user === undefined ? {} : { user });
    process.stdout.write(common.json ? `${jsonLine(found)}\n` : table(found));
    return 0;
  } finally {
    client.close();
  }
}

function table({ user, total, days, budget }: ResultOf<"usage">): string {
  const rows: [string, number, number][] = days.map(({ day, usage }) => [
    new Date(day).toISOString().slice(0, 10),
    ...figures(usage),
  ]);
  rows.push(["in all", ...figures(total)]);
  for (const [name, of] of [
    ["budget of a day", budget?.day] as const,
    ["budget in all", budget?.total] as const,
  ])
    if (of !== undefined) rows.push([name, of.tokens ?? 0, of.cost ?? 0]);
  const priced = rows.some(([, , cost]) => cost > 0);
  const lines = rows.map(([name, tokens, cost]) => {
    const count = tokens === 0 && name.startsWith("budget") ? "" : String(tokens);
    return row(name, count, priced ? price(cost) : "");
  });
  return [row(nameOf(user), "TOKENS", priced ? "COST" : ""), ...lines].join("");
}

function row(name: string, tokens: string, cost: string): string {
  return `${`${name.padEnd(16)}${tokens.padStart(14)}${cost.padStart(16)}`.trimEnd()}\n`;
}

function figures({ inputTokens, outputTokens, cost = 0 }: Usage): [tokens: number, cost: number] {
  return [inputTokens + outputTokens, cost];
}

/** Millionths of a currency that has no name here. */
function price(cost: number): string {
  return cost === 0 ? "" : (cost / 1_000_000).toFixed(6);
}
