/**
 * The server's numbers as the client reads them: names, labels with whatever characters, and the tokens of a run among them;
 * refusals as typed errors.
 */
import { connect, parseMetrics, ProtocolError, readMetrics } from "../../client/index.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";

const test = suite("the client's metrics");

test("samples have names, labels and values; everything else is passed over", () => {
  const text =
    '# HELP a Words\n# TYPE a counter\na 1\nb{x="1",y="q\\"\\\\\\n}"} 2.5\nb_bucket{le="+Inf"} 3\n\nno sample\n';
  assert.equal(parseMetrics(text), [
    { name: "a", labels: {}, value: 1 },
    { name: "b", labels: { x: "1", y: 'q"\\\n}' }, value: 2.5 },
    { name: "b_bucket", labels: { le: "+Inf" }, value: 3 },
  ]);
});

test("the tokens of a run are counted, and who may not read the numbers is told why", async () => {
  const token = "ann-secret-0123456789";
  const tokens = [
    { user: "ann", token, rights: ["watch", "create:*"] },
    { user: "bob", token: "bob-secret-0123456789" },
  ];
  const server = await TestServer.start({ store: "memory", config: { auth: { mode: "token", tokens } } });
  const client = connect({ url: server.url, token });
  const session = await client.attach((await client.createSession({ agent: "demo" })).session);
  const { usage } = await session.ask("Hello!");
  const samples = await readMetrics(`${server.http}/metrics`, token);
  const counted = (direction: string): number | undefined =>
    samples.find(({ name, labels }) => name === "haulout_tokens_total" && labels["direction"] === direction)
      ?.value;
  assert.equal([counted("input"), counted("output")], [usage.inputTokens, usage.outputTokens]);
  const codeOf = async (given?: string, url = server.http): Promise<string | undefined> => {
    try {
      await readMetrics(`${url}/metrics`, given);
      return undefined;
    } catch (error) {
      return error instanceof ProtocolError ? error.code : String(error);
    }
  };
  assert.is(await codeOf(), "unauthenticated");
  assert.is(await codeOf("bob-secret-0123456789"), "forbidden");
  client.close();
  await server.kill();
  assert.is(await codeOf(token), "unavailable");
});

test.run();
