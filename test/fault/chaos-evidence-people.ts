/**
 * A session in which people are asked and every promise is kept: one request that two approve with another input, one
 * that is denied, one question. Owns that evidence for the oracle's own test; never a judgement.
 */
import type { EntryBody } from "../../protocol/entries.ts";
import type { Line } from "./chaos-journal.ts";
import type { Promised, Said as Answered } from "./chaos-player.ts";

const person = (id: string) => ({ kind: "user", id, name: id, verified: false }) as const;
const agent = { kind: "agent", id: "short", name: "short", verified: true } as const;
const usage = { inputTokens: 1, outputTokens: 1 };
const RUN = "run_p";
const input = { mark: "p" };
const edited = { mark: "p", edited: true };
const part = (call: string, tool: string) =>
  ({ type: "dynamic-tool", toolName: tool, toolCallId: call, input, state: "input-available" }) as const;
const opened = (request: string, call: string, more: object): EntryBody => ({
  type: "request-opened",
  request,
  kind: "approval",
  call,
  subject: { tool: "once_pay", input },
  expiresAt: 100,
  editable: true,
  ...more,
});

export const PEOPLE: readonly (readonly [EntryBody, string?])[] = [
  [{ type: "session-created", agent: "short", owner: "ann" }],
  [{ type: "input-queued", input: "msg_p", key: "k9", content: "pay", mode: "queue" }],
  [{ type: "run-started", run: RUN, input: "msg_p", agent: "short", model: "m", tools: [] }, RUN],
  [
    {
      type: "message",
      message: {
        id: "msg_p",
        role: "user",
        author: person("ann"),
        run: RUN,
        parts: [{ type: "text", text: "pay" }],
      },
    },
    RUN,
  ],
  [
    {
      type: "message",
      message: {
        id: "msg_q",
        role: "assistant",
        author: agent,
        run: RUN,
        parts: [part("call_p", "once_pay"), part("call_d", "once_pay"), part("call_a", "ask")],
      },
      step: 1,
    },
    RUN,
  ],
  [opened("req_p", "call_p", { count: 2 }), RUN],
  [opened("req_d", "call_d", { notRequester: true }), RUN],
  [opened("req_a", "call_a", { kind: "question" }), RUN],
  [{ type: "request-answered", request: "req_p", input: edited }, RUN],
  [
    {
      type: "request-resolved",
      request: "req_p",
      decision: "approve",
      input: edited,
      by: [person("ann"), person("bob")],
    },
    RUN,
  ],
  [
    {
      type: "tool-dispatched",
      call: "call_p",
      attempt: 1,
      provider: "prv_1",
      effect: "once",
      deadlineAt: 200,
    },
    RUN,
  ],
  [{ type: "request-resolved", request: "req_d", decision: "deny", by: [person("bob")] }, RUN],
  [{ type: "tool-result", call: "call_d", outcome: "denied", durationMs: 1 }, RUN],
  [
    {
      type: "request-resolved",
      request: "req_a",
      decision: "approve",
      answers: { go: "yes" },
      by: [person("ann")],
    },
    RUN,
  ],
  [{ type: "tool-result", call: "call_a", outcome: "ok", output: {}, durationMs: 1 }, RUN],
  [
    {
      type: "tool-result",
      call: "call_p",
      attempt: 1,
      outcome: "ok",
      output: { done: "people/call_p/1" },
      durationMs: 1,
    },
    RUN,
  ],
  [{ type: "step-finished", run: RUN, step: 1, finishReason: "tool-calls", usage }, RUN],
  [{ type: "run-finished", run: RUN, reason: "no-action", steps: 1, usage, model: "m" }, RUN],
];

const reference = { session: "people", call: "call_p", attempt: 1 };

export const PAID: readonly Line[] = [
  { did: "begun", reference, tool: "once_pay", input: edited },
  { did: "done", reference, output: { done: "people/call_p/1" } },
  { did: "told", reference, verdict: "stored" },
];

const answer = (user: string, request: string, said: Answered, more: Partial<Promised>): Promised => ({
  client: `client of ${user}`,
  user,
  session: "people",
  asked: { kind: "answer", request, ...said },
  answer: "acked",
  ...more,
});
const acked = (seq: number): Partial<Promised> => ({ frame: { type: "ok", seq } });
const no = { decision: "deny", reason: "no" } as const;

export const ANSWERED: readonly Promised[] = [
  {
    client: "client of ann",
    user: "ann",
    session: "people",
    asked: { kind: "send", key: "k9", content: "pay", mode: "queue" },
    answer: "acked",
    frame: { type: "ok", seq: 2, input: "msg_p" },
  },
  answer("ann", "req_p", { decision: "approve", input: edited }, acked(9)),
  answer("bob", "req_p", { decision: "approve", input: edited }, acked(10)),
  answer("bob", "req_d", no, acked(12)),
  answer("ann", "req_d", { decision: "approve" }, { answer: "refused", frame: { code: "forbidden" } }),
  answer("ann", "req_a", { answers: { go: "yes" } }, acked(14)),
  answer("bob", "req_a", no, {
    answer: "refused",
    frame: { code: "conflict", details: { decision: "approve", by: [{ id: "ann" }] } },
  }),
];
