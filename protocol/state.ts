/**
 * fold: the one way from log entries to a session's state, used by server and client alike. Owns what each entry means
 * and how much history a state keeps; never does I/O, never changes a state in place (what did not change is shared), so
 * a state handed out stays what it was. Unknown entries are passed over but their seq counts.
 */
import type { EntryBody, EventFrame } from "./entries.ts";
import type { HistoryMessage, OpenCall, OpenRun, QueuedInput, SessionState } from "./frames.ts";
import type { Role, RunReason, SessionInfo, ToolPart } from "./content.ts";
import { used, withInvites } from "./invited.ts";
import { answered, clocked, forgotten, notified, remembered } from "./waiting.ts";
import { edited, floorOf, queued, reordered, withFloor } from "./queue.ts";
import { messageSize, totalBytes, withLast, withMessageAt, withoutFirst, withPart } from "./size.ts";
import { addUsage, NO_USAGE, spent } from "./usage.ts";

/** Messages that a state keeps even when they are older than the last compaction. */
export const RETAIN_MESSAGES = 200;
/** Bytes of messages that a state keeps; older ones are had by `history`. */
export const RETAIN_BYTES = 4 * 1024 * 1024;

/** The state after `entry`. The first entry (seq 1) needs no state before it. */
export function fold(state: SessionState | undefined, entry: EventFrame): SessionState {
  if (state === undefined) return created(entry);
  const changed = clocked(applied(state, entry, entry.event), entry.at);
  // One that this entry made is nobody else's yet: it need not be copied once more.
  const next = changed === state ? { ...state } : changed;
  next.epoch = entry.epoch;
  next.seq = entry.seq;
  next.session = describe(next, entry);
  return next;
}

/** The state with its last `tail` messages and any that has open calls. Folding commutes with it, up to RETAIN_MESSAGES. */
export function cut(state: SessionState, tail: number): SessionState {
  const from = state.messages.length - tail;
  return from <= 0 ? state : { ...state, messages: keep(state, state.messages, from) };
}

/** What a user may do here, undefined for one who is no member. Names such as `constructor` are nobody's role. */
export function roleOf(state: Pick<SessionState, "members">, user: string): Role | undefined {
  return Object.hasOwn(state.members, user) ? state.members[user] : undefined;
}

function created(entry: EventFrame): SessionState {
  const body = entry.event;
  if (body.type !== "session-created") throw new Error(`a log begins with session-created, not ${body.type}`);
  const session: SessionInfo = {
    id: entry.session,
    agent: body.agent,
    owner: body.owner,
    createdAt: entry.at,
    updatedAt: entry.at,
    state: "idle",
    queued: 0,
    requests: 0,
  };
  if (body.title !== undefined) session.title = body.title;
  if (body.metadata !== undefined) session.metadata = body.metadata;
  if (body.forkedFrom !== undefined) session.forkedFrom = body.forkedFrom;
  if (body.parent !== undefined) session.parent = body.parent;
  return {
    session,
    epoch: entry.epoch,
    seq: entry.seq,
    members: { ...body.members, [body.owner]: "owner" },
    queue: [],
    calls: [],
    requests: [],
    messages: [],
  };
}

