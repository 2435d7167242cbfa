/**
 * One short function per request: what it asks of the runtime, what `ok` carries. Owns that mapping; validation (inbound.ts)
 * and rights (dispatch.ts) came before, decisions are the session's, errors the dispatch's.
 */
import type { RequestType } from "../../protocol/frames.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import { checkPayload } from "../../protocol/values.ts";
import { authorize, roleOf } from "../session/access.ts";
import { answer, forget } from "../session/answer.ts";
import * as commands from "../session/commands.ts";
import { createSession } from "../session/create.ts";
import { passFloor, setFloor } from "../session/floor.ts";
import { readHistory } from "../session/history.ts";
import { invite, join, revokeInvite } from "../session/invites.ts";
import { markRead } from "../session/marks.ts";
import { grant, revoke } from "../session/members.ts";
import { search } from "../session/search.ts";
import { SERVER_SCOPE } from "../tool/registry.ts";
import type { Handler } from "./context.ts";
import { listAgents, listSessions, listTools, usage } from "./lists.ts";
import { stopEnded } from "./results.ts";

/** Messages in a page of history. */
const HISTORY_LIMIT = 50;

const attach: Handler<"attach"> = async (context, frame, session, reply) => {
  context.attached.set(session.id, session);
  await session.feed.attach(context.connection, frame, (result) => {
    const role = roleOf(context.identity, session.state);
    reply(role === undefined ? result : { ...result, role });
  });
  return undefined;
};

const offerTools: Handler<"offerTools"> = async (context, frame, session) => {
  const { runtime, connection, identity } = context;
  const offer = { ...frame, scope: session?.id ?? SERVER_SCOPE, by: identity };
  const accepted = runtime.router.offer(identity.provider, connection, offer);
  void stopEnded(context, frame.working ?? []);
  return { accepted };
};

export const handlers: { readonly [T in Exclude<RequestType, "hello">]?: Handler<T> } = {
  async createSession({ runtime, identity }, frame) {
    runtime.definitions.require(frame.agent);
    checkPayload("metadata", frame.metadata);
    return createSession(runtime.registry, runtime.store, identity, frame);
  },
  attach,
  async detach({ connection, attached }, frame) {
    attached.get(frame.session)?.feed.detach(connection);
    attached.delete(frame.session);
    return {};
  },
  async close({ runtime, identity }, _frame, session) {
    try {
      return await commands.close(session, identity);
    } catch (error) {
      if (!(error instanceof ProtocolError) || error.code !== "closed") throw error;
      return { seq: await commands.closedAt(runtime.store, session.state) };
    }
  },
  async deleteSession({ identity }, _frame, session) {
    await commands.remove(session, identity);
    return {};
  },
  async send({ runtime, identity }, frame, session) {
    runtime.checkInput(frame.content);
    return commands.send(session, identity, frame, runtime);
  },
  async editInput({ runtime, identity }, frame, session) {
    runtime.checkInput(frame.content);
    return commands.editInput(session, identity, frame.input, frame.content);
  },
  withdrawInput: ({ identity }, frame, session) => commands.withdrawInput(session, identity, frame.input),
  orderInputs: ({ identity }, frame, session) => commands.orderInputs(session, identity, frame.inputs),
  cancel: ({ identity }, { run, rollback }, session) => commands.cancel(session, identity, run, rollback),
  setFloor: ({ identity }, frame, session) => setFloor(session, identity, frame),
  passFloor: ({ identity }, frame, session) => passFloor(session, identity, frame.to),
  async answer({ runtime, identity }, frame, session) {
    checkPayload("answers", frame.answers);
    checkPayload("input", frame.input);
    return answer(session, identity, frame, runtime.store);
  },
  forget: ({ identity }, frame, session) => forget(session, identity, frame.allowance),
  async updateSession({ identity }, frame, session) {
    checkPayload("metadata", frame.metadata);
    return commands.update(session, identity, frame);
  },
  grant: ({ runtime, identity }, frame, session) =>
    grant(session, identity, frame.user, frame.role, runtime.maxMembers),
  revoke: ({ identity }, frame, session) => revoke(session, identity, frame.user),
  invite: ({ runtime, identity }, frame, session) => invite(session, identity, frame, runtime),
  revokeInvite: ({ identity }, frame, session) => revokeInvite(session, identity, frame.invite),
  join: ({ runtime, identity }, frame) => join(runtime.registry, identity, frame.token, runtime),
  async markRead({ runtime, identity }, frame, { state }) {
    const { id: user } = identity.actor;
    const { seq, messages, unread } = await markRead(runtime.store, state, user, frame.seq);
    runtime.watches.marked(user, { type: "readMarked", session: frame.session, seq, messages });
    return { seq, unread };
  },
  async setPresence({ connection }, frame, session) {
    if (!session.presence.set(connection, frame))
      throw new ProtocolError("conflict", "attach first", { details: { session: session.id } });
    return {};
  },
  listSessions,
  search: ({ runtime, identity }, frame) => search(runtime, identity, frame),
  async history({ runtime, identity }, frame, session) {
    const page = await readHistory(runtime.store, session.state, frame.cursor, frame.limit ?? HISTORY_LIMIT);
    // What was read meanwhile is not for one whose role ended meanwhile.
    authorize(identity, session.state, "history");
    return page;
  },
  listAgents,
  async putAgent({ runtime }, { agent }) {
    const { version } = await runtime.definitions.put(agent);
    return { version };
  },
  async removeAgent({ runtime }, { name }) {
    await runtime.definitions.remove(name);
    return {};
  },
  listTools,
  usage,
  offerTools,
  async drain({ runtime, identity }) {
    runtime.router.drain(identity.provider);
    return {};
  },
  async drainProvider({ runtime }, { provider }) {
    if (!runtime.router.drain(provider))
      throw new ProtocolError("not-found", `no provider ${provider} offers tools`);
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
