/**
 * The agent loop: model → tools → model, until the run has its one end. One file, one loop, an async generator that yields
 * what to show and what to commit, and goes on only when it is committed. Never writes to a log, a lock or a socket
 * itself, and never outlives its signals.
 */
import type { EntryBody, EntryBodyOf } from "../../protocol/entries.ts";
import type { Actor, FinishReason, Message, RunReason, Usage } from "../../protocol/content.ts";
import type { HistoryMessage, OpenCall, SessionState } from "../../protocol/frames.ts";
import { newMessageId } from "../../protocol/ids.ts";
import { addUsage, NO_USAGE } from "../../protocol/usage.ts";
import { ModelError } from "../model/model.ts";
import type { ModelPart } from "../model/model.ts";
import { MAX_ATTEMPTS, orAbort, pauseBefore } from "./asking.ts";
import { budgetStopped, describeOverrun } from "./budget.ts";
import { executeCalls, resumeCalls, runCalls } from "./calls.ts";
import { cleanError, cleanText, cleanUsage } from "./clean.ts";
import { compactedEntry, isDue, reachOf, summarize } from "./compact.ts";
import { isEnding } from "./context.ts";
import type { RunContext, RunOutput } from "./context.ts";
import { Draft } from "./draft.ts";
import { buildPrompt } from "./prompt.ts";

/** A final text longer than this is in its message only. */
const MAX_FINAL_TEXT = 4096;

type ModelEnd =
  | { type: "answer"; draft: Draft; reason: FinishReason; usage: Usage; model: string }
  | { type: "failed"; draft: Draft; error: { code: string; message: string } }
  | { type: "aborted"; draft: Draft };

export async function* runAgent(context: RunContext): AsyncGenerator<RunOutput, void> {
  const { agent, end, stop } = context;
  const before = context.resumed ? context.state().run : undefined;
  let usage = before?.usage ?? NO_USAGE;
  let steps = before?.step ?? 0;
  let answered = context.model.id;
  const finished = (
    reason: RunReason,
    more: { text?: string; error?: { code: string; message: string } } = {},
  ): EntryBody => ({
    type: "run-finished",
    run: context.run,
    reason,
    ...(more.text === undefined || more.text === "" || more.text.length > MAX_FINAL_TEXT
      ? {}
      : { text: more.text }),
    steps,
    usage,
    model: answered,
    ...(more.error === undefined ? {} : { error: more.error }),
  });
  const ended = (): RunReason => (end.reason === "deadline" ? "deadline" : "cancelled");
  const ending = (): boolean => isEnding(context);
  /** What closes a step whose calls all have their outcome; asked when the last one has. */
  const closing = (reason: FinishReason, spent: Usage, text: string) => (): EntryBody[] => {
    const closed: EntryBody = {
      type: "step-finished",
      run: context.run,
      step: steps,
      finishReason: reason,
      usage: spent,
    };
    if (ending()) return [closed, finished(ended())];
    if (steps >= agent.maxSteps) return [closed, finished("max-steps", { text })];
    return [closed, ...context.joinSteers()];
  };
  const over = (): boolean => stop.aborted || context.state().run?.run !== context.run;

  const open = before === undefined ? undefined : openStep(context.state());
  if (open !== undefined) {
    const { message, calls } = open;
    const spent = message.usage ?? NO_USAGE;
    steps = message.step ?? steps + 1;
    usage = addUsage(usage, spent);
    const close = closing(message.finishReason ?? "tool-calls", spent, textOf(message));
    yield* runCalls(context, resumeCalls(context, message, calls), close);
    if (over()) return;
  }
  if (context.resumed) await context.toolsAgain();

  for (;;) {
    await context.placed();
    usage = addUsage(usage, yield* compact(context));
    const spent = await context.overBudget();
    if (spent !== undefined) {
      const error = { code: "over-budget", message: describeOverrun(spent) };
      yield commit(() =>
        ending() ? [finished(ended())] : [budgetStopped(context.run, spent), finished("error", { error })],
      );
      return;
    }
    const answer = yield* callModel(context, steps + 1);
    if (stop.aborted) return;
    const { draft } = answer;
    if (answer.type === "aborted") {
      const { parts } = draft.finish(false);
      const said =
        parts.length === 0
          ? []
          : [messageEntry(context, draft, parts, { step: steps + 1, incomplete: true })];
      yield commit([...said, finished(ended())]);
      return;
    }
    if (answer.type === "failed") {
      const taken: EntryBody[] = draft.begun
        ? [{ type: "message-abandoned", message: draft.id, text: draft.shown, cause: answer.error.code }]
        : [];
      yield commit(() => [
        ...taken,
        ending() ? finished(ended()) : finished("error", { error: answer.error }),
      ]);
      return;
    }

    steps++;
    usage = addUsage(usage, answer.usage);
    answered = answer.model;
    const cutOff = answer.reason === "length" || answer.reason === "content-filter";
    const { parts, calls, text } = draft.finish(!cutOff);
    const said =
      parts.length === 0
        ? []
        : [
            messageEntry(context, draft, parts, {
              step: steps,
              finishReason: answer.reason,
              usage: answer.usage,
            }),
          ];
    const stepFinished: EntryBody = {
      type: "step-finished",
      run: context.run,
      step: steps,
      finishReason: answer.reason,
      usage: answer.usage,
    };
    if (calls.length === 0) {
      const reason: RunReason =
        answer.reason === "length"
          ? "max-tokens"
          : answer.reason === "content-filter"
            ? "content-filter"
            : text === ""
              ? "no-action"
              : "text";
      yield commit(() => [...said, stepFinished, ending() ? finished(ended()) : finished(reason, { text })]);
      return;
    }

    yield* executeCalls(context, said, calls, closing(answer.reason, answer.usage, text));
    if (over()) return;
  }
}

