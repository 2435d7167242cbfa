/**
 * Anthropic's messages as a stream. Owns the named events: a message that starts, blocks that start, grow and stop, a
 * message delta with the stop reason, a message that stops; pings in between.
 */
import { halves, sse, USAGE, type Answer, type Dialect } from "./dialect.ts";

const STOP = {
  stop: "end_turn",
  length: "max_tokens",
  "content-filter": "refusal",
  "tool-calls": "tool_use",
};

function event(data: { readonly type: string }): string {
  return sse(data, data.type);
}

/** One content block: how it starts and the deltas that fill it. */
export function block(index: number, content_block: object, deltas: readonly object[]): string[] {
  return [
    event({ type: "content_block_start", index, content_block } as { type: string }),
    ...deltas.map((delta) => event({ type: "content_block_delta", index, delta } as { type: string })),
    event({ type: "content_block_stop", index } as { type: string }),
  ];
}

/** A whole message around blocks. */
export function message(blocks: readonly string[], finish: NonNullable<Answer["finish"]> = "stop"): string[] {
  const usage = {
    input_tokens: USAGE.input - USAGE.cached,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: USAGE.cached,
  };
  const head = { id: "msg_1", type: "message", role: "assistant", model: "m-1", content: [] };
  const start = { ...head, stop_reason: null, stop_sequence: null, usage: { ...usage, output_tokens: 1 } };
  const delta = { stop_reason: STOP[finish], stop_sequence: null };
  return [
    event({ type: "message_start", message: start } as { type: string }),
    event({ type: "ping" }),
    ...blocks,
    event({ type: "message_delta", delta, usage: { output_tokens: USAGE.output } } as { type: string }),
    event({ type: "message_stop" }),
  ];
}

function events({ reasoning, signature = "c2ln", text, calls = [], finish = "stop" }: Answer): string[] {
  const blocks: string[] = [];
  let index = 0;
  if (reasoning !== undefined) {
    const deltas = reasoning.map((thinking) => ({ type: "thinking_delta", thinking }));
    const signed = { type: "signature_delta", signature };
    const empty = { type: "thinking", thinking: "", signature: "" };
    blocks.push(...block(index++, empty, [...deltas, signed]));
  }
  if (text !== undefined) {
    const deltas = text.map((piece) => ({ type: "text_delta", text: piece }));
    blocks.push(...block(index++, { type: "text", text: "" }, deltas));
  }
  for (const { id, tool, input } of calls) {
    const deltas = ["", ...halves(JSON.stringify(input))].map((partial_json) => ({
      type: "input_json_delta",
      partial_json,
    }));
    blocks.push(...block(index++, { type: "tool_use", id, name: tool, input: {} }, deltas));
  }
  return message(blocks, finish);
}

export const anthropic: Dialect = {
  name: "anthropic",
  packages: { v2: "ai-anthropic-v2", v3: "@ai-sdk/anthropic", v4: "ai-anthropic-v4" },
  factory: "createAnthropic",
  base: "/v1",
  path: /^\/v1\/messages$/,
  key: (headers) => headers["x-api-key"],
  model: "claude-sonnet-4-5",
  make: (provider, model) => provider(model),
  events,
  terminal: 2,
  reasons: true,
  refuse: ({ code, message: text }) =>
    JSON.stringify({ type: "error", error: { type: code, message: text }, request_id: "req_1" }),
  codes: {
    key: { status: 401, code: "authentication_error" },
    model: { status: 404, code: "not_found_error" },
    rate: { status: 429, code: "rate_limit_error" },
    fault: { status: 500, code: "api_error" },
    overload: { status: 529, code: "overloaded_error" },
  },
  broken: (code, text) => sse({ type: "error", error: { type: code, message: text } }, "error"),
};
