/**
 * OpenAI's chat completions as a stream, and the same as others serve it (`reasoning_content`). Owns the chunks: role,
 * content, tool calls by index, one finish reason, usage in a chunk without choices, `[DONE]`.
 */
import { halves, sse, USAGE, type Answer, type Dialect, type Refusal } from "./dialect.ts";

const FINISH = {
  stop: "stop",
  length: "length",
  "content-filter": "content_filter",
  "tool-calls": "tool_calls",
};

function chunk(delta: object | undefined, finish: string | null = null, more: object = {}): string {
  const choices = delta === undefined ? [] : [{ index: 0, delta, logprobs: null, finish_reason: finish }];
  const head = { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1_700_000_000, model: "m-1" };
  return sse({ ...head, choices, ...more });
}

export function chatEvents(answer: Answer): string[] {
  const { reasoning = [], text = [], calls = [], finish = "stop" } = answer;
  return [
    chunk({ role: "assistant", content: "" }),
    ...reasoning.map((piece) => chunk({ reasoning_content: piece })),
    ...text.map((piece) => chunk({ content: piece })),
    ...calls.flatMap(({ id, tool, input }, index) => {
      const [first, second] = halves(JSON.stringify(input));
      return [
        chunk({ tool_calls: [{ index, id, type: "function", function: { name: tool, arguments: "" } }] }),
        chunk({ tool_calls: [{ index, function: { arguments: first } }] }),
        chunk({ tool_calls: [{ index, function: { arguments: second } }] }),
      ];
    }),
    chunk({}, FINISH[finish]),
    chunk(undefined, null, {
      usage: {
        prompt_tokens: USAGE.input,
        completion_tokens: USAGE.output,
        total_tokens: USAGE.input + USAGE.output,
        prompt_tokens_details: { cached_tokens: USAGE.cached },
        completion_tokens_details: { reasoning_tokens: USAGE.reasoning },
      },
    }),
    sse("[DONE]"),
  ];
}

const refuse = ({ code, message }: Refusal): string =>
  JSON.stringify({ error: { message, type: "invalid_request_error", param: null, code } });

export const openaiChat: Dialect = {
  name: "openai chat",
  packages: { v2: "ai-openai-v2", v3: "@ai-sdk/openai", v4: "ai-openai-v4" },
  factory: "createOpenAI",
  base: "/v1",
  path: /^\/v1\/chat\/completions$/,
  key: (headers) => headers["authorization"],
  model: "gpt-4.1-mini",
  make: (provider, model) => provider.chat(model),
  // This API keeps its reasoning to itself.
  events: ({ reasoning: _, ...answer }) => chatEvents(answer),
  terminal: 3,
  reasons: false,
  refuse,
  codes: {
    key: { status: 401, code: "invalid_api_key" },
    model: { status: 404, code: "model_not_found" },
    rate: { status: 429, code: "rate_limit_exceeded" },
    fault: { status: 500, code: "server_error" },
    overload: { status: 503, code: "server_is_overloaded" },
  },
  broken: (code, message) => sse({ error: { message, type: code, param: null, code } }),
};

export const openaiCompatible: Dialect = {
  ...openaiChat,
  name: "openai-compatible",
  packages: { v2: "ai-compatible-v2", v3: "@ai-sdk/openai-compatible", v4: "ai-compatible-v4" },
  factory: "createOpenAICompatible",
  model: "qwen3:8b",
  make: (provider, model) => provider(model),
  events: chatEvents,
  reasons: true,
};
