/**
 * What the request `search` answers: the store's finds that the caller may read now, with the piece of text that shows why.
 * Owns filters, the piece and the bounds of a page. What one may not read leaves no trace in it: the store looks only at
 * what is the caller's, and whose role has ended meanwhile is asked here.
 */
import { decodeTrusted } from "../../protocol/codec.ts";
import type { SessionInfo } from "../../protocol/content.ts";
import type { EventFrame } from "../../protocol/entries.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { ClientFrameOf, ResultOf, SearchHit } from "../../protocol/frames.ts";
import { allows } from "../auth/identity.ts";
import type { FoundPage, SearchQuery, Store } from "../store/store.ts";
import { mayRead, type Caller } from "./access.ts";
import { textOf } from "./indexer.ts";
import { decodeInfo } from "./listing.ts";
import type { SessionRegistry } from "./registry.ts";
import { snippetOf } from "./snippet.ts";
import { matches } from "./watches.ts";
import { wantedOf, type Wanted } from "./words.ts";

const HITS = 20;
const MAX_HITS = 50;
/** Entries that are read at once: each may fill a frame. */
const AT_ONCE = 8;
/** Pages of the store that one page of a filtered search may read. */
const MAX_PAGES = 10;

export interface SearchParts {
  readonly store: Pick<Store, "search" | "readEach">;
  readonly registry: Pick<SessionRegistry, "peek">;
}

/** Throws ProtocolError `bad-frame` for a cursor that is not one of the caller's. */
export async function search(
  { store, registry }: SearchParts,
  caller: Caller,
  { text, agent, owner, state, labels, ...frame }: ClientFrameOf<"search">,
): Promise<ResultOf<"search">> {
  const limit = Math.min(frame.limit ?? HITS, MAX_HITS);
  const wanted = wantedOf(text);
  const items: SearchHit[] = [];
  let { cursor } = frame;
  for (let pages = 0; pages < MAX_PAGES; pages++) {
    const page = await find(store, {
      ...wanted,
      limit: limit - items.length,
      ...(cursor === undefined ? {} : { cursor }),
      ...(allows(caller, "watch") ? {} : { reader: caller.actor.id }),
    });
    const readable = page.items.flatMap(({ id, index, seq }) => {
      const held = registry.peek(id);
      // What was found may be older than a role's end.
      if (held !== undefined && !mayRead(caller, held.state)) return [];
      const info = held?.state.session ?? decodeInfo(index);
      return matches({ agent, owner, state, labels }, info) ? [{ info, seq }] : [];
    });
    for (let at = 0; at < readable.length; at += AT_ONCE) {
      const some = readable.slice(at, at + AT_ONCE);
      const entries = await store.readEach(some.map(({ info, seq }) => ({ id: info.id, seq })));
      for (const [index, { info, seq }] of some.entries()) {
        const bytes = entries[index];
        const hit = bytes && hitOf(info, seq, bytes, wanted);
        if (hit !== undefined) items.push(hit);
      }
    }
    cursor = page.cursor;
    if (cursor === undefined || items.length >= limit) break;
  }
  return cursor === undefined ? { items } : { items, cursor };
}

async function find(store: Pick<Store, "search">, query: SearchQuery): Promise<FoundPage> {
  try {
    return await store.search(query);
  } catch (error) {
    if (error instanceof RangeError) throw new ProtocolError("bad-frame", "cursor: not one of ours");
    throw error;
  }
}

function hitOf(
  { id, agent, owner, title }: SessionInfo,
  seq: number,
  bytes: Uint8Array,
  wanted: Wanted,
): SearchHit | undefined {
  const frame = decodeTrusted(bytes) as EventFrame;
  const found = textOf(frame.event);
  if (found === undefined) return undefined;
  const said = frame.event.type === "message" ? frame.event.message : undefined;
  return {
    session: id,
    agent,
    owner,
    ...(title === undefined ? {} : { title }),
    seq,
    at: frame.at,
    ...(said === undefined ? {} : { message: said.id, author: said.author }),
    ...snippetOf(found.text, wanted),
  };
}
