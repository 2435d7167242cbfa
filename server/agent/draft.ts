/**
 * The message that a model is writing: gathers streamed parts into message parts and tool calls. Owns their order, the
 * payload budget and the rule that a delta never ends inside a surrogate pair; never streams and never commits.
 */
import type { JsonValue, MessagePart } from "../../protocol/content.ts";
import type { PartKind } from "../../protocol/frames.ts";
import { newId } from "../../protocol/ids.ts";
import { checkPayload, cutText, measure, toJsonValue } from "../../protocol/values.ts";
import { MAX_PAYLOAD_BYTES } from "../../protocol/version.ts";
import type { ModelPart } from "../model/model.ts";

const MAX_TOOL_NAME = 256;
/** Parts of one message; what a model begins beyond them is left out, so that the message fits a frame's bounds. */
const MAX_PARTS = 512;

interface Block {
  readonly part: number;
  readonly kind: PartKind;
  readonly call?: string;
  readonly tool?: string;
  text: string;
  /** A high surrogate that waits for its other half. */
  carry: string;
  truncated: boolean;
  /** JSON text of a complete call. */
  input?: string;
}

/** A call that the model asked for. `fault`: why its input cannot be used at all. */
export interface AskedCall {
  readonly call: string;
  readonly tool: string;
  readonly input: JsonValue;
  readonly fault: string | undefined;
}

/** What a streamed part adds for those who watch. */
export interface DraftChange {
  readonly begins?: { part: number; kind: PartKind; call?: string; tool?: string };
  readonly part: number;
  readonly text: string;
}

export class Draft {
  readonly id: string;
  readonly #blocks = new Map<string, Block>();
  #budget = MAX_PAYLOAD_BYTES;

  constructor(id: string) {
    this.id = id;
  }

  get begun(): boolean {
    return this.#blocks.size > 0;
  }

  add(part: Exclude<ModelPart, { type: "finish" }>): DraftChange {
    const kind: PartKind = part.type === "tool-call" ? "tool-input" : part.type;
    const key = `${kind}/${part.block}`;
    let block = this.#blocks.get(key);
    const begins = block === undefined;
    if (block === undefined) {
      if (this.#blocks.size >= MAX_PARTS) return { part: 0, text: "" };
      const named = "tool" in part ? { call: newId("call"), tool: cutText(part.tool, MAX_TOOL_NAME) } : {};
      block = { part: this.#blocks.size, kind, text: "", carry: "", truncated: false, ...named };
      this.#blocks.set(key, block);
    }
    let text: string;
    if (part.type === "tool-call") {
      block.input = part.input;
      // A call that was announced by nothing shows its input whole.
      text = block.text === "" ? this.#take(block, part.input) : "";
    } else {
      text = this.#take(block, part.text);
    }
    const { part: number, call, tool } = block;
    const named = { ...(call === undefined ? {} : { call }), ...(tool === undefined ? {} : { tool }) };
    return begins ? { begins: { part: number, kind, ...named }, part: number, text } : { part: number, text };
  }

  #take(block: Block, added: string): string {
    let text = block.carry + added;
    block.carry = "";
    const last = text.charCodeAt(text.length - 1);
    if (last >= 0xd800 && last < 0xdc00) {
      block.carry = text.slice(-1);
      text = text.slice(0, -1);
    }
    text = text.toWellFormed();
    const { bytes } = measure(text);
    if (bytes > this.#budget) {
      text = cutText(text, Math.max(0, Math.floor(this.#budget / 3)));
      block.truncated = true;
      this.#budget = 0;
    } else {
      this.#budget -= bytes;
    }
    block.text += text;
    return text;
  }

  /** The message's parts and the calls in it. `withCalls` false leaves unfinished calls out: no call without a result. */
  finish(withCalls: boolean): { parts: MessagePart[]; calls: AskedCall[]; text: string } {
    const parts: MessagePart[] = [];
    const calls: AskedCall[] = [];
    for (const block of this.#blocks.values()) {
      if (block.kind === "tool-input") {
        if (!withCalls || block.input === undefined) continue;
        const call = askedCall(block);
        calls.push(call);
        parts.push({
          type: "dynamic-tool",
          toolName: call.tool,
          toolCallId: call.call,
          state: "input-available",
          input: call.input,
        });
      } else if (block.text !== "") {
        parts.push({
          type: block.kind,
          text: block.text,
          ...(block.truncated ? { truncated: true as const } : {}),
        });
      }
    }
    const text = parts.map((part) => (part.type === "text" ? part.text : "")).join("");
    return { parts, calls, text };
  }

  /** Everything that was shown, for the entry that takes it back. */
  get shown(): string {
    return [...this.#blocks.values()].map((block) => (block.kind === "text" ? block.text : "")).join("");
  }
}

function askedCall(block: Block): AskedCall {
  const named = { call: block.call!, tool: block.tool! };
  const raw = block.input!.trim() === "" ? "{}" : block.input!;
  if (block.truncated) return { ...named, input: null, fault: "the input is over the limit of a payload" };
  try {
    const input = toJsonValue(JSON.parse(raw));
    checkPayload("input", input);
    return { ...named, input, fault: undefined };
  } catch (error) {
    return { ...named, input: cutText(raw.toWellFormed(), 4096), fault: (error as Error).message };
  }
}
