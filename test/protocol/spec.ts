/**
 * protocol/SPEC.md as data: its tables by their header, and its field lists as JSON Schemas, so that a test can hold them
 * against the zod schemas. Owns the notation of SPEC.md §3; knows nothing of the code.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { repositoryRoot } from "../support/root.ts";

export type JsonSchemaObject = Record<string, unknown>;

export const spec = readFileSync(join(repositoryRoot, "protocol", "SPEC.md"), "utf8");

const MAX = Number.MAX_SAFE_INTEGER;
const SESSION_PATTERN = "^[A-Za-z0-9_-]{1,64}$";
const ID = { type: "string", minLength: 1, maxLength: 128 };

/** The rows of the table with this header row (its cells, as written), without header and rule. */
export function table(...header: string[]): string[][] {
  const lines = spec.split("\n");
  const wanted = `| ${header.join(" | ")} |`;
  const at = lines.indexOf(wanted);
  if (at < 0) throw new Error(`SPEC.md has no table ${wanted}`);
  if (lines.lastIndexOf(wanted) !== at) throw new Error(`SPEC.md has two tables ${wanted}`);
  const rows: string[][] = [];
  for (const line of lines.slice(at + 2)) {
    if (!line.startsWith("|")) break;
    rows.push(
      line
        .slice(1, -1)
        .split("|")
        .map((cell) => cell.trim()),
    );
  }
  return rows;
}

