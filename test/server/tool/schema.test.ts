/**
 * Checks of tool inputs and outputs: every common keyword means what JSON Schema says, a hostile pattern or reference is
 * answered (one that went exponential would not be, within the limit of a test), and what cannot be checked is refused
 * when it is offered.
 */
import type { JsonSchema, JsonValue } from "../../../protocol/content.ts";
import { ProtocolError } from "../../../protocol/errors.ts";
import { canonicalSchema, compileSchema, MAX_SCHEMA_BYTES } from "../../../server/tool/schema.ts";
import { assert, suite } from "../../support/suite.ts";

const test = suite("tool schemas");

function refused(schema: JsonSchema): ProtocolError {
  try {
    compileSchema(schema);
  } catch (error) {
    if (error instanceof ProtocolError) return error;
    throw error;
  }
  throw new Error(`not refused: ${JSON.stringify(schema).slice(0, 200)}`);
}

test("values that fit say nothing, others say where and why", () => {
  const cases: [JsonSchema, JsonValue, JsonValue, RegExp][] = [
    [{ type: "integer" }, 3, 3.5, /integer/],
    [{ type: ["string", "null"] }, null, 1, /string/],
    [{ enum: ["a", 2] }, 2, "b", /allowed values/],
    [{ const: { a: [1] } }, { a: [1] }, { a: [2] }, /constant/],
    [{ type: "string", minLength: 2 }, "ab", "a", /2 characters/],
    [{ type: "string", pattern: "^[a-z]+$" }, "abc", "ABC", /pattern/],
    [{ type: "array", items: { type: "number" }, maxItems: 2 }, [1, 2], [1, "x"], /\/1 .*number/],
    [{ type: "array", uniqueItems: true }, [1, 2], [1, 1], /duplicate/],
    [{ prefixItems: [{ type: "string" }], items: false }, ["a"], ["a", 1], /NOT have more than 1|must NOT/],
    [{ type: "object", required: ["a"] }, { a: 1 }, {}, /required/],
    [
      { type: "object", additionalProperties: false, properties: { a: {} } },
      { a: 1 },
      { b: 1 },
      /additional/,
    ],
    [{ patternProperties: { "^n_": { type: "number" } } }, { n_a: 1 }, { n_a: "x" }, /number/],
    [{ anyOf: [{ type: "string" }, { type: "number" }] }, 1, true, /string/],
    [{ not: { type: "string" } }, 1, "a", /NOT/],
    [{ $defs: { n: { type: "number" } }, $ref: "#/$defs/n" }, 1, "a", /number/],
    [{ if: { required: ["a"] }, else: { required: ["b"] } }, { a: 1 }, { c: 1 }, /b/],
  ];
  for (const [schema, good, bad, words] of cases) {
    const check = compileSchema(schema);
    assert.is(check(good), undefined, JSON.stringify(schema));
    assert.match(check(bad) ?? "it fits", words, JSON.stringify(schema));
  }
});

test("the empty schema takes everything", () => {
  for (const value of [null, 0, "x", [], {}]) assert.is(compileSchema({})(value), undefined);
});

test("older drafts are read by their own rules", () => {
  const schema = {
    $schema: "http://json-schema.org/draft-07/schema#",
    items: [{ type: "string" }],
    additionalItems: false,
  };
  const check = compileSchema(schema);
  assert.is(check(["a"]), undefined);
  assert.ok(check(["a", 1]) !== undefined);
});

test("formats and unknown keywords are words to the model, not checks", () => {
  assert.is(compileSchema({ type: "string", format: "email", "x-hint": 1 })("no address"), undefined);
});

test("a value is checked, never changed", () => {
  const value = { a: "1" };
  compileSchema({ properties: { a: { type: "number" }, b: { default: 2 } }, additionalProperties: false })(
    value,
  );
  assert.equal(value, { a: "1" });
});

test("a catastrophic pattern over a long input is answered", () => {
  for (const pattern of ["^(a+)+$", "^(a|a)*$", "(.*a){12}$", "^(([a-z])+.)+[A-Z]([a-z])+$"]) {
    assert.match(says({ type: "string", pattern }, `${"a".repeat(50_000)}!`), /must match pattern/);
  }
});

test("patterns that run only by going back are refused", () => {
  for (const pattern of ["(?=a)b", "(?!a)b", "(?<=a)b", "(a)\\1", "("]) {
    assert.is(refused({ type: "string", pattern }).code, "bad-frame", pattern);
  }
});

