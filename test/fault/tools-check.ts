/**
 * What must hold of tool calls after chaos: holds the logs against the traces that executions left, call by call. Owns
 * the rules and looks at nothing but its arguments, so that a test can plant what must be found.
 */
import type { Outcome } from "../../protocol/content.ts";
import type { EntryBodyOf, EventFrame } from "../../protocol/entries.ts";
import { CANCEL_MS, GRACE_MS, TOOLS } from "./tools-rules.ts";
import type { ChaosInput, Trace } from "./tools-rules.ts";

export interface Evidence {
  readonly logs: readonly (readonly EventFrame[])[];
  readonly traces: readonly Trace[];
  /** Provider processes that were killed: they owe no verdict any more. */
  readonly killed: ReadonlySet<number>;
  /** When the server stood still or was not there, ms since 1970. */
  readonly stopped: readonly { readonly from: number; readonly to: number }[];
}

export interface Judged {
  readonly problems: string[];
  readonly counts: Readonly<Record<string, number>>;
}

/** One call with all that is known of it. */
interface Story {
  readonly call: string;
  readonly run: string | undefined;
  readonly tool: string;
  readonly input: ChaosInput;
  readonly askedAt: number;
  readonly attempts: EntryBodyOf<"tool-dispatched">[];
  readonly lost: EntryBodyOf<"tool-lost">[];
  readonly results: { readonly at: number; readonly body: EntryBodyOf<"tool-result"> }[];
  readonly traces: Trace[];
  /** Tools that its run began with. */
  readonly tools: readonly string[];
  /** When recovery last took its run up. */
  recoveredAt: number | undefined;
  cancelledAt: number | undefined;
}

export function judge({ logs, traces, killed, stopped }: Evidence): Judged {
  const problems: string[] = [];
  const counts: Record<string, number> = {};
  const count = (name: string, by = 1): void => void (counts[name] = (counts[name] ?? 0) + by);
  const byCall = new Map<string, Trace[]>();
  for (const trace of traces) byCall.set(trace.call, [...(byCall.get(trace.call) ?? []), trace]);
  for (const log of logs) {
    for (const story of storiesOf(log, byCall)) {
      byCall.delete(story.call);
      const wrong: string[] = [];
      const say = (problem: string): void => void wrong.push(problem);
      count("calls");
      count("attempts", story.attempts.length);
      count("executions", of(story, "begin").length);
      for (const { verdict } of of(story, "verdict")) count(`verdict ${verdict}`);
      if (story.results.length !== 1) say(`${story.results.length} outcomes are in the log`);
      const [result] = story.results;
      if (result !== undefined) {
        count(`${TOOLS[story.tool]!.effect} ${result.body.outcome}`);
        checkExecutions(story, result, say);
        checkOutcome(story, result, say);
        checkTime(story, result.at, stopped, say);
        checkVerdicts(story, result.body, killed, say);
      }
      if (wrong.length > 0)
        problems.push(`${story.call} (${story.tool}): ${wrong.join("; ")}\n${tell(story, log)}`);
    }
  }
  for (const call of byCall.keys()) problems.push(`${call} was executed and is in no log`);
  return { problems, counts };
}

function storiesOf(log: readonly EventFrame[], traces: ReadonlyMap<string, Trace[]>): Story[] {
  const stories = new Map<string, Story>();
  let open: Story[] = [];
  let tools: string[] = [];
  const cancelled = new Map<string | undefined, number>();
  for (const { event, at, run } of log) {
    if (event.type === "run-started") tools = event.tools.map(({ name }) => name);
    if (event.type === "message") {
      for (const part of event.message.parts) {
        if (part.type !== "dynamic-tool") continue;
        const story: Story = {
          call: part.toolCallId,
          run,
          tool: part.toolName,
          input: part.input as unknown as ChaosInput,
          askedAt: at,
          tools,
          attempts: [],
          lost: [],
          results: [],
          traces: traces.get(part.toolCallId) ?? [],
          recoveredAt: undefined,
          // The model's last message may be committed after the cancel, with its calls cancelled.
          cancelledAt: cancelled.get(run),
        };
        stories.set(story.call, story);
        open.push(story);
      }
    }
    if (event.type === "tool-dispatched") stories.get(event.call)?.attempts.push(event);
    if (event.type === "tool-lost") stories.get(event.call)?.lost.push(event);
    if (event.type === "tool-result") {
      stories.get(event.call)?.results.push({ at, body: event });
      open = open.filter(({ call }) => call !== event.call);
    }
    if (event.type === "run-recovered") for (const story of open) story.recoveredAt = at;
    if (event.type === "cancel-requested") {
      cancelled.set(event.run, at);
      for (const story of open) story.cancelledAt = at;
    }
  }
  return [...stories.values()];
}

function of({ traces }: Story, what: Trace["what"]): Trace[] {
  return traces.filter((trace) => trace.what === what);
}

