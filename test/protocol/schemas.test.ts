/**
 * The schemas of every frame and entry: each field is required or not as written, refuses the wrong kind of value, and
 * keeps its bounds; unknown fields are passed over. Valid frames are the golden ones.
 */
import { clientFrames } from "../../protocol/frames.ts";
import { assert, suite } from "../support/suite.ts";
import { goldenFrames, GROUPS, schemaOf, type GoldenFrame } from "./frames.ts";

const test = suite("schemas");

/** Fields that take any JSON value, wherever they are. */
const ANY = new Set(["metadata", "progress", "output", "input", "answers", "subject", "data", "details"]);
/** Fields that null is a value of. */
const NULLABLE = new Set(["member-changed.role"]);
/** Maps and lists whose members are tested by their own shapes. */
const OPEN = new Set(["inputSchema", "outputSchema", "when", "details", "members", "labels"]);

type Change = (holder: Record<string, unknown>, field: string) => void;

/** Makes one change in a copy of the frame and asks the schema. */
function accepts(golden: GoldenFrame, path: readonly string[], change: Change): boolean {
  const copy = structuredClone(golden.frame);
  let holder: Record<string, unknown> = copy;
  for (const step of path.slice(0, -1)) holder = holder[step] as Record<string, unknown>;
  change(holder, path.at(-1)!);
  return schemaOf(golden).safeParse(copy).success;
}

/** Every field of a frame, however deep, but not inside values that may be anything. */
function* fields(value: unknown, path: readonly string[] = []): Generator<string[]> {
  if (typeof value !== "object" || value === null) return;
  for (const [key, inner] of Object.entries(value)) {
    const here = [...path, key];
    if (!Array.isArray(value)) yield here;
    const isValue = ANY.has(key) && !(key === "input" && typeof inner === "string");
    if (!isValue && !OPEN.has(key)) yield* fields(inner, here);
  }
}

const kindOf = (value: unknown): string =>
  Array.isArray(value) ? "list" : value === null ? "null" : typeof value;

const OTHERS: Record<string, unknown> = {
  string: "x",
  number: 7,
  boolean: true,
  list: [1],
  object: { x: 1 },
  null: null,
};

for (const group of GROUPS) {
  test(`every field of every frame of ${group} refuses values of another kind`, () => {
    const accepted: string[] = [];
    for (const golden of goldenFrames(group)) {
      // The bare `ok` is checked by what its request carries; its envelope is loose on purpose.
      const head = golden.type === "ok" ? ["type", "id"] : [];
      for (const path of fields(golden.frame)) {
        const field = path.at(-1)!;
        if (head.includes(field) && path.length === 1) continue;
        let holder: unknown = golden.frame;
        for (const step of path) holder = (holder as Record<string, unknown>)[step];
        for (const [kind, other] of Object.entries(OTHERS)) {
          if (kind === kindOf(holder)) continue;
          // The import judges an entry when it has given it a place.
          if (golden.type === "importEntries" && path.includes("event")) continue;
          // A definition is judged as one of the configuration is, by whoever registers it.
          if (golden.type === "putAgent" && path.length > 1) continue;
          if (isAny(golden, path, holder) && field !== "details") continue;
          if (kind === "null" && NULLABLE.has(`${golden.type}.${field}`)) continue;
          if (kind === "string" && NULLABLE.has(`${golden.type}.${field}`)) continue;
          // Content is a text or a list of parts.
          if (field === "content" && kind === "string") continue;
          const took = accepts(golden, path, (at, name) => (at[name] = other));
          if (took) accepted.push(`${golden.name} ${path.join(".")} = ${kind}`);
        }
      }
    }
    assert.equal(accepted, []);
  });

  test(`frames of ${group} with fields of a later version are accepted without them`, () => {
    for (const golden of goldenFrames(group)) {
      const result = schemaOf(golden).safeParse({ ...golden.frame, fromTheFuture: { any: ["thing"] } });
      assert.ok(result.success, golden.name);
      if (golden.type !== "ok") assert.not("fromTheFuture" in (result.data as object));
    }
  });
}

/** `input` names a queued input (an id) in some shapes and a tool's input (any value) in others. */
function isAny(golden: GoldenFrame, path: readonly string[], value: unknown): boolean {
  const field = path.at(-1)!;
  if (!ANY.has(field)) return false;
  if (field === "input") return typeof value !== "string";
  return true;
}

const REQUIRED: Record<string, string> = {
  hello: "type protocol",
  createSession: "type id agent",
  attach: "type id session",
  send: "type id session key content",
  offerTools: "type id tools",
  answer: "type id session request",
  callResult: "type session call attempt",
  callProgress: "type session call attempt progress",
  withdrawTools: "type id",
  setPresence: "type id session",
};

test("a frame without a required field is refused, without an optional one it is not", () => {
  for (const golden of goldenFrames("client")) {
    const required = REQUIRED[golden.type]?.split(" ");
    if (required === undefined) continue;
    for (const field of Object.keys(golden.frame)) {
      const took = accepts(golden, [field], (at, name) => delete at[name]);
      assert.is(took, !required.includes(field), `${golden.name}.${field}`);
    }
  }
});

const long = (length: number): string => "x".repeat(length);

