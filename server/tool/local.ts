/**
 * The in-process provider: executes tools that a hook or the embedder registered, as one more provider with the same
 * entries. Owns the functions and their abort signals; never a deadline or an outcome (call.ts).
 */
import type { Actor, JsonValue, ToolOffer } from "../../protocol/content.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import { checkPayload, cutText, toJsonValue } from "../../protocol/values.ts";
import type { Router } from "./router.ts";
import { attemptKey, LOCAL_PROVIDER } from "./tool.ts";
import type { CallReference, ToolCall, ToolHost } from "./tool.ts";

const MAX_ERROR_TEXT = 4096;

export interface ExecuteContext {
  readonly session: string;
  readonly run: string;
  readonly agent: string;
  readonly actor: Actor;
  /** Unique to the call, the same for each attempt. */
  readonly call: string;
  readonly signal: AbortSignal;
  readonly progress: (value: JsonValue) => void;
}

/** Its return value becomes the output by the rules of JSON.stringify; what it throws becomes an error result. */
export type Execute = (input: JsonValue, context: ExecuteContext) => unknown;

/** A tool with the function that executes it in this process. */
export interface LocalTool extends ToolOffer {
  execute: Execute;
}

export class LocalHost implements ToolHost {
  readonly #functions = new Map<string, Execute>();
  readonly #running = new Map<string, AbortController>();
  #router: Router | undefined;

  /** The router that calls come from and results go to. */
  connect(router: Router): void {
    this.#router = router;
  }

  set(name: string, execute: Execute): void {
    this.#functions.set(name, execute);
  }

  has(name: string): boolean {
    return this.#functions.has(name);
  }

  delete(name: string): void {
    this.#functions.delete(name);
  }

  call(call: ToolCall): boolean {
    const execute = this.#functions.get(call.tool);
    if (execute === undefined) return false;
    const abort = new AbortController();
    this.#running.set(attemptKey(call), abort);
    this.#router?.accepted(LOCAL_PROVIDER, call);
    void this.#execute(execute, call, abort);
    return true;
  }

  async #execute(execute: Execute, call: ToolCall, abort: AbortController): Promise<void> {
    const reference = { session: call.session, call: call.call, attempt: call.attempt };
    let answer;
    try {
      // A copy: the input is in the session's state, which is what its log folds to.
      const output = await execute(structuredClone(call.input), {
        session: call.session,
        run: call.run,
        agent: call.agent,
        actor: call.actor,
        call: call.call,
        signal: abort.signal,
        progress: (value) => this.#router?.progress(LOCAL_PROVIDER, reference, payload("progress", value)),
      });
      answer = { output: payload("output", output) };
    } catch (error) {
      const known = error instanceof ProtocolError ? error.code : "error";
      const code = abort.signal.aborted ? "cancelled" : known;
      answer = { error: { code, message: wordsOf(error) } };
    }
    this.#running.delete(attemptKey(call));
    this.#router?.result({ id: LOCAL_PROVIDER, host: this, reference, answer });
  }

  cancelCall(reference: CallReference, reason: string): void {
    this.#running.get(attemptKey(reference))?.abort(new Error(reason));
  }

  /** Nothing is kept for re-sending here: a result and its commit live in one process. */
  acknowledgeResult(): void {}
}

/** Throws for what has no form on the wire, or is over its bounds. */
function payload(name: string, value: unknown): JsonValue {
  const made = toJsonValue(value);
  checkPayload(name, made);
  return made;
}

/** What a thrown thing says; some can say nothing at all. */
function wordsOf(error: unknown): string {
  try {
    const words: unknown = error instanceof Error ? error.message : error;
    return cutText(String(words).toWellFormed(), MAX_ERROR_TEXT);
  } catch {
    return "the tool failed";
  }
}
