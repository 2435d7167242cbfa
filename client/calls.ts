/**
 * The calls of a provider: which run, which results the server has not confirmed. Owns that no attempt runs twice, that
 * a result is kept, and said again, until its `resultAck`, and how a handler's end becomes a result. Sends through a port
 * and knows neither tools nor connections.
 */
import type { Actor, CallError, JsonValue } from "../protocol/content.ts";
import type { ServerFrameOf } from "../protocol/frames.ts";
import { checkPayload, cutText, toJsonValue } from "../protocol/values.ts";
import type { Clock } from "./clock.ts";

export interface CallReference {
  readonly session: string;
  readonly call: string;
  readonly attempt: number;
}

export type CallEnd = { readonly output: JsonValue } | { readonly error: CallError };

/** A result that the server has not confirmed. */
export interface KeptResult extends CallReference {
  readonly end: CallEnd;
}

/** Where results outlive the process; `haulout/client/node` has one. */
export interface ResultStore {
  /** What the process before left, in the order in which it was kept. */
  readonly kept: readonly KeptResult[];
  /** Resolves when it is durable; only then the result is sent. */
  keep(result: KeptResult): Promise<void>;
  /** The server has it. */
  forget(reference: CallReference): Promise<void>;
}

/** What a handler knows of its call. */
export interface CallContext extends CallReference {
  /** The idempotency key: the same for every attempt of one call. */
  readonly call: string;
  readonly run: string;
  readonly agent: string;
  readonly tool: string;
  /** The input as it came, before a schema of ours read it. */
  readonly input: JsonValue;
  /** Whose input the run answers, stamped by the server. */
  readonly actor: Actor;
  /** By when a result counts, in ms since 1970 of this machine's clock. */
  readonly deadline: number;
  /**
   * Aborted when the call is cancelled, at the deadline, and when the client closes. To confirm that the work stopped,
   * throw (`signal.throwIfAborted()`); a handler that returns nonetheless has done its work, and its output is sent.
   */
  readonly signal: AbortSignal;
  /** Shows how far it is to whoever watches; at most ten a second are sent, the last one always. */
  progress(value: unknown): void;
}

/** Sends a frame about a call; lost if there is no connection. */
export interface CallPort {
  accepted(reference: CallReference): void;
  progress(reference: CallReference, progress: JsonValue): void;
  result(reference: CallReference, end: CallEnd): void;
}

/** The handler was not begun: another attempt may run. */
export class NotStarted extends Error {
  override readonly name = "NotStarted";
}

interface Running {
  readonly frame: ServerFrameOf<"call">;
  /** More than one when an attempt came back to us while an earlier one was at work. */
  readonly attempts: Set<number>;
  readonly abort: AbortController;
  /** Nobody else may be asked: what has begun goes on although we were late to accept it. */
  readonly once: boolean;
  why: "cancelled" | "timeout" | undefined;
}

interface Kept {
  readonly reference: CallReference;
  readonly end: CallEnd;
  /** Says it no more by itself. */
  readonly stop: () => void;
}

const PROGRESS_EVERY_MS = 100;
const REMEMBERED = 4096;
/** A result without a verdict is said again after this, then after twice as long each time, at most the second. */
const REPEAT_MS = 10_000;
const MAX_REPEAT_MS = 60_000;
/** Why a call is taken back that was not accepted in time; our acceptance is under way. */
const NOT_ACCEPTED = "not-accepted";

export class CallLedger {
  readonly #port: CallPort;
  readonly #clock: Clock;
  readonly #settled: () => void;
  /** By session and call. */
  readonly #running = new Map<string, Running>();
  /** By session, call and attempt. */
  readonly #kept = new Map<string, Kept>();
  readonly #confirmed = new Set<string>();
  readonly #store: ResultStore | undefined;
  readonly #failed: (error: unknown) => void;
  #closed = false;

