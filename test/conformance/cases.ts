/**
 * Conformance cases of the connection as data: what is sent on a raw connection and what must come back. Any server of this protocol passes
 * them, in both encodings; the runner is wire.test.ts, cases of sessions are in session-cases.ts. A case needs the agent `demo` on the scripted model.
 *
 * A pattern matches a frame that has its fields with these values; `$name` stands for a value that is remembered the first
 * time and must be the same later, `ANY` for anything there, `NONE` for a field that must be absent.
 */

export const ANY = Symbol("any");
export const NONE = Symbol("none");
export type Pattern = { readonly [field: string]: unknown };

/** `on` names the connection, `a` unless told; it says hello with the `hello` of the case when it is first used. */
export type Step = { readonly on?: string } & (
  | { readonly send: Pattern | readonly Pattern[] }
  | { readonly raw: Uint8Array | string }
  /** The next answer (`ok`, `error`, `welcome`), or else the next frame of a session that is not transient. */
  | { readonly expect: Pattern }
  /** The first frame that matches; frames of sessions that came before it are passed over, answers stay. */
  | { readonly until: Pattern }
  /** Asked again, under ids of its own, until the answer matches. */
  | { readonly repeat: Pattern; readonly answer: Pattern }
  | { readonly close: number | readonly number[] }
);

export interface Case {
  readonly name: string;
  /** What `hello` says besides its protocol, by connection; false: no hello is sent. */
  readonly hello?: Readonly<Record<string, Pattern | false>>;
  readonly encoding?: "json" | "msgpack";
  readonly steps: readonly Step[];
}

const bad = (details: Pattern): Step => ({
  expect: { type: "error", id: NONE, code: "bad-frame", ...details },
});

const weather = (properties: Pattern): Pattern => ({
  name: "weather",
  inputSchema: { type: "object", properties },
  effect: "pure",
});

