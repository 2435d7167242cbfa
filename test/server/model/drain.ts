/**
 * Asks a model and gathers what it streams, for tests. Owns a plain request and the sum of an answer; judges nothing.
 */
import type { FinishReason, JsonValue, Usage } from "../../../protocol/content.ts";
import type { Model, ModelPart, ModelRequest } from "../../../server/model/model.ts";

export interface Drained {
  readonly text: string;
  readonly reasoning: string;
  readonly calls: { tool: string; input: JsonValue; executed?: boolean; state?: JsonValue }[];
  readonly outputs: { ok: boolean; value: JsonValue }[];
  readonly files: { mediaType: string; url: string }[];
  readonly reason: FinishReason | undefined;
  readonly usage: Usage | undefined;
  readonly parts: ModelPart[];
}

export const ASK: ModelRequest = {
  instructions: "Be brief.",
  messages: [
    {
      role: "user",
      parts: [
        { type: "author", text: '{"author":"Ann","user":"u1"}' },
        { type: "text", text: "Weather in Reykjavík?" },
      ],
    },
  ],
  tools: [
    {
      name: "weather",
      description: "The weather in a city.",
      inputSchema: {
        type: "object",
        properties: { city: { type: "string" }, unit: { type: "string" } },
        required: ["city"],
      },
    },
    { name: "clock", description: "", inputSchema: {} },
  ],
  toolChoice: "auto",
  reasoning: false,
  cacheKey: "ses_1",
};

export async function drain(
  model: Model,
  request: ModelRequest = ASK,
  signal: AbortSignal = new AbortController().signal,
): Promise<Drained> {
  const parts: ModelPart[] = [];
  for await (const part of model.stream(request, signal)) parts.push(part);
  return sum(parts);
}

export function sum(parts: ModelPart[]): Drained {
  const of = <T extends ModelPart["type"]>(type: T): Extract<ModelPart, { type: T }>[] =>
    parts.filter((part): part is Extract<ModelPart, { type: T }> => part.type === type);
  const text = (type: "text" | "reasoning"): string =>
    parts.map((part) => (part.type === type ? part.text : "")).join("");
  const [finish] = of("finish");
  return {
    text: text("text"),
    reasoning: text("reasoning"),
    calls: of("tool-call").map(({ tool, input, executed, state }) => ({
      tool,
      input: parsed(input),
      ...(executed ? { executed } : {}),
      ...(state === undefined ? {} : { state }),
    })),
    outputs: of("tool-output").map(({ ok, value }) => ({ ok, value })),
    files: of("file").map(({ mediaType, url }) => ({ mediaType, url })),
    reason: finish?.reason,
    usage: finish?.usage,
    parts,
  };
}

/** Calls of a broken answer may be cut anywhere. */
function parsed(input: string): JsonValue {
  try {
    return JSON.parse(input) as JsonValue;
  } catch {
    return input;
  }
}
