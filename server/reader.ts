/**
 * An in-process reader of one run: gathers the events of the run that an input starts, and what `sendTo` answers. Owns a
 * queue that merges deltas while nobody reads, so it is bounded by the run's own text; never holds the run up.
 */
import { ProtocolError } from "../protocol/errors.ts";
import type { Message, RunReason, Usage } from "../protocol/content.ts";
import type { EntryBodyOf } from "../protocol/entries.ts";
import type { AgentEvent } from "./hook.ts";

/** One model call and the results of the tool calls that it asked for. */
export interface AgentStep {
  readonly message: Message;
  readonly results: readonly EntryBodyOf<"tool-result">[];
}

export interface AgentResponse {
  readonly steps: readonly AgentStep[];
  /** The last step's text; absent when there is none. */
  readonly finalResponse?: string;
  readonly iterations: number;
  readonly stopReason: RunReason;
  readonly error?: { readonly code: string; readonly message: string };
  readonly usage: Usage;
  readonly model: string;
  readonly run: string;
}

export class RunReader {
  #queue: AgentEvent[] = [];
  #wake: (() => void) | undefined;

  take(event: AgentEvent): void {
    const last = this.#queue.at(-1);
    if (
      event.type === "delta" &&
      last?.type === "delta" &&
      last.message === event.message &&
      last.part === event.part &&
      last.offset + last.text.length === event.offset
    ) {
      this.#queue[this.#queue.length - 1] = { ...last, text: last.text + event.text };
    } else {
      this.#queue.push(event);
    }
    this.#wake?.();
  }

  /** The events of the run that this input starts. Throws ProtocolError `closed` when the input is withdrawn. */
  async *events(input: string): AsyncGenerator<{ event: AgentEvent; response?: AgentResponse }, void> {
    let run: string | undefined;
    const steps: { message: Message; results: EntryBodyOf<"tool-result">[] }[] = [];
    for (;;) {
      const event = this.#queue.shift();
      if (event === undefined) {
        await new Promise<void>((resolve) => (this.#wake = resolve));
        this.#wake = undefined;
        continue;
      }
      if (event.type === "delta") {
        if (event.run === run) yield { event };
        continue;
      }
      const body = event.event;
      if (body.type === "input-withdrawn" && body.input === input) {
        throw new ProtocolError("closed", "the input was withdrawn");
      }
      if (body.type === "run-started" && body.input === input) ({ run } = body);
      if (run === undefined || event.run !== run) continue;
      if (body.type === "message" && body.message.role === "assistant")
        steps.push({ message: body.message, results: [] });
      if (body.type === "tool-result") steps.at(-1)?.results.push(body);
      if (body.type !== "run-finished") {
        yield { event };
        continue;
      }
      yield { event, response: responseOf(body, steps) };
      return;
    }
  }
}

function responseOf(end: EntryBodyOf<"run-finished">, steps: readonly AgentStep[]): AgentResponse {
  const said =
    steps
      .at(-1)
      ?.message.parts.map((part) => (part.type === "text" ? part.text : ""))
      .join("") ?? "";
  return {
    steps,
    ...(said === "" ? {} : { finalResponse: said }),
    iterations: end.steps,
    stopReason: end.reason,
    ...(end.error === undefined ? {} : { error: end.error }),
    usage: end.usage,
    model: end.model,
    run: end.run,
  };
}