test("each pattern of a schema is its own", () => {
  const schema = {
    properties: { a: { pattern: "^a" }, b: { pattern: "^b" } },
    patternProperties: { "^c": false },
  };
  const check = compileSchema(schema);
  assert.is(check({ a: "a", b: "b" }), undefined);
  for (const bad of [{ a: "b" }, { b: "a" }, { c: 1 }])
    assert.ok(check(bad) !== undefined, JSON.stringify(bad));
});

test("a pattern that would grow without bound is refused, and soon", () => {
  const long = "(?:[a-z]\\d\\pL\\p{Greek}.)".repeat(20);
  for (const pattern of [
    "((a{1000}){1000}){1000}",
    "x{0,1000}".repeat(200),
    `(?:${long}){1000}`,
    `(?:(?:${long}){30}){30}`,
    "a{10000}",
  ]) {
    assert.is(refused({ type: "string", pattern }).code, "bad-frame", pattern.slice(0, 40));
  }
});

test("what many small schemas and patterns cost together is bounded, too", () => {
  const fields = Array.from(
    { length: 1_200 },
    (_, n) => [`field${n}`, { type: "string", maxLength: n }] as const,
  );
  assert.is(compileSchema({ properties: Object.fromEntries(fields) })({ field3: "abc" }), undefined);
  const patterns = Array.from({ length: 60 }, (_, n) => ({ pattern: `x{0,${900 + n}}` }));
  assert.is(refused({ allOf: patterns }).code, "bad-frame");
});

test("patterns that people write are accepted", () => {
  const patterns: [string, string][] = [
    [
      "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
      "0190b3f1-8f00-7d3a-8a0b-000000000001",
    ],
    [
      "^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d{1,9})?(Z|[+-]\\d{2}:\\d{2})$",
      "2026-01-02T03:04:05.678Z",
    ],
    ["^(([0-9a-fA-F]{1,4}:){7,7}[0-9a-fA-F]{1,4}|([0-9a-fA-F]{1,4}:){1,7}:)$", "fe80::"],
    ["^[\\w.+-]{1,64}@[A-Za-z0-9-]+(\\.[A-Za-z0-9-]+)*$", "ada@example.org"],
    ["^\\p{Lu}[\\p{L} ']{0,99}$", "Ævar O'Neill"],
    ["{literally}", "{literally}"],
  ];
  for (const [pattern, text] of patterns) assert.is(compileSchema({ pattern })(text), undefined, pattern);
});

function says(schema: JsonSchema, value: JsonValue): string {
  return compileSchema(schema)(value) ?? "it fits";
}

test("a text too long for its pattern is answered, not run; so are many texts", () => {
  const pattern = "(x|y|z)*[xy]{1,200}$";
  assert.is(compileSchema({ pattern })("zzzx"), undefined);
  const text = "x".repeat(5_000);
  for (const [schema, value] of [
    [{ pattern }, `${"x".repeat(700_000)}!`],
    [{ items: { pattern } }, Array.from({ length: 100 }, () => text)],
    [
      { propertyNames: { pattern } },
      Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`${"x".repeat(n)}${text}`, 1])),
    ],
    [{ anyOf: Array.from({ length: 200 }, () => ({ pattern })) }, `${text}!`],
  ] as [JsonSchema, JsonValue][]) {
    assert.match(says(schema, value), /too much work/);
  }
});

test("a schema that doubles with every reference is answered, not followed to its end", () => {
  const doubling = (levels: number): JsonSchema => {
    const $defs: Record<string, JsonSchema> = { [`a${levels}`]: { type: "string" } };
    for (let n = 0; n < levels; n++) {
      const next = { $ref: `#/$defs/a${n + 1}` };
      $defs[`a${n}`] = { anyOf: [next, next] };
    }
    return { $defs, $ref: "#/$defs/a0" };
  };
  assert.match(says(doubling(5), 1), /string/);
  const elsewhere = JSON.parse(JSON.stringify(doubling(40)).replaceAll("$defs", "x-mine")) as JsonSchema;
  const deep: JsonValue = JSON.parse(`${'{"x":'.repeat(14)}1${"}".repeat(14)}`);
  const child = { properties: { x: { $ref: "#" } } };
  for (const [schema, value] of [
    [doubling(40), 1],
    [elsewhere, 1],
    [{ anyOf: [...Array.from({ length: 8 }, () => child), { type: "string" }], type: "object" }, deep],
  ] as [JsonSchema, JsonValue][]) {
    assert.match(says(schema, value), /too much work/);
  }
});

test("unique items are told apart in the time that it takes to read them", () => {
  const items = Array.from({ length: 9_999 }, (_, n) => ({ n, list: [n] }));
  assert.is(says({ uniqueItems: true }, items), "it fits");
  assert.match(
    says({ uniqueItems: true }, [
      { a: 1, b: 2 },
      { b: 2, a: 1 },
    ]),
    /duplicate/,
  );
  assert.is(says({ uniqueItems: true }, [1, "1", [1], null, { a: 1 }]), "it fits");
  assert.is(says({ uniqueItems: false }, [1, 1]), "it fits");
});

