/**
 * Forking: a new session that begins with what another had said up to a run's end. Owns where a log may be cut and what of
 * it is copied, in one append, so that a fork is there whole or not at all; never writes to the log that it reads, and
 * gives nobody but the forker a role.
 */
import { decodeTrusted } from "../../protocol/codec.ts";
import type { MessagePart } from "../../protocol/content.ts";
import type { EntryBody, EntryBodyOf, EventFrame } from "../../protocol/entries.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { HistoryMessage, ResultOf, SessionState } from "../../protocol/frames.ts";
import { newId } from "../../protocol/ids.ts";
import { fold } from "../../protocol/state.ts";
import type { Store } from "../store/store.ts";
import { notFound } from "./access.ts";
import type { Caller } from "./access.ts";
import type { SessionRegistry } from "./registry.ts";
import { frameRoom, newestThatFit } from "./snapshot.ts";
import { Stored } from "./stored.ts";

/** Entries that are read at a time. */
const PAGE = 500;
/** For one message: results that came in entries of their own may be more together than one entry holds. */
const ENTRY_ROOM = frameRoom();

export interface ForkRequest {
  /** The seq of a `run-finished`; the last one unless told. */
  readonly at?: number | undefined;
  readonly newSession?: string | undefined;
  readonly key?: string | undefined;
}

/**
 * The same user, key and new id answer the fork that is there. Throws ProtocolError `bad-frame` (no such place, a key
 * without an id), `conflict` (no run has finished yet, the id was used). Who may enter the session and create one of its
 * agent was checked before.
 */
export async function fork(
  registry: SessionRegistry,
  store: Store,
  caller: Caller,
  from: SessionState,
  request: ForkRequest = {},
): Promise<ResultOf<"fork">> {
  const { id } = from.session;
  const { key, newSession = newId("ses") } = request;
  if (key !== undefined && request.newSession === undefined)
    throw new ProtocolError("bad-frame", "key: needs a newSession id that the client has minted");
  if (key !== undefined && (await isRepeat(store, caller, id, { ...request, newSession })))
    return { session: newSession };
  const place = request.at ?? (await lastRunEnd(store, from));
  const state = await stateAt(store, from, place);
  const { agent, title, metadata } = state.session;
  const copies = copied(state).map((message): EntryBody => {
    const { seq: _seq, at: _at, step, finishReason, usage, incomplete, ...said } = message;
    return {
      type: "message",
      message: { ...said, parts: said.parts.map(settled) },
      ...(step === undefined ? {} : { step }),
      ...(finishReason === undefined ? {} : { finishReason }),
      ...(usage === undefined ? {} : { usage }),
      ...(incomplete === undefined ? {} : { incomplete }),
    };
  });
  const created: EntryBodyOf<"session-created"> = {
    type: "session-created",
    agent,
    owner: caller.actor.id,
    ...(title === undefined ? {} : { title }),
    ...(metadata === undefined ? {} : { metadata }),
    ...(key === undefined ? {} : { key }),
    forkedFrom: { session: id, at: place },
  };
  // It stands before the messages that it does not cover.
  const summary: EntryBody[] =
    state.compacted === undefined ? [] : [{ type: "compacted", upTo: 1, summary: state.compacted.summary }];
  try {
    await registry.create(newSession, [created, ...summary, ...copies], caller.actor);
  } catch (error) {
    // The first one may be under way still when it is repeated.
    const taken = error instanceof ProtocolError && error.code === "conflict" && key !== undefined;
    if (!taken || !(await isRepeat(store, caller, id, { ...request, newSession }))) throw error;
  }
  return { session: newSession };
}

/** Whether this very request has made the session already. Without `at`, any place will do: runs have ended since. */
async function isRepeat(
  store: Store,
  caller: Caller,
  from: string,
  { at, newSession, key }: ForkRequest & { readonly newSession: string },
): Promise<boolean> {
  const [first] = await store.read(newSession, 0, 1);
  const event = first && eventOf(first.bytes);
  return (
    event?.type === "session-created" &&
    event.owner === caller.actor.id &&
    event.key === key &&
    event.forkedFrom?.session === from &&
    (at === undefined || event.forkedFrom.at === at)
  );
}

/** What the agent would have read next, but for what does not fit an entry. */
function copied({ messages, compacted }: SessionState): HistoryMessage[] {
  const since = messages.filter(({ seq, rolledBack }) => seq > (compacted?.upTo ?? 0) && !rolledBack);
  return since.flatMap((message) => newestThatFit([message], ENTRY_ROOM));
}

/** No call is open where a run ends; should a log say otherwise, its copy opens none either. */
function settled(part: MessagePart): MessagePart {
  return part.type === "dynamic-tool" && !part.state.startsWith("output-")
    ? { ...part, state: "output-error", errorText: "outcome-unknown" }
    : part;
}

async function lastRunEnd(store: Store, { session, seq: head, lastRun }: SessionState): Promise<number> {
  for (let end = lastRun === undefined ? 0 : head; end > 0; end -= PAGE) {
    const start = Math.max(0, end - PAGE);
    const entries = await store.read(session.id, start, end - start);
    const found = entries.findLast(({ bytes }) => eventOf(bytes).type === "run-finished");
    if (found !== undefined) return found.seq;
  }
  throw new ProtocolError("conflict", "no run has finished here yet");
}

/** The state as of an entry. Folded from the stored state where that is not beyond it, else from the first entry. */
async function stateAt(
  store: Store,
  { session: { id }, seq: head }: SessionState,
  at: number,
): Promise<SessionState> {
  const [entry] = at > 0 && at <= head ? await store.read(id, at - 1, 1) : [];
  if (entry === undefined || eventOf(entry.bytes).type !== "run-finished")
    throw new ProtocolError("bad-frame", "at: not the seq of a run-finished entry", { details: { at } });
  const { snapshot } = (await store.load(id)) ?? {};
  let state =
    snapshot !== undefined && snapshot.seq <= at ? Stored.decode(snapshot.body)?.state() : undefined;
  while ((state?.seq ?? 0) < at) {
    const after = state?.seq ?? 0;
    const page = await store.read(id, after, Math.min(PAGE, at - after));
    if (page.length === 0) throw notFound(id);
    for (const { bytes } of page) state = fold(state, decodeTrusted(bytes) as EventFrame);
  }
  return state!;
}

function eventOf(bytes: Uint8Array): EntryBody {
  return (decodeTrusted(bytes) as EventFrame).event;
}
