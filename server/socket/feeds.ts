/**
 * The requests that look across sessions: what waits for the caller's answer, and being told as soon as something changes.
 * Owns the paging of the first; who watches is kept by the runtime's watches, which ask for rights at every delivery.
 */
import { ProtocolError } from "../../protocol/errors.ts";
import type { ListedRequest, ResultOf } from "../../protocol/frames.ts";
import { SESSION_ID } from "../../protocol/ids.ts";
import { measure } from "../../protocol/values.ts";
import { allows } from "../auth/identity.ts";
import { answerable, askingOf, decodeAsking, listed } from "../session/asking.ts";
import { frameRoom } from "../session/snapshot.ts";
import type { Handler } from "./context.ts";

const REQUESTS = 50;
/** Sessions that are looked at together, and how often, before a page is sent as it is. */
const SESSIONS = 50;
const MAX_PAGES = 10;

const listRequests: Handler<"listRequests"> = async ({ runtime, identity }, frame) => {
  const limit = frame.limit ?? REQUESTS;
  const start = startOf(frame.cursor);
  const reader = allows(identity, "watch") ? {} : { reader: identity.actor.id };
  let { bytes, items: values } = frameRoom();
  const items: ListedRequest[] = [];
  let { from } = start;
  for (let pages = 0; pages < MAX_PAGES; pages++) {
    const page = await runtime.store.asked({ ...reader, from, limit: SESSIONS });
    for (const { id, requests } of page) {
      const held = runtime.registry.peek(id);
      // The page may be older than what is committed now.
      const asking = held === undefined ? decodeAsking(requests) : askingOf(held.state);
      if (asking === undefined) continue;
      for (const request of answerable(identity, asking)) {
        if (id === start.from && start.after !== undefined && request.request <= start.after) continue;
        const item = listed(id, asking, request);
        const size = measure(item);
        bytes -= size.bytes;
        values -= size.items;
        const last = items.at(-1);
        if (last !== undefined && (items.length === limit || bytes < 0 || values < 0))
          return { items, cursor: `${last.session}.${last.request.request}` };
        items.push(item);
      }
    }
    const last = page.at(-1);
    if (last === undefined || page.length < SESSIONS) return { items };
    from = `${last.id}-`;
  }
  // What sorts first after an id is that id and the first sign that ids are made of.
  return { items, cursor: from } satisfies ResultOf<"listRequests">;
};

/** A cursor is a session, or a session and the last of its requests that was listed. */
function startOf(cursor: string | undefined): { from: string; after?: string } {
  if (cursor === undefined) return { from: "" };
  const dot = cursor.indexOf(".");
  const from = dot < 0 ? cursor : cursor.slice(0, dot);
  if (!SESSION_ID.test(dot < 0 ? from.slice(0, -1) : from))
    throw new ProtocolError("bad-frame", "cursor: not one of ours");
  return dot < 0 ? { from } : { from, after: cursor.slice(dot + 1) };
}

export const feeds = {
  listRequests,
  watch({ runtime, connection }, { sessions, requests }) {
    runtime.watches.begin(connection, { sessions, requests });
    return Promise.resolve({});
  },
  unwatch({ runtime, connection }) {
    runtime.watches.end(connection);
    return Promise.resolve({});
  },
} satisfies { readonly [T in "listRequests" | "watch" | "unwatch"]: Handler<T> };
