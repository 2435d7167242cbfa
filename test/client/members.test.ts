/**
 * Members and invitations from the client library and the commands: what a role is worth, how it changes while one watches,
 * and how others come in.
 * limit: 120 s
 */
import { connect, type Client, type ProtocolError } from "../../client/index.ts";
import { spawnNode } from "../support/process.ts";
import { compiled } from "../support/root.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { until } from "../support/wait.ts";
import { Pty, whyNoTerminal } from "./support/pty.ts";

const MAIN = compiled("server/main.ts");
const test = suite("members");
const terminals = whyNoTerminal();
const inTerminals = (name: string, body: () => Promise<void>): void =>
  terminals === undefined ? test(name, { limitMs: 60_000 }, body) : test.skip(name, terminals);

let server: TestServer;
const clients: Client[] = [];
const tokenOf = (user: string): string => `${user}-secret-0123456789`;

test.before(async () => {
  const rights: Record<string, string[]> = { ann: ["create:*"], bob: ["create:*"], eve: [], root: ["admin"] };
  const tokens = Object.keys(rights).map((user) => ({ user, token: tokenOf(user), rights: rights[user] }));
  server = await TestServer.start({ store: "memory", config: { auth: { mode: "token", tokens } } });
});
test.after.each(() => {
  for (const client of clients.splice(0)) client.close();
});
test.after(() => server.stop());

function enter(user: string): Client {
  const client = connect({ url: server.url, token: tokenOf(user) });
  clients.push(client);
  return client;
}

async function command(
  user: string,
  ...args: string[]
): Promise<{ code: number | null; out: string; err: string }> {
  const env = { HAULOUT_URL: server.url, HAULOUT_TOKEN: tokenOf(user) };
  const ran = spawnNode([MAIN, ...args], { env });
  ran.stdin.end();
  const { code } = await ran.exited;
  return { code, out: ran.stdout.join("\n"), err: ran.stderr.join("\n") };
}

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "ok",
    (error: unknown) => (error as ProtocolError).code,
  );

test("a handle says what one may do, and follows the log while one watches", async () => {
  const ann = enter("ann");
  const { session } = await ann.createSession({ agent: "demo" });
  const mine = await ann.attach(session);
  assert.is(mine.role, "owner");
  await mine.grant("bob", "viewer");
  const theirs = await enter("bob").attach(session);
  assert.is(theirs.role, "viewer");
  assert.is(await codeOf(theirs.send("hello")), "forbidden");
  await until(() => theirs.caughtUp, 10_000, "bob to be live");
  await mine.grant("bob", "editor");
  await until(() => theirs.role === "editor", 10_000, "the new role");
  assert.is(await codeOf(theirs.grant("eve", "viewer")), "forbidden");
  assert.match((await theirs.ask("hello")).text ?? "", /hello/);
  const ended = new Promise<ProtocolError>((resolve) => theirs.on("detached", resolve));
  await mine.revoke("bob");
  assert.is((await ended).code, "forbidden");
  assert.is(await codeOf(enter("bob").attach(session)), "not-found");
  assert.is(await codeOf(mine.revoke("ann")), "conflict");
});

test("an admin is no member and acts as owner, whatever becomes of the members", async () => {
  const ann = enter("ann");
  const { session } = await ann.createSession({ agent: "demo" });
  const handle = await enter("root").attach(session);
  await until(() => handle.caughtUp, 10_000, "root to be live");
  assert.is(handle.role, "owner");
  const { seq } = await handle.grant("root", "viewer");
  await until(() => handle.state?.seq === seq, 10_000, "the entry");
  assert.is(handle.role, "owner");
});

test("an invitation lets others in, once or until it is taken back", async () => {
  const ann = enter("ann");
  const { session } = await ann.createSession({ agent: "demo" });
  const mine = await ann.attach(session);
  const { token } = await mine.invite({ role: "editor" });
  const bob = enter("bob");
  const joined = await bob.join(token);
  assert.equal([joined.session, joined.role], [session, "editor"]);
  assert.equal((await bob.join(token)).role, "editor", "a repetition is answered again");
  assert.is(await codeOf(enter("eve").join(token)), "not-found");
  const other = await mine.invite({ role: "viewer", uses: 5, expiresInMs: 60_000 });
  await mine.revokeInvite(other.invite);
  assert.is(await codeOf(enter("eve").join(other.token)), "not-found");
});

test("the commands list and change members, invite and join", { limitMs: 60_000 }, async () => {
  const { session } = await enter("ann").createSession({ agent: "demo" });
  const invited = await command(
    "ann",
    "invite",
    session,
    "--role",
    "viewer",
    "--uses",
    "2",
    "--expires",
    "2h",
  );
  assert.is(invited.code, 0);
  assert.match(invited.err, /joins as viewer: .* join TOKEN/);
  const joined = await command("eve", "join", invited.out.trim());
  assert.match(joined.out, new RegExp(`^joined ${session} as viewer: .* chat ${session}$`));
  const listed = await command("ann", "members", session, "--grant", "bob", "--role", "approver");
  assert.match(listed.out, /^owner +ann$/m);
  assert.match(listed.out, /^viewer +eve$/m);
  assert.match(listed.out, /^approver +bob$/m);
  const id = /^invite +(inv_\w+) as viewer, 1 left, until /m.exec(listed.out)?.[1] ?? "none";
  assert.not.ok(listed.out.includes(invited.out.trim().split(".")[2]!), "the secret is said once");
  const after = await command("ann", "members", session, "--revoke", "eve", "--revoke-invite", id);
  assert.not.match(after.out, /eve|invite/);
  const json = await command("ann", "members", session, "--json");
  assert.equal(JSON.parse(json.out), { members: { ann: "owner", bob: "approver" }, invites: [] });
  const refused = await command("bob", "members", session, "--revoke", "ann");
  assert.equal([refused.code, /forbidden/.test(refused.err)], [1, true]);
  assert.match((await command("eve", "join", invited.out.trim())).err, /not-found: no such invitation/);
  assert.is((await command("bob", "members", session, "--leave")).out.trim(), `left ${session}`);
  assert.match((await command("bob", "members", session, "--leave")).err, /not-found/);
  assert.match((await command("ann", "members", session, "--leave")).err, /conflict/);
  const misuses = [
    ["invite"],
    ["join"],
    ["members"],
    ["invite", session, "--expires", "soon"],
    ["invite", session, "--role", "king"],
  ];
  const codes = await Promise.all(misuses.map(async (args) => (await command("ann", ...args)).code));
  assert.equal(codes, [2, 2, 2, 2, 2]);
});

inTerminals("a viewer's chat has no prompt until the role changes, and shows the change", async () => {
  const mine = await enter("ann").attach((await enter("ann").createSession({ agent: "demo" })).session);
  await mine.grant("bob", "viewer");
  const env = { HAULOUT_URL: server.url, HAULOUT_TOKEN: tokenOf("bob"), NO_COLOR: "1" };
  const bob = new Pty([process.execPath, MAIN, "chat", mine.id], env, 60);
  try {
    await bob.sees(/^\[you read here\]/m);
    assert.not.ok(bob.terminal.rows.some((row) => row.includes("bob>")));
    await mine.grant("bob", "editor");
    await bob.sees(/^-- bob is editor now$/m);
    await bob.sees(/^bob>/m);
  } finally {
    bob.kill();
  }
});

test.run();
