/**
 * One turn: what happens to one input, from its send to the end of the run that takes it. Owns finding that run in the
 * entries (before or after the `ok` of the send, across reconnects) and putting text and entries in one order. Never
 * sends or cancels anything by itself.
 */
import type { EntryBodyOf, EventFrame } from "../protocol/entries.ts";
import { ProtocolError } from "../protocol/errors.ts";
import type { ResultOf, SessionState } from "../protocol/frames.ts";
import type { Attachment } from "./attachment.ts";
import { ShownText } from "./live.ts";
import type { TextDelta } from "./live.ts";

export type RunFinished = EntryBodyOf<"run-finished">;

/** The texts of a message add up to what is committed, unless the message is abandoned (`entry`, `message-abandoned`). */
export type TurnEvent =
  | {
      readonly type: "text" | "reasoning";
      readonly message: string;
      readonly offset: number;
      readonly text: string;
    }
  | { readonly type: "entry"; readonly entry: EventFrame };

type Seen = EventFrame | TextDelta;

/** Entries of the session that say nothing about a run. */
const ASIDE = new Set<string>([
  "input-queued",
  "input-edited",
  "input-withdrawn",
  "member-changed",
  "invite-created",
  "invite-revoked",
  "session-updated",
]);

/**
 * Sends, and resolves with the `run-finished` of the run that took the input; `item` is called with what happens in it.
 * Rejects as the send does, with the detachment's error, `conflict` when the input was withdrawn, `unavailable` when the
 * log was replaced and nothing is known of the input, or the signal's reason.
 */
export function followTurn(
  attachment: Attachment,
  send: () => Promise<ResultOf<"send">>,
  item: (event: TurnEvent) => void,
  signal: AbortSignal | undefined,
): Promise<RunFinished> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    if (attachment.ended !== undefined) throw attachment.ended;
    const turn = new Turn(item, (end) => {
      for (const stop of stops) stop();
      signal?.removeEventListener("abort", aborted);
      if (end instanceof Error) reject(end);
      else resolve(end);
    });
    const aborted = (): void => turn.fail(signal?.reason);
    signal?.addEventListener("abort", aborted);
    const locate = (): void => {
      if (attachment.view.caughtUp && attachment.view.state !== undefined) turn.locate(attachment.view.state);
    };
    const stops = [
      attachment.events.on("entry", (entry) => turn.see(entry)),
      attachment.events.on("delta", (delta) => turn.see(delta)),
      attachment.events.on("snapshot", () => turn.uncertain()),
      attachment.events.on("live", locate),
      attachment.events.on("detached", (error) => turn.fail(error)),
    ];
    send().then(
      (ok) => {
        turn.sent(ok.input, ok.duplicate);
        locate();
      },
      (error: unknown) => turn.fail(error),
    );
  });
}

class Turn {
  readonly #item: (event: TurnEvent) => void;
  readonly #end: (end: RunFinished | Error) => void;
  readonly #text = new ShownText();
  #input: string | undefined;
  #run: string | undefined;
  /** What happened before we knew our input's id. */
  #early: Seen[] = [];
  /** The entries alone may not tell: a key that was used before, or a state that was replaced. */
  #uncertain = false;
  #over = false;

  constructor(item: (event: TurnEvent) => void, end: (end: RunFinished | Error) => void) {
    this.#item = item;
    this.#end = end;
  }

  see(seen: Seen): void {
    if (this.#over) return;
    if (this.#input === undefined) this.#early.push(seen);
    else if ("event" in seen) this.#entry(seen);
    else this.#delta(seen);
  }

  sent(input: string, duplicate: boolean): void {
    this.#input = input;
    if (duplicate) this.#uncertain = true;
    for (const seen of this.#early.splice(0)) this.see(seen);
  }

  uncertain(): void {
    this.#uncertain = true;
  }

  /** Looks for the input in a state that is up to date, where entries may not show it any more. */
  locate(state: SessionState): void {
    if (!this.#uncertain || this.#input === undefined || this.#over) return;
    this.#uncertain = false;
    this.#run ??=
      state.run?.input === this.#input
        ? state.run.run
        : state.messages.find((message) => message.id === this.#input)?.run;
    if (this.#run === undefined) {
      if (state.queue.some((queued) => queued.input === this.#input)) return;
      this.fail(
        new ProtocolError("unavailable", "what became of the input is older than what is known here", {
          retryable: false,
        }),
      );
    } else if (state.run?.run !== this.#run) this.#finishFrom(state, this.#run);
  }

  fail(error: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#end(error instanceof Error ? error : new Error(String(error)));
  }

  #entry(entry: EventFrame): void {
    const body = entry.event;
    if (this.#run === undefined) {
      if (body.type === "run-started" && body.input === this.#input) this.#run = body.run;
      else if (body.type === "message" && body.message.id === this.#input)
        this.#run = body.message.run ?? entry.run;
      else if (body.type === "input-withdrawn" && body.input === this.#input) {
        this.fail(
          new ProtocolError("conflict", "the input was withdrawn", { details: { input: body.input } }),
        );
      }
      if (this.#run === undefined) return;
    }
    if (body.type === "message" && body.message.role === "assistant") {
      for (const delta of this.#text.commit(body.message)) this.#show(delta);
    } else if (body.type === "message-abandoned") this.#text.abandon(body.message);
    if (!ASIDE.has(body.type)) this.#item({ type: "entry", entry });
    if (body.type === "run-finished" && body.run === this.#run) {
      this.#over = true;
      this.#end(body);
    }
  }

  #delta(delta: TextDelta): void {
    if (this.#run !== undefined && this.#text.delta(delta)) this.#show(delta);
  }

  #show(delta: TextDelta): void {
    if (delta.kind === "tool-input") return;
    this.#item({ type: delta.kind, message: delta.message, offset: delta.offset, text: delta.text });
  }

  /** The run ended unseen: its end as far as the state tells. */
  #finishFrom(state: SessionState, run: string): void {
    const last = state.lastRun;
    if (last?.run !== run) {
      this.fail(
        new ProtocolError("unavailable", "the run of this input ended before what is known here", {
          retryable: false,
        }),
      );
      return;
    }
    const answer = state.messages.findLast((message) => message.role === "assistant" && message.run === run);
    const text = answer?.parts.map((part) => (part.type === "text" ? part.text : "")).join("") ?? "";
    const { reason, steps, usage } = last;
    this.#over = true;
    this.#end({
      type: "run-finished",
      run,
      reason,
      steps,
      usage,
      model: "",
      ...(text === "" ? {} : { text }),
    });
  }
}
