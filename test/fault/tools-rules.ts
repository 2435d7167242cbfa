/**
 * What the parts of the tools chaos agree on: the tools, their inputs, the server's patience, and the line that every
 * step of an execution leaves in the file of its call. Owns these words alone.
 */

/** How long the server waits for a lost provider, ms: longer than a busy machine takes to start one. */
export const GRACE_MS = 6000;
export const ACCEPT_MS = 600;
/** No more than the grace: what is cancelled at its deadline ends by deadline + grace. */
export const CANCEL_MS = 1000;
export const NO_PROVIDER_MS = 6000;

export type Effect = "pure" | "idempotent" | "once";

export interface ChaosTool {
  readonly effect: Effect;
  readonly timeoutMs: number;
}

/** `*_work` end by themselves; `*_hang` do not, so that their deadline must end them. */
export const TOOLS: Readonly<Record<string, ChaosTool>> = {
  pure_work: { effect: "pure", timeoutMs: 40_000 },
  idempotent_work: { effect: "idempotent", timeoutMs: 40_000 },
  once_work: { effect: "once", timeoutMs: 40_000 },
  pure_hang: { effect: "pure", timeoutMs: 1000 },
  once_hang: { effect: "once", timeoutMs: 1000 },
};

export interface ChaosInput {
  /** How long the work takes, ms. */
  readonly work: number;
  /** On abort `obey` stops and confirms, `finish` does the work all the same; `fail` throws at the end. */
  readonly mode: "obey" | "finish" | "fail";
}

/** One line in the file of a call. `begin` and `effect` are what must not happen twice, or after a confirmed cancel. */
export interface Trace {
  readonly what: "begin" | "effect" | "abort" | "end" | "verdict";
  readonly session: string;
  readonly call: string;
  readonly attempt: number;
  readonly provider: string;
  readonly pid: number;
  readonly at: number;
  /** Of one execution; its output says the same. */
  readonly nonce?: string;
  readonly verdict?: string;
}
