/**
 * Another description of a tool that somebody offers already: when it may stand beside, when it takes the place, when it
 * is a conflict and what that says; and what becomes of runs that began with the one before.
 */
import type { JsonSchema, ToolOffer } from "../../../protocol/content.ts";
import { toolSpecification } from "../../../protocol/content.ts";
import { ProtocolError } from "../../../protocol/errors.ts";
import { findDifference, isSameTool } from "../../../server/tool/compatible.ts";
import { closeRuntimes, script, startRuntime, type TestRuntime } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { TestProvider, tool } from "./provider.ts";

const test = suite("replacement of tools");
test.after.each(closeRuntimes);

const object = (properties: JsonSchema, more: JsonSchema = {}): JsonSchema => ({
  type: "object",
  properties,
  ...more,
});
const text = { type: "string" };
const city = object({ city: text }, { required: ["city"] });

const specified = (change: Partial<ToolOffer>) => toolSpecification.parse(tool("work", change));
const placeOf = (offered: JsonSchema, present: JsonSchema): string | undefined =>
  findDifference(specified({ inputSchema: offered }), specified({ inputSchema: present }))?.path;

test("what takes all that the other describes may stand beside it", () => {
  const pairs: [JsonSchema, JsonSchema][] = [
    [{}, city],
    [{ ...city, title: "T", description: "d" }, city],
    [object({ city: text, unit: text }, { required: ["city"] }), city],
    [object({ city: { ...text, description: "where" } }), city],
    [object({ city: { type: ["string", "null"] } }), city],
    [{ type: "number" }, { type: "integer" }],
    [
      { type: "integer", minimum: 0, maximum: 10 },
      { type: "integer", minimum: 1, maximum: 9 },
    ],
    [{ enum: ["a", "b", "c"] }, { enum: ["c", "a"] }],
    [{ type: "string" }, { enum: ["a"] }],
    [{ enum: ["a", 1] }, { const: 1 }],
    [
      { type: "array", items: { type: "number" } },
      { type: "array", items: { type: "integer" }, maxItems: 3 },
    ],
    [{ anyOf: [text, { type: "number" }] }, text],
    [{ anyOf: [text, { type: "number" }, { type: "null" }] }, { anyOf: [{ type: "integer" }, text] }],
    [object({ a: text }), { anyOf: [object({ a: text }), object({ a: { const: "x" } })] }],
    [
      object({ a: text, b: text }, { additionalProperties: false }),
      object({ a: text }, { additionalProperties: false }),
    ],
    [
      object({ a: text }, { allOf: [{ minProperties: 1 }] }),
      object({ a: { const: "x" } }, { allOf: [{ minProperties: 1 }] }),
    ],
    [
      { $ref: "#/$defs/t", $defs: { t: text }, title: "new" },
      { $defs: { t: text }, $ref: "#/$defs/t" },
    ],
  ];
  for (const [offered, present] of pairs)
    assert.is(placeOf(offered, present), undefined, JSON.stringify([offered, present]));
});

