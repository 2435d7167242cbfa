/**
 * What people ask of a session: send, edit, withdraw, cancel, update, close, delete. Owns the decision of each command
 * and the entries of its one append. Rights are asked again under the lock (access.ts), for they may have changed since.
 */
import { isDeepStrictEqual } from "node:util";
import { decodeTrusted } from "../../protocol/codec.ts";
import type { Content, JsonValue, SendMode } from "../../protocol/content.ts";
import type { EntryBody, EventFrame } from "../../protocol/entries.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { ClientFrameType, OpenRun, QueuedInput, ResultOf, SessionState } from "../../protocol/frames.ts";
import { newMessageId } from "../../protocol/ids.ts";
import type { Store } from "../store/store.ts";
import { authorize, forbidden, refusedByFloor, roleOf, unknownAgent } from "./access.ts";
import type { Caller } from "./access.ts";
import type { Entry } from "./services.ts";
import type { Session } from "./session.ts";

export interface SendRequest {
  readonly key: string;
  readonly content: Content;
  readonly mode?: SendMode | undefined;
  readonly agent?: string | undefined;
}

/**
 * One hold of the lock, for a caller who may send the frame (`about` this user). Throws ProtocolError `not-found` or
 * `forbidden` otherwise.
 */
export function command<T>(
  session: Session,
  caller: Caller,
  frame: ClientFrameType,
  body: (state: SessionState) => Promise<T>,
  about?: string,
): Promise<T> {
  return session.exclusive(() => {
    authorize(caller, session.state, frame, about);
    return body(session.state);
  });
}

export function closed(session: Session): ProtocolError {
  return new ProtocolError("closed", `session ${session.id} is closed`);
}

/** What a send is given: where its key is looked up, and what it must not exceed. */
export interface SendServices {
  readonly store: Store;
  readonly maxQueue: number;
  /** Undefined for a name that no agent has. */
  readonly definitions: { get(agent: string): unknown };
}

/**
 * Queues an input; a key that was used before answers the first send. Throws `closed`, `not-found` (there is no such agent
 * any more), `queue-full`, `busy` (mode reject), `conflict` (the key with other content).
 */
export async function send(
  session: Session,
  caller: Caller,
  request: SendRequest,
  services: SendServices,
): Promise<ResultOf<"send">> {
  const { key, content, agent } = request;
  const mode = request.mode ?? "queue";
  const user = caller.actor.id;
  let interrupted: string | undefined;
  const result = await command(session, caller, "send", async (state) => {
    const refusal = refuse(session, state, request, services) ?? refusedByFloor(state, caller);
    if (refusal !== undefined) {
      const known = await services.store.lookupKey(session.id, user, key);
      if (known === undefined) throw refusal;
      return repeated(session, services.store, known, request);
    }
    const input = newMessageId();
    const entries: Entry[] = [
      {
        body: { type: "input-queued", input, key, content, mode, ...(agent === undefined ? {} : { agent }) },
        actor: caller.actor,
      },
    ];
    const { run } = state;
    if ((mode === "interrupt" || mode === "rollback") && run !== undefined) {
      interrupted = run.run;
      entries.push(...cancelEntries(run, caller, mode === "rollback"));
    }
    const appended = await session.append(entries);
    if (appended.duplicate) {
      interrupted = undefined;
      return repeated(session, services.store, appended.seq, request);
    }
    return { seq: appended.seq, input, position: positionOf(session.state, input), duplicate: false };
  });
  if (interrupted !== undefined) session.slot.end(interrupted);
  session.slot.advance();
  return result;
}

function refuse(
  session: Session,
  state: SessionState,
  { mode, agent }: SendRequest,
  { maxQueue, definitions }: SendServices,
): ProtocolError | undefined {
  if (state.session.state === "closed") return closed(session);
  const name = agent ?? state.session.agent;
  if (definitions.get(name) === undefined) return unknownAgent(name);
  if (mode === "reject" && (state.run !== undefined || state.queue.length > 0)) {
    return new ProtocolError("busy", "a run is open or inputs wait");
  }
  if (state.queue.length >= maxQueue) {
    return new ProtocolError("queue-full", `${maxQueue} inputs wait already`, {
      details: { limit: maxQueue },
    });
  }
  return undefined;
}

/** The answer to a key that was used: the first send's, if this one says the same. */
async function repeated(
  session: Session,
  store: Store,
  seq: number,
  request: SendRequest,
): Promise<ResultOf<"send">> {
  const [stored] = await store.read(session.id, seq - 1, 1);
  const event = stored && (decodeTrusted(stored.bytes) as EventFrame).event;
  const same =
    event?.type === "input-queued" &&
    event.mode === (request.mode ?? "queue") &&
    event.agent === request.agent &&
    isDeepStrictEqual(event.content, request.content);
  if (!same)
    throw new ProtocolError("conflict", "the key was used with other content", {
      details: { key: request.key },
    });
  return { seq, input: event.input, position: positionOf(session.state, event.input), duplicate: true };
}

/** How many inputs go before it; 0 also when its turn has come. */
function positionOf(state: SessionState, input: string): number {
  return Math.max(
    0,
    state.queue.findIndex((item) => item.input === input),
  );
}

/** None for a run that is being cancelled already, and rolled back if that is asked for. */
function cancelEntries(open: OpenRun, { actor }: Caller, rollback: boolean): Entry[] {
  const { run } = open;
  if (open.cancelRequested !== undefined && (!rollback || open.rollback)) return [];
  return [{ body: { type: "cancel-requested", run, ...(rollback ? { rollback } : {}) }, run, actor }];
}

