/**
 * Asking again for what a run did not bring: the content of its input, queued as a new one in the name of whoever asks.
 * Owns which runs may be retried and finding what they were asked; queueing is that of every send (commands.ts).
 */
import { decodeTrusted } from "../../protocol/codec.ts";
import type { Content, MessagePart, RunReason } from "../../protocol/content.ts";
import type { EntryBody, EventFrame } from "../../protocol/entries.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { ResultOf, SessionState } from "../../protocol/frames.ts";
import type { Store } from "../store/store.ts";
import { allows } from "../auth/identity.ts";
import { authorize, forbidden } from "./access.ts";
import type { Caller } from "./access.ts";
import { send } from "./commands.ts";
import type { SendServices } from "./commands.ts";
import type { Session } from "./session.ts";

/** Entries that are read at a time. */
const PAGE = 250;

/**
 * Answers as `send` does, a key that was used before included. Throws ProtocolError `not-found` (no such run among the state's messages),
 * `conflict` (it is open, or it answered), and what `send` throws.
 */
export async function retry(
  session: Session,
  caller: Caller,
  { run, key }: { readonly run: string; readonly key: string },
  services: SendServices,
): Promise<ResultOf<"send">> {
  authorize(caller, session.state, "retry");
  const { reason, content, agent } = await askedOf(session, services.store, run);
  if (reason === undefined) throw new ProtocolError("conflict", `run ${run} is open`);
  if (reason === "text") throw new ProtocolError("conflict", `run ${run} has answered`);
  const other = agent === session.state.session.agent ? {} : { agent };
  if ("agent" in other && !allows(caller, "create", agent)) throw forbidden(`no right to ask ${agent}`);
  return send(session, caller, { key, content, ...other }, services);
}

/** What the run was asked, of whom, and how it ended; no reason while it is open. */
async function askedOf(
  { id, state }: Session,
  store: Store,
  run: string,
): Promise<{ reason: RunReason | undefined; content: Content; agent: string }> {
  const input = state.messages.find((message) => message.role === "user" && message.run === run);
  // A run begins with its input, in one append; a copied message has none before it.
  const [entry] = input === undefined ? [] : await store.read(id, input.seq - 2, 1);
  const started = entry && eventOf(entry.bytes);
  if (input === undefined || started?.type !== "run-started" || started.run !== run)
    throw new ProtocolError("not-found", `no run ${run}`);
  const reason = await reasonOf(id, state, store, run, input.seq);
  return { reason, content: contentOf(input.parts), agent: started.agent };
}

async function reasonOf(
  id: string,
  { lastRun, seq: head }: SessionState,
  store: Store,
  run: string,
  from: number,
): Promise<RunReason | undefined> {
  if (lastRun?.run === run) return lastRun.reason;
  for (let after = from; after < head; after += PAGE) {
    for (const { bytes } of await store.read(id, after, Math.min(PAGE, head - after))) {
      const event = eventOf(bytes);
      if (event.type === "run-finished" && event.run === run) return event.reason;
    }
  }
  return undefined;
}

function eventOf(bytes: Uint8Array): EntryBody {
  return (decodeTrusted(bytes) as EventFrame).event;
}

/** The content that these parts were. */
function contentOf(parts: readonly MessagePart[]): Content {
  const [first, ...more] = parts;
  if (first?.type === "text" && more.length === 0) return first.text;
  return parts.filter((part) => part.type !== "reasoning" && part.type !== "dynamic-tool");
}
