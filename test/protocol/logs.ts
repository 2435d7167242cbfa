/**
 * Random logs: sequences of entries that a server could have written, from a list of choices, so that fast-check can
 * shrink them. Keeps its own small model of what may come next; never uses fold, which is what it tests.
 */
import fc from "fast-check";
import type { Actor, Message, ToolPart } from "../../protocol/content.ts";
import type { EntryBody, EventFrame } from "../../protocol/entries.ts";

export const SESSION = "ses_test";
export const ADA: Actor = { kind: "user", id: "ada", name: "Ada", verified: true };
export const AGENT: Actor = { kind: "agent", id: "demo", name: "demo", verified: true };
export const USAGE = { inputTokens: 2, outputTokens: 1 };

/** An entry with the head that every test entry has. */
export function entry(seq: number, event: EntryBody, extra: Partial<EventFrame> = {}): EventFrame {
  return { type: "event", session: SESSION, epoch: 5, seq, at: 1000 + seq, ...extra, event };
}

export function userMessage(id: string, text = "hello"): Message {
  return { id, role: "user", author: ADA, parts: [{ type: "text", text }] };
}

export function assistantMessage(id: string, calls: readonly string[] = [], text = "well"): Message {
  const parts = calls.map((call): ToolPart => ({
    type: "dynamic-tool",
    toolName: "clock",
    toolCallId: call,
    state: "input-available",
    input: { call },
  }));
  return { id, role: "assistant", author: AGENT, run: "run_1", parts: [{ type: "text", text }, ...parts] };
}

export const choices = fc.array(fc.nat(1_000_000), { maxLength: 150, size: "max" });

interface Call {
  id: string;
  attempt: number;
  request?: string;
}

