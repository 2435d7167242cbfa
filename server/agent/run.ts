/**
 * The agent loop: model → tools → model, until the run has its one end. One file, one loop, an async generator that yields
 * what to show and what to commit, and goes on only when it is committed. Never writes to a log, a lock or a socket
 * itself, and never outlives its signals.
 */
import type { EntryBody } from "../../protocol/entries.ts";
import type { Actor, FinishReason, Message, RunReason, Usage } from "../../protocol/content.ts";
import type { PartKind, SessionState } from "../../protocol/frames.ts";
import { newId } from "../../protocol/ids.ts";
import { addUsage, NO_USAGE } from "../../protocol/state.ts";
import { cutText } from "../../protocol/values.ts";
import { ModelError } from "../model/model.ts";
import type { Model, ModelPart } from "../model/model.ts";
import { prepareCall } from "../tool/call.ts";
import type { CallServices, PreparedCall } from "../tool/call.ts";
import type { RegisteredTool } from "../tool/registry.ts";
import { compileSchema } from "../tool/schema.ts";
import type { Agent } from "./agent.ts";
import { Draft } from "./draft.ts";
import type { AskedCall } from "./draft.ts";
import { buildPrompt } from "./prompt.ts";

const MAX_ATTEMPTS = 3;
const MAX_RETRY_AFTER_MS = 60_000;
/** A final text longer than this is in its message only. */
const MAX_FINAL_TEXT = 4096;

export interface RunContext {
  readonly session: string;
  readonly run: string;
  readonly agent: Agent;
  readonly model: Model;
  /** Fixed when the run started; a call outside it is unavailable. */
  readonly tools: readonly RegisteredTool[];
  /** Who sent the input; what the run does, it does in this name. */
  readonly actor: Actor;
  readonly services: CallServices;
  /** The committed state, as of now. */
  state(): SessionState;
  /** Steering inputs that join here, as the entries that consume them. */
  joinSteers(): EntryBody[];
  /** Aborted with reason `cancelled` or `deadline`: end the run. */
  readonly end: AbortSignal;
  /** Aborted when this process must leave the run as it is: nothing more is yielded. */
  readonly stop: AbortSignal;
  /** Faults that are ours, for the log. */
  onFault(error: unknown): void;
}

export type RunOutput =
  /** `entries` is asked under the session's lock, so that it sees what is committed. */
  | { readonly type: "commit"; readonly entries: () => EntryBody[] }
  | {
      readonly type: "part";
      readonly message: string;
      readonly part: number;
      readonly kind: PartKind;
      readonly call?: string;
      readonly tool?: string;
    }
  | { readonly type: "delta"; readonly message: string; readonly part: number; readonly text: string };

type ModelEnd =
  | { type: "answer"; draft: Draft; reason: FinishReason; usage: Usage; model: string }
  | { type: "failed"; draft: Draft; error: { code: string; message: string } }
  | { type: "aborted"; draft: Draft };

