/**
 * The requests by which a conversation goes on in another way: its context summarized. Owns what each needs of the
 * caller's rights; what it does is the session's.
 */
import { command } from "./context.ts";
import type { Handler } from "./context.ts";

const compact: Handler<"compact"> = (context, frame) =>
  command(context, frame.session, (session) => session.compactor.run(context.caller));

export const onward = { compact };
