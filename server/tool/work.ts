/**
 * Work: what one check of one value may cost, whoever wrote the schema. Owns the budget and the two places where it is
 * spent that the validator does not know: each visit of a subschema, and each comparison of an array's items.
 */
import { _ } from "ajv";
import type { Ajv } from "ajv";
import type { JsonSchema, JsonValue } from "../../protocol/content.ts";

/** Units of a check: steps of a regular expression. About a second, at worst. */
const MAX_WORK = 10_000_000;
/** Units of a visit. */
const VISIT = 10;
/** Put into every subschema, so that the validator tells of its visits. */
const KEYWORD = "x-haulout-visit";

/** Objects of a schema whose values are schemas, not they themselves. */
const MAPS = new Set([
  "properties",
  "patternProperties",
  "$defs",
  "definitions",
  "dependentSchemas",
  "dependencies",
  "dependentRequired",
]);
/** What is data in a schema. */
const DATA = new Set(["const", "enum", "default", "examples"]);

export class Work {
  #left = MAX_WORK;

  /** A new check begins. */
  reset(): void {
    this.#left = MAX_WORK;
  }

  spend(units: number): void {
    this.#left -= units;
    if (this.#left < 0) throw new Error("this value takes too much work to check");
  }

  /** Makes the validator spend it. `textOf`: equal for equal values. */
  watch(ajv: Ajv, textOf: (value: JsonValue) => string): void {
    const visit = (): void => this.spend(VISIT);
    const isUnique = (items: JsonValue[]): boolean => new Set(items.map(textOf)).size === items.length;
    ajv.addKeyword({
      keyword: KEYWORD,
      code: ({ gen }) => void gen.code(_`${gen.scopeValue("func", { ref: visit })}()`),
    });
    // The validator's own compares each item with each other.
    ajv.removeKeyword("uniqueItems");
    ajv.addKeyword({
      keyword: "uniqueItems",
      type: "array",
      schemaType: "boolean",
      error: { message: "must NOT have duplicate items" },
      code(context) {
        if (context.schema !== true) return;
        context.pass(_`${context.gen.scopeValue("func", { ref: isUnique })}(${context.data})`);
      },
    });
  }
}

/** The schema with the keyword that tells of visits in every place that may be one. */
export function watched(schema: JsonSchema): JsonSchema {
  return within(schema, false) as JsonSchema;
}

function within(value: JsonValue, isMap: boolean): JsonValue {
  if (Array.isArray(value)) return value.map((item) => within(item, false));
  if (typeof value !== "object" || value === null) return value;
  const made: Record<string, JsonValue> = {};
  for (const [key, item] of Object.entries(value)) {
    made[key] = DATA.has(key) && !isMap ? item : within(item, MAPS.has(key) && !isMap);
  }
  if (!isMap) made[KEYWORD] = true;
  return made;
}
