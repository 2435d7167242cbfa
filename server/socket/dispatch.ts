/**
 * Dispatch: frame → handler → answer. Owns the one place where errors become frames (a foreign one is `internal`, logged
 * and never sent) and what a connection leaves behind when it is gone. Never knows what a request means (handlers.ts).
 */
import type { ClientFrame } from "../../protocol/frames.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { Runtime } from "../runtime.ts";
import { mayEnter } from "../session/access.ts";
import { SessionDropped } from "../session/services.ts";
import { StoreDamagedError, StoreUnavailableError } from "../store/store.ts";
import { allows } from "../auth/identity.ts";
import type { Connection, Dispatch } from "./connection.ts";
import type { Context } from "./context.ts";
import { handlers } from "./handlers.ts";
import { errorFrame } from "./inbound.ts";
import { onward } from "./onward.ts";
import { notices } from "./results.ts";
import { abandonImports, transfers } from "./transfer.ts";

const requests = { ...handlers, ...onward, ...transfers };

export function createDispatch(runtime: Runtime): Dispatch {
  const contexts = new WeakMap<Connection, Context>();
  const contextOf = (connection: Connection): Context => {
    let context = contexts.get(connection);
    if (context === undefined) {
      const shared = { runtime, connection, attached: new Map(), audited: new Set<string>() };
      contexts.set(connection, (context = { ...shared, ...whoIs(connection) }));
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
      handler(context, frame as never, reply).then(
        (result) => {
          if (result !== undefined) reply(result);
        },
        (error: unknown) => refuse(connection, error, frame),
      );
    },
    gone(connection, successor) {
      const { attached, identity } = contextOf(connection);
      for (const session of attached.values()) session.feed.detach(connection);
      attached.clear();
      abandonImports(connection);
      runtime.router.gone(identity.provider, connection, successor !== undefined);
    },
    changed(connection) {
      const context = { ...contextOf(connection), ...whoIs(connection) };
      contexts.set(connection, context);
      for (const [id, session] of context.attached) {
        if (mayEnter(context.caller, session.state.members)) continue;
        session.feed.detach(connection);
        context.attached.delete(id);
        connection.send({ type: "detached", session: id, reason: "forbidden" });
      }
    },
  };
}

function whoIs(connection: Connection): Pick<Context, "identity" | "caller"> {
  const identity = connection.identity!;
  return { identity, caller: { actor: identity.actor, everything: allows(identity, "admin") } };
}

/** Any error as one that may be sent. */
function toProtocolError(error: unknown): ProtocolError {
  if (error instanceof ProtocolError) return error;
  if (error instanceof StoreUnavailableError || error instanceof SessionDropped) {
    const wait = (error as { retryAfterMs?: number }).retryAfterMs;
    return new ProtocolError("unavailable", "the store cannot be used now", {
      retryAfterMs: wait ?? 1000,
      cause: error,
    });
  }
  if (error instanceof StoreDamagedError) {
    return new ProtocolError("internal", "the session's log is damaged", { retryable: false, cause: error });
  }
  return new ProtocolError("internal", "internal error", { cause: error });
}
