/**
 * Following a session for a chat: what is printed of the past when joining, and which of one's own inputs are answered.
 * Owns those two memories; prints nothing itself.
 */
import type { EventFrame } from "../../protocol/entries.ts";
import type { TextDelta } from "../live.ts";
import type { Conversation } from "./conversation.ts";

/** Holds the past until it is all there, then shows only its last messages; what comes later is shown as it comes. */
export class CatchUp {
  readonly #conversation: Conversation;
  readonly #tail: number;
  #past: (EventFrame | TextDelta)[] | undefined = [];

  constructor(conversation: Conversation, tail: number) {
    this.#conversation = conversation;
    this.#tail = tail;
  }

  entry(entry: EventFrame): void {
    if (this.#past === undefined) this.#conversation.entry(entry);
    else this.#past.push(entry);
  }

  delta(delta: TextDelta): void {
    if (this.#past === undefined) this.#conversation.delta(delta);
    else this.#past.push(delta);
  }

  /** The past is complete. */
  done(): void {
    const past = this.#past;
    if (past === undefined) return;
    this.#past = undefined;
    const messages = past.flatMap((item, index) =>
      "event" in item && item.event.type === "message" ? [index] : [],
    );
    const from =
      messages.length <= this.#tail ? 0 : this.#tail === 0 ? past.length : messages.at(-this.#tail)!;
    for (const [index, item] of past.entries()) {
      if (!("event" in item)) this.#conversation.delta(item);
      else if (index < from) this.#conversation.skip(item);
      else this.#conversation.entry(item);
    }
  }
}

/** What became of the inputs that this command sent. */
export class OwnInputs {
  readonly #open = new Set<string>();
  readonly #runs = new Map<string, string[]>();
  /** Inputs that came to an end, ours or not: an end may be seen before the answer of the send. */
  readonly #over = new Set<string>();
  #waiters: (() => void)[] = [];

  /** True while an input of ours has not come to an end. */
  get waiting(): boolean {
    return this.#open.size > 0;
  }

  sent(input: string): void {
    if (!this.#over.has(input)) this.#open.add(input);
  }

  entry({ event, run }: EventFrame): void {
    if (event.type === "message" && event.message.role === "user") {
      const own = event.message.run ?? run ?? "";
      this.#runs.set(own, [...(this.#runs.get(own) ?? []), event.message.id]);
    } else if (event.type === "run-finished") {
      for (const input of this.#runs.get(event.run) ?? []) this.#end(input);
      this.#runs.delete(event.run);
    } else if (event.type === "input-withdrawn") this.#end(event.input);
  }

  async allOver(): Promise<void> {
    if (this.waiting) await new Promise<void>((resolve) => this.#waiters.push(resolve));
  }

  #end(input: string): void {
    this.#over.add(input);
    this.#open.delete(input);
    if (this.waiting) return;
    for (const resolve of this.#waiters.splice(0)) resolve();
  }
}
