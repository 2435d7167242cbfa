/**
 * Which calls of a run wait for people: those that the tool's or the agent's rules ask about and no earlier word allows,
 * and every call of `ask`. Owns which rules join for a call and what an edited input must keep; the request itself is
 * tool/request.ts's.
 */
import type { ApprovalRule, JsonValue } from "../../protocol/content.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { Allowance } from "../../protocol/people.ts";
import { allowanceFor, asks, DEFAULT_EXPIRY_MS, joined, questionTerms, rulesFor } from "../tool/approval.ts";
import { ASK, readQuestions } from "../tool/ask.ts";
import type { PreparedCall } from "../tool/context.ts";
import { DELEGATE } from "../tool/delegate.ts";
import { SERVER_SCOPE } from "../tool/registry.ts";
import type { RegisteredTool } from "../tool/registry.ts";
import { openingOf, prepareAsked } from "../tool/request.ts";
import type { AskedCall as RequestedCall } from "../tool/request.ts";
import { compileSchema } from "../tool/schema.ts";
import { isEnding } from "./context.ts";
import type { RunContext } from "./context.ts";

type Call = Pick<RequestedCall, "call" | "tool" | "input">;
type Prepare = RequestedCall["prepare"];

/** What is wrong with an input; undefined when the tool takes it. */
export function faultOf(tool: RegisteredTool, input: JsonValue): string | undefined {
  const fault = compileSchema(tool.specification.inputSchema)(input);
  if (fault !== undefined || tool.specification !== ASK) return fault;
  const read = readQuestions(input);
  return typeof read === "string" ? read : undefined;
}

/** The call behind a new request; undefined when nobody needs to be asked. Under the session's lock. */
export function askFirst(
  context: RunContext,
  call: Call,
  tool: RegisteredTool,
  prepare: Prepare,
  elsewhere: () => readonly Allowance[],
): PreparedCall | undefined {
  const now = context.services.now();
  const requester = context.actor.id;
  if (tool.specification === ASK) {
    const read = readQuestions(call.input);
    const to = typeof read === "string" ? undefined : read.to;
    const terms = { ...questionTerms(to), expiresInMs: DEFAULT_EXPIRY_MS };
    const opening = openingOf("question", call, terms, now);
    return prepareAsked(requested(context, call, prepare), opening.request, services(context), opening);
  }
  const terms = termsOf(context, call, tool);
  if (terms === undefined) return undefined;
  const others = isEverywhere(tool) ? elsewhere() : [];
  if (allowanceFor({ ...call, requester }, terms, context.state(), others) !== undefined) return undefined;
  const opening = openingOf("approval", call, terms, now);
  return prepareAsked(requested(context, call, prepare), opening.request, services(context), opening);
}

/** The call behind a request that the log has. */
export function resumeAsked(
  context: RunContext,
  call: Call,
  request: string,
  prepare: Prepare,
): PreparedCall {
  return prepareAsked(requested(context, call, prepare), request, services(context));
}

function services({ services, answers }: RunContext): Parameters<typeof prepareAsked>[2] {
  return { ...services, answers };
}

/** Whether what was said in other sessions may let a call through: only then it need be known. */
export function mayBeAllowedElsewhere(context: RunContext, call: Call, tool: RegisteredTool): boolean {
  return isEverywhere(tool) && termsOf(context, call, tool)?.remember === true;
}

/** A session's own tool is not that of another session, whatever its name; nor is an agent's team that of another. */
function isEverywhere({ scope, specification }: RegisteredTool): boolean {
  return scope === SERVER_SCOPE && specification !== ASK && specification.name !== DELEGATE;
}

/** Undefined where nobody is asked about a call. */
function termsOf(
  context: RunContext,
  { input }: Call,
  tool: RegisteredTool,
): ReturnType<typeof joined> | undefined {
  const asking = rulesOf(context, tool).filter((rule) => asks(rule, input));
  return asking.length === 0 ? undefined : joined(asking);
}

function rulesOf(context: RunContext, { specification }: RegisteredTool): ApprovalRule[] {
  const own = specification.approval === undefined ? [] : [specification.approval];
  return [...own, ...rulesFor(context.agent.approvals, specification.name)];
}

function requested(context: RunContext, call: Call, prepare: Prepare): RequestedCall {
  return {
    ...call,
    requester: context.actor.id,
    everywhere: () =>
      context.tools().some((tool) => tool.specification.name === call.tool && isEverywhere(tool)),
    state: () => context.state(),
    cancelled: () => isEnding(context),
    prepare,
    /** The tool's schema holds, and no rule that did not ask about the first input asks about this one. */
    faultOf(input) {
      const tool = context.tools().find(({ specification }) => specification.name === call.tool);
      if (tool === undefined) return new ProtocolError("unavailable", `nobody offers ${call.tool} now`);
      const fault = faultOf(tool, input);
      if (fault !== undefined) return new ProtocolError("bad-frame", `input: ${fault}`);
      const stricter = rulesOf(context, tool).some((rule) => asks(rule, input) && !asks(rule, call.input));
      return stricter
        ? new ProtocolError(
            "forbidden",
            "input: another rule asks about this one, and it is not what is asked here",
          )
        : undefined;
    },
  };
}
