/**
 * Whole runs on real provider packages over loopback: the log that comes of them, what goes back to the provider at the
 * next step, retries, fallbacks, cancel. Owns no dialect and no rule of the loop.
 */
import { fromLanguageModel } from "../../../server/model/aisdk.ts";
import { Catalog } from "../../../server/model/catalog.ts";
import type { ModelPart, PromptMessage } from "../../../server/model/model.ts";
import { createLog } from "../../../server/observe/log.ts";
import { assert, suite } from "../../support/suite.ts";
import {
  bodiesOf,
  calls,
  closeRuntimes,
  finishes,
  says,
  startRuntime,
  TestModel,
  typesOf,
} from "../../support/runtime.ts";
import { anthropic, block, message } from "./dialects/anthropic.ts";
import { USAGE } from "./dialects/dialect.ts";
import { google, googleChunk } from "./dialects/google.ts";
import { openaiChat, openaiCompatible } from "./dialects/openai-chat.ts";
import { ProviderServer } from "./dialects/server.ts";

const test = suite("runs on real models");
const CLAUDE = "anthropic:claude-sonnet-4-5";
const GPT = "openai:gpt-4.1-mini";
const SIGNATURE = Buffer.from("signed").toString("base64");
const clock = {
  name: "clock",
  description: "The time.",
  inputSchema: { type: "object" },
  effect: "pure" as const,
  execute: () => "noon",
};

let server: ProviderServer;
test.before(async () => {
  server = await ProviderServer.start();
});
test.after(() => server.stop());
test.after.each(closeRuntimes);

function catalog(more: Record<string, object> = {}): (name: string) => ReturnType<Catalog["model"]> {
  const at = (base: string): object => ({ apiKey: "k", baseURL: `${server.url}${base}` });
  const settings = {
    anthropic: at("/v1"),
    google: at("/v1beta"),
    openai: { ...at("/v1"), api: "chat" },
    "openai-compatible": at("/v1"),
    ...more,
  };
  const models = new Catalog({ settings, env: {} });
  assert.equal(models.problems, []);
  return (name) => models.model(name);
}

test("reasoning, a call, its result, an answer: signed reasoning goes back with the result", async () => {
  server.play(
    {
      chunks: anthropic.events({
        reasoning: ["It asks ", "for the time."],
        signature: SIGNATURE,
        calls: [{ id: "toolu_1", tool: "clock", input: {} }],
        finish: "tool-calls",
      }),
    },
    { chunks: anthropic.events({ text: ["It is noon."] }) },
  );
  const agent = { model: CLAUDE, reasoning: true };
  const { runtime } = await startRuntime({ models: catalog(), agent, tools: [clock] });
  const session = await runtime.createSession("demo");
  const answer = await runtime.sendTo(session, "What time is it?");
  assert.is(answer.finalResponse, "It is noon.");

  const state = (await runtime.session(session))!;
  const [, first, second] = state.messages;
  assert.equal(
    first!.parts.map((part) => part.type),
    ["reasoning", "dynamic-tool", "data-model"],
  );
  assert.equal(first!.parts[0], { type: "reasoning", text: "It asks for the time." });
  assert.equal(second!.parts, [{ type: "text", text: "It is noon." }]);
  assert.equal(state.lastRun!.usage, {
    inputTokens: 2 * USAGE.input,
    outputTokens: 2 * USAGE.output,
    cachedInputTokens: 2 * USAGE.cached,
  });

  const [one, two] = server.asked.map(({ body }) => body);
  assert.is(one.thinking.type, "enabled");
  const [thinking, use] = two.messages[1].content;
  assert.equal(
    [thinking.type, thinking.thinking, thinking.signature],
    ["thinking", "It asks for the time.", SIGNATURE],
  );
  assert.is(use.id, (first!.parts[1] as { toolCallId: string }).toolCallId);
  assert.is(two.messages[2].content[0].tool_use_id, use.id);
  assert.ok(JSON.stringify(two.messages[2]).includes("noon"));
});

test("each prompt of a run begins with the one before it, also when someone steers", async () => {
  const model = new TestModel(
    [says("Let me look."), calls("clock"), calls("clock"), finishes("tool-calls")],
    [calls("nothing"), finishes("tool-calls")],
    [says("Done."), finishes()],
  );
  const runtime = await startRuntime({ model, tools: [clock] });
  const session = await runtime.session();
  await runtime.run(session, "first");
  await runtime.run(session, "second");
  assert.is(model.requests.length, 4);
  let before: readonly PromptMessage[] = [];
  for (const { messages } of model.requests) {
    assert.ok(JSON.stringify(messages).startsWith(JSON.stringify(before).slice(0, -1)));
    before = messages;
  }
  const [first, ...others] = model.requests;
  for (const other of others) {
    assert.equal(other.cacheKey, first!.cacheKey);
    assert.equal([other.instructions, other.tools], [first!.instructions, first!.tools]);
  }
});