/** What stands between backticks. */
export function code(cell: string): string {
  const match = /^`([^`]+)`$/.exec(cell);
  if (match === null) throw new Error(`not a name: ${cell}`);
  return match[1]!;
}

/** A table of names and field lists: name → the properties of the object, and which are required. */
export function fieldTable(...header: string[]): Map<string, { fields: string; last: string }> {
  return new Map(
    table(...header).map((row) => [code(row[0]!), { fields: row[1] ?? "", last: row[2] ?? "" }]),
  );
}

const enums = new Map(
  table("enum", "values").map(([name = "", values = ""]) => [name, values.split(", ").map(code)]),
);
const shapes = fieldTable("shape", "fields", "notes");

export const shapeNames: readonly string[] = [...shapes.keys()];
export const enumValues: ReadonlyMap<string, readonly string[]> = enums;

/** The rows of "type | is", whose meaning is prose there and a schema here. */
const scalars: Record<string, JsonSchemaObject> = {
  bool: { type: "boolean" },
  string: { type: "string" },
  true: { type: "boolean", const: true },
  int: { type: "integer", minimum: -MAX, maximum: MAX },
  uint: { type: "integer", minimum: 0, maximum: MAX },
  uint32: { type: "integer", minimum: 0, maximum: 0xffff_ffff },
  any: {},
  Id: ID,
  UserId: ID,
  SessionId: { type: "string", pattern: SESSION_PATTERN },
  Name: { type: "string", pattern: SESSION_PATTERN },
  Seq: { type: "integer", minimum: 0, maximum: MAX },
  Epoch: { type: "integer", minimum: 0, maximum: MAX },
  Ms: { type: "integer", minimum: 0, maximum: MAX },
  Attempt: { type: "integer", minimum: 1, maximum: MAX },
  Cursor: { type: "string", maxLength: 512 },
  Schema: { type: "object", additionalProperties: {} },
  Labels: {
    type: "object",
    propertyNames: { type: "string", maxLength: 64 },
    additionalProperties: { type: "string", maxLength: 256 },
  },
};

function named(name: string): JsonSchemaObject {
  const values = name === "ErrorCode" ? errorCodes() : enums.get(name);
  if (values !== undefined) return { type: "string", enum: [...values] };
  const shape = shapes.get(name);
  if (shape !== undefined) return objectSchema(shape.fields);
  const parts = (...of: string[]): JsonSchemaObject => ({ anyOf: of.map(named) });
  switch (name) {
    case "MsRange":
      return {
        type: "array",
        prefixItems: [scalars["Ms"], scalars["Ms"]],
        items: false,
        minItems: 2,
        maxItems: 2,
      };
    case "Span":
      return {
        type: "array",
        prefixItems: [scalars["uint"], scalars["uint"]],
        items: false,
        minItems: 2,
        maxItems: 2,
      };
    case "InputPart":
      return parts("TextPart", "FilePart", "DataPart");
    case "MessagePart":
      return parts("TextPart", "ReasoningPart", "ToolPart", "FilePart", "DataPart");
    case "Content":
      return {
        anyOf: [
          { type: "string", minLength: 1 },
          { type: "array", items: named("InputPart"), minItems: 1, maxItems: 256 },
        ],
      };
    case "Entry":
      return {};
    default: {
      const scalar = scalars[name];
      if (scalar === undefined) throw new Error(`SPEC.md uses a type that it does not define: ${name}`);
      return scalar;
    }
  }
}

export function errorCodes(): string[] {
  return table("code", "retryable", "when").map((row) => code(row[0]!));
}

/** The schema of one type as written: `string ≤ 64`, `[Name] ≤ 256`, `{Role}`, `"text"`, `Role or null`. */
export function typeSchema(written: string): JsonSchemaObject {
  const nullable = /^(.+) or null$/.exec(written);
  if (nullable) return { anyOf: [typeSchema(nullable[1]!), { type: "null" }] };
  const bounded = /^(.+?) (?:(\d+)–(\d+)|≤ (\d+)|≥ (\d+))$/.exec(written);
  if (bounded) {
    const [, type, from = bounded[5], to = bounded[4]] = bounded;
    const schema = { ...typeSchema(type!) };
    const kind = schema["type"];
    const [low, high]: readonly [string, string] =
      kind === "integer"
        ? ["minimum", "maximum"]
        : kind === "array"
          ? ["minItems", "maxItems"]
          : ["minLength", "maxLength"];
    if (from !== undefined) schema[low] = Number(from);
    if (to !== undefined) schema[high] = Number(to);
    return schema;
  }
  const list = /^\[(.+)\]$/.exec(written);
  if (list) return { type: "array", items: typeSchema(list[1]!) };
  const map = /^\{(.+)\}$/.exec(written);
  if (map) return { type: "object", additionalProperties: typeSchema(map[1]!) };
  const literal = /^"(.+)"$/.exec(written);
  if (literal) return { type: "string", const: literal[1] };
  if (/^\d+$/.test(written)) return { type: "number", const: Number(written) };
  return named(written);
}

interface Field {
  readonly name: string;
  readonly optional: boolean;
  readonly schema: JsonSchemaObject;
  /** What stands after `=`. */
  readonly absent: string | undefined;
}

export function fieldList(cell: string): Field[] {
  const inherited = /^the fields of (\w+), /.exec(cell);
  const own = inherited ? cell.slice(inherited[0].length) : cell;
  const fields: Field[] = [];
  // A field ends where the next one, or the cell, begins.
  for (const item of own.split(/, (?=`)/)) {
    if (item === "") continue;
    const match = /^`(\w+)(\??)` (.+?)(?: = (.+))?$/.exec(item);
    if (match === null) throw new Error(`not a field: ${item}`);
    const [, name = "", mark, type = "", absent] = match;
    fields.push({ name, optional: mark === "?", schema: typeSchema(type), absent });
  }
  return inherited ? [...fieldList(shapes.get(inherited[1]!)!.fields), ...fields] : fields;
}

export function objectSchema(cell: string, more: JsonSchemaObject = {}): JsonSchemaObject {
  const fields = fieldList(cell);
  const properties = { ...more, ...Object.fromEntries(fields.map((field) => [field.name, field.schema])) };
  const required = [
    ...Object.keys(more),
    ...fields.filter((field) => !field.optional).map((field) => field.name),
  ];
  return { type: "object", properties, ...(required.length > 0 ? { required } : {}) };
}

/**
 * A schema without what the notation does not say: patterns but that of names, defaults, and key order. Properties and
 * required come sorted.
 */
export function normalized(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(normalized);
  if (typeof schema !== "object" || schema === null) return schema;
  const result: JsonSchemaObject = {};
  for (const [key, value] of Object.entries(schema).toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    if (key === "$schema" || key === "default") continue;
    if (key === "pattern" && value !== SESSION_PATTERN) continue;
    if (key === "propertyNames" && !("maxLength" in (value as object))) continue;
    if (key === "additionalProperties" && "properties" in schema) continue;
    result[key] = key === "required" ? (value as string[]).toSorted() : normalized(value);
  }
  return result;
}
