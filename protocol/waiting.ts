/**
 * The part of fold that is about people: what they said so far, what is allowed from then on, and how long nothing but
 * them was waited for. Owns those effects; the others are state.ts's.
 */
import type { EntryBodyOf, EventFrame } from "./entries.ts";
import type { SessionState } from "./frames.ts";
import type { GivenAnswer } from "./people.ts";

/** The newest approvals that are remembered. */
const MAX_ALLOWANCES = 32;

export function answered(
  state: SessionState,
  { actor: user, seq, at }: EventFrame,
  { type: _, request, ...more }: EntryBodyOf<"request-answered">,
): SessionState {
  if (user === undefined) return state;
  const answer: GivenAnswer = { user, ...more, seq, at };
  const requests = state.requests.map((item) => {
    if (item.request !== request) return item;
    const others = (item.approvals ?? []).filter((other) => other.user.id !== user.id);
    return { ...item, approvals: [...others, answer] };
  });
  return { ...state, requests };
}

export function notified(
  state: SessionState,
  { at }: EventFrame,
  { request }: EntryBodyOf<"request-notified">,
): SessionState {
  const requests = state.requests.map((item) =>
    item.request === request ? { ...item, notifiedAt: at } : item,
  );
  return { ...state, requests };
}

export function remembered(
  state: SessionState,
  { seq, at }: EventFrame,
  { type: _, ...allowance }: EntryBodyOf<"approval-remembered">,
): SessionState {
  const allowances = [...(state.allowances ?? []), { ...allowance, seq, at }];
  return { ...state, allowances: allowances.slice(-MAX_ALLOWANCES) };
}

export function forgotten(state: SessionState, allowance: string): SessionState {
  const { allowances = [], ...rest } = state;
  const left = allowances.filter((item) => item.allowance !== allowance);
  return left.length === 0 ? rest : { ...rest, allowances: left };
}

/** How long an open run has waited for nothing but people: its time limit stands still meanwhile. */
export function clocked(state: SessionState, at: number): SessionState {
  const { run } = state;
  if (run === undefined || (state.requests.length === 0 && run.waitingSince === undefined)) return state;
  const asked = new Set(state.requests.map((request) => request.call));
  const waits = state.calls.length > 0 && state.calls.every((call) => asked.has(call.call));
  if (waits === (run.waitingSince !== undefined)) return state;
  if (waits) return { ...state, run: { ...run, waitingSince: at } };
  const { waitingSince = at, waitedMs = 0, ...rest } = run;
  return { ...state, run: { ...rest, waitedMs: waitedMs + Math.max(0, at - waitingSince) } };
}
