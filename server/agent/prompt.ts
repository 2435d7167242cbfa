/**
 * History → prompt: the one place where a session's messages become what a model reads. Owns the form in which authors
 * are named and the rule that no call goes out without a result; never trims and never talks to a model.
 */
import type { Actor, Content, MessagePart, ToolPart } from "../../protocol/content.ts";
import type { HistoryMessage, SessionState } from "../../protocol/frames.ts";
import type { PromptCall, PromptMessage, PromptPart, PromptResult } from "../model/model.ts";

const MAX_NAME_POINTS = 64;

/** The prompt of a session: the summary where the history was compacted, then every message since, in order. */
export function buildPrompt(state: SessionState): PromptMessage[] {
  const since = state.compacted?.upTo ?? 0;
  const prompt: PromptMessage[] = [];
  if (state.compacted !== undefined) {
    prompt.push({
      role: "user",
      parts: [{ type: "text", text: `Summary of what came before:\n${state.compacted.summary}` }],
    });
  }
  for (const message of state.messages) {
    if (message.seq <= since) continue;
    if (message.role === "user")
      prompt.push({ role: "user", parts: [author(message.author), ...userParts(message.parts)] });
    else prompt.push(...assistant(message));
  }
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
  return { type: "author", text: JSON.stringify({ author: name, user: actor.id }) };
}

function userParts(parts: readonly MessagePart[]): PromptPart[] {
  return parts.flatMap((part): PromptPart[] => {
    if (part.type === "text") return [{ type: "text", text: part.text }];
    if (part.type === "file") {
      const { mediaType, url, filename } = part as { mediaType: string; url: string; filename?: string };
      return [{ type: "file", mediaType, url, ...(filename === undefined ? {} : { filename }) }];
    }
    if (part.type.startsWith("data-")) {
      return [
        { type: "text", text: JSON.stringify({ type: part.type, data: (part as { data: unknown }).data }) },
      ];
    }
    return [];
  });
}

function assistant(message: HistoryMessage): PromptMessage[] {
  const parts: ({ type: "text" | "reasoning"; text: string } | PromptCall)[] = [];
  const results: PromptResult[] = [];
  for (const part of message.parts) {
    if (part.type === "text" || part.type === "reasoning") {
      if (part.text !== "") parts.push({ type: part.type, text: part.text });
    } else if (part.type === "dynamic-tool") {
      parts.push({ type: "tool-call", call: part.toolCallId, tool: part.toolName, input: part.input ?? {} });
      results.push(result(part));
    }
  }
  if (parts.length === 0) return [];
  const said: PromptMessage = { role: "assistant", parts };
  return results.length === 0 ? [said] : [said, { role: "tool", results }];
}

function result(part: ToolPart): PromptResult {
  const base = { call: part.toolCallId, tool: part.toolName };
  if (part.state === "output-available") return { ...base, ok: true, value: part.output ?? null };
  return { ...base, ok: false, value: part.errorText ?? "outcome-unknown: the call has no result" };
}
