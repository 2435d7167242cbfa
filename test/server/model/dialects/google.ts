/**
 * Google's generateContent as a stream of events. Owns the chunks: parts of one candidate, thoughts marked as such, calls
 * whole in one part, usage with every chunk, a finish reason in the last.
 */
import { sse, USAGE, type Answer, type Dialect, type Refusal } from "./dialect.ts";

const FINISH = { stop: "STOP", length: "MAX_TOKENS", "content-filter": "SAFETY", "tool-calls": "STOP" };

function chunk(parts: readonly object[], finishReason?: string): string {
  const usageMetadata = {
    promptTokenCount: USAGE.input,
    cachedContentTokenCount: USAGE.cached,
    candidatesTokenCount: USAGE.output - USAGE.reasoning,
    thoughtsTokenCount: USAGE.reasoning,
    totalTokenCount: USAGE.input + USAGE.output,
  };
  const end = finishReason === undefined ? {} : { finishReason };
  const candidate = { content: { parts, role: "model" }, index: 0, ...end };
  return sse({ candidates: [candidate], usageMetadata, modelVersion: "m-1", responseId: "r-1" });
}

export { chunk as googleChunk };

function events({ reasoning = [], signature, text = [], calls = [], finish = "stop" }: Answer): string[] {
  return [
    ...reasoning.map((piece) => chunk([{ text: piece, thought: true }])),
    ...text.map((piece) => chunk([{ text: piece }])),
    ...calls.map(({ tool, input }, index) => {
      const signed = index === 0 && signature !== undefined ? { thoughtSignature: signature } : {};
      return chunk([{ functionCall: { name: tool, args: input }, ...signed }]);
    }),
    chunk([{ text: "" }], FINISH[finish]),
  ];
}

/** A bad key is an invalid argument here, and says so in a detail only. */
function refuse({ status, code, message }: Refusal): string {
  const info = {
    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
    reason: code,
    domain: "googleapis.com",
  };
  const error =
    code === "API_KEY_INVALID"
      ? { code: status, message, status: "INVALID_ARGUMENT", details: [info] }
      : { code: status, message, status: code };
  return JSON.stringify({ error });
}

export const google: Dialect = {
  name: "google",
  packages: { v2: "ai-google-v2", v3: "@ai-sdk/google", v4: "ai-google-v4" },
  factory: "createGoogleGenerativeAI",
  base: "/v1beta",
  path: /^\/v1beta\/models\/[\w.-]+:streamGenerateContent\?alt=sse$/,
  key: (headers) => headers["x-goog-api-key"],
  model: "gemini-2.5-flash",
  make: (provider, model) => provider(model),
  events,
  terminal: 1,
  reasons: true,
  refuse,
  codes: {
    key: { status: 400, code: "API_KEY_INVALID" },
    model: { status: 404, code: "NOT_FOUND" },
    rate: { status: 429, code: "RESOURCE_EXHAUSTED" },
    fault: { status: 500, code: "INTERNAL" },
    overload: { status: 503, code: "UNAVAILABLE" },
  },
  broken: (code, message) => sse({ error: { code: 503, message, status: code } }),
};
