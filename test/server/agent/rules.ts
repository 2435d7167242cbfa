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
  child?: string;
}

interface Waiting {
  readonly input: string;
  readonly rank: number;
  readonly author: string | undefined;
}

interface Run {
  readonly run: string;
  readonly author: string | undefined;
  readonly calls: Map<string, Call>;
  steps: number;
  tokens: number;
  cancelled: boolean;
  rollback: boolean;
  readonly messages: Set<string>;
}

export interface LogRules {
  /** The last run may be open: its process was stopped. */
  mayBeOpen?: boolean;
}

export function violations(log: readonly EventFrame[], rules: LogRules = {}): string[] {
  const found: string[] = [];
  const queue: Waiting[] = [];
  let inTurns = true;
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
        admit({ input: body.input, rank: rankOf(body.mode), author: entry.actor?.id });
        break;
      case "inputs-ordered": {
        const places = queue.flatMap(({ input }, at) => (body.inputs.includes(input) ? [at] : []));
        const moved = body.inputs.map((input) => queue.find((item) => item.input === input)!);
        if (places.length !== moved.length) wrong("names an input that does not wait");
        for (const [at, place] of places.entries()) queue[place] = moved[at]!;
        break;
      }
      case "floor-changed":
        inTurns = body.mode !== "open";
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
          author: entry.actor?.id,
          calls: new Map(),
          steps: 0,
          tokens: 0,
          cancelled: false,
          rollback: false,
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
      case "tool-delegated":
        if (call === undefined || call.results > 0) wrong("no such call is open");
        else if (call.child !== undefined) wrong("a task is given twice");
        else if (open?.cancelled) wrong("after the run was cancelled");
        else call.child = body.child;
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
        else if (open.cancelled && (open.rollback || !body.rollback)) wrong("twice");
        else {
          open.cancelled = true;
          open.rollback ||= body.rollback ?? false;
        }
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
        if (open.rollback !== (body.rolledBack ?? false))
          wrong("rolled back is what nobody asked for, or not what was");
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

  /** Behind all of its rank; in turns before the first whose author has had more turns by then than this one's. */
  function admit(item: Waiting): void {
    const { rank, author } = item;
    const running = (name: string | undefined): number => Number(open !== undefined && open.author === name);
    const last = (test: (other: Waiting) => boolean): number => queue.findLastIndex(test) + 1;
    let at = last((other) => other.rank <= rank);
    if (inTurns) {
      const mine =
        queue.filter((other) => other.author === author && other.rank <= rank).length + running(author);
      const from = last((other) => other.rank < rank || (other.rank === rank && other.author === author));
      const isLater = (other: Waiting, index: number): boolean => {
        const turns = queue.slice(0, index).filter((earlier) => earlier.author === other.author).length;
        return other.rank > rank || turns + running(other.author) > mine;
      };
      const before = queue.findIndex((other, index) => index >= from && index < at && isLater(other, index));
      if (before >= 0) at = before;
    }
    queue.splice(at, 0, item);
  }

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
  return mode === "interrupt" || mode === "rollback" ? 0 : mode === "steer" ? 1 : 2;
}
