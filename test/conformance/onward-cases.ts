/**
 * Conformance cases of how a conversation goes on, as data: its context summarized. The form of a case and what patterns
 * mean is in cases.ts; the runner is wire.test.ts.
 */
import { ANY } from "./cases.ts";
import type { Case, Pattern, Step } from "./cases.ts";

const event = (type: string, more: Pattern = {}): Pattern => ({
  type: "event",
  session: "$s",
  event: { type, ...more },
});
const attached: Step[] = [
  { send: { type: "createSession", id: 1, agent: "demo" } },
  { expect: { type: "ok", id: 1, session: "$s" } },
  { send: { type: "attach", id: 2, session: "$s", after: { epoch: 0, seq: 0 } } },
  { expect: { type: "ok", id: 2 } },
  { until: { type: "live", session: "$s" } },
];
const answered: Step[] = [
  ...attached,
  { send: { type: "send", id: 3, session: "$s", key: "k1", content: "hello" } },
  { until: { type: "ok", id: 3 } },
  { until: event("run-finished", { run: "$run", reason: "text" }) },
];

export const ONWARD_CASES: readonly Case[] = [
  {
    name: "a summary takes the place of what was said, once until more is answered",
    steps: [
      ...answered,
      { send: { type: "compact", id: 4, session: "$s" } },
      { expect: { type: "event", seq: "$seq", event: { type: "compacted", upTo: 5, summary: ANY } } },
      { expect: { type: "ok", id: 4, seq: "$seq" } },
      { send: { type: "compact", id: 5, session: "$s" } },
      { expect: { type: "error", id: 5, code: "conflict", retryable: false } },
      { send: { type: "history", id: 6, session: "$s" } },
      { expect: { type: "ok", id: 6, items: [{ seq: 4 }, { seq: 5 }] } },
      { send: { type: "compact", id: 7, session: "nobody" } },
      { expect: { type: "error", id: 7, code: "not-found" } },
    ],
  },
];
