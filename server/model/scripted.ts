/**
 * The scripted model: plays a script that a user message holds as JSON, or quotes what was said. Deterministic and
 * stateless: it finds its place in the script from the prompt alone, so a restarted run goes on where it was. It is the
 * model of demo, tests and load; never a stand-in for a provider's dialect.
 */
import { z } from "zod";
import { cutText } from "../../protocol/values.ts";
import { json } from "../../protocol/content.ts";
import { ModelError } from "./model.ts";
import type { Model, ModelPart, ModelRequest, PromptMessage } from "./model.ts";

const pace = { rate: z.number().positive().optional(), chunk: z.int().min(1).optional() };
const item = z.union([
  z.strictObject({ text: z.string(), ...pace }),
  z.strictObject({ reasoning: z.string(), ...pace }),
  z.strictObject({ calls: z.array(z.strictObject({ tool: z.string(), input: json.default({}) })).min(1) }),
  z.strictObject({ finish: z.enum(["length", "content-filter"]) }),
  z.strictObject({ error: z.string() }),
  z.strictObject({ stall: z.number().min(0) }),
]);
const script = z.object({ script: z.array(item) });
type Item = z.infer<typeof item>;

const DEFAULT_CHUNK = 12;

export const scriptedModel: Model = {
  id: "scripted",
  async *stream(request, signal): AsyncGenerator<ModelPart> {
    const found = findScript(request.messages);
    const items = found === undefined ? [{ text: quote(request.messages) }] : rest(found.items, found.steps);
    let written = 0;
    const usage = () => ({ inputTokens: promptTokens(request), outputTokens: Math.ceil(written / 4) });
    for (const [index, current] of items.entries()) {
      if ("text" in current || "reasoning" in current) {
        const type = "text" in current ? "text" : "reasoning";
        const text = "text" in current ? current.text : current.reasoning;
        const everyMs = 1000 / (current.rate ?? Infinity);
        let dueAt = performance.now();
        for (const chunk of chunks(text, current.chunk ?? DEFAULT_CHUNK)) {
          if (everyMs > 0) {
            // A timer is always a little late: that is made up for, a longer pause is not.
            dueAt = Math.max(dueAt, performance.now() - everyMs) + everyMs;
            await pause(dueAt - performance.now(), signal);
          }
          signal.throwIfAborted();
          written += chunk.length;
          yield { type, block: String(index), text: chunk };
        }
      } else if ("calls" in current) {
        for (const [number, call] of current.calls.entries()) {
          const input = JSON.stringify(call.input);
          written += input.length;
          yield { type: "tool-call", block: `${index}.${number}`, tool: call.tool, input };
        }
        yield { type: "finish", reason: "tool-calls", usage: usage() };
        return;
      } else if ("finish" in current) {
        yield { type: "finish", reason: current.finish, usage: usage() };
        return;
      } else if ("error" in current) {
        throw new ModelError("scripted", current.error);
      } else {
        await pause(current.stall, signal);
      }
    }
    yield { type: "finish", reason: "stop", usage: usage() };
  },
};

/** The last script in the prompt that still has steps to play, and how many steps of it were played. */
function findScript(messages: readonly PromptMessage[]): { items: Item[]; steps: number } | undefined {
  let steps = 0;
  let newest = true;
  for (let i = messages.length - 1; i >= 0; i--) {
    const message = messages[i]!;
    if (message.role === "assistant" && message.parts.some((part) => part.type === "tool-call")) steps++;
    if (message.role !== "user") continue;
    const items = scriptOf(message);
    if (items !== undefined) {
      // Plain text after a script is its own question once the script is played out.
      const remaining = rest(items, steps).length > 0 && (newest || endsInTools(messages));
      return remaining || newest ? { items, steps } : undefined;
    }
    newest = false;
  }
  return undefined;
}

/** The prompt is in the middle of a run: results wait for the model. */
function endsInTools(messages: readonly PromptMessage[]): boolean {
  for (let i = messages.length - 1; i >= 0; i--) {
    const role = messages[i]!.role;
    if (role === "tool") return true;
    if (role === "assistant") return false;
  }
  return false;
}

/** What follows the n-th `calls`. */
function rest(items: Item[], steps: number): Item[] {
  let from = 0;
  for (let seen = 0; seen < steps; seen++) {
    const next = items.findIndex((current, index) => index >= from && "calls" in current);
    if (next < 0) return [];
    from = next + 1;
  }
  return items.slice(from);
}

/** In one of its texts, whatever stands beside it, or in all of them together. */
function scriptOf(message: PromptMessage & { role: "user" }): Item[] | undefined {
  for (const part of message.parts) {
    const items = part.type === "text" ? parseScript(part.text) : undefined;
    if (items !== undefined) return items;
  }
  return parseScript(userText(message));
}

function parseScript(text: string): Item[] | undefined {
  if (!text.trimStart().startsWith("{")) return undefined;
  try {
    return script.parse(JSON.parse(text)).script;
  } catch {
    return undefined;
  }
}

function userText(message: PromptMessage & { role: "user" }): string {
  return message.parts.map((part) => (part.type === "text" ? part.text : "")).join("");
}

function quote(messages: readonly PromptMessage[]): string {
  const last = messages.findLast((message) => message.role === "user");
  const text = last === undefined ? "" : userText(last).trim();
  const shown = cutText(text, 200);
  return `You said “${shown}${shown.length < text.length ? "…" : ""}”. I am a script, no language model: I can only quote you.`;
}

function* chunks(text: string, size: number): Generator<string> {
  for (let at = 0; at < text.length;) {
    let piece = cutText(text.slice(at), size);
    if (piece === "") piece = text.slice(at, at + 2);
    yield piece;
    at += piece.length;
  }
}

function promptTokens(request: ModelRequest): number {
  let characters = request.instructions.length;
  for (const message of request.messages) {
    if (message.role === "tool") continue;
    for (const part of message.parts) if ("text" in part) characters += part.text.length;
  }
  return Math.ceil(characters / 4);
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal.addEventListener("abort", stop, { once: true });
  });
}