/** The message of the step that was open when the log ended, and its calls without an outcome. */
function openStep(state: SessionState): { message: HistoryMessage; calls: readonly OpenCall[] } | undefined {
  const first = state.calls[0];
  const message = state.messages.find((item) => item.id === first?.message);
  return message && { message, calls: state.calls };
}

function textOf(message: Message): string {
  return message.parts.map((part) => (part.type === "text" ? part.text : "")).join("");
}

function commit(entries: EntryBody[] | (() => EntryBody[])): RunOutput {
  return { type: "commit", entries: typeof entries === "function" ? entries : () => entries };
}

function messageEntry(
  context: RunContext,
  draft: Draft,
  parts: Message["parts"],
  more: { step: number; finishReason?: FinishReason; usage?: Usage; incomplete?: true },
): EntryBody {
  const { name } = context.agent;
  const author: Actor = { kind: "agent", id: name, name, verified: true };
  return {
    type: "message",
    message: { id: draft.id, role: "assistant", author, run: context.run, parts },
    ...more,
  };
}

/** Shortens the context where it is due; answers what that cost. Without a summary the run goes on as it was. */
async function* compact(context: RunContext): AsyncGenerator<RunOutput, Usage> {
  const { agent, model, services, onCompact } = context;
  const state = context.state();
  const upTo = isDue(state, agent) ? reachOf(state) : undefined;
  if (upTo === undefined || isEnding(context) || (await context.overBudget()) !== undefined) return NO_USAGE;
  const signal = AbortSignal.any([context.end, context.stop]);
  const { deadlines } = services;
  let compacted: EntryBodyOf<"compacted">;
  try {
    compacted = await summarize(state, upTo, { agent, model, deadlines, onCompact, signal });
  } catch (error) {
    if (!signal.aborted) context.onFault(error, "the context could not be compacted");
    return NO_USAGE;
  }
  let spent = NO_USAGE;
  yield commit(() => {
    const entries = isEnding(context) ? [] : compactedEntry(context.state(), compacted);
    if (entries.length > 0) spent = compacted.usage ?? NO_USAGE;
    return entries;
  });
  return spent;
}

/** One model call: streamed, and asked again only while nothing of it was shown. */
async function* callModel(context: RunContext, step: number): AsyncGenerator<RunOutput, ModelEnd> {
  const signal = AbortSignal.any([context.end, context.stop]);
  const { agent, model } = context;
  const request = {
    instructions: agent.instructions,
    messages: buildPrompt(context.state(), agent.name),
    tools: context.tools().map(({ specification: { name, description, inputSchema } }) => ({
      name,
      description,
      inputSchema,
    })),
    toolChoice: step === 1 || agent.toolChoice === "none" ? agent.toolChoice : ("auto" as const),
    reasoning: agent.reasoning,
    settings: agent,
    cacheKey: context.session,
  };
  for (let attempt = 1; ; attempt++) {
    const draft = new Draft(newMessageId());
    if (signal.aborted) return { type: "aborted", draft };
    let stream: AsyncIterator<ModelPart> | undefined;
    try {
      stream = model.stream(request, signal)[Symbol.asyncIterator]();
      for (;;) {
        const next: IteratorResult<ModelPart> = await orAbort(stream.next(), signal);
        if (next.done)
          throw new ModelError("incomplete", "the model's stream ended without a finish", {
            retryable: true,
          });
        const part = next.value;
        if (part.type === "finish") {
          if (part.reason === "error") throw new ModelError("model", "the model ended with an error");
          const { reason, usage, model: answered = model.id } = part;
          return { type: "answer", draft, reason, usage: cleanUsage(usage), model: cleanText(answered, 256) };
        }
        const change = draft.add(part);
        if (change.begins !== undefined) yield { type: "part", message: draft.id, ...change.begins };
        if (change.text !== "")
          yield { type: "delta", message: draft.id, part: change.part, text: change.text };
      }
    } catch (error) {
      // A stuck stream must not hold the run: its end is not awaited.
      void Promise.resolve(stream?.return?.()).catch(() => {});
      if (signal.aborted) return { type: "aborted", draft };
      if (!(error instanceof ModelError) || error.code === "internal") context.onFault(error, "model failed");
      const known = error instanceof ModelError ? error : new ModelError("internal", "the model failed");
      if (draft.begun || !known.retryable || attempt >= MAX_ATTEMPTS) {
        return { type: "failed", draft, error: cleanError(known) };
      }
      try {
        await pauseBefore(attempt, known, context.services.deadlines, signal);
      } catch {
        return { type: "aborted", draft };
      }
    }
  }
}