test("what may refuse a part of it does not, and the place is named", () => {
  const pairs: [JsonSchema, JsonSchema, string][] = [
    [city, {}, "/type"],
    [city, object({ city: text }), "/required"],
    [object({ city: text, unit: text }, { required: ["city", "unit"] }), city, "/required"],
    [object({ city: { type: "number" } }), city, "/properties/city/type"],
    [object({ "a/b": { type: "null" } }), object({ "a/b": text }), "/properties/a~1b/type"],
    [{ type: "integer" }, { type: "number" }, "/type"],
    [{ type: "integer", minimum: 1 }, { type: "integer", minimum: 0 }, "/minimum"],
    [{ type: "string", maxLength: 5 }, text, "/maxLength"],
    [{ type: "string", pattern: "^a" }, text, "/pattern"],
    [{ enum: ["a"] }, { enum: ["a", "b"] }, "/enum"],
    [{ const: "a" }, text, "/const"],
    [{ type: "array", items: text }, { type: "array" }, "/items/type"],
    [{ type: "array", uniqueItems: true }, { type: "array" }, "/uniqueItems"],
    [object({ a: text }, { additionalProperties: false }), object({ a: text }), "/additionalProperties"],
    [
      object({}, { additionalProperties: false }),
      object({ a: text }, { additionalProperties: false }),
      "/additionalProperties",
    ],
    [text, { anyOf: [text, { type: "number" }] }, "/type"],
    [{ anyOf: [text, { type: "number" }] }, {}, "/anyOf"],
    [object({ a: { type: "number" } }), object({}, { allOf: [object({ a: text })] }), "/allOf"],
    [
      object({ a: { type: "number" } }),
      object({ a: text }, { anyOf: [object({ b: text }), object({ c: text })] }),
      "/properties/a/type",
    ],
    [
      { $ref: "#/$defs/t", $defs: { t: { type: "number" } } },
      { $ref: "#/$defs/t", $defs: { t: text } },
      "/$defs",
    ],
    [{ not: text }, { type: "number" }, "/not"],
  ];
  for (const [offered, present, path] of pairs)
    assert.is(placeOf(offered, present), path, JSON.stringify([offered, present]));
});

test("outputs go the other way, effects not at all", () => {
  const one = { outputSchema: { type: "number" }, effect: "pure" as const };
  const place = (offered: Partial<ToolOffer>, present: Partial<ToolOffer>) => {
    const { field, path } = findDifference(specified(offered), specified(present)) ?? {};
    return field === undefined ? undefined : `${field}${path}`;
  };
  assert.is(place({ ...one, outputSchema: { type: "integer" } }, one), undefined);
  assert.is(place({ ...one, outputSchema: text }, one), "outputSchema/type");
  assert.is(place({ effect: "pure" }, one), "outputSchema/type");
  assert.is(place(one, { effect: "pure" }), undefined);
  assert.is(place({ ...one, effect: "idempotent" }, one), "effect");
  assert.ok(isSameTool(specified({ description: "one", timeoutMs: 1 }), specified({ description: "two" })));
});

test("schemas that take too long to compare count as different, soon", () => {
  const nested = (leaf: JsonSchema): JsonSchema => {
    let schema = leaf;
    for (let depth = 0; depth < 7; depth++)
      schema = { anyOf: [schema, { ...schema, title: "x" }, { ...schema, title: "y" }] };
    return schema;
  };
  const began = performance.now();
  assert.not.equal(
    placeOf(nested({ type: "string", minLength: 2 }), nested({ type: "string", minLength: 1 })),
    undefined,
  );
  assert.ok(performance.now() - began < 2_000);
});

function conflict(offer: () => unknown): ProtocolError {
  try {
    offer();
  } catch (error) {
    if (error instanceof ProtocolError) return error;
    throw error;
  }
  throw new Error("there is no conflict");
}

const inputOf = ({ runtime }: TestRuntime): JsonSchema | undefined =>
  runtime.tools.get("", "work")?.specification.inputSchema;

test("a conflict shows the difference: where, and both sides, cut to be read", async () => {
  const { runtime } = await startRuntime();
  const [a, b] = [new TestProvider(runtime, "prv_a"), new TestProvider(runtime, "prv_b")];
  a.offer([tool("work", { inputSchema: city })]);
  const error = conflict(() =>
    b.offer([tool("work", { inputSchema: object({ city: { type: "number" } }) })]),
  );
  assert.is(error.code, "conflict");
  assert.match(error.message, /another inputSchema at \/properties\/city\/type/);
  assert.equal(error.details, {
    tool: "work",
    field: "inputSchema",
    path: "/properties/city/type",
    offered: "number",
    present: "string",
  });
  const many = { enum: Array.from({ length: 3000 }, (_, n) => `value ${n}`) };
  const long = conflict(() => b.offer([tool("work", { inputSchema: object({ city: many }) })]));
  assert.ok(JSON.stringify(long.details).length < 2_000);
  assert.is(runtime.tools.get("", "work")?.specification.inputSchema, inputOf({ runtime } as TestRuntime));
});

