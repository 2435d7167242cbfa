/**
 * OpenAI's responses as a stream. Owns the typed, numbered events: items that are added, filled and done, and one last
 * event that says how the response ended. There is no `[DONE]`.
 */
import { halves, sse, USAGE, type Answer, type Dialect } from "./dialect.ts";
import { openaiChat } from "./openai-chat.ts";

const RESPONSE = {
  id: "resp_1",
  object: "response",
  created_at: 1_700_000_000,
  model: "m-1",
  error: null,
  incomplete_details: null,
  output: [],
};
const USED = {
  input_tokens: USAGE.input,
  input_tokens_details: { cached_tokens: USAGE.cached },
  output_tokens: USAGE.output,
  output_tokens_details: { reasoning_tokens: USAGE.reasoning },
  total_tokens: USAGE.input + USAGE.output,
};

function ending(finish: NonNullable<Answer["finish"]>): { type: string; response: object } {
  const reasons: Partial<Record<typeof finish, string>> = {
    length: "max_output_tokens",
    "content-filter": "content_filter",
  };
  const reason = reasons[finish];
  const status = reason === undefined ? "completed" : "incomplete";
  const details = reason === undefined ? {} : { incomplete_details: { reason } };
  return { type: `response.${status}`, response: { ...RESPONSE, status, ...details, usage: USED } };
}

function events(answer: Answer): string[] {
  const { reasoning, signature = null, text, calls = [], finish = "stop" } = answer;
  const said: { type: string }[] = [];
  const add = (type: string, more: object): void => void said.push({ type: `response.${type}`, ...more });
  let output_index = 0;
  add("created", { response: { ...RESPONSE, status: "in_progress" } });
  add("in_progress", { response: { ...RESPONSE, status: "in_progress" } });
  if (reasoning !== undefined) {
    const item_id = "rs_1";
    const at = { item_id, output_index, summary_index: 0 };
    const item = { id: item_id, type: "reasoning", summary: [] as object[], encrypted_content: signature };
    add("output_item.added", { output_index, item });
    add("reasoning_summary_part.added", { ...at, part: { type: "summary_text", text: "" } });
    for (const delta of reasoning) add("reasoning_summary_text.delta", { ...at, delta });
    const part = { type: "summary_text", text: reasoning.join("") };
    add("reasoning_summary_text.done", { ...at, text: part.text });
    add("reasoning_summary_part.done", { ...at, part });
    add("output_item.done", { output_index, item: { ...item, summary: [part] } });
    output_index++;
  }
  if (text !== undefined) {
    const item_id = "msg_1";
    const at = { item_id, output_index, content_index: 0 };
    const item = { id: item_id, type: "message", status: "in_progress", role: "assistant", content: [] };
    const part = { type: "output_text", text: "", annotations: [], logprobs: [] };
    add("output_item.added", { output_index, item });
    add("content_part.added", { ...at, part });
    for (const delta of text) add("output_text.delta", { ...at, delta, logprobs: [] });
    const whole = { ...part, text: text.join("") };
    add("output_text.done", { ...at, text: whole.text, logprobs: [] });
    add("content_part.done", { ...at, part: whole });
    add("output_item.done", { output_index, item: { ...item, status: "completed", content: [whole] } });
    output_index++;
  }
  for (const { id, tool, input } of calls) {
    const item_id = `fc_${id}`;
    const written = JSON.stringify(input);
    const item = { id: item_id, type: "function_call", call_id: id, name: tool, status: "in_progress" };
    add("output_item.added", { output_index, item: { ...item, arguments: "" } });
    for (const delta of halves(written)) {
      add("function_call_arguments.delta", { item_id, output_index, delta });
    }
    add("function_call_arguments.done", { item_id, output_index, arguments: written });
    const done = { ...item, status: "completed", arguments: written };
    add("output_item.done", { output_index, item: done });
    output_index++;
  }
  said.push(ending(finish));
  return said.map((event, sequence_number) => sse({ ...event, sequence_number }, event.type));
}

export const openaiResponses: Dialect = {
  ...openaiChat,
  name: "openai responses",
  path: /^\/v1\/responses$/,
  model: "gpt-5-mini",
  make: (provider, model) => provider(model),
  events,
  terminal: 1,
  reasons: true,
  broken: (code, message) =>
    sse({ type: "error", sequence_number: 99, error: { type: code, code, message, param: null } }, "error"),
};
