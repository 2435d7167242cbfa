/**
 * The rules of requests after chaos: each is opened once and resolved once, by those whose word counts; what people were
 * asked about goes out as they allowed it, or not at all; whoever answers is told what the log says. Owns that comparison;
 * what a rule asks for is ./chaos-schedule.ts's.
 */
import { isDeepStrictEqual } from "node:util";
import type { JsonValue } from "../../protocol/content.ts";
import type { EntryBodyOf, EventFrame } from "../../protocol/entries.ts";
import type { Evidence } from "./chaos-oracle.ts";
import type { Promised } from "./chaos-player.ts";
import { PAY } from "./chaos-schedule.ts";

interface Call {
  readonly tool: string;
  /** What goes out: edited, once that is approved. */
  input: JsonValue;
  readonly requester: string | undefined;
  request?: Request;
}

interface Request {
  readonly opened: EntryBodyOf<"request-opened">;
  readonly openedAt: number;
  readonly requester: string | undefined;
  resolved?: EntryBodyOf<"request-resolved">;
  resolvedAt?: number;
}

/** What a log says of requests. */
interface Read {
  readonly calls: ReadonlyMap<string, Call>;
  readonly requests: ReadonlyMap<string, Request>;
  readonly faults: readonly string[];
}

export function judgeRequests({ logs, promised, journals }: Evidence): string[] {
  const found: string[] = [];
  const read = new Map<string, Read>();
  for (const [session, { entries }] of logs) {
    const log = readRequests(entries);
    read.set(session, log);
    found.push(...log.faults.map((fault) => `${session}: ${fault}`));
  }
  for (const promise of promised) {
    const fault = refusalOf(promise, read.get(promise.session));
    if (fault !== undefined) found.push(`${promise.session}: ${promise.client} ${fault}`);
  }
  for (const line of journals.flat()) {
    if (line.did !== "begun") continue;
    const { session, call } = line.reference;
    const known = read.get(session)?.calls.get(call);
    if (known?.request !== undefined && known.request.resolved?.decision !== "approve")
      found.push(`${session}: ${call} was executed and is ${known.request.resolved?.decision ?? "open"}`);
    else if (known !== undefined && !isDeepStrictEqual(line.input, known.input))
      found.push(`${session}: ${call} was executed with another input`);
  }
  return found;
}

function readRequests(entries: readonly EventFrame[]): Read {
  const calls = new Map<string, Call>();
  const requests = new Map<string, Request>();
  const faults: string[] = [];
  const ends = new Map<string, string>();
  let requester: string | undefined;
  for (const { event } of entries) if (event.type === "run-finished") ends.set(event.run, event.reason);
  for (const { event, seq, at, actor, run = "" } of entries) {
    const wrong = (what: string): void => void faults.push(`seq ${seq} ${event.type}: ${what}`);
    switch (event.type) {
      case "run-started":
        requester = actor?.id;
        break;
      case "message":
        for (const part of event.message.parts)
          if (part.type === "dynamic-tool" && part.state === "input-available")
            calls.set(part.toolCallId, { tool: part.toolName, input: part.input ?? {}, requester });
        break;
      case "request-opened": {
        if (requests.has(event.request)) wrong("opened twice");
        const request: Request = { opened: event, openedAt: at, requester };
        requests.set(event.request, request);
        const call = calls.get(event.call ?? "");
        if (call === undefined) wrong("no such call is open");
        else if (call.request !== undefined) wrong("a second request for its call");
        else call.request = request;
        break;
      }
      case "request-answered":
        if (requests.get(event.request)?.resolved !== undefined) wrong("is resolved");
        break;
      case "request-resolved": {
        const request = requests.get(event.request);
        if (request === undefined) {
          wrong("was never opened");
          break;
        }
        if (request.resolved !== undefined) wrong("resolved twice");
        const { opened } = request;
        request.resolved = event;
        request.resolvedAt = at;
        const fault = event.decision === "approve" ? approvalFault(request, event) : undefined;
        if (fault !== undefined) wrong(fault);
        if (event.decision === "expired" && at < opened.expiresAt) wrong("before it expired");
        if (event.decision === "cancelled" && !["cancelled", "interrupted"].includes(ends.get(run) ?? ""))
          wrong(`its run ends ${ends.get(run)}`);
        const call = calls.get(opened.call ?? "");
        if (call !== undefined && event.input !== undefined) call.input = event.input;
        break;
      }
      case "tool-dispatched": {
        const call = calls.get(event.call);
        if (call === undefined) break;
        if (call.request === undefined ? needsApproval(call) : call.request.resolved?.decision !== "approve")
          wrong(`nobody allowed ${event.call}`);
        break;
      }
      case "tool-result": {
        const call = calls.get(event.call);
        if (call?.request === undefined) break;
        const { decision } = call.request.resolved ?? { decision: undefined };
        if (decision === undefined) wrong("its request is open");
        if ((decision === "deny") !== (event.outcome === "denied"))
          wrong(`${event.outcome} after ${decision}`);
        if ((decision === "expired") !== (event.outcome === "approval-expired"))
          wrong(`${event.outcome} after ${decision}`);
        break;
      }
      default:
        break;
    }
  }
  for (const [id, { resolved }] of requests) if (resolved === undefined) faults.push(`${id} is open at rest`);
  return { calls, requests, faults };
}

