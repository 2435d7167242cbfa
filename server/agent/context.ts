/**
 * What a run is given and what it yields. Owns the shapes between the loop and the session that drives it, and the
 * questions that both ask of them; nothing here acts.
 */
import type { EntryBody } from "../../protocol/entries.ts";
import type { Actor, CallError, Usage } from "../../protocol/content.ts";
import type { PartKind, SessionState } from "../../protocol/frames.ts";
import type { Allowance } from "../../protocol/people.ts";
import type { Model } from "../model/model.ts";
import type { CallServices } from "../tool/context.ts";
import type { Judgement } from "../tool/outcome.ts";
import type { RegisteredTool } from "../tool/registry.ts";
import type { Answers } from "../tool/request.ts";
import type { Agent } from "./agent.ts";
import type { Overrun } from "./budget.ts";

/** A task that one run gives to another agent. */
export interface Task {
  readonly session: string;
  readonly run: string;
  readonly call: string;
  /** Who gives it, and who is to do it in the session `child`. */
  readonly by: string;
  readonly agent: string;
  readonly child: string;
  readonly text: string;
  /** In whose name; it bears what that costs. */
  readonly actor: Actor;
  readonly deadlineAt: number;
}

/** What came of a task, and what all its models used. */
export interface TaskEnd extends Judgement {
  readonly usage?: Usage | undefined;
}

/** The port by which runs have tasks done. */
export interface Delegation {
  /** Why the session may not give so many tasks at once, if it may not. */
  refusal(state: SessionState, open: number): CallError | undefined;
  /**
   * Has a task done, which may have been begun before: by a process that is gone. Once `cancel` aborts it is stopped, and
   * its end waited for; undefined once `stop` does, and it goes on.
   */
  run(task: Task, cancel: AbortSignal, stop: AbortSignal): Promise<TaskEnd | undefined>;
}

export interface RunContext {
  readonly session: string;
  readonly run: string;
  readonly agent: Agent;
  readonly model: Model;
  /** Fixed when the run started; a call outside it is unavailable. Of a resumed run: those of them that are there now. */
  tools(): readonly RegisteredTool[];
  readonly delegation: Delegation;
  /** Until the run has a place among those at work, or must end: one that waited for tasks gave its own away. */
  placed(): Promise<void>;
  /** For a resumed run: until its tools are offered again, or their time to come back is over. */
  toolsAgain(): Promise<void>;
  /** Who sent the input; what the run does, it does in this name. */
  readonly actor: Actor;
  readonly services: CallServices;
  /** What keeps it from calling a model now, if anything is used up. */
  overBudget(): Promise<Overrun | undefined>;
  /** What holds for the calls of this actor by what was said in other sessions, as of when it is asked. */
  allowedElsewhere(): Promise<() => readonly Allowance[]>;
  /** What people say to the run's requests. */
  readonly answers: Answers;
  /** True: the log already has a part of this run, and it goes on where that ends. */
  readonly resumed: boolean;
  /** The committed state, as of now. */
  state(): SessionState;
  /** Steering inputs that join here, as the entries that consume them. */
  joinSteers(): EntryBody[];
  /** Aborted with reason `cancelled` or `deadline`: end the run. */
  readonly end: AbortSignal;
  /** Aborted when this process must leave the run as it is: nothing more is yielded. */
  readonly stop: AbortSignal;
  /** May change the words that ask a model for a summary. */
  readonly onCompact: (prompt: string) => Promise<string>;
  /** What went wrong, for the log. */
  onFault(error: unknown, what: string): void;
}

export type RunOutput =
  /**
   * `entries` is asked under the session's lock, so that it sees what is committed; `committed` is told the seq of the
   * first. `actor`: whose words the requests' entries among them are.
   */
  | {
      readonly type: "commit";
      readonly entries: () => EntryBody[];
      readonly actor?: Actor | undefined;
      readonly committed?: (seq: number) => void;
    }
  | {
      readonly type: "part";
      readonly message: string;
      readonly part: number;
      readonly kind: PartKind;
      readonly call?: string;
      readonly tool?: string;
    }
  | { readonly type: "delta"; readonly message: string; readonly part: number; readonly text: string };

/** Whether this run is to end as cancelled or at its deadline. The log decides: it knows of a cancel before the signal. */
export function isEnding(context: RunContext): boolean {
  return context.end.aborted || context.state().run?.cancelRequested !== undefined;
}

/** When an open run's time is over, in ms since 1970: it stands still while people are waited for, but not for who waits for it. */
export function deadlineOf({ run, session: { parent } }: SessionState, { runTimeoutMs }: Agent): number {
  if (run === undefined) return Infinity;
  const { startedAt, waitingSince, waitedMs = 0, input } = run;
  const own = waitingSince === undefined ? startedAt + waitedMs + runTimeoutMs : Infinity;
  return input === parent?.input ? Math.min(own, parent.deadlineAt) : own;
}
