/**
 * A session as one client sees it: the folded state, the unfinished text, and the position up to which both are true.
 * Owns the rules of applying frames exactly once and of noticing that something is missing. Fed with frames by value;
 * never does I/O and never asks for anything.
 */
import type { Message, MessagePart, Position } from "../protocol/content.ts";
import type { EventFrame } from "../protocol/entries.ts";
import type { Partial, SessionState, ServerFrameOf } from "../protocol/frames.ts";
import { fold } from "../protocol/state.ts";
import { LiveText } from "./live.ts";
import type { TextDelta } from "./live.ts";

/** `applied`; `known`: it was here already; `lost`: it does not continue what is here, so attach anew without `after`. */
export type Applied = "applied" | "known" | "lost";

/** A message as it is shown: of the history (with `seq`), or still being written (`unfinished`). */
export interface ShownMessage extends Message {
  readonly seq?: number;
  readonly at?: number;
  readonly incomplete?: true | undefined;
  /** Taken out of what the agent reads. */
  readonly rolledBack?: true | undefined;
  readonly unfinished?: true;
}

export class SessionView {
  #state: SessionState | undefined;
  #position: Position | undefined;
  readonly #live = new LiveText();
  #caughtUp = false;

  /** `after`: where the log begins for this view, when it has no state before it. */
  constructor(after?: Position) {
    // Before the first entry there is no epoch to agree on.
    this.#position = after?.seq === 0 ? { epoch: 0, seq: 0 } : after;
  }

  /** The fold of the log; undefined before anything came, and for a view that began in the middle of the log. */
  get state(): SessionState | undefined {
    return this.#state;
  }

  get position(): Position | undefined {
    return this.#position;
  }

  get partial(): Partial | undefined {
    return this.#live.partial;
  }

  /** True once everything up to the log's head was applied and what comes is live. */
  get caughtUp(): boolean {
    return this.#caughtUp;
  }

  snapshot(snapshot: { epoch: number; seq: number; state: SessionState }): void {
    this.#state = snapshot.state;
    this.#position = { epoch: snapshot.epoch, seq: snapshot.seq };
    for (const message of snapshot.state.messages.slice(-REMEMBERED_OF_SNAPSHOT))
      this.#live.committed(message.id);
    if (snapshot.state.run === undefined) this.#live.clear();
  }

  /** The connection is gone or being replaced: what is shown stays, but may be behind. */
  behind(): void {
    this.#caughtUp = false;
  }

  event(entry: EventFrame): Applied {
    const { epoch, seq } = this.#position ?? { epoch: 0, seq: 0 };
    if (entry.seq < seq) return "known";
    if (entry.seq === seq) return entry.epoch === epoch ? "known" : "lost";
    if (entry.seq > seq + 1 || entry.epoch < epoch) return "lost";
    if (this.#state !== undefined || entry.seq === 1) this.#state = fold(this.#state, entry);
    this.#position = { epoch: entry.epoch, seq: entry.seq };
    const body = entry.event;
    if (body.type === "message") this.#live.committed(body.message.id);
    else if (body.type === "message-abandoned") this.#live.abandoned(body.message);
    else if (body.type === "run-finished") this.#live.clear();
    return "applied";
  }

  part(frame: ServerFrameOf<"part">): boolean {
    return this.#live.part(frame, this.#state?.run?.run ?? "");
  }

  delta(frame: ServerFrameOf<"delta">): TextDelta | undefined {
    return this.#live.delta(frame);
  }

  /** The text that is new by it, or `lost` if entries before it are missing. */
  live(frame: ServerFrameOf<"live">): TextDelta[] | "lost" {
    if (frame.seq > (this.#position?.seq ?? 0)) return "lost";
    this.#caughtUp = true;
    return this.#live.live(frame.partial);
  }

  /** The messages of the state and the unfinished one after them. */
  shown(): ShownMessage[] {
    const messages: ShownMessage[] = [...(this.#state?.messages ?? [])];
    const partial = this.#live.partial;
    if (partial === undefined) return messages;
    const agent = this.#state?.run?.agent ?? this.#state?.session.agent ?? "agent";
    messages.push({
      id: partial.message,
      role: "assistant",
      author: { kind: "agent", id: agent, name: agent, verified: true },
      ...(partial.run === "" ? {} : { run: partial.run }),
      parts: partial.parts.map(shownPart),
      unfinished: true,
    });
    return messages;
  }
}

const REMEMBERED_OF_SNAPSHOT = 200;

function shownPart(part: Partial["parts"][number]): MessagePart {
  if (part.kind !== "tool-input") return { type: part.kind, text: part.text };
  return {
    type: "dynamic-tool",
    toolName: part.tool ?? "",
    toolCallId: part.call ?? "",
    state: "input-streaming",
    // The text of the input so far: no JSON value before it is whole.
    input: part.text,
  };
}
