/**
 * One short function per request: what it needs from the caller's rights, what it asks of the runtime, what `ok` carries.
 * Owns that mapping; validation came before (inbound.ts), decisions are the session's, errors the dispatch's.
 */
import type { ClientFrameOf, RequestType, ResultOf } from "../../protocol/frames.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import { checkPayload } from "../../protocol/values.ts";
import type { Runtime } from "../runtime.ts";
import { mayEnter, notFound } from "../session/access.ts";
import type { Caller } from "../session/access.ts";
import * as commands from "../session/commands.ts";
import { createSession } from "../session/create.ts";
import { readHistory } from "../session/history.ts";
import { decodeInfo, listedInfo } from "../session/listing.ts";
import type { Session } from "../session/session.ts";
import { SERVER_SCOPE } from "../tool/registry.ts";
import { allows } from "./auth.ts";
import type { Identity } from "./auth.ts";
import type { Connection } from "./connection.ts";

/** What a handler knows of who asks. */
export interface Context {
  readonly runtime: Runtime;
  readonly connection: Connection;
  readonly identity: Identity;
  readonly caller: Caller;
  /** Sessions that this connection reads, by id. */
  readonly attached: Map<string, Session>;
}

/** Resolves with what `ok` carries; or calls `reply` itself, when frames must follow the answer at once. */
export type Handler<T extends Exclude<RequestType, "hello">> = (
  context: Context,
  frame: ClientFrameOf<T>,
  reply: (result: ResultOf<T>) => void,
) => Promise<ResultOf<T> | undefined>;

const LIST_LIMIT = 50;
/** Pages of the store that one filtered list may read. */
const LIST_PAGES = 10;

/** The session, held in memory while `use` runs. Throws `not-found` when there is none for this caller. */
function enter<T>(
  { runtime, caller }: Context,
  id: string,
  use: (session: Session) => Promise<T>,
): Promise<T> {
  return runtime.registry.with(id, (session) => {
    if (!mayEnter(caller, session.state.members)) throw notFound(id);
    return use(session);
  });
}

/** For commands, which check under the session's lock whether the caller may enter. */
function command<T>({ runtime }: Context, id: string, run: (session: Session) => Promise<T>): Promise<T> {
  return runtime.registry.with(id, run);
}

const attach: Handler<"attach"> = (context, frame, reply) =>
  enter(context, frame.session, async (session) => {
    context.attached.set(frame.session, session);
    await session.feed.attach(context.connection, frame, reply);
    return undefined;
  });

const send: Handler<"send"> = (context, frame) => {
  const { store, maxQueue } = context.runtime;
  checkPayload("content", frame.content);
  if (frame.agent !== undefined) context.runtime.requireAgent(frame.agent);
  return command(context, frame.session, (session) =>
    commands.send(session, context.caller, frame, { store, maxQueue }),
  );
};

const listSessions: Handler<"listSessions"> = async ({ runtime, caller }, frame) => {
  const limit = frame.limit ?? LIST_LIMIT;
  const items = [];
  let { cursor } = frame;
  for (let pages = 0; pages < LIST_PAGES; pages++) {
    const page = await runtime.store.list({
      limit: limit - items.length,
      ...(cursor === undefined ? {} : { cursor }),
      ...(caller.everything ? {} : { reader: caller.actor.id }),
    });
    for (const { id, index } of page.items) {
      const held = runtime.registry.peek(id);
      const info = held === undefined ? decodeInfo(index) : listedInfo(held.state.session);
      const wanted =
        (frame.agent === undefined || info.agent === frame.agent) &&
        (frame.owner === undefined || info.owner === frame.owner) &&
        (frame.state === undefined || info.state === frame.state);
      if (wanted) items.push(info);
    }
    cursor = page.cursor;
    if (cursor === undefined || items.length >= limit) break;
  }
  return cursor === undefined ? { items } : { items, cursor };
};

