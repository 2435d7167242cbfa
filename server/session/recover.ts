/**
 * What becomes of a run whose process is gone: the one decision for boot, takeover and a session that was dropped. Owns
 * the entries that name it; a committed message is never made again, only a step without one is.
 */
import type { EntryBody } from "../../protocol/entries.ts";
import type { Actor, MessagePart } from "../../protocol/content.ts";
import type { Partial, SessionState } from "../../protocol/frames.ts";
import type { Agent } from "../agent/agent.ts";
import { LOCAL_PROVIDER } from "../tool/tool.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { runEnding } from "./lifecycle.ts";

/** The restart of one step that ends its run instead. */
const LAST_RESTART = 3;

export interface Recovery {
  readonly entries: EntryBody[];
  /** The run goes on once the entries are committed. */
  readonly goesOn: boolean;
}

/** For a state with an open run that nobody drives. `agent`: its agent, if it is still registered. */
export function planRecovery(
  state: SessionState,
  agent: Agent | undefined,
  checkpoint: Checkpoint | undefined,
): Recovery {
  const run = state.run!;
  const unfinished = checkpoint && unfinishedText(state, checkpoint);
  if (run.cancelRequested !== undefined) {
    const said = unfinished === undefined ? [] : incompleteMessage(state, unfinished);
    return { entries: [...said, ...runEnding(state, "cancelled")], goesOn: false };
  }
  const abandoned = unfinished === undefined ? [] : [abandon(unfinished)];
  if (agent === undefined) {
    const error = { code: "not-found", message: `agent '${run.agent}' not registered` };
    return { entries: [...abandoned, ...runEnding(state, "error", error)], goesOn: false };
  }
  const step = run.step + 1;
  const before = run.recovered?.step === step ? run.recovered.attempt : 0;
  const planned = checkpoint?.planned === true && checkpoint.seq === state.seq;
  const attempt = !planned && wasCutShort(state) ? before + 1 : before;
  const policy = agent.crashPolicy;
  if ((policy === "stop" && !planned) || attempt >= LAST_RESTART) {
    return { entries: [...abandoned, ...runEnding(state, "interrupted")], goesOn: false };
  }
  const recovered: EntryBody = {
    type: "run-recovered",
    run: run.run,
    policy,
    step,
    attempt,
    ...(unfinished === undefined ? {} : { abandoned: unfinished.message }),
  };
  return { entries: [...abandoned, recovered], goesOn: true };
}

/** Whether the model or a tool of this process was at work; else the run waited for others, who may still be at it. */
function wasCutShort({ calls, requests }: SessionState): boolean {
  const atWork = calls.some(
    ({ call, provider, effect, state }) =>
      provider === LOCAL_PROVIDER &&
      effect !== "once" &&
      (state === "dispatched" || state === "accepted") &&
      !requests.some((request) => request.call === call),
  );
  return calls.length === 0 || atWork;
}

/** The slot's text, unless its message was committed or its run is over. */
export function unfinishedText(state: SessionState, checkpoint: Checkpoint): Partial | undefined {
  const { partial, step } = checkpoint;
  const { run } = state;
  if (partial === undefined || run === undefined || partial.run !== run.run || step !== run.step + 1)
    return undefined;
  return state.messages.some((message) => message.id === partial.message) ? undefined : partial;
}

function abandon(partial: Partial): EntryBody {
  const text = partial.parts.map((part) => (part.kind === "text" ? part.text : "")).join("");
  return { type: "message-abandoned", message: partial.message, text, cause: "crash" };
}

function incompleteMessage(state: SessionState, partial: Partial): EntryBody[] {
  const parts = partial.parts.flatMap((part): MessagePart[] =>
    part.kind === "tool-input" || part.text === "" ? [] : [{ type: part.kind, text: part.text }],
  );
  if (parts.length === 0) return [];
  const { agent, run, step } = state.run!;
  const author: Actor = { kind: "agent", id: agent, name: agent, verified: true };
  const message = { id: partial.message, role: "assistant" as const, author, run, parts };
  return [{ type: "message", message, step: step + 1, incomplete: true }];
}
