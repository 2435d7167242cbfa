/**
 * The sessions in memory: loaded once however many ask at the same time, given back to the store when nobody needs them.
 * Owns loading, unloading and what the process must recover; never holds a session that is idle for long, so a million
 * on disk cost no memory.
 */
import { setTimeout as pause } from "node:timers/promises";
import { decodeTrusted, encodeFrame } from "../../protocol/codec.ts";
import type { EntryBody, EntryBodyOf, EventFrame } from "../../protocol/entries.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { SessionState } from "../../protocol/frames.ts";
import { fold } from "../../protocol/state.ts";
import type { Actor } from "../../protocol/content.ts";
import type { Loaded } from "../store/store.ts";
import { notFound } from "./access.ts";
import { decodeCheckpoint } from "./checkpoint.ts";
import { searchable } from "./indexer.ts";
import { keyOf } from "./keys.ts";
import { indexRow } from "./listing.ts";
import { Session } from "./session.ts";
import { SessionDropped } from "./services.ts";
import type { SessionServices, SessionView } from "./services.ts";
import { Stored } from "./stored.ts";

const LOAD_PAGE = 500;
const MAX_RETRIES = 5;
const RECOVER_AT_ONCE = 256;
const FINISH_LOOK_MS = 20;

type FirstEntries = readonly [EntryBodyOf<"session-created">, ...EntryBody[]];

export class SessionRegistry {
  readonly #services: SessionServices;
  readonly #sessions = new Map<string, Session | Promise<Session>>();
  readonly #sweep: NodeJS.Timeout;
  #finishing = false;
  /** How often a session has left memory by itself, and how often it had when all open runs were in memory. */
  #lost = 1;
  #recoveredAt = 0;

  constructor(services: SessionServices) {
    this.#services = services;
    this.#sweep = setInterval(() => void this.unloadIdle(), Math.max(10, services.limits.idleMs / 2));
    this.#sweep.unref();
  }

  /** Whether runs only end from now on, and none begins. */
  get finishing(): boolean {
    return this.#finishing;
  }

  /** No further run begins; resolves when none is at work here but those that wait for people, or after `ms`. */
  async finishRuns(ms: number): Promise<void> {
    this.#finishing = true;
    const over = performance.now() + ms;
    const atWork = ({ slot, state }: Session): boolean => slot.busy && state.session.state !== "waiting";
    while (performance.now() < over && this.loaded().some(atWork)) await pause(FINISH_LOOK_MS);
  }

  /** Sessions in memory. */
  get size(): number {
    return this.#sessions.size;
  }

  /** The session, if it is in memory now. */
  peek(id: string): Session | undefined {
    const held = this.#sessions.get(id);
    return held instanceof Session ? held : undefined;
  }

  loaded(): Session[] {
    return [...this.#sessions.values()].filter((held) => held instanceof Session);
  }

  /**
   * Runs something with the session in memory and holds it there until it settles. Throws ProtocolError `not-found`,
   * or `unavailable` when it keeps leaving memory.
   */
  async with<T>(id: string, use: (session: Session) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const session = await this.#find(id);
      if (session.dropped && attempt < MAX_RETRIES) continue;
      // In the turn of that check, so that it cannot leave between being found and being held.
      session.users++;
      try {
        return await use(session);
      } catch (error) {
        if (!(error instanceof SessionDropped) || attempt >= MAX_RETRIES) throw error;
      } finally {
        session.users--;
        session.usedAt = this.#services.now();
      }
    }
  }

  /**
   * Writes a session's first entries in one append and keeps it in memory. Throws ProtocolError `conflict` when the id was
   * ever used, `forbidden` when its owner has as many sessions as may be.
   */
  create(id: string, bodies: FirstEntries, actor: Actor): Promise<Session> {
    const owner = { id: bodies[0].owner, verified: actor.verified };
    return this.#services.quota.within(owner, () => this.#create(id, bodies, actor));
  }

  async #create(id: string, bodies: FirstEntries, actor: Actor): Promise<Session> {
    const { now, commits } = this.#services;
    const at = now();
    const entries = bodies.map((event, index): EventFrame => {
      return { type: "event", session: id, epoch: at, seq: index + 1, at, actor, event };
    });
    const [first, ...more] = entries;
    const state = more.reduce(fold, fold(undefined, first!));
    const result = await commits.append({
      id,
      epoch: at,
      expectedSeq: 0,
      entries: entries.map((entry) => encodeFrame(entry)),
      keys: entries.flatMap((entry) => keyOf(entry) ?? []),
      index: indexRow(state),
      create: this.#services.member(),
      ...searchable(bodies),
    });
    if (result.status === "conflict" || result.status === "duplicate") {
      throw new ProtocolError("conflict", `session ${id} exists`, { details: { session: id } });
    }
    if (result.status !== "ok") {
      throw new ProtocolError("unavailable", "the log cannot be written now", { retryAfterMs: 250 });
    }
    const session = new Session(id, state, this.#services, { grant: { id, epoch: at, seq: state.seq } });
    this.#sessions.set(id, session);
    for (const entry of entries) this.#services.observe(session, entry, undefined);
    this.#services.changed(session, undefined, entries);
    return session;
  }

