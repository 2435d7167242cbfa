/**
 * The AI SDK's language model as far as it is used here, in types of our own: what specification v2, v3 and v4 have in
 * common, all that differs left unknown. Owns no value; nothing outside this folder sees these types.
 */

/**
 * One `doStream` away from an answer. `provider` is a dotted name: `openai.responses`, `anthropic.messages`. What a call
 * takes differs by version, so that every version's model is one of these.
 */
export interface LanguageModel {
  readonly specificationVersion: "v2" | "v3" | "v4";
  readonly provider: string;
  readonly modelId: string;
  /** By media type (`image/*`): the URLs that the provider fetches itself. */
  readonly supportedUrls?: SupportedUrls | PromiseLike<SupportedUrls>;
  doStream(options: never): PromiseLike<{ readonly stream: ReadableStream<unknown> }>;
}

export type SupportedUrls = Readonly<Record<string, readonly RegExp[]>>;
export type ProviderOptions = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

export interface CallOptions {
  readonly prompt: readonly SdkMessage[];
  readonly tools?: readonly SdkTool[];
  readonly toolChoice?: { readonly type: "auto" | "none" | "required" | "tool"; readonly toolName?: string };
  readonly temperature?: number;
  readonly maxOutputTokens?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly providerOptions?: ProviderOptions;
  /** v4 only. */
  readonly reasoning?: string;
  readonly abortSignal?: AbortSignal;
}

export type SdkContent = Readonly<Record<string, unknown>> & { readonly type: string };

export type SdkMessage = (
  | { readonly role: "system"; readonly content: string }
  | { readonly role: "user" | "assistant" | "tool"; readonly content: readonly SdkContent[] }
) & { providerOptions?: ProviderOptions };

export interface SdkTool {
  readonly type: "function";
  readonly name: string;
  readonly description: string;
  readonly inputSchema: unknown;
  readonly strict?: boolean;
}

/** What a stream holds. Each field is there in some kinds of part only, and may be of any type in those of tomorrow. */
export interface SdkPart {
  readonly type: string;
  readonly id?: string;
  readonly delta?: string;
  readonly toolCallId?: string;
  readonly toolName?: string;
  readonly input?: unknown;
  readonly providerExecuted?: boolean;
  readonly preliminary?: boolean;
  readonly result?: unknown;
  readonly isError?: boolean;
  readonly mediaType?: string;
  readonly data?: unknown;
  readonly providerMetadata?: unknown;
  readonly finishReason?: unknown;
  readonly usage?: unknown;
  readonly error?: unknown;
}