  /** `settled` is called when a call ended and when a result was confirmed, `failed` when one could not be stored. */
  constructor(
    port: CallPort,
    clock: Clock,
    settled: () => void,
    store?: ResultStore,
    failed: (error: unknown) => void = () => undefined,
  ) {
    this.#port = port;
    this.#clock = clock;
    this.#settled = settled;
    this.#store = store;
    this.#failed = failed;
    for (const { session, call, attempt, end } of store?.kept ?? [])
      this.#remember({ session, call, attempt }, end);
  }

  /** What runs here, to be named when offering anew. */
  get working(): CallReference[] {
    return [...this.#running.values()].flatMap(({ frame, attempts }) =>
      [...attempts].map((attempt) => ({ session: frame.session, call: frame.call, attempt })),
    );
  }

  /** Nothing runs and the server has every result. */
  get idle(): boolean {
    return this.#running.size === 0 && this.#kept.size === 0;
  }

  /** Runs an attempt unless it ran, runs, or was done by an earlier attempt; `hasRoom` is asked before it would run. */
  call(
    frame: ServerFrameOf<"call">,
    hasRoom: () => boolean,
    execute: (context: CallContext) => Promise<JsonValue>,
    once = false,
  ): void {
    const key = callKey(frame);
    const same = this.#kept.get(attemptKey(frame));
    if (same !== undefined) return this.#port.result(frame, same.end);
    if (this.#confirmed.has(attemptKey(frame))) {
      return this.refuse(frame, "already-answered", "the server has confirmed a result of this attempt");
    }
    const running = this.#running.get(key);
    if (running?.attempts.has(frame.attempt)) return this.#port.accepted(frame);
    if (running !== undefined && running.why === undefined) {
      running.attempts.add(frame.attempt);
      return this.#port.accepted(frame);
    }
    // An aborted handler is still winding up: two of one call must not overlap.
    if (running !== undefined)
      return this.refuse(frame, "not-started", "an earlier attempt is still ending here");
    const done = [...this.#kept.values()].find(
      (kept) => callKey(kept.reference) === key && !isUndone(kept.end),
    );
    if (done !== undefined) return this.#keep(frame, done.end);
    if (!hasRoom()) return this.refuse(frame, "not-started", "no free capacity");
    this.#port.accepted(frame);
    void this.#run(frame, execute, once);
  }

  /** Answers an attempt that will not run here. */
  refuse(frame: CallReference, code: string, message: string): void {
    this.#keep(frame, { error: { code, message } });
  }

  cancel(reference: CallReference, reason: string): void {
    const running = this.#running.get(callKey(reference));
    if (running === undefined || !running.attempts.has(reference.attempt)) return;
    if (running.once && reason === NOT_ACCEPTED) return;
    if (running.attempts.size > 1) running.attempts.delete(reference.attempt);
    else this.#abort(running, "cancelled", new DOMException(`cancelled: ${reason}`, "AbortError"));
  }

