/**
 * Model: the one interface between the agent loop and whatever writes text. Owns the neutral prompt and the parts that a
 * model streams; never a vendor's types, never a tool's execution, never a retry (the loop's).
 */
import type { FinishReason, JsonSchema, JsonValue, Usage } from "../../protocol/content.ts";

/** `author`: who wrote the message, in a part of its own that user text never shares. */
export type PromptPart =
  | { readonly type: "author"; readonly text: string }
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "file"; readonly mediaType: string; readonly url: string; readonly filename?: string };

export interface PromptCall {
  readonly type: "tool-call";
  readonly call: string;
  readonly tool: string;
  readonly input: JsonValue;
}

export interface PromptResult {
  readonly call: string;
  readonly tool: string;
  readonly ok: boolean;
  /** The output, or the text of the error. */
  readonly value: JsonValue;
}

export type PromptMessage =
  | { readonly role: "user"; readonly parts: readonly PromptPart[] }
  | {
      readonly role: "assistant";
      readonly parts: readonly (
        | { readonly type: "text" | "reasoning"; readonly text: string }
        | PromptCall
      )[];
    }
  | { readonly role: "tool"; readonly results: readonly PromptResult[] };

export interface ModelTool {
  readonly name: string;
  readonly description: string;
  readonly inputSchema: JsonSchema;
}

export interface ModelRequest {
  readonly instructions: string;
  readonly messages: readonly PromptMessage[];
  readonly tools: readonly ModelTool[];
  readonly toolChoice: "auto" | "none" | "required" | { readonly tool: string };
  readonly reasoning: boolean;
}

/**
 * What a model streams. Text and reasoning with the same `block` are one part; a tool call may be announced by its input
 * as it is written, and is complete with `tool-call`, whose `input` is JSON text. The last part is `finish`.
 */
export type ModelPart =
  | { readonly type: "text" | "reasoning"; readonly block: string; readonly text: string }
  | { readonly type: "tool-input"; readonly block: string; readonly tool: string; readonly text: string }
  | { readonly type: "tool-call"; readonly block: string; readonly tool: string; readonly input: string }
  | { readonly type: "finish"; readonly reason: FinishReason; readonly usage: Usage };

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
