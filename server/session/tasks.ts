/**
 * Tasks: what a run has another agent do, in a session that is made for it. Owns when that session is made, found again,
 * stopped and read (task.ts), and how many tasks may be given and how deep; the waiting run writes down what came of it
 * (agent/delegate.ts). A session whose task nobody waits for any more is cancelled, whatever became of the other.
 */
import type { CallError, Usage } from "../../protocol/content.ts";
import type { EventFrame } from "../../protocol/entries.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { SessionState } from "../../protocol/frames.ts";
import { addUsage, NO_USAGE } from "../../protocol/usage.ts";
import { orAbort } from "../agent/asking.ts";
import type { Task, TaskEnd } from "../agent/context.ts";
import { ALL_RIGHTS } from "../auth/identity.ts";
import { CANCELLED, UNKNOWN } from "../tool/outcome.ts";
import type { Caller } from "./access.ts";
import { cancel, withdrawInput } from "./commands.ts";
import { SYSTEM } from "./lifecycle.ts";
import type { SessionRegistry } from "./registry.ts";
import type { SessionServices, SessionView, Tasks } from "./services.ts";
import { depthOf, endOfTask, firstEntries, isAtTask, taskOf } from "./task.ts";

export interface TaskOptions {
  /** Sessions that may stand below one another (3). */
  readonly maxTaskDepth?: number | undefined;
  /** Tasks that one step of a run may give (16). */
  readonly maxTasks?: number | undefined;
}

type Parts = Pick<SessionServices, "store" | "deadlines" | "timings" | "log" | "now"> & {
  readonly registry: SessionRegistry;
};

/** What of the session is to be heard: that its task may have ended. */
interface Listener {
  readonly wake: () => void;
  deleted: SessionState | undefined;
}

const SERVER: Caller = { actor: SYSTEM, rights: ALL_RIGHTS };
const FIRST_PAUSE_MS = 100;
const MAX_PAUSE_MS = 5000;

export class TaskKeeper implements Tasks {
  readonly #find: () => Parts;
  #found: Parts | undefined;
  readonly #maxDepth: number;
  readonly #maxTasks: number;
  /** By the session of the task. */
  readonly #listeners = new Map<string, Set<Listener>>();

  /** The parts are there once the process is made of them. */
  constructor(parts: () => Parts, options: TaskOptions = {}) {
    this.#find = parts;
    this.#maxDepth = options.maxTaskDepth ?? 3;
    this.#maxTasks = options.maxTasks ?? 16;
  }

  get #parts(): Parts {
    return (this.#found ??= this.#find());
  }

  refusal({ session }: SessionState, open: number): CallError | undefined {
    if (depthOf(session.parent) >= this.#maxDepth)
      return { code: "too-deep", message: `tasks of tasks end here, ${this.#maxDepth} deep: do it yourself` };
    if (open < this.#maxTasks) return undefined;
    return { code: "too-many", message: `no more than ${this.#maxTasks} tasks at once: give this one later` };
  }

  async run(task: Task, giveUp: AbortSignal, stop: AbortSignal): Promise<TaskEnd | undefined> {
    const { now, timings, log } = this.#parts;
    const either = AbortSignal.any([giveUp, stop]);
    /** What it asked in turn has its own time to stop before. */
    let stopBy: number | undefined;
    let pauseMs = FIRST_PAUSE_MS;
    let begun = false;
    while (!stop.aborted) {
      const signal = giveUp.aborted ? stop : either;
      const listening = this.#listen(task.child);
      try {
        if (giveUp.aborted) {
          stopBy ??= now() + 2 * (timings.cancelMs ?? 5000);
          await this.#stop(task.session, task.child);
        } else if (!begun) {
          await this.#begin(task);
          begun = true;
        }
        const end = await this.#endOf(task, listening.deleted, giveUp.aborted);
        if (end !== undefined) return end;
        if (stopBy !== undefined && now() >= stopBy) return UNKNOWN;
        await this.#until(signal, stopBy ?? Infinity, listening.woken);
        pauseMs = FIRST_PAUSE_MS;
      } catch (error) {
        if (error instanceof ProtocolError && !error.retryable) return failed(error);
        log.warn({ session: task.session, child: task.child, err: error }, "a task is looked at again");
        await this.#until(signal, now() + pauseMs);
        pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS);
      } finally {
        listening.end();
      }
    }
    // It may have been made just now, for a run that was ended meanwhile.
    if (begun && stop.reason !== "shutdown")
      this.#later(task.child, () =>
        this.#parts.registry.with(task.child, (child) => this.stopUnwanted(child)),
      );
    return undefined;
  }

  async usageOf(state: SessionState): Promise<Usage | undefined> {
    let top = state;
    for (let above = taskOf(top); above !== undefined; above = taskOf(top)) {
      const found = await this.#stateOf(above.session);
      if (found === undefined) break;
      top = found;
    }
    return top === state ? state.session.usage : this.#usedBelow(top);
  }

  /** What the session used with the step that waits, and what its open tasks have used so far: it has the others' already. */
  async #usedBelow({ session, calls, messages }: SessionState): Promise<Usage> {
    const waiting = messages.find(({ id }) => id === calls[0]?.message);
    let sum = addUsage(session.usage ?? NO_USAGE, waiting?.usage ?? NO_USAGE);
    for (const { child } of calls) {
      const state = child === undefined ? undefined : await this.#stateOf(child);
      if (state !== undefined) sum = addUsage(sum, await this.#usedBelow(state));
    }
    return sum;
  }