test("a request that asks to wait is made again, and nothing of it is in the log", async () => {
  const busy = { status: 429, headers: { "retry-after-ms": "1" }, chunks: ["{}"] };
  server.play(busy, busy, { chunks: openaiChat.events({ text: ["Yes."] }) });
  const runtime = await startRuntime({ models: catalog(), agent: { model: GPT } });
  const session = await runtime.session();
  const end = await runtime.run(session, "?");
  assert.equal([end.reason, end.text, end.model], ["text", "Yes.", GPT]);
  assert.is(server.asked.length, 3);
  assert.equal(typesOf(await runtime.log(session)).slice(2), [
    "run-started",
    "message",
    "message",
    "step-finished",
    "run-finished",
  ]);
});

test("three attempts are the most, and none is made after the first part", async () => {
  const busy = { status: 503, headers: { "retry-after-ms": "1" }, chunks: ["{}"] };
  server.play(busy, busy, busy, busy);
  const runtime = await startRuntime({ models: catalog(), agent: { model: GPT } });
  const session = await runtime.session();
  const end = await runtime.run(session, "?");
  assert.equal(
    [end.reason, end.error],
    ["error", { code: "overloaded", message: `${GPT} is overloaded (503)` }],
  );
  assert.is(server.asked.length, 3);

  const cut = openaiChat.events({ text: ["Three deg"] }).slice(0, -openaiChat.terminal);
  server.play({ chunks: cut, ending: "cut" });
  const lost = await runtime.run(session, "?");
  assert.equal([lost.reason, lost.error?.code], ["error", "connection-lost"]);
  assert.is(server.asked.length, 1);
  const [abandoned] = bodiesOf(await runtime.log(session), "message-abandoned");
  assert.equal([abandoned!.text, abandoned!.cause], ["Three deg", "connection-lost"]);
});

test("a stream that just ends is asked for again, and in the end an error, never an empty answer", async () => {
  server.play({ chunks: [] }, { chunks: [": hello\n\n"] }, { chunks: [] });
  const runtime = await startRuntime({ models: catalog(), agent: { model: "google:gemini-2.5-flash" } });
  const session = await runtime.session();
  const end = await runtime.run(session, "?");
  assert.equal([end.reason, end.error?.code, end.steps], ["error", "incomplete", 0]);
  assert.is(server.asked.length, 3);
  assert.is((await runtime.state(session)).messages.length, 1);
});

test("the next model answers when the first cannot begin: the run says who was asked and who answered", async () => {
  server.play({ status: 401, chunks: ["{}"] }, { chunks: anthropic.events({ text: ["Here."] }) });
  const agent = { model: GPT, fallback: [CLAUDE] };
  const runtime = await startRuntime({ models: catalog(), agent });
  const session = await runtime.session();
  const end = await runtime.run(session, "?");
  assert.equal([end.reason, end.model], ["text", CLAUDE]);
  const [started] = bodiesOf(await runtime.log(session), "run-started");
  assert.is(started!.model, GPT);
  assert.equal(
    server.asked.map(({ path }) => path),
    ["/v1/chat/completions", "/v1/messages"],
  );
});

test("a chain starts in the middle of a run without the reasoning of another", async () => {
  server.play(
    {
      chunks: openaiCompatible.events({
        reasoning: ["Hm."],
        calls: [{ id: "c", tool: "clock", input: {} }],
        finish: "tool-calls",
      }),
    },
    { status: 500, chunks: ["{}"] },
    { chunks: anthropic.events({ text: ["Noon."] }) },
  );
  const agent = { model: "openai-compatible:qwen3:8b", fallback: [CLAUDE], reasoning: true };
  const runtime = await startRuntime({ models: catalog(), agent, tools: [clock] });
  const end = await runtime.run(await runtime.session(), "?");
  assert.equal([end.text, end.model], ["Noon.", CLAUDE]);
  const { body } = server.asked[2]!;
  assert.ok(body.thinking === undefined || body.thinking.type === "disabled");
  assert.not.ok(JSON.stringify(body.messages).includes("Hm."));
});

