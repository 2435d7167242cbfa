/**
 * Conformance cases of requests, as data: a call waits for people, what they say to it, what is refused. The form of a
 * case and what patterns mean is in cases.ts; the runner is wire.test.ts.
 */
import { ANY, NONE } from "./cases.ts";
import type { Case, Pattern, Step } from "./cases.ts";

const event = (type: string, more: Pattern = {}): Pattern => ({
  type: "event",
  session: "$s",
  event: { type, ...more },
});
const asks = (tool: string): string =>
  JSON.stringify({ script: [{ calls: [{ tool, input: { amount: 5 } }] }, { text: "done" }] });
const approval = { mode: "always", editable: true, remember: true };

/** A session of `a` in which a call of a tool of `b` waits. */
function waiting(tool: string, rule: Pattern = approval): Step[] {
  const schema = { type: "object", properties: { amount: { type: "integer" } } };
  return [
    {
      on: "b",
      send: { type: "offerTools", id: 1, tools: [{ name: tool, inputSchema: schema, approval: rule }] },
    },
    { on: "b", expect: { type: "ok", id: 1, accepted: [tool] } },
    { send: { type: "createSession", id: 1, agent: "demo" } },
    { expect: { type: "ok", id: 1, session: "$s" } },
    { send: { type: "attach", id: 2, session: "$s", after: { epoch: 0, seq: 0 } } },
    { expect: { type: "ok", id: 2 } },
    { until: { type: "live", session: "$s" } },
    { send: { type: "send", id: 3, session: "$s", key: "k1", content: asks(tool) } },
    { until: { type: "ok", id: 3 } },
    {
      until: event("request-opened", {
        request: "$r",
        kind: "approval",
        call: "$c",
        subject: { tool, input: { amount: 5 } },
      }),
    },
  ];
}

