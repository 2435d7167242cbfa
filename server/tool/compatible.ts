/**
 * Whether one kind of a tool may stand beside another: it takes every input that the other describes, and answers
 * nothing that the other would not. Owns that comparison and the words for where two differ. Careful, not complete: what
 * it cannot tell counts as a difference.
 */
import type { JsonSchema, JsonValue, ToolSpecification } from "../../protocol/content.ts";
import { cutText } from "../../protocol/values.ts";
import { canonicalSchema } from "./schema.ts";

/** Where two kinds of a tool do not agree. `path`: a JSON pointer into the field; it and values are cut to be shown. */
export interface Difference {
  readonly field: "effect" | "approval" | "inputSchema" | "outputSchema";
  readonly path: string;
  readonly offered: JsonValue;
  readonly present: JsonValue;
}

interface Place {
  readonly path: string;
  readonly wide: JsonValue;
  readonly narrow: JsonValue;
}

/** Characters compared; tens of milliseconds, at worst. */
const MAX_WORK = 4_000_000;
const VISIT = 100;
const MAX_SHOWN = 512;

/** Says nothing about a value. */
const WORDS = new Set([
  "title",
  "description",
  "default",
  "examples",
  "format",
  "deprecated",
  "readOnly",
  "writeOnly",
  "$comment",
]);
const LEAST = new Set(["minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"]);
const MOST = new Set(["maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"]);

/** Where a schema may describe more than stands beside it: taken only where both say the same. */
const HIDING = [
  "allOf",
  "$ref",
  "$dynamicRef",
  "$recursiveRef",
  "if",
  "then",
  "else",
  "dependentSchemas",
  "dependencies",
  "patternProperties",
  "prefixItems",
];
const TYPES = ["null", "boolean", "object", "array", "number", "integer", "string"];

/** undefined: `offered` may stand beside `present`, and take its calls. */
export function findDifference(
  offered: ToolSpecification,
  present: ToolSpecification,
): Difference | undefined {
  if (offered.effect !== present.effect)
    return { field: "effect", path: "", offered: offered.effect, present: present.effect };
  // Neither is the stricter by a glance, and nobody is to be asked less than a provider wants.
  if (!isSame(offered.approval as JsonValue, present.approval as JsonValue)) {
    return {
      field: "approval",
      path: "",
      offered: shown((offered.approval ?? null) as JsonValue),
      present: shown((present.approval ?? null) as JsonValue),
    };
  }
  const input = findRefusal(offered.inputSchema, present.inputSchema);
  if (input !== undefined) {
    const { path, wide, narrow } = input;
    return { field: "inputSchema", path: cut(path), offered: shown(wide), present: shown(narrow) };
  }
  if (present.outputSchema === undefined) return undefined;
  const output = findRefusal(present.outputSchema, offered.outputSchema ?? {});
  if (output === undefined) return undefined;
  return {
    field: "outputSchema",
    path: cut(output.path),
    offered: shown(offered.outputSchema === undefined ? null : output.narrow),
    present: shown(output.wide),
  };
}

/** Whether two describe it alike, but for words and times. */
export function isSameTool(one: ToolSpecification, other: ToolSpecification): boolean {
  return (
    one.effect === other.effect &&
    isSame(one.approval as JsonValue, other.approval as JsonValue) &&
    isSame(one.inputSchema, other.inputSchema) &&
    isSame(one.outputSchema, other.outputSchema)
  );
}

function shown(value: JsonValue): JsonValue {
  const text = JSON.stringify(value);
  return text.length <= MAX_SHOWN ? value : cut(text);
}

function cut(text: string): string {
  return text.length <= MAX_SHOWN ? text : `${cutText(text, MAX_SHOWN)}…`;
}

/** The first place where `wide` may refuse what `narrow` describes. */
function findRefusal(wide: JsonSchema, narrow: JsonSchema): Place | undefined {
  if (canonicalSchema(wide) === canonicalSchema(narrow)) return undefined;
  // What a reference stands for is elsewhere: then only what the whole refers to may be taken as known.
  for (const key of ["$id", "$schema", "$defs", "definitions"]) {
    const refers =
      key === "$schema" || /"\$(?:dynamic|recursive)?[rR]ef"/.test(JSON.stringify([wide, narrow]));
    if (refers && canonicalSchema(wide[key]) !== canonicalSchema(narrow[key]))
      return placed(`/${key}`, wide[key], narrow[key]);
  }
  return new Comparison().refusal(wide, narrow, "");
}

function placed(path: string, wide: JsonValue | undefined, narrow: JsonValue | undefined): Place {
  return { path, wide: wide ?? null, narrow: narrow ?? null };
}

class Comparison {
  #left = MAX_WORK;
  readonly #texts = new WeakMap<object, string>();

