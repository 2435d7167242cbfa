/**
 * What an AI SDK stream yields, as our own parts. Owns blocks (an SDK's ids may repeat within one answer), the mapping of
 * usage and finish reasons, and the rule that a stream which just ends is no answer. Kinds it does not know it passes
 * over; no object of the SDK leaves it.
 */
import type { FinishReason, JsonValue, Usage } from "../../protocol/content.ts";
import { toJsonValue } from "../../protocol/values.ts";
import type { LanguageModel, SdkPart } from "./aisdk-types.ts";
import { failure, toModelError } from "./failure.ts";
import type { ModelPart } from "./model.ts";

const REASONS: Readonly<Record<string, FinishReason>> = {
  stop: "stop",
  length: "length",
  "content-filter": "content-filter",
  "tool-calls": "tool-calls",
  error: "error",
  other: "other",
};

interface Block {
  readonly name: string;
  readonly tool: string;
  empty: boolean;
  complete: boolean;
  state?: JsonValue;
}

/** What is looked at of a provider's own words at the end. */
interface Metadata {
  readonly anthropic?: { readonly cacheCreationInputTokens?: unknown };
  readonly google?: { readonly promptFeedback?: { readonly blockReason?: unknown } | null };
}

export class PartReader {
  readonly #model: string;
  readonly #source: Pick<LanguageModel, "specificationVersion" | "provider">;
  readonly #blocks = new Map<string, Block>();
  #count = 0;

  /** `model`: the name that errors begin with. */
  constructor(model: string, source: Pick<LanguageModel, "specificationVersion" | "provider">) {
    this.#model = model;
    this.#source = source;
  }

  /** Our part for one of theirs, or nothing. Throws ModelError for an error part and for an end that finishes nothing. */
  read(part: SdkPart): ModelPart | undefined {
    switch (part.type) {
      case "text-delta":
      case "reasoning-delta":
        return this.#text(part.type === "text-delta" ? "text" : "reasoning", part);
      case "text-start":
      case "reasoning-start":
        remember(this.#begin(part.type.slice(0, -6), part), part);
        return undefined;
      case "text-end":
      case "reasoning-end":
        return this.#textEnd(part.type === "text-end" ? "text" : "reasoning", part);
      case "tool-input-start": {
        const { name, tool } = this.#begin("call", part);
        return { type: "tool-input", block: name, tool, text: "" };
      }
      case "tool-input-delta": {
        const { name, tool } = this.#block("call", part.id);
        return { type: "tool-input", block: name, tool, text: part.delta ?? "" };
      }
      case "tool-call":
        return this.#call(part);
      case "tool-result":
        return this.#output(part);
      case "file":
        return file(part);
      case "finish":
        return this.#finish(part);
      case "error":
        throw toModelError(part.error, this.#model);
      default:
        return undefined;
    }
  }

  #text(type: "text" | "reasoning", part: SdkPart): ModelPart | undefined {
    const block = this.#block(type, part.id);
    if (part.providerMetadata !== undefined) remember(block, part);
    if (part.delta === undefined || part.delta === "") return undefined;
    block.empty = false;
    return { type, block: block.name, text: part.delta };
  }

  /** The state is whole at the end only. Reasoning may be nothing but its state; text without a letter is nothing. */
  #textEnd(type: "text" | "reasoning", part: SdkPart): ModelPart | undefined {
    const { name, state, empty } = remember(this.#block(type, part.id), part);
    if (state === undefined || (empty && type === "text")) return undefined;
    return { type, block: name, text: "", state };
  }

  #call(part: SdkPart): ModelPart {
    const id = part.toolCallId;
    let block = this.#block("call", id, part.toolName);
    if (block.complete) block = this.#begin("call", { type: part.type, ...named(id, part.toolName) });
    block.complete = true;
    const { state } = remember(block, part);
    return {
      type: "tool-call",
      block: block.name,
      tool: part.toolName ?? block.tool,
      input: typeof part.input === "string" ? part.input : JSON.stringify(part.input ?? {}),
      ...(part.providerExecuted === true ? { executed: true } : {}),
      ...(state === undefined ? {} : { state }),
    };
  }

