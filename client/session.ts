/**
 * A session in the hands of an application: its live state, its entries as they come, and the commands of a member.
 * Owns the public face alone; attachment.ts keeps it fed and turn.ts follows one input.
 */
import type { Content, Floor, Position, SendMode, Role, SessionInfo } from "../protocol/content.ts";
import type { EventFrame } from "../protocol/entries.ts";
import { ProtocolError } from "../protocol/errors.ts";
import type { OpenRequest, Partial, ResultOf, SessionState } from "../protocol/frames.ts";
import { newId } from "../protocol/ids.ts";
import { roleOf } from "../protocol/state.ts";
import { floorOf } from "../protocol/queue.ts";
import { measure } from "../protocol/values.ts";
import type { Attachment, SessionEvents } from "./attachment.ts";
import { SessionCommands } from "./commands.ts";
import type { SessionClient } from "./commands.ts";
import { BoundedQueue } from "./queue.ts";
import type { Presence } from "./presence.ts";
import type { RequestOptions } from "./requests.ts";
import { followTurn } from "./turn.ts";
import type { RunFinished, TurnEvent } from "./turn.ts";
import type { ShownMessage } from "./view.ts";

export interface SendOptions extends RequestOptions {
  /**
   * `queue` unless told: also `reject` (refused as `busy` while a run is open), `steer` (joins the open run), `interrupt`
   * (ends it and goes first), `rollback` (the same, and the agent does not read what was said in it).
   */
  readonly mode?: SendMode;
  /** Makes repetitions of this send one; minted unless given. */
  readonly key?: string;
  /** Another agent than the session's. */
  readonly agent?: string;
}

export interface ForkOptions extends RequestOptions {
  /** The seq of a `run-finished`; the last one unless told. */
  readonly at?: number;
  /** The new session's id, and what makes repetitions of this fork one; both minted unless given. */
  readonly newSession?: string;
  readonly key?: string;
}

const MAX_QUEUED_BYTES = 16 * 1024 * 1024;
const COMPACT_MS = 10 * 60_000;

export class SessionHandle extends SessionCommands {
  readonly #client: SessionClient;
  readonly #attachment: Attachment;
  /** What the server said of the role, once it was compared with the members; and if it was not theirs. */
  #compared: Attachment["given"];
  #byRight: { readonly role: Role | undefined } | undefined | null = null;

  /** Made by `client.attach`. */
  constructor(client: SessionClient, attachment: Attachment) {
    super(client, attachment.session);
    this.#client = client;
    this.#attachment = attachment;
    attachment.events.on("live", () => this.#caughtUpOnce());
  }

  /** The fold of the log so far; a new object at every change. Undefined only after `attach` with `after`. */
  get state(): SessionState | undefined {
    return this.#attachment.view.state;
  }

  /** Agent, owner, title and the rest of what lists show. */
  get info(): SessionInfo | undefined {
    return this.state?.session ?? this.#attachment.info;
  }

  /** The text of the message that is being written. */
  get partial(): Partial | undefined {
    return this.#attachment.view.partial;
  }

  /** False while attaching, replaying or offline: what is shown may be behind. */
  get caughtUp(): boolean {
    return this.#attachment.view.caughtUp;
  }

  /** Up to which entry everything was applied; may be kept and given to `attach` as `after`. */
  get position(): Position | undefined {
    return this.#attachment.view.position;
  }

  /** Who may send now, and in which order that is taken; `holder` in the mode `hand`. */
  get floor(): Floor {
    return this.state === undefined ? { mode: "queue" } : floorOf(this.state);
  }

  /** What waits for people: approvals and questions, the oldest first. */
  get requests(): readonly OpenRequest[] {
    return this.state?.requests ?? [];
  }

  /** What this user may do here; undefined while that is not known. */
  get role(): Role | undefined {
    const { given } = this.#attachment;
    return this.#byRight === given ? given?.role : (this.#ownRole ?? given?.role);
  }

  get #ownRole(): Role | undefined {
    const { user } = this.#client;
    return user === undefined || this.state === undefined ? undefined : roleOf(this.state, user.id);
  }

