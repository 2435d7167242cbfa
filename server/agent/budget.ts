/**
 * What a session may use of its models before its runs stop. Owns the one question whether it has, from the totals that
 * the log folds to, so that every process finds the same answer; never counts by itself.
 */
import { z } from "zod";
import type { BudgetUnit, Usage } from "../../protocol/content.ts";
import type { EntryBodyOf } from "../../protocol/entries.ts";
import { NO_USAGE } from "../../protocol/usage.ts";

const MILLION = 1_000_000;

/** `tokens`: in and out together. `cost`: in the currency of the prices. Either one stops. */
export const budget = z.strictObject({
  tokens: z.int().min(1).optional(),
  cost: z.number().positive().optional(),
});
export type Budget = Readonly<z.infer<typeof budget>>;

/** Of a cost both are in millionths. */
export interface Overrun {
  readonly unit: BudgetUnit;
  readonly limit: number;
  readonly spent: number;
}

/** What is used up, if anything is: nothing may begin that costs more. */
export function overrun(usage: Usage = NO_USAGE, { tokens, cost }: Budget = {}): Overrun | undefined {
  const used = usage.inputTokens + usage.outputTokens;
  if (tokens !== undefined && used >= tokens) return { unit: "tokens", limit: tokens, spent: used };
  const limit = cost === undefined ? Infinity : Math.round(cost * MILLION);
  const spent = usage.cost ?? 0;
  return spent >= limit ? { unit: "cost", limit, spent } : undefined;
}

/** In words, for people. */
export function describeOverrun({ unit, limit, spent }: Overrun): string {
  const of = unit === "tokens" ? `${limit} tokens` : `${limit / MILLION} (cost)`;
  const used = unit === "tokens" ? spent : spent / MILLION;
  return `the session has used ${used} of its budget of ${of}`;
}

export function budgetStopped(run: string, over: Overrun): EntryBodyOf<"budget-stopped"> {
  return { type: "budget-stopped", run, scope: "session", ...over };
}
