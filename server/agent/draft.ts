/**
 * The message that a model is writing: gathers streamed parts into message parts and tool calls. Owns their order, the
 * payload budget and the rule that a delta never ends inside a surrogate pair; never streams and never commits.
 */
import type { JsonValue, MessagePart } from "../../protocol/content.ts";
import type { PartKind } from "../../protocol/frames.ts";
import { newId } from "../../protocol/ids.ts";
import { checkPayload, cutText, measure, toJsonValue } from "../../protocol/values.ts";
import { MAX_PAYLOAD_BYTES, MAX_PAYLOAD_DEPTH, MAX_PAYLOAD_ITEMS } from "../../protocol/version.ts";
import type { ModelPart } from "../model/model.ts";
import { cleanText } from "./clean.ts";
import { recallPart } from "./recall.ts";
import type { Recalled } from "./recall.ts";

const MAX_TOOL_NAME = 256;
const MAX_MEDIA_TYPE = 256;
const EMPTY_BYTES = measure("").bytes;
/** Of a text's own; pieces of one part share one head, however many they are. */
const bytesOf = (text: string): number => measure(text).bytes - EMPTY_BYTES;
/** Parts of one message; what a model begins beyond them is left out, so that the message fits a frame's bounds. */
const MAX_PARTS = 512;
const MAX_ERROR_TEXT = 4096;
const NO_OUTPUT = "outcome-unknown: the model's provider gave no result";

interface Block {
  readonly part: number;
  readonly kind: PartKind | "file";
  readonly call?: string;
  readonly tool?: string;
  text: string;
  /** A high surrogate that waits for its other half. */
  carry: string;
  truncated: boolean;
  /** JSON text of a complete call. */
  input?: string;
  /** The provider runs this call, and that is what came of it. */
  executed?: boolean;
  output?: { readonly ok: boolean; readonly value: JsonValue | undefined };
  file?: { readonly mediaType: string; readonly url: string };
  state?: JsonValue;
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
  #items = MAX_PAYLOAD_ITEMS;

  constructor(id: string) {
    this.id = id;
  }

  get begun(): boolean {
    return this.#blocks.size > 0;
  }

