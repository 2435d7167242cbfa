/**
 * Conformance cases of how a conversation goes on, as data: its context summarized, a fork of it, a run asked for
 * again, others who join it. The form of a case and what patterns mean is in cases.ts; the runner is wire.test.ts.
 */
import { ANY, NONE } from "./cases.ts";
import type { Case, Pattern, Step } from "./cases.ts";

const event = (type: string, more: Pattern = {}): Pattern => ({
  type: "event",
  session: "$s",
  event: { type, ...more },
});
const FAILS = JSON.stringify({ script: [{ error: "broken" }] });
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
  {
    name: "what a session has used is told with it, absent before its first step",
    steps: [
      { send: { type: "createSession", id: 1, agent: "demo" } },
      { expect: { type: "ok", id: 1, session: "$s" } },
      { send: { type: "attach", id: 2, session: "$s", after: { epoch: 0, seq: 0 } } },
      { expect: { type: "ok", id: 2, session: { usage: NONE } } },
      { until: { type: "live", session: "$s" } },
      { send: { type: "send", id: 3, session: "$s", key: "k1", content: "hello" } },
      { until: { type: "ok", id: 3 } },
      { until: event("run-finished", { usage: { inputTokens: "$in", outputTokens: "$out" } }) },
      { send: { type: "attach", id: 4, session: "$s" } },
      { expect: { type: "ok", id: 4, session: { usage: { inputTokens: "$in", outputTokens: "$out" } } } },
    ],
  },
  {
    name: "a fork begins with what was said up to the end of a run",
    steps: [
      ...answered,
      { send: { type: "fork", id: 4, session: "$s" } },
      { expect: { type: "ok", id: 4, session: "$fork" } },
      { send: { type: "attach", id: 5, session: "$fork", after: { epoch: 0, seq: 0 } } },
      {
        expect: { type: "ok", id: 5, head: 3, session: { forkedFrom: { session: "$s", at: 7 }, queued: 0 } },
      },
      {
        expect: {
          type: "event",
          session: "$fork",
          seq: 1,
          event: {
            type: "session-created",
            agent: "demo",
            owner: "local",
            forkedFrom: { session: "$s", at: 7 },
          },
        },
      },
      {
        expect: {
          type: "event",
          session: "$fork",
          seq: 2,
          run: NONE,
          event: { type: "message", message: { role: "user", parts: [{ type: "text", text: "hello" }] } },
        },
      },
      {
        expect: {
          type: "event",
          session: "$fork",
          seq: 3,
          event: { type: "message", message: { role: "assistant" } },
        },
      },
      { until: { type: "live", session: "$fork", seq: 3, partial: NONE } },
      { send: { type: "fork", id: 6, session: "$s", at: 6 } },
      { expect: { type: "error", id: 6, code: "bad-frame", retryable: false } },
      { send: { type: "fork", id: 7, session: "nobody" } },
      { expect: { type: "error", id: 7, code: "not-found" } },
      { send: { type: "createSession", id: 8, agent: "demo" } },
      { expect: { type: "ok", id: 8, session: "$empty" } },
      { send: { type: "fork", id: 9, session: "$empty" } },
      { expect: { type: "error", id: 9, code: "conflict" } },
    ],
  },
  {
    name: "a fork that is repeated with its key is the first one",
    steps: [
      ...answered,
      { send: { type: "fork", id: 4, session: "$s", newSession: "$minted", key: "f1" } },
      { expect: { type: "ok", id: 4, session: "$minted" } },
      { send: { type: "send", id: 5, session: "$s", key: "k2", content: "more" } },
      { until: { type: "ok", id: 5 } },
      { until: { ...event("run-finished", { reason: "text" }), seq: "$end" } },
      { send: { type: "fork", id: 6, session: "$s", newSession: "$minted", key: "f1" } },
      { expect: { type: "ok", id: 6, session: "$minted" } },
      { send: { type: "fork", id: 7, session: "$s", newSession: "$minted", key: "f1", at: "$end" } },
      { expect: { type: "error", id: 7, code: "conflict" } },
      { send: { type: "fork", id: 8, session: "$s", newSession: "$minted", key: "f2" } },
      { expect: { type: "error", id: 8, code: "conflict" } },
      { send: { type: "fork", id: 9, session: "$s", newSession: "$minted" } },
      { expect: { type: "error", id: 9, code: "conflict" } },
      { send: { type: "fork", id: 10, session: "$s", key: "f1" } },
      { expect: { type: "error", id: 10, code: "bad-frame" } },
    ],
  },
  {
    name: "who shows the token of an invitation becomes a member, once for each use",
    hello: { a: { user: { id: "ada" } }, b: { user: { id: "bob" } }, c: { user: { id: "eve" } } },
    steps: [
      ...attached,
      { send: { type: "invite", id: 3, session: "$s", role: "editor" } },
      { until: event("invite-created", { invite: "$invite", role: "editor", hash: ANY, uses: 1 }) },
      { until: { type: "ok", id: 3, seq: 2, invite: "$invite", token: "$token", expiresAt: ANY } },
      { on: "b", send: { type: "join", id: 1, token: "$token" } },
      { on: "b", expect: { type: "ok", id: 1, session: "$s", role: "editor", seq: 3 } },
      { until: event("member-changed", { user: "bob", role: "editor", invite: "$invite" }) },
      { on: "b", send: { type: "join", id: 2, token: "$token" } },
      { on: "b", expect: { type: "ok", id: 2, session: "$s", role: "editor", seq: 3 } },
      { on: "c", send: { type: "join", id: 1, token: "$token" } },
      { on: "c", expect: { type: "error", id: 1, code: "not-found", retryable: false } },
      { send: { type: "grant", id: 4, session: "$s", user: "bob", role: "viewer" } },
      { until: { type: "ok", id: 4, seq: 4 } },
      { send: { type: "revoke", id: 5, session: "$s", user: "ada" } },
      { until: { type: "error", id: 5, code: "conflict" } },
      { send: { type: "revoke", id: 6, session: "$s", user: "bob" } },
      { until: event("member-changed", { user: "bob", role: null, invite: NONE }) },
      { until: { type: "ok", id: 6, seq: 5 } },
    ],
  },
  {
    name: "a run that failed is asked for again, once a key; one that answered is not",
    steps: [
      ...attached,
      { send: { type: "send", id: 3, session: "$s", key: "k1", content: FAILS } },
      { until: { type: "ok", id: 3 } },
      { until: event("run-finished", { run: "$failed", reason: "error" }) },
      { send: { type: "retry", id: 4, session: "$s", run: "$failed", key: "k2" } },
      { until: event("input-queued", { input: "$input", key: "k2", content: FAILS, mode: "queue" }) },
      { until: { type: "ok", id: 4, seq: "$seq", input: "$input", position: 0, duplicate: false } },
      { until: event("run-finished", { reason: "error" }) },
      { send: { type: "retry", id: 5, session: "$s", run: "$failed", key: "k2" } },
      { expect: { type: "ok", id: 5, seq: "$seq", input: "$input", duplicate: true } },
      { send: { type: "send", id: 6, session: "$s", key: "k3", content: "hello" } },
      { until: { type: "ok", id: 6 } },
      { until: event("run-finished", { run: "$answered", reason: "text" }) },
      { send: { type: "retry", id: 7, session: "$s", run: "$answered", key: "k4" } },
      { expect: { type: "error", id: 7, code: "conflict" } },
      { send: { type: "retry", id: 8, session: "$s", run: "run_nobody", key: "k5" } },
      { expect: { type: "error", id: 8, code: "not-found" } },
    ],
  },
];