test("a large value of a usual schema is checked whole", () => {
  const row = {
    type: "object",
    required: ["id"],
    additionalProperties: false,
    properties: { id: { type: "integer" }, tag: { pattern: "^[a-z]{1,16}$" } },
  };
  const rows = Array.from({ length: 3_000 }, (_, id) => ({ id, tag: "abc" }));
  assert.is(says({ type: "array", items: row }, rows), "it fits");
  assert.match(says({ type: "array", items: row }, [...rows, { id: "x" }]), /3000.*integer/);
});

test("a property may have any name, those that the check uses too", () => {
  const schema = {
    properties: { "x-haulout-visit": { type: "string" }, enum: { type: "number" } },
    additionalProperties: false,
  };
  assert.is(says(schema, { "x-haulout-visit": "a", enum: 1 }), "it fits");
  assert.match(says(schema, { "x-haulout-visit": 1 }), /string/);
  assert.match(says(schema, { enum: "a" }), /number/);
});

test("a schema that refers to itself is checked as deep as the value goes", () => {
  const tree: JsonSchema = {
    $defs: {
      node: { type: "object", properties: { next: { $ref: "#/$defs/node" }, n: { type: "number" } } },
    },
    $ref: "#/$defs/node",
  };
  const check = compileSchema(tree);
  assert.is(check({ n: 1, next: { n: 2, next: { n: 3 } } }), undefined);
  assert.match(check({ next: { next: { n: "x" } } }) ?? "", /\/next\/next\/n/);
});

test("a reference that only goes round is refused or answered, never followed for ever", () => {
  const loops: JsonSchema[] = [
    { $ref: "#" },
    { $defs: { a: { $ref: "#/$defs/b" }, b: { $ref: "#/$defs/a" } }, $ref: "#/$defs/a" },
    { allOf: [{ $ref: "#" }] },
  ];
  for (const schema of loops) {
    let answer: string | undefined;
    try {
      answer = compileSchema(schema)({ a: 1 });
    } catch (error) {
      answer = (error as ProtocolError).code;
    }
    assert.ok(answer !== undefined, JSON.stringify(schema));
  }
});

test("what cannot be checked is refused at the offer", () => {
  const bad: JsonSchema[] = [
    { type: "nothing" },
    { $ref: "#/$defs/missing" },
    { $ref: "https://example.org/schema.json" },
    { properties: { a: 1 } },
    { minimum: "three" },
    { $schema: "https://example.org/no-such-draft" },
  ];
  for (const schema of bad) assert.is(refused(schema).code, "bad-frame", JSON.stringify(schema));
});

test("a schema over the bounds is too large, not slow", () => {
  assert.is(refused({ description: "x".repeat(MAX_SCHEMA_BYTES) }).code, "too-large");
  assert.is(refused({ enum: Array.from({ length: 4_001 }, (_, n) => n) }).code, "too-large");
  let deep: JsonSchema = {};
  for (let n = 0; n < 40; n++) deep = { not: deep };
  assert.is(refused(deep).code, "too-large");
});

test("two schemas with one $id do not meet", () => {
  const first = compileSchema({ $id: "https://example.org/a", type: "string" });
  const second = compileSchema({ $id: "https://example.org/a", type: "number" });
  assert.is(first("x"), undefined);
  assert.is(second(1), undefined);
});

test("a value's keys named like the machinery are only keys", () => {
  const check = compileSchema({
    type: "object",
    properties: { constructor: { type: "string" } },
    required: ["toString"],
  });
  assert.match(check({}) ?? "it fits", /toString/);
  assert.is(check(JSON.parse('{"constructor":"x","toString":1}') as JsonValue), undefined);
});

test("equal schemas have one text, different ones have two", () => {
  assert.is(
    canonicalSchema({ a: [1, { c: null, b: "x" }], d: 2 }),
    canonicalSchema({ d: 2, a: [1, { b: "x", c: null }] }),
  );
  assert.is.not(canonicalSchema({ a: [1, 2] }), canonicalSchema({ a: [2, 1] }));
  assert.is.not(canonicalSchema({ a: "1" }), canonicalSchema({ a: 1 }));
  assert.is.not(canonicalSchema(undefined), canonicalSchema({}));
});

test("more schemas than are remembered are compiled, none wrong", () => {
  for (let n = 0; n < 1_100; n++) assert.is(compileSchema({ const: n })(n), undefined);
  assert.ok(compileSchema({ const: 0 })(1) !== undefined);
});

test.run();