  #output(part: SdkPart): ModelPart | undefined {
    if (part.preliminary === true) return undefined;
    const { name } = this.#block("call", part.toolCallId, part.toolName);
    return { type: "tool-output", block: name, ok: part.isError !== true, value: plain(part.result) };
  }

  #finish({ finishReason, usage, providerMetadata }: SdkPart): ModelPart {
    const metadata = (providerMetadata ?? {}) as Metadata;
    const reason = metadata.google?.promptFeedback?.blockReason
      ? "content-filter"
      : this.#reason(finishReason);
    const read = readUsage(usage);
    if (this.#source.specificationVersion === "v2") wholeUsage(read, this.#source.provider, metadata);
    return { type: "finish", reason, usage: read };
  }

  /** v2 gives a word; v3 and v4 give the provider's own word too, which is absent when the connection just ended. */
  #reason(given: unknown): FinishReason {
    const { unified, raw } =
      typeof given === "string"
        ? { unified: given, raw: given === "unknown" ? undefined : given }
        : ((given ?? {}) as { unified?: string; raw?: unknown });
    const reason = REASONS[unified ?? ""];
    if (reason === undefined || (reason === "other" && (raw === undefined || raw === null)))
      throw failure("incomplete", this.#model);
    if (reason === "error") throw failure("provider", this.#model);
    return reason;
  }

  #begin(kind: string, { id, toolName }: Pick<SdkPart, "id" | "toolName" | "type">): Block {
    const block = { name: String(this.#count++), tool: toolName ?? "", empty: true, complete: false };
    this.#blocks.set(`${kind} ${id ?? ""}`, block);
    return block;
  }

  #block(kind: string, id: string | undefined, toolName?: string): Block {
    const known = this.#blocks.get(`${kind} ${id ?? ""}`);
    return known ?? this.#begin(kind, { type: kind, ...named(id, toolName) });
  }
}

function named(id: string | undefined, toolName: string | undefined): { id?: string; toolName?: string } {
  return { ...(id === undefined ? {} : { id }), ...(toolName === undefined ? {} : { toolName }) };
}

function remember(block: Block, { providerMetadata }: SdkPart): Block {
  if (providerMetadata !== undefined && providerMetadata !== null) block.state = plain(providerMetadata);
  return block;
}

function plain(value: unknown): JsonValue {
  try {
    return toJsonValue(value);
  } catch {
    return null;
  }
}

function file({ mediaType = "application/octet-stream", data }: SdkPart): ModelPart | undefined {
  const content =
    typeof data === "object" && data !== null && "type" in data
      ? ((data as { data?: unknown; url?: unknown }).data ?? (data as { url?: unknown }).url)
      : data;
  if (content instanceof URL) return { type: "file", mediaType, url: content.href };
  const base64 = content instanceof Uint8Array ? Buffer.from(content).toString("base64") : content;
  if (typeof base64 !== "string") return undefined;
  return { type: "file", mediaType, url: `data:${mediaType};base64,${base64}` };
}

/** v2 has plain numbers; v3 and v4 have objects with a total. */
function readUsage(given: unknown): Usage {
  const usage = (given ?? {}) as Record<string, unknown>;
  const input = parts(usage["inputTokens"]);
  const output = parts(usage["outputTokens"]);
  const cached = count(input["cacheRead"] ?? usage["cachedInputTokens"]);
  const reasoning = count(output["reasoning"] ?? usage["reasoningTokens"]);
  return {
    inputTokens: count(input["total"]) ?? 0,
    outputTokens: count(output["total"]) ?? 0,
    ...(cached === undefined ? {} : { cachedInputTokens: cached }),
    ...(reasoning === undefined ? {} : { reasoningTokens: reasoning }),
  };
}

/** v2 leaves out of the totals what these two count apart. */
function wholeUsage(usage: Usage, provider: string, { anthropic }: Metadata): void {
  if (provider.includes("anthropic")) {
    usage.inputTokens += (usage.cachedInputTokens ?? 0) + (count(anthropic?.cacheCreationInputTokens) ?? 0);
  } else if (provider.startsWith("google")) {
    usage.outputTokens += usage.reasoningTokens ?? 0;
  }
}

function parts(given: unknown): Record<string, unknown> {
  return typeof given === "object" && given !== null ? (given as Record<string, unknown>) : { total: given };
}

function count(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? Math.round(value) : undefined;
}