  /** Where the server said more than the members do, as of an admin, no later change of them tells what one may do. */
  #caughtUpOnce(): void {
    const { given } = this.#attachment;
    if (given === this.#compared) return;
    this.#compared = given;
    if (given?.role !== this.#ownRole) this.#byRight = given;
  }

  /** Who is here, this user too; a new object with every `presence` event. */
  get presence(): Presence {
    return this.#attachment.presence;
  }

  /** Why nothing comes any more; undefined while attached. */
  get ended(): ProtocolError | undefined {
    return this.#attachment.ended;
  }

  /** The messages of the state, then the one that is being written: what a page shows. */
  shown(): ShownMessage[] {
    return this.#attachment.view.shown();
  }

  /** Calls `listener` at every such event (see SessionEvents); returns what ends that. */
  on<K extends keyof SessionEvents>(type: K, listener: (...values: SessionEvents[K]) => void): () => void {
    return this.#attachment.events.on(type, listener);
  }

  /**
   * Every entry from this call on, each once, in order; right after `await client.attach(…)` that is every entry since
   * its position. For one reader. Ends after `detach()`; throws ProtocolError `queue-full` when the reader lets more
   * than `maxQueued` (4096) entries or 16 MiB wait, `unavailable` when the log was replaced and entries were never
   * seen, or the reason of the detachment.
   */
  events(options: { readonly maxQueued?: number } = {}): AsyncIterableIterator<EventFrame> {
    const stops: (() => void)[] = [];
    const queue = new BoundedQueue<EventFrame>(
      {
        maxItems: options.maxQueued ?? 4096,
        maxBytes: MAX_QUEUED_BYTES,
        size: (entry) => measure(entry).bytes,
      },
      () => {
        for (const stop of stops) stop();
      },
    );
    const detached = (error: ProtocolError): void =>
      queue.end(error.details?.["reason"] === "detach" ? undefined : error);
    if (this.ended !== undefined) detached(this.ended);
    else {
      stops.push(
        this.on("entry", (entry) => queue.push(entry)),
        this.on("snapshot", () =>
          queue.end(new ProtocolError("unavailable", "the log was replaced: entries are missing")),
        ),
        this.on("detached", detached),
      );
    }
    return queue;
  }

  /**
   * Sends an input. Safe to lose the connection: it is sent again with the same key and happens once. `ok.input` is the
   * id of the user message that it becomes. Rejects with ProtocolError: `busy`, `queue-full`, `closed`, `conflict` (the
   * key with other content), `too-large`, `timeout`, ….
   */
  send(content: Content, options: SendOptions = {}): Promise<ResultOf<"send">> {
    const { mode, key, agent, ...rest } = options;
    const more = { ...(mode === undefined ? {} : { mode }), ...(agent === undefined ? {} : { agent }) };
    return this.#client.request(
      "send",
      { session: this.id, key: key ?? newId("key"), content, ...more },
      rest,
    );
  }

  /** Sends, and resolves with the end of the run that took the input. Aborting stops waiting, not the run. */
  ask(content: Content, options: SendOptions = {}): Promise<RunFinished> {
    return followTurn(
      this.#attachment,
      () => this.send(content, options),
      () => undefined,
      options.signal,
    );
  }

