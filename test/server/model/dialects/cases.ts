/**
 * What every dialect must come to, as one table: how the provider behaves, and what a Model of ours makes of it. Owns the
 * cases; the dialects say them in their own events and the provider packages read those over real HTTP.
 */
import type { ModelError } from "../../../../server/model/model.ts";
import type { ModelRequest } from "../../../../server/model/model.ts";
import { ASK, type Drained } from "../drain.ts";
import { USAGE, type Answer, type Dialect } from "./dialect.ts";
import type { Reply } from "./server.ts";

export const SECRET = "hush-7Q4x";

export interface Case {
  readonly name: string;
  readonly reply: (dialect: Dialect) => Reply;
  readonly request?: Partial<ModelRequest>;
  /** What comes of it: an answer, or the error's code and whether it is worth another try. */
  readonly answer?: (drained: Drained, dialect: Dialect) => readonly [actual: unknown, expected: unknown][];
  readonly error?: (dialect: Dialect) => Partial<ModelError> | undefined;
  /** What was shown before the error. */
  readonly shown?: string;
}

const stream = (answer: Answer) => (dialect: Dialect) => ({ chunks: dialect.events(answer) });
const said = (text: string[]): Answer => ({ text });
const unfinished = (answer: Answer, dialect: Dialect): string[] =>
  dialect.events(answer).slice(0, -dialect.terminal);

function refused(kind: keyof Dialect["codes"], headers: Record<string, string> = {}): Case["reply"] {
  return (dialect) => {
    const { status, code } = dialect.codes[kind];
    const message = `no: key ${SECRET} at http://user:${SECRET}@host/?key=${SECRET}`;
    return { status, headers, chunks: [dialect.refuse({ status, code, message })] };
  };
}

/** The stream as bytes, cut at every place that `size` gives, whatever stands there. */
function shredded(text: string, size: number): Uint8Array[] {
  const bytes = Buffer.from(text);
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
    bytes.subarray(i * size, (i + 1) * size),
  );
}

const CALLS = [
  { id: "call_a", tool: "weather", input: { city: "Reykjavík", unit: "°C" } },
  { id: "call_b", tool: "clock", input: {} },
  { id: "call_c", tool: "weather", input: { city: "Ísafjörður" } },
];
const LONG = "Þú ættir að 🐳 hvíla þig á 🪨 í sólinni.";