export async function* runAgent(context: RunContext): AsyncGenerator<RunOutput, void> {
  const { agent, end, stop } = context;
  let usage = NO_USAGE;
  let steps = 0;
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

  for (;;) {
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

    const closing = (): EntryBody[] => {
      if (ending()) return [stepFinished, finished(ended())];
      if (steps >= agent.maxSteps) return [stepFinished, finished("max-steps", { text })];
      return [stepFinished, ...context.joinSteers()];
    };
    yield* executeCalls(context, said, calls, closing);
    if (stop.aborted || context.state().run?.run !== context.run) return;
  }
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

/** One model call: streamed, and asked again only while nothing of it was shown. */
async function* callModel(context: RunContext, step: number): AsyncGenerator<RunOutput, ModelEnd> {
  const signal = AbortSignal.any([context.end, context.stop]);
  const { agent, model } = context;
  const request = {
    instructions: agent.instructions,
    messages: buildPrompt(context.state()),
    tools: context.tools.map(({ specification: { name, description, inputSchema } }) => ({
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
    const draft = new Draft(newId("msg"));
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
          return { type: "answer", draft, reason, usage, model: answered };
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
      if (!(error instanceof ModelError)) context.onFault(error);
      const known = error instanceof ModelError ? error : new ModelError("internal", "the model failed");
      if (draft.begun || !known.retryable || attempt >= MAX_ATTEMPTS) {
        return { type: "failed", draft, error: { code: known.code.slice(0, 64), message: known.message } };
      }
      const backoff = known.retryAfterMs ?? 500 * 2 ** (attempt - 1) * (1 + Math.random());
      const waited = new Promise<void>((resolve) => {
        context.services.deadlines.after(Math.min(backoff, MAX_RETRY_AFTER_MS), resolve);
      });
      try {
        await orAbort(waited, signal);
      } catch {
        return { type: "aborted", draft };
      }
    }
  }
}

/** The promise, or a rejection as soon as the signal aborts. */
function orAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(new Error("aborted"));
    if (signal.aborted) {
      promise.catch(() => {});
      abort();
      return;
    }
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** Commits the message with its dispatches, runs its calls in parallel, and closes the step with the last result. */
async function* executeCalls(
  context: RunContext,
  said: EntryBody[],
  calls: readonly AskedCall[],
  closing: () => EntryBody[],
): AsyncGenerator<RunOutput, void> {
  const prepared: PreparedCall[] = [];
  /** With the calls sent, and with none of them sent because the run is ending. */
  const sent = [...said];
  const unsent = [...said];
  for (const call of calls) {
    const refused = refuse(context, call);
    if (refused !== undefined) {
      sent.push(refused);
      unsent.push(refused);
      continue;
    }
    const tool = context.tools.find((item) => item.specification.name === call.tool)!;
    const { session, run, actor, agent } = context;
    const cancelled = (): boolean => isEnding(context);
    const ready = prepareCall(
      { session, run, agent: agent.name, actor, call: call.call, tool, input: call.input, cancelled },
      context.services,
    );
    sent.push(...ready.entries);
    unsent.push(withoutDispatch(call, "cancelled", "the run was cancelled"));
    prepared.push(ready);
  }
  let go = false;
  let committed = false;
  try {
    yield commit(() => {
      go = prepared.length > 0 && !isEnding(context);
      return go ? sent : [...unsent, ...closing()];
    });
    committed = true;
  } finally {
    if (!committed || !go) for (const ready of prepared) ready.discard();
  }
  if (go) yield* runCalls(context, prepared, closing);
}

async function* runCalls(
  context: RunContext,
  prepared: readonly PreparedCall[],
  closing: () => EntryBody[],
): AsyncGenerator<RunOutput, void> {
  type Running = ReturnType<PreparedCall["run"]>;
  type Advance = { generator: Running; result: Awaited<ReturnType<Running["next"]>> };
  const running = new Map<Running, Promise<Advance>>();
  const advance = (generator: Running): void => {
    running.set(
      generator,
      generator.next().then((result) => ({ generator, result })),
    );
  };
  try {
    for (const ready of prepared) advance(ready.run(context.end, context.stop));
    let open = prepared.length;
    while (running.size > 0) {
      const { generator, result } = await Promise.race(running.values());
      if (result.done) {
        running.delete(generator);
        continue;
      }
      if (context.stop.aborted) return;
      const { value } = result;
      yield commit(() => {
        const entries = typeof value === "function" ? value() : value;
        if (entries.some((entry) => entry.type === "tool-result")) open--;
        return open === 0 ? [...entries, ...closing()] : entries;
      });
      advance(generator);
    }
  } finally {
    // A call whose entries were not committed gives back what it holds.
    for (const generator of running.keys()) void generator.return();
  }
}

/** Whether this run is to end as cancelled or at its deadline. The log decides: it knows of a cancel before the signal. */
function isEnding(context: RunContext): boolean {
  return context.end.aborted || context.state().run?.cancelRequested !== undefined;
}

/** The outcome of a call that cannot be dispatched at all. */
function refuse(context: RunContext, call: AskedCall): EntryBody | undefined {
  const tool = context.tools.find((item) => item.specification.name === call.tool);
  if (tool === undefined) {
    return withoutDispatch(call, "unavailable", `there is no tool ${call.tool} in this run`);
  }
  const fault = call.fault ?? compileSchema(tool.specification.inputSchema)(call.input);
  return fault === undefined ? undefined : withoutDispatch(call, "invalid-input", fault);
}

function withoutDispatch(
  { call }: AskedCall,
  outcome: "unavailable" | "invalid-input" | "cancelled",
  message: string,
): EntryBody {
  return {
    type: "tool-result",
    call,
    outcome,
    error: { code: outcome, message: cutText(message, MAX_FINAL_TEXT) },
    durationMs: 0,
  };
}
