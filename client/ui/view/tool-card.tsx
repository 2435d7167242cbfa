/**
 * A tool call as a card: what was asked of which tool, who executes it and how that goes, what came of it, and the question
 * to people if it waits for one. Owns the words for the states of a call.
 */
import { useState } from "preact/hooks";
import type { JsonValue, OpenCall, ToolPart } from "../../index.ts";
import { duration, plain } from "../model/format.ts";
import { linkTo } from "../model/route.ts";
import type { OpenSession } from "../model/session.ts";
import { Icon } from "./icons.tsx";
import { LongText } from "./long-text.tsx";
import { Request } from "./request.tsx";

export function ToolCard({ session, part }: { session: OpenSession; part: ToolPart }) {
  const [isToggled, setToggled] = useState<boolean>();
  const state = session.state.value;
  const call = state?.calls.find((open) => open.call === part.toolCallId);
  const request = state?.requests.find((open) => open.call !== undefined && open.call === part.toolCallId);
  const progress = session.progress.value.get(part.toolCallId);
  const { words, kind } = standingOf(part, call, request !== undefined);
  const isOpen = isToggled ?? request !== undefined;
  return (
    <details
      class={`tool is-${kind}`}
      open={isOpen}
      onToggle={(event) => {
        if (event.currentTarget.open !== isOpen) setToggled(event.currentTarget.open);
      }}
    >
      <summary>
        <span class="mark" aria-hidden="true">
          <Icon name={kind === "ok" ? "check" : kind === "bad" ? "cross" : "tool"} size={14} />
        </span>
        <bdi class="name">{plain(part.toolName, 64) || "tool"}</bdi>
        <span class="brief">{brief(part.input)}</span>
        <span class="standing">{words}</span>
        {part.durationMs !== undefined && <span class="faint">{duration(part.durationMs)}</span>}
        <Icon name="chevron" size={14} />
      </summary>
      {isOpen && (
        <div class="inside">
          {part.input !== undefined && (request === undefined || request.truncated) && (
            <Section name="Input" value={part.input} />
          )}
          {progress !== undefined && <Section name="Progress" value={progress} />}
          {request !== undefined && <Request session={session} request={request} />}
          {part.errorText !== undefined && <Section name="Error" value={part.errorText} />}
          {part.output !== undefined && <Section name="Output" value={part.output} />}
          {part.truncated && <p class="faint">Too large to be shown whole here.</p>}
          {part.child !== undefined && (
            <p>
              <a href={linkTo({ view: "session", session: part.child })}>Where it is done</a>
            </p>
          )}
          <Facts part={part} call={call} />
        </div>
      )}
    </details>
  );
}

function Section({ name, value }: { name: string; value: JsonValue }) {
  return (
    <section>
      <h3>{name}</h3>
      <LongText text={typeof value === "string" ? value : JSON.stringify(value, null, 2)} />
    </section>
  );
}

function Facts({ part, call }: { part: ToolPart; call: OpenCall | undefined }) {
  const provider = call?.provider ?? part.provider;
  const attempt = call?.attempt ?? part.attempt ?? 0;
  const facts: [string, string][] = [
    ...(provider === undefined ? [] : [["Provider", plain(provider, 40)] as [string, string]]),
    ...(attempt > 0 ? [["Attempt", String(attempt)] as [string, string]] : []),
    ...(part.outcome === undefined ? [] : [["Outcome", part.outcome] as [string, string]]),
    ...(call?.effect === undefined ? [] : [["Effect", call.effect] as [string, string]]),
    ["Call", plain(part.toolCallId, 64)],
  ];
  return (
    <dl class="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function standingOf(
  part: ToolPart,
  call: OpenCall | undefined,
  isAsked: boolean,
): { words: string; kind: "busy" | "asked" | "ok" | "bad" } {
  if (isAsked) return { words: "waits for an answer", kind: "asked" };
  if (part.state === "output-available") return { words: "done", kind: "ok" };
  if (part.state === "output-denied")
    return { words: part.outcome === "approval-expired" ? "nobody answered" : "denied", kind: "bad" };
  if (part.state === "output-error")
    return { words: part.outcome === undefined ? "failed" : part.outcome.replaceAll("-", " "), kind: "bad" };
  if (part.state === "input-streaming") return { words: "being called", kind: "busy" };
  const words = {
    waiting: "waits for a provider",
    dispatched: "sent",
    accepted: "at work",
    lost: "provider lost",
  };
  if (call?.child !== undefined) return { words: "at work", kind: "busy" };
  return { words: call === undefined ? "called" : words[call.state], kind: "busy" };
}

/** The input on a line. */
function brief(input: JsonValue | undefined): string {
  if (input === undefined) return "";
  const text = typeof input === "string" ? input : JSON.stringify(input);
  return text === "{}" ? "" : plain(text.slice(0, 400), 90);
}
