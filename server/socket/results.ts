/**
 * What a provider says of its calls: accepted, progress, result, and on its return what it works on. Owns what only the log
 * knows: the verdict of a result that no open call waits for, and that a call has ended. Results of open calls are the
 * router's. These frames have no id and get no `ok`.
 */
import { setTimeout as pause } from "node:timers/promises";
import { decodeTrusted } from "../../protocol/codec.ts";
import type { Message, Verdict } from "../../protocol/content.ts";
import type { EventFrame } from "../../protocol/entries.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { ClientFrameOf, SessionState } from "../../protocol/frames.ts";
import { checkPayload } from "../../protocol/values.ts";
import { allows, type Identity } from "../auth/identity.ts";
import { mayAs } from "../session/access.ts";
import type { Session } from "../session/session.ts";
import type { GivenResult } from "../tool/ticket.ts";
import { attemptKey } from "../tool/tool.ts";
import type { CallReference } from "../tool/tool.ts";
import type { Context } from "./context.ts";
import { toProtocolError } from "./foreign.ts";

const LOG_PAGE = 250;
/** Between two looks at a log that cannot be read now; doubles up to the second. */
const FIRST_RETRY_MS = 250;
const MAX_RETRY_MS = 10_000;
/** Late results of one connection that are noted in logs; further ones get their verdict only. */
const MAX_AUDITED = 1000;
/** Attempts that one connection may have looked up on its provider's return: as many as one offer may name. */
const MAX_RETURNED = 10_000;

export const notices = {
  callAccepted(context: Context, frame: ClientFrameOf<"callAccepted">): void {
    const { runtime, identity } = context;
    if (mayAnswerOpen(context, frame)) runtime.router.accepted(identity.provider, frame);
  },
  callProgress(context: Context, frame: ClientFrameOf<"callProgress">): void {
    const { runtime, identity } = context;
    if (mayAnswerOpen(context, frame) && fits("progress", frame.progress))
      runtime.router.progress(identity.provider, frame, frame.progress);
  },
  callResult(context: Context, frame: ClientFrameOf<"callResult">): void {
    const { runtime, identity, connection } = context;
    const reference = { session: frame.session, call: frame.call, attempt: frame.attempt };
    const answer = fits("output", frame.output)
      ? { output: frame.output, error: frame.error }
      : { error: { code: "too-large", message: "the output is over the limit of a payload" } };
    const again = (): void => void findVerdict(context, result);
    const result: GivenResult = { id: identity.provider, host: connection, reference, answer, again };
    if (!mayAnswerOpen(context, reference) || !runtime.router.result(result)) again();
  },
} as const;

/**
 * Has the log say what becomes of a result that no open call waits for. A provider says nothing twice on one socket: as
 * long as the store does not answer and the socket lasts, the log is asked again.
 */
async function findVerdict(context: Context, result: GivenResult): Promise<void> {
  const { runtime, connection } = context;
  const { id, reference } = result;
  // The offer that follows a resent result no longer names its call, and may be quicker than the log.
  const settled = runtime.router.expectResult(id, reference);
  try {
    for (let ms = FIRST_RETRY_MS; !connection.gone; ms = Math.min(MAX_RETRY_MS, 2 * ms)) {
      try {
        const verdict = await lateVerdict(context, reference);
        if (verdict === undefined) runtime.router.resultByLog(result);
        else connection.acknowledgeResult(reference, verdict);
        return;
      } catch (error) {
        const { retryable } = toProtocolError(error);
        runtime.log.error(
          { session: reference.session, err: error, retryable },
          "a late result has no verdict",
        );
        if (!retryable) return;
        await pause(ms, undefined, { ref: false });
      }
    }
  } finally {
    settled();
  }
}

/**
 * Tells a provider that returns to stop what has ended while it was away, or ends now. Nobody waits for it: one session
 * after the other is looked at, each attempt once on a connection.
 */
export async function stopEnded(context: Context, working: readonly CallReference[]): Promise<void> {
  const { connection, runtime, identity, returned } = context;
  for (const { session, call, attempt } of working) {
    const reference = { session, call, attempt };
    const name = attemptKey(reference);
    if (returned.has(name)) continue;
    if (returned.size >= MAX_RETURNED || connection.gone) return;
    returned.add(name);
    if (runtime.router.isOpen(identity.provider, reference) && !isCancelled(context, session)) continue;
    try {
      const verdict = await lateVerdict(context, reference, false);
      if (verdict !== undefined || isCancelled(context, session)) connection.cancelCall(reference, "ended");
    } catch (error) {
      runtime.log.warn({ session, err: error }, "a call that a provider works on was not looked up");
    }
  }
}

