/**
 * Logs for client tests, written by hand: entries with running seqs, messages, a session's state. Owns shapes only.
 */
import type { Actor, Message, MessagePart } from "../../../protocol/content.ts";
import type { EntryBody, EventFrame } from "../../../protocol/entries.ts";

export const ann: Actor = { kind: "user", id: "ann", name: "Ann", verified: true };
export const demo: Actor = { kind: "agent", id: "demo", name: "demo", verified: true };
export const noUsage = { inputTokens: 0, outputTokens: 0 };

/** Numbers entries of one session from 1 on; `epoch` may change between them. */
export class Log {
  readonly entries: EventFrame[] = [];
  readonly session: string;
  epoch: number;

  constructor(session = "ses_1", epoch = 10) {
    this.session = session;
    this.epoch = epoch;
  }

  add(event: EntryBody, more: { run?: string; actor?: Actor } = {}): EventFrame {
    const seq = this.entries.length + 1;
    const entry: EventFrame = {
      type: "event",
      session: this.session,
      epoch: this.epoch,
      seq,
      at: 1000 + seq,
      event,
      ...more,
    };
    this.entries.push(entry);
    return entry;
  }

  created(): EventFrame {
    return this.add({ type: "session-created", agent: "demo", owner: "ann" }, { actor: ann });
  }

  /** An input that is queued and taken by a run of its own. */
  asked(text: string, ids: { input: string; run: string }): EventFrame[] {
    const { input } = ids;
    const queued = this.add(
      { type: "input-queued", input, key: `key-${input}`, content: text, mode: "queue" },
      { actor: ann },
    );
    return [queued, ...this.taken(text, ids)];
  }

  taken(text: string, { input, run }: { input: string; run: string }): EventFrame[] {
    const message: Message = { id: input, role: "user", author: ann, run, parts: [{ type: "text", text }] };
    return [
      this.add(
        { type: "run-started", run, input, agent: "demo", model: "scripted", tools: [] },
        { run, actor: ann },
      ),
      this.add({ type: "message", message }, { run, actor: ann }),
    ];
  }

  answered(message: string, run: string, parts: MessagePart[], incomplete?: true): EventFrame {
    const body: Message = { id: message, role: "assistant", author: demo, run, parts };
    return this.add(
      {
        type: "message",
        message: body,
        step: 1,
        finishReason: "stop",
        ...(incomplete ? { incomplete } : {}),
      },
      { run },
    );
  }

  finished(run: string, text?: string): EventFrame {
    return this.add(
      {
        type: "run-finished",
        run,
        reason: "text",
        steps: 1,
        usage: noUsage,
        model: "scripted",
        ...(text === undefined ? {} : { text }),
      },
      { run },
    );
  }
}
