/**
 * The requests that look across sessions: what waits for the caller's answer, what the caller's runs are allowed, and being
 * told as soon as something changes. Owns the paging of the lists; who watches is kept by the runtime's watches, which ask
 * for rights at every delivery.
 */
import { ProtocolError } from "../../protocol/errors.ts";
import type { ListedAllowance, ListedRequest } from "../../protocol/frames.ts";
import { SESSION_ID } from "../../protocol/ids.ts";
import { measure } from "../../protocol/values.ts";
import { allows } from "../auth/identity.ts";
import type { Runtime } from "../runtime.ts";
import { allowancesOf } from "../session/allowed.ts";
import {
  answerable,
  askingOf,
  askingPages,
  decodeAsking,
  listed,
  past,
  type Asking,
} from "../session/asking.ts";
import { frameRoom } from "../session/snapshot.ts";
import type { Handler } from "./context.ts";

const ITEMS = 50;
/** Sessions that are looked at together, and how often, before a page is sent as it is. */
const SESSIONS = 50;
const MAX_PAGES = 10;

const listRequests: Handler<"listRequests"> = ({ runtime, identity }, frame) => {
  const reader = allows(identity, "watch") ? undefined : identity.actor.id;
  return pageOf(runtime, reader, frame, (session, asking) =>
    answerable(identity, asking).map((request) => [request.request, listed(session, asking, request)]),
  );
};

const listAllowances: Handler<"listAllowances"> = ({ runtime, identity }, frame) => {
  const { id } = identity.actor;
  return pageOf(runtime, id, frame, (session, asking) =>
    allowancesOf(asking, id).map((allowance) => [allowance.allowance, { session, allowance }]),
  );
};

/** A page of what sessions have to list, in the order of their ids and of the items' in each. */
async function pageOf<T extends ListedRequest | ListedAllowance>(
  { store, registry }: Pick<Runtime, "store" | "registry">,
  reader: string | undefined,
  frame: { readonly cursor?: string | undefined; readonly limit?: number | undefined },
  itemsOf: (session: string, asking: Asking) => readonly (readonly [id: string, item: T])[],
): Promise<{ items: T[]; cursor?: string }> {
  const limit = frame.limit ?? ITEMS;
  const start = startOf(frame.cursor);
  let { bytes, items: values } = frameRoom();
  const items: T[] = [];
  const { from } = start;
  let lastItem = "";
  let pages = 0;
  const which = { ...(reader === undefined ? {} : { reader }), from, limit: SESSIONS };
  for await (const page of askingPages(store, which)) {
    for (const { id: session, requests } of page) {
      const held = registry.peek(session);
      // The page may be older than what is committed now.
      const asking = held === undefined ? decodeAsking(requests) : askingOf(held.state);
      if (asking === undefined) continue;
      for (const [id, item] of itemsOf(session, asking)) {
        if (session === start.from && start.after !== undefined && id <= start.after) continue;
        const size = measure(item);
        bytes -= size.bytes;
        values -= size.items;
        if (items.length > 0 && (items.length === limit || bytes < 0 || values < 0))
          return { items, cursor: `${items.at(-1)!.session}.${lastItem}` };
        items.push(item);
        lastItem = id;
      }
    }
    const last = page.at(-1);
    if (++pages === MAX_PAGES && last !== undefined && page.length === SESSIONS)
      return { items, cursor: past(last) };
  }
  return { items };
}

/** A cursor is a session, or a session and the last of its items that was listed. */
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
  listAllowances,
  watch({ runtime, connection }, { sessions, requests }) {
    runtime.watches.begin(connection, { sessions, requests });
    return Promise.resolve({});
  },
  unwatch({ runtime, connection }) {
    runtime.watches.end(connection);
    return Promise.resolve({});
  },
} satisfies { readonly [T in "listRequests" | "listAllowances" | "watch" | "unwatch"]: Handler<T> };