function applied(state: SessionState, entry: EventFrame, body: EntryBody): SessionState {
  switch (body.type) {
    case "session-updated": {
      const session = { ...state.session };
      if (body.title !== undefined) session.title = body.title;
      if (body.metadata !== undefined) session.metadata = body.metadata;
      return { ...state, session };
    }
    case "session-closed":
      return { ...state, session: { ...state.session, state: "closed" } };
    case "member-changed": {
      const members = { ...state.members };
      if (body.role === null) delete members[body.user];
      else members[body.user] = body.role;
      return withInvites(withFloor({ ...state, members }, body), (invites) => used(invites, body.invite));
    }
    case "invite-created": {
      const { type: _, ...invite } = body;
      return withInvites(state, (invites) => [
        ...invites.filter(({ expiresAt }) => expiresAt > entry.at),
        invite,
      ]);
    }
    case "invite-revoked":
      return withInvites(state, (invites) => invites.filter(({ invite }) => invite !== body.invite));
    case "input-queued": {
      const input: QueuedInput = {
        input: body.input,
        key: body.key,
        content: body.content,
        mode: body.mode,
        seq: entry.seq,
        at: entry.at,
      };
      if (body.agent !== undefined) input.agent = body.agent;
      if (entry.actor !== undefined) input.actor = entry.actor;
      return { ...state, queue: queued(state.queue, input, floorOf(state), state.run?.actor?.id) };
    }
    case "input-edited":
      return {
        ...state,
        queue: state.queue.map((item) => (item.input === body.input ? edited(item, body.content) : item)),
      };
    case "inputs-ordered":
      return { ...state, queue: reordered(state.queue, body.inputs) };
    case "floor-changed": {
      const { type: _, ...floor } = body;
      return { ...state, floor };
    }
    case "input-withdrawn":
      return { ...state, queue: state.queue.filter((item) => item.input !== body.input) };
    case "run-started": {
      const run: OpenRun = {
        run: body.run,
        input: body.input,
        agent: body.agent,
        model: body.model,
        tools: body.tools,
        startedAt: entry.at,
        step: 0,
        usage: NO_USAGE,
      };
      if (body.agentVersion !== undefined) run.agentVersion = body.agentVersion;
      if (entry.actor !== undefined) run.actor = entry.actor;
      return { ...state, run };
    }
    case "message":
      return withMessage(state, entry, body);
    case "tool-dispatched":
      return withCall(state, body.call, (call) => ({
        ...call,
        state: "dispatched",
        attempt: body.attempt,
        provider: body.provider,
        effect: body.effect,
        deadlineAt: body.deadlineAt,
      }));
    case "tool-accepted":
      return withCall(state, body.call, (call) => ({ ...call, state: "accepted" }));
    case "tool-lost":
      return withCall(state, body.call, (call) => ({ ...call, state: "lost" }));
    case "tool-delegated": {
      const { child } = body;
      const next = withToolPart(state, body.call, (part) => ({ ...part, child }));
      return withCall(next, body.call, (call) => ({ ...call, state: "dispatched", child }));
    }
    case "tool-result": {
      const ok = body.outcome === "ok";
      const denied = body.outcome === "denied" || body.outcome === "approval-expired";
      const next = withToolPart(spent(state, body.usage), body.call, (part) => ({
        ...part,
        state: ok ? "output-available" : denied ? "output-denied" : "output-error",
        ...(body.output === undefined ? {} : { output: body.output }),
        ...(ok ? {} : { errorText: body.error ? `${body.error.code}: ${body.error.message}` : body.outcome }),
        ...whatBecame(state, body),
      }));
      return retained({ ...next, calls: next.calls.filter((call) => call.call !== body.call) });
    }
    case "request-opened": {
      const { type: _, ...request } = body;
      const next = { ...state, requests: [...state.requests, request] };
      if (body.call === undefined || body.kind !== "approval") return next;
      return withToolPart(next, body.call, (part) => ({
        ...part,
        state: "approval-requested",
        approval: { id: body.request },
      }));
    }
    case "request-resolved": {
      const request = state.requests.find((item) => item.request === body.request);
      const next = { ...state, requests: state.requests.filter((item) => item.request !== body.request) };
      if (request?.call === undefined || request.kind !== "approval") return next;
      const allowed =
        body.decision === "approve"
          ? withCall(next, request.call, (call) => ({ ...call, allowedAt: entry.at }))
          : next;
      return withToolPart(allowed, request.call, (part) => ({
        ...part,
        state: "approval-responded",
        ...(body.input === undefined ? {} : { input: body.input }),
        approval: {
          id: body.request,
          approved: body.decision === "approve",
          ...(body.reason === undefined ? {} : { reason: body.reason }),
        },
      }));
    }
    case "request-answered":
      return answered(state, entry, body);
    case "request-notified":
      return notified(state, entry, body);
    case "approval-remembered":
      return remembered(state, entry, body);
    case "approval-forgotten":
      return forgotten(state, body.allowance);
    case "step-finished":
      if (state.run?.run !== body.run) return state;
      return {
        ...spent(state, body.usage),
        run: { ...state.run, step: body.step, usage: addUsage(state.run.usage, body.usage) },
      };
    case "cancel-requested":
      return state.run?.run === body.run ? { ...state, run: cancelled(state.run, entry.seq, body) } : state;
    case "compacted": {
      const from = state.messages.findIndex((item) => item.seq > body.upTo);
      const since = from < 0 ? state.messages.length : from;
      const start = Math.max(0, Math.min(since, state.messages.length - RETAIN_MESSAGES));
      const { run } = state;
      const next = {
        ...spent(state, body.usage),
        compacted: { upTo: body.upTo, summary: body.summary },
        messages: keep(state, state.messages, start),
      };
      if (run !== undefined && run.run === entry.run && body.usage !== undefined)
        next.run = { ...run, usage: addUsage(run.usage, body.usage) };
      return next;
    }
    case "run-finished": {
      const messages = body.rolledBack ? rolledBack(state.messages, body.run) : state.messages;
      if (state.run?.run !== body.run) return { ...state, messages };
      const { run: _, ...rest } = state;
      return {
        ...rest,
        messages,
        lastRun: {
          run: body.run,
          reason: body.reason,
          steps: body.steps,
          usage: body.usage,
          at: entry.at,
          tools: state.run.tools.map(({ name }) => name),
          ...(body.rolledBack ? { rolledBack: true } : {}),
        },
      };
    }
    case "run-recovered": {
      if (state.run?.run !== body.run) return state;
      const { step, attempt } = body;
      return { ...state, run: { ...state.run, recovered: { step, attempt } } };
    }
    case "session-created":
    case "message-abandoned":
    case "tool-audit":
    case "budget-stopped":
      return state;
    default:
      body satisfies never;
      return state;
  }
}

