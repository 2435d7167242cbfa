/**
 * One short function per request: what it needs from the caller's rights, what it asks of the runtime, what `ok` carries.
 * Owns that mapping; validation came before (inbound.ts), decisions are the session's, errors the dispatch's.
 */
import type { RequestType, ResultOf } from "../../protocol/frames.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import { checkPayload } from "../../protocol/values.ts";
import * as commands from "../session/commands.ts";
import { createSession } from "../session/create.ts";
import { readHistory } from "../session/history.ts";
import { SERVER_SCOPE } from "../tool/registry.ts";
import { allows } from "../auth/identity.ts";
import { command, enter } from "./context.ts";
import type { Handler } from "./context.ts";
import { listAgents, listSessions, listTools } from "./lists.ts";

/** Messages in a page of history. */
const HISTORY_LIMIT = 50;

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
      readHistory(context.runtime.store, session.state, frame.cursor, frame.limit ?? HISTORY_LIMIT),
    ),
  listAgents,
  listTools,
  offerTools,
  async drain({ runtime, identity }) {
    runtime.router.drain(identity.provider);
    return {};
  },
  async withdrawTools({ runtime, identity }, frame) {
    runtime.router.withdraw(identity.provider, frame.names);
    return {};
  },
  async refreshToken({ connection }, frame) {
    await connection.refreshToken(frame.token);
    return {};
  },
};
