/**
 * The requests that list: sessions, agents, tools, what was used. Owns paging and the rule that a page fits one frame, in
 * bytes and in values; what is in a list is filtered by who asks.
 */
import { ProtocolError } from "../../protocol/errors.ts";
import { measure } from "../../protocol/values.ts";
import { forbidden, mayRead } from "../session/access.ts";
import { decodeInfo, listedInfo } from "../session/listing.ts";
import { withUnread } from "../session/marks.ts";
import { frameRoom } from "../session/snapshot.ts";
import { matches } from "../session/watches.ts";
import type { ListPage, ListQuery, Store } from "../store/store.ts";
import { SERVER_SCOPE } from "../tool/registry.ts";
import { allows } from "../auth/identity.ts";
import type { Handler } from "./context.ts";

const SESSIONS = 50;
/** As many listed infos fit a frame, whatever their titles and metadata. */
const MAX_SESSIONS = 100;
/** Pages of the store that one filtered list may read. */
const MAX_PAGES = 10;

export const listSessions: Handler<"listSessions"> = async ({ runtime, identity }, frame) => {
  const limit = Math.min(frame.limit ?? SESSIONS, MAX_SESSIONS);
  const items = [];
  let { cursor } = frame;
  for (let pages = 0; pages < MAX_PAGES; pages++) {
    const listed = await listStore(runtime.store, {
      limit: limit - items.length,
      ...(cursor === undefined ? {} : { cursor }),
      ...(allows(identity, "watch") ? {} : { reader: identity.actor.id }),
    });
    for (const { id, index } of listed.items) {
      const held = runtime.registry.peek(id);
      // The page may be older than a role's end.
      if (held !== undefined && !mayRead(identity, held.state)) continue;
      const info = held === undefined ? decodeInfo(index) : listedInfo(held.state.session);
      if (matches(frame, info)) items.push(info);
    }
    cursor = listed.cursor;
    if (cursor === undefined || items.length >= limit) break;
  }
  const told = await withUnread(runtime.store, items, identity.actor.id);
  return cursor === undefined ? { items: told } : { items: told, cursor };
};

async function listStore(store: Store, query: ListQuery): Promise<ListPage> {
  try {
    return await store.list(query);
  } catch (error) {
    if (error instanceof RangeError) throw new ProtocolError("bad-frame", "cursor: not one of ours");
    throw error;
  }
}

export const listAgents: Handler<"listAgents"> = async ({ runtime, identity }, frame) => {
  const { definitions } = runtime;
  const names = definitions.names().filter((name) => allows(identity, "create", name));
  const listed = names.map((name) => {
    const { description, model, tools, members } = definitions.require(name);
    return {
      name,
      description,
      model,
      tools: [...tools],
      ...(members.length === 0 ? {} : { members: [...members] }),
      ...(definitions.isPut(name) ? { put: true as const } : {}),
    };
  });
  return page(listed, frame);
};

export const listTools: Handler<"listTools"> = async ({ runtime }, frame, session) => {
  const tools = runtime.tools.visible([], session?.id ?? SERVER_SCOPE).map((tool) => {
    const { approval: _, outputSchema, ...specification } = tool.specification;
    const scope = tool.scope === SERVER_SCOPE ? ("server" as const) : ("session" as const);
    return {
      ...specification,
      ...(outputSchema === undefined ? {} : { outputSchema }),
      scope,
      ...runtime.router.load(tool),
    };
  });
  return page(tools, frame);
};

export const usage: Handler<"usage"> = async ({ runtime, identity }, { user = identity.actor.id }) => {
  if (user !== identity.actor.id && !allows(identity, "admin"))
    throw forbidden("what another user used is for the right admin");
  return runtime.spending.of(user);
};

/** A page of a list that is sorted by name; the cursor is the last name of the page before. */
function page<T extends { readonly name: string }>(
  all: readonly T[],
  { cursor, limit = 200 }: { cursor?: string | undefined; limit?: number | undefined },
): { items: T[]; cursor?: string } {
  const rest = cursor === undefined ? all : all.filter(({ name }) => name > cursor);
  const room = frameRoom();
  let { bytes, items: values } = room;
  const items: T[] = [];
  for (const item of rest.slice(0, limit)) {
    const size = measure(item);
    bytes -= size.bytes;
    values -= size.items;
    if (items.length > 0 && (bytes < 0 || values < 0)) break;
    items.push(item);
  }
  return rest.length > items.length ? { items, cursor: items.at(-1)!.name } : { items };
}
