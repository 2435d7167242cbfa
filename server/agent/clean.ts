/**
 * What a model says of itself (errors, usage, names), made fit for the log: embedders write models, and an entry that a
 * peer refuses would close the session to it for ever. Owns those bounds; the text it writes is the draft's.
 */
import type { Usage } from "../../protocol/content.ts";
import { cutText } from "../../protocol/values.ts";
import type { ModelError } from "../model/model.ts";

const MAX_CODE = 64;
const MAX_TEXT = 4096;

export function cleanText(text: unknown, units: number = MAX_TEXT): string {
  return typeof text === "string" ? cutText(text.toWellFormed(), units) : "";
}

export function cleanError({ code, message }: ModelError): { code: string; message: string } {
  return { code: cleanText(code, MAX_CODE) || "model", message: cleanText(message) };
}

/** Whole numbers from 0 on; what a model does not count is 0, or left out. */
export function cleanUsage(usage: Usage): Usage {
  const { cachedInputTokens, reasoningTokens, cost } = usage;
  return {
    inputTokens: tokens(usage.inputTokens),
    outputTokens: tokens(usage.outputTokens),
    ...(cachedInputTokens === undefined ? {} : { cachedInputTokens: tokens(cachedInputTokens) }),
    ...(reasoningTokens === undefined ? {} : { reasoningTokens: tokens(reasoningTokens) }),
    ...(cost === undefined ? {} : { cost: tokens(cost) }),
  };
}

function tokens(count: number): number {
  const whole = Math.round(count);
  return Number.isSafeInteger(whole) && whole >= 0 ? whole : 0;
}