/** Throws `forbidden` for another's words, whoever asks: they will stand under the name of who sent them. */
export function editInput(
  session: Session,
  caller: Caller,
  input: string,
  content: Content,
): Promise<{ seq: number }> {
  return command(session, caller, "editInput", async (state) => {
    if (!isOwn(waiting(state, input), caller)) throw forbidden("nobody edits what another has sent");
    const { seq } = await session.append([
      { body: { type: "input-edited", input, content }, actor: caller.actor },
    ]);
    return { seq };
  });
}

/** Throws `forbidden` for another's input, unless an owner asks. */
export function withdrawInput(session: Session, caller: Caller, input: string): Promise<{ seq: number }> {
  return command(session, caller, "withdrawInput", async (state) => {
    if (!isOwn(waiting(state, input), caller) && roleOf(caller, state) !== "owner")
      throw forbidden("only an owner withdraws what another has sent");
    const { seq } = await session.append([{ body: { type: "input-withdrawn", input }, actor: caller.actor }]);
    return { seq };
  });
}

/**
 * The named inputs take each other's places, in the order given. Throws `conflict` when one does not wait any more,
 * `forbidden` for another's input, unless an owner asks.
 */
export function orderInputs(
  session: Session,
  caller: Caller,
  inputs: readonly string[],
): Promise<{ seq: number }> {
  return command(session, caller, "orderInputs", async (state) => {
    if (new Set(inputs).size < inputs.length)
      throw new ProtocolError("bad-frame", "inputs: one is named twice");
    const named = inputs.map((input) => waiting(state, input));
    if (!named.every((input) => isOwn(input, caller)) && roleOf(caller, state) !== "owner")
      throw forbidden("only an owner moves what another has sent");
    const order = state.queue.filter(({ input }) => inputs.includes(input));
    if (order.every(({ input }, at) => input === inputs[at])) return { seq: state.seq };
    const { seq } = await session.append([
      { body: { type: "inputs-ordered", inputs: [...inputs] }, actor: caller.actor },
    ]);
    return { seq };
  });
}

function waiting(state: SessionState, input: string): QueuedInput {
  const found = state.queue.find((item) => item.input === input);
  if (found === undefined)
    throw new ProtocolError("conflict", `input ${input} does not wait`, { details: { input } });
  return found;
}

function isOwn(input: QueuedInput, caller: Caller): boolean {
  return input.actor?.id === caller.actor.id;
}

/** Logged before it is acked; a second cancel answers the first one's seq. Throws `not-found` for a run never heard of. */
export async function cancel(
  session: Session,
  caller: Caller,
  run: string,
  rollback = false,
): Promise<ResultOf<"cancel">> {
  const result = await command(session, caller, "cancel", async (state): Promise<ResultOf<"cancel">> => {
    if (state.run?.run === run) {
      const entries = cancelEntries(state.run, caller, rollback);
      const first = state.run.cancelRequested;
      const appended = entries.length === 0 ? undefined : await session.append(entries);
      return { seq: first ?? appended!.seq, state: "cancelling" };
    }
    const known = state.lastRun?.run === run || state.messages.some((message) => message.run === run);
    if (!known) throw new ProtocolError("not-found", `no run ${run}`);
    return { state: "finished" };
  });
  if (result.state === "cancelling") session.slot.end(run);
  return result;
}

export function update(
  session: Session,
  caller: Caller,
  change: { title?: string | undefined; metadata?: JsonValue | undefined },
): Promise<{ seq: number }> {
  return command(session, caller, "updateSession", async () => {
    const body: EntryBody = { type: "session-updated" };
    if (change.title !== undefined) body.title = change.title;
    if (change.metadata !== undefined) body.metadata = change.metadata;
    const { seq } = await session.append([{ body, actor: caller.actor }]);
    return { seq };
  });
}

/** One append: closed, its run cancelled, its waiting inputs withdrawn. Throws `closed` the second time. */
export async function close(session: Session, caller: Caller): Promise<{ seq: number }> {
  let open: string | undefined;
  const result = await command(session, caller, "close", async (state) => {
    if (state.session.state === "closed") throw closed(session);
    const { actor } = caller;
    const entries: Entry[] = [{ body: { type: "session-closed" }, actor }];
    open = state.run?.run;
    if (state.run !== undefined) entries.push(...cancelEntries(state.run, caller, false));
    for (const { input } of state.queue) entries.push({ body: { type: "input-withdrawn", input }, actor });
    const { seq } = await session.append(entries);
    return { seq };
  });
  if (open !== undefined) session.slot.end(open);
  return result;
}

/** Entries that are read at a time, from the newest on. */
const CLOSED_WINDOW = 50;

/** Where a closed session was closed. Little comes after it: its run's end, and results that were late. */
export async function closedAt(store: Store, { session, seq: head }: SessionState): Promise<number> {
  for (let end = head; end > 0; end -= CLOSED_WINDOW) {
    const start = Math.max(0, end - CLOSED_WINDOW);
    const entries = await store.read(session.id, start, end - start);
    const found = entries.findLast(
      ({ bytes }) => (decodeTrusted(bytes) as EventFrame).event.type === "session-closed",
    );
    if (found !== undefined) return found.seq;
  }
  throw new Error(`session ${session.id} is closed, and its log does not say when`);
}

/** Deletes the session for ever: a tombstone stays, so that its id is never used again. */
export function remove(session: Session, caller: Caller): Promise<void> {
  return command(session, caller, "deleteSession", () => session.remove());
}
