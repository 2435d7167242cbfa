/**
 * In-process readers: each gathers the events of the run that its input starts, and what `sendTo` answers. Owns queues that
 * merge deltas while nobody reads and take nothing of other runs, so each is bounded by its own run; never holds one up.
 * Also as whom and with what an embedder may send.
 */
import { content as contentSchema, userId } from "../protocol/content.ts";
import type { Content, Message, RunReason, Usage } from "../protocol/content.ts";
import type { EntryBodyOf } from "../protocol/entries.ts";
import { ProtocolError } from "../protocol/errors.ts";
import { checkJsonValue } from "../protocol/scan.ts";
import { ALL_RIGHTS } from "./auth/identity.ts";
import type { AgentEvent } from "./hook.ts";
import type { Caller } from "./session/access.ts";

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

/** What one reader gives: an event, and with the last one the answer. */
export interface ReadEvent {
  readonly event: AgentEvent;
  readonly response?: AgentResponse;
}

/** A content that an embedder sends, held to what the wire takes. Throws ProtocolError `bad-frame` or `too-large`. */
export function checkContent(content: Content): Content {
  const parsed = contentSchema.safeParse(content);
  if (!parsed.success) throw new ProtocolError("bad-frame", `content: ${parsed.error.issues[0]?.message}`);
  checkJsonValue(parsed.data);
  return parsed.data;
}

/** An embedder's user, whom nobody has verified; acts as an owner of every session. Throws ProtocolError `bad-frame`. */
export function embedder(name = ""): Caller {
  const id = name === "" ? "local" : name;
  if (!userId.safeParse(id).success || !id.isWellFormed())
    throw new ProtocolError("bad-frame", "a user's name is 1–128 characters of well-formed text");
  return { actor: { kind: "user", id, name: id, verified: false }, rights: ALL_RIGHTS };
}

/** The readers of a runtime, by session. */
export class Readers {
  readonly #bySession = new Map<string, Set<RunReader>>();

  get size(): number {
    let size = 0;
    for (const readers of this.#bySession.values()) size += readers.size;
    return size;
  }

  take(session: string, event: AgentEvent): void {
    for (const reader of this.#bySession.get(session) ?? []) reader.take(event);
  }

  /** Ends the readers of one session, or all: nothing will come any more. */
  fail(session: string | undefined, error: ProtocolError): void {
    const concerned = session === undefined ? [...this.#bySession.values()] : [this.#bySession.get(session)];
    for (const readers of concerned) for (const reader of readers ?? []) reader.fail(error);
  }

  /** Reads from before `send`, so that nothing of the run it starts is missed. */
  async *follow(session: string, send: () => Promise<{ input: string }>): AsyncGenerator<ReadEvent, void> {
    const reader = new RunReader();
    const readers = this.#bySession.get(session) ?? new Set();
    this.#bySession.set(session, readers.add(reader));
    try {
      yield* reader.events((await send()).input);
    } finally {
      readers.delete(reader);
      if (readers.size === 0) this.#bySession.delete(session);
    }
  }
}

class RunReader {
  #queue: AgentEvent[] = [];
  #wake: (() => void) | undefined;
  #failure: ProtocolError | undefined;
  /** Until it is known, every event may be of its run. */
  #input: string | undefined;
  #run: string | undefined;
  #over = false;

  take(event: AgentEvent): void {
    if (!this.#concerns(event)) return;
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

  fail(error: ProtocolError): void {
    this.#failure ??= error;
    this.#wake?.();
  }

  #concerns(event: AgentEvent): boolean {
    if (this.#over) return false;
    if (this.#input === undefined) return true;
    if (event.type === "event") {
      const body = event.event;
      if (body.type === "run-started" && body.input === this.#input) this.#run = body.run;
      const withdrawn = body.type === "input-withdrawn" && body.input === this.#input;
      this.#over = withdrawn || (body.type === "run-finished" && body.run === this.#run);
      if (withdrawn) return true;
    }
    return this.#run !== undefined && event.run === this.#run;
  }

  /** The events of the run that this input starts. Throws ProtocolError `closed` when the input is withdrawn. */
  async *events(input: string): AsyncGenerator<ReadEvent, void> {
    this.#input = input;
    for (const event of this.#queue.splice(0)) this.take(event);
    const steps: { message: Message; results: EntryBodyOf<"tool-result">[] }[] = [];
    for (;;) {
      const event = this.#queue.shift();
      if (event === undefined) {
        if (this.#failure !== undefined) throw this.#failure;
        await new Promise<void>((resolve) => (this.#wake = resolve));
        this.#wake = undefined;
        continue;
      }
      if (event.type === "delta") {
        yield { event };
        continue;
      }
      const body = event.event;
      if (body.type === "input-withdrawn") throw new ProtocolError("closed", "the input was withdrawn");
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

/** What came of the run; throws `closed` when its session ended before it. */
export async function lastOf(events: AsyncIterable<ReadEvent>): Promise<AgentResponse> {
  let response: AgentResponse | undefined;
  for await (const event of events) response = event.response ?? response;
  if (response === undefined) throw new ProtocolError("closed", "the session ended before the run did");
  return response;
}
