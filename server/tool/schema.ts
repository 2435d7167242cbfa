/**
 * JSON Schema checks of tool inputs and outputs: a maintained validator with regular expressions that run in linear time.
 * Owns the bounds of a schema and the cache of compiled ones; never decides what a failed check means.
 */
import { Ajv, type ErrorObject } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { JsonSchema, JsonValue } from "../../protocol/content.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import { measure } from "../../protocol/values.ts";
import { linearRegExp } from "./pattern.ts";
import { watched, Work } from "./work.ts";

export const MAX_SCHEMA_BYTES = 128 * 1024;
export const MAX_SCHEMA_DEPTH = 24;
/** Values in it; a subschema takes some, and half a millisecond to compile. */
export const MAX_SCHEMA_ITEMS = 4000;
const MAX_CACHED = 1000;

/** undefined: the value fits. Else what is wrong, for the model to read. */
export type SchemaCheck = (value: JsonValue) => string | undefined;

const UNCHECKED = "the schema could not be checked: ";

/** Whether a value fits a schema; also when that could not be found out. */
export function mayFit(schema: JsonSchema, value: JsonValue): boolean {
  const fault = compileSchema(schema)(value);
  return fault === undefined || fault.startsWith(UNCHECKED);
}

const compiled = new Map<string, SchemaCheck>();

/** A schema as text that is equal for equal schemas, whatever the order of their keys. */
export function canonicalSchema(schema: JsonValue | undefined): string {
  if (schema === undefined) return "";
  if (Array.isArray(schema)) return `[${schema.map(canonicalSchema).join()}]`;
  if (typeof schema === "object" && schema !== null) {
    const fields = Object.keys(schema).sort();
    return `{${fields.map((key) => `${JSON.stringify(key)}:${canonicalSchema(schema[key])}`).join()}}`;
  }
  return JSON.stringify(schema);
}

/** Compiles a schema, once for all equal ones. Throws ProtocolError `bad-frame` for one that cannot be checked. */
export function compileSchema(schema: JsonSchema): SchemaCheck {
  const size = measure(schema);
  if (size.bytes > MAX_SCHEMA_BYTES || size.depth > MAX_SCHEMA_DEPTH || size.items > MAX_SCHEMA_ITEMS) {
    throw new ProtocolError("too-large", "a tool's schema is over the limit", {
      details: {
        ...size,
        maxBytes: MAX_SCHEMA_BYTES,
        maxDepth: MAX_SCHEMA_DEPTH,
        maxItems: MAX_SCHEMA_ITEMS,
      },
    });
  }
  const key = canonicalSchema(schema);
  let check = compiled.get(key);
  if (check === undefined) {
    check = compile(schema);
    if (compiled.size >= MAX_CACHED) compiled.delete(compiled.keys().next().value!);
    compiled.set(key, check);
  }
  return check;
}

const OPTIONS = {
  strict: false,
  validateFormats: false,
  logger: false,
  // A key that a value inherits, such as toString, is not one that it has.
  ownProperties: true,
  // Generated once and for a provider's own tools: not worth three times the time.
  code: { optimize: false },
} as const;
/** Judge schemas themselves, by their draft; compiled once, for that takes longer than most schemas do. */
const judges = new Map<typeof Ajv, Ajv>();

function judgeOf(Validator: typeof Ajv): Ajv {
  let judge = judges.get(Validator);
  if (judge === undefined) judges.set(Validator, (judge = new Validator(OPTIONS)));
  return judge;
}

function compile(schema: JsonSchema): SchemaCheck {
  const older = typeof schema["$schema"] === "string" && /draft-0[4-7]/.test(schema["$schema"]);
  const Validator = older ? Ajv : Ajv2020;
  try {
    const judge = judgeOf(Validator);
    if (judge.validateSchema(schema) !== true) throw new Error(describe(judge.errors ?? []));
    // One instance a schema: ids of one provider's schemas must not meet another's.
    const work = new Work();
    const ajv = new Validator({
      ...OPTIONS,
      meta: false,
      validateSchema: false,
      code: { ...OPTIONS.code, regExp: linearRegExp(work) },
    });
    work.watch(ajv, canonicalSchema);
    const validate = ajv.compile(watched(schema));
    return (value) => {
      work.reset();
      try {
        return validate(value) ? undefined : describe(validate.errors ?? []);
      } catch (error) {
        return UNCHECKED + (error as Error).message;
      }
    };
  } catch (error) {
    throw new ProtocolError("bad-frame", `a schema that cannot be checked: ${(error as Error).message}`);
  }
}

function describe(errors: readonly ErrorObject[]): string {
  return errors
    .slice(0, 5)
    .map((error) => `${error.instancePath || "the value"} ${error.message ?? "is not valid"}`)
    .join("; ");
}