export const CONNECTION_CASES: readonly Case[] = [
  {
    name: "welcome repeats hello's id and says the limits",
    hello: { a: false },
    steps: [
      { send: { type: "hello", id: 77, protocol: 1 } },
      {
        expect: {
          type: "welcome",
          id: 77,
          protocol: 1,
          connection: ANY,
          user: { id: "local" },
          limits: { maxFrame: 1_048_576, maxPayload: 786_432 },
        },
      },
    ],
  },
  {
    name: "hello without id is welcomed without id",
    hello: { a: false },
    steps: [{ send: { type: "hello", protocol: 1 } }, { expect: { type: "welcome", id: NONE } }],
  },
  {
    name: "another protocol version is refused with its reason",
    hello: { a: false },
    steps: [
      { send: { type: "hello", id: 1, protocol: 2 } },
      { expect: { type: "error", id: 1, code: "unsupported-protocol", retryable: false } },
      { close: 4503 },
    ],
  },
  {
    name: "a first frame that is no hello is refused",
    hello: { a: false },
    steps: [
      { send: { type: "listAgents", id: 1 } },
      { expect: { type: "error", code: "hello-required" } },
      { close: 4500 },
    ],
  },
  {
    name: "a hello over 16 KiB is refused",
    hello: { a: false },
    steps: [
      { send: { type: "hello", id: 1, protocol: 1, filler: "x".repeat(17_000) } },
      { expect: { type: "error", code: "too-large" } },
      { close: 4500 },
    ],
  },
  {
    name: "a second hello is a bad frame",
    steps: [
      { send: { type: "hello", id: 5, protocol: 1 } },
      { expect: { type: "error", id: 5, code: "bad-frame" } },
      { send: { type: "listAgents", id: 6 } },
      { expect: { type: "ok", id: 6 } },
    ],
  },
  {
    name: "a newer connection of the same user and instance supersedes the older",
    hello: { a: { instance: "twin", user: { id: "ada" } }, b: { instance: "twin", user: { id: "ada" } } },
    steps: [
      { send: { type: "listAgents", id: 1 } },
      { expect: { type: "ok", id: 1 } },
      { on: "b", send: { type: "listAgents", id: 1 } },
      { on: "b", expect: { type: "ok", id: 1 } },
      { close: 4510 },
    ],
  },
  {
    name: "a newer connection with another user's instance supersedes nobody",
    hello: { a: { instance: "twin", user: { id: "ada" } }, b: { instance: "twin", user: { id: "eve" } } },
    steps: [
      { send: { type: "listAgents", id: 1 } },
      { expect: { type: "ok", id: 1 } },
      { on: "b", send: { type: "listAgents", id: 1 } },
      { on: "b", expect: { type: "ok", id: 1 } },
      { send: { type: "listAgents", id: 2 } },
      { expect: { type: "ok", id: 2 } },
    ],
  },
  {
    name: "frames that follow hello without waiting are answered in order after welcome",
    hello: { a: false },
    steps: [
      { send: { type: "hello", id: 0, protocol: 1 } },
      { send: { type: "listAgents", id: 1 } },
      { send: { type: "detach", id: 2, session: "none" } },
      { expect: { type: "welcome", id: 0 } },
      { until: { type: "ok", id: 1 } },
      { until: { type: "ok", id: 2 } },
    ],
  },
  {
    name: "a newer token where none is asked for is taken and changes nobody",
    hello: { a: { user: { id: "ada" } } },
    steps: [
      { send: { type: "refreshToken", id: 1, token: "any" } },
      { expect: { type: "ok", id: 1 } },
      { send: { type: "refreshToken", id: 2 } },
      { expect: { type: "error", id: 2, code: "bad-frame" } },
    ],
  },
  {
    name: "a tool that takes as much stands beside, another is a conflict until the old one drained",
    hello: { a: {}, b: {} },
    steps: [
      { send: { type: "offerTools", id: 1, tools: [weather({ city: { type: "string" } })] } },
      { expect: { type: "ok", id: 1, accepted: ["weather"] } },
      {
        on: "b",
        send: {
          type: "offerTools",
          id: 2,
          tools: [weather({ city: { type: "string" }, days: { type: "integer" } })],
        },
      },
      { on: "b", expect: { type: "ok", id: 2, accepted: ["weather"] } },
      { on: "b", send: { type: "offerTools", id: 3, tools: [weather({ city: { type: "number" } })] } },
      {
        on: "b",
        expect: {
          type: "error",
          id: 3,
          code: "conflict",
          retryable: false,
          details: { tool: "weather", field: "inputSchema", path: "/properties/city/type" },
        },
      },
      { send: { type: "drain", id: 4 } },
      { expect: { type: "ok", id: 4 } },
      { on: "b", send: { type: "offerTools", id: 5, tools: [weather({ city: { type: "number" } })] } },
      { on: "b", expect: { type: "ok", id: 5, accepted: ["weather"] } },
      { on: "b", send: { type: "withdrawTools", id: 6 } },
      { on: "b", expect: { type: "ok", id: 6 } },
    ],
  },
  {
    name: "a provider that an admin drains ends what it has, and then is none",
    hello: { b: {} },
    steps: [
      { send: { type: "createSession", id: 1, agent: "demo" } },
      { expect: { type: "ok", id: 1, session: "$s" } },
      { send: { type: "attach", id: 2, session: "$s", after: { epoch: 0, seq: 0 } } },
      { until: { type: "ok", id: 2 } },
      {
        send: {
          type: "offerTools",
          id: 3,
          session: "$s",
          tools: [{ name: "far", inputSchema: { type: "object" }, effect: "pure" }],
        },
      },
      { until: { type: "ok", id: 3 } },
      {
        send: {
          type: "send",
          id: 4,
          session: "$s",
          key: "k",
          content: JSON.stringify({ script: [{ calls: [{ tool: "far" }] }, { text: "done" }] }),
        },
      },
      {
        until: {
          type: "event",
          session: "$s",
          event: { type: "tool-dispatched", call: "$c", attempt: 1, provider: "$p" },
        },
      },
      { on: "b", send: { type: "drainProvider", id: 1, provider: "$p" } },
      { on: "b", until: { type: "ok", id: 1 } },
      { send: { type: "callResult", session: "$s", call: "$c", attempt: 1, output: 1 } },
      { until: { type: "resultAck", session: "$s", call: "$c", attempt: 1, verdict: "stored" } },
      { until: { type: "event", session: "$s", event: { type: "run-finished", reason: "text" } } },
      { on: "b", send: { type: "drainProvider", id: 2, provider: "$p" } },
      { on: "b", until: { type: "error", id: 2, code: "not-found", retryable: false } },
    ],
  },
  {
    name: "several frames in one message are answered, each under its id",
    steps: [
      {
        send: [
          { type: "listAgents", id: 0 },
          { type: "nonsense", id: 1 },
          { type: "listAgents", id: 4_294_967_295, unknown: { fields: ["are", "ignored"] } },
        ],
      },
      { until: { type: "ok", id: 0, items: ANY } },
      { until: { type: "error", id: 1, code: "unknown-frame", retryable: false } },
      { until: { type: "ok", id: 4_294_967_295 } },
    ],
  },
  {
    name: "an id out of range is a bad frame without id",
    steps: [
      { send: { type: "listAgents", id: 4_294_967_296 } },
      bad({ details: { frame: "listAgents" } }),
      { send: { type: "listAgents", id: -1 } },
      bad({ details: { frame: "listAgents" } }),
      { send: { type: "listAgents" } },
      bad({ details: { frame: "listAgents" } }),
    ],
  },
  {
    name: "a frame of the wrong shape is a bad frame under its id",
    steps: [
      { send: { type: "attach", id: 3, session: 7 } },
      { expect: { type: "error", id: 3, code: "bad-frame", details: { frame: "attach" } } },
      { send: { type: "attach", id: 4, session: "x", tail: 201 } },
      { expect: { type: "error", id: 4, code: "bad-frame" } },
      { send: { type: "send", id: 5, session: "x", key: "k", content: null } },
      { expect: { type: "error", id: 5, code: "bad-frame" } },
    ],
  },
  {
    name: "a frame without a type is a bad frame",
    steps: [{ send: { id: 3 } }, { expect: { type: "error", code: "bad-frame" } }],
  },
  {
    name: "a message of the other kind is a bad frame",
    encoding: "json",
    steps: [{ raw: new Uint8Array([0x80]) }, bad({})],
  },
  {
    name: "a text message on a MessagePack connection is a bad frame",
    encoding: "msgpack",
    steps: [{ raw: '{"type":"listAgents","id":1}' }, bad({})],
  },
  {
    name: "ten malformed frames end the connection",
    steps: [
      { send: Array.from({ length: 10 }, (_, id) => ({ type: "nonsense", id })) },
      { until: { type: "error", id: 9, code: "unknown-frame" } },
      { until: { type: "disconnect", code: 4500, reconnect: false } },
      { close: 4500 },
    ],
  },
  {
    name: "nine malformed frames do not",
    steps: [
      { send: Array.from({ length: 9 }, (_, id) => ({ type: "nonsense", id })) },
      { until: { type: "error", id: 8 } },
      { send: { type: "listAgents", id: 10 } },
      { until: { type: "ok", id: 10 } },
    ],
  },
];
