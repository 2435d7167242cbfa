// limit: 240 s
/**
 * Prices and budgets as an operator sets them: a real server killed and started again, users in sessions of their own,
 * and what lists say was used.
 */
import { join } from "node:path";
import { connect, type Client } from "../../client/index.ts";
import type { SessionInfo } from "../../protocol/content.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import { assertSound } from "../fault/backup-load.ts";
import { spawnNode, temporaryDirectory } from "../support/process.ts";
import { compiled } from "../support/root.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";

const test = suite("budgets of an operator");
/** Each of them starts several processes. */
const LONG = { limitMs: 120_000 };
/** 400 characters count as 100 tokens. */
const ANSWER = JSON.stringify({ script: [{ text: "x".repeat(400) }] });

test("a session ends at its budget, through a kill -9, while the other user goes on", LONG, async () => {
  let server = await TestServer.start({
    config: {
      auth: { mode: "token", tokens: ["ann", "bob"].map((user) => ({ token: user, user })) },
      prices: { scripted: { input: 1, output: 1000 } },
      budgets: { session: { cost: 0.15 } },
    },
  });
  const ends = async (user: string, id?: string): Promise<{ end: string | undefined; info: SessionInfo }> => {
    const client = connect({ url: server.url, token: user });
    try {
      const at = id ?? (await client.createSession({ agent: "demo" })).session;
      const { error, reason } = await (await client.attach(at)).ask(ANSWER);
      const { items } = await client.listSessions();
      return { end: error?.code ?? reason, info: items.find((item) => item.id === at)! };
    } finally {
      client.close();
    }
  };
  const first = await ends("ann");
  assert.is(first.end, "text");
  const { id, usage } = first.info;
  assert.is(usage?.outputTokens, 100);
  assert.is(usage?.cost, usage!.inputTokens + 100_000);
  await server.kill();
  server = await server.again();
  const second = await ends("ann", id);
  assert.is(second.end, "text", "0.10 of 0.15 was used");
  assert.is(second.info.usage?.outputTokens, 200, "each step is counted once");
  await server.kill();
  server = await server.again();
  const third = await ends("ann", id);
  assert.is(third.end, "over-budget");
  assert.equal(third.info.usage, second.info.usage);
  assert.is((await ends("bob")).end, "text");
  assert.is((await ends("ann")).end, "text", "of a new session");
  await server.stop();
});

test(
  "a user ends at the budget of the day in all sessions, and who may asks what was used",
  LONG,
  async () => {
    const rights: Record<string, string[]> = { root: ["admin"] };
    const tokens = ["ann", "bob", "root"].map((user) => ({ token: user, user, rights: rights[user] }));
    const server = await TestServer.start({
      config: {
        auth: { mode: "token", tokens },
        prices: { "*": { input: 0, output: 1000 } },
        budgets: { user: { day: { cost: 0.15 }, total: { tokens: 1_000_000 } } },
      },
    });
    const as = async <T>(user: string, work: (client: Client) => Promise<T>): Promise<T> => {
      const client = connect({ url: server.url, token: user });
      try {
        return await work(client);
      } finally {
        client.close();
      }
    };
    const asks = (user: string): Promise<string> =>
      as(user, async (client) => {
        const { session } = await client.createSession({ agent: "demo" });
        const { error, reason } = await (await client.attach(session)).ask(ANSWER);
        await client.request("deleteSession", { session });
        return error?.code ?? reason;
      });
    assert.is(await asks("ann"), "text");
    assert.is(await asks("ann"), "text", "0.10 of 0.15 was used");
    const used = await as("ann", (client) => client.usage());
    assert.equal([used.user, used.total.outputTokens, used.total.cost], ["ann", 200, 200_000]);
    assert.equal(
      used.days.map(({ day, usage }) => [day % 86_400_000, usage]),
      [[0, used.total]],
    );
    assert.equal(used.budget, { day: { cost: 150_000 }, total: { tokens: 1_000_000 } });
    assert.is(await asks("ann"), "over-budget");
    assert.is(await asks("bob"), "text");
    const refused = await as("bob", (client) => assert.rejects(client.usage({ user: "ann" }), ProtocolError));
    assert.is(refused.code, "forbidden");
    const nothing = await as("bob", (client) =>
      assert.rejects(client.usage({ user: "nobody" }), ProtocolError),
    );
    assert.is(nothing.message, refused.message, "nobody learns who there is");
    assert.equal(await as("root", (client) => client.usage({ user: "ann" })), used);

    const copy = await moved(server);
    assert.is((await command(copy, "root", "usage", "ann", "--json"))[0], JSON.stringify(used));
    const table = await command(copy, "root", "usage", "ann");
    assert.match(
      table.join("\n"),
      /^ann +TOKENS +COST\n\d{4}-\d\d-\d\d +\d+ +0\.200000\nin all +\d+ +0\.200000\n/,
    );
    assert.match(table.join("\n"), /\nbudget of a day +0\.150000\nbudget in all +1000000$/);
    await copy.stop();
  },
);

/** The server's backup, restored, in a new one. */
async function moved(server: TestServer): Promise<TestServer> {
  const [folder, data] = [join(temporaryDirectory(), "backup"), join(temporaryDirectory(), "data")];
  await command(server, "root", "backup", folder);
  await command(server, "root", "restore", folder, "--data", data);
  await server.stop();
  await assertSound(server.data);
  return TestServer.start({ ...server.options, data });
}

async function command(server: TestServer, user: string, ...args: string[]): Promise<readonly string[]> {
  const env = { HAULOUT_URL: server.url, HAULOUT_TOKEN: user };
  const child = spawnNode([compiled("server/main.ts"), ...args], { env });
  const { code } = await child.exited;
  assert.is(code, 0, child.stderr.join("\n"));
  return child.stdout;
}

test.run();
