/**
 * What a session needs from the process it lives in, and the values that pass between the files of this folder. Owns no
 * behaviour but the error that says a session left memory.
 */
import type { EntryBody, EventFrame } from "../../protocol/entries.ts";
import type { Actor, Usage } from "../../protocol/content.ts";
import type { OpenRun, PartKind, SessionState } from "../../protocol/frames.ts";
import type { Allowance } from "../../protocol/people.ts";
import type { Agent } from "../agent/agent.ts";
import type { Delegation } from "../agent/context.ts";
import type { Model } from "../model/model.ts";
import type { Log } from "../observe/log.ts";
import type { AppendItem, AppendResult, Member, Store } from "../store/store.ts";
import type { CallTimings } from "../tool/context.ts";
import type { Deadlines } from "../tool/deadlines.ts";
import type { ToolRegistry } from "../tool/registry.ts";
import type { Router } from "../tool/router.ts";
import type { FeedTotals } from "./feed.ts";
import type { FloorOptions } from "./keeper.ts";
import type { RunGate } from "./gate.ts";
import type { SessionQuota } from "./quota.ts";
import type { Spending } from "./spending.ts";
import type { PresenceOptions } from "./presence.ts";

/** An entry before it has a place in the log. */
export interface Entry {
  readonly body: EntryBody;
  readonly run?: string;
  readonly actor?: Actor;
}

/** Streamed text as the process sees it: the wire's delta, with what it belongs to. */
export interface LiveDelta {
  readonly type: "delta";
  readonly session: string;
  readonly run: string;
  readonly message: string;
  readonly part: number;
  readonly kind: PartKind;
  readonly offset: number;
  readonly text: string;
}

/** A session as those outside this folder may see it. */
export interface SessionView {
  readonly id: string;
  /** As committed now. */
  readonly state: SessionState;
}

export interface SessionLimits {
  /** Inputs that may wait in one session. Default 64. */
  readonly maxQueue: number;
  /** How long a session without readers and work stays in memory. Default 10 s. */
  readonly idleMs: number;
  /** Entries after which the state of a session in memory is stored anew. Default 500. */
  readonly snapshotEvery?: number | undefined;
  /** How long streamed text may wait for more of it; the feed's own default unless told. */
  readonly coalesceMs?: number | undefined;
}

/** What runs give each other to do; see tasks.ts. */
export interface Tasks extends Delegation {
  /** What counts for the session's budget: of what it does for another, also what that one and the others use. */
  usageOf(state: SessionState): Promise<Usage | undefined>;
  /** Cancels what a session does for a run that does not wait for it any more. */
  stopUnwanted(session: SessionView): Promise<void>;
}

export interface SessionServices {
  readonly store: Store;
  readonly commits: { append(item: AppendItem): Promise<AppendResult> };
  readonly tools: ToolRegistry;
  readonly router: Router;
  readonly deadlines: Deadlines;
  readonly timings: CallTimings;
  readonly limits: SessionLimits;
  readonly presence?: (PresenceOptions & FloorOptions) | undefined;
  readonly gate: RunGate;
  readonly quota: SessionQuota;
  /** What all feeds of the process count together. */
  readonly feeds: FeedTotals;
  readonly log: Log;
  readonly now: () => number;
  /** When this process began, by the same clock: providers of the one before are on their way back for the grace. */
  readonly startedAt: number;
  member(): Member;
  readonly agents: {
    get(name: string): Agent | undefined;
    /** The definition that a run began with, as far as it is kept; else who has its name now. */
    ofRun(run: Pick<OpenRun, "agent" | "agentVersion">): Agent | undefined;
    /** Which definition of its name this is; undefined for one that cannot change. */
    versionOf(agent: Agent): number | undefined;
  };
  model(agent: Agent): Model;
  readonly spending: Spending;
  readonly tasks: Tasks;
  /** What holds for somebody's calls by what was said in other sessions than this one; see allowed.ts. */
  allowed(of: Actor, but: string): Promise<() => readonly Allowance[]>;
  /** May change the words that ask a model for a summary. */
  readonly onCompact: (prompt: string) => Promise<string>;
  /** Every entry once it is committed, and every delta, with the run that was open as it came; must not throw. */
  observe(session: SessionView, event: EventFrame | LiveDelta, run: OpenRun | undefined): void;
  /** A session is committed otherwise than `before` (undefined: it is new), by these entries; must not throw. */
  changed(session: SessionView, before: SessionState | undefined, entries: readonly EventFrame[]): void;
  /** No run may begin any more. */
  finishing(): boolean;
  /** The session left memory by itself: for good, or to be loaded anew. */
  dropped(session: SessionView, cause: "deleted" | "lost"): void;
}

/** The session left memory between finding it and using it: find it again. */
export class SessionDropped extends Error {
  override readonly name = "SessionDropped";
}
