/**
 * What must hold after chaos, as functions over evidence: the logs as they are now, what every client was shown and
 * promised, what the providers did. Each rule answers what it finds broken, in words. Owns no process and no socket, so
 * that its own test can plant every kind of violation.
 */
import { isDeepStrictEqual } from "node:util";
import { transcodeToJson } from "../../protocol/codec.ts";
import type { EntryBody, EventFrame } from "../../protocol/entries.ts";
import type { SessionState } from "../../protocol/frames.ts";
import { cut, fold } from "../../protocol/state.ts";
import { violations } from "../server/agent/rules.ts";
import type { View } from "./chaos-client.ts";
import { judgeCalls } from "./chaos-calls.ts";
import type { Line } from "./chaos-journal.ts";
import { mayBeRepeated, type Promised } from "./chaos-player.ts";
import { judgeRequests } from "./chaos-requests.ts";
import { SCRIPTED_ERROR } from "./chaos-schedule.ts";

export interface Log {
  readonly entries: readonly EventFrame[];
  /** The bytes of each entry. */
  readonly raw: readonly Uint8Array[];
  /** A snapshot as of the last entry. */
  readonly snapshot: SessionState | undefined;
}

export interface Evidence {
  readonly logs: ReadonlyMap<string, Log>;
  readonly views: readonly View[];
  readonly promised: readonly Promised[];
  readonly journals: readonly (readonly Line[])[];
}

type Rule = (evidence: Evidence) => string[];

export const RULES: Readonly<Record<string, Rule>> = {
  "logs are gapless, ordered, once; runs end once, calls have one outcome": judgeLogs,
  "runs end for a reason that somebody gave": judgeReasons,
  "history is valid for a provider": judgeHistory,
  "what was acked is where its ack says": judgeAcks,
  "inputs are those that were sent, once each": judgeInputs,
  "what was shown is what is logged, and all clients show the same": judgeViews,
  "forks begin with what was said": judgeForks,
  "calls were executed as logged, and once at most where it says so": judgeCalls,
  "requests are resolved once, and nothing goes out that people did not allow": judgeRequests,
};

export function judge(evidence: Evidence): string[] {
  return Object.values(RULES).flatMap((rule) => rule(evidence));
}

function* logged(evidence: Evidence): Generator<[EventFrame[], string]> {
  for (const [session, { entries }] of evidence.logs) yield [[...entries], session];
}

function judgeLogs(evidence: Evidence): string[] {
  return [...logged(evidence)].flatMap(([entries, session]) =>
    violations(entries).map((violation) => `${session}: ${violation}`),
  );
}

function judgeReasons(evidence: Evidence): string[] {
  const allowed = new Set(["text", "no-action", "cancelled", "interrupted"]);
  const found: string[] = [];
  for (const [entries, session] of logged(evidence)) {
    for (const { event } of entries) {
      if (event.type !== "run-finished" || allowed.has(event.reason)) continue;
      if (event.reason === "error" && event.error?.message.includes(SCRIPTED_ERROR)) continue;
      found.push(`${session}: ${event.run} ends ${event.reason} ${JSON.stringify(event.error)}`);
    }
  }
  return found;
}

export function foldAll(entries: readonly EventFrame[]): SessionState | undefined {
  return entries.reduce<SessionState | undefined>((state, entry) => fold(state, entry), undefined);
}

function judgeHistory(evidence: Evidence): string[] {
  const found: string[] = [];
  for (const [entries, session] of logged(evidence)) {
    const state = foldAll(entries);
    for (const message of state?.messages ?? [])
      for (const part of message.parts)
        if (part.type === "dynamic-tool" && !part.state.startsWith("output-"))
          found.push(`${session}: ${part.toolCallId} of ${message.id} is ${part.state} at rest`);
    if (state !== undefined && state.calls.length > 0) found.push(`${session}: calls are open at rest`);
  }
  return found;
}

function judgeAcks({ logs, promised }: Evidence): string[] {
  const found: string[] = [];
  for (const promise of promised) {
    const { asked, session, client } = promise;
    const say = (problem: string): void =>
      void found.push(`${session}: ${asked.kind} by ${client}: ${problem}`);
    const entries = logs.get(session)?.entries;
    if (entries === undefined) {
      say("there is no log");
      continue;
    }
    if (mayBeRepeated(asked) && promise.answer === "unknown") say("never had an answer");
    if (promise.answer !== "acked") continue;
    const frame = promise.frame ?? {};
    const body = entries[(frame["seq"] as number) - 1]?.event;
    if (!isKept(promise, frame, body, entries)) say(`acked at ${frame["seq"]}, where there is ${body?.type}`);
  }
  return found;
}

function isKept(
  { asked, user }: Promised,
  frame: Readonly<Record<string, unknown>>,
  body: EntryBody | undefined,
  entries: readonly EventFrame[],
): boolean {
  switch (asked.kind) {
    case "send":
    case "retry":
      return (
        body?.type === "input-queued" &&
        body.key === asked.key &&
        body.input === frame["input"] &&
        entries[(frame["seq"] as number) - 1]?.actor?.id === user &&
        (asked.kind === "send"
          ? body.content === asked.content && body.mode === asked.mode
          : isDeepStrictEqual(body.content, askedOf(asked.run, entries)))
      );
    case "edit":
      return body?.type === "input-edited" && body.input === asked.input && body.content === asked.content;
    case "withdraw":
      return body?.type === "input-withdrawn" && body.input === asked.input;
    case "cancel":
      return frame["state"] === "finished"
        ? entries.some(({ event }) => event.type === "run-finished" && event.run === asked.run)
        : body?.type === "cancel-requested" && body.run === asked.run;
    case "update":
      return body?.type === "session-updated" && body.title === asked.title;
    case "compact":
      return body?.type === "compacted";
    case "answer":
      return isSaid(asked, user, body, entries[(frame["seq"] as number) - 1]?.actor?.id);
    case "fork":
      // judgeForks looks at the other log.
      return typeof frame["session"] === "string";
  }
}