function approvalFault(
  { opened, requester }: Request,
  { by = [], answers }: EntryBodyOf<"request-resolved">,
): string | undefined {
  const people = new Set(by.map(({ id }) => id));
  if (people.size < (opened.count ?? 1) || people.size < by.length)
    return `${people.size} people allowed it, not ${opened.count ?? 1}`;
  if (opened.notRequester && people.has(requester ?? "")) return "by who asked for it";
  if ((opened.kind === "question") !== (answers !== undefined)) return "answers are missing";
  return undefined;
}

function needsApproval({ tool, input }: Call): boolean {
  return tool === PAY || tool === "ask" || (tool === "idem_put" && Object.hasOwn(input as object, "asked"));
}

/** What is wrong with the refusal of an answer. */
function refusalOf({ asked, answer, frame, user }: Promised, read: Read | undefined): string | undefined {
  if (asked.kind !== "answer" || answer !== "refused") return undefined;
  const request = read?.requests.get(asked.request);
  if (request === undefined) return `was refused for ${asked.request}, which there is not`;
  if (frame?.["code"] === "forbidden")
    return request.opened.notRequester && request.requester === user
      ? undefined
      : `was forbidden to answer ${asked.request}`;
  const told = frame?.["details"] as { decision?: string; by?: { id: string }[] } | undefined;
  // Of several who must approve, another edited the input.
  if (told?.decision === undefined)
    return (request.opened.count ?? 1) > 1 ? undefined : `had a conflict about open ${asked.request}`;
  const { decision, by = [] } = request.resolved ?? { decision: "none" };
  const same =
    told.decision === decision &&
    isDeepStrictEqual(
      (told.by ?? []).map(({ id }) => id),
      by.map(({ id }) => id),
    );
  return same ? undefined : `was told ${told.decision} of ${asked.request}, which is ${decision}`;
}

/** How many requests there were, by what became of them; `outlived`: ends of the server that they were open over. */
export function countRequests(
  { logs, promised }: Evidence,
  restarts: readonly number[],
): Record<string, number> {
  const counts: Record<string, number> = { requests: 0, questions: 0, edited: 0, outlived: 0 };
  for (const { entries } of logs.values()) {
    for (const { opened, openedAt, resolved, resolvedAt = Infinity } of readRequests(
      entries,
    ).requests.values()) {
      counts["requests"]!++;
      if (opened.kind === "question") counts["questions"]!++;
      if (resolved?.input !== undefined) counts["edited"]!++;
      const name = `request-${resolved?.decision}`;
      counts[name] = (counts[name] ?? 0) + 1;
      counts["outlived"]! += restarts.filter((end) => openedAt < end && resolvedAt > end).length;
    }
  }
  const answers = promised.filter(({ asked }) => asked.kind === "answer");
  counts["answers"] = answers.length;
  counts["answers-refused"] = answers.filter(({ answer }) => answer === "refused").length;
  return counts;
}