  add(part: Exclude<ModelPart, { type: "finish" }>): DraftChange {
    if (part.type === "file") return this.#addFile(part);
    if (part.type === "tool-output") return this.#addOutput(part);
    const kind: PartKind = part.type === "tool-call" ? "tool-input" : part.type;
    const key = `${kind}/${part.block}`;
    let block = this.#blocks.get(key);
    const begins = block === undefined;
    if (block === undefined) {
      if (this.#blocks.size >= MAX_PARTS) return { part: 0, text: "" };
      const named = "tool" in part ? { call: newId("call"), tool: cleanText(part.tool, MAX_TOOL_NAME) } : {};
      block = { part: this.#blocks.size, kind, text: "", carry: "", truncated: false, ...named };
      this.#blocks.set(key, block);
    }
    if ("state" in part && part.state !== undefined) {
      const state = toJsonValue(part.state);
      if (this.#fits(state)) block.state = state;
    }
    let text: string;
    if (part.type === "tool-call") {
      block.input = part.input;
      if (part.executed) block.executed = true;
      // A call that was announced by nothing shows its input whole.
      text = block.text === "" ? this.#take(block, part.input) : "";
      if (text === "" && !this.#charge(bytesOf(part.input) - bytesOf(block.text))) block.truncated = true;
    } else {
      text = this.#take(block, part.text);
    }
    const { part: number, call, tool } = block;
    const named = { ...(call === undefined ? {} : { call }), ...(tool === undefined ? {} : { tool }) };
    return begins ? { begins: { part: number, kind, ...named }, part: number, text } : { part: number, text };
  }

  /** A file is in the committed message only; one that does not fit is named in its place. */
  #addFile({ mediaType, url }: { mediaType: string; url: string }): DraftChange {
    const part = this.#blocks.size;
    if (part >= MAX_PARTS) return { part: 0, text: "" };
    const named = { mediaType: cleanText(mediaType, MAX_MEDIA_TYPE), url: url.toWellFormed() };
    const file = this.#fits(named.url) ? named : undefined;
    const text = file === undefined ? `[a file of type ${named.mediaType}, too large to keep]` : "";
    const kind = "file" as const;
    const block: Block = { part, kind, text, carry: "", truncated: file === undefined };
    if (file !== undefined) block.file = file;
    this.#blocks.set(`file/${part}`, block);
    return { part, text: "" };
  }

  #addOutput(part: { block: string; ok: boolean; value: JsonValue }): DraftChange {
    const block = this.#blocks.get(`tool-input/${part.block}`);
    if (block === undefined) return { part: 0, text: "" };
    const { ok } = part;
    const value = toJsonValue(part.value);
    block.output = { ok, value: this.#fits(value) ? value : undefined };
    return { part: block.part, text: "" };
  }

  /** Takes a whole value from the budgets, or nothing. */
  #fits(value: JsonValue): boolean {
    const { bytes, depth, items } = measure(value);
    if (items > this.#items || depth > MAX_PAYLOAD_DEPTH || !this.#charge(bytes)) return false;
    this.#items -= items;
    return true;
  }

  #charge(bytes: number): boolean {
    if (bytes > this.#budget) return false;
    this.#budget -= Math.max(0, bytes);
    return true;
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
    const left = this.#budget;
    if (!this.#charge(bytesOf(text))) {
      text = cutText(text, Math.floor(left / 3));
      block.truncated = true;
      this.#budget = 0;
    }
    block.text += text;
    return text;
  }

  /** The message's parts and the calls in it. `withCalls` false leaves unfinished calls out: no call without a result. */
  finish(withCalls: boolean): { parts: MessagePart[]; calls: AskedCall[]; text: string } {
    const parts: MessagePart[] = [];
    const calls: AskedCall[] = [];
    const recalled: Recalled[] = [];
    let text = "";
    // All values of a message share one frame.
    let items = this.#items;
    const room = (value: JsonValue): boolean => (items -= measure(value).items) >= 0;
    for (const block of this.#blocks.values()) {
      const { state, executed } = block;
      const shown = shownPart(block, withCalls, room);
      if (shown === undefined) continue;
      if (state !== undefined || executed) {
        const part = { part: parts.length, ...(state === undefined ? {} : { state }) };
        recalled.push(executed ? { ...part, executed } : part);
      }
      parts.push(shown.part);
      if (shown.call !== undefined) calls.push(shown.call);
      if (block.kind === "text") text += block.text;
    }
    if (recalled.length > 0) parts.push(recallPart(recalled));
    return { parts, calls, text };
  }

  /** Everything that was shown, for the entry that takes it back. */
  get shown(): string {
    return [...this.#blocks.values()].map((block) => (block.kind === "text" ? block.text : "")).join("");
  }
}

/** What the block is in its message; undefined for one that came to nothing. */
function shownPart(
  block: Block,
  withCalls: boolean,
  room: (value: JsonValue) => boolean,
): { part: MessagePart; call?: AskedCall } | undefined {
  const { kind, text, state, file } = block;
  const truncated = block.truncated ? { truncated: true as const } : {};
  if (kind === "tool-input") {
    if (block.executed) return withCalls || block.output ? { part: executedPart(block, room) } : undefined;
    if (!withCalls || block.input === undefined) return undefined;
    const call = askedCall(block, room);
    const { call: toolCallId, tool: toolName, input } = call;
    return {
      part: { type: "dynamic-tool", toolName, toolCallId, state: "input-available", input },
      call,
    };
  }
  if (kind === "file") {
    return { part: file === undefined ? { type: "text", text, ...truncated } : { type: "file", ...file } };
  }
  // Reasoning may be for its provider's eyes only.
  if (text === "" && (kind === "text" || state === undefined)) return undefined;
  return { part: { type: kind, text, ...truncated } };
}

/** A call that the provider ran is closed when its message is committed; nothing waits for it. */
function executedPart(block: Block, room: (value: JsonValue) => boolean): MessagePart {
  const { call: toolCallId, tool: toolName, input } = askedCall({ ...block, input: block.input ?? "" }, room);
  const named = { type: "dynamic-tool" as const, toolName, toolCallId, input };
  const { output } = block;
  if (output === undefined) return { ...named, state: "output-error", errorText: NO_OUTPUT };
  const { ok, value } = output;
  if (value === undefined)
    return { ...named, state: ok ? "output-available" : "output-error", truncated: true };
  if (ok) return { ...named, state: "output-available", output: value };
  const errorText = cutText(typeof value === "string" ? value : JSON.stringify(value), MAX_ERROR_TEXT);
  return { ...named, state: "output-error", errorText };
}

function askedCall(block: Block, room: (value: JsonValue) => boolean): AskedCall {
  const named = { call: block.call!, tool: block.tool! };
  const raw = block.input!.trim() === "" ? "{}" : block.input!;
  if (block.truncated) return { ...named, input: null, fault: "the input is over the limit of a payload" };
  try {
    const input = toJsonValue(JSON.parse(raw));
    checkPayload("input", input);
    if (!room(input)) throw new Error("the inputs of one message are together over the limit");
    return { ...named, input, fault: undefined };
  } catch (error) {
    return { ...named, input: cutText(raw.toWellFormed(), 4096), fault: (error as Error).message };
  }
}
