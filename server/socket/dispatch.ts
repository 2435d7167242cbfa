/**
 * Dispatch: frame → right → handler → answer. Owns the one place where errors become frames (a foreign one is `internal`, logged
 * and never sent) and what a connection leaves behind when it is gone. Never knows what a request means (handlers.ts).
 */
import type { ClientFrame } from "../../protocol/frames.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import { openAudit, type Audit } from "../observe/audit.ts";
import type { Runtime } from "../runtime.ts";
import { authorize, forbidden, mayAs } from "../session/access.ts";
import type { Session } from "../session/session.ts";
import { allows, type Identity } from "../auth/identity.ts";
import { rightOf } from "../auth/rights.ts";
import { SERVER_SCOPE, type Scope } from "../tool/registry.ts";
import { record } from "./audited.ts";
import type { Connection, Dispatch } from "./connection.ts";
import type { Context, Handler } from "./context.ts";
import { feeds } from "./feeds.ts";
import { handlers } from "./handlers.ts";
import { errorFrame } from "./inbound.ts";
import { toProtocolError } from "./foreign.ts";
import { onward } from "./onward.ts";
import { notices } from "./results.ts";
import { abandonImports, transfers } from "./transfer.ts";

/** By the type of the request. Each has a row in FRAME_RIGHTS. */
export const requests = { ...handlers, ...feeds, ...onward, ...transfers };

export function createDispatch(runtime: Runtime, audit: Audit = openAudit(undefined)): Dispatch {
  const contexts = new WeakMap<Connection, Context>();
  const contextOf = (connection: Connection): Context => {
    let context = contexts.get(connection);
    if (context === undefined) {
      context = {
        runtime,
        connection,
        get identity() {
          return connection.identity!;
        },
        attached: new Map(),
        audited: new Set(),
        returned: new Set(),
      };
      contexts.set(connection, context);
    }
    return context;
  };

  const refuse = (connection: Connection, error: unknown, frame: ClientFrame): void => {
    const known = toProtocolError(error);
    if (known.code === "internal")
      runtime.log.error({ connection: connection.id, frame: frame.type, err: error }, "request failed");
    connection.send(errorFrame(known, "id" in frame ? frame.id : undefined));
  };

  return {
    frame(connection, frame) {
      const context = contextOf(connection);
      if (frame.type in notices) {
        notices[frame.type as keyof typeof notices](context, frame as never);
        return;
      }
      const handler = requests[frame.type as keyof typeof requests];
      if (handler === undefined) {
        refuse(
          connection,
          new ProtocolError("unknown-frame", `${frame.type} is not served by this version`),
          frame,
        );
        return;
      }
      const { id } = frame as { id: number };
      const reply = (result: object): void => connection.send({ type: "ok", id, ...result });
      serve(context, frame, handler as Handler<never>, reply).then(
        (result) => {
          record(audit, connection, frame, "ok");
          if (result !== undefined) reply(result);
        },
        (error: unknown) => {
          record(audit, connection, frame, toProtocolError(error).code);
          refuse(connection, error, frame);
        },
      );
    },
    gone(connection, successor) {
      const { attached, identity } = contextOf(connection);
      for (const session of attached.values()) session.feed.detach(connection);
      attached.clear();
      runtime.watches.end(connection);
      abandonImports(connection);
      runtime.router.gone(identity.provider, connection, successor !== undefined);
    },
    changed(connection) {
      const { attached, identity } = contextOf(connection);
      for (const session of attached.values()) session.feed.expel(connection);
      runtime.watches.end(connection, "rights");
      for (const scope of runtime.router.renew(identity.provider, identity)) void keepOffers(runtime, scope);
    },
  };
}

/** Asks the table, then the handler: with the session that the frame names, held in memory, where a role in it is asked. */
async function serve(
  context: Context,
  frame: ClientFrame,
  handler: Handler<never>,
  reply: (result: object) => void,
): Promise<object | undefined> {
  const { roles } = rightOf(frame.type);
  const id = roles !== undefined && "session" in frame ? frame.session : undefined;
  if (id === undefined) {
    permit(context.identity, frame, undefined);
    return handler(context, frame as never, undefined as never, reply);
  }
  return context.runtime.registry.with<object | undefined>(id, (session) => {
    authorize(
      context.identity,
      session.state,
      frame.type,
      "user" in frame ? (frame.user as string) : undefined,
    );
    permit(context.identity, frame, session);
    return handler(context, frame as never, session, reply);
  });
}

/** The right on the server, for each agent or tool that the frame is about. Throws ProtocolError `forbidden`. */
function permit(identity: Identity, frame: ClientFrame, session: Session | undefined): void {
  const { right } = rightOf(frame.type);
  if (right === undefined) return;
  for (const name of subjectsOf(frame, session)) {
    if (!allows(identity, right, name))
      throw forbidden(`needs the right ${name === undefined ? right : `${right}:${name}`}`);
  }
}

function subjectsOf(frame: ClientFrame, session: Session | undefined): readonly (string | undefined)[] {
  const agent = session?.state.session.agent;
  switch (frame.type) {
    case "createSession":
      return [frame.agent];
    case "fork":
      return [agent];
    case "send":
      return frame.agent === undefined || frame.agent === agent ? [] : [frame.agent];
    case "retry":
      // Which agent that is, the log says (session/retry.ts).
      return [];
    case "offerTools":
      return frame.session === undefined ? frame.tools.map(({ name }) => name) : [];
    default:
      return [undefined];
  }
}

/** Takes the offers of a scope from those who may not provide there any more. */
async function keepOffers({ registry, router, log }: Runtime, scope: Scope): Promise<void> {
  if (scope === SERVER_SCOPE) {
    router.keep(scope, (by, tool) => allows(by, "provide", tool));
    return;
  }
  try {
    await registry.with(scope, async ({ state }) => router.keep(scope, (by) => mayAs("editor", by, state)));
  } catch (error) {
    if (error instanceof ProtocolError && error.code === "not-found") return;
    log.warn({ session: scope, err: error }, "whether offers may stay is not known: they go");
    router.keep(scope, (by) => allows(by, "admin"));
  }
}
