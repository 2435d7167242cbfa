/**
 * The slot of a session's run: starts the next input, drives the agent loop, ends or recovers what is open. Owns which run
 * this process drives and its two signals; every append goes through the session's lock, and no socket is ever waited for.
 */
import { setMaxListeners } from "node:events";
import type { EntryBodyOf } from "../../protocol/entries.ts";
import type { SessionState } from "../../protocol/frames.ts";
import type { Actor } from "../../protocol/content.ts";
import type { Overrun } from "../agent/budget.ts";
import { deadlineOf } from "../agent/context.ts";
import { runAgent } from "../agent/run.ts";
import type { Grant } from "../store/store.ts";
import { Checkpointer } from "./checkpoint.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { Feed } from "./feed.ts";
import type { Place } from "./gate.ts";
import { asRolledBack, inputMessage, resumeRun, runEnding, startRun, steers } from "./lifecycle.ts";
import { SYSTEM, waitsForOthers } from "./lifecycle.ts";
import type { StartedRun, Waits } from "./lifecycle.ts";
import { planRecovery, unfinishedText } from "./recover.ts";
import { ALL } from "../tool/registry.ts";
import { Answers, RequestSettled } from "../tool/request.ts";
import type { Answer } from "../tool/decision.ts";
import { SessionDropped } from "./services.ts";
import type { Entry, SessionServices } from "./services.ts";

/** What the slot needs of its session. */
export interface SlotSession {
  readonly id: string;
  readonly feed: Feed;
  readonly state: SessionState;
  readonly dropped: boolean;
  usedAt: number;
  exclusive<T>(command: () => Promise<T>): Promise<T>;
  append(entries: readonly Entry[]): Promise<{ readonly seq: number }>;
  claim(): Promise<Grant>;
  background(work: () => Promise<void>, fault: string): void;
  drop(cause: string): void;
}

const FIRST_RETRY_MS = 100;
const MAX_RETRY_MS = 10_000;

/** Entries that are the words of whoever answered. */
const ANSWERS: ReadonlySet<string> = new Set(["request-answered", "request-resolved", "approval-remembered"]);

interface CurrentRun {
  readonly run: string;
  place: Place;
  /** It has given its place up while others are waited for; and how it gets another. */
  waits: Waits;
  readonly answers: Answers;
  /** Ends the run: its end is logged. */
  readonly end: AbortController;
  /** Leaves the run as it is: nothing more is logged. */
  readonly stop: AbortController;
}

export class RunSlot {
  readonly #session: SlotSession;
  readonly #services: SessionServices;
  readonly #checkpointer: Checkpointer;
  /** What the slot in the store held when the session was loaded. */
  readonly #checkpoint: Checkpoint | undefined;
  /** The session leaves memory. */
  readonly #left = new AbortController();
  #current: CurrentRun | undefined;
  /** The next run is about to begin: it waits for tools, then for this place, then for the lock. */
  #starting = false;
  #place: Place | undefined;
  /** The start of a run that is being written. */
  beginning: EntryBodyOf<"run-started"> | undefined;
  #failures = 0;

  constructor(session: SlotSession, services: SessionServices, checkpoint: Checkpoint | undefined) {
    this.#session = session;
    this.#services = services;
    this.#checkpointer = new Checkpointer(services);
    this.#checkpoint = checkpoint;
    const unfinished = checkpoint && unfinishedText(session.state, checkpoint);
    if (unfinished !== undefined) session.feed.live.restore(unfinished);
  }

  get busy(): boolean {
    return this.#current !== undefined;
  }

  /** Leaves the run as it is, for the reason; false when there is none. */
  stop(reason: "lost" | "deleted" | "shutdown"): boolean {
    this.#checkpointer.stop();
    this.#left.abort(reason);
    this.#place?.leave();
    this.#current?.stop.abort(reason);
    return this.#current !== undefined;
  }

  /** Writes what a stop on purpose leaves behind; nothing is appended after it. */
  leave(grant: Grant): Promise<void> {
    return this.#checkpointer.write(grant, { ...this.#checkpointNow(), planned: true });
  }

  /**
   * Starts the next waiting input, if the slot is free and as soon as there is a place among the open runs. Never throws:
   * what fails here is found again by recovery.
   */
  advance(): void {
    const session = this.#session;
    if (session.dropped || this.#current !== undefined || this.#starting || session.state.queue.length === 0)
      return;
    if (this.#services.finishing()) return;
    this.#starting = true;
    session.background(async () => {
      let again = false;
      try {
        await this.#orLater(async () => {
          await this.#toolsOfBefore();
          again = await this.#startWithPlace();
        });
      } finally {
        this.#starting = false;
      }
      if (again) this.advance();
    }, "an input could not be started");
  }