const offerTools: Handler<"offerTools"> = async (context, frame) => {
  const { runtime, connection, identity } = context;
  const offer = (scope: string): ResultOf<"offerTools"> => ({
    accepted: runtime.router.offer(identity.provider, connection, { ...frame, scope }),
  });
  if (frame.session !== undefined) return enter(context, frame.session, async (session) => offer(session.id));
  for (const { name } of frame.tools) {
    if (!allows(identity, "provide", name)) {
      throw new ProtocolError("forbidden", `no right to provide ${name}`, { details: { tool: name } });
    }
  }
  return offer(SERVER_SCOPE);
};

const listTools: Handler<"listTools"> = async (context, frame) => {
  const { runtime } = context;
  const list = (session: string): ResultOf<"listTools"> => {
    const tools = runtime.tools.visible([], session).map((tool) => {
      const { approval: _, outputSchema, ...specification } = tool.specification;
      const scope = tool.scope === SERVER_SCOPE ? ("server" as const) : ("session" as const);
      return {
        ...specification,
        ...(outputSchema === undefined ? {} : { outputSchema }),
        scope,
        ...runtime.router.load(tool),
      };
    });
    return page(tools, (tool) => tool.name, frame);
  };
  if (frame.session === undefined) return list(SERVER_SCOPE);
  return enter(context, frame.session, async (session) => list(session.id));
};

/** A page of a short list that is sorted by name; the cursor is the last name of the page before. */
function page<T>(
  all: readonly T[],
  name: (item: T) => string,
  { cursor, limit = 200 }: { cursor?: string | undefined; limit?: number | undefined },
): { items: T[]; cursor?: string } {
  const rest = cursor === undefined ? all : all.filter((item) => name(item) > cursor);
  const items = rest.slice(0, limit);
  return rest.length > items.length ? { items, cursor: name(items.at(-1)!) } : { items };
}

export const handlers: { readonly [T in Exclude<RequestType, "hello">]?: Handler<T> } = {
  async createSession({ runtime, identity, caller }, frame) {
    if (!allows(identity, "create", frame.agent)) {
      throw new ProtocolError("forbidden", `no right to create sessions of ${frame.agent}`);
    }
    runtime.requireAgent(frame.agent);
    checkPayload("metadata", frame.metadata);
    return createSession(runtime.registry, runtime.store, caller, frame);
  },
  attach,
  async detach({ connection, attached }, frame) {
    attached.get(frame.session)?.feed.detach(connection);
    attached.delete(frame.session);
    return {};
  },
  close: (context, frame) =>
    command(context, frame.session, async (session) => {
      try {
        return await commands.close(session, context.caller);
      } catch (error) {
        if (!(error instanceof ProtocolError) || error.code !== "closed") throw error;
        return { seq: await commands.closedAt(context.runtime.store, session.state) };
      }
    }),
  async deleteSession(context, frame) {
    await command(context, frame.session, (session) => commands.remove(session, context.caller));
    return {};
  },
  send,
  async editInput(context, frame) {
    checkPayload("content", frame.content);
    return command(context, frame.session, (session) =>
      commands.editInput(session, context.caller, frame.input, frame.content),
    );
  },
  withdrawInput: (context, frame) =>
    command(context, frame.session, (session) =>
      commands.withdrawInput(session, context.caller, frame.input),
    ),
  cancel: (context, frame) =>
    command(context, frame.session, (session) => commands.cancel(session, context.caller, frame.run)),
  async updateSession(context, frame) {
    checkPayload("metadata", frame.metadata);
    return command(context, frame.session, (session) => commands.update(session, context.caller, frame));
  },
  listSessions,
  history: (context, frame) =>
    enter(context, frame.session, (session) =>
      readHistory(context.runtime.store, session.state, frame.cursor, frame.limit ?? LIST_LIMIT),
    ),
  async listAgents({ runtime, identity }, frame) {
    const agents = runtime
      .agents()
      .map(({ name }) => runtime.getAgent(name)!)
      .filter(({ name }) => allows(identity, "create", name));
    const listed = agents.map(({ name, description, model, tools }) => ({
      name,
      description,
      model,
      tools: [...tools],
    }));
    return page(listed, (agent) => agent.name, frame);
  },
  listTools,
  offerTools,
  async withdrawTools({ runtime, identity }, frame) {
    runtime.router.withdraw(identity.provider, frame.names);
    return {};
  },
};
