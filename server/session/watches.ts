/**
 * The feed over all sessions: who watches is told how a session stands and what is asked in it, as soon as that has
 * changed. Owns who watches and with which filter, and asks for the right to read at every delivery. A session's changes of
 * one turn of the event loop are one; nothing is kept for a watcher, and none is waited for: who reads too slowly is sent
 * `watchEnded`, and lists again.
 */
import { EncodedFrame, encodeFrame } from "../../protocol/codec.ts";
import type { SessionInfo } from "../../protocol/content.ts";
import type { EventFrame } from "../../protocol/entries.ts";
import type { ServerFrame, ServerFrameOf, SessionFilter, SessionState } from "../../protocol/frames.ts";
import { allows } from "../auth/identity.ts";
import { mayRead } from "./access.ts";
import type { Caller } from "./access.ts";
import { answerable, askingOf, listed } from "./asking.ts";
import { listedInfo } from "./listing.ts";
import type { SessionView } from "./services.ts";

/** The port of a watcher; a connection is one. */
export interface Watcher {
  /** As it is now; undefined: it is gone. */
  readonly identity: Caller | undefined;
  /** Bytes that wait for it. */
  readonly queuedBytes: number;
  deliver(frame: EncodedFrame): void;
}

export interface Watch {
  /** Sessions that it is told of; absent: none. */
  readonly sessions?: SessionFilter | undefined;
  readonly requests?: true | undefined;
}

export interface WatchOptions {
  /** Bytes that may wait for a watcher when it is to get more (256 KiB). */
  readonly maxQueuedBytes?: number;
}

type Decision = NonNullable<ServerFrameOf<"requestChanged">["decision"]>;

interface Change {
  readonly before: SessionState | undefined;
  /** Undefined: it was deleted. */
  view: SessionView | undefined;
  readonly decisions: Map<string, Decision>;
}

export class Watches {
  readonly #maxQueuedBytes: number;
  readonly #watches = new Map<Watcher, Watch & { readonly user: string }>();
  /** Who may read every session, and who those are members of; a change of rights ends a watch. */
  readonly #everywhere = new Set<Watcher>();
  readonly #byUser = new Map<string, Set<Watcher>>();
  #changes = new Map<string, Change>();

  constructor(options: WatchOptions = {}) {
    this.#maxQueuedBytes = options.maxQueuedBytes ?? 256 * 2 ** 10;
  }

  get size(): number {
    return this.#watches.size;
  }

  /** Begins a watch, in place of the one before. */
  begin(watcher: Watcher, watch: Watch): void {
    this.end(watcher);
    const { identity } = watcher;
    if (identity === undefined) return;
    const { id: user } = identity.actor;
    this.#watches.set(watcher, { ...watch, user });
    if (allows(identity, "watch")) {
      this.#everywhere.add(watcher);
      return;
    }
    const own = this.#byUser.get(user) ?? new Set();
    this.#byUser.set(user, own.add(watcher));
  }

  /** Ends a watch; with a reason, says so. */
  end(watcher: Watcher, reason?: ServerFrameOf<"watchEnded">["reason"]): void {
    const watch = this.#watches.get(watcher);
    if (watch === undefined) return;
    this.#watches.delete(watcher);
    this.#everywhere.delete(watcher);
    const own = this.#byUser.get(watch.user);
    if (own?.delete(watcher) && own.size === 0) this.#byUser.delete(watch.user);
    if (reason !== undefined) watcher.deliver(encoded({ type: "watchEnded", reason }));
  }

