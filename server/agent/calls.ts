/**
 * The tool calls of one step: prepared from what the model asked, or taken up again from the log, then run side by side.
 * Owns what is refused before any provider sees it and which entries share an append; never retries or loses a call
 * (tool/call.ts) and never calls a model.
 */
import type { EntryBody } from "../../protocol/entries.ts";
import type { Effect, JsonValue } from "../../protocol/content.ts";
import type { HistoryMessage, OpenCall } from "../../protocol/frames.ts";
import type { Allowance } from "../../protocol/people.ts";
import { prepareCall } from "../tool/call.ts";
import type { CallEntries, CallRequest, CallStep, PreparedCall } from "../tool/context.ts";
import { Inbox } from "../tool/inbox.ts";
import type { RegisteredTool } from "../tool/registry.ts";
import { SERVER_SCOPE } from "../tool/registry.ts";
import { DELEGATE } from "../tool/delegate.ts";
import { cleanText } from "./clean.ts";
import { isEnding } from "./context.ts";
import type { RunContext, RunOutput } from "./context.ts";
import { prepareDelegated } from "./delegate.ts";
import type { AskedCall } from "./draft.ts";
import { askFirst, faultOf, mayBeAllowedElsewhere, resumeAsked } from "./people.ts";

const MAX_FAULT_TEXT = 4096;
/** Calls whose entries share one append: their outputs may be of the size of a payload each. */
const MAX_TOGETHER = 16;

/** The calls of a committed message that have no outcome yet, to go on where the log ends. */
export function resumeCalls(
  context: RunContext,
  message: HistoryMessage,
  open: readonly OpenCall[],
): PreparedCall[] {
  return open.map((call) => {
    const part = message.parts.find((item) => item.type === "dynamic-tool" && item.toolCallId === call.call);
    const input = part?.type === "dynamic-tool" ? (part.input ?? {}) : {};
    const tool = (): RegisteredTool => toolNamed(context, call.tool) ?? absent(context, call);
    const request = context.state().requests.find((item) => item.call === call.call);
    if (request === undefined) {
      const askedAt = call.allowedAt ?? message.at;
      return prepare(context, { call: call.call, tool, input, askedAt }, call);
    }
    const go = (allowed: JsonValue): PreparedCall => {
      const asked = { call: call.call, tool, input: allowed, askedAt: context.services.now() };
      // A tool that is away has its time to come back, as it has for calls that were on their way.
      return prepare(context, asked, toolNamed(context, call.tool) === undefined ? call : undefined);
    };
    return resumeAsked(context, { call: call.call, tool: call.tool, input }, request.request, go);
  });
}

/** A call that the model just asked for: sent where somebody is free, or behind its request. */
function prepareNew(
  context: RunContext,
  call: AskedCall,
  elsewhere: () => readonly Allowance[],
): PreparedCall {
  const tool = toolNamed(context, call.tool)!;
  const go = (input: JsonValue): PreparedCall =>
    prepare(context, { call: call.call, tool: () => tool, input, askedAt: context.services.now() });
  return askFirst(context, call, tool, go, elsewhere) ?? go(call.input);
}

function prepare(
  context: RunContext,
  asked: Pick<CallRequest, "call" | "tool" | "input" | "askedAt">,
  from?: OpenCall,
): PreparedCall {
  if (from?.child !== undefined || asked.tool().specification.name === DELEGATE)
    return prepareDelegated(context, asked, from);
  const { session, run, actor, agent, services } = context;
  const cancelled = (): boolean => isEnding(context);
  const { name, labels, affinity } = agent;
  return prepareCall(
    { session, run, agent: name, labels, affinity, actor, cancelled, ...asked },
    services,
    from,
  );
}

function toolNamed(context: RunContext, name: string): RegisteredTool | undefined {
  return context.tools().find((item) => item.specification.name === name);
}

/** A tool that nobody has offered again: its calls wait for their provider all the same, as the run knows the tool. */
function absent(context: RunContext, call: OpenCall): RegisteredTool {
  const known = context.state().run?.tools.find(({ name }) => name === call.tool);
  const effect: Effect = call.effect ?? known?.effect ?? "once";
  const timeoutMs = known?.timeoutMs ?? 60_000;
  const specification = { name: call.tool, description: "", inputSchema: {}, effect, timeoutMs };
  return { scope: SERVER_SCOPE, specification, inProcess: false, kind: undefined };
}

