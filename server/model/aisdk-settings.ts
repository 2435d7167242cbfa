/**
 * Everything a call has beside its prompt: tools, choice, reasoning, cache keys, the agent's own settings. Owns what is
 * asked of a provider unless the agent says otherwise; whatever the agent says wins.
 */
import type { JsonSchema, JsonValue } from "../../protocol/content.ts";
import { hash } from "./aisdk-prompt.ts";
import type { Target } from "./aisdk-prompt.ts";
import type { CallOptions, ProviderOptions, SdkTool } from "./aisdk-types.ts";
import type { ModelRequest, ModelTool, PromptMessage } from "./model.ts";

/** Tokens for reasoning where a provider wants a number. */
const REASONING_TOKENS = 4096;
const REASONING_EFFORT = "medium";

export function callSettings(request: ModelRequest, target: Target): Omit<CallOptions, "prompt"> {
  const { settings = {}, toolChoice, tools } = request;
  const { temperature, maxOutputTokens, headers } = settings;
  const reasoning = request.reasoning && !reasoningIsBroken(request.messages, target);
  const providerOptions = merge(defaults(request, target, reasoning), settings.providerOptions ?? {});
  return {
    ...(tools.length === 0
      ? {}
      : { tools: tools.map((tool) => sdkTool(tool, target)), toolChoice: sdkChoice(toolChoice) }),
    ...(temperature === undefined ? {} : { temperature }),
    ...(maxOutputTokens === undefined ? {} : { maxOutputTokens }),
    ...(headers === undefined ? {} : { headers }),
    ...(reasoning && target.specificationVersion === "v4" && target.provider.includes("anthropic")
      ? { reasoning: REASONING_EFFORT }
      : {}),
    providerOptions,
  };
}

function sdkTool(
  { name, description, inputSchema }: ModelTool,
  { provider, specificationVersion }: Target,
): SdkTool {
  const tool = { type: "function" as const, name, description, inputSchema: objectSchema(inputSchema) };
  // Without a word OpenAI makes a schema strict: what may be left out would have to be given.
  return provider.startsWith("openai.") && specificationVersion !== "v2" ? { ...tool, strict: false } : tool;
}

/** Providers want a schema that says it is one of an object. */
function objectSchema(schema: JsonSchema): JsonSchema {
  const { type = "object", properties = {}, ...rest } = schema;
  return { type, properties, ...rest };
}

function sdkChoice(choice: ModelRequest["toolChoice"]): NonNullable<CallOptions["toolChoice"]> {
  return typeof choice === "string" ? { type: choice } : { type: "tool", toolName: choice.tool };
}

/** Options by provider; each reads its own and no other's. */
function defaults(
  request: ModelRequest,
  { provider, specificationVersion }: Target,
  reasoning: boolean,
): ProviderOptions {
  const [family = ""] = provider.split(".");
  if (family === "openai") {
    const { cacheKey } = request;
    return {
      openai: {
        // The log is the one memory. What the provider stored under its ids could not be forked, edited or moved.
        ...(provider === "openai.responses" ? { store: false } : {}),
        ...(cacheKey === undefined ? {} : { promptCacheKey: hash(cacheKey, 32) }),
        ...(reasoning && provider === "openai.responses" ? { reasoningSummary: "auto" } : {}),
      },
    };
  }
  if (!reasoning) return {};
  if (family === "google") return { google: { thinkingConfig: { includeThoughts: true } } };
  if (provider.includes("anthropic")) {
    if (specificationVersion === "v4") return {};
    return { anthropic: { thinking: { type: "enabled", budgetTokens: REASONING_TOKENS } } };
  }
  return { openaiCompatible: { reasoningEffort: REASONING_EFFORT } };
}

/**
 * Anthropic takes a step's calls only with the signed reasoning that led to them. Where that is missing (another model
 * asked for them, or reasoning was off) the step goes on without.
 */
function reasoningIsBroken(messages: readonly PromptMessage[], { provider }: Target): boolean {
  if (!provider.includes("anthropic")) return false;
  const last = messages.findLast((message) => message.role !== "tool");
  if (last?.role !== "assistant" || !last.parts.some((part) => part.type === "tool-call")) return false;
  return !last.parts.some((part) => {
    const state = part.type === "reasoning" ? part.state : undefined;
    return typeof state === "object" && state !== null && "anthropic" in state;
  });
}

/** One level deep: an agent changes one option of a provider and keeps the rest. */
function merge(
  base: ProviderOptions,
  over: Readonly<Record<string, Readonly<Record<string, JsonValue>>>>,
): ProviderOptions {
  const merged: Record<string, Readonly<Record<string, unknown>>> = { ...base };
  for (const [provider, options] of Object.entries(over))
    merged[provider] = { ...merged[provider], ...options };
  return merged;
}
