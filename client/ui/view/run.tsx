/**
 * What is said of a run between the messages: that it is at work and on what it waits, and how it ended if not with an
 * answer. Owns these words, and asking again.
 */
import { act } from "../model/acts.ts";
import { plain } from "../model/format.ts";
import type { OpenSession } from "../model/session.ts";
import { Icon } from "./icons.tsx";
import { mayTakePart } from "./rights.ts";

export interface End {
  readonly reason: string;
  readonly error?: { readonly code: string; readonly message: string };
}

const REASONS: Readonly<Record<string, string>> = {
  "no-action": "The agent had nothing to say.",
  "max-steps": "The agent used up its steps.",
  "max-tokens": "The answer was cut off at the model's limit.",
  "content-filter": "The model's provider stopped the answer.",
  cancelled: "Stopped.",
  deadline: "The run took too long.",
  error: "The run failed.",
  interrupted: "The run was interrupted by a restart.",
};

export function RunEnd({ session, run, end }: { session: OpenSession; run: string; end: End }) {
  const isLast = session.state.value?.lastRun?.run === run && session.state.value.run === undefined;
  const retry = (): void => {
    const handle = session.handle.value;
    if (handle !== undefined) void act("It was not asked again", () => handle.retry(run));
  };
  return (
    <div class={`note run-end ${end.reason === "cancelled" ? "" : "bad"}`}>
      <Icon name={end.reason === "cancelled" ? "stop" : "warning"} size={15} />
      <span>
        {REASONS[end.reason] ?? `The run ended: ${plain(end.reason)}.`}
        {end.error !== undefined && ` ${plain(end.error.message, 300)}`}
      </span>
      {isLast && mayTakePart(session.role.value) && (
        <button type="button" class="quiet small" onClick={retry}>
          <Icon name="retry" size={14} /> Retry
        </button>
      )}
    </div>
  );
}

export function Working({ session }: { session: OpenSession }) {
  const state = session.state.value;
  const run = state?.run;
  if (run === undefined) return null;
  const name = plain(run.agent, 40);
  const isWriting = session.messages.value.at(-1)?.unfinished;
  const busy = state!.calls.filter((call) => call.state === "dispatched" || call.state === "accepted").length;
  const words =
    run.cancelRequested !== undefined
      ? "Stopping…"
      : state!.session.state === "waiting"
        ? `${name} waits for people`
        : busy > 0
          ? `${name} is using ${busy === 1 ? "a tool" : `${busy} tools`}`
          : state!.calls.length > 0
            ? `${name} waits for a tool`
            : isWriting
              ? `${name} is writing`
              : `${name} is thinking`;
  return (
    <p class="note working">
      <span class="pulse" aria-hidden="true">
        <i />
        <i />
        <i />
      </span>
      {words}
      {run.recovered !== undefined && " (went on after a restart)"}
    </p>
  );
}
