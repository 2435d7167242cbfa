/**
 * Creating a session: the one command that has no session to lock yet. Owns its idempotency: the same user and key on
 * the same id answer the session that is there, anything else on a used id is a conflict.
 */
import { isDeepStrictEqual } from "node:util";
import { decodeTrusted } from "../../protocol/codec.ts";
import type { JsonValue } from "../../protocol/content.ts";
import type { EntryBodyOf, EventFrame } from "../../protocol/entries.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { ResultOf } from "../../protocol/frames.ts";
import { newId } from "../../protocol/ids.ts";
import type { Store } from "../store/store.ts";
import type { Caller } from "./access.ts";
import type { SessionRegistry } from "./registry.ts";

export interface CreateRequest {
  readonly agent: string;
  readonly session?: string | undefined;
  readonly title?: string | undefined;
  readonly metadata?: JsonValue | undefined;
  readonly key?: string | undefined;
}

/**
 * Throws ProtocolError `bad-frame` (a key without an id), `conflict` (the id was used), `forbidden` (the user has too many
 * sessions). The agent was looked up before.
 */
export async function createSession(
  registry: SessionRegistry,
  store: Store,
  caller: Caller,
  request: CreateRequest,
): Promise<ResultOf<"createSession">> {
  const { key } = request;
  if (key !== undefined && request.session === undefined) {
    throw new ProtocolError("bad-frame", "key: needs a session id that the client has minted");
  }
  const id = request.session ?? newId("ses");
  const body: EntryBodyOf<"session-created"> = {
    type: "session-created",
    agent: request.agent,
    owner: caller.actor.id,
    ...(request.title === undefined ? {} : { title: request.title }),
    ...(request.metadata === undefined ? {} : { metadata: request.metadata }),
    ...(key === undefined ? {} : { key }),
  };
  try {
    const session = await registry.create(id, [body], caller.actor);
    return { session: id, epoch: session.state.epoch, seq: 1 };
  } catch (error) {
    // A repeat may come when the user has as many sessions as may be, this one among them.
    const taken = error instanceof ProtocolError && ["conflict", "forbidden"].includes(error.code);
    if (key === undefined || !taken) throw error;
    const [first] = await store.read(id, 0, 1);
    const entry = first && (decodeTrusted(first.bytes) as EventFrame);
    if (entry === undefined || !isDeepStrictEqual(entry.event, body)) throw error;
    return { session: id, epoch: entry.epoch, seq: 1 };
  }
}
