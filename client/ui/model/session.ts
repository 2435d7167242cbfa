/**
 * The session on the screen as signals, refreshed at most once a frame: messages with the older ones that were fetched, what
 * is known of calls and ended runs, who is here. Owns attaching and letting go when the route changes,
 * and telling the server what was read.
 */
import { effect, signal, untracked } from "@preact/signals";
import { ProtocolError } from "../../index.ts";
import type {
  Client,
  EntryBodyOf,
  EventFrame,
  HistoryMessage,
  JsonValue,
  Presence,
  Role,
  SessionHandle,
  SessionState,
  ShownMessage,
} from "../../index.ts";
import { client } from "./link.ts";
import { route } from "./route.ts";
import { soon } from "./soon.ts";

const PAGE = 200;

/** The session of the route, if it is one. */
export const current = signal<OpenSession | undefined>(undefined);

export class OpenSession {
  readonly id: string;
  readonly handle = signal<SessionHandle | undefined>(undefined);
  readonly state = signal<SessionState | undefined>(undefined);
  readonly messages = signal<readonly ShownMessage[]>([]);
  readonly caughtUp = signal(false);
  readonly role = signal<Role | undefined>(undefined);
  readonly presence = signal<Presence | undefined>(undefined);
  /** Why there is nothing to see, or nothing more comes. */
  readonly problem = signal<ProtocolError | undefined>(undefined);
  /** What tools say while they work, by call. */
  readonly progress = signal<ReadonlyMap<string, JsonValue>>(new Map());
  /** How runs ended that ended while this was open: a state has only the last one's reason, without its words. */
  readonly ends = signal<ReadonlyMap<string, EntryBodyOf<"run-finished">>>(new Map());
  readonly hasOlder = signal(false);
  readonly isFetching = signal(false);
  readonly #stops: (() => void)[] = [];
  #older: readonly HistoryMessage[] = [];
  #newer: readonly HistoryMessage[] = [];
  #cursor: string | undefined;
  /** Up to which entry the server was told so. */
  #read = 0;
  #isClosed = false;

  constructor(own: Client, id: string) {
    this.id = id;
    own.attach(id, { timeoutMs: Infinity }).then(
      (handle) => this.#attached(handle),
      (error: unknown) => {
        if (!this.#isClosed && error instanceof ProtocolError) this.problem.value = error;
      },
    );
  }

  /** Lets go; the session goes on without. */
  close(): void {
    this.#isClosed = true;
    for (const stop of this.#stops) stop();
    this.handle.value?.detach();
  }

  /** Fetches a page of older messages; resolves when it is in `messages`. */
  async fetchOlder(): Promise<void> {
    const handle = this.handle.value;
    if (handle === undefined || this.isFetching.value || !this.hasOlder.value) return;
    this.isFetching.value = true;
    try {
      let found: readonly HistoryMessage[] = [];
      // The first pages may hold nothing but what the state has.
      do {
        const page = await handle.history({
          limit: PAGE,
          ...(this.#cursor === undefined ? {} : { cursor: this.#cursor }),
        });
        const first = this.#older[0]?.seq ?? this.#newer[0]?.seq ?? Infinity;
        found = page.items.filter(({ seq }) => seq < first);
        this.#cursor = page.cursor;
      } while (found.length === 0 && this.#cursor !== undefined);
      this.#older = [...found, ...this.#older];
      this.hasOlder.value = this.#cursor !== undefined;
      this.#refresh();
    } catch {
      // Asked again when its reader scrolls again.
    } finally {
      this.isFetching.value = false;
    }
  }

  #attached(handle: SessionHandle): void {
    if (this.#isClosed) return handle.detach();
    const refresh = soon(() => this.#refresh());
    document.addEventListener("visibilitychange", refresh);
    this.#stops.push(
      () => document.removeEventListener("visibilitychange", refresh),
      handle.on("change", refresh),
      handle.on("snapshot", () => this.#begin()),
      handle.on("entry", (entry) => this.#entry(entry)),
      handle.on("presence", (presence) => (this.presence.value = presence)),
      handle.on("progress", ({ call, progress }) => {
        this.progress.value = new Map(this.progress.value).set(call, progress);
      }),
      handle.on("detached", (error) => (this.problem.value = error)),
    );
    this.handle.value = handle;
    this.presence.value = handle.presence;
    this.#refresh();
    this.#begin();
  }

  /** A state came that says nothing of what was before it. */
  #begin(): void {
    this.#older = [];
    this.#cursor = undefined;
    this.#newer = this.handle.value?.state?.messages ?? [];
    this.hasOlder.value = (this.#newer[0]?.seq ?? 0) > 2;
    this.#refresh();
  }

  #refresh(): void {
    const handle = this.handle.value;
    if (handle === undefined || this.#isClosed) return;
    const { state } = handle;
    this.#keepWhatLeaves(state?.messages ?? []);
    this.state.value = state;
    this.role.value = handle.role;
    this.caughtUp.value = handle.caughtUp;
    const shown = handle.shown();
    this.messages.value = this.#older.length === 0 ? shown : [...this.#older, ...shown];
    this.#markRead(handle);
  }

  /** What came while somebody looked is read, on all devices of theirs. */
  #markRead(handle: SessionHandle): void {
    const seq = handle.state?.messages.at(-1)?.seq ?? 0;
    if (seq <= this.#read || !handle.caughtUp || document.hidden) return;
    this.#read = seq;
    // The next message marks this one, too.
    handle.markRead(seq).catch(() => undefined);
  }

  /** A state keeps so much and lets the oldest go; on the screen they stay. */
  #keepWhatLeaves(now: readonly HistoryMessage[]): void {
    const first = now[0]?.seq ?? Infinity;
    const left = this.#newer.filter(({ seq }) => seq < first);
    if (left.length > 0) this.#older = [...this.#older, ...left];
    this.#newer = now;
  }

  #entry({ event }: EventFrame): void {
    if (event.type === "run-finished") this.ends.value = new Map(this.ends.value).set(event.run, event);
    if (event.type !== "tool-result" || !this.progress.value.has(event.call)) return;
    const rest = new Map(this.progress.value);
    rest.delete(event.call);
    this.progress.value = rest;
  }
}

/** Opens what the route names, with whatever client the page has. */
export function followRoute(): void {
  effect(() => {
    const own = client.value;
    const to = route.value;
    const opened = to.view === "session" ? untracked(() => new OpenSession(own, to.session)) : undefined;
    current.value = opened;
    return () => opened?.close();
  });
}