  /** The server has the result, whatever it made of it. */
  confirm(reference: CallReference): void {
    const key = attemptKey(reference);
    const kept = this.#kept.get(key);
    if (kept === undefined) return;
    kept.stop();
    this.#kept.delete(key);
    const { session, call, attempt } = reference;
    this.#store?.forget({ session, call, attempt }).catch(this.#failed);
    this.#confirmed.add(key);
    if (this.#confirmed.size > REMEMBERED) this.#confirmed.delete(this.#confirmed.values().next().value!);
    this.#settled();
  }

  /** Sends what the server has not confirmed. */
  resend(): void {
    for (const { reference, end } of this.#kept.values()) this.#port.result(reference, end);
  }

  /** Nothing is sent any more. */
  abortAll(error: Error): void {
    this.#closed = true;
    for (const { stop } of this.#kept.values()) stop();
    for (const running of this.#running.values()) this.#abort(running, "cancelled", error);
  }

  async #run(
    frame: ServerFrameOf<"call">,
    execute: (context: CallContext) => Promise<JsonValue>,
    once: boolean,
  ): Promise<void> {
    const abort = new AbortController();
    const running: Running = { frame, attempts: new Set([frame.attempt]), abort, once, why: undefined };
    this.#running.set(callKey(frame), running);
    const endDeadline = this.#clock.after(frame.timeoutMs, () =>
      this.#abort(running, "timeout", new DOMException("the deadline of the call is over", "TimeoutError")),
    );
    const { progress, stop } = this.#progress(running);
    const { session, call, attempt, run, agent, tool, input, actor, timeoutMs } = frame;
    const { signal } = abort;
    const deadline = this.#clock.now() + timeoutMs;
    let end: CallEnd;
    try {
      const context = { session, call, attempt, run, agent, tool, input, actor, deadline, signal, progress };
      const output = await execute(context);
      checkPayload("output", output);
      end = { output };
    } catch (error) {
      end = { error: toCallError(error, running.why) };
    }
    endDeadline();
    stop();
    // While it is being stored the call still counts as at work.
    await this.#storeAll(frame, running.attempts, end);
    this.#running.delete(callKey(frame));
    for (const own of running.attempts) this.#keep({ session, call, attempt: own }, end);
    this.#settled();
  }

  /** What a closing client aborted is not its result: the next process has forgotten the call. */
  async #storeAll(
    { session, call }: CallReference,
    attempts: ReadonlySet<number>,
    end: CallEnd,
  ): Promise<void> {
    if (this.#store === undefined || this.#closed) return;
    try {
      for (const attempt of attempts) await this.#store.keep({ session, call, attempt, end });
    } catch (error) {
      this.#failed(error);
    }
  }

  #keep(reference: CallReference, end: CallEnd): void {
    const { session, call, attempt } = reference;
    const own = { session, call, attempt };
    this.#remember(own, end);
    this.#port.result(own, end);
  }

  /** A server that lost a result with a write of its own owes a verdict that nothing but the result brings about. */
  #remember(reference: CallReference, end: CallEnd): void {
    const key = attemptKey(reference);
    this.#kept.get(key)?.stop();
    let endWait = (): void => {};
    const wait = (ms: number): void => {
      endWait = this.#clock.after(ms, () => {
        this.#port.result(reference, end);
        wait(Math.min(2 * ms, MAX_REPEAT_MS));
      });
    };
    if (!this.#closed) wait(REPEAT_MS);
    this.#kept.set(key, { reference, end, stop: () => endWait() });
  }

  #abort(running: Running, why: "cancelled" | "timeout", reason: Error): void {
    if (running.why !== undefined) return;
    running.why = why;
    running.abort.abort(reason);
  }

  #progress(running: Running): { progress: (value: unknown) => void; stop: () => void } {
    let next: { value: JsonValue } | undefined;
    let endPause: (() => void) | undefined;
    let over = false;
    const flush = (): void => {
      endPause = undefined;
      if (next === undefined || over) return;
      const { session, call } = running.frame;
      this.#port.progress({ session, call, attempt: Math.max(...running.attempts) }, next.value);
      next = undefined;
      endPause = this.#clock.after(PROGRESS_EVERY_MS, flush);
    };
    return {
      progress: (value) => {
        const json = toJsonValue(value);
        checkPayload("progress", json);
        next = { value: json };
        if (endPause === undefined) flush();
      },
      stop: () => {
        endPause?.();
        // The last word before the end is shown too.
        flush();
        endPause?.();
        over = true;
      },
    };
  }
}

function callKey({ session, call }: { session: string; call: string }): string {
  return `${session}\n${call}`;
}

function attemptKey(reference: CallReference): string {
  return `${callKey(reference)}\n${reference.attempt}`;
}

/** An end that leaves nothing done, so that another attempt may run. */
function isUndone(end: CallEnd): boolean {
  return "error" in end && (end.error.code === "not-started" || end.error.code === "cancelled");
}

function toCallError(error: unknown, why: Running["why"]): CallError {
  if (error instanceof NotStarted) return { code: "not-started", message: error.message };
  const given = typeof error === "object" && error !== null && "code" in error ? error.code : undefined;
  const own = typeof given === "string" && given.length > 0 && given.length <= 64 ? given : "error";
  const message = error instanceof Error ? error.message : String(error);
  return { code: why ?? own, message: cutText(message.toWellFormed(), 4096) };
}