/** The log that these choices make; every number decides one entry. */
export function randomLog(numbers: readonly number[]): EventFrame[] {
  const log: EventFrame[] = [];
  let epoch = 3;
  let minted = 0;
  const mint = (prefix: string): string => `${prefix}_${++minted}`;
  const queue: string[] = [];
  let run: string | undefined;
  let step = 0;
  let calls: Call[] = [];
  let closed = false;

  const head = (): Pick<EventFrame, "type" | "session" | "epoch" | "seq" | "at"> => {
    return { type: "event", session: SESSION, epoch, seq: log.length + 1, at: 1000 + log.length };
  };
  const add = (event: EntryBody): void => {
    log.push(run === undefined ? { ...head(), actor: ADA, event } : { ...head(), run, event });
  };
  const text = (n: number): string => "x".repeat(n % 7 === 0 ? 40 * (n % 50) : n % 20);
  const settle = (call: Call, n: number): void => {
    const outcomes = ["ok", "error", "timeout", "denied", "cancelled"] as const;
    const outcome = outcomes[n % outcomes.length]!;
    const error = { code: "late", message: text(n) };
    add({
      type: "tool-result",
      call: call.id,
      ...(call.attempt > 0 ? { attempt: call.attempt } : {}),
      outcome,
      ...(outcome === "ok" ? { output: text(n) } : outcome === "error" ? { error } : {}),
      durationMs: 1,
    });
    calls = calls.filter((other) => other !== call);
  };

  add({ type: "session-created", agent: "demo", owner: "ada" });
  for (const number of numbers) {
    const n = Math.floor(number / 16);
    const mode = (["queue", "steer", "interrupt", "reject", "rollback"] as const)[n % 5]!;
    const call = calls[n % Math.max(1, calls.length)];
    switch (number % 16) {
      case 0:
      case 1:
        if (closed) break;
        queue.push(mint("msg"));
        add({ type: "input-queued", input: queue.at(-1)!, key: mint("key"), content: text(n) || "x", mode });
        if (n % 9 === 0) add({ type: "inputs-ordered", inputs: queue.toReversed().slice(n % 3) });
        break;
      case 2:
        if (queue.length > 0) {
          add({ type: "input-edited", input: queue[n % queue.length]!, content: text(n) || "y" });
        }
        break;
      case 3:
        if (queue.length > 3) add({ type: "input-withdrawn", input: queue.splice(n % queue.length, 1)[0]! });
        break;
      case 4:
      case 5: {
        const input = run === undefined ? queue.shift() : undefined;
        if (input === undefined) break;
        run = mint("run");
        step = 0;
        add({ type: "run-started", run, input, agent: "demo", model: "m", tools: [] });
        add({ type: "message", message: { ...userMessage(input, text(n)), run } });
        break;
      }
      case 6:
      case 7:
      case 8: {
        if (run === undefined || calls.length > 0) break;
        step++;
        calls = Array.from({ length: n % 4 }, () => ({ id: mint("call"), attempt: 0 }));
        const message = assistantMessage(
          mint("msg"),
          calls.map((item) => item.id),
          text(n),
        );
        add({ type: "message", message: { ...message, run }, step, finishReason: "stop", usage: USAGE });
        break;
      }
      case 9:
        if (call === undefined || call.request !== undefined) break;
        if (n % 7 === 0) {
          add({ type: "tool-delegated", call: call.id, child: mint("ses") });
          break;
        }
        call.attempt++;
        add({
          type: "tool-dispatched",
          call: call.id,
          attempt: call.attempt,
          provider: "prv_1",
          effect: "pure",
          deadlineAt: 9,
        });
        break;
      case 10:
        if (call !== undefined && call.attempt > 0) {
          const type = n % 2 ? "tool-accepted" : "tool-lost";
          if (type === "tool-accepted") add({ type, call: call.id, attempt: call.attempt });
          else add({ type, call: call.id, attempt: call.attempt, cause: "gone" });
        }
        break;
      case 11:
        if (call === undefined || call.attempt > 0) break;
        if (call.request === undefined) {
          call.request = mint("req");
          add({
            type: "request-opened",
            request: call.request,
            kind: "approval",
            call: call.id,
            expiresAt: 9,
          });
        } else if (n % 3 === 0) {
          if (n % 2) add({ type: "request-notified", request: call.request });
          const body = { type: "request-answered", request: call.request, reason: text(n) } as const;
          log.push({ ...head(), actor: { ...ADA, id: `user${n % 5}` }, event: body });
        } else {
          const decision = n % 2 ? "approve" : "deny";
          add({ type: "request-resolved", request: call.request, decision, input: text(n), by: [ADA] });
          if (n % 5 === 0) {
            const allowance = mint("alw");
            const by = [{ user: ADA }];
            add({ type: "approval-remembered", allowance, request: call.request, tool: "clock", by });
            if (n % 2) add({ type: "approval-forgotten", allowance });
          }
          delete call.request;
        }
        break;
      case 12:
        if (call !== undefined && call.request === undefined) settle(call, n);
        break;
      case 13:
        if (run === undefined || calls.length > 0) break;
        if (step > 0) add({ type: "step-finished", run, step, finishReason: "stop", usage: USAGE });
        if (n % 2) {
          const rolledBack = n % 4 === 1 ? { rolledBack: true as const } : {};
          add({
            type: "run-finished",
            run,
            reason: "text",
            steps: step,
            usage: USAGE,
            model: "m",
            ...rolledBack,
          });
          run = undefined;
        }
        break;
      case 14: {
        const kind = n % 6;
        if (kind === 0)
          add({
            type: "compacted",
            upTo: Math.floor(log.length / 2),
            summary: text(n),
            ...(n % 4 ? { usage: USAGE } : {}),
          });
        else if (kind === 1) add({ type: "session-updated", title: text(n) });
        else if (kind === 2)
          add({ type: "member-changed", user: `user${n % 3}`, role: n % 2 ? "viewer" : null });
        else if (kind === 3 && run !== undefined)
          add({ type: "cancel-requested", run, ...(n % 4 === 1 ? { rollback: true } : {}) });
        else if (kind === 4) epoch++;
        else if (n % 40 === 11) add({ type: "floor-changed", mode: n % 3 ? "open" : "hand" });
        else if (n % 40 === 5 && !closed) {
          closed = true;
          add({ type: "session-closed" });
        }
        break;
      }
      default: {
        const kind = n % 4;
        if (kind === 0)
          add({ type: "message-abandoned", message: mint("msg"), text: text(n), cause: "retry" });
        else if (kind === 1) add({ type: "tool-audit", call: mint("call"), attempt: 1, verdict: "stale" });
        else if (kind === 2 && run) add({ type: "run-recovered", run, policy: "stop", step, attempt: 1 });
        // A later version's entry.
        else add({ type: "something-new", field: text(n) } as unknown as EntryBody);
      }
    }
  }
  return log;
}
