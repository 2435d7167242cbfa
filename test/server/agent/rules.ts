/**
 * What holds for every log, whatever happened: the promises as a function over entries. Answers a list of violations,
 * empty when all is well. Keeps a small model of its own and never uses fold, which other tests hold.
 */
import type { MessagePart } from "../../../protocol/content.ts";
import type { EventFrame } from "../../../protocol/entries.ts";
import { eventFrame } from "../../../protocol/entries.ts";

interface Call {
  readonly message: string;
  attempt: number;
  effect?: string;
  /** Causes of the attempts that were given up. */
  readonly lost: string[];
  results: number;
}

interface Run {
  readonly run: string;
  readonly calls: Map<string, Call>;
  steps: number;
  tokens: number;
  cancelled: boolean;
  readonly messages: Set<string>;
}

export interface LogRules {
  /** The last run may be open: its process was stopped. */
  mayBeOpen?: boolean;
}

export function violations(log: readonly EventFrame[], rules: LogRules = {}): string[] {
  const found: string[] = [];
  const queue: { input: string; rank: number; seq: number }[] = [];
  const ended = new Set<string>();
  const ids = new Set<string>();
  let open: Run | undefined;
  let epoch = 0;
  /** A fork begins with what it copied: messages without a run. */
  let copying = false;

  for (const [index, entry] of log.entries()) {
    const { event: body, seq } = entry;
    const wrong = (what: string): void => void found.push(`seq ${seq} ${body.type}: ${what}`);
    const shape = eventFrame.safeParse(entry);
    if (!shape.success) wrong(shape.error.message);
    if (seq !== index + 1) wrong(`stands at place ${index + 1}`);
    if (entry.epoch < epoch) wrong("has an older epoch than the entry before");
    epoch = entry.epoch;
    if ((index === 0) !== (body.type === "session-created"))
      wrong("session-created is the first entry, once");
    if (entry.run !== undefined && ended.has(entry.run)) wrong("belongs to a run that has ended");
    copying =
      body.type === "session-created" ? body.forkedFrom !== undefined : copying && isCopied(body.type);
    if (copying && body.type === "message") {
      if (ids.has(body.message.id)) wrong("a message id is used again");
      ids.add(body.message.id);
      if (body.message.parts.some(isUnanswered)) wrong("a call without a result is copied");
      continue;
    }
    const call = "call" in body && body.call !== undefined ? open?.calls.get(body.call) : undefined;

    switch (body.type) {
      case "input-queued":
        queue.push({ input: body.input, rank: rankOf(body.mode), seq });
        queue.sort((a, b) => a.rank - b.rank || a.seq - b.seq);
        break;
      case "input-withdrawn":
        take(body.input, wrong);
        break;
      case "run-started":
        if (open !== undefined) wrong(`while ${open.run} is open`);
        if (ended.has(body.run)) wrong("a run starts twice");
        if (queue[0]?.input !== body.input) wrong(`it is the turn of ${queue[0]?.input}`);
        open = {
          run: body.run,
          calls: new Map(),
          steps: 0,
          tokens: 0,
          cancelled: false,
          messages: new Set(),
        };
        break;
      case "message": {
        const { message } = body;
        if (ids.has(message.id)) wrong("a message id is used again");
        ids.add(message.id);
        if (open === undefined) wrong("no run is open");
        if (message.role === "user") take(message.id, wrong);
        if ([...(open?.calls.values() ?? [])].some(({ results }) => results === 0)) wrong("calls are open");
        for (const part of message.parts) {
          // A call that the model's provider executed itself is closed from the beginning.
          if (part.type !== "dynamic-tool" || part.state !== "input-available") continue;
          open?.calls.set(part.toolCallId, { message: message.id, attempt: 0, lost: [], results: 0 });
        }
        break;
      }
      case "message-abandoned":
        if (ids.has(body.message)) wrong("the message is committed");
        ids.add(body.message);
        break;
      case "tool-dispatched":
        if (call === undefined || call.results > 0)
          return [...found, `seq ${seq} dispatches a call that is not open`];
        if (body.attempt !== ++call.attempt) wrong(`attempt ${body.attempt} comes after ${call.attempt - 1}`);
        if (open?.cancelled) wrong("after the run was cancelled");
        if (body.effect === "once" && call.attempt > 1) {
          const cause = call.lost.at(-1);
          if (cause !== "not-sent" && cause !== "not-started") wrong(`once again after ${cause}`);
        }
        if (call.attempt > 1 && call.lost.length !== call.attempt - 1)
          wrong("the attempt before is not given up");
        break;
      case "tool-lost":
        if (call === undefined) wrong("no such call is open");
        call?.lost.push(body.cause);
        break;
      case "tool-result":
        if (call === undefined) wrong("no such call is open");
        else if (++call.results > 1) wrong("a second result");
        else if ((body.attempt ?? 0) > call.attempt) wrong("of an attempt that was not dispatched");
        break;
      case "step-finished":
        if (open === undefined || body.step !== ++open.steps) wrong(`step ${body.step}`);
        if (open !== undefined) open.tokens += body.usage.inputTokens + body.usage.outputTokens;
        if ([...(open?.calls.values() ?? [])].some(({ results }) => results === 0)) wrong("calls are open");
        break;
      case "compacted":
        if (body.upTo >= seq) wrong("covers what is to come");
        if (open !== undefined && entry.run === open.run)
          open.tokens += (body.usage?.inputTokens ?? 0) + (body.usage?.outputTokens ?? 0);
        break;
      case "cancel-requested":
        if (open?.run !== body.run) wrong("no such run is open");
        else if (open.cancelled) wrong("twice");
        else open.cancelled = true;
        break;
      case "run-finished":
        if (open?.run !== body.run) wrong("no such run is open");
        if (open === undefined) break;
        if ([...open.calls.values()].some(({ results }) => results !== 1)) wrong("a call without a result");
        if (body.steps !== open.steps) wrong(`${body.steps} steps, counted ${open.steps}`);
        if (body.usage.inputTokens + body.usage.outputTokens !== open.tokens)
          wrong("the usage does not add up");
        if (open.cancelled && body.reason !== "cancelled" && body.reason !== "deadline")
          wrong(`a cancelled run ends ${body.reason}`);
        if (!open.cancelled && body.reason === "cancelled") wrong("nobody cancelled it");
        ended.add(open.run);
        open = undefined;
        break;
      default:
        break;
    }
  }
  if (open !== undefined && !rules.mayBeOpen) found.push(`${open.run} never ends`);
  if (queue.length > 0 && !rules.mayBeOpen) found.push(`${queue.length} inputs wait for ever`);
  return found;

  function take(input: string, wrong: (what: string) => void): void {
    const at = queue.findIndex((item) => item.input === input);
    if (at < 0) wrong(`input ${input} does not wait`);
    else queue.splice(at, 1);
  }
}

function isCopied(type: string): boolean {
  return type === "message" || type === "compacted";
}

function isUnanswered(part: MessagePart): boolean {
  return part.type === "dynamic-tool" && ["input-streaming", "input-available"].includes(part.state);
}

function rankOf(mode: string): number {
  return mode === "interrupt" ? 0 : mode === "steer" ? 1 : 2;
}
