/**
 * The entries at both ends of a run: what starts one from a queued input, and what ends one that its process left open.
 * Owns those two decisions; never appends and never streams.
 */
import type { EntryBody, EntryBodyOf } from "../../protocol/entries.ts";
import type { Actor, Message, RunReason } from "../../protocol/content.ts";
import type { QueuedInput, SessionState } from "../../protocol/frames.ts";
import { newId } from "../../protocol/ids.ts";
import { NO_USAGE } from "../../protocol/usage.ts";
import type { Agent } from "../agent/agent.ts";
import { contentParts } from "../agent/prompt.ts";
import type { RunContext } from "../agent/context.ts";
import { DELEGATE } from "../tool/delegate.ts";
import type { TeamMember } from "../tool/delegate.ts";
import type { Entry, SessionServices } from "./services.ts";

export const SYSTEM: Actor = { kind: "system", id: "system", name: "system", verified: true };

export type StartedRun = Pick<
  RunContext,
  "session" | "run" | "agent" | "model" | "tools" | "actor" | "resumed"
>;

/** The entries that give the slot to an input. `context` is absent when they end the run at once: its agent is gone. */
export function startRun(
  state: SessionState,
  input: QueuedInput,
  services: SessionServices,
): { started: EntryBodyOf<"run-started">; entries: Entry[]; context?: StartedRun } {
  const run = newId("run");
  const name = input.agent ?? state.session.agent;
  const agent = services.agents.get(name);
  const agentVersion = agent && services.agents.versionOf(agent);
  const actor = input.actor ?? SYSTEM;
  const model = agent === undefined ? undefined : services.model(agent);
  const { session } = state;
  const tools =
    agent === undefined ? [] : services.tools.visible(agent.tools, session.id, team(agent, services));
  const started: EntryBodyOf<"run-started"> = {
    type: "run-started",
    run,
    input: input.input,
    agent: name,
    ...(agentVersion === undefined ? {} : { agentVersion }),
    model: model?.id ?? "",
    tools: tools.map(({ specification: tool }) => ({
      name: tool.name,
      effect: tool.effect,
      timeoutMs: tool.timeoutMs,
    })),
  };
  const { parent } = session;
  const author = input.input === parent?.input ? agentActor(parent.agent) : actor;
  const entries: EntryBody[] = [started, inputMessage(input, run, author)];
  if (agent === undefined || model === undefined) {
    entries.push({
      type: "run-finished",
      run,
      reason: "error",
      steps: 0,
      usage: NO_USAGE,
      model: "",
      error: { code: "not-found", message: `agent '${name}' not registered` },
    });
    return { started, entries: entries.map((body) => ({ body, run, actor })) };
  }
  return {
    started,
    entries: entries.map((body) => ({ body, run, actor })),
    context: {
      session: session.id,
      run,
      agent,
      model,
      tools: () => tools,
      actor,
      resumed: false,
    },
  };
}

/** The open run of a state, to go on with the tools that are there now. */
export function resumeRun(state: SessionState, agent: Agent, services: SessionServices): StartedRun {
  const run = state.run!;
  const names = run.tools.map((tool) => tool.name);
  const members = names.includes(DELEGATE) ? team(agent, services) : [];
  return {
    session: state.session.id,
    run: run.run,
    agent,
    model: services.model(agent),
    tools: () => (names.length === 0 ? [] : services.tools.visible(names, state.session.id, members)),
    actor: run.actor ?? SYSTEM,
    resumed: true,
  };
}

/** Whom the agent may give tasks to, as they are described now. */
function team({ members }: Agent, services: SessionServices): TeamMember[] {
  return members.map((name) => ({ name, description: services.agents.get(name)?.description ?? "" }));
}

function agentActor(name: string): Actor {
  return { kind: "agent", id: name, name, verified: true };
}

/** How a run that is not at work gets its place back: it waits for people alone, or for tasks, too. */
export type Waits = "resume" | "comeBack" | undefined;

export function waitsForOthers({ calls, requests }: SessionState): Waits {
  const asked = new Set(requests.map(({ call }) => call));
  const waits = calls.length > 0 && calls.every(({ call, child }) => child !== undefined || asked.has(call));
  if (!waits) return undefined;
  return calls.some(({ child }) => child !== undefined) ? "comeBack" : "resume";
}

/** Steering inputs but those that ask another agent: they wait for a run of its own. */
export function steers({ queue }: SessionState, agent: string): QueuedInput[] {
  return queue.filter((item) => item.mode === "steer" && (item.agent ?? agent) === agent);
}

/** The entry that takes an input out of the queue and into the history. */
export function inputMessage(
  input: QueuedInput,
  run: string,
  author: Actor = input.actor ?? SYSTEM,
): EntryBody {
  const message: Message = {
    id: input.input,
    role: "user",
    author,
    run,
    parts: contentParts(input.content),
  };
  return { type: "message", message };
}

/** The end of a run that is to be rolled back says so, whatever it ended with. */
export function asRolledBack(body: EntryBody, { run }: SessionState): EntryBody {
  return body.type === "run-finished" && run?.rollback ? { ...body, rolledBack: true } : body;
}

/** What ends the open run of a state: an outcome for each open call and request, then the run's end. */
export function runEnding(
  state: SessionState,
  reason: RunReason,
  error?: { code: string; message: string },
): EntryBody[] {
  const run = state.run!;
  const entries: EntryBody[] = state.requests.map((request) => ({
    type: "request-resolved",
    request: request.request,
    decision: "cancelled",
  }));
  for (const call of state.calls) {
    const sent = call.attempt > 0 || call.child !== undefined;
    entries.push({
      type: "tool-result",
      call: call.call,
      ...(call.attempt > 0 ? { attempt: call.attempt } : {}),
      outcome: sent ? "outcome-unknown" : "cancelled",
      error: sent
        ? { code: "outcome-unknown", message: "whether the call took effect is not known" }
        : { code: "cancelled", message: "the call was never sent" },
      durationMs: 0,
    });
  }
  entries.push({
    type: "run-finished",
    run: run.run,
    reason,
    steps: run.step,
    usage: run.usage,
    model: run.model,
    ...(error === undefined ? {} : { error }),
  });
  return entries.map((body) => asRolledBack(body, state));
}
