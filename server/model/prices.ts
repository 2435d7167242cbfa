/**
 * What models cost: prices by their names, and the sum that a use of one comes to. Owns that arithmetic; a model for
 * which there is no price keeps what it says of itself, which mostly is nothing.
 */
import { z } from "zod";
import type { Usage } from "../../protocol/content.ts";
import { matches } from "../auth/identity.ts";
import type { Model, ModelPart, ModelRequest } from "./model.ts";

const amount = z.number().min(0);
/** For a million tokens, in one currency for all. `cachedInput`: for those read from a cache; as `input` unless told. */
export const price = z.strictObject({ input: amount, output: amount, cachedInput: amount.optional() });
export type Price = Readonly<z.infer<typeof price>>;
/** By globs of model names; of several that match, the first one counts. */
export type Prices = Readonly<Record<string, Price>>;

/** The model with the cost of each answer in its usage; of a chain, by the price of the one that answered. */
export function priced(model: Model, prices: Prices = {}): Model {
  const known = Object.entries(prices);
  if (known.length === 0) return model;
  async function* stream(request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelPart, void> {
    for await (const part of model.stream(request, signal)) {
      const name = (part.type === "finish" ? part.model : undefined) ?? model.id;
      const found = part.type === "finish" && known.find(([glob]) => matches(glob, name));
      yield found ? { ...part, usage: { ...part.usage, cost: costOf(part.usage, found[1]) } } : part;
    }
  }
  return { id: model.id, stream };
}

/** Millionths of the currency, to the nearest: so many tokens at so much for a million of them. */
function costOf(usage: Usage, { input, output, cachedInput = input }: Price): number {
  const all = counted(usage.inputTokens);
  const cached = Math.min(all, counted(usage.cachedInputTokens));
  return Math.round((all - cached) * input + cached * cachedInput + counted(usage.outputTokens) * output);
}

/** A model's count may be anything; what is none is not charged for. */
function counted(tokens: number | undefined): number {
  return tokens !== undefined && tokens > 0 && Number.isFinite(tokens) ? tokens : 0;
}
