/**
 * Sums of what models used: of a run, of a session in its state, of a user by day. Owns the addition; what an entry adds to
 * a session, and when, is fold's (state.ts).
 */
import type { Usage } from "./content.ts";
import type { SessionState } from "./frames.ts";

export const NO_USAGE: Usage = { inputTokens: 0, outputTokens: 0 };

const DAY_MS = 86_400_000;

/** The session's total with what one more use of a model came to. */
export function spent(state: SessionState, usage: Usage | undefined): SessionState {
  if (usage === undefined) return state;
  const { session } = state;
  return { ...state, session: { ...session, usage: addUsage(session.usage ?? NO_USAGE, usage) } };
}

/** When the UTC day began in which this moment lies; both in ms since 1970. */
export function dayOf(at: number): number {
  return at - (at % DAY_MS);
}

export function addUsage(a: Usage, b: Usage): Usage {
  const sum: Usage = {
    inputTokens: a.inputTokens + b.inputTokens,
    outputTokens: a.outputTokens + b.outputTokens,
  };
  if (a.cachedInputTokens !== undefined || b.cachedInputTokens !== undefined) {
    sum.cachedInputTokens = (a.cachedInputTokens ?? 0) + (b.cachedInputTokens ?? 0);
  }
  if (a.reasoningTokens !== undefined || b.reasoningTokens !== undefined) {
    sum.reasoningTokens = (a.reasoningTokens ?? 0) + (b.reasoningTokens ?? 0);
  }
  if (a.cost !== undefined || b.cost !== undefined) sum.cost = (a.cost ?? 0) + (b.cost ?? 0);
  return sum;
}
