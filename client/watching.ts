/**
 * A watch over all sessions, kept across connections: watches first, lists then, and again whenever the watch was lost. Owns
 * the two maps that come of it, and the rule that what a frame has said counts more than what a page says.
 */
import type { SessionInfo } from "../protocol/content.ts";
import { ProtocolError } from "../protocol/errors.ts";
import type { ListedRequest, ResultOf, ServerFrameOf, SessionFilter } from "../protocol/frames.ts";
import type { Clock } from "./clock.ts";
import { Emitter } from "./emitter.ts";
import type { FieldsOf } from "./requests.ts";

export interface WatchingOptions {
  /** Sessions to keep; absent: none. An empty filter is all that one may read. */
  readonly sessions?: SessionFilter;
  /** Whether to keep what waits for one's own answer. */
  readonly requests?: boolean;
  /** Sessions that are listed at most, the last used first (1000); those that change join them. */
  readonly maxListed?: number;
}

export interface WatchingEvents {
  /** A session as it is now; without info it is none of the watch's any more. */
  session: [session: string, info: SessionInfo | undefined];
  /** What waits for an answer; without it, the request does so no more, `decision` if it is resolved. */
  request: [
    request: string,
    open: ListedRequest | undefined,
    decision: ServerFrameOf<"requestChanged">["decision"],
  ];
  /** All was listed, for the first time or anew: what the maps held before may be gone without a word. */
  listed: [];
  /** The server refuses the watch: it is over. */
  ended: [error: ProtocolError];
}

/** What a watch needs of its client; requests are bound to the connection. */
export interface WatchingLink {
  readonly clock: Clock;
  isOnline(): boolean;
  call<T extends Asked>(type: T, fields: FieldsOf<T>): Promise<unknown>;
  forget(watching: Watching): void;
}

type Asked = "watch" | "unwatch" | "listSessions" | "listRequests";
export type WatchFrame = ServerFrameOf<"sessionChanged" | "readMarked" | "requestChanged" | "watchEnded">;

const PAGE = 100;
const RETRY_MS = 1000;

export class Watching {
  readonly #link: WatchingLink;
  readonly #options: WatchingOptions;
  readonly #events = new Emitter<WatchingEvents>();
  #sessions = new Map<string, SessionInfo>();
  #requests = new Map<string, ListedRequest>();
  /** Messages of a session that this user has read, as far as lists and frames have said. */
  readonly #read = new Map<string, number>();
  /** What frames were about since the watch began. */
  #said = new Set<string>();
  #turn = 0;
  #isListed = false;
  #over = false;
  #endRetry: () => void = () => undefined;

  constructor(link: WatchingLink, options: WatchingOptions) {
    this.#link = link;
    this.#options = options;
    if (link.isOnline()) this.online();
  }

  /** By id, as last heard, with what is `unread`. */
  get sessions(): ReadonlyMap<string, SessionInfo> {
    return this.#sessions;
  }

  get requests(): ReadonlyMap<string, ListedRequest> {
    return this.#requests;
  }

  /** Whether the maps are whole and kept so now. */
  get isListed(): boolean {
    return this.#isListed;
  }

  on<K extends keyof WatchingEvents>(type: K, listener: (...values: WatchingEvents[K]) => void): () => void {
    return this.#events.on(type, listener);
  }

  /** Watches no more. */
  end(): void {
    if (this.#over) return;
    this.offline();
    this.#over = true;
    this.#link.forget(this);
    // Not awaited: a connection that is gone watches nothing.
    this.#link.call("unwatch", {}).catch(() => undefined);
  }

  online(): void {
    if (this.#over) return;
    const turn = ++this.#turn;
    this.#said = new Set();
    this.#isListed = false;
    this.#begin(turn).catch((error: unknown) => this.#failed(turn, error));
  }

  offline(): void {
    this.#turn++;
    this.#isListed = false;
    this.#endRetry();
  }

  receive(frame: WatchFrame): void {
    if (frame.type === "watchEnded") {
      if (this.#link.isOnline()) this.online();
      return;
    }
    if (frame.type === "sessionChanged") {
      const { session } = frame;
      this.#said.add(session);
      const info = frame.info && { ...frame.info, ...this.#unread(frame.info) };
      if (info === undefined) this.#sessions.delete(session);
      else this.#sessions.set(session, info);
      this.#events.emit("session", session, info);
      return;
    }
    if (frame.type === "readMarked") {
      const known = this.#sessions.get(frame.session);
      this.#read.set(frame.session, frame.messages);
      if (known === undefined) return;
      const info = { ...known, ...this.#unread(known) };
      this.#sessions.set(frame.session, info);
      this.#events.emit("session", frame.session, info);
      return;
    }
    const { request, open, decision } = frame;
    this.#said.add(request);
    if (open === undefined) this.#requests.delete(request);
    else this.#requests.set(request, open);
    this.#events.emit("request", request, open, decision);
  }

  async #begin(turn: number): Promise<void> {
    const { sessions, requests, maxListed = 1000 } = this.#options;
    await this.#link.call("watch", {
      ...(sessions === undefined ? {} : { sessions }),
      ...(requests ? { requests: true as const } : {}),
    });
    const foundSessions = sessions === undefined ? [] : await this.#all("listSessions", sessions, maxListed);
    const foundRequests = requests ? await this.#all("listRequests", {}, Infinity) : [];
    if (turn !== this.#turn) return;
    for (const { id, messages = 0, unread } of foundSessions)
      if (unread !== undefined) this.#read.set(id, Math.max(messages - unread, this.#read.get(id) ?? 0));
    this.#sessions = this.#merged(this.#sessions, foundSessions, (info) => info.id);
    this.#requests = this.#merged(this.#requests, foundRequests, (open) => open.request.request);
    this.#isListed = true;
    this.#said = new Set();
    this.#events.emit("listed");
  }

  /** All pages of a list, up to so many items. */
  async #all<T extends "listSessions" | "listRequests">(
    type: T,
    fields: FieldsOf<T>,
    most: number,
  ): Promise<ResultOf<T>["items"]> {
    const found: unknown[] = [];
    for (let cursor: string | undefined; ;) {
      const limit = Math.min(PAGE, most - found.length);
      const next = { ...fields, limit, ...(cursor === undefined ? {} : { cursor }) };
      const page = (await this.#link.call(type, next)) as ResultOf<T>;
      found.push(...page.items);
      ({ cursor } = page);
      if (cursor === undefined || found.length >= most) return found as ResultOf<T>["items"];
    }
  }

  /** What was listed, but for what frames have said meanwhile. */
  #merged<T>(heard: ReadonlyMap<string, T>, found: readonly T[], idOf: (item: T) => string): Map<string, T> {
    const merged = new Map<string, T>();
    for (const item of found) if (!this.#said.has(idOf(item))) merged.set(idOf(item), item);
    for (const [id, item] of heard) if (this.#said.has(id)) merged.set(id, item);
    return merged;
  }

  /** Where it is not known what was read, nothing is said of it. */
  #unread({ id, messages = 0 }: SessionInfo): { unread?: number } {
    const read = this.#read.get(id);
    return read === undefined ? {} : { unread: Math.max(0, messages - read) };
  }

  #failed(turn: number, error: unknown): void {
    if (turn !== this.#turn || this.#over) return;
    const known = error instanceof ProtocolError ? error : undefined;
    if (known?.retryable === false) {
      this.#over = true;
      this.#link.forget(this);
      this.#events.emit("ended", known);
      return;
    }
    this.#endRetry = this.#link.clock.after(known?.retryAfterMs ?? RETRY_MS, () => this.online());
  }
}
