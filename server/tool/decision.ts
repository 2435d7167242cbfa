/**
 * What one answer means for an open request. Owns the one decision: refused, counted, repeated, or the answer that
 * completes the rule; asked under the session's lock, so that of many answers at once one is that. Never writes.
 */
import { isDeepStrictEqual } from "node:util";
import type { Actor, JsonValue } from "../../protocol/content.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { OpenRequest, SessionState } from "../../protocol/frames.ts";
import type { Allower, GivenAnswer, Questions, Remember } from "../../protocol/people.ts";
import { measure } from "../../protocol/values.ts";
import { mayAnswer } from "./approval.ts";
import { checkAnswers } from "./ask.ts";

/** An input larger than this, in bytes, is not remembered. */
const MAX_REMEMBERED_INPUT = 1024;

/** What somebody says to a request. `admin`: by a right that is not membership. */
export interface Answer {
  readonly user: Actor;
  readonly admin: boolean;
  readonly decision?: "approve" | "deny" | undefined;
  readonly answers?: JsonValue | undefined;
  readonly reason?: string | undefined;
  readonly input?: JsonValue | undefined;
  readonly remember?: Remember | undefined;
}

export interface Asked {
  readonly requester: string;
  /** What the model asked for. */
  readonly input: JsonValue;
  readonly state: SessionState;
  /** Why nobody may approve this other input; undefined when it is fine. */
  readonly faultOf: (input: JsonValue) => ProtocolError | undefined;
}

export type Meaning =
  | { readonly type: "denied" }
  /** `input`: the edited one. */
  | {
      readonly type: "approved";
      readonly by: readonly Allower[];
      readonly input?: JsonValue;
      readonly remember?: Remember;
    }
  | { readonly type: "answered"; readonly answers: JsonValue }
  /** One of several that are needed. */
  | { readonly type: "counted"; readonly input?: JsonValue }
  /** Said before, in the entry at `seq`. */
  | { readonly type: "repeated"; readonly seq: number };

/** Throws ProtocolError: `forbidden`, `bad-frame`, `conflict` (what he approves is not what is asked any more). */
export function decide(request: OpenRequest, answer: Answer, asked: Asked): Meaning {
  const { decision } = answer;
  if (!mayAnswer(request, asked.requester, answer, asked.state))
    throw new ProtocolError("forbidden", "this request is not for you to answer");
  if (request.kind === "question" && (answer.input !== undefined || answer.remember !== undefined))
    throw new ProtocolError("bad-frame", "a question takes answers, no input and nothing to remember");
  if (decision === "deny") {
    if (answer.answers !== undefined || answer.input !== undefined || answer.remember !== undefined)
      throw new ProtocolError("bad-frame", "a denial takes a reason and nothing else");
    return { type: "denied" };
  }
  if (request.kind === "question") {
    if (answer.answers === undefined) throw new ProtocolError("bad-frame", "answers: a question needs them");
    checkAnswers(request.subject as Questions, answer.answers);
    return { type: "answered", answers: answer.answers };
  }
  if (decision === undefined) throw new ProtocolError("bad-frame", "decision: an approval needs one");
  if (answer.answers !== undefined) throw new ProtocolError("bad-frame", "answers: nothing was asked");
  return approve(request, answer, asked);
}

function approve(request: OpenRequest, answer: Answer, asked: Asked): Meaning {
  const { approvals: before = [], count = 1 } = request;
  const inputOf = (item: { readonly input?: JsonValue | undefined }): JsonValue => item.input ?? asked.input;
  const last = before.at(-1);
  const input = inputOf(answer);
  if (answer.input === undefined && last !== undefined && !isDeepStrictEqual(inputOf(last), input))
    throw new ProtocolError("conflict", "the input was edited: name the one that you approve", {
      details: { request: request.request, user: last.user.id },
    });
  const edited = !isDeepStrictEqual(input, asked.input);
  if (edited) {
    if (!request.editable) throw new ProtocolError("forbidden", "input: this request takes none");
    const fault = asked.faultOf(input);
    if (fault !== undefined) throw fault;
  }
  checkRemember(request, answer, input);
  const change = edited ? { input } : {};
  const own = before.find((item) => item.user.id === answer.user.id);
  if (own !== undefined && same(own, answer) && isDeepStrictEqual(inputOf(own), input))
    return { type: "repeated", seq: own.seq };
  const counted = before.filter(
    (item) =>
      item.user.id !== answer.user.id &&
      isDeepStrictEqual(inputOf(item), input) &&
      mayAnswer(request, asked.requester, item, asked.state),
  );
  if (counted.length + 1 < count) return { type: "counted", ...change };
  const { remember } = answer;
  const by = [...counted, answer].map(allowerOf);
  const agreed =
    remember !== undefined && counted.every((item) => isDeepStrictEqual(item.remember, remember));
  return { type: "approved", by, ...change, ...(agreed ? { remember } : {}) };
}

function checkRemember(request: OpenRequest, { remember }: Answer, input: JsonValue): void {
  if (remember === undefined) return;
  if (!request.remember) throw new ProtocolError("forbidden", "remember: this request allows one call");
  if (remember.what === "input" && measure(input).bytes > MAX_REMEMBERED_INPUT)
    throw new ProtocolError("too-large", `remember: an input over ${MAX_REMEMBERED_INPUT} bytes`);
}

function same(own: GivenAnswer, answer: Answer): boolean {
  return own.reason === answer.reason && isDeepStrictEqual(own.remember, answer.remember);
}

function allowerOf({ user, admin }: { user: Actor; admin?: boolean | undefined }): Allower {
  return { user, ...(admin ? { admin: true } : {}) };
}
