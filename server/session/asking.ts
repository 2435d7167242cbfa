/**
 * What people are asked in a session, and what they allow its members in others, as those see it who are not in it: its
 * form in the store and in lists, and whose word counts now. Owns what is cut so that a list stays small; the whole request
 * is in the session.
 */
import { isDeepStrictEqual } from "node:util";
import { decodeTrusted, encodeFrame } from "../../protocol/codec.ts";
import type { Actor, Role } from "../../protocol/content.ts";
import type { ListedRequest, OpenRequest, SessionState } from "../../protocol/frames.ts";
import type { Allowance } from "../../protocol/people.ts";
import { roleOf } from "../../protocol/state.ts";
import { measure } from "../../protocol/values.ts";
import { allows } from "../auth/identity.ts";
import { rightOf } from "../auth/rights.ts";
import type { AskedQuery, AskedSession, Store } from "../store/store.ts";
import { mayAnswer } from "../tool/approval.ts";
import { mayAs } from "./access.ts";
import type { Caller } from "./access.ts";

/** Bytes of one subject, and of all subjects of a session; beyond it they are left out. */
const MAX_SUBJECT = 4096;
const MAX_SUBJECTS = 256 * 1024;

export interface Asking {
  readonly agent: string;
  readonly owner: string;
  readonly title?: string;
  readonly members: Readonly<Record<string, Role>>;
  readonly requester?: Actor;
  /** In the order of their ids. */
  readonly requests: readonly OpenRequest[];
  /** What holds for members in all their sessions. */
  readonly allowances?: readonly Allowance[];
}

/** Undefined while nothing is asked, and nothing allowed beyond it. */
export function askingOf(state: SessionState): Asking | undefined {
  const { session, members, run, requests } = state;
  const allowances = (state.allowances ?? []).filter(
    ({ everywhere, user }) => everywhere === true && user !== undefined && Object.hasOwn(members, user),
  );
  if (requests.length === 0 && allowances.length === 0) return undefined;
  const { agent, owner, title } = session;
  let left = MAX_SUBJECTS;
  const shown = requests.map((request) => {
    const bytes = request.subject === undefined ? 0 : measure(request.subject).bytes;
    const fits = bytes <= MAX_SUBJECT && bytes <= left;
    if (fits) left -= bytes;
    return cut(request, fits);
  });
  return {
    agent,
    owner,
    ...(title === undefined ? {} : { title }),
    members,
    ...(run?.actor === undefined ? {} : { requester: run.actor }),
    requests: shown.toSorted((a, b) => (a.request < b.request ? -1 : 1)),
    ...(allowances.length === 0 ? {} : { allowances }),
  };
}

/** Of the approvals those that still count towards the rule: they are for the input that was named last. */
function cut({ subject, approvals = [], ...request }: OpenRequest, whole: boolean): OpenRequest {
  const last = approvals.at(-1);
  const counting = approvals.filter((item) => isDeepStrictEqual(item.input, last?.input));
  const shown = counting.map(({ user, admin, seq, at }) => ({ user, ...(admin && { admin }), seq, at }));
  return {
    ...request,
    ...(whole && subject !== undefined ? { subject } : {}),
    ...(whole ? {} : { truncated: true }),
    ...(shown.length === 0 ? {} : { approvals: shown }),
  };
}

export function encodeAsking(state: SessionState): Uint8Array | undefined {
  const asking = askingOf(state);
  return asking && encodeFrame(asking);
}

/**
 * The sessions in which people are asked or allowed something, page by page in the order of their ids; `from` an id, or
 * what `past` says. `reader`: only those that this user may read. Rejects with StoreUnavailableError.
 */
export async function* askingPages(
  store: Pick<Store, "asked">,
  { from = "", ...which }: Partial<AskedQuery> & Pick<AskedQuery, "limit">,
): AsyncGenerator<readonly AskedSession[], void> {
  for (let start = from; ;) {
    const page = await store.asked({ ...which, from: start });
    yield page;
    const last = page.at(-1);
    if (last === undefined || page.length < which.limit) return;
    start = past(last);
  }
}

/** What sorts first after an id is that id and the first sign that ids are made of. */
export function past({ id }: AskedSession): string {
  return `${id}-`;
}

export function decodeAsking(bytes: Uint8Array): Asking {
  return decodeTrusted(bytes) as Asking;
}

/** The requests that would take this caller's answer now and do not have it yet. */
export function answerable(caller: Caller, asking: Asking | undefined): OpenRequest[] {
  const { roles = [] } = rightOf("answer");
  if (asking === undefined || !roles.some((role) => mayAs(role, caller, asking))) return [];
  const { actor: user } = caller;
  const admin = allows(caller, "admin") && roleOf(asking, user.id) !== "owner";
  return asking.requests.filter(
    (request) =>
      request.approvals?.some((item) => item.user.id === user.id) !== true &&
      mayAnswer(request, asking.requester?.id ?? "", { user, admin }, asking),
  );
}

/** Members whose answer would count. */
export function answerersOf(asking: Asking, request: OpenRequest): string[] {
  return Object.keys(asking.members).filter((id) => {
    const actor: Actor = { kind: "user", id, name: id, verified: true };
    return answerable({ actor, rights: [] }, { ...asking, requests: [request] }).length > 0;
  });
}

export function listed(session: string, asking: Asking, request: OpenRequest): ListedRequest {
  const { agent, owner, title, requester } = asking;
  return {
    session,
    agent,
    owner,
    ...(title === undefined ? {} : { title }),
    ...(requester === undefined ? {} : { requester }),
    request,
  };
}
