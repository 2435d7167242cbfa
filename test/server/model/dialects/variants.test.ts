/**
 * What only some servers do, or only one dialect has: variants of the OpenAI dialect as others serve it, errors in other
 * places, calls that the provider runs itself, files as answers. Owns one small stream each.
 */
import { ModelError } from "../../../../server/model/model.ts";
import { assert, suite } from "../../../support/suite.ts";
import { ASK, drain, type Drained } from "../drain.ts";
import { anthropic, block, message } from "./anthropic.ts";
import { sse, type Dialect, type Version } from "./dialect.ts";
import { google, googleChunk } from "./google.ts";
import { chatEvents, openaiChat, openaiCompatible } from "./openai-chat.ts";
import { openaiResponses } from "./openai-responses.ts";
import { ProviderServer, type Reply } from "./server.ts";
import { modelOf } from "./suite.ts";

const test = suite("variants");
const VERSIONS: readonly Version[] = ["v2", "v3", "v4"];

let server: ProviderServer;
test.before(async () => {
  server = await ProviderServer.start();
});
test.after(() => server.stop());

async function answer(dialect: Dialect, version: Version, reply: Reply): Promise<Drained> {
  server.play(reply);
  return drain(await modelOf(dialect, version, server.url));
}

function each(
  name: string,
  dialect: Dialect,
  reply: Reply,
  check: (drained: Drained, version: Version) => void,
  versions = VERSIONS,
): void {
  for (const version of versions) {
    test(`${dialect.name} ${version}: ${name}`, async () =>
      check(await answer(dialect, version, reply), version));
  }
}

function fails(
  name: string,
  dialect: Dialect,
  reply: Reply,
  expected: Partial<ModelError>,
  versions = VERSIONS,
): void {
  for (const version of versions) {
    test(`${dialect.name} ${version}: ${name}`, async () => {
      const error = await assert.rejects(answer(dialect, version, reply), ModelError);
      const found = Object.fromEntries(Object.keys(expected).map((key) => [key, error[key]]));
      assert.equal(found, expected, error.message);
    });
  }
}

// --- the OpenAI dialect as others serve it ---

const delta = (given: object, finish_reason: string | null = null): string =>
  sse({
    id: "x",
    object: "chat.completion.chunk",
    model: "m",
    choices: [{ index: 0, delta: given, finish_reason }],
  });

each(
  "reasoning under its other name",
  openaiCompatible,
  { chunks: [delta({ reasoning: "Hm." }), delta({ content: "Yes." }), delta({}, "stop"), sse("[DONE]")] },
  ({ reasoning, text, reason }) => assert.equal([reasoning, text, reason], ["Hm.", "Yes.", "stop"]),
);

each(
  "no usage, no [DONE], no space after the colon",
  openaiCompatible,
  {
    chunks: [delta({ content: "Yes." }), delta({}, "stop")].map((event) => event.replace("data: ", "data:")),
  },
  ({ text, usage, reason }) => {
    assert.equal([text, reason], ["Yes.", "stop"]);
    assert.equal([usage?.inputTokens, usage?.outputTokens], [0, 0]);
  },
);

each(
  "calls whole in one chunk, and a finish that does not mention them",
  openaiCompatible,
  {
    chunks: [
      delta({
        tool_calls: [
          { index: 0, id: "a", type: "function", function: { name: "clock", arguments: "{}" } },
          {
            index: 1,
            id: "b",
            type: "function",
            function: { name: "weather", arguments: '{"city":"Höfn"}' },
          },
        ],
      }),
      delta({}, "stop"),
    ],
  },
  ({ calls, reason }) => {
    assert.equal(
      calls.map(({ tool, input }) => [tool, input]),
      [
        ["clock", {}],
        ["weather", { city: "Höfn" }],
      ],
    );
    assert.is(reason, "stop");
  },
);