export const CASES: readonly Case[] = [
  {
    name: "text, in the pieces it came in",
    reply: stream(said(["Three ", "degrees", "."])),
    answer: ({ text, reason, parts }) => [
      [text, "Three degrees."],
      [reason, "stop"],
      [parts.filter((part) => part.type === "text" && part.text !== "").length, 3],
    ],
  },
  {
    name: "usage with cached and reasoning tokens",
    reply: stream(said(["."])),
    answer: ({ usage }, dialect) => [
      [usage?.inputTokens, USAGE.input],
      [usage?.outputTokens, USAGE.output],
      [usage?.cachedInputTokens, USAGE.cached],
      // Anthropic does not count them apart.
      ...(dialect.name === "anthropic"
        ? []
        : [[usage?.reasoningTokens, USAGE.reasoning] as [unknown, unknown]]),
    ],
  },
  {
    name: "reasoning before text",
    request: { reasoning: true },
    reply: stream({ reasoning: ["North ", "is cold."], text: ["Cold."], signature: "c2ln" }),
    answer: ({ reasoning, text }, dialect) => [
      [reasoning, dialect.reasons ? "North is cold." : ""],
      [text, "Cold."],
    ],
  },
  {
    name: "parallel tool calls, whole and in order",
    reply: stream({ calls: CALLS, finish: "tool-calls" }),
    answer: ({ calls, reason }) => [
      [calls.map(({ tool, input }) => ({ tool, input })), CALLS.map(({ tool, input }) => ({ tool, input }))],
      [reason, "tool-calls"],
    ],
  },
  {
    name: "text and then a call",
    reply: stream({ text: ["Let me look."], calls: CALLS.slice(0, 1), finish: "tool-calls" }),
    answer: ({ text, calls }) => [
      [text, "Let me look."],
      [calls.length, 1],
    ],
  },
  {
    name: "an empty reply is an empty answer",
    reply: stream({}),
    answer: ({ text, calls, reason }) => [
      [text, ""],
      [calls, []],
      [reason, "stop"],
    ],
  },
  {
    name: "max tokens",
    reply: stream({ text: ["Three deg"], finish: "length" }),
    answer: ({ text, reason }) => [
      [text, "Three deg"],
      [reason, "length"],
    ],
  },
  {
    name: "a content filter",
    reply: stream({ text: ["Well"], finish: "content-filter" }),
    answer: ({ reason }) => [[reason, "content-filter"]],
  },
  {
    name: "packets of three bytes: characters and events are put together again",
    reply: (dialect) => ({
      chunks: shredded(dialect.events(said([LONG.slice(0, 9), LONG.slice(9)])).join(""), 3),
    }),
    answer: ({ text }) => [[text, LONG]],
  },
  {
    name: "everything in one packet",
    reply: (dialect) => ({
      chunks: [dialect.events({ text: [LONG], calls: CALLS, finish: "tool-calls" }).join("")],
    }),
    answer: ({ text, calls }) => [
      [text, LONG],
      [calls.length, 3],
    ],
  },
  {
    name: "lines that end in CR LF, and comments between events",
    reply: (dialect) => ({
      chunks: dialect
        .events(said(["Three."]))
        .map((event) => `: still here\r\n\r\n${event.replaceAll("\n", "\r\n")}`),
    }),
    answer: ({ text }) => [[text, "Three."]],
  },
  {
    name: "a bad key",
    reply: refused("key"),
    error: () => ({ code: "unauthorized", retryable: false }),
  },
  {
    name: "an unknown model",
    reply: refused("model"),
    error: () => ({ code: "model-not-found", retryable: false }),
  },
  {
    name: "too many requests, with the seconds to wait",
    reply: refused("rate", { "retry-after": "7" }),
    error: () => ({ code: "rate-limited", retryable: true, retryAfterMs: 7000 }),
  },
  {
    name: "a fault of the provider",
    reply: refused("fault"),
    error: () => ({ code: "provider", retryable: true }),
  },
  {
    name: "a fault that a proxy words as a page",
    reply: () => ({ status: 502, headers: { "content-type": "text/html" }, chunks: [`<h1>${SECRET}</h1>`] }),
    error: () => ({ code: "provider", retryable: true }),
  },
  {
    name: "overload",
    reply: refused("overload"),
    error: () => ({ code: "overloaded", retryable: true }),
  },
  {
    name: "overload in the middle of an answer",
    reply: (dialect) => ({
      chunks: [
        ...unfinished(said(["Three"]), dialect),
        dialect.broken(dialect.codes.overload.code, `busy ${SECRET}`),
      ],
    }),
    shown: "Three",
    error: () => ({ code: "overloaded", retryable: true }),
  },
  {
    name: "no byte at all",
    reply: () => ({ chunks: [], mute: true }),
    error: () => ({ code: "timeout", retryable: true }),
  },
  {
    name: "headers and then no part",
    reply: () => ({ chunks: [": wait\n\n"], ending: "silence" }),
    error: () => ({ code: "timeout", retryable: true }),
  },
  {
    name: "a stall in the middle",
    reply: (dialect) => ({ chunks: unfinished(said(["Three"]), dialect), ending: "silence" }),
    shown: "Three",
    error: () => ({ code: "timeout", retryable: true }),
  },
  {
    name: "a connection that breaks in the middle",
    reply: (dialect) => ({ chunks: unfinished(said(["Three"]), dialect), ending: "cut" }),
    shown: "Three",
    error: () => ({ code: "connection-lost", retryable: true }),
  },
  {
    name: "a stream that ends in good order but without its terminal event",
    reply: (dialect) => ({ chunks: unfinished(said(["Three"]), dialect) }),
    shown: "Three",
    error: () => ({ code: "incomplete", retryable: true }),
  },
  {
    name: "a stream that ends before it says anything",
    reply: () => ({ chunks: [] }),
    error: () => ({ code: "incomplete", retryable: true }),
  },
  {
    name: "a page instead of a stream",
    reply: () => ({ headers: { "content-type": "text/html" }, chunks: [`<html>${SECRET}</html>`] }),
    error: () => ({ retryable: true }),
  },
  {
    name: "an event that is no JSON",
    reply: (dialect) => ({
      chunks: [...unfinished(said(["Three"]), dialect), `data: {"broken": ${SECRET}\n\n`],
    }),
    shown: "Three",
    error: () => ({ code: "bad-response", retryable: true }),
  },
  {
    name: "a call, cut off before the end of the answer",
    reply: (dialect) => {
      const events = dialect.events({ calls: CALLS.slice(0, 1), finish: "tool-calls" });
      return { chunks: events.slice(0, Math.max(1, events.length - dialect.terminal - 1)) };
    },
    error: () => ({ code: "incomplete", retryable: true }),
  },
];

export function requestOf({ request }: Case): ModelRequest {
  return { ...ASK, ...request };
}
