/**
 * What sessions and users may use of models before runs stop. Owns the one question whether something is used up, from
 * totals that are durable, so that every process finds the same answer; never counts by itself.
 */
import { z } from "zod";
import type { BudgetScope, BudgetUnit, Usage } from "../../protocol/content.ts";
import type { EntryBodyOf } from "../../protocol/entries.ts";
import type { UserBudget } from "../../protocol/lists.ts";
import { dayOf, NO_USAGE } from "../../protocol/usage.ts";
import type { Spent } from "../store/store.ts";

const MILLION = 1_000_000;

/** `tokens`: in and out together. `cost`: in the currency of the prices. Either one stops. */
export const budget = z.strictObject({
  tokens: z.int().min(1).optional(),
  cost: z.number().positive().optional(),
});
export type Budget = Readonly<z.infer<typeof budget>>;

/** `session`: of each session, by all its users. `user`: of each user in all sessions, on one UTC day and for ever. */
export const budgets = z.strictObject({
  session: budget.optional(),
  user: z.strictObject({ day: budget.optional(), total: budget.optional() }).optional(),
});
export type Budgets = Readonly<z.infer<typeof budgets>>;

/** Of a cost both are in millionths. */
export interface Overrun {
  readonly scope: BudgetScope;
  readonly unit: BudgetUnit;
  readonly limit: number;
  readonly spent: number;
}

/** What the session has used up, if anything: nothing may begin that costs more. */
export function sessionOverrun(usage: Usage | undefined, { session }: Budgets): Overrun | undefined {
  return overrun("session", usage, session);
}

/** What the user has used up, at this moment in ms since 1970. */
export function userOverrun(
  { total, days }: Spent,
  { user = {} }: Budgets,
  now: number,
): Overrun | undefined {
  const today = days.find(({ day }) => day === dayOf(now));
  return overrun("user-day", today?.usage, user.day) ?? overrun("user", total, user.total);
}

function overrun(
  scope: BudgetScope,
  usage: Usage = NO_USAGE,
  { tokens, cost }: Budget = {},
): Overrun | undefined {
  const used = usage.inputTokens + usage.outputTokens;
  if (tokens !== undefined && used >= tokens) return { scope, unit: "tokens", limit: tokens, spent: used };
  const limit = cost === undefined ? Infinity : millionths(cost);
  const spent = usage.cost ?? 0;
  return spent >= limit ? { scope, unit: "cost", limit, spent } : undefined;
}

function millionths(cost: number): number {
  return Math.round(cost * MILLION);
}

/** The budgets of a user as the wire has them; undefined: there is none. */
export function listedBudget({ user }: Budgets): UserBudget | undefined {
  if (user?.day === undefined && user?.total === undefined) return undefined;
  const listed = ({ tokens, cost }: Budget): UserBudget["day"] => ({
    ...(tokens === undefined ? {} : { tokens }),
    ...(cost === undefined ? {} : { cost: millionths(cost) }),
  });
  return {
    ...(user.day === undefined ? {} : { day: listed(user.day) }),
    ...(user.total === undefined ? {} : { total: listed(user.total) }),
  };
}

const WHOSE: Readonly<Record<BudgetScope, readonly [string, string]>> = {
  session: ["the session has used", "its budget"],
  user: ["the user has used", "their budget"],
  "user-day": ["the user has used", "their budget for the day"],
};

/** In words, for people. */
export function describeOverrun({ scope, unit, limit, spent }: Overrun): string {
  const of = unit === "tokens" ? `${limit} tokens` : `${limit / MILLION} (cost)`;
  const used = unit === "tokens" ? spent : spent / MILLION;
  const [who, budgetOf] = WHOSE[scope];
  return `${who} ${used} of ${budgetOf} of ${of}`;
}

export function budgetStopped(run: string, over: Overrun): EntryBodyOf<"budget-stopped"> {
  return { type: "budget-stopped", run, ...over };
}
