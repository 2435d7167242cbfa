/**
 * Conformance cases of what looks across sessions, as data: the feed of sessions and requests, and the list of what waits for
 * an answer. The form of a case and what patterns mean is in cases.ts; the runner is wire.test.ts.
 */
import { ANY, NONE } from "./cases.ts";
import type { Case } from "./cases.ts";

export const WATCH_CASES: readonly Case[] = [
  {
    name: "a watch tells of sessions that begin, change and go, as its filter says",
    steps: [
      { send: { type: "watch", id: 1, sessions: { text: "seal", labels: { team: "north" } } } },
      { expect: { type: "ok", id: 1 } },
      { send: { type: "createSession", id: 2, agent: "demo", title: "Otters" } },
      { expect: { type: "ok", id: 2, session: "$other" } },
      {
        send: { type: "createSession", id: 3, agent: "demo", title: "Seals", metadata: { team: "north" } },
      },
      { until: { type: "ok", id: 3, session: "$s" } },
      {
        until: {
          type: "sessionChanged",
          session: "$s",
          info: { id: "$s", title: "Seals", state: "idle", queued: 0, requests: 0 },
        },
      },
      { send: { type: "updateSession", id: 4, session: "$s", title: "Walruses" } },
      { until: { type: "ok", id: 4 } },
      { until: { type: "sessionChanged", session: "$s", info: NONE } },
      { send: { type: "unwatch", id: 5 } },
      { until: { type: "ok", id: 5 } },
    ],
  },
  {
    name: "what waits for an answer is a list of pages, and there is one watch a connection",
    steps: [
      { send: { type: "watch", id: 1, sessions: { text: "one" }, requests: true } },
      { expect: { type: "ok", id: 1 } },
      { send: { type: "watch", id: 2, sessions: { text: "two" } } },
      { expect: { type: "ok", id: 2 } },
      { send: { type: "createSession", id: 3, agent: "demo", title: "one" } },
      { until: { type: "ok", id: 3 } },
      { send: { type: "createSession", id: 4, agent: "demo", title: "two" } },
      { until: { type: "ok", id: 4, session: "$two" } },
      { expect: { type: "sessionChanged", session: "$two", info: { title: "two" } } },
      { send: { type: "listRequests", id: 5, limit: 1 } },
      { until: { type: "ok", id: 5, items: [] } },
      { send: { type: "listRequests", id: 6, cursor: "?" } },
      { until: { type: "error", id: 6, code: "bad-frame" } },
    ],
  },
  {
    name: "what a run used counts for whoever sent its input, on the day of its step",
    hello: { a: false },
    steps: [
      { send: { type: "hello", protocol: 1, user: { id: "$minted" } } },
      { expect: { type: "welcome" } },
      { send: { type: "usage", id: 1 } },
      {
        expect: {
          type: "ok",
          id: 1,
          user: "$minted",
          total: { inputTokens: 0, outputTokens: 0 },
          days: [],
          budget: NONE,
        },
      },
      { send: { type: "createSession", id: 2, agent: "demo" } },
      { expect: { type: "ok", id: 2, session: "$s" } },
      { send: { type: "attach", id: 3, session: "$s", after: { epoch: 0, seq: 0 } } },
      { until: { type: "ok", id: 3 } },
      { send: { type: "send", id: 4, session: "$s", key: "k", content: "hello" } },
      { until: { type: "event", event: { type: "step-finished", usage: "$used" } } },
      { send: { type: "usage", id: 5, user: "$minted" } },
      { until: { type: "ok", id: 5, user: "$minted", total: "$used", days: [{ day: ANY, usage: "$used" }] } },
    ],
  },
  {
    name: "what is said and what a session is called is found, by whoever may read it",
    hello: { a: { user: { id: "searcher-1" } } },
    steps: [
      { send: { type: "createSession", id: 1, agent: "demo", title: "Grüße aus Quillmoor" } },
      { expect: { type: "ok", id: 1, session: "$s" } },
      { send: { type: "attach", id: 2, session: "$s" } },
      { until: { type: "ok", id: 2 } },
      { send: { type: "send", id: 3, session: "$s", key: "k", content: "The ÉIDER of quillmoor sleeps." } },
      { until: { type: "event", event: { type: "message", message: { id: "$m", role: "user" } } } },
      { until: { type: "event", event: { type: "run-finished" } } },
      // Soon after the commit: the same is asked until it is there.
      {
        repeat: { type: "search", text: "quillmoor eider", limit: 2 },
        answer: {
          type: "ok",
          items: [
            { session: "$s", title: "Grüße aus Quillmoor", author: { kind: "agent" } },
            {
              session: "$s",
              message: "$m",
              author: { id: "searcher-1" },
              snippet: "The ÉIDER of quillmoor sleeps.",
              marks: [
                [4, 9],
                [13, 22],
              ],
            },
          ],
        },
      },
      { send: { type: "search", id: 4, text: "grusse aus quill", limit: 1 } },
      {
        until: {
          type: "ok",
          id: 4,
          items: [
            {
              session: "$s",
              seq: 1,
              message: NONE,
              marks: [
                [0, 5],
                [6, 9],
                [10, 19],
              ],
            },
          ],
        },
      },
      { send: { type: "search", id: 5, text: "quillmoor", state: "closed" } },
      { until: { type: "ok", id: 5, items: [] } },
      { send: { type: "search", id: 6, text: "quillmoor otter" } },
      { until: { type: "ok", id: 6, items: [], cursor: NONE } },
      { send: { type: "search", id: 7, text: "quillmoor", cursor: "1.made_up" } },
      { until: { type: "error", id: 7, code: "bad-frame" } },
      { send: { type: "search", id: 8, text: "" } },
      { until: { type: "error", id: 8, code: "bad-frame" } },
    ],
  },
  {
    name: "what is read is marked, told to the user's own watches, and counted in lists",
    hello: { a: { user: { id: "reader-1" } }, b: { user: { id: "reader-1" } } },
    steps: [
      { send: { type: "createSession", id: 1, agent: "demo", title: "marks" } },
      { expect: { type: "ok", id: 1, session: "$s" } },
      { send: { type: "attach", id: 2, session: "$s" } },
      { until: { type: "ok", id: 2 } },
      { on: "b", send: { type: "watch", id: 1, sessions: { text: "marks" } } },
      { on: "b", until: { type: "ok", id: 1 } },
      { send: { type: "send", id: 3, session: "$s", key: "k", content: "hi" } },
      { until: { type: "ok", id: 3 } },
      { until: { type: "event", seq: "$end", event: { type: "run-finished" } } },
      {
        on: "b",
        until: { type: "sessionChanged", session: "$s", info: { messages: 2, unread: NONE, state: "idle" } },
      },
      { send: { type: "listSessions", id: 4, text: "marks", limit: 1 } },
      { until: { type: "ok", id: 4, items: [{ id: "$s", messages: 2, unread: 2 }] } },
      { send: { type: "markRead", id: 5, session: "$s", seq: 2 } },
      { until: { type: "ok", id: 5, seq: 2, unread: 2 } },
      { on: "b", until: { type: "readMarked", session: "$s", seq: 2, messages: 0 } },
      { send: { type: "markRead", id: 6, session: "$s" } },
      { until: { type: "ok", id: 6, seq: "$end", unread: 0 } },
      { on: "b", until: { type: "readMarked", session: "$s", seq: "$end", messages: 2 } },
      { send: { type: "listSessions", id: 7, text: "marks", limit: 1 } },
      { until: { type: "ok", id: 7, items: [{ id: "$s", messages: 2, unread: 0 }] } },
      { send: { type: "markRead", id: 8, session: "$s", seq: 1000 } },
      { until: { type: "error", id: 8, code: "bad-frame" } },
    ],
  },
];