test("a search that the provider ran stands in the message, closed, and is not asked for again", async () => {
  const searched = message([
    ...block(0, { type: "server_tool_use", id: "srvtoolu_1", name: "web_search", input: {} }, [
      { type: "input_json_delta", partial_json: '{"query":"wax"}' },
    ]),
    ...block(1, { type: "web_search_tool_result", tool_use_id: "srvtoolu_1", content: [] }, []),
    ...block(2, { type: "text", text: "" }, [{ type: "text_delta", text: "Red." }]),
  ]);
  server.play({ chunks: searched }, { chunks: anthropic.events({ text: ["Still."] }) });
  const runtime = await startRuntime({ models: catalog(), agent: { model: CLAUDE } });
  const session = await runtime.session();
  assert.is((await runtime.run(session, "Which colour?")).text, "Red.");
  const state = await runtime.state(session);
  const [tool, text] = state.messages[1]!.parts;
  assert.equal(tool, {
    type: "dynamic-tool",
    toolName: "web_search",
    toolCallId: (tool as { toolCallId: string }).toolCallId,
    state: "output-available",
    input: { query: "wax" },
    output: [],
  });
  assert.equal(text, { type: "text", text: "Red." });
  assert.equal(state.calls, []);
  assert.not.ok(typesOf(await runtime.log(session)).some((type) => type.startsWith("tool-")));
  await runtime.run(session, "Sure?");
  assert.not.ok(JSON.stringify(server.asked[1]!.body.messages).includes("web_search"));
});

test("an image that the model drew is a file of its message, and goes back to who can read it", async () => {
  const drawn = { inlineData: { mimeType: "image/png", data: "iVBORw0KGgo=" } };
  server.play(
    { chunks: [googleChunk([{ text: "Here:" }, drawn], "STOP")] },
    { chunks: google.events({ text: ["A seal."] }) },
  );
  const runtime = await startRuntime({ models: catalog(), agent: { model: "google:gemini-2.5-flash" } });
  const session = await runtime.session();
  await runtime.run(session, "Draw");
  assert.equal((await runtime.state(session)).messages[1]!.parts.slice(0, 2), [
    { type: "text", text: "Here:" },
    { type: "file", mediaType: "image/png", url: "data:image/png;base64,iVBORw0KGgo=" },
  ]);
  await runtime.run(session, "What is it?");
  assert.ok(JSON.stringify(server.asked[1]!.body.contents).includes("iVBORw0KGgo="));
});

test("a cancel ends the request, keeps what was said, and the next prompt says that it was stopped", async () => {
  const half = anthropic.events({ text: ["Once upon"] }).slice(0, -anthropic.terminal);
  server.play({ chunks: half, ending: "silence" }, { chunks: anthropic.events({ text: ["Well."] }) });
  const runtime = await startRuntime({ models: catalog(), agent: { model: CLAUDE } });
  const session = await runtime.session();
  const { input } = await runtime.send(session, "A story");
  const { event } = await runtime.entry(session, "run-started", (body) => body.input === input);
  await runtime.delta(session, "Once upon");
  await runtime.cancel(session, event.run);
  assert.is((await runtime.endOf(session, input)).reason, "cancelled");
  await server.asked[0]!.left;
  await runtime.run(session, "Go on");
  const said = server.asked[1]!.body.messages.map(({ content }: any) => content.map(({ text }: any) => text));
  assert.equal(said[1], ["Once upon"]);
  assert.match(said[2][0], /stopped before its end/);
  assert.is(said[2].at(-1), "Go on");
});

test("a fault in a model's own code ends the run and stands in the log with its place, not with its words", async () => {
  const lines: string[] = [];
  const log = createLog({ level: "info", destination: { write: (line) => void lines.push(line) } });
  const broken = fromLanguageModel({
    specificationVersion: "v3",
    provider: "mine",
    modelId: "m",
    doStream: () => Promise.reject(new TypeError("hush-7Q4x is not a function")),
  });
  const runtime = await startRuntime({ model: broken, log });
  const end = await runtime.run(await runtime.session(), "?");
  assert.equal(end.error, { code: "internal", message: "mine:m could not be asked" });
  const [line] = lines.filter((each) => each.includes("model failed"));
  const { err } = JSON.parse(line!) as { err: { stack: string } };
  assert.match(err.stack, /^ModelError: mine:m could not be asked \(TypeError\)\n\s+at .*runs\.test/);
  assert.not.ok(lines.join().includes("hush"));
});

test("what an agent sets reaches its model and no other", async () => {
  const model = new TestModel([says("x"), finishes()] satisfies ModelPart[]);
  const runtime = await startRuntime({
    model,
    agent: { temperature: 0.5, providerOptions: { openai: { a: 1 } } },
  });
  await runtime.runtime.addAgent({ name: "plain" });
  await runtime.run(await runtime.session(), "?");
  await runtime.run(await runtime.session({ agent: "plain" }), "?");
  const [demo, plain] = model.requests.map(({ settings }) => settings);
  assert.equal([demo!.temperature, demo!.providerOptions], [0.5, { openai: { a: 1 } }]);
  assert.equal([plain!.temperature, plain!.providerOptions], [undefined, undefined]);
});

test.run();