/** All that happened to a call, in time, for whoever must find out why. */
function tell({ call, run, input, traces }: Story, log: readonly EventFrame[]): string {
  const lines = traces.map(({ what, attempt, provider, pid, at, verdict }) => ({
    at,
    text: `  ${what} ${verdict ?? ""} of attempt ${attempt} at ${provider} (${pid})`,
  }));
  for (const { at, event, run: of } of log) {
    const ofRun = of === run && ["run-recovered", "cancel-requested", "run-finished"].includes(event.type);
    if (!ofRun && !("call" in event && event.call === call)) continue;
    lines.push({ at, text: JSON.stringify(event) });
  }
  const said = lines
    .sort((one, other) => one.at - other.at)
    .map(({ at, text }) => `      ${at % 1e6} ${text}`);
  return [`      asked with ${JSON.stringify(input)}`, ...said].join("\n");
}

type Say = (problem: string) => void;

/** `once` at most once; nothing without a dispatch; nothing after a cancel was confirmed; no output out of thin air. */
function checkExecutions(story: Story, { at, body }: Story["results"][number], say: Say): void {
  const begins = of(story, "begin");
  if (TOOLS[story.tool]!.effect === "once" && begins.length > 1) say(`executed ${begins.length} times`);
  for (const { attempt } of begins)
    if (!story.attempts.some((item) => item.attempt === attempt))
      say(`attempt ${attempt} was executed and is not in the log`);
  if (body.outcome === "cancelled") {
    for (const trace of story.traces)
      if ((trace.what === "begin" || trace.what === "effect" || trace.what === "end") && trace.at > at)
        say(`${trace.what} of attempt ${trace.attempt} ${trace.at - at} ms after its cancel was confirmed`);
  }
  if (body.outcome === "ok") {
    const nonce = (body.output as { nonce?: string } | undefined)?.nonce;
    if (!of(story, "end").some((trace) => trace.nonce === nonce))
      say("its output is of no execution that came to its end");
  }
}

/** What may become of a call, by its effect, its handler and whether it was cancelled. */
function checkOutcome(story: Story, { at, body }: Story["results"][number], say: Say): void {
  const { outcome, error } = body;
  const allowed = new Set<Outcome>();
  const fails = story.input.mode === "fail";
  if (story.tool.endsWith("_hang")) allowed.add("timeout");
  else allowed.add(fails ? "error" : "ok");
  // Whoever had it is gone or has forgotten it.
  if (TOOLS[story.tool]!.effect === "once") {
    allowed.add("outcome-unknown");
    // Each restart waits the grace for who had it; after some of them the deadline is over first.
    const { deadlineAt = Infinity } = story.attempts.at(-1) ?? {};
    if (story.recoveredAt !== undefined && at >= deadlineAt) allowed.add("timeout");
  }
  if (story.cancelledAt !== undefined) {
    allowed.add("cancelled");
    if (story.attempts.length > 0) allowed.add("outcome-unknown");
  }
  if (!allowed.has(outcome)) {
    const begun = story.tools.includes(story.tool) ? "" : `; its run began with [${story.tools.join(", ")}]`;
    say(`ends ${outcome} (${error?.code}: ${error?.message})${begun}`);
  }
  if (outcome === "error" && error?.code !== "broken") say(`ends with the error ${error?.code}`);
}

/** Nothing outlives its deadline and the grace; what a server did not live or run through does not count. */
function checkTime(story: Story, at: number, stopped: Evidence["stopped"], say: Say): void {
  const { timeoutMs } = TOOLS[story.tool]!;
  const asked = story.askedAt + timeoutMs;
  const deadline = Math.max(asked, story.recoveredAt === undefined ? 0 : story.recoveredAt + GRACE_MS);
  const bound =
    story.cancelledAt === undefined ? deadline : Math.min(deadline, story.cancelledAt + CANCEL_MS);
  const still = stopped.reduce(
    (sum, { from, to }) => sum + Math.max(0, Math.min(to, at) - Math.max(from, story.askedAt)),
    0,
  );
  const over = at - (bound + GRACE_MS + still);
  if (over > 0) say(`ended ${over} ms after its bound`);
}

/** Every execution of a process that lived was told what became of it, and was told what the log says. */
function checkVerdicts(
  story: Story,
  result: EntryBodyOf<"tool-result">,
  killed: ReadonlySet<number>,
  say: Say,
): void {
  const counted = ["ok", "error", "cancelled"].includes(result.outcome) ? result.attempt : undefined;
  for (const { attempt, verdict } of of(story, "verdict")) {
    const refused = story.lost.some((lost) => lost.attempt === attempt && lost.cause === "not-started");
    const fits =
      verdict === "stored" || verdict === "duplicate"
        ? attempt === counted || refused
        : verdict === "stale" && attempt !== counted;
    if (!fits)
      say(`attempt ${attempt} was told ${verdict}; the log has ${result.outcome} of ${result.attempt}`);
  }
  for (const begin of of(story, "begin")) {
    if (killed.has(begin.pid)) continue;
    const told = of(story, "verdict").some(
      (item) => item.attempt === begin.attempt && item.pid === begin.pid,
    );
    if (!told) say(`attempt ${begin.attempt} at ${begin.provider} was never told what became of it`);
    // What was still at work when the call was given up must have been stopped, or have come to its end.
    const ended = of(story, "end").some(({ nonce }) => nonce === begin.nonce);
    const aborted = of(story, "abort").some(({ nonce }) => nonce === begin.nonce);
    if (!ended && !aborted && story.input.mode !== "fail")
      say(`attempt ${begin.attempt} at ${begin.provider} neither ended nor was stopped`);
  }
}