  /** Forgets a session that left memory by itself. */
  forget(session: SessionView, cause: "deleted" | "lost"): void {
    if (cause === "lost") this.#lost++;
    this.#remove(session);
  }

  #remove(session: SessionView): void {
    if (this.#sessions.get(session.id) === session) this.#sessions.delete(session.id);
  }

  /** Unloads what nobody used for `idleMs`; answers how many went. */
  async unloadIdle(idleMs: number = this.#services.limits.idleMs): Promise<number> {
    const before = this.#services.now() - idleMs;
    const going = this.loaded().filter((session) => session.usedAt <= before && session.idle);
    const gone = await Promise.all(going.map((session) => this.#unload(session)));
    return gone.filter(Boolean).length;
  }

  async #unload(session: Session): Promise<boolean> {
    try {
      if (!(await session.unload())) return false;
    } catch (error) {
      this.#services.log.warn({ session: session.id, err: error }, "a session could not be unloaded");
      session.drop("unload failed");
    }
    this.#remove(session);
    return true;
  }

  /** The definitions that open runs began with or are about to; undefined while not all open runs are in memory. */
  definitionsInUse(): { agent: string; version: number }[] | undefined {
    if (this.#recoveredAt !== this.#lost) return undefined;
    return this.loaded().flatMap(({ slot, state }) => {
      const { agent, agentVersion: version } = slot.beginning ?? state.run ?? {};
      return agent === undefined || version === undefined ? [] : [{ agent, version }];
    });
  }

  /** Gives every session a named end of what its last process left open. Answers the ids that could not be recovered. */
  async recover(): Promise<string[]> {
    const failed: string[] = [];
    const lost = this.#lost;
    for (;;) {
      const orphans = await this.#services.store.orphans(RECOVER_AT_ONCE + failed.length);
      const fresh = orphans.filter((id) => !failed.includes(id));
      if (fresh.length === 0) {
        if (failed.length === 0) this.#recoveredAt = lost;
        return failed;
      }
      // Together, so that they share commits.
      await Promise.all(fresh.map((id) => this.#recoverOne(id, failed)));
    }
  }

  async #recoverOne(id: string, failed: string[]): Promise<void> {
    try {
      await this.with(id, (session) => session.slot.recover());
    } catch (error) {
      this.#services.log.error({ session: id, err: error }, "a session could not be recovered");
      failed.push(id);
    }
  }

  /** Leaves every run as it is and waits for the appends in flight. */
  async close(): Promise<void> {
    clearInterval(this.#sweep);
    for (const held of this.#sessions.values()) {
      try {
        await (await held).shutDown();
      } catch {
        // A session that could not be loaded holds nothing.
      }
    }
    this.#sessions.clear();
  }

  async #find(id: string): Promise<Session> {
    const held = this.#sessions.get(id);
    if (held instanceof Promise) return held;
    if (held !== undefined && !held.dropped) return held;
    const loading = held === undefined ? this.#load(id) : held.left.then(() => this.#load(id));
    this.#sessions.set(id, loading);
    try {
      const session = await loading;
      if (this.#sessions.get(id) === loading) this.#sessions.set(id, session);
      return session;
    } catch (error) {
      if (this.#sessions.get(id) === loading) this.#sessions.delete(id);
      throw error;
    }
  }

  async #load(id: string): Promise<Session> {
    const loaded = await this.#services.store.load(id);
    if (loaded === undefined) throw notFound(id);
    const { state, snapshotSeq } = await this.#folded(id, loaded);
    return new Session(id, state, this.#services, {
      snapshotSeq,
      checkpoint: decodeCheckpoint(loaded.checkpoint),
    });
  }

  async #folded(id: string, loaded: Loaded): Promise<{ state: SessionState; snapshotSeq: number }> {
    const stored = loaded.snapshot && Stored.decode(loaded.snapshot.body);
    const snapshotSeq = stored?.seq ?? 0;
    let state: SessionState | undefined;
    for (let seq = snapshotSeq; seq < loaded.head;) {
      const page = await this.#services.store.read(id, seq, LOAD_PAGE);
      if (page.length === 0) break;
      for (const { bytes } of page) {
        const entry = decodeTrusted(bytes) as EventFrame;
        if (stored === undefined) state = fold(state, entry);
        else stored.fold(entry);
      }
      seq = page.at(-1)!.seq;
    }
    state ??= stored?.state();
    if (state === undefined) throw notFound(id);
    return { state, snapshotSeq };
  }
}
