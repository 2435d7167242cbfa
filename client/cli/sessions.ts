/**
 * `haulout sessions`: the sessions that this user may see, as a table. Owns its form only.
 */
import type { SessionInfo } from "../../protocol/content.ts";
import { COMMON_HELP, connectAs, firstOnline, parse, UsageError } from "./options.ts";
import { aligned, jsonLine, moment, oneLine } from "./text.ts";

const HELP = `usage: haulout sessions [options]

Lists the sessions that you may see, the last used first.

  --agent NAME   only those of this agent
  --state STATE  only those that are idle, running, waiting or closed
  --parent ID    only those in which tasks of this session are done
  --limit N      at most so many (50)
${COMMON_HELP.replace("print every frame from the server as a line of JSON, and nothing else", "print each session as a line of JSON, and nothing else")}
`;

const STATES = ["idle", "running", "waiting", "closed"] as const;

export async function sessions(args: string[]): Promise<number> {
  const string = { type: "string" } as const;
  const extra = { agent: string, state: string, parent: string, limit: string };
  const { common, text } = parse(args, extra, 0);
  if (common.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const state = STATES.find((item) => item === text("state"));
  if (state === undefined && text("state") !== undefined)
    throw new UsageError(`--state is one of ${STATES.join(", ")}`);
  const most = Number(text("limit") ?? 50);
  if (!Number.isInteger(most) || most < 1) throw new UsageError("--limit is a number from 1");
  const agent = text("agent");
  const parent = text("parent");
  const client = connectAs({ ...common, json: false });
  try {
    await firstOnline(client, common);
    const found: SessionInfo[] = [];
    let cursor: string | undefined;
    do {
      const page = await client.listSessions({
        limit: Math.min(200, most - found.length),
        ...(agent === undefined ? {} : { agent }),
        ...(state === undefined ? {} : { state }),
        ...(parent === undefined ? {} : { parent }),
        ...(cursor === undefined ? {} : { cursor }),
      });
      found.push(...page.items);
      cursor = page.cursor;
    } while (cursor !== undefined && found.length < most);
    if (common.json) for (const session of found) process.stdout.write(`${jsonLine(session)}\n`);
    else {
      process.stdout.write(table(found));
      if (cursor !== undefined)
        process.stderr.write(`there are more: haulout sessions --limit ${most * 2}\n`);
    }
    return 0;
  } finally {
    client.close();
  }
}

function table(sessions: readonly SessionInfo[]): string {
  const hasTasks = sessions.some(({ parent }) => parent !== undefined);
  return aligned([
    ["SESSION", ...(hasTasks ? ["PARENT"] : []), "AGENT", "STATE", "UNREAD", "UPDATED", "TOKENS", "TITLE"],
    ...sessions.map((session) => [
      oneLine(session.id, 64),
      ...(hasTasks ? [oneLine(session.parent?.session ?? "", 64)] : []),
      oneLine(session.agent, 32),
      session.queued > 0 ? `${session.state} +${session.queued}` : standing(session),
      session.unread === undefined || session.unread === 0 ? "" : String(session.unread),
      moment(session.updatedAt),
      String((session.usage?.inputTokens ?? 0) + (session.usage?.outputTokens ?? 0)),
      oneLine(session.title ?? "", 60),
    ]),
  ]);
}

const standing = ({ state, failed }: SessionInfo): string =>
  state === "idle" && failed !== undefined ? "failed" : state;
