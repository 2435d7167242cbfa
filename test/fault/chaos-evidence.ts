/**
 * A small world in which every promise is kept, in parts that a test may spoil: logs, promises, a provider's journal. Owns
 * that evidence for the oracle's own test; never a judgement.
 */
import { encodeFrame, transcodeToJson } from "../../protocol/codec.ts";
import type { EntryBody, EventFrame } from "../../protocol/entries.ts";
import { cut } from "../../protocol/state.ts";
import { ANSWERED, PAID, PEOPLE } from "./chaos-evidence-people.ts";
import type { Line } from "./chaos-journal.ts";
import { foldAll, type Evidence } from "./chaos-oracle.ts";
import type { Asked, Promised } from "./chaos-player.ts";

const ann = { kind: "user", id: "ann", name: "ann", verified: false } as const;
const agent = { kind: "agent", id: "steady", name: "steady", verified: true } as const;
export const usage = { inputTokens: 1, outputTokens: 1 };
const content = (text: string): { type: "text"; text: string }[] => [{ type: "text", text }];
const call = { type: "dynamic-tool", toolName: "once_count", toolCallId: "call_1", input: {} } as const;

/** Body, and the run that it belongs to. */
type Said = readonly [body: EntryBody, run?: string];

const SAID: readonly Said[] = [
  [{ type: "session-created", agent: "steady", owner: "ann" }],
  [{ type: "input-queued", input: "msg_1", key: "k1", content: "one", mode: "queue" }],
  [{ type: "run-started", run: "run_1", input: "msg_1", agent: "steady", model: "m", tools: [] }, "run_1"],
  [
    {
      type: "message",
      message: { id: "msg_1", role: "user", author: ann, run: "run_1", parts: content("one") },
    },
    "run_1",
  ],
  [
    {
      type: "message",
      message: {
        id: "msg_a",
        role: "assistant",
        author: agent,
        run: "run_1",
        parts: [{ ...call, state: "input-available" }],
      },
      step: 1,
    },
    "run_1",
  ],
  [
    {
      type: "tool-dispatched",
      call: "call_1",
      attempt: 1,
      provider: "prv_1",
      effect: "once",
      deadlineAt: 9,
    },
    "run_1",
  ],
  [
    {
      type: "tool-result",
      call: "call_1",
      attempt: 1,
      outcome: "ok",
      output: { done: "ses/call_1/1" },
      durationMs: 1,
    },
    "run_1",
  ],
  [{ type: "step-finished", run: "run_1", step: 1, finishReason: "tool-calls", usage }, "run_1"],
  [{ type: "input-queued", input: "msg_2", key: "k2", content: "two", mode: "queue" }],
  [{ type: "input-edited", input: "msg_2", content: "changed" }],
  [{ type: "input-withdrawn", input: "msg_2" }],
  [{ type: "session-updated", title: "title" }],
  [{ type: "cancel-requested", run: "run_1" }, "run_1"],
  [{ type: "run-finished", run: "run_1", reason: "cancelled", steps: 1, usage, model: "m" }, "run_1"],
  [{ type: "compacted", upTo: 5, summary: "so far" }],
  [{ type: "input-queued", input: "msg_3", key: "k3", content: "one", mode: "queue" }],
  [{ type: "input-withdrawn", input: "msg_3" }],
];

const FORKED: readonly Said[] = [
  [{ type: "session-created", agent: "steady", owner: "ann", forkedFrom: { session: "ses", at: 14 } }],
  [{ type: "message", message: { id: "msg_1", role: "user", author: ann, parts: content("one") } }],
  [
    {
      type: "message",
      message: {
        id: "msg_a",
        role: "assistant",
        author: agent,
        parts: [{ ...call, state: "output-available", output: 1 }],
      },
    },
  ],
];

/** What a world left, in parts that a test may spoil. */
export interface Left {
  said: Said[];
  forked: Said[];
  /** A session of its own, in which people are asked. */
  asked: Said[];
  promised: Promised[];
  journal: Line[];
  /** What the clients were shown, when that is not what is logged. */
  shown?: Said[];
  /** A snapshot of something else. */
  snapshot?: Said[];
  faults: string[];
}

export function kept(): Left {
  const reference = { session: "ses", call: "call_1", attempt: 1 };
  const promise = (asked: Asked, seq: number, more: object = {}): Promised => ({
    client: "client0",
    user: "ann",
    session: "ses",
    asked,
    answer: "acked",
    frame: { type: "ok", seq, ...more },
  });
  return structuredClone<Left>({
    said: [...SAID],
    forked: [...FORKED],
    asked: [...PEOPLE],
    promised: [
      promise({ kind: "send", key: "k1", content: "one", mode: "queue" }, 2, { input: "msg_1" }),
      promise({ kind: "send", key: "k2", content: "two", mode: "queue" }, 9, { input: "msg_2" }),
      promise({ kind: "edit", input: "msg_2", content: "changed", own: true }, 10),
      promise({ kind: "withdraw", input: "msg_2" }, 11),
      promise({ kind: "update", title: "title" }, 12),
      promise({ kind: "cancel", run: "run_1" }, 13, { state: "cancelling" }),
      promise({ kind: "compact" }, 15),
      promise({ kind: "retry", run: "run_1", key: "k3" }, 16, { input: "msg_3" }),
      promise({ kind: "fork" }, 0, { session: "fork" }),
      ...ANSWERED,
    ],
    journal: [
      { did: "begun", reference, tool: "once_count", input: {} },
      { did: "done", reference, output: { done: "ses/call_1/1" } },
      { did: "told", reference, verdict: "stored" },
      ...PAID,
    ],
    faults: [],
  });
}

function entriesOf(session: string, said: readonly Said[]): EventFrame[] {
  return said.map(([event, run], at) => ({
    type: "event",
    session,
    epoch: 1,
    seq: at + 1,
    at: 1,
    ...(run === undefined ? {} : { run }),
    ...(["input-queued", "run-started", "request-answered"].includes(event.type) ? { actor: ann } : {}),
    event,
  }));
}

export function evidenceOf(left: Left): Evidence {
  const log = (session: string, said: readonly Said[]) => {
    const entries = entriesOf(session, said);
    const state = foldAll(entriesOf(session, session === "ses" ? (left.snapshot ?? said) : said));
    return { entries, raw: entries.map(encodeFrame), snapshot: state && cut(state, 200) };
  };
  const shown = entriesOf("ses", left.shown ?? left.said);
  const view = (client: string, raw: (entry: EventFrame) => Uint8Array | string) => ({
    client,
    session: "ses",
    entries: shown.map((entry) => ({ entry, raw: raw(entry) })),
    state: foldAll(shown),
    faults: left.faults,
  });
  return {
    logs: new Map([
      ["ses", log("ses", left.said)],
      ["people", log("people", left.asked)],
      ...(left.forked.length === 0 ? [] : [["fork", log("fork", left.forked)] as const]),
    ]),
    views: [
      view("binary", encodeFrame),
      view("json", (entry) => transcodeToJson(encodeFrame(entry))),
      {
        client: "library",
        session: "ses",
        entries: shown.map((entry) => ({ entry })),
        state: foldAll(shown),
        faults: [],
      },
    ],
    promised: left.promised,
    journals: [left.journal],
  };
}
