/**
 * Approval rules: which calls people are asked about, who may answer, and when they are enough. Owns how rules combine
 * to the stricter and whose word counts; pure over the state, never waits for anybody and never writes an entry.
 */
import { isDeepStrictEqual } from "node:util";
import type { Answerers, ApprovalRule, JsonValue, Role } from "../../protocol/content.ts";
import type { OpenRequest, SessionState } from "../../protocol/frames.ts";
import type { Allowance } from "../../protocol/people.ts";
import { roleOf } from "../../protocol/state.ts";
import { matches } from "../auth/identity.ts";
import { compileSchema, mayFit } from "./schema.ts";

export const DEFAULT_EXPIRY_MS = 3_600_000;
/** Whom a request asks where its rule names nobody. */
const DEFAULT_ROLES: Readonly<Record<OpenRequest["kind"], readonly Role[]>> = {
  approval: ["owner", "approver"],
  question: ["owner", "editor", "approver"],
};

/** What a request says of who may answer it and how. */
export type Terms = Pick<OpenRequest, "who" | "count" | "notRequester" | "editable" | "remember">;

/** Throws ProtocolError for a rule that cannot be checked. */
export function checkRule(rule: ApprovalRule): void {
  if (rule.when !== undefined) compileSchema(rule.when);
}

/** Whether people are asked about a call with this input; also when that cannot be found out. */
export function asks(rule: ApprovalRule, input: JsonValue): boolean {
  return rule.mode === "always" || (rule.when !== undefined && mayFit(rule.when, input));
}

/** The rules of an agent that are for this tool: `*` in a name stands for any characters. */
export function rulesFor(rules: Readonly<Record<string, ApprovalRule>>, tool: string): ApprovalRule[] {
  return Object.entries(rules).flatMap(([glob, rule]) => (matches(glob, tool) ? [rule] : []));
}

/** Rules that all ask about one call, as one: whoever answers must be allowed by each, and what one forbids is forbidden. */
export function joined(rules: readonly ApprovalRule[]): Terms & { readonly expiresInMs: number } {
  const who = rules.flatMap(({ by }): Answerers[] =>
    by?.roles === undefined && by?.users === undefined
      ? []
      : [
          {
            ...(by.roles === undefined ? {} : { roles: by.roles }),
            ...(by.users === undefined ? {} : { users: by.users }),
          },
        ],
  );
  const byDefault = rules.some(({ by }) => by?.roles === undefined && by?.users === undefined);
  const clauses = byDefault ? [...who, { roles: [...DEFAULT_ROLES.approval] }] : who;
  const count = Math.max(...rules.map(({ by }) => by?.count ?? 1));
  return {
    who: clauses,
    ...(count > 1 ? { count } : {}),
    ...(rules.some(({ by }) => by?.notRequester) ? { notRequester: true } : {}),
    ...(rules.every(({ editable }) => editable) ? { editable: true } : {}),
    ...(rules.every((rule) => rule.remember) ? { remember: true } : {}),
    expiresInMs: Math.min(...rules.map(({ expiresInMs }) => expiresInMs ?? DEFAULT_EXPIRY_MS)),
  };
}

/** Terms of a question: those of its default, or one named user. */
export function questionTerms(to: string | undefined): Terms {
  return { who: [to === undefined ? { roles: [...DEFAULT_ROLES.question] } : { users: [to] }] };
}

/** Whether somebody's word counts now, for a run that `requester` asked for. */
export function mayAnswer(
  terms: Terms,
  requester: string,
  { user, admin }: { readonly user: { readonly id: string }; readonly admin?: boolean | undefined },
  state: Pick<SessionState, "members">,
): boolean {
  if (terms.notRequester && user.id === requester) return false;
  const role = admin ? "owner" : roleOf(state, user.id);
  if (role === undefined) return false;
  return (terms.who ?? []).every(
    ({ roles, users }) => roles?.includes(role) === true || users?.includes(user.id) === true,
  );
}

/** An allowance by which a call needs no new approval: what was said then would be enough by today's terms. */
export function allowanceFor(
  call: { readonly tool: string; readonly input: JsonValue; readonly requester: string },
  terms: Terms,
  state: SessionState,
  /** Of the requester, said in other sessions. */
  elsewhere: readonly Allowance[],
): Allowance | undefined {
  if (!terms.remember) return undefined;
  return [...(state.allowances ?? []), ...elsewhere].find(
    (allowance) =>
      allowance.tool === call.tool &&
      (allowance.user === undefined || allowance.user === call.requester) &&
      (allowance.input === undefined || isDeepStrictEqual(allowance.input, call.input)) &&
      allowance.by.filter((item) => mayAnswer(terms, call.requester, item, state)).length >=
        (terms.count ?? 1),
  );
}
