/**
 * A server as it is run: a configuration with a model, an agent on it, a client that asks. The provider is on loopback.
 */
import { connect } from "../../../client/index.ts";
import { TestServer } from "../../support/server.ts";
import { assert, suite } from "../../support/suite.ts";
import { openaiCompatible } from "./dialects/openai-chat.ts";
import { ProviderServer } from "./dialects/server.ts";

const test = suite("serving a model");
const SECRET = "hush-7Q4x";

test("an agent of the configuration answers by its model; a refusal reaches the client without the key", async () => {
  const provider = await ProviderServer.start();
  const server = await TestServer.start({
    store: "memory",
    env: { HAULOUT_LOG: "trace" },
    config: {
      models: { local: { baseURL: `${provider.url}/v1`, apiKey: SECRET } },
      agents: [
        {
          name: "helper",
          model: "local:gone",
          fallback: ["local:qwen3:8b"],
          temperature: 0.5,
          headers: { "x-team": SECRET },
        },
      ],
    },
  });
  const client = connect({ url: server.url });
  const { session } = await client.createSession({ agent: "helper" });
  const chat = await client.attach(session);
  provider.play(
    {
      status: 404,
      chunks: [openaiCompatible.refuse({ status: 404, code: "model_not_found", message: SECRET })],
    },
    { chunks: openaiCompatible.events({ reasoning: ["Hm."], text: ["Hello ", "there."] }) },
  );
  assert.is((await chat.ask("Hello")).text, "Hello there.");
  assert.equal(
    provider.asked.map(({ body }) => [body.model, body.temperature]),
    [
      ["gone", 0.5],
      ["qwen3:8b", 0.5],
    ],
  );
  assert.is(provider.asked[0]!.headers["authorization"], `Bearer ${SECRET}`);

  const refused = { status: 401, chunks: [`{"error":{"message":"${SECRET}"}}`] };
  provider.play(refused, refused);
  const answer = await chat.ask("Again").then(JSON.stringify, String);
  assert.not.ok(answer.includes(SECRET), answer);
  assert.is(provider.asked.length, 2);
  client.close();
  assert.equal(await server.stop(), { code: 0, signal: null });
  assert.not.ok([...server.process.stdout, ...server.process.stderr].join("\n").includes(SECRET));
  await provider.stop();
});

test.run();
