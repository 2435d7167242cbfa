/**
 * What a call is given and what it yields. Owns the shapes between one call (call.ts) and the run that drives it; nothing
 * here acts.
 */
import type { EntryBody } from "../../protocol/entries.ts";
import type { Actor, JsonValue, Labels } from "../../protocol/content.ts";
import type { Deadlines } from "./deadlines.ts";
import type { RegisteredTool } from "./registry.ts";
import type { Router } from "./router.ts";

export interface CallTimings {
  /** How long a provider may take to say that it has the call. Default 5 s. */
  acceptMs?: number;
  /** How long a cancelled call is waited for. Default 5 s. */
  cancelMs?: number;
}

export interface CallRequest {
  readonly session: string;
  readonly run: string;
  readonly agent: string;
  /** What the agent requires of a provider, and whether it wants the session's last one again. */
  readonly labels?: Labels | undefined;
  readonly affinity?: boolean;
  readonly actor: Actor;
  readonly call: string;
  /** Asked anew each time: a tool that was away may be offered again. */
  readonly tool: () => RegisteredTool;
  readonly input: JsonValue;
  /** When the call's message was committed, or is about to be, ms. */
  readonly askedAt: number;
  /** Whether the log has a cancel of the run; asked under the session's lock. */
  readonly cancelled: () => boolean;
}

/** Entries to commit; a function is asked under the session's lock, so that it sees what is committed. */
export type CallEntries = EntryBody[] | (() => EntryBody[]);
/** The same with who caused them, told the first one's seq when they are committed. */
export type CallStep =
  | CallEntries
  | {
      readonly entries: () => EntryBody[];
      readonly actor: Actor | undefined;
      readonly committed: (seq: number) => void;
    };

export interface CallServices {
  readonly router: Router;
  readonly deadlines: Deadlines;
  readonly now: () => number;
  readonly timings: CallTimings;
  readonly onProgress: (call: string, attempt: number, progress: JsonValue) => void;
}

/** A call that may be begun: its first provider is reserved where one is free. */
export interface PreparedCall<Step = CallStep> {
  /** What goes into the append of the call's message. */
  readonly entries: EntryBody[];
  /** Runs the call; to be started only when `entries` are committed. Aborting `cancel` cancels it, `stop` leaves it open. */
  run(cancel: AbortSignal, stop: AbortSignal): AsyncGenerator<Step, void>;
  /** Gives back what was reserved, when the entries were not committed. Instead of `run`. */
  discard(): void;
}
