/**
 * `haulout members`, `haulout invite` and `haulout join`: who may take part in a session, and how others come in. Owns what
 * they print; prints a token once, on stdout and nowhere else.
 */
import type { Role } from "../../protocol/content.ts";
import type { Client } from "../client.ts";
import { COMMON_HELP, connectAs, firstOnline, ownCommand, parse, UsageError } from "./options.ts";
import type { CommonOptions } from "./options.ts";
import { jsonLine, nameOf, oneLine } from "./text.ts";

const ROLES = ["owner", "editor", "approver", "viewer"] as const satisfies readonly Role[];
const COMMON = COMMON_HELP.replace(
  "print every frame from the server as a line of JSON, and nothing else",
  "print the result as a line of JSON, and nothing else",
);
const UNITS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

const MEMBERS_HELP = `usage: haulout members SESSION [options]

Lists the members of a session and its open invitations, after the change that an option asks for.

  --grant USER          make USER a member, or give USER another role
  --role ROLE           the role to grant: ${ROLES.join(", ")} (editor)
  --revoke USER         end a membership, and every stream of it at once
  --leave               end your own
  --revoke-invite ID    make the token of an invitation useless
${COMMON}
`;

const INVITE_HELP = `usage: haulout invite SESSION [options]

Prints a token with which others become members: haulout join TOKEN.

  --role ROLE    as what: ${ROLES.join(", ")} (editor)
  --uses N       how many may come with it (1)
  --expires T    until when: minutes, hours or days from now, as 30m, 12h or 7d (7d)
${COMMON}
`;

const JOIN_HELP = `usage: haulout join TOKEN [options]

Becomes a member of the session that the token is for.

${COMMON}
`;

export async function members(args: string[]): Promise<number> {
  const extra = {
    grant: { type: "string" },
    role: { type: "string" },
    revoke: { type: "string" },
    leave: { type: "boolean" },
    "revoke-invite": { type: "string" },
  } as const;
  const { common, positionals, text, values } = parse(args, extra, 1);
  if (common.help) return print(MEMBERS_HELP);
  const session = positionals[0];
  if (session === undefined) throw new UsageError("which session?");
  const role = roleOf(text("role"));
  const [grant, revoke, invite] = [text("grant"), text("revoke"), text("revoke-invite")];
  return online(common, async (client) => {
    if (values["leave"] === true) {
      await client.request("revoke", { session, user: client.user!.id });
      return print(common.json ? `${jsonLine({ session })}\n` : `left ${oneLine(session, 64)}\n`);
    }
    const handle = await client.attach(session, { tail: 0 });
    if (grant !== undefined) await handle.grant(grant, role);
    if (revoke !== undefined) await handle.revoke(revoke);
    if (invite !== undefined) await handle.revokeInvite(invite);
    // What was just asked for is in the log, and so in what is attached anew.
    handle.detach();
    const { state } = await client.attach(session, { tail: 0 });
    const { members: all = {}, invites = [] } = state ?? {};
    if (common.json) return print(`${jsonLine({ members: all, invites })}\n`);
    const people = Object.entries(all).map(([user, as]) => `${as.padEnd(9)} ${nameOf(user)}\n`);
    const open = invites.map((item) => {
      const until = new Date(item.expiresAt).toISOString();
      return `invite    ${oneLine(item.invite, 64)} as ${item.role}, ${item.uses} left, until ${until}\n`;
    });
    return print([...people, ...open].join(""));
  });
}

export async function invite(args: string[]): Promise<number> {
  const extra = { role: { type: "string" }, uses: { type: "string" }, expires: { type: "string" } } as const;
  const { common, positionals, text } = parse(args, extra, 1);
  if (common.help) return print(INVITE_HELP);
  const session = positionals[0];
  if (session === undefined) throw new UsageError("into which session?");
  const role = roleOf(text("role"));
  const uses = Number(text("uses") ?? 1);
  if (!Number.isInteger(uses) || uses < 1) throw new UsageError("--uses is a number from 1");
  const [, count, unit = ""] = /^(\d+)([mhd])$/.exec(text("expires") ?? "7d") ?? [];
  if (count === undefined) throw new UsageError("--expires is a time as 30m, 12h or 7d");
  const expiresInMs = Number(count) * UNITS[unit]!;
  return online(common, async (client) => {
    const made = await client.request("invite", { session, role, uses, expiresInMs });
    if (common.json) return print(`${jsonLine(made)}\n`);
    process.stderr.write(`whoever has this joins as ${role}: ${ownCommand()} join TOKEN\n`);
    return print(`${made.token}\n`);
  });
}

export async function join(args: string[]): Promise<number> {
  const { common, positionals } = parse(args, {}, 1);
  if (common.help) return print(JOIN_HELP);
  const token = positionals[0];
  if (token === undefined) throw new UsageError("with which token?");
  return online(common, async (client) => {
    const joined = await client.join(token);
    if (common.json) return print(`${jsonLine(joined)}\n`);
    const id = oneLine(joined.session, 64);
    return print(`joined ${id} as ${joined.role}: ${ownCommand()} chat ${id}\n`);
  });
}

async function online(common: CommonOptions, use: (client: Client) => Promise<number>): Promise<number> {
  const client = connectAs({ ...common, json: false });
  try {
    await firstOnline(client, common);
    return await use(client);
  } finally {
    client.close();
  }
}

function roleOf(text = "editor"): Role {
  const role = ROLES.find((item) => item === text);
  if (role === undefined) throw new UsageError(`--role is one of ${ROLES.join(", ")}`);
  return role;
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}
