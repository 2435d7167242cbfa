/**
 * Compaction that somebody asks for, while no run is open: one model call beside the session, then one entry. Owns that
 * there is one at a time and that it ends with the session; inputs never wait for it, and a run that begins meanwhile
 * finds the summary at its next step.
 */
import { compactedEntry, reachOf, summarize } from "../agent/compact.ts";
import { describeOverrun } from "../agent/budget.ts";
import { cleanError } from "../agent/clean.ts";
import { ModelError } from "../model/model.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { SessionState } from "../../protocol/frames.ts";
import { authorize, unknownAgent } from "./access.ts";
import type { Caller } from "./access.ts";
import { SessionDropped } from "./services.ts";
import type { SessionServices } from "./services.ts";
import type { SlotSession } from "./slot.ts";

const DEADLINE = "deadline";

export class Compactor {
  readonly #session: SlotSession;
  readonly #services: SessionServices;
  #current: AbortController | undefined;

  constructor(session: SlotSession, services: SessionServices) {
    this.#session = session;
    this.#services = services;
  }

  /** Gives up the one that is under way. */
  stop(): void {
    this.#current?.abort();
  }

  /**
   * Resolves once the summary is committed. Throws ProtocolError `busy` (a run is open, or another compaction), `conflict`
   * (nothing was answered since the last one), `forbidden` (a budget is spent), `closed`, `unavailable` (the model gave no
   * summary, or the session left this process), `timeout`; StoreUnavailableError when it could not be committed.
   */
  async run(caller: Caller): Promise<{ seq: number; summary: string }> {
    const services = this.#services;
    const { state, upTo, agent, current } = await this.#exclusive(caller, async (now) => {
      if (now.run !== undefined) throw new ProtocolError("busy", "a run is open");
      if (this.#current !== undefined) throw new ProtocolError("busy", "it is being summarized");
      const { agent: name } = now.session;
      const named = services.agents.get(name);
      if (named === undefined) throw unknownAgent(name);
      const over = await services.spending.overrun(now.session.usage, caller.actor);
      if (over !== undefined) throw new ProtocolError("forbidden", describeOverrun(over));
      const reach = reachOf(now);
      if (reach === undefined) throw nothingNew();
      return { state: now, upTo: reach, agent: named, current: (this.#current = new AbortController()) };
    });
    const { signal } = current;
    const { deadlines, onCompact } = services;
    const clearTimeout = deadlines.after(agent.runTimeoutMs, () => current.abort(DEADLINE));
    try {
      const request = { agent, model: services.model(agent), deadlines, onCompact, signal };
      const compacted = await summarize(state, upTo, request).catch((error: unknown) => {
        throw this.#refusal(error, signal);
      });
      return await this.#exclusive(caller, async (now) => {
        const [body] = compactedEntry(now, compacted);
        if (body === undefined) throw nothingNew();
        const { seq } = await this.#session.append([{ body, actor: caller.actor }]);
        return { seq, summary: body.summary };
      });
    } catch (error) {
      // Never asked again by itself: the summary was paid for once.
      if (error instanceof SessionDropped) throw left(error);
      throw error;
    } finally {
      clearTimeout();
      this.#current = undefined;
    }
  }

  #exclusive<T>(caller: Caller, command: (state: SessionState) => Promise<T>): Promise<T> {
    const session = this.#session;
    return session.exclusive(() => {
      const { state } = session;
      authorize(caller, state, "compact");
      if (state.session.state === "closed")
        throw new ProtocolError("closed", `session ${session.id} is closed`);
      return command(state);
    });
  }

  /** What became of a model call that gave no summary. */
  #refusal(error: unknown, signal: AbortSignal): ProtocolError {
    if (error instanceof ProtocolError) return error;
    if (signal.reason === DEADLINE) return new ProtocolError("timeout", "the summary took too long");
    if (signal.aborted) return left(error);
    const { id } = this.#session;
    this.#services.log.warn({ session: id, err: error }, "the context could not be compacted");
    const known = error instanceof ModelError ? error : new ModelError("internal", "the model failed");
    const { code, message } = cleanError(known);
    const { retryable } = known;
    return new ProtocolError("unavailable", `no summary: ${code}: ${message}`, { retryable, cause: error });
  }
}

function left(cause: unknown): ProtocolError {
  return new ProtocolError("unavailable", "the session left this process", { retryAfterMs: 250, cause });
}

function nothingNew(): ProtocolError {
  return new ProtocolError("conflict", "nothing was answered since the last summary");
}
