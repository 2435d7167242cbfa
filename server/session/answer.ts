/**
 * What people say to a session's requests: an answer on its way to the run that waits for it, the reply to one that came
 * too late, and taking back what was allowed. Owns those; what an answer means is decided by the run, under the lock.
 */
import { isDeepStrictEqual } from "node:util";
import { decodeTrusted } from "../../protocol/codec.ts";
import type { EntryBodyOf, EventFrame } from "../../protocol/entries.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { ClientFrameOf } from "../../protocol/frames.ts";
import { roleOf } from "../../protocol/state.ts";
import { allows } from "../auth/identity.ts";
import type { Store } from "../store/store.ts";
import type { Answer } from "../tool/decision.ts";
import { RequestSettled } from "../tool/request.ts";
import { authorize, mayAs } from "./access.ts";
import type { Caller } from "./access.ts";
import { command } from "./commands.ts";
import { REQUESTS } from "./keys.ts";
import type { Session } from "./session.ts";

export type AnswerRequest = Omit<ClientFrameOf<"answer">, "type" | "id" | "session">;

/**
 * Answers a request; the seq of the entry that says it, also when the same person said the same before. Throws
 * ProtocolError `not-found`, `forbidden` (not theirs to answer), `conflict` (it is resolved; `details` say how and by
 * whom), `bad-frame` (answers or an input that do not fit), `too-large`.
 */
export async function answer(
  session: Session,
  caller: Caller,
  frame: AnswerRequest,
  store: Store,
): Promise<{ seq: number }> {
  authorize(caller, session.state, "answer");
  const { actor: user } = caller;
  const admin = allows(caller, "admin") && roleOf(session.state, user.id) !== "owner";
  const { request, ...said } = frame;
  if (session.state.requests.some((item) => item.request === request)) {
    try {
      return { seq: await session.slot.answer(request, { ...said, user, admin }) };
    } catch (error) {
      if (!(error instanceof RequestSettled)) throw error;
    }
  }
  const seq = await store.lookupKey(session.id, REQUESTS, request);
  const [entry] = seq === undefined ? [] : await store.read(session.id, seq - 1, 1);
  const event = entry && (decodeTrusted(entry.bytes) as EventFrame).event;
  if (event?.type !== "request-resolved")
    throw new ProtocolError("not-found", `no request ${request}`, { details: { request } });
  if (saidBefore(event, { ...said, user, admin })) return { seq: entry!.seq };
  const { decision, by = [], reason } = event;
  throw new ProtocolError("conflict", `request ${request} is resolved`, {
    details: {
      request,
      decision,
      by: by.map(({ id, name }) => ({ id, name })),
      ...(reason === undefined ? {} : { reason }),
    },
  });
}

/** Whether the resolution is, or counts, what this person says now. */
function saidBefore(resolved: EntryBodyOf<"request-resolved">, said: Answer): boolean {
  const { by = [], input, answers, decision, reason } = resolved;
  const place = by.findIndex(({ id }) => id === said.user.id);
  return (
    place >= 0 &&
    (said.decision ?? "approve") === decision &&
    (said.input === undefined || isDeepStrictEqual(said.input, input)) &&
    isDeepStrictEqual(said.answers, answers) &&
    // The entry has the reason of the one who decided.
    (place < by.length - 1 || said.reason === reason)
  );
}

/**
 * Takes back what was allowed beyond one call: owners, approvers, who allowed it, and for whom alone it is. Throws
 * `not-found`, `forbidden`.
 */
export function forget(session: Session, caller: Caller, allowance: string): Promise<{ seq: number }> {
  return command(session, caller, "forget", async (state) => {
    const known = state.allowances?.find((item) => item.allowance === allowance);
    if (known === undefined)
      throw new ProtocolError("not-found", `no allowance ${allowance}`, { details: { allowance } });
    const { actor } = caller;
    const own = known.user === actor.id || known.by.some(({ user }) => user.id === actor.id);
    if (!own && !mayAs("approver", caller, state))
      throw new ProtocolError("forbidden", "what was allowed is taken back by owners and approvers");
    const { seq } = await session.append([{ body: { type: "approval-forgotten", allowance }, actor }]);
    return { seq };
  });
}
