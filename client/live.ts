/**
 * Unfinished text: the Client rule of the wire. Owns what of an uncommitted message is shown, from parts, deltas and
 * `live`, so that text is never doubled and never has a hole; and the rest that a committed message adds to it. Never
 * does I/O, never changes a partial in place.
 */
import type { Message } from "../protocol/content.ts";
import type { Partial, PartKind, ServerFrameOf } from "../protocol/frames.ts";

/** Text that became visible: of one part of a message, beginning at `offset` (UTF-16 units). */
export interface TextDelta {
  readonly message: string;
  readonly part: number;
  readonly kind: PartKind;
  readonly offset: number;
  readonly text: string;
  /** The call whose input this is, when `kind` is `tool-input`. */
  readonly call?: string;
  readonly tool?: string;
}

type LivePart = Partial["parts"][number];

/** Messages whose late deltas are still recognised; none comes after so many others. */
const REMEMBERED = 256;

export class LiveText {
  #partial: Partial | undefined;
  /** Something is missing: nothing is taken until the next `live` or message says where we are. */
  #astray = false;
  readonly #over = new Set<string>();

  /** What is unfinished now; a new object whenever it changes. */
  get partial(): Partial | undefined {
    return this.#partial;
  }

  /** `run` is the run that is open in the state: parts do not carry it. */
  part(frame: ServerFrameOf<"part">, run: string): boolean {
    if (this.#astray || this.#over.has(frame.message)) return false;
    const current = this.#partial?.message === frame.message ? this.#partial : undefined;
    if (current?.parts.some((part) => part.part === frame.part)) return false;
    const part: LivePart = { part: frame.part, kind: frame.kind, text: "" };
    if (frame.call !== undefined) part.call = frame.call;
    if (frame.tool !== undefined) part.tool = frame.tool;
    this.#partial = {
      run: current?.run ?? run,
      message: frame.message,
      parts: [...(current?.parts ?? []), part],
    };
    return true;
  }

  /** The text that is new by this frame; undefined if none is. */
  delta(frame: ServerFrameOf<"delta">): TextDelta | undefined {
    if (this.#astray || this.#over.has(frame.message)) return undefined;
    const partial = this.#partial?.message === frame.message ? this.#partial : undefined;
    const index = partial?.parts.findIndex((part) => part.part === frame.part) ?? -1;
    const part = partial?.parts[index];
    if (partial === undefined || part === undefined || frame.offset > part.text.length) {
      this.#astray = true;
      return undefined;
    }
    const text = frame.text.slice(part.text.length - frame.offset);
    if (text === "") return undefined;
    const parts = partial.parts.with(index, { ...part, text: part.text + text });
    this.#partial = { ...partial, parts };
    return toDelta(partial.message, part, part.text.length, text);
  }

  /** Replaces all unfinished text; answers what is new against what was there. */
  live(given: Partial | undefined): TextDelta[] {
    this.#astray = false;
    const before = this.#partial;
    this.#partial = given === undefined || this.#over.has(given.message) ? undefined : given;
    const known = before?.message === this.#partial?.message ? before?.parts : undefined;
    const added: TextDelta[] = [];
    for (const part of this.#partial?.parts ?? []) {
      const shown = known?.find((item) => item.part === part.part)?.text ?? "";
      const offset = part.text.startsWith(shown) ? shown.length : 0;
      if (part.text.length > offset)
        added.push(toDelta(this.#partial!.message, part, offset, part.text.slice(offset)));
    }
    return added;
  }

  /** A message joined the history: it is authoritative. */
  committed(message: string): void {
    this.#astray = false;
    this.#close(message);
  }

  /** A message came to nothing. */
  abandoned(message: string): void {
    this.#close(message);
  }

  /** No run is open, so nothing is unfinished. */
  clear(): void {
    this.#partial = undefined;
  }

  #close(message: string): void {
    if (this.#partial?.message === message) this.#partial = undefined;
    this.#over.add(message);
    if (this.#over.size > REMEMBERED) this.#over.delete(this.#over.values().next().value!);
  }
}

/**
 * Follows the deltas of a reader that can only append, such as a terminal, and tells what a committed message adds to
 * what was shown of it: deltas may have been dropped on the way.
 */
export class ShownText {
  readonly #shown = new Map<string, { part: number; kind: PartKind; text: string }[]>();

  /** Call with every delta that is shown. Returns false for one that is already shown. */
  delta(delta: TextDelta): boolean {
    let parts = this.#shown.get(delta.message);
    if (parts === undefined) this.#shown.set(delta.message, (parts = []));
    let part = parts.find((item) => item.part === delta.part);
    if (part === undefined) parts.push((part = { part: delta.part, kind: delta.kind, text: "" }));
    if (delta.offset !== part.text.length) return false;
    part.text += delta.text;
    return true;
  }

  /** The text and reasoning of a committed message that no delta showed, in the order of its parts. */
  commit(message: Pick<Message, "id" | "parts">): TextDelta[] {
    const shown = this.#shown.get(message.id) ?? [];
    this.#shown.delete(message.id);
    let next = Math.max(-1, ...shown.map((part) => part.part)) + 1;
    const seen = { text: 0, reasoning: 0 };
    const rest: TextDelta[] = [];
    for (const part of message.parts) {
      if (part.type !== "text" && part.type !== "reasoning") continue;
      const kind = part.type;
      const before = shown.filter((item) => item.kind === kind)[seen[kind]++];
      const number = before?.part ?? next++;
      const offset = before?.text.length ?? 0;
      // What was shown cannot be taken back; text that does not continue it (it was cut, say) adds nothing.
      if (before !== undefined && !part.text.startsWith(before.text)) continue;
      if (part.text.length > offset) {
        rest.push({ message: message.id, part: number, kind, offset, text: part.text.slice(offset) });
      }
    }
    return rest;
  }

  abandon(message: string): void {
    this.#shown.delete(message);
  }
}

function toDelta(message: string, part: LivePart, offset: number, text: string): TextDelta {
  return {
    message,
    part: part.part,
    kind: part.kind,
    offset,
    text,
    ...(part.call === undefined ? {} : { call: part.call }),
    ...(part.tool === undefined ? {} : { tool: part.tool }),
  };
}