test("two offers of one tool agree about when people are asked, or the second is refused", async () => {
  const { runtime } = await startRuntime();
  const [a, b] = [new TestProvider(runtime, "prv_a"), new TestProvider(runtime, "prv_b")];
  const approval = { mode: "always", by: { count: 2 } } as const;
  a.offer([tool("work", { approval })]);
  for (const other of [
    undefined,
    { mode: "never" },
    { mode: "always" },
    { ...approval, editable: true },
  ] as const) {
    const error = conflict(() => b.offer([tool("work", other === undefined ? {} : { approval: other })]));
    assert.match(error.message, /another approval/);
    assert.equal([error.details?.["field"], error.details?.["path"]], ["approval", ""]);
  }
  b.offer([tool("work", { approval: { by: { count: 2 }, mode: "always" } })]);
  assert.equal(runtime.tools.get("", "work")?.specification.approval, approval);
});

test("a rolling replacement: the new kind stands beside, calls go to both, and it is what is seen when the old are gone", async () => {
  const started = await startRuntime();
  const { runtime } = started;
  const [a, b] = [new TestProvider(runtime, "prv_a"), new TestProvider(runtime, "prv_b")];
  const next = object({ city: text, unit: text }, { required: ["city"] });
  a.offer([tool("work", { inputSchema: city })], { maxConcurrent: 1 });
  b.offer([tool("work", { inputSchema: next })], { maxConcurrent: 1 });
  assert.equal(inputOf(started), city, "as long as one of the old is there");
  const asks = script({
    calls: [
      { tool: "work", input: { city: "Bern" } },
      { tool: "work", input: { city: "Ulm" } },
    ],
  });
  const run = runtime.sendTo(await runtime.createSession("demo"), asks);
  const [one, two] = await Promise.all([a.nextCall(), b.nextCall()]);
  a.drain();
  assert.equal(inputOf(started), city);
  a.result(one, 1);
  b.result(two, 2);
  await run;
  assert.equal(inputOf(started), next);
  // The old kind does not take all that the new one describes; another of the new kind does.
  assert.is(
    conflict(() =>
      a.again().offer([tool("work", { inputSchema: object({ city: text, unit: { type: "null" } }) })]),
    ).code,
    "conflict",
  );
  new TestProvider(runtime, "prv_c").offer([tool("work", { inputSchema: { ...next, title: "again" } })]);
});

test("a provider alone may describe its tool anew, but not while a call of it is open", async () => {
  const started = await startRuntime();
  const { runtime } = started;
  const a = new TestProvider(runtime, "prv_a");
  a.offer([tool("work", { inputSchema: city })]);
  const run = runtime.sendTo(
    await runtime.createSession("demo"),
    script({ calls: [{ tool: "work", input: { city: "Bern" } }] }),
  );
  const call = await a.nextCall();
  assert.is(conflict(() => a.offer([tool("work", { inputSchema: { type: "array" } })])).code, "conflict");
  a.result(call, 1);
  await run;
  await a.nextAck();
  a.offer([tool("work", { inputSchema: { type: "array" } })]);
  assert.equal(inputOf(started), { type: "array" });
});

test("a run that began with one kind of a tool calls no other", async () => {
  const { runtime } = await startRuntime();
  const [a, b] = [new TestProvider(runtime, "prv_a"), new TestProvider(runtime, "prv_b")];
  a.offer([tool("work"), tool("first")]);
  const session = await runtime.createSession("demo");
  const run = runtime.streamTo(
    session,
    script({ calls: [{ tool: "first", input: {} }] }, { calls: [{ tool: "work", input: {} }] }),
  );
  const events: unknown[] = [];
  const reading = (async () => {
    for await (const event of run)
      if (event.type === "event" && event.event.type === "tool-result") events.push(event.event.outcome);
  })();
  const call = await a.nextCall();
  a.withdraw("work");
  b.offer([tool("work", { effect: "once" })]);
  a.result(call, 1);
  await reading;
  assert.equal(events, ["ok", "unavailable"]);
  assert.equal(b.calls, []);
});

test.run();
