/**
 * The requests by which a conversation goes on in another way: its context summarized, a fork of it, a
 * run asked for again. Owns what each needs of the caller's rights; what it does is the session's.
 */
import { ProtocolError } from "../../protocol/errors.ts";
import { fork as forkSession } from "../session/fork.ts";
import { retry as retryRun } from "../session/retry.ts";
import { allows } from "../auth/identity.ts";
import { command, enter } from "./context.ts";
import type { Handler } from "./context.ts";

const compact: Handler<"compact"> = (context, frame) =>
  command(context, frame.session, async (session) => {
    const { seq } = await session.compactor.run(context.caller);
    return { seq };
  });

const fork: Handler<"fork"> = (context, frame) =>
  enter(context, frame.session, async ({ state }) => {
    const { runtime, identity, caller } = context;
    const { agent } = state.session;
    if (!allows(identity, "create", agent))
      throw new ProtocolError("forbidden", `no right to create sessions of ${agent}`);
    runtime.requireAgent(agent);
    return forkSession(runtime.registry, runtime.store, caller, state, frame);
  });

const retry: Handler<"retry"> = ({ runtime, caller }, frame) =>
  runtime.registry.with(frame.session, (session) => retryRun(session, caller, frame, runtime));

export const onward = { compact, fork, retry };
