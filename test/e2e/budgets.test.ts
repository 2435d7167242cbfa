/**
 * Prices and budgets as an operator sets them: a real server killed and started again, users in sessions of their own,
 * and what lists say was used.
 */
import { connect } from "../../client/index.ts";
import type { SessionInfo } from "../../protocol/content.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";

const test = suite("budgets of an operator");

test("a session ends at its budget, through a kill -9, while the other user goes on", async () => {
  let server = await TestServer.start({
    config: {
      auth: { mode: "token", tokens: ["ann", "bob"].map((user) => ({ token: user, user })) },
      prices: { scripted: { input: 1, output: 1000 } },
      // An answer of 400 characters counts as 100 tokens.
      budgets: { session: { cost: 0.15 } },
    },
  });
  const text = JSON.stringify({ script: [{ text: "x".repeat(400) }] });
  const ends = async (user: string, id?: string): Promise<{ end: string | undefined; info: SessionInfo }> => {
    const client = connect({ url: server.url, token: user });
    try {
      const at = id ?? (await client.createSession({ agent: "demo" })).session;
      const { error, reason } = await (await client.attach(at)).ask(text);
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

test.run();
