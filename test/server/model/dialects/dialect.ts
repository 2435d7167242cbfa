/**
 * What a provider's dialect is to the tests: one neutral answer said in that provider's events, after its public
 * documentation. Owns the neutral forms; each dialect is a file beside it.
 */
import type { LanguageModel } from "../../../../server/model/aisdk-types.ts";

export interface Answer {
  readonly reasoning?: readonly string[];
  /** Signature or encrypted form of the reasoning, where the dialect has one. */
  readonly signature?: string;
  readonly text?: readonly string[];
  readonly calls?: readonly { readonly id: string; readonly tool: string; readonly input: object }[];
  readonly finish?: "stop" | "length" | "content-filter" | "tool-calls";
}

/** The numbers that every dialect reports in its own words. */
export const USAGE = { input: 120, cached: 100, output: 30, reasoning: 12 };

export interface Refusal {
  readonly status: number;
  /** The provider's own code for it. */
  readonly code: string;
  readonly message: string;
}

export type Version = "v2" | "v3" | "v4";

export interface Dialect {
  readonly name: string;
  /** The provider packages by specification. */
  readonly packages: Readonly<Record<Version, string>>;
  readonly factory: string;
  /** How its base URL ends, and the path of a request below it. */
  readonly base: string;
  readonly path: RegExp;
  readonly key: (headers: Readonly<Record<string, unknown>>) => unknown;
  readonly model: string;
  make(provider: any, model: string): LanguageModel;
  /** The events of an answer as they go over the wire, each with its blank line. */
  events(answer: Answer): string[];
  /** How many events at the end say that the answer is finished. */
  readonly terminal: number;
  readonly reasons: boolean;
  refuse(refusal: Refusal): string;
  /** Codes for: a bad key, an unknown model, too many requests, a fault of theirs, overload. */
  readonly codes: Readonly<
    Record<"key" | "model" | "rate" | "fault" | "overload", { status: number; code: string }>
  >;
  /** An error inside a stream that began well. */
  broken(code: string, message: string): string;
}

export function sse(data: unknown, event?: string): string {
  const name = event === undefined ? "" : `event: ${event}\n`;
  return `${name}data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`;
}

/** In two pieces, as a model writes it. */
export function halves(text: string): [string, string] {
  const at = Math.ceil(text.length / 2);
  return [text.slice(0, at), text.slice(at)];
}