each(
  "parallel calls that share an id stay two",
  openaiCompatible,
  {
    chunks: [
      delta({
        tool_calls: [{ index: 0, id: "0", type: "function", function: { name: "clock", arguments: "{}" } }],
      }),
      delta({
        tool_calls: [
          { index: 1, id: "0", type: "function", function: { name: "weather", arguments: '{"city":"a"}' } },
        ],
      }),
      delta({}, "tool_calls"),
    ],
  },
  ({ calls, parts }) => {
    assert.equal(
      calls.map(({ tool }) => tool),
      ["clock", "weather"],
    );
    assert.is(new Set(parts.flatMap((part) => (part.type === "tool-call" ? [part.block] : []))).size, 2);
  },
);

each(
  "a finish reason of the server's own is an answer",
  openaiCompatible,
  { chunks: [delta({ content: "Yes." }), delta({}, "eos_token")] },
  ({ text, reason }) => assert.equal([text, reason], ["Yes.", "other"]),
  ["v3", "v4"],
);

// --- errors in other places ---

fails(
  "an error in the first event",
  openaiChat,
  { chunks: [sse({ error: { message: "x", type: "insufficient_quota", code: "insufficient_quota" } })] },
  { code: "quota", retryable: false },
);
fails(
  "an error as the documentation has it, without a shell",
  openaiResponses,
  {
    chunks: [
      sse({ type: "error", code: "rate_limit_exceeded", message: "x", param: null, sequence_number: 1 }),
    ],
  },
  { code: "rate-limited", retryable: true },
  ["v3", "v4"],
);
fails(
  "a response that failed",
  openaiResponses,
  {
    chunks: [
      sse({
        type: "response.failed",
        sequence_number: 1,
        response: { id: "r", status: "failed", error: { code: "server_error", message: "x" }, output: [] },
      }),
    ],
  },
  { retryable: true },
);
fails(
  "a prompt that is too long",
  anthropic,
  {
    status: 400,
    chunks: [
      anthropic.refuse({ status: 400, code: "invalid_request_error", message: "prompt is too long: 9 > 8" }),
    ],
  },
  { code: "context-overflow", retryable: false },
);
fails(
  "a prompt that is too long, by code",
  openaiChat,
  {
    status: 400,
    chunks: [openaiChat.refuse({ status: 400, code: "context_length_exceeded", message: "x" })],
  },
  { code: "context-overflow", retryable: false },
);
fails(
  "a request that is refused for a reason nobody knows",
  openaiChat,
  { status: 422, chunks: [openaiChat.refuse({ status: 422, code: "sk-hush", message: "x" })] },
  {
    code: "bad-request",
    retryable: false,
    message: "the model refused the request (422 invalid_request_error)",
  },
);
fails(
  "the wait as milliseconds",
  openaiChat,
  { status: 429, headers: { "retry-after-ms": "1500" }, chunks: ["{}"] },
  { code: "rate-limited", retryAfterMs: 1500 },
);
fails(
  "the wait in the body",
  google,
  {
    status: 429,
    chunks: [
      JSON.stringify({
        error: {
          code: 429,
          message: "x",
          status: "RESOURCE_EXHAUSTED",
          details: [{ "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "38.5s" }],
        },
      }),
    ],
  },
  { code: "rate-limited", retryAfterMs: 38_500 },
);

test("the wait as a date", async () => {
  const date = new Date(Date.now() + 20_000).toUTCString();
  const reply = { status: 503, headers: { "retry-after": date }, chunks: ["{}"] };
  const error = await assert.rejects(answer(openaiChat, "v3", reply), ModelError);
  assert.ok(error.retryAfterMs > 15_000 && error.retryAfterMs <= 20_000, String(error.retryAfterMs));
});

test("a port where nobody listens", async () => {
  const gone = await ProviderServer.start();
  const { url } = gone;
  await gone.stop();
  for (const version of VERSIONS) {
    const model = await modelOf(openaiChat, version, url);
    const error = await assert.rejects(drain(model), ModelError);
    assert.equal([error.code, error.retryable], ["unreachable", true]);
    assert.match(error.message, /^the model cannot be reached \(ECONNREFUSED\)$/);
  }
});

// --- what one dialect has ---

each(
  "a prompt blocked before any answer is filtered",
  google,
  { chunks: [sse({ promptFeedback: { blockReason: "SAFETY" }, usageMetadata: { promptTokenCount: 9 } })] },
  ({ reason }) => assert.is(reason, "content-filter"),
);

each(
  "an image as an answer",
  google,
  {
    chunks: [
      googleChunk([{ text: "Here:" }]),
      googleChunk([{ inlineData: { mimeType: "image/png", data: "iVBORw0KGgo=" } }], "STOP"),
    ],
  },
  ({ text, files }) => {
    assert.is(text, "Here:");
    assert.equal(files, [{ mediaType: "image/png", url: "data:image/png;base64,iVBORw0KGgo=" }]);
  },
);

each(
  "a search that the provider runs itself, and an event of tomorrow",
  anthropic,
  {
    chunks: message([
      ...block(0, { type: "server_tool_use", id: "srvtoolu_1", name: "web_search", input: {} }, [
        { type: "input_json_delta", partial_json: '{"query":"sealing wax"}' },
      ]),
      ...block(
        1,
        {
          type: "web_search_tool_result",
          tool_use_id: "srvtoolu_1",
          content: [
            {
              type: "web_search_result",
              url: "https://example.org/",
              title: "Wax",
              encrypted_content: "e",
              page_age: null,
            },
          ],
        },
        [],
      ),
      ...block(2, { type: "text", text: "" }, [{ type: "text_delta", text: "It is red." }]),
    ]),
  },
  ({ text, calls, outputs, reason }) => {
    assert.equal([text, reason], ["It is red.", "stop"]);
    assert.equal(
      calls.map(({ tool, input, executed }) => ({ tool, input, executed })),
      [{ tool: "web_search", input: { query: "sealing wax" }, executed: true }],
    );
    assert.is(outputs.length, 1);
    assert.ok(outputs[0]!.ok && JSON.stringify(outputs[0]!.value).includes("https://example.org/"));
  },
);

each(
  "reasoning that only its provider may read comes as its state",
  anthropic,
  {
    chunks: message([
      ...block(0, { type: "redacted_thinking", data: "c2VjcmV0" }, []),
      ...block(1, { type: "text", text: "" }, [{ type: "text_delta", text: "Yes." }]),
    ]),
  },
  ({ parts, reasoning }) => {
    assert.is(reasoning, "");
    const part = parts.find((each) => each.type === "reasoning");
    assert.ok(JSON.stringify(part).includes("c2VjcmV0"));
  },
);

test("the chat of OpenAI and of others is the same but for reasoning", () => {
  assert.equal(openaiChat.events({ reasoning: ["Hm."], text: ["."] }), chatEvents({ text: ["."] }));
});

// --- cancel ---

for (const dialect of [openaiChat, anthropic, google]) {
  test(`${dialect.name}: an abort reaches the provider, before its answer and within it`, async () => {
    for (const reply of [
      { chunks: [], mute: true },
      { chunks: dialect.events({ text: ["Three"] }).slice(0, -dialect.terminal), ending: "silence" as const },
    ]) {
      server.play(reply);
      const abort = new AbortController();
      const model = await modelOf(dialect, "v3", server.url);
      const stream = model.stream(ASK, abort.signal)[Symbol.asyncIterator]();
      let next = stream.next();
      if (!("mute" in reply)) {
        await next;
        next = stream.next();
      } else {
        while (server.asked.length === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      abort.abort("cancelled");
      const error = await assert.rejects(next, ModelError);
      assert.equal([error.code, error.retryable], ["cancelled", false]);
      await server.asked[0]!.left;
    }
  });
}

test.run();
