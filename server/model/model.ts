/**
 * Model: the one interface between the agent loop and whatever writes text. Owns the neutral prompt and the parts that a
 * model streams; never a vendor's types, never a tool's execution, never a retry (the loop's).
 */
import type { FinishReason, JsonSchema, JsonValue, Usage } from "../../protocol/content.ts";

export interface PromptFile {
  readonly type: "file";
  readonly mediaType: string;
  /** http(s) or a data URL. */
  readonly url: string;
  readonly filename?: string;
}

/** `author`: what the server says of the message, who wrote it above all, in a part that user text never shares. */
export type PromptPart =
  | { readonly type: "author"; readonly text: string }
  | { readonly type: "text"; readonly text: string }
  | PromptFile;

export interface PromptCall {
  readonly type: "tool-call";
  readonly call: string;
  readonly tool: string;
  readonly input: JsonValue;
  readonly state?: JsonValue;
}

/** `state`: what the model gave with the part and wants back with it; opaque. */
export type AssistantPart =
  | { readonly type: "text" | "reasoning"; readonly text: string; readonly state?: JsonValue }
  | PromptFile
  | PromptCall;

export interface PromptResult {
  readonly call: string;
  readonly tool: string;
  readonly ok: boolean;
  /** The output, or the text of the error. */
  readonly value: JsonValue;
  /** The same for models that take files in results; absent where the output has none. */
  readonly parts?: readonly ResultPart[];
}

export type ResultPart = { readonly type: "text"; readonly text: string } | PromptFile;

export type PromptMessage =
  | { readonly role: "user"; readonly parts: readonly PromptPart[] }
  | { readonly role: "assistant"; readonly parts: readonly AssistantPart[] }
  | { readonly role: "tool"; readonly results: readonly PromptResult[] };

export interface ModelTool {
  readonly name: string;
  readonly description: string;
  readonly inputSchema: JsonSchema;
}

/** How an agent wants its model to be asked. A model ignores what it does not know. */
export interface ModelSettings {
  readonly temperature?: number | undefined;
  /** Tokens of one answer, reasoning included. */
  readonly maxOutputTokens?: number | undefined;
  /** By provider, as its package documents them. */
  readonly providerOptions?: Readonly<Record<string, Readonly<Record<string, JsonValue>>>> | undefined;
  /** Sent with each request. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

export interface ModelRequest {
  readonly instructions: string;
  readonly messages: readonly PromptMessage[];
  readonly tools: readonly ModelTool[];
  readonly toolChoice: "auto" | "none" | "required" | { readonly tool: string };
  readonly reasoning: boolean;
  readonly settings?: ModelSettings;
  /** The same for requests that begin alike; says nothing else. */
  readonly cacheKey?: string;
}

/**
 * What a model streams. Text and reasoning with the same `block` are one part; a tool call may be announced by its input
 * as it is written, and is complete with `tool-call`, whose `input` is JSON text. A call that the model's provider
 * executes itself is `executed`, its outcome is `tool-output`, and nobody else runs it. `state` wants to come back in the
 * prompt. The last part is `finish`; `model` names who answered, where that is not the model that was asked.
 */
export type ModelPart =
  | {
      readonly type: "text" | "reasoning";
      readonly block: string;
      readonly text: string;
      readonly state?: JsonValue;
    }
  | { readonly type: "tool-input"; readonly block: string; readonly tool: string; readonly text: string }
  | {
      readonly type: "tool-call";
      readonly block: string;
      readonly tool: string;
      readonly input: string;
      readonly executed?: boolean;
      readonly state?: JsonValue;
    }
  | { readonly type: "tool-output"; readonly block: string; readonly ok: boolean; readonly value: JsonValue }
  | { readonly type: "file"; readonly mediaType: string; readonly url: string }
  | {
      readonly type: "finish";
      readonly reason: FinishReason;
      readonly usage: Usage;
      readonly model?: string;
    };

export interface Model {
  /** Named in run-started and run-finished. */
  readonly id: string;
  /**
   * One model call. Throws ModelError when the request or the stream fails; stops soon after `signal` aborts.
   * A stream that ends without `finish` is a failed one.
   */
  stream(request: ModelRequest, signal: AbortSignal): AsyncIterable<ModelPart>;
}

/** A failed model request. `retryable`: the same request may succeed later, after `retryAfterMs` where it is known. */
export class ModelError extends Error {
  override readonly name = "ModelError";
  readonly code: string;
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;

  constructor(
    code: string,
    message: string,
    options: { retryable?: boolean; retryAfterMs?: number; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.retryAfterMs = options.retryAfterMs;
  }
}