/** Commits the message with its dispatches, runs its calls in parallel, and closes the step with the last result. */
export async function* executeCalls(
  context: RunContext,
  said: readonly EntryBody[],
  calls: readonly AskedCall[],
  closing: () => EntryBody[],
): AsyncGenerator<RunOutput, void> {
  const prepared: PreparedCall[] = [];
  let go = false;
  let committed = false;
  const elsewhere = await allowedElsewhere(context, calls);
  try {
    yield commit(() => {
      const ending = isEnding(context);
      const entries = [...said];
      let tasks = 0;
      for (const call of calls) {
        const refused =
          refuse(context, call) ?? (call.tool === DELEGATE ? refuseTask(context, call, tasks++) : undefined);
        if (refused !== undefined) entries.push(refused);
        else if (ending) entries.push(withoutDispatch(call, "cancelled", "the run was cancelled"));
        else {
          const ready = prepareNew(context, call, elsewhere);
          prepared.push(ready);
          entries.push(...ready.entries);
        }
      }
      go = prepared.length > 0;
      return go ? entries : [...entries, ...closing()];
    });
    committed = true;
  } finally {
    if (!committed) for (const ready of prepared) ready.discard();
  }
  if (go) yield* runCalls(context, prepared, closing);
}

/** What was said in other sessions, read only where it counts; who cannot read it asks people. */
async function allowedElsewhere(
  context: RunContext,
  calls: readonly AskedCall[],
): Promise<() => readonly Allowance[]> {
  const counts = calls.some((call) => {
    const tool = toolNamed(context, call.tool);
    return tool !== undefined && mayBeAllowedElsewhere(context, call, tool);
  });
  if (!counts) return () => [];
  try {
    return await context.allowedElsewhere();
  } catch (error) {
    context.onFault(error, "what was allowed in other sessions could not be read");
    return () => [];
  }
}

type Running = ReturnType<PreparedCall["run"]>;
type Advance =
  | { readonly generator: Running; readonly result: Awaited<ReturnType<Running["next"]>> }
  | { readonly generator: Running; readonly error: unknown };

/**
 * Runs calls whose dispatches are committed, side by side; the last result closes the step. What several of them have to
 * say while an append is under way goes into the next one together.
 */
export async function* runCalls(
  context: RunContext,
  prepared: readonly PreparedCall[],
  closing: () => EntryBody[],
): AsyncGenerator<RunOutput, void> {
  const running = new Set<Running>();
  const ready = new Inbox<Advance>();
  const advance = (generator: Running): void => {
    generator.next().then(
      (result) => ready.push({ generator, result }),
      (error: unknown) => ready.push({ generator, error }),
    );
  };
  try {
    for (const call of prepared) running.add(call.run(context.end, context.stop));
    for (const generator of running) advance(generator);
    let open = prepared.length;
    let left: Advance | undefined;
    while (running.size > 0) {
      const next: Advance = left ?? (await ready.next());
      left = undefined;
      if ("error" in next) throw next.error;
      if (next.result.done) {
        running.delete(next.generator);
        continue;
      }
      if (context.stop.aborted) return;
      const first = next.result.value;
      const together = [next.generator];
      const values: CallStep[] = [first];
      while (isPlain(first) && together.length < MAX_TOGETHER && ready.waiting > 0) {
        left = await ready.next();
        if ("error" in left || left.result.done || !isPlain(left.result.value)) break;
        together.push(left.generator);
        values.push(left.result.value);
        left = undefined;
      }
      yield {
        type: "commit",
        ...(isPlain(first) ? {} : first),
        entries: () => {
          const entries = values.flatMap((value) => {
            const read = isPlain(value) ? value : value.entries;
            const own = typeof read === "function" ? read() : read;
            if (own.some((entry) => entry.type === "tool-result")) open--;
            return own;
          });
          return open === 0 ? [...entries, ...closing()] : entries;
        },
      };
      for (const generator of together) advance(generator);
    }
  } finally {
    // A call whose entries were not committed gives back what it holds.
    for (const generator of running) void generator.return();
  }
}

/** Entries that nobody must be told about; such may share an append. */
function isPlain(value: CallStep): value is CallEntries {
  return Array.isArray(value) || typeof value === "function";
}

/** The outcome of a call that cannot be dispatched at all. */
function refuse(context: RunContext, call: AskedCall): EntryBody | undefined {
  const tool = toolNamed(context, call.tool);
  if (tool === undefined) {
    return withoutDispatch(call, "unavailable", `there is no tool ${call.tool} in this run`);
  }
  const fault = call.fault ?? faultOf(tool, call.input);
  return fault === undefined ? undefined : withoutDispatch(call, "invalid-input", fault);
}

function withoutDispatch(
  { call }: AskedCall,
  outcome: "unavailable" | "invalid-input" | "cancelled",
  message: string,
): EntryBody {
  const error = { code: outcome, message: cleanText(message, MAX_FAULT_TEXT) };
  return { type: "tool-result", call, outcome, error, durationMs: 0 };
}

/** One task too many, or too deep below others; `before` of them are given in this step already. */
function refuseTask(context: RunContext, { call }: AskedCall, before: number): EntryBody | undefined {
  const error = context.delegation.refusal(context.state(), before);
  return error && { type: "tool-result", call, outcome: "error", error, durationMs: 0 };
}

function commit(entries: () => EntryBody[]): RunOutput {
  return { type: "commit", entries };
}