export const PEOPLE_CASES: readonly Case[] = [
  {
    name: "an approved call goes out, with another input where that was said",
    hello: { b: { instance: "people-1" } },
    steps: [
      ...waiting("pay_1"),
      { send: { type: "attach", id: 4, session: "$s" } },
      {
        expect: {
          type: "ok",
          id: 4,
          mode: "snapshot",
          session: { state: "waiting", requests: 1 },
          snapshot: { state: { requests: [{ request: "$r", call: "$c", editable: true, remember: true }] } },
        },
      },
      { until: { type: "live", session: "$s" } },
      {
        send: {
          type: "answer",
          id: 5,
          session: "$s",
          request: "$r",
          decision: "approve",
          input: { amount: "much" },
        },
      },
      { expect: { type: "error", id: 5, code: "bad-frame", retryable: false } },
      {
        send: {
          type: "answer",
          id: 6,
          session: "$s",
          request: "$r",
          decision: "approve",
          input: { amount: 6 },
          remember: { what: "tool", for: "session" },
        },
      },
      {
        until: event("request-resolved", {
          request: "$r",
          decision: "approve",
          input: { amount: 6 },
          by: ANY,
        }),
      },
      { expect: event("approval-remembered", { allowance: "$w", tool: "pay_1", input: NONE, user: NONE }) },
      { expect: event("tool-dispatched", { call: "$c", attempt: 1 }) },
      { until: { type: "ok", id: 6, seq: "$seq" } },
      { on: "b", until: { type: "call", call: "$c", input: { amount: 6 } } },
      {
        on: "b",
        send: { type: "callResult", session: "$s", call: "$c", attempt: 1, output: "paid" },
      },
      { until: event("run-finished", { reason: "text" }) },
      {
        send: {
          type: "answer",
          id: 7,
          session: "$s",
          request: "$r",
          decision: "approve",
          input: { amount: 6 },
        },
      },
      { expect: { type: "ok", id: 7, seq: "$seq" } },
      { send: { type: "answer", id: 8, session: "$s", request: "$r", decision: "deny" } },
      { expect: { type: "error", id: 8, code: "conflict", details: { decision: "approve", by: ANY } } },
      { send: { type: "forget", id: 9, session: "$s", allowance: "$w" } },
      { expect: event("approval-forgotten", { allowance: "$w" }) },
      { expect: { type: "ok", id: 9 } },
      { send: { type: "forget", id: 10, session: "$s", allowance: "$w" } },
      { expect: { type: "error", id: 10, code: "not-found" } },
      { send: { type: "answer", id: 11, session: "$s", request: "req_none", decision: "deny" } },
      { expect: { type: "error", id: 11, code: "not-found" } },
    ],
  },
  {
    name: "what is remembered for a user holds in all sessions of that user, until it is taken back",
    hello: { b: { instance: "people-6" } },
    steps: [
      ...waiting("pay_6", { mode: "always", remember: true }),
      {
        send: {
          type: "answer",
          id: 4,
          session: "$s",
          request: "$r",
          decision: "approve",
          remember: { what: "tool", for: "user" },
        },
      },
      {
        until: event("approval-remembered", { allowance: "$w", tool: "pay_6", user: ANY, everywhere: true }),
      },
      { until: { type: "ok", id: 4 } },
      { send: { type: "createSession", id: 5, agent: "demo" } },
      { until: { type: "ok", id: 5, session: "$t" } },
      { send: { type: "attach", id: 6, session: "$t" } },
      { until: { type: "live", session: "$t" } },
      {
        send: {
          type: "send",
          id: 7,
          session: "$t",
          key: "k",
          content: JSON.stringify({ script: [{ calls: [{ tool: "pay_6", input: { amount: 8 } }] }] }),
        },
      },
      { until: { type: "event", session: "$t", event: { type: "tool-dispatched", attempt: 1 } } },
      { send: { type: "listAllowances", id: 8 } },
      { until: { type: "ok", id: 8, items: [{ session: "$s", allowance: { allowance: "$w" } }] } },
      { send: { type: "forget", id: 9, session: "$s", allowance: "$w" } },
      { until: { type: "ok", id: 9 } },
      { send: { type: "listAllowances", id: 10 } },
      { until: { type: "ok", id: 10, items: [] } },
    ],
  },
  {
    name: "a denied call does not run, and its result says why",
    hello: { b: { instance: "people-2" } },
    steps: [
      ...waiting("pay_2", { mode: "when", when: { required: ["amount"] } }),
      { send: { type: "answer", id: 4, session: "$s", request: "$r", decision: "deny", reason: "too dear" } },
      { until: event("request-resolved", { request: "$r", decision: "deny", reason: "too dear" }) },
      { expect: event("tool-result", { call: "$c", outcome: "denied", attempt: NONE }) },
      { until: { type: "ok", id: 4 } },
      { until: event("run-finished", { reason: "text" }) },
    ],
  },
  {
    name: "a cancel takes the request along",
    hello: { b: { instance: "people-3" } },
    steps: [
      ...waiting("pay_3"),
      { send: { type: "attach", id: 4, session: "$s" } },
      { expect: { type: "ok", id: 4, snapshot: { state: { run: { run: "$run", waitingSince: ANY } } } } },
      { until: { type: "live", session: "$s" } },
      { send: { type: "cancel", id: 5, session: "$s", run: "$run" } },
      { until: event("request-resolved", { request: "$r", decision: "cancelled" }) },
      { expect: event("tool-result", { call: "$c", outcome: "cancelled" }) },
      { until: event("run-finished", { reason: "cancelled" }) },
    ],
  },
  {
    name: "a rule that cannot be checked is refused, and so is the server's own name",
    steps: [
      {
        send: {
          type: "offerTools",
          id: 1,
          tools: [
            { name: "bad_rule", inputSchema: {}, approval: { mode: "when", when: { type: "nonsense" } } },
          ],
        },
      },
      { expect: { type: "error", id: 1, code: "bad-frame" } },
      {
        send: {
          type: "offerTools",
          id: 2,
          tools: [{ name: "bad_rule", inputSchema: {}, approval: { mode: "always", someday: true } }],
        },
      },
      { expect: { type: "error", id: 2, code: "bad-frame" } },
      { send: { type: "offerTools", id: 3, tools: [{ name: "ask", inputSchema: {} }] } },
      { expect: { type: "error", id: 3, code: "conflict", details: { tool: "ask" } } },
    ],
  },
  {
    name: "who is attached is here for the others, with what they do, until they leave",
    hello: { a: { user: { id: "ann", name: "Ann" } }, b: { user: { id: "bob", name: "Bob" } } },
    steps: [
      { send: { type: "createSession", id: 1, agent: "demo" } },
      { expect: { type: "ok", id: 1, session: "$s" } },
      { send: { type: "setPresence", id: 2, session: "$s", typing: true } },
      { expect: { type: "error", id: 2, code: "conflict" } },
      { send: { type: "attach", id: 3, session: "$s" } },
      { until: { type: "ok", id: 3 } },
      {
        until: {
          type: "presence",
          session: "$s",
          users: [{ id: "ann", name: "Ann", connections: 1, typing: NONE, viewing: NONE }],
          people: NONE,
        },
      },
      { on: "b", send: { type: "attach", id: 1, session: "$s" } },
      { on: "b", until: { type: "ok", id: 1 } },
      { on: "b", send: { type: "setPresence", id: 2, session: "$s", typing: true, viewing: "msg_1" } },
      { on: "b", until: { type: "ok", id: 2 } },
      {
        until: {
          type: "presence",
          users: [{ id: "ann" }, { id: "bob", name: "Bob", connections: 1, typing: true, viewing: "msg_1" }],
        },
      },
      { on: "b", send: { type: "setPresence", id: 3, session: "$s" } },
      { until: { type: "presence", users: [{ id: "ann" }, { id: "bob", typing: NONE, viewing: NONE }] } },
      { on: "b", send: { type: "detach", id: 4, session: "$s" } },
      { until: { type: "presence", users: [{ id: "ann" }] } },
    ],
  },
  {
    name: "the floor says who may send; whoever holds it passes it, and what nobody holds is taken",
    hello: { a: { user: { id: "ann" } }, b: { user: { id: "bob" } } },
    steps: [
      { send: { type: "createSession", id: 1, agent: "demo" } },
      { expect: { type: "ok", id: 1, session: "$s" } },
      { on: "b", send: { type: "attach", id: 1, session: "$s" } },
      { on: "b", until: { type: "live", session: "$s" } },
      { send: { type: "setFloor", id: 2, session: "$s", mode: "hand", holder: "bob" } },
      { until: { type: "ok", id: 2, seq: 2 } },
      { send: { type: "send", id: 3, session: "$s", key: "k1", content: "hi" } },
      {
        expect: {
          type: "error",
          id: 3,
          code: "forbidden",
          retryable: false,
          details: { floor: { mode: "hand", holder: "bob" } },
        },
      },
      { on: "b", until: event("floor-changed", { mode: "hand", holder: "bob" }) },
      { on: "b", send: { type: "passFloor", id: 2, session: "$s" } },
      { on: "b", until: { type: "ok", id: 2, seq: 3 } },
      { send: { type: "passFloor", id: 4, session: "$s", to: "ann" } },
      { until: { type: "ok", id: 4, seq: 4 } },
      { send: { type: "attach", id: 5, session: "$s" } },
      { until: { type: "ok", id: 5, snapshot: { state: { floor: { mode: "hand", holder: "ann" } } } } },
      { on: "b", send: { type: "send", id: 3, session: "$s", key: "k2", content: "hi" } },
      { on: "b", until: { type: "error", id: 3, code: "forbidden" } },
      { send: { type: "setFloor", id: 6, session: "$s", mode: "open", holder: "ann" } },
      { until: { type: "error", id: 6, code: "bad-frame" } },
      { send: { type: "setFloor", id: 7, session: "$s", mode: "open" } },
      { until: { type: "ok", id: 7 } },
      { on: "b", send: { type: "passFloor", id: 4, session: "$s", to: "bob" } },
      { on: "b", until: { type: "error", id: 4, code: "conflict" } },
      { on: "b", send: { type: "send", id: 5, session: "$s", key: "k2", content: "hi" } },
      { on: "b", until: { type: "ok", id: 5 } },
    ],
  },
  {
    name: "inputs wait in turns, are put in another order, and a rollback goes first and takes out what it ends",
    hello: { a: { user: { id: "ann" } }, b: { user: { id: "bob" } } },
    steps: [
      { send: { type: "createSession", id: 1, agent: "demo" } },
      { expect: { type: "ok", id: 1, session: "$s" } },
      { send: { type: "attach", id: 2, session: "$s", after: { epoch: 0, seq: 0 } } },
      { until: { type: "live", session: "$s" } },
      {
        send: {
          type: "send",
          id: 3,
          session: "$s",
          key: "k1",
          content: '{"script":[{"text":"so"},{"stall":600000}]}',
        },
      },
      { until: { type: "delta", text: "so" } },
      { send: { type: "send", id: 4, session: "$s", key: "k2", content: "ann 1" } },
      { until: { type: "ok", id: 4, input: "$one", position: 0 } },
      { send: { type: "send", id: 5, session: "$s", key: "k3", content: "ann 2" } },
      { until: { type: "ok", id: 5, input: "$two", position: 1 } },
      { on: "b", send: { type: "send", id: 1, session: "$s", key: "k1", content: "bob" } },
      { on: "b", until: { type: "ok", id: 1, position: 0 } },
      { send: { type: "orderInputs", id: 6, session: "$s", inputs: ["$two", "$one"] } },
      { until: { type: "ok", id: 6 } },
      { until: event("inputs-ordered", { inputs: ["$two", "$one"] }) },
      { send: { type: "orderInputs", id: 7, session: "$s", inputs: ["msg_gone"] } },
      { until: { type: "error", id: 7, code: "conflict" } },
      { on: "b", send: { type: "send", id: 2, session: "$s", key: "k2", content: "no", mode: "rollback" } },
      { on: "b", until: { type: "ok", id: 2, position: 0 } },
      { until: event("cancel-requested", { run: "$run", rollback: true }) },
      { until: event("run-finished", { run: "$run", reason: "cancelled", rolledBack: true }) },
      { until: event("run-finished", { reason: "text", rolledBack: NONE }) },
      { send: { type: "history", id: 8, session: "$s", limit: 1 } },
      { until: { type: "ok", id: 8, items: [{ rolledBack: NONE }] } },
    ],
  },
];