  /** Whether somebody who watches for requests may answer this one. */
  mayBeAnswered(asking: Parameters<typeof answerable>[1]): boolean {
    for (const [{ identity }, { requests }] of this.#watches)
      if (requests && identity !== undefined && answerable(identity, asking).length > 0) return true;
    return false;
  }

  /** A session is committed otherwise than `before`; undefined: it is new. */
  changed(view: SessionView, before: SessionState | undefined, entries: readonly EventFrame[]): void {
    if (this.#watches.size === 0 || (before !== undefined && !tells(before, view.state))) return;
    const change = this.#change(view.id, before);
    change.view = view;
    for (const { event } of entries)
      if (event.type === "request-resolved") change.decisions.set(event.request, event.decision);
  }

  /** How far a user has read, for their own watches. */
  marked(user: string, frame: ServerFrameOf<"readMarked">): void {
    for (const [watcher, watch] of this.#watches) {
      if (watch.user !== user || watch.sessions === undefined) continue;
      if (watcher.queuedBytes > this.#maxQueuedBytes) this.end(watcher, "lagging");
      else watcher.deliver(encoded(frame));
    }
  }

  deleted(view: SessionView): void {
    if (this.#watches.size > 0) this.#change(view.id, view.state).view = undefined;
  }

  #change(id: string, before: SessionState | undefined): Change {
    let change = this.#changes.get(id);
    if (change === undefined) {
      if (this.#changes.size === 0) setImmediate(() => this.#tell());
      this.#changes.set(id, (change = { before, view: undefined, decisions: new Map() }));
    }
    return change;
  }

  #tell(): void {
    const changes = this.#changes;
    this.#changes = new Map();
    for (const [id, change] of changes) {
      const told = new Told(id, change);
      for (const watcher of this.#concerned(told)) {
        const watch = this.#watches.get(watcher);
        const { identity } = watcher;
        if (watch === undefined || identity === undefined) continue;
        const frames = told.framesFor(identity, watch);
        if (frames.length > 0 && watcher.queuedBytes > this.#maxQueuedBytes) this.end(watcher, "lagging");
        else for (const frame of frames) watcher.deliver(frame);
      }
    }
  }

  /** Watchers that may read the session, or could. */
  *#concerned({ before, after }: Told): Generator<Watcher, void> {
    yield* this.#everywhere;
    const users = new Set([...Object.keys(before?.members ?? {}), ...Object.keys(after?.members ?? {})]);
    if (this.#byUser.size < users.size) {
      for (const [user, own] of this.#byUser) if (users.has(user)) yield* own;
    } else for (const user of users) yield* this.#byUser.get(user) ?? [];
  }
}

/** One session's change on its way to all who watch: what is the same for several is made once. */
class Told {
  readonly id: string;
  readonly before: SessionState | undefined;
  readonly after: SessionState | undefined;
  readonly #decisions: ReadonlyMap<string, Decision>;
  readonly #info: { readonly before: SessionInfo | undefined; readonly after: SessionInfo | undefined };
  #shown: EncodedFrame | undefined;
  readonly #open = new Map<string, EncodedFrame>();

  constructor(id: string, { before, view, decisions }: Change) {
    this.id = id;
    this.before = before;
    this.after = view?.state;
    this.#decisions = decisions;
    this.#info = {
      before: before && listedInfo(before.session),
      after: this.after && listedInfo(this.after.session),
    };
  }

  framesFor(caller: Caller, { sessions, requests }: Watch): EncodedFrame[] {
    const { before, after } = this;
    const could = before !== undefined && mayRead(caller, before);
    const can = after !== undefined && mayRead(caller, after);
    const frames: EncodedFrame[] = [];
    if (sessions !== undefined) {
      const { before: old, after: info } = this.#info;
      if (can && info !== undefined && matches(sessions, info))
        frames.push((this.#shown ??= encoded({ type: "sessionChanged", session: this.id, info })));
      else if (could && old !== undefined && matches(sessions, old))
        frames.push(encoded({ type: "sessionChanged", session: this.id }));
    }
    if (requests) frames.push(...this.#requests(could ? caller : undefined, can ? caller : undefined));
    return frames;
  }

  #requests(could: Caller | undefined, can: Caller | undefined): EncodedFrame[] {
    const { before, after, id: session } = this;
    if (before?.requests === after?.requests && before?.members === after?.members) return [];
    const frames: EncodedFrame[] = [];
    const asking = after && askingOf(after);
    const now = new Set<string>();
    const type = "requestChanged";
    const old = before === undefined || could === undefined ? [] : answerable(could, askingOf(before));
    const known = new Map(old.map((item) => [item.request, item]));
    if (asking !== undefined && can !== undefined)
      for (const item of answerable(can, asking)) {
        const { request } = item;
        now.add(request);
        if (known.has(request) && same(request, before, after)) continue;
        let frame = this.#open.get(request);
        if (frame === undefined) {
          frame = encoded({ type, session, request, open: listed(session, asking, item) });
          this.#open.set(request, frame);
        }
        frames.push(frame);
      }
    for (const request of known.keys()) {
      if (now.has(request)) continue;
      const decision = can === undefined ? undefined : this.#decisions.get(request);
      frames.push(encoded({ type, session, request, ...(decision === undefined ? {} : { decision }) }));
    }
    return frames;
  }
}

function same(request: string, before: SessionState | undefined, after: SessionState | undefined): boolean {
  const find = (state: SessionState | undefined) => state?.requests.find((item) => item.request === request);
  return find(before) === find(after);
}

/** Whether anything changed that a watcher is told. */
function tells(before: SessionState, after: SessionState): boolean {
  const [old, now] = [before.session, after.session];
  return (
    before.requests !== after.requests ||
    before.members !== after.members ||
    old.state !== now.state ||
    old.queued !== now.queued ||
    old.failed !== now.failed ||
    old.messages !== now.messages ||
    old.title !== now.title ||
    old.metadata !== now.metadata
  );
}

/** Whether a list or a watch with this filter has the session. */
export function matches(
  { agent, owner, state, labels, text, parent }: SessionFilter,
  info: SessionInfo,
): boolean {
  return (
    (agent === undefined || info.agent === agent) &&
    (owner === undefined || info.owner === owner) &&
    (state === undefined || info.state === state) &&
    (parent === undefined || info.parent?.session === parent) &&
    (labels === undefined || hasLabels(info.metadata, labels)) &&
    (text === undefined || (info.title ?? "").toLowerCase().includes(text.toLowerCase()))
  );
}

function hasLabels(metadata: SessionInfo["metadata"], labels: Readonly<Record<string, string>>): boolean {
  const wanted = Object.entries(labels);
  if (wanted.length === 0) return true;
  if (typeof metadata !== "object" || metadata === null || Array.isArray(metadata)) return false;
  return wanted.every(([key, value]) => Object.hasOwn(metadata, key) && metadata[key] === value);
}

function encoded(frame: ServerFrame): EncodedFrame {
  return new EncodedFrame(encodeFrame(frame));
}