  /**
   * Sends, and yields the text as it is written and the entries of the run, `run-finished` last. For one reader; text
   * that waits is merged. Leaving the loop stops watching, not the run. Throws as `ask` does.
   */
  stream(content: Content, options: SendOptions = {}): AsyncIterableIterator<TurnEvent> {
    const stop = new AbortController();
    const signal =
      options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);
    const queue = new BoundedQueue<TurnEvent>(
      { maxItems: 4096, maxBytes: MAX_QUEUED_BYTES, size: sizeOf, merge: mergeText },
      () => stop.abort(),
    );
    followTurn(
      this.#attachment,
      () => this.send(content, options),
      (item) => queue.push(item),
      signal,
    ).then(
      () => queue.end(),
      (error: unknown) => queue.end(error instanceof Error ? error : new Error(String(error))),
    );
    return queue;
  }

  /**
   * Asks for the end of a run, the open one unless told. Resolves when the request is logged, not when the run ended. With
   * `rollback` the agent will not read what was said in it, as if it had not been; people see it on (`rolledBack`).
   */
  async cancel(
    run?: string,
    options: RequestOptions & { readonly rollback?: boolean } = {},
  ): Promise<ResultOf<"cancel">> {
    const { rollback, ...rest } = options;
    const target = run ?? this.state?.run?.run;
    if (target === undefined) return { state: "finished" };
    const more = rollback ? { rollback } : {};
    return this.#client.request("cancel", { session: this.id, run: target, ...more }, rest);
  }

  /**
   * Asks again for what a run did not bring, the last one unless told: its input is queued anew, in this user's name.
   * Resolves and rejects as `send` does; also `conflict` (the run is open, or it answered), `not-found`.
   */
  async retry(
    run?: string,
    options: RequestOptions & { readonly key?: string } = {},
  ): Promise<ResultOf<"retry">> {
    const { key = newId("key"), ...rest } = options;
    const target = run ?? this.state?.lastRun?.run;
    if (target === undefined) throw new ProtocolError("not-found", "no run has finished here");
    return this.#client.request("retry", { session: this.id, run: target, key }, rest);
  }

  /**
   * Has the agent's model sum up what was said, so that it reads the summary in its place; resolves when that is logged.
   * Waits for the model: 10 minutes unless told. Rejects with ProtocolError `busy` (a run is open), `conflict` (nothing
   * was answered since the last summary), `unavailable` (no summary came of it), ….
   */
  compact(options: RequestOptions = {}): Promise<ResultOf<"compact">> {
    return this.#client.request("compact", { session: this.id }, { timeoutMs: COMPACT_MS, ...options });
  }

  /**
   * Makes a session of this user's own that begins with what was said here up to `at`, the seq of a `run-finished` (the
   * last one unless told), and resolves with its id. Id and key are minted unless given, so a repetition after a lost
   * answer makes one. Rejects with ProtocolError `conflict` (no run has finished yet, the id is taken), `bad-frame` (no
   * such place), `forbidden`.
   */
  async fork(options: ForkOptions = {}): Promise<string> {
    const { at, newSession = newId("ses"), key = newId("key"), ...rest } = options;
    const fields = { session: this.id, newSession, key, ...(at === undefined ? {} : { at }) };
    return (await this.#client.request("fork", fields, rest)).session;
  }

  /**
   * Tells the others here that this user types: call it at every key, it sends no more than is of use. Ends by itself 5 s
   * after the last call, and at once with `false`.
   */
  setTyping(isTyping = true): void {
    this.#attachment.own.typing(isTyping);
  }

  /** Tells the others which message this user looks at, by its id, until another call; undefined: none. */
  setViewing(message: string | undefined): void {
    this.#attachment.own.viewing(message);
  }

  /** Stops watching; the session and its run go on. */
  detach(): void {
    this.#attachment.end(new ProtocolError("closed", "detached", { details: { reason: "detach" } }));
  }
}

function sizeOf(event: TurnEvent): number {
  return event.type === "entry" ? measure(event.entry).bytes : event.text.length * 3;
}

function mergeText(last: TurnEvent, item: TurnEvent): TurnEvent | undefined {
  if (last.type === "entry" || item.type !== last.type || item.message !== last.message) return undefined;
  return item.offset === last.offset + last.text.length
    ? { ...last, text: last.text + item.text }
    : undefined;
}
