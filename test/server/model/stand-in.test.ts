/**
 * The same models against a stand-in for providers' APIs that nobody here wrote: `@copilotkit/aimock`. What our own
 * fixtures have wrong in the same way as our adapter, it would show. Owns a run with tools by each of its dialects.
 */
import { LLMock } from "@copilotkit/aimock";
import { Catalog } from "../../../server/model/catalog.ts";
import { ModelError } from "../../../server/model/model.ts";
import { closeRuntimes, startRuntime } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { drain } from "./drain.ts";

const test = suite("a stand-in of others");
const NAMES = [
  "openai:gpt-5-mini",
  "openai-chat:gpt-4.1-mini",
  "openai-compatible:qwen3:8b",
  "anthropic:claude-sonnet-4-5",
  "google:gemini-2.5-flash",
];

let mock: LLMock;
let catalog: Catalog;
test.before(async () => {
  mock = new LLMock({ port: 0, logLevel: "silent", chunkSize: 7 });
  await mock.start();
  const at = (base: string): object => ({ apiKey: "k", baseURL: `${mock.url}${base}` });
  const settings = {
    openai: at("/v1"),
    "openai-chat": at("/v1"),
    "openai-compatible": at("/v1"),
    anthropic: at("/v1"),
    google: at("/v1beta"),
  };
  catalog = new Catalog({ settings, env: {} });
});
test.after(() => mock.stop());
test.before.each(() => void mock.reset());
test.after.each(closeRuntimes);

const weather = {
  name: "weather",
  description: "The weather in a city.",
  inputSchema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  effect: "pure" as const,
  execute: (input: unknown) => ({ city: (input as { city: string }).city, degrees: 3 }),
};
const ANSWER = "Það eru þrjár gráður 🌊 í Höfn og á Ísafirði.";

for (const name of NAMES) {
  test(`${name}: two calls at once, their results, an answer`, async () => {
    mock.on({ userMessage: /Höfn/, hasToolResult: true }, { content: ANSWER });
    mock.onMessage(/Höfn/, {
      toolCalls: [
        { name: "weather", arguments: { city: "Höfn" } },
        { name: "weather", arguments: { city: "Ísafjörður" } },
      ],
    });
    const runtime = await startRuntime({
      models: (asked) => catalog.model(asked),
      agent: { model: name },
      tools: [weather],
    });
    const session = await runtime.session();
    const end = await runtime.run(session, "Weather in Höfn and Ísafjörður?");
    assert.equal([end.reason, end.text, end.steps], ["text", ANSWER, 2], JSON.stringify(end));
    const { messages } = await runtime.state(session);
    const outputs = messages[1]!.parts.flatMap((part) => (part.type === "dynamic-tool" ? [part.output] : []));
    assert.equal(outputs, [
      { city: "Höfn", degrees: 3 },
      { city: "Ísafjörður", degrees: 3 },
    ]);
  });

  test(`${name}: a refusal, a fault, and an answer cut off`, async () => {
    const model = catalog.model(name);
    const code = async (): Promise<string> => (await assert.rejects(drain(model), ModelError)).code;
    mock.nextRequestError(429, { message: "slow down", type: "rate_limit_error" });
    assert.is(await code(), "rate-limited");
    mock.nextRequestError(500, { message: "oops", type: "server_error" });
    assert.is(await code(), "provider");
    mock.onMessage(/./, { content: ANSWER.repeat(4) }, { truncateAfterChunks: 4, latency: 5 });
    assert.is(await code(), "connection-lost");
  });
}

test.run();
