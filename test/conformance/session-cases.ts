/**
 * Conformance cases of sessions as data: create, attach, send, cancel, tools, close, delete. The form of a case and what
 * patterns mean is in cases.ts; the runner is wire.test.ts.
 */
import { ANY, NONE } from "./cases.ts";
import type { Case, Pattern, Step } from "./cases.ts";

const create: Step[] = [
  { send: { type: "createSession", id: 1, agent: "demo" } },
  { expect: { type: "ok", id: 1, session: "$s", epoch: "$epoch", seq: 1 } },
];
const attach: Step[] = [
  { send: { type: "attach", id: 2, session: "$s", after: { epoch: 0, seq: 0 } } },
  { expect: { type: "ok", id: 2, channel: "$channel", mode: "events", snapshot: NONE } },
];
const attached: Step[] = [
  ...create,
  ...attach,
  { expect: { type: "event", seq: 1, event: { type: "session-created", agent: "demo" } } },
  { expect: { type: "live", session: "$s", seq: 1, partial: NONE } },
];
const script = (...steps: object[]): string => JSON.stringify({ script: steps });
const event = (type: string, more: Pattern = {}): Pattern => ({
  type: "event",
  session: "$s",
  event: { type, ...more },
});

export const SESSION_CASES: readonly Case[] = [
  {
    name: "what does not exist is not found",
    steps: [
      { send: { type: "createSession", id: 1, agent: "nobody" } },
      { expect: { type: "error", id: 1, code: "not-found" } },
      { send: { type: "attach", id: 2, session: "nobody" } },
      { expect: { type: "error", id: 2, code: "not-found" } },
      { send: { type: "send", id: 3, session: "nobody", key: "k", content: "x" } },
      { expect: { type: "error", id: 3, code: "not-found" } },
      { send: { type: "history", id: 4, session: "nobody" } },
      { expect: { type: "error", id: 4, code: "not-found" } },
    ],
  },
  {
    name: "a session is created once: the same user, key and fields again answer the first, anything else conflicts",
    steps: [
      { send: { type: "createSession", id: 1, agent: "demo", session: "$minted", key: "k", title: "T" } },
      { expect: { type: "ok", id: 1, session: "$minted", epoch: "$epoch", seq: 1 } },
      { send: { type: "createSession", id: 2, agent: "demo", session: "$minted", key: "k", title: "T" } },
      { expect: { type: "ok", id: 2, session: "$minted", epoch: "$epoch", seq: 1 } },
      { send: { type: "createSession", id: 3, agent: "demo", session: "$minted", key: "other" } },
      { expect: { type: "error", id: 3, code: "conflict" } },
      { send: { type: "createSession", id: 4, agent: "demo", session: "$minted" } },
      { expect: { type: "error", id: 4, code: "conflict" } },
      { send: { type: "createSession", id: 5, agent: "demo", key: "k" } },
      { expect: { type: "error", id: 5, code: "bad-frame" } },
    ],
  },
  {
    name: "a cursor that the server did not give is a bad frame",
    steps: [
      ...create,
      { send: { type: "listSessions", id: 2, cursor: "made up" } },
      { expect: { type: "error", id: 2, code: "bad-frame", retryable: false } },
      { send: { type: "history", id: 3, session: "$s", cursor: "made up" } },
      { expect: { type: "error", id: 3, code: "bad-frame", retryable: false } },
    ],
  },
  {
    name: "an input may name the agent that answers it; one that is not there is not found",
    steps: [
      ...attached,
      { send: { type: "send", id: 3, session: "$s", key: "k1", content: "x", agent: "nobody" } },
      { expect: { type: "error", id: 3, code: "not-found" } },
      { send: { type: "send", id: 4, session: "$s", key: "k2", content: "x", agent: "demo" } },
      { expect: event("input-queued", { input: "$input", agent: "demo" }) },
      { expect: { type: "ok", id: 4, input: "$input" } },
      { expect: event("run-started", { input: "$input", agent: "demo" }) },
    ],
  },
  {
    name: "attach answers ok, then every entry, then live",
    steps: attached,
  },
  {
    name: "attach without a position answers a snapshot, then live",
    steps: [
      ...create,
      { send: { type: "attach", id: 2, session: "$s" } },
      {
        expect: {
          type: "ok",
          id: 2,
          mode: "snapshot",
          head: 1,
          epoch: "$epoch",
          session: { id: "$s", agent: "demo", state: "idle", queued: 0, requests: 0 },
          snapshot: {
            epoch: "$epoch",
            seq: 1,
            state: { seq: 1, queue: [], calls: [], messages: [], run: NONE },
          },
        },
      },
      { expect: { type: "live", session: "$s", epoch: "$epoch", seq: 1 } },
    ],
  },
  {
    name: "attach at the head answers events, and live at once",
    steps: [
      ...create,
      { send: { type: "attach", id: 2, session: "$s", after: { epoch: "$epoch", seq: 1 } } },
      { expect: { type: "ok", id: 2, mode: "events" } },
      { expect: { type: "live", session: "$s", seq: 1 } },
    ],
  },
  {
    name: "a second attach on a connection replaces the first",
    steps: [
      ...attached,
      ...attach,
      { expect: event("session-created") },
      { expect: { type: "live", session: "$s", seq: 1 } },
      { send: { type: "updateSession", id: 3, session: "$s", title: "new" } },
      { expect: { type: "ok", id: 3, seq: 2 } },
      { expect: { ...event("session-updated", { title: "new" }), seq: 2 } },
      { send: { type: "updateSession", id: 4, session: "$s", title: "newer" } },
      { expect: { ...event("session-updated", { title: "newer" }), seq: 3 } },
    ],
  },
  {
    name: "detach stops the frames of a session",
    steps: [
      ...attached,
      { send: { type: "detach", id: 3, session: "$s" } },
      { expect: { type: "ok", id: 3 } },
      { send: { type: "updateSession", id: 4, session: "$s", title: "unseen" } },
      { expect: { type: "ok", id: 4, seq: 2 } },
      { send: { type: "attach", id: 5, session: "$s", after: { epoch: "$epoch", seq: 2 } } },
      { expect: { type: "ok", id: 5, mode: ANY } },
      { expect: { type: "live", session: "$s", seq: 2 } },
    ],
  },
  {
    name: "a send becomes a run, entry by entry",
    steps: [
      ...attached,
      { send: { type: "send", id: 3, session: "$s", key: "k1", content: script({ text: "Hi 🦭" }) } },
      { expect: { type: "ok", id: 3, seq: 2, input: "$input", position: 0, duplicate: false } },
      {
        expect: {
          type: "event",
          seq: 2,
          epoch: ANY,
          at: ANY,
          actor: { kind: "user", id: "local", verified: false },
          event: { type: "input-queued", input: "$input", key: "k1", mode: "queue", agent: NONE },
        },
      },
      {
        expect: {
          ...event("run-started", { run: "$run", input: "$input", agent: "demo" }),
          seq: 3,
          run: "$run",
        },
      },
      { expect: { ...event("message", { message: { id: "$input", role: "user" } }), seq: 4 } },
      {
        expect: {
          ...event("message", {
            step: 1,
            finishReason: "stop",
            incomplete: NONE,
            message: {
              id: "$answer",
              role: "assistant",
              run: "$run",
              parts: [{ type: "text", text: "Hi 🦭" }],
            },
          }),
          seq: 5,
        },
      },
      { expect: { ...event("step-finished", { run: "$run", step: 1 }), seq: 6 } },
      {
        expect: { ...event("run-finished", { run: "$run", reason: "text", steps: 1, error: NONE }), seq: 7 },
      },
    ],
  },
  {
    name: "a repeated key answers the first send; with other content it conflicts",
    steps: [
      ...create,
      { send: { type: "send", id: 2, session: "$s", key: "k", content: "hello" } },
      { expect: { type: "ok", id: 2, seq: 2, input: "$input", duplicate: false } },
      { send: { type: "send", id: 3, session: "$s", key: "k", content: "hello" } },
      { expect: { type: "ok", id: 3, seq: 2, input: "$input", duplicate: true } },
      { send: { type: "send", id: 4, session: "$s", key: "k", content: "other" } },
      { expect: { type: "error", id: 4, code: "conflict" } },
    ],
  },
  {
    name: "another user's equal key is another key",
    hello: { a: { user: { id: "ada" } }, b: { user: { id: "bob" } } },
    steps: [
      ...create,
      { send: { type: "send", id: 2, session: "$s", key: "k", content: "one" } },
      { expect: { type: "ok", id: 2, input: ANY, duplicate: false } },
      { on: "b", send: { type: "send", id: 2, session: "$s", key: "k", content: "two" } },
      { on: "b", expect: { type: "ok", id: 2, duplicate: false } },
    ],
  },
  {
    name: "a payload over its bounds is too large, and the connection goes on",
    steps: [
      ...create,
      { send: { type: "send", id: 2, session: "$s", key: "k", content: "x".repeat(786_432) } },
      { expect: { type: "error", id: 2, code: "too-large", retryable: false } },
      { send: { type: "createSession", id: 3, agent: "demo", metadata: nest(17) } },
      { expect: { type: "error", id: 3, code: "too-large" } },
      { send: { type: "createSession", id: 4, agent: "demo", metadata: nest(16) } },
      { expect: { type: "ok", id: 4 } },
    ],
  },
  {
    name: "cancel stops a stream; a second cancel and one after the end say so",
    steps: [
      ...attached,
      {
        send: {
          type: "send",
          id: 3,
          session: "$s",
          key: "k",
          content: script({ text: "on and on ".repeat(900), rate: 50 }),
        },
      },
      { until: event("run-started", { run: "$run" }) },
      { until: { type: "delta", channel: "$channel" } },
      { send: { type: "cancel", id: 4, session: "$s", run: "$run" } },
      { until: { type: "ok", id: 4, state: "cancelling", seq: ANY } },
      { until: event("message", { incomplete: true, message: { role: "assistant" } }) },
      { until: event("run-finished", { run: "$run", reason: "cancelled" }) },
      { send: { type: "cancel", id: 5, session: "$s", run: "$run" } },
      { until: { type: "ok", id: 5, state: "finished" } },
      { send: { type: "cancel", id: 6, session: "$s", run: "run_nobody" } },
      { until: { type: "error", id: 6, code: "not-found" } },
    ],
  },
  {
    name: "an in-process tool is dispatched to prv_local and its result logged",
    steps: [
      ...attached,
      {
        send: {
          type: "send",
          id: 3,
          session: "$s",
          key: "k",
          content: script({ calls: [{ tool: "clock", input: {} }] }, { text: "late" }),
        },
      },
      {
        until: event("message", {
          message: {
            role: "assistant",
            parts: [{ type: "dynamic-tool", toolName: "clock", state: "input-available" }],
          },
        }),
      },
      { expect: event("tool-dispatched", { attempt: 1, provider: "prv_local", deadlineAt: ANY }) },
      { until: event("tool-result", { attempt: 1, outcome: "ok", output: ANY, error: NONE }) },
      { expect: event("step-finished", { step: 1, finishReason: "tool-calls" }) },
      { until: event("run-finished", { reason: "text", steps: 2 }) },
    ],
  },
  {
    name: "a closed session refuses sends and stays readable",
    steps: [
      ...attached,
      { send: { type: "close", id: 3, session: "$s" } },
      { expect: { type: "ok", id: 3, seq: 2 } },
      { expect: { ...event("session-closed"), seq: 2 } },
      { send: { type: "send", id: 4, session: "$s", key: "k", content: "late" } },
      { expect: { type: "error", id: 4, code: "closed" } },
      { send: { type: "history", id: 5, session: "$s" } },
      { expect: { type: "ok", id: 5, items: [] } },
    ],
  },
  {
    name: "a deleted session detaches its readers, and its id stays used",
    steps: [
      ...attached,
      { send: { type: "deleteSession", id: 3, session: "$s" } },
      { expect: { type: "ok", id: 3 } },
      { expect: { type: "detached", session: "$s", reason: "deleted" } },
      { send: { type: "attach", id: 4, session: "$s" } },
      { expect: { type: "error", id: 4, code: "not-found" } },
      { send: { type: "createSession", id: 5, agent: "demo", session: "$s" } },
      { expect: { type: "error", id: 5, code: "conflict" } },
    ],
  },
  {
    name: "an imported log is a session whose open items are closed by name",
    steps: [
      {
        send: {
          type: "importEntries",
          id: 1,
          session: "$minted",
          after: 0,
          entries: [{ at: 1000, event: { type: "session-created", agent: "demo", owner: "ada" } }],
        },
      },
      { expect: { type: "ok", id: 1, seq: 1 } },
      {
        send: {
          type: "importEntries",
          id: 2,
          session: "$minted",
          after: 1,
          entries: [
            {
              at: 2000,
              actor: { kind: "user", id: "ada", name: "Ada", verified: true },
              event: { type: "input-queued", input: "msg_1", key: "k", content: "hi", mode: "queue" },
            },
          ],
          last: true,
        },
      },
      { expect: { type: "ok", id: 2, seq: 3 } },
      { send: { type: "attach", id: 3, session: "$minted", after: { epoch: 0, seq: 0 } } },
      { expect: { type: "ok", id: 3, head: 3, session: { owner: "ada", createdAt: 1000, queued: 0 } } },
      { expect: { type: "event", seq: 1, at: 1000, epoch: "$epoch" } },
      { expect: { type: "event", seq: 2, at: 2000, epoch: "$epoch" } },
      { expect: { type: "event", seq: 3, event: { type: "input-withdrawn", input: "msg_1" } } },
      {
        send: {
          type: "importEntries",
          id: 4,
          session: "$minted",
          after: 0,
          entries: [{ at: 1000, event: { type: "session-created", agent: "demo", owner: "ada" } }],
          last: true,
        },
      },
      { until: { type: "error", id: 4, code: "conflict" } },
      { send: { type: "importEntries", id: 5, session: "other", after: 1, entries: [] } },
      { until: { type: "error", id: 5, code: "conflict" } },
    ],
  },
];

function nest(depth: number): unknown {
  let value: unknown = 1;
  for (let i = 0; i < depth; i++) value = [value];
  return value;
}