/** Whether an entry is this answer, or is resolved by it among others. */
function isSaid(
  asked: Extract<Promised["asked"], { kind: "answer" }>,
  user: string,
  body: EntryBody | undefined,
  actor: string | undefined,
): boolean {
  if (body?.type === "request-answered")
    return (
      body.request === asked.request && actor === user && "decision" in asked && asked.decision === "approve"
    );
  if (body?.type !== "request-resolved" || body.request !== asked.request) return false;
  const decision = "decision" in asked ? asked.decision : "approve";
  return body.decision === decision && body.by?.some(({ id }) => id === user) === true;
}

/** What a run was asked: the text of the message that it began with. */
function askedOf(run: string, entries: readonly EventFrame[]): unknown {
  const at = entries.findIndex(({ event }) => event.type === "run-started" && event.run === run);
  const begun = entries[at + 1]?.event;
  const [part] = begun?.type === "message" ? begun.message.parts : [];
  return part?.type === "text" ? part.text : undefined;
}

/** Nothing is in a log that nobody sent, nothing twice, nothing that was refused. */
function judgeInputs({ logs, promised }: Evidence): string[] {
  const found: string[] = [];
  for (const [session, { entries }] of logs) {
    const keyed = promised.filter(({ asked, session: of }) => of === session && "key" in asked);
    const known = new Map(keyed.map((promise) => [`${promise.user}/${keyOf(promise)}`, promise]));
    const seen = new Set<string>();
    for (const { event, actor } of entries) {
      if (event.type !== "input-queued") continue;
      const name = `${actor?.id}/${event.key}`;
      if (seen.has(name)) found.push(`${session}: ${name} is queued twice`);
      seen.add(name);
      const promise = known.get(name);
      if (promise === undefined) found.push(`${session}: ${name} was never sent`);
      else if (promise.answer === "refused") found.push(`${session}: ${name} was refused and is queued`);
    }
  }
  return found;
}

function keyOf({ asked }: Promised): string | undefined {
  return "key" in asked ? asked.key : undefined;
}

function judgeViews({ logs, views }: Evidence): string[] {
  const found: string[] = [];
  for (const [session, { entries, snapshot }] of logs) {
    const state = foldAll(entries);
    if (snapshot !== undefined && !isDeepStrictEqual(snapshot, state && cut(state, 200)))
      found.push(`${session}: the snapshot is not the fold of the log`);
    for (const view of views.filter((each) => each.session === session)) {
      found.push(...view.faults.map((fault) => `${session}: ${fault}`));
      if (!isDeepStrictEqual(view.state, state)) found.push(`${session}: ${view.client} shows another state`);
    }
  }
  for (const view of views) {
    const log = logs.get(view.session);
    if (view.entries.length !== log?.entries.length)
      found.push(
        `${view.session}: ${view.client} was shown ${view.entries.length} entries of ${log?.entries.length}`,
      );
    for (const [at, { entry, raw }] of view.entries.entries()) {
      const other = log?.entries[at];
      const bytes = log?.raw[at];
      const same =
        typeof raw === "string"
          ? bytes !== undefined && raw === transcodeToJson(bytes)
          : raw === undefined
            ? isDeepStrictEqual(entry, other)
            : bytes !== undefined && Buffer.compare(raw, bytes) === 0;
      if (!same) found.push(`${view.session}: ${view.client} was shown another entry ${entry.seq}`);
    }
  }
  return found;
}

function judgeForks({ logs, promised }: Evidence): string[] {
  const found: string[] = [];
  for (const { asked, answer, frame, session } of promised) {
    if (asked.kind !== "fork" || answer !== "acked") continue;
    const fork = frame?.["session"] as string;
    if (!logs.has(fork)) found.push(`${session}: its fork ${fork} was acked and is not there`);
  }
  for (const [fork, { entries }] of logs) {
    const created = entries[0]?.event;
    if (created?.type !== "session-created" || created.forkedFrom === undefined) continue;
    const { session, at } = created.forkedFrom;
    const origin = logs.get(session)?.entries ?? [];
    if (origin[at - 1]?.event.type !== "run-finished") found.push(`${fork}: forked in the middle of a run`);
    const end = entries.findIndex(isNoCopy);
    const copied = messagesOf(entries.slice(0, end < 0 ? entries.length : end));
    const said = messagesOf(origin.slice(0, at));
    if (copied.length === 0 || !isDeepStrictEqual(copied, said.slice(-copied.length)))
      found.push(`${fork}: does not begin with what was said in ${session}`);
  }
  return found;
}

function isNoCopy({ event }: EventFrame): boolean {
  return !["session-created", "message", "compacted"].includes(event.type);
}

function messagesOf(entries: readonly EventFrame[]): string[] {
  return entries.flatMap(({ event }) => (event.type === "message" ? [event.message.id] : []));
}