  refusal(wide: JsonValue, narrow: JsonValue, path: string): Place | undefined {
    if ((this.#left -= VISIT) < 0) return placed(path, wide, narrow);
    if (wide === true || narrow === false || this.#isSame(wide, narrow)) return undefined;
    if (!isObject(wide)) return placed(path, wide, narrow);
    const other = isObject(narrow) ? narrow : {};
    const hidden = HIDING.find((key) => other[key] !== undefined && !this.#isSame(wide[key], other[key]));
    if (hidden !== undefined) return placed(`${path}/${hidden}`, wide[hidden], other[hidden]);
    for (const key of ["anyOf", "oneOf"]) {
      const { [key]: branches, ...rest } = other;
      if (Array.isArray(branches) && !this.#isSame(wide[key], branches))
        return this.#branches(wide, rest, branches, path);
    }
    for (const [key, value] of Object.entries(wide)) {
      if (WORDS.has(key)) continue;
      const refused = this.#keyword(key, value, wide, other, `${path}/${pointer(key)}`);
      if (refused !== undefined) return refused;
    }
    return undefined;
  }

  /** Each of what it may be must be taken. */
  #branches(
    wide: JsonSchema,
    rest: JsonSchema,
    branches: readonly JsonValue[],
    path: string,
  ): Place | undefined {
    for (const branch of branches) {
      const whole = { ...rest, ...objectOf(branch) };
      const properties = { ...objectOf(rest["properties"]), ...objectOf(objectOf(branch)["properties"]) };
      const refused = this.refusal(wide, branch === false ? false : { ...whole, properties }, path);
      if (refused !== undefined) return refused;
    }
    return undefined;
  }

  #keyword(
    key: string,
    value: JsonValue,
    wide: JsonSchema,
    narrow: JsonSchema,
    path: string,
  ): Place | undefined {
    const other = narrow[key];
    const unless = (holds: boolean): Place | undefined => (holds ? undefined : placed(path, value, other));
    switch (key) {
      case "type":
        return unless(typesOf(narrow).every((type) => takesType([value].flat(), type)));
      case "enum":
      case "const":
        return unless(valuesOf(narrow)?.every((item) => isAmong(item, valuesOf(wide)!)) === true);
      case "required":
        return unless(listOf(value).every((name) => isAmong(name, listOf(other))));
      case "uniqueItems":
        return unless(value !== true || other === true);
      case "properties":
        return this.#properties(objectOf(value), objectOf(narrow["properties"]), path);
      case "additionalProperties": {
        const named = Object.keys(objectOf(narrow["properties"]));
        if (value !== false && named.every((name) => Object.hasOwn(objectOf(wide["properties"]), name)))
          return this.refusal(value, other ?? true, path);
        return unless(
          other === false && named.every((name) => Object.hasOwn(objectOf(wide["properties"]), name)),
        );
      }
      case "items":
        return this.refusal(value, other ?? true, path);
      case "anyOf":
        return unless(
          listOf(value).some((branch) => this.refusal(branch, narrow, path) === undefined) ||
            this.#isSame(value, other),
        );
      default:
        if (LEAST.has(key)) return unless(typeof other === "number" && other >= Number(value));
        if (MOST.has(key)) return unless(typeof other === "number" && other <= Number(value));
        return unless(this.#isSame(value, other));
    }
  }

  /** A property that the other does not describe may be anything: nobody was told of it. */
  #properties(properties: JsonSchema, others: JsonSchema, path: string): Place | undefined {
    for (const [name, schema] of Object.entries(properties)) {
      if (!Object.hasOwn(others, name)) continue;
      const refused = this.refusal(schema, others[name]!, `${path}/${pointer(name)}`);
      if (refused !== undefined) return refused;
    }
    return undefined;
  }

  #isSame(one: JsonValue | undefined, other: JsonValue | undefined): boolean {
    return one === other || this.#textOf(one) === this.#textOf(other);
  }

  #textOf(value: JsonValue | undefined): string {
    if (typeof value !== "object" || value === null) return canonicalSchema(value);
    let text = this.#texts.get(value);
    if (text === undefined) {
      // Beyond what it may cost, nothing is the same.
      text = this.#left < 0 ? `${this.#left--}` : canonicalSchema(value);
      this.#left -= text.length;
      this.#texts.set(value, text);
    }
    return text;
  }
}

function isSame(one: JsonValue | undefined, other: JsonValue | undefined): boolean {
  return canonicalSchema(one) === canonicalSchema(other);
}

function isAmong(value: JsonValue, list: readonly JsonValue[]): boolean {
  return list.some((item) => isSame(item, value));
}

function isObject(value: JsonValue | undefined): value is JsonSchema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function objectOf(value: JsonValue | undefined): JsonSchema {
  return isObject(value) ? value : {};
}

function listOf(value: JsonValue | undefined): readonly JsonValue[] {
  return Array.isArray(value) ? value : [];
}

/** The only values that it may be; undefined when it names none. */
function valuesOf(schema: JsonSchema): readonly JsonValue[] | undefined {
  if (schema["const"] !== undefined) return [schema["const"]];
  return Array.isArray(schema["enum"]) ? schema["enum"] : undefined;
}

function typesOf(schema: JsonSchema): readonly JsonValue[] {
  if (schema["type"] !== undefined) return [schema["type"]].flat();
  return valuesOf(schema)?.map(typeOf) ?? TYPES;
}

function typeOf(value: JsonValue): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}

function takesType(types: readonly JsonValue[], type: JsonValue): boolean {
  return types.includes(type) || (type === "integer" && types.includes("number"));
}

function pointer(name: string): string {
  return name.replaceAll("~", "~0").replaceAll("/", "~1");
}
