/**
 * A call of `delegate`: from the entry that names the session of its task to its one outcome. Owns what of it is in the
 * log of the run that waits; how the task is done is the port's (context.ts), so that a call that is taken up again finds
 * its task instead of giving it twice.
 */
import type { JsonValue } from "../../protocol/content.ts";
import type { EntryBody } from "../../protocol/entries.ts";
import type { OpenCall } from "../../protocol/frames.ts";
import { newId } from "../../protocol/ids.ts";
import type { PreparedCall } from "../tool/context.ts";
import type { DelegatedInput } from "../tool/delegate.ts";
import { resultEntry } from "../tool/outcome.ts";
import { deadlineOf } from "./context.ts";
import type { RunContext } from "./context.ts";

/** `from`: the call as the log left it. */
export function prepareDelegated(
  context: RunContext,
  { call, input }: { readonly call: string; readonly input: JsonValue },
  from?: OpenCall,
): PreparedCall {
  const { session, run, actor, agent, services } = context;
  const startedAt = services.now();
  const child = from?.child ?? newId("ses");
  const given: EntryBody = { type: "tool-delegated", call, child };
  return {
    // A call that the log knows already has no append of its message to share.
    entries: from === undefined ? [given] : [],
    async *run(cancel, stop) {
      if (from !== undefined && from.child === undefined) yield [given];
      const to = input as unknown as DelegatedInput;
      const deadlineAt = deadlineOf(context.state(), agent);
      const task = {
        session,
        run,
        call,
        by: agent.name,
        agent: to.agent,
        child,
        text: to.task,
        actor,
        deadlineAt,
      };
      const end = await context.delegation.run(task, cancel, stop);
      if (end === undefined) return;
      const { usage, ...judgement } = end;
      const result = resultEntry(call, 0, judgement, services.now() - startedAt);
      yield [usage === undefined ? result : { ...result, usage }];
    },
    discard() {},
  };
}
