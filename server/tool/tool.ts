/**
 * ToolHost: the port through which tool calls leave the server. Owns the interface and the shape of a call; a connection
 * implements it, and so does the in-process provider. Never decides where a call goes (router.ts).
 */
import type { Actor, JsonValue, Verdict } from "../../protocol/content.ts";

/** One attempt of one call, as a provider sees it. `call` is the handler's idempotency key. */
export interface ToolCall {
  readonly session: string;
  readonly call: string;
  readonly attempt: number;
  readonly run: string;
  readonly agent: string;
  readonly tool: string;
  readonly input: JsonValue;
  readonly actor: Actor;
  /** What is left until the deadline, in ms. */
  readonly timeoutMs: number;
}

/** Names one attempt of one call. */
export interface CallReference {
  readonly session: string;
  readonly call: string;
  readonly attempt: number;
}

/** The provider of in-process tools. */
export const LOCAL_PROVIDER = "prv_local";

/** Tells attempts apart, across sessions. */
export function attemptKey({ session, call, attempt }: CallReference): string {
  return `${session}/${call}/${attempt}`;
}

export interface ToolHost {
  /** Sends a call; false when it certainly was not sent. */
  call(call: ToolCall): boolean;
  cancelCall(reference: CallReference, reason: string): void;
  acknowledgeResult(reference: CallReference, verdict: Verdict): void;
}