  async stopUnwanted({ id, state }: SessionView): Promise<void> {
    const { parent } = state.session;
    if (parent === undefined || !isAtTask(state, parent)) return;
    const above = await this.#stateOf(parent.session);
    const waits = above?.calls.some(({ call, child }) => call === parent.call && child === id) === true;
    if (!waits) await this.#stop(parent.session, id);
  }

  // --- what sessions tell ---

  changed(
    { id, state }: SessionView,
    before: SessionState | undefined,
    entries: readonly EventFrame[],
  ): void {
    if (!entries.some(({ event }) => event.type === "run-finished" || event.type === "input-withdrawn"))
      return;
    for (const listener of this.#listeners.get(id) ?? []) listener.wake();
    // What ends a run without its loop leaves what it waited for.
    if (state.run === undefined) for (const { child } of before?.calls ?? []) this.#stopLater(id, child);
  }

  deleted({ id, state }: SessionView): void {
    for (const listener of this.#listeners.get(id) ?? []) {
      listener.deleted = state;
      listener.wake();
    }
    for (const { child } of state.calls) this.#stopLater(id, child);
  }

  #listen(child: string): {
    readonly woken: Promise<void>;
    readonly deleted: SessionState | undefined;
    end(): void;
  } {
    const listeners = this.#listeners.get(child) ?? new Set();
    this.#listeners.set(child, listeners);
    let listener: Listener;
    const woken = new Promise<void>((wake) => listeners.add((listener = { wake, deleted: undefined })));
    return {
      woken,
      get deleted() {
        return listener.deleted;
      },
      end: () => {
        if (listeners.delete(listener) && listeners.size === 0) this.#listeners.delete(child);
      },
    };
  }

  /** Until the promise resolves, the signal aborts, or the clock has reached `at`. */
  async #until(signal: AbortSignal, at: number, woken?: Promise<void>): Promise<void> {
    let clear = (): void => {};
    const timed = new Promise<void>((resolve) => {
      if (at !== Infinity) clear = this.#parts.deadlines.at(at, resolve);
    });
    await orAbort(woken === undefined ? timed : Promise.race([timed, woken]), signal).catch(() => {});
    clear();
  }

  // --- the session of a task ---

  /** Makes the session with its task, in one append; one that is there already goes on. */
  async #begin(task: Task): Promise<void> {
    const above = await this.#stateOf(task.session);
    if (above === undefined) return;
    const { registry } = this.#parts;
    try {
      const session = await registry.create(task.child, firstEntries(task, above), task.actor);
      session.slot.advance();
    } catch (error) {
      if (!(error instanceof ProtocolError) || error.code !== "conflict") throw error;
      const state = await this.#stateOf(task.child);
      if (state !== undefined && state.session.parent?.call !== task.call) throw error;
    }
  }

  /** Cancels its task, or takes it out of the queue; nothing where it has ended, or was never begun. */
  async #stop(above: string, child: string): Promise<void> {
    for (;;) {
      try {
        return await this.#parts.registry.with(child, async (session) => {
          const { parent } = session.state.session;
          const { run, queue } = session.state;
          if (parent?.session !== above) return;
          if (run?.input === parent.input) await cancel(session, SERVER, run.run);
          else if (queue.some(({ input }) => input === parent.input))
            await withdrawInput(session, SERVER, parent.input);
        });
      } catch (error) {
        const code = error instanceof ProtocolError ? error.code : undefined;
        if (code === "not-found") return;
        // Its turn came between the look and the withdrawal.
        if (code !== "conflict") throw error;
      }
    }
  }

  #stopLater(above: string, child: string | undefined): void {
    if (child !== undefined) this.#later(child, () => this.#stop(above, child));
  }

  #later(child: string, work: () => Promise<void>): void {
    work().catch((error: unknown) => {
      this.#parts.log.warn({ session: child, err: error }, "a task could not be stopped");
    });
  }

  async #stateOf(session: string): Promise<SessionState | undefined> {
    try {
      return await this.#parts.registry.with(session, (held) => Promise.resolve(held.state));
    } catch (error) {
      if (error instanceof ProtocolError && error.code === "not-found") return undefined;
      throw error;
    }
  }

  async #endOf(
    { child, call, agent }: Task,
    deleted: SessionState | undefined,
    givenUp: boolean,
  ): Promise<TaskEnd | undefined> {
    const state = await this.#stateOf(child);
    const parent = state?.session.parent;
    if (state === undefined || parent?.call !== call) {
      const { usage } = (deleted ?? state)?.session ?? {};
      if (givenUp) return { ...CANCELLED, usage };
      const error = { code: "not-found", message: `the session of ${agent}, ${child}, was deleted` };
      return { outcome: "error", error, usage };
    }
    if (isAtTask(state, parent)) return undefined;
    const { usage } = state.session;
    const { input } = parent;
    return { ...(await endOfTask(this.#parts.store, { session: child, agent, input })), usage };
  }
}

function failed({ code, message }: ProtocolError): TaskEnd {
  return { outcome: "error", error: { code, message } };
}