/** How a call ended and who had it: its place among the open ones is gone. */
function whatBecame(
  state: SessionState,
  { call, outcome, durationMs, attempt }: Extract<EntryBody, { type: "tool-result" }>,
): Pick<ToolPart, "outcome" | "durationMs" | "attempt" | "provider"> {
  const provider = state.calls.find((open) => open.call === call)?.provider;
  return {
    outcome,
    durationMs,
    ...(attempt === undefined ? {} : { attempt }),
    ...(provider === undefined ? {} : { provider }),
  };
}

/** The first request counts, but that a later one may roll back, too. */
function cancelled(run: OpenRun, seq: number, { rollback }: { rollback?: true | undefined }): OpenRun {
  const requested = { ...run, cancelRequested: run.cancelRequested ?? seq };
  return rollback ? { ...requested, rollback } : requested;
}

function rolledBack(messages: HistoryMessage[], run: string): HistoryMessage[] {
  return messages.map((message) => (message.run === run ? { ...message, rolledBack: true } : message));
}

function withMessage(
  state: SessionState,
  entry: EventFrame,
  body: Extract<EntryBody, { type: "message" }>,
): SessionState {
  const { message } = body;
  const item: HistoryMessage = { ...message, seq: entry.seq, at: entry.at };
  if (body.step !== undefined) item.step = body.step;
  if (body.finishReason !== undefined) item.finishReason = body.finishReason;
  if (body.usage !== undefined) item.usage = body.usage;
  if (body.incomplete) item.incomplete = true;
  const said = (state.session.messages ?? 0) + 1;
  const next = {
    ...state,
    session: { ...state.session, messages: said },
    messages: withLast(state.messages, item),
  };
  if (message.role === "user") {
    next.queue = state.queue.filter((queued) => queued.input !== message.id);
  } else {
    const opened: OpenCall[] = [];
    for (const part of message.parts) {
      if (
        part.type === "dynamic-tool" &&
        (part.state === "input-available" || part.state === "approval-requested")
      ) {
        opened.push({
          call: part.toolCallId,
          message: message.id,
          run: message.run ?? entry.run ?? "",
          tool: part.toolName,
          state: "waiting",
          attempt: 0,
        });
      }
    }
    if (opened.length > 0) next.calls = [...state.calls, ...opened];
  }
  return retained(next);
}

function withCall(state: SessionState, call: string, change: (call: OpenCall) => OpenCall): SessionState {
  const at = state.calls.findIndex((item) => item.call === call);
  return at < 0 ? { ...state } : { ...state, calls: state.calls.with(at, change(state.calls[at]!)) };
}

function withToolPart(state: SessionState, call: string, change: (part: ToolPart) => ToolPart): SessionState {
  const open = state.calls.find((item) => item.call === call);
  if (open === undefined) return state;
  const index = state.messages.findLastIndex((message) => message.id === open.message);
  const message = state.messages[index];
  if (message === undefined) return state;
  const at = message.parts.findIndex((part) => part.type === "dynamic-tool" && part.toolCallId === call);
  const part = message.parts[at];
  if (part?.type !== "dynamic-tool") return state;
  const messages = withMessageAt(state.messages, index, withPart(message, at, change(part)));
  return { ...state, messages };
}

/** The newest messages that are within RETAIN_BYTES together, the very newest whatever its size. */
export function retained(state: SessionState): SessionState {
  const { messages } = state;
  let bytes = totalBytes(messages);
  let from = 0;
  while (bytes > RETAIN_BYTES && from < messages.length - 1) bytes -= messageSize(messages[from++]!).bytes;
  return from === 0 ? state : { ...state, messages: keep(state, messages, from) };
}

/** Messages from index `from` on, and earlier ones that still have open calls. */
function keep(state: SessionState, messages: HistoryMessage[], from: number): HistoryMessage[] {
  const open = new Set(state.calls.map((call) => call.message));
  return withoutFirst(messages, from, ({ id }) => open.has(id));
}

/** The session's info after an entry: what lists show, derived from the state alone. */
function describe(state: SessionState, entry: EventFrame): SessionInfo {
  const { session } = state;
  const standing =
    session.state === "closed"
      ? "closed"
      : state.run === undefined
        ? "idle"
        : state.requests.length > 0 && state.calls.every((call) => call.state === "waiting")
          ? "waiting"
          : "running";
  const { failed: _, ...known } = session;
  const failed = state.run === undefined ? failureOf(state.lastRun) : undefined;
  return {
    ...known,
    ...(failed === undefined ? {} : { failed }),
    state: standing,
    queued: state.queue.length,
    requests: state.requests.length,
    updatedAt: entry.at,
  };
}

/** Neither answered nor stopped by people. */
function failureOf(last: SessionState["lastRun"]): RunReason | undefined {
  const reason = last?.reason;
  return reason === "text" || reason === "no-action" || reason === "cancelled" ? undefined : reason;
}
