/**
 * A call that waits for people: a durable request from its opening to its one resolution, in whose append the call goes
 * out or gets its outcome. Owns those entries and the way answers come in; what an answer means is decision.ts's, what
 * happens to a call that may go on is call.ts's.
 */
import type { Actor, JsonValue } from "../../protocol/content.ts";
import type { EntryBody, EntryBodyOf } from "../../protocol/entries.ts";
import type { ProtocolError } from "../../protocol/errors.ts";
import type { OpenRequest, SessionState } from "../../protocol/frames.ts";
import { newId } from "../../protocol/ids.ts";
import { cutText, measure } from "../../protocol/values.ts";
import type { Terms } from "./approval.ts";
import { decide } from "./decision.ts";
import type { Answer, Meaning } from "./decision.ts";
import type { CallServices, CallStep, PreparedCall } from "./context.ts";
import { Inbox } from "./inbox.ts";
import { CANCELLED, resultEntry } from "./outcome.ts";
import type { Judgement } from "./outcome.ts";

/** A call's input beyond this, in bytes, is left out of its request: its message has it. */
const MAX_SUBJECT = 16 * 1024;
const MAX_NAME = 64;

/** The request was resolved before this answer was looked at. */
export class RequestSettled extends Error {
  override readonly name = "RequestSettled";
}

interface WaitingAnswer {
  readonly request: string;
  readonly answer: Answer;
  readonly settle: (seq: number) => void;
  readonly refuse: (error: Error) => void;
}

type RequestEvent =
  | { readonly type: "answer"; readonly waiting: WaitingAnswer }
  | { readonly type: "expired" | "cancel" | "stop" };

/** Answers on their way to the requests of one run; each gets exactly one reply. */
export class Answers {
  readonly #inboxes = new Map<string, Inbox<RequestEvent>>();
  readonly #waiting = new Set<WaitingAnswer>();
  #closed: Error | undefined;