  /** Waits for a place for the input that is next, and starts it; true as in `#startNext`. */
  async #startWithPlace(): Promise<boolean> {
    const session = this.#session;
    const [input] = session.state.queue;
    if (this.#left.signal.aborted || input === undefined) return false;
    const place = (this.#place = this.#services.gate.enter(input.actor ?? SYSTEM));
    try {
      return (await place.granted) && (await session.exclusive(() => this.#startNext(place)));
    } finally {
      this.#place = undefined;
      if (this.#current?.place !== place) place.leave();
    }
  }

  /** What found no room in the store is tried again: no recovery looks for a session that is in memory. */
  async #orLater(work: () => Promise<void>): Promise<void> {
    try {
      await work();
      this.#failures = 0;
    } catch (error) {
      if (!this.#session.dropped) {
        const ms = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#failures++);
        this.#services.deadlines.after(ms, () => {
          if (this.#session.state.run === undefined) this.advance();
          else this.#session.background(() => this.recover(), "an open run could not be recovered");
        });
      }
      throw error;
    }
  }

  /** True when the input that was next needs another try or was done with at once. */
  async #startNext(place: Place): Promise<boolean> {
    const { state } = this.#session;
    const input = state.queue[0];
    if (input === undefined || state.run !== undefined || this.#current !== undefined) return false;
    if (this.#services.finishing()) return false;
    // Somebody else's went first meanwhile: it needs a place of its own.
    if ((input.actor ?? SYSTEM).id !== place.user) return true;
    const start = startRun(state, input, this.#services);
    this.beginning = start.started;
    try {
      await this.#session.append(start.entries);
    } finally {
      this.beginning = undefined;
    }
    if (start.context === undefined) return true;
    void this.#drive(this.#occupy(start.started.run, place), start.context);
    return false;
  }

  #occupy(run: string, place: Place): CurrentRun {
    const current: CurrentRun = {
      run,
      place,
      waits: undefined,
      answers: new Answers(),
      end: new AbortController(),
      stop: new AbortController(),
    };
    // Every open call listens, and a step may have hundreds.
    setMaxListeners(0, current.end.signal, current.stop.signal);
    return (this.#current = current);
  }

  async #drive(current: CurrentRun, context: StartedRun): Promise<void> {
    const { run, answers, end, stop } = current;
    const session = this.#session;
    const { feed } = session;
    const { log, deadlines, router, timings, now } = this.#services;
    let clearTimeout = (): void => {};
    let deadline: number | undefined;
    /** What the log says now of the run's time and of what it waits for. */
    const look = (): void => {
      const { state } = session;
      if (state.run === undefined) return;
      this.#keepPlace(current, context.actor, waitsForOthers(state));
      const at = deadlineOf(state, context.agent);
      if (at === deadline) return;
      deadline = at;
      clearTimeout();
      clearTimeout = at === Infinity ? () => {} : deadlines.at(at, () => end.abort("deadline"));
    };
    try {
      const grant = await session.exclusive(() => session.claim());
      look();
      const loop = runAgent({
        ...context,
        services: {
          router,
          deadlines,
          timings,
          now,
          onProgress: (call, attempt, progress) =>
            feed.broadcast({ type: "toolProgress", session: session.id, call, attempt, progress }),
        },
        answers,
        overBudget: () => this.#overBudget(context.actor),
        allowedElsewhere: () => this.#services.allowed(context.actor, session.id),
        delegation: this.#services.tasks,
        placed: () => current.place.until(AbortSignal.any([end.signal, stop.signal])),
        state: () => session.state,
        toolsAgain: () => this.#toolsAgain(current, context.actor),
        joinSteers: () => steers(session.state, context.agent.name).map((item) => inputMessage(item, run)),
        end: end.signal,
        stop: stop.signal,
        onCompact: (prompt) => this.#services.onCompact(prompt),
        onFault: (error, what) => log.error({ session: session.id, run, err: error }, what),
      });
      for await (const output of loop) {
        if (stop.signal.aborted) break;
        if (output.type === "commit") {
          const { actor, committed } = output;
          await session.exclusive<unknown>(() => {
            const entries = output.entries().map((said) => {
              const body = asRolledBack(said, session.state);
              return actor !== undefined && ANSWERS.has(body.type) ? { body, run, actor } : { body, run };
            });
            if (entries.length === 0) return Promise.resolve();
            const appended = session.append(entries);
            return committed === undefined ? appended : appended.then(({ seq }) => committed(seq));
          });
          look();
        } else if (output.type === "part") {
          const { type: _, message, ...opened } = output;
          feed.begin(run, message, opened);
        } else {
          const { message, part, text } = output;
          const placed = feed.say(message, part, text);
          if (placed === undefined) continue;
          this.#checkpointer.touch(grant, () => this.#checkpointNow());
          const shown = { type: "delta" as const, session: session.id, run, message, part, ...placed, text };
          this.#services.observe(session, shown, session.state.run);
        }
      }
    } catch (error) {
      const running = !session.dropped;
      stop.abort("lost");
      if (running) {
        log.error({ session: session.id, run, err: error }, "a run could not go on");
        await this.#endFailed(run);
      }
    } finally {
      clearTimeout();
      // Whoever finds the session again is told how its request stands.
      answers.close(new SessionDropped(session.id));
      this.#checkpointer.stop();
      current.place.leave();
      if (this.#current === current) this.#current = undefined;
      session.usedAt = this.#services.now();
      this.advance();
    }
  }

  /**
   * A run that does nothing but wait keeps nobody from beginning. After people and tools it goes on at once, room or not;
   * after tasks, of which it may have had many, when a place is free again.
   */
  #keepPlace(current: CurrentRun, actor: Actor, waits: Waits): void {
    if (waits !== undefined) current.place.leave();
    else if (current.waits !== undefined) current.place = this.#services.gate[current.waits](actor);
    current.waits = waits;
  }

  async #overBudget(actor: Actor): Promise<Overrun | undefined> {
    const session = this.#session;
    try {
      const usage = await this.#services.tasks.usageOf(session.state);
      return await this.#services.spending.overrun(usage, actor);
    } catch (error) {
      // No fault of the run: it goes on where the store can be read again.
      session.drop("what was used cannot be read");
      throw error;
    }
  }

  /** A run that our own fault ended while the log still works. */
  async #endFailed(run: string): Promise<void> {
    const session = this.#session;
    if (session.state.run?.run !== run) return;
    const error = { code: "internal", message: "the run could not go on" };
    try {
      await session.exclusive(() =>
        session.append(runEnding(session.state, "error", error).map((body) => ({ body, run }))),
      );
    } catch (fault) {
      this.#services.log.error({ session: session.id, run, err: fault }, "a failed run could not be ended");
      session.drop("a run without its end");
    }
  }

  /**
   * Hands an answer to the open run, taken up first if nobody drives it; resolves with the seq of the entry that says it.
   * Rejects with ProtocolError, RequestSettled when the request was resolved, SessionDropped.
   */
  async answer(request: string, answer: Answer): Promise<number> {
    if (this.#current === undefined) await this.recover();
    // Meanwhile its run may have ended, and another begun that knows nothing of it.
    const isOpen = this.#session.state.requests.some((item) => item.request === request);
    if (this.#current === undefined || !isOpen) throw new RequestSettled(request);
    return this.#current.answers.submit(request, answer);
  }

  /** Ends the current run, when `run` names it; its end is logged by the loop. */
  end(run: string): void {
    if (this.#current?.run === run) this.#current.end.abort("cancelled");
  }

  #checkpointNow(): Checkpoint {
    const { seq, run } = this.#session.state;
    return { seq, step: (run?.step ?? 0) + 1, partial: this.#session.feed.live.partial };
  }

  /** A run that nobody drives goes on or gets its named end, and the queue goes on. */
  async recover(): Promise<void> {
    await this.#orLater(async () => {
      await this.#services.tasks.stopUnwanted(this.#session);
      await this.#recover();
    });
    this.advance();
  }

  #recover(): Promise<void> {
    const session = this.#session;
    return session.exclusive(async () => {
      const grant = await session.claim();
      const { run } = session.state;
      if (this.#current !== undefined || run === undefined) return;
      const agent = this.#services.agents.ofRun(run);
      const { entries, goesOn } = planRecovery(session.state, agent, this.#checkpoint);
      await session.append(entries.map((body) => ({ body, run: run.run })));
      // A stop that was planned is used up, and its text taken back.
      await this.#checkpointer.write(grant, { seq: 0, step: 0 });
      session.feed.live.clear();
      if (!goesOn || agent === undefined) return;
      const current = this.#occupy(run.run, this.#services.gate.resume(run.actor ?? SYSTEM));
      void this.#drive(current, resumeRun(session.state, agent, this.#services));
    });
  }

  /** Waits until the tools of a run that goes on are offered again, for the grace at most. */
  async #toolsAgain(current: CurrentRun, actor: Actor): Promise<void> {
    const names = this.#session.state.run?.tools.map((tool) => tool.name) ?? [];
    this.#keepPlace(current, actor, "resume");
    await this.#toolsThere(names, this.#services.router.graceMs, current.end.signal, current.stop.signal);
    this.#keepPlace(current, actor, undefined);
  }

  /**
   * A run that begins soon after this process would begin without the tools of providers that are still on their way back.
   * It waits for those that its agent names, and, if its input is from before, for those of the last run, until the grace
   * of this process's start is over.
   */
  async #toolsOfBefore(): Promise<void> {
    const { run, queue, lastRun, session } = this.#session.state;
    const { startedAt, router, now } = this.#services;
    const [input] = queue;
    const ms = startedAt + router.graceMs - now();
    if (run !== undefined || ms <= 0 || input === undefined) return;
    const agent = this.#services.agents.get(input.agent ?? session.agent);
    const named = agent?.tools.filter((name) => name !== ALL) ?? [];
    const before = input.at < startedAt ? (lastRun?.tools ?? []) : [];
    await this.#toolsThere([...named, ...before], ms, this.#left.signal);
  }

  async #toolsThere(names: readonly string[], ms: number, ...ends: AbortSignal[]): Promise<void> {
    const { deadlines, tools } = this.#services;
    const over = new AbortController();
    const clear = deadlines.after(ms, () => over.abort());
    await tools.whenThere(names, this.#session.id, AbortSignal.any([over.signal, ...ends]));
    clear();
  }
}
