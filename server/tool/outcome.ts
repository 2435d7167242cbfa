/**
 * What becomes of a call, as its entries say it: the judgement of an answer, and the words for what nobody answered. Owns
 * those; never when an outcome is due (call.ts).
 */
import type { EntryBody, EntryBodyOf } from "../../protocol/entries.ts";
import type { CallError, JsonValue, Outcome } from "../../protocol/content.ts";
import type { RegisteredTool } from "./registry.ts";
import { compileSchema } from "./schema.ts";
import type { CallAnswer } from "./ticket.ts";

export interface Judgement {
  readonly outcome: Outcome;
  readonly output?: JsonValue;
  readonly error?: CallError;
}

/** Nobody knows whether it took effect. */
export const UNKNOWN: Judgement = {
  outcome: "outcome-unknown",
  error: { code: "outcome-unknown", message: "whether the call took effect is not known" },
};
/** It certainly had no effect. */
export const CANCELLED: Judgement = {
  outcome: "cancelled",
  error: { code: "cancelled", message: "the run was cancelled" },
};

export function unavailable(message: string): Judgement {
  return { outcome: "unavailable", error: { code: "unavailable", message } };
}

export function timedOut(timeoutMs: number): Judgement {
  return {
    outcome: "timeout",
    error: { code: "timeout", message: `no result within ${timeoutMs} ms` },
  };
}

/**
 * What a provider's answer comes to. `cancelling`: it was told to stop; `certain`: and nobody else may be at work on an
 * earlier attempt.
 */
export function judge(
  answer: CallAnswer,
  tool: RegisteredTool,
  { cancelling, certain }: { readonly cancelling: boolean; readonly certain: boolean },
): Judgement {
  const { error } = answer;
  if (error !== undefined) {
    const confirmed = cancelling && (error.code === "cancelled" || error.code === "not-started");
    if (confirmed && !certain) return UNKNOWN;
    return { outcome: confirmed ? "cancelled" : "error", error };
  }
  const output = answer.output ?? null;
  const { outputSchema } = tool.specification;
  const fault = outputSchema === undefined ? undefined : compileSchema(outputSchema)(output);
  if (fault === undefined) return { outcome: "ok", output };
  return { outcome: "invalid-output", error: { code: "invalid-output", message: fault } };
}

/** `attempt` 0: none was dispatched. */
export function resultEntry(
  call: string,
  attempt: number,
  judgement: Judgement,
  durationMs: number,
): EntryBodyOf<"tool-result"> {
  return {
    type: "tool-result",
    call,
    ...(attempt > 0 ? { attempt } : {}),
    ...judgement,
    durationMs: Math.max(0, Math.round(durationMs)),
  };
}

export function lostEntry(call: string, attempt: number, cause: string): EntryBody {
  return { type: "tool-lost", call, attempt, cause };
}