const BOUNDS: [type: keyof typeof clientFrames, field: string, good: unknown[], bad: unknown[]][] = [
  ["hello", "id", [0, 4_294_967_295], [-1, 4_294_967_296, 1.5, NaN, Infinity]],
  ["hello", "protocol", [1, 2], [1.5]],
  ["hello", "instance", ["x", long(64)], ["", long(65)]],
  ["hello", "token", ["", long(8192)], [long(8193)]],
  [
    "hello",
    "user",
    [{ id: "a" }, { id: long(128), name: long(256) }],
    [{ id: "" }, { id: long(129) }, { id: "__proto__" }, { id: "a", name: long(257) }],
  ],
  ["send", "session", ["a", "A-z_0", long(64)], ["", long(65), "a b", "ä", "a/b", "../a", "a\n"]],
  ["send", "key", ["k", long(128)], ["", long(129)]],
  [
    "send",
    "content",
    ["x", [{ type: "text", text: "" }]],
    [
      "",
      [],
      [{ type: "reasoning", text: "x" }],
      [{ type: "text" }],
      [{ type: "dynamic-tool" }],
      Array.from({ length: 257 }, () => ({ type: "text", text: "x" })),
    ],
  ],
  [
    "send",
    "content",
    [[{ type: "file", mediaType: "a/b", url: "https://x" }], [{ type: "data-", data: null }]],
    [
      [{ type: "file", mediaType: "a/b", url: "javascript:1" }],
      [{ type: "file", mediaType: "", url: "data:," }],
      [{ type: "data-x" }],
      [{ type: "date-x", data: 1 }],
    ],
  ],
  ["send", "mode", ["queue", "reject", "steer", "interrupt"], ["", "Queue", "other"]],
  ["attach", "tail", [0, 200], [-1, 201, 0.5]],
  [
    "attach",
    "after",
    [
      { epoch: 0, seq: 0 },
      { epoch: Number.MAX_SAFE_INTEGER, seq: 1 },
    ],
    [
      { epoch: 0 },
      { seq: 0 },
      { epoch: -1, seq: 0 },
      { epoch: 0, seq: -1 },
      { epoch: 0, seq: 2 ** 53 },
      { epoch: 1.5, seq: 0 },
    ],
  ],
  ["history", "limit", [1, 200], [0, 201]],
  ["history", "cursor", ["", long(512)], [long(513)]],
  ["createSession", "title", ["", long(1024)], [long(1025)]],
  ["createSession", "metadata", [null, 0, "", [], {}], []],
  [
    "offerTools",
    "tools",
    [[]],
    [
      Array.from({ length: 257 }, () => ({ name: "a", inputSchema: {} })),
      [{ name: "a" }],
      [{ name: "a b", inputSchema: {} }],
      [{ name: long(65), inputSchema: {} }],
      [{ name: "a", inputSchema: {}, timeoutMs: 0 }],
      [{ name: "a", inputSchema: {}, timeoutMs: 86_400_001 }],
      [{ name: "a", inputSchema: {}, effect: "some" }],
      [{ name: "a", inputSchema: true }],
      [{ name: "a", inputSchema: {}, description: long(16_385) }],
    ],
  ],
  ["offerTools", "maxConcurrent", [1, 10_000], [0, 10_001]],
  ["offerTools", "labels", [{}, { a: "b" }], [{ a: 1 }, { [long(65)]: "x" }, { a: long(257) }]],
  ["offerTools", "working", [[]], [[{ session: "s", call: "c" }], [{ session: "s", call: "c", attempt: 0 }]]],
  ["callResult", "attempt", [1, Number.MAX_SAFE_INTEGER], [0, -1, 1.5, 2 ** 53]],
  [
    "callResult",
    "error",
    [{ code: "x", message: "" }],
    [
      { code: "", message: "" },
      { code: long(65), message: "" },
      { code: "x" },
      { code: "x", message: long(65_537) },
    ],
  ],
  ["answer", "decision", ["approve", "deny"], ["expired", "cancelled", true]],
  ["answer", "reason", [long(4096)], [long(4097)]],
  ["grant", "role", ["owner", "editor", "approver", "viewer"], ["admin", null]],
  ["grant", "user", ["a"], ["", "__proto__", long(129)]],
  ["fork", "at", [0, 5], [-1, 1.5]],
];

for (const [type, field, good, bad] of BOUNDS) {
  test(`${type}.${field} keeps its bounds`, () => {
    const golden = goldenFrames("client").find((item) => item.type === type && item.variant === undefined)!;
    for (const value of good) {
      assert.ok(
        clientFrames[type].safeParse({ ...golden.frame, [field]: value }).success,
        JSON.stringify(value),
      );
    }
    for (const value of bad) {
      const shown = JSON.stringify(value).slice(0, 80);
      assert.not(clientFrames[type].safeParse({ ...golden.frame, [field]: value }).success, shown);
    }
  });
}

test("an offer's defaults are filled in", () => {
  const offer = clientFrames.offerTools.parse({
    type: "offerTools",
    id: 1,
    tools: [{ name: "a", inputSchema: {} }],
  });
  assert.equal(offer.tools, [
    { name: "a", description: "", inputSchema: {}, effect: "once", timeoutMs: 60_000 },
  ]);
});

test.run();
