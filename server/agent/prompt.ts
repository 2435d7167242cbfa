/**
 * History → prompt: the one place where a session's messages become what an agent's model reads. Owns the form in which
 * authors are named, other agents too, and the rule that no call goes out without a result; never trims and never talks to
 * a model. Within a run each prompt begins with the one before it, so that a provider may cache it.
 */
import type { Actor, Content, FilePart, MessagePart, ToolPart } from "../../protocol/content.ts";
import type { HistoryMessage, SessionState } from "../../protocol/frames.ts";
import type { AssistantPart, PromptFile, PromptMessage, PromptPart, PromptResult } from "../model/model.ts";
import { outputParts } from "./output.ts";
import { recall } from "./recall.ts";

const MAX_NAME_POINTS = 64;
/** Said after a message that the model did not end itself. */
const CUT_OFF: PromptPart = {
  type: "author",
  text: JSON.stringify({ note: "the answer above was stopped before its end" }),
};
/** What an outcome means to who asked for the call, where no error of its own says it. */
const OUTCOMES: Readonly<Record<string, string>> = {
  denied: "denied: the call was not allowed and did not run",
  "approval-expired": "approval-expired: nobody allowed the call in time, and it did not run",
  cancelled: "cancelled: the call was stopped",
  timeout: "timeout: the call did not end in time; it may still have taken effect",
  "outcome-unknown": "outcome-unknown: nobody knows whether the call took effect; check before you repeat it",
};

/**
 * The prompt of a session for `agent`: the summary where the history was compacted, then every message since, in order,
 * but what was rolled back.
 */
export function buildPrompt(state: SessionState, agent: string): PromptMessage[] {
  const since = state.compacted?.upTo ?? 0;
  const prompt: PromptMessage[] = [];
  if (state.compacted !== undefined) {
    prompt.push({
      role: "user",
      parts: [{ type: "text", text: `Summary of what came before:\n${state.compacted.summary}` }],
    });
  }
  for (const message of state.messages) {
    if (message.seq <= since || message.rolledBack) continue;
    const form =
      message.role === "user"
        ? "asked"
        : message.author.id !== agent
          ? "other"
          : message.run !== undefined && message.run === state.run?.run
            ? "current"
            : "own";
    prompt.push(...promptOf(message, form));
  }
  return prompt;
}

/** How a model is shown a message: a user's, another agent's, its own, of the run that is open. */
type Form = "asked" | "other" | "own" | "current";

const made = new WeakMap<HistoryMessage, Partial<Record<Form, readonly PromptMessage[]>>>();

/** Remembered, because a message object never changes: a long history is not written out anew for each step. */
function promptOf(message: HistoryMessage, form: Form): readonly PromptMessage[] {
  const forms = made.get(message) ?? {};
  const known = forms[form];
  if (known !== undefined) return known;
  const prompt: readonly PromptMessage[] =
    form === "asked"
      ? [{ role: "user", parts: [author(message.author), ...userParts(message.parts)] }]
      : form === "other"
        ? other(message)
        : assistant(message, form === "current");
  made.set(message, { ...forms, [form]: prompt });
  return prompt;
}

/** A user's content as message parts. */
export function contentParts(content: Content): MessagePart[] {
  return typeof content === "string" ? [{ type: "text", text: content }] : content;
}

/** Who speaks, quoted as JSON so that no name can pass for anything else. */
function author(actor: Actor): PromptPart {
  const name = Array.from(actor.name.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, ""))
    .slice(0, MAX_NAME_POINTS)
    .join("");
  const who = actor.kind === "agent" ? { agent: actor.id } : { user: actor.id };
  return { type: "author", text: JSON.stringify({ author: name, ...who }) };
}

function userParts(parts: readonly MessagePart[]): PromptPart[] {
  return parts.flatMap((part): PromptPart[] => {
    if (part.type === "text") return [{ type: "text", text: part.text }];
    if (part.type === "file") return [file(part)];
    if (part.type.startsWith("data-")) {
      return [
        { type: "text", text: JSON.stringify({ type: part.type, data: (part as { data: unknown }).data }) },
      ];
    }
    return [];
  });
}

function file({ mediaType, url, filename }: FilePart): PromptFile {
  return { type: "file", mediaType, url, ...(filename === undefined ? {} : { filename }) };
}

/**
 * What was said and, after it, what the calls came to. Reasoning is shown again only while its own run goes on, which
 * some providers demand and others forbid later; it never stands last, for nothing may follow from it.
 */
function assistant(message: HistoryMessage, current: boolean): PromptMessage[] {
  const recalled = recall(message.parts);
  const parts: AssistantPart[] = [];
  const results: PromptResult[] = [];
  for (const [index, part] of message.parts.entries()) {
    const { state, executed } = recalled.get(index) ?? {};
    const kept = state === undefined ? {} : { state };
    if (part.type === "text") {
      // Some providers refuse text that is only space.
      if (part.text.trim() !== "") parts.push({ type: "text", text: part.text, ...kept });
    } else if (part.type === "reasoning") {
      const wanted = current && !message.incomplete && (part.text !== "" || state !== undefined);
      if (wanted) parts.push({ type: "reasoning", text: part.text, ...kept });
    } else if (part.type === "file") {
      parts.push(file(part));
    } else if (part.type === "dynamic-tool" && !executed) {
      const input = part.input ?? {};
      parts.push({ type: "tool-call", call: part.toolCallId, tool: part.toolName, input, ...kept });
      results.push(result(part));
    }
  }
  while (parts.at(-1)?.type === "reasoning") parts.pop();
  if (parts.length === 0) return [];
  const said: PromptMessage[] = [{ role: "assistant", parts }];
  if (results.length > 0) said.push({ role: "tool", results });
  if (message.incomplete) said.push({ role: "user", parts: [CUT_OFF] });
  return said;
}

/**
 * What another agent said, as somebody else's words: a model takes an assistant's for its own, and its provider may refuse
 * calls of tools that it does not have.
 */
function other(message: HistoryMessage): PromptMessage[] {
  const parts = message.parts.flatMap((part): PromptPart[] => {
    if (part.type === "text") return part.text.trim() === "" ? [] : [{ type: "text", text: part.text }];
    if (part.type === "file") return [file(part)];
    if (part.type !== "dynamic-tool") return [];
    const { tool, ok, value } = result(part);
    return [{ type: "author", text: JSON.stringify({ tool, input: part.input ?? {}, ok, value }) }];
  });
  if (parts.length === 0) return [];
  const cutOff = message.incomplete ? [CUT_OFF] : [];
  return [{ role: "user", parts: [author(message.author), ...parts, ...cutOff] }];
}

function result(part: ToolPart): PromptResult {
  const base = { call: part.toolCallId, tool: part.toolName };
  if (part.state === "output-available") {
    const value = part.output ?? null;
    const parts = outputParts(value);
    return { ...base, ok: true, value, ...(parts === undefined ? {} : { parts }) };
  }
  const outcome = part.errorText ?? "outcome-unknown";
  return { ...base, ok: false, value: OUTCOMES[outcome] ?? outcome };
}
