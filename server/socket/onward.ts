/**
 * The requests by which a conversation goes on in another way: its context summarized, a fork of it, a
 * run asked for again. Owns which command of the session each is.
 */
import { fork as forkSession } from "../session/fork.ts";
import { retry as retryRun } from "../session/retry.ts";
import type { Handler } from "./context.ts";

const compact: Handler<"compact"> = async ({ identity }, _frame, session) => {
  const { seq } = await session.compactor.run(identity);
  return { seq };
};

const fork: Handler<"fork"> = async ({ runtime, identity }, frame, { state }) => {
  runtime.definitions.require(state.session.agent);
  return forkSession(runtime.registry, runtime.store, identity, state, frame);
};

const retry: Handler<"retry"> = ({ runtime, identity }, frame, session) =>
  retryRun(session, identity, frame, runtime);

export const onward = { compact, fork, retry };