  /** Resolves with the seq of the entry that says it. Rejects with ProtocolError, or RequestSettled. */
  submit(request: string, answer: Answer): Promise<number> {
    return new Promise((resolve, reject) => {
      if (this.#closed !== undefined) return reject(this.#closed);
      const over = (): void => void this.#waiting.delete(waiting);
      const waiting: WaitingAnswer = {
        request,
        answer,
        settle: (seq) => (over(), resolve(seq)),
        refuse: (error) => (over(), reject(error)),
      };
      this.#waiting.add(waiting);
      this.inbox(request).push({ type: "answer", waiting });
    });
  }

  inbox(request: string): Inbox<RequestEvent> {
    let inbox = this.#inboxes.get(request);
    if (inbox === undefined) this.#inboxes.set(request, (inbox = new Inbox()));
    return inbox;
  }

  /** The request is resolved. */
  finish(request: string): void {
    this.#inboxes.delete(request);
    for (const waiting of this.#waiting)
      if (waiting.request === request) waiting.refuse(new RequestSettled(request));
  }

  /** Nobody looks at answers here any more. */
  close(error: Error): void {
    this.#closed = error;
    for (const waiting of this.#waiting) waiting.refuse(error);
  }
}

export interface AskedCall {
  readonly call: string;
  readonly tool: string;
  readonly input: JsonValue;
  readonly requester: string;
  /** Whether it is the tool of that name in every session; asked when something is to be remembered. */
  readonly everywhere: () => boolean;
  readonly state: () => SessionState;
  /** Whether the log has a cancel of the run; asked under the session's lock. */
  readonly cancelled: () => boolean;
  /** Why nobody may approve this other input. */
  readonly faultOf: (input: JsonValue) => ProtocolError | undefined;
  /** The call itself, once it may go on. */
  readonly prepare: (input: JsonValue) => PreparedCall;
}

/** What a new request says: whom it asks, about what, until when. */
export function openingOf(
  kind: OpenRequest["kind"],
  call: Pick<AskedCall, "call" | "tool" | "input">,
  { expiresInMs, ...terms }: Terms & { readonly expiresInMs: number },
  now: number,
): EntryBodyOf<"request-opened"> {
  const { tool, input } = call;
  const whole = kind === "question" || measure(input).bytes <= MAX_SUBJECT;
  return {
    type: "request-opened",
    request: newId("req"),
    kind,
    call: call.call,
    subject: kind === "question" ? input : whole ? { tool, input } : { tool },
    expiresAt: now + expiresInMs,
    ...terms,
    ...(whole ? {} : { truncated: true }),
  };
}

/** A call behind its request. `opening` is absent when the log has it already. */
export function prepareAsked(
  asked: AskedCall,
  request: string,
  services: CallServices & { readonly answers: Answers },
  opening?: EntryBodyOf<"request-opened">,
): PreparedCall {
  const { answers, now, deadlines } = services;
  const startedAt = now();
  const inbox = answers.inbox(request);

  const resolved = (
    decision: EntryBodyOf<"request-resolved">["decision"],
    more: Omit<Partial<EntryBodyOf<"request-resolved">>, "type"> = {},
  ): EntryBody => ({ type: "request-resolved", request, decision, ...more });
  const ended = (judgement: Judgement): EntryBody => resultEntry(asked.call, 0, judgement, now() - startedAt);

  async function* run(cancel: AbortSignal, stop: AbortSignal): AsyncGenerator<CallStep, void> {
    let ready: PreparedCall | undefined;
    let over = false;
    let going = false;

    /** What the meaning of an answer makes of the request. */
    const act = (meaning: Meaning, { user, admin, reason, remember }: Answer): EntryBody[] => {
      const why = reason === undefined ? {} : { reason };
      const { input } = { input: undefined, ...meaning };
      const edit = input === undefined ? {} : { input };
      switch (meaning.type) {
        case "repeated":
          return [];
        case "counted":
          return [
            {
              type: "request-answered",
              request,
              ...edit,
              ...why,
              ...(remember === undefined ? {} : { remember }),
              ...(admin ? { admin: true } : {}),
            },
          ];
        case "denied": {
          over = true;
          const error = { code: "denied", message: denial(user, reason) };
          return [resolved("deny", { by: [user], ...why }), ended({ outcome: "denied", error })];
        }
        case "answered": {
          over = true;
          const output = { answers: meaning.answers, by: { id: user.id, name: user.name } };
          return [
            resolved("approve", { by: [user], answers: meaning.answers, ...why }),
            ended({ outcome: "ok", output }),
          ];
        }
        case "approved": {
          ready = asked.prepare(input ?? asked.input);
          const by = meaning.by.map((item) => item.user);
          const allowance = meaning.remember === undefined ? [] : [remembered(meaning)];
          return [resolved("approve", { by, ...edit, ...why }), ...allowance, ...ready.entries];
        }
      }
    };
    const remembered = (meaning: Extract<Meaning, { type: "approved" }>): EntryBody => ({
      type: "approval-remembered",
      allowance: newId("alw"),
      request,
      tool: asked.tool,
      ...(meaning.remember!.what === "input" ? { input: meaning.input ?? asked.input } : {}),
      ...(meaning.remember!.for === "user" ? { user: asked.requester } : {}),
      ...(meaning.remember!.for === "user" && asked.everywhere() ? { everywhere: true } : {}),
      by: [...meaning.by],
    });

    /** What is to be committed for an event; asked under the session's lock, so the log and the clock decide. */
    const outcomeOf = (
      answer: Answer | undefined,
      told: { meaning?: Meaning; fault?: Error },
    ): EntryBody[] => {
      const state = asked.state();
      const open = state.requests.find((item) => item.request === request)!;
      if (asked.cancelled()) {
        over = true;
        return [resolved("cancelled"), ended(CANCELLED)];
      }
      if (now() >= open.expiresAt) {
        over = true;
        const what = open.kind === "question" ? "answered" : "allowed it";
        const error = { code: "approval-expired", message: `nobody ${what} in time` };
        return [resolved("expired"), ended({ outcome: "approval-expired", error })];
      }
      if (answer === undefined) return [];
      try {
        told.meaning = decide(open, answer, { ...asked, state });
        return act(told.meaning, answer);
      } catch (error) {
        told.fault = error as Error;
        return [];
      }
    };

    const onCancel = (): void => inbox.push({ type: "cancel" });
    const onStop = (): void => inbox.push({ type: "stop" });
    const opened = asked.state().requests.find((item) => item.request === request);
    const clear = deadlines.at(opened?.expiresAt ?? 0, () => inbox.push({ type: "expired" }));
    try {
      cancel.addEventListener("abort", onCancel);
      stop.addEventListener("abort", onStop);
      if (cancel.aborted) onCancel();
      if (stop.aborted) onStop();
      while (!over && ready === undefined) {
        const event = await inbox.next();
        if (event.type === "stop") return;
        const waiting = event.type === "answer" ? event.waiting : undefined;
        const told: { meaning?: Meaning; fault?: Error } = {};
        let seq: number | undefined;
        yield {
          actor: waiting?.answer.user,
          committed: (first) => (seq = first),
          entries: () => outcomeOf(waiting?.answer, told),
        };
        if (told.meaning?.type === "repeated") ({ seq } = told.meaning);
        if (told.fault !== undefined) waiting?.refuse(told.fault);
        else if (told.meaning !== undefined && seq !== undefined) waiting?.settle(seq);
      }
      answers.finish(request);
      going = ready !== undefined;
    } finally {
      clear();
      cancel.removeEventListener("abort", onCancel);
      stop.removeEventListener("abort", onStop);
      if (!going) ready?.discard();
    }
    if (ready !== undefined) yield* ready.run(cancel, stop);
  }
  return { entries: opening === undefined ? [] : [opening], run, discard: () => answers.finish(request) };
}

/** For the model to read: who said no, and why. Quoted, so that no name or reason can pass for anything else. */
function denial(user: Actor, reason: string | undefined): string {
  const name = cutText(user.name, MAX_NAME);
  return `${JSON.stringify(name)} said no${reason === undefined ? "" : `: ${JSON.stringify(reason)}`}`;
}