/** Its run is being cancelled: whoever has an attempt that was given up is not told by the call. */
function isCancelled({ runtime }: Context, session: string): boolean {
  return runtime.registry.peek(session)?.state.run?.cancelRequested !== undefined;
}

/** False for an open call of a tool that its provider may not provide any more. Whose call it is, the router knows. */
function mayAnswerOpen({ runtime, identity }: Context, { session, call }: CallReference): boolean {
  const state = runtime.registry.peek(session)?.state;
  const open = state?.calls.find((item) => item.call === call);
  return state === undefined || open === undefined || mayProvide(identity, state, open.tool);
}

function mayProvide(identity: Identity, state: SessionState, tool: string): boolean {
  return allows(identity, "provide", tool) || mayAs("editor", identity, state);
}

function fits(name: string, value: unknown): boolean {
  try {
    checkPayload(name, value);
    return true;
  } catch {
    return false;
  }
}

/** undefined: the attempt is open after all, and its verdict comes with its outcome. */
async function lateVerdict(
  context: Context,
  reference: CallReference,
  isResult = true,
): Promise<Verdict | undefined> {
  const { runtime, identity } = context;
  try {
    return await runtime.registry.with(reference.session, async (session) => {
      const isOpen = (): boolean => session.state.calls.some(({ call }) => call === reference.call);
      // A provider that is back before recovery has come to the session: nobody else would answer it later.
      if (isOpen()) await session.slot.recover();
      const past = await findCall(context, session, reference);
      // A provider that was never given the attempt learns nothing, not even that the call exists.
      if (past.provider !== identity.provider) return "unknown";
      if (past.tool === undefined || !mayProvide(identity, session.state, past.tool)) return "unknown";
      if (isOpen()) return undefined;
      if (past.resultAttempt === reference.attempt && past.answered) return "duplicate";
      if (isResult) await audit(context, session, reference);
      return "stale";
    });
  } catch (error) {
    if (error instanceof ProtocolError && error.code === "not-found") return "unknown";
    throw error;
  }
}

function toolOf({ parts }: Message, call: string): string | undefined {
  for (const part of parts)
    if (part.type === "dynamic-tool" && part.toolCallId === call) return part.toolName;
  return undefined;
}

/** Notes a stale result in the log, once for each that a connection sends, so that repeating it makes no log grow. */
async function audit({ audited }: Context, session: Session, reference: CallReference): Promise<void> {
  const { call, attempt } = reference;
  const name = `${session.id}/${call}/${attempt}`;
  if (audited.has(name) || audited.size >= MAX_AUDITED) return;
  audited.add(name);
  const body = { type: "tool-audit", call, attempt, verdict: "stale" } as const;
  await session.exclusive(() => session.append([{ body }]));
}

interface PastCall {
  tool?: string | undefined;
  /** Who had the attempt. */
  provider?: string;
  resultAttempt?: number;
  /** The call's outcome was somebody's answer. */
  answered: boolean;
}

/** What the log says of an attempt. */
async function findCall({ runtime }: Context, session: Session, reference: CallReference): Promise<PastCall> {
  const found: PastCall = { answered: false };
  const message = session.state.messages.find((item) =>
    item.parts.some((part) => part.type === "dynamic-tool" && part.toolCallId === reference.call),
  );
  for (let cursor = (message?.seq ?? 1) - 1; cursor < session.state.seq;) {
    const page = await runtime.store.read(session.id, cursor, LOG_PAGE);
    if (page.length === 0) break;
    for (const { seq, bytes } of page) {
      cursor = seq;
      const { event } = decodeTrusted(bytes) as EventFrame;
      if (event.type === "message") found.tool ??= toolOf(event.message, reference.call);
      if (
        event.type === "tool-dispatched" &&
        event.call === reference.call &&
        event.attempt === reference.attempt
      ) {
        found.provider = event.provider;
      } else if (event.type === "tool-result" && event.call === reference.call) {
        if (event.attempt !== undefined) found.resultAttempt = event.attempt;
        found.answered = !["timeout", "outcome-unknown", "unavailable"].includes(event.outcome);
        return found;
      }
    }
  }
  return found;
}
