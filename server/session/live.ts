/**
 * The unfinished text of a session: what a run has streamed since its last committed message. Owns parts and offsets, so
 * that a reader who joins now gets it whole; never persists anything.
 */
import type { Partial, PartKind } from "../../protocol/frames.ts";

type LivePart = Partial["parts"][number];

export class LiveText {
  #partial: Partial | undefined;

  begin(run: string, message: string, part: number, kind: PartKind, call?: string, tool?: string): void {
    if (this.#partial?.message !== message) this.#partial = { run, message, parts: [] };
    const begun: LivePart = { part, kind, text: "" };
    if (call !== undefined) begun.call = call;
    if (tool !== undefined) begun.tool = tool;
    this.#partial.parts.push(begun);
  }

  /** Appends to a part; answers its kind and the offset (UTF-16 units) that the text begins at. */
  append(message: string, part: number, text: string): { kind: PartKind; offset: number } | undefined {
    if (this.#partial?.message !== message) return undefined;
    const found = this.#partial.parts.find((item) => item.part === part);
    if (found === undefined) return undefined;
    const offset = found.text.length;
    found.text += text;
    return { kind: found.kind, offset };
  }

  /** Forgets the text of a message that is committed or abandoned now. */
  clear(message?: string): void {
    if (message === undefined || this.#partial?.message === message) this.#partial = undefined;
  }

  /** Shows again what a process before had streamed. */
  restore(partial: Partial): void {
    this.#partial = partial;
  }

  /** A copy, to be sent. */
  get partial(): Partial | undefined {
    return this.#partial && { ...this.#partial, parts: this.#partial.parts.map((part) => ({ ...part })) };
  }
}
