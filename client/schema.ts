/**
 * Schemas that an application passes: a JSON Schema as it is, or any Standard Schema (zod 4.2 and newer, valibot,
 * arktype, …) that can describe itself as one. Owns the conversion and the check of a value; imports no schema library.
 */
import type { JsonSchema, JsonValue } from "../protocol/content.ts";
import { toJsonValue } from "../protocol/values.ts";

type Checked<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | {
      readonly issues: readonly {
        readonly message: string;
        readonly path?: readonly unknown[] | undefined;
      }[];
    };

/** The parts of https://standardschema.dev that are used here. */
export interface StandardSchema<Output = unknown> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined;
    validate(value: unknown): Checked<Output> | Promise<Checked<Output>>;
    readonly jsonSchema?: {
      input(options: { target: string }): object;
      output(options: { target: string }): object;
    };
  };
}

export type Schema = StandardSchema | JsonSchema;
/** What `execute` is given: the schema's output type, or plain JSON for a JSON Schema. */
export type InputOf<S> = S extends StandardSchema<infer Output> ? Output : { [key: string]: JsonValue };

function isStandard(schema: Schema): schema is StandardSchema {
  return typeof schema["~standard"] === "object";
}

/** Throws TypeError for a schema that cannot be written as JSON Schema. */
export function toJsonSchema(schema: Schema, side: "input" | "output"): JsonSchema {
  if (!isStandard(schema)) return toJsonValue(schema) as JsonSchema;
  const { jsonSchema, vendor } = schema["~standard"];
  if (jsonSchema === undefined) {
    throw new TypeError(
      `this ${vendor} schema cannot describe itself: pass a JSON Schema, or use zod 4.2 or newer`,
    );
  }
  return toJsonValue(jsonSchema[side]({ target: "draft-2020-12" })) as JsonSchema;
}

/** The value as its schema reads it; a JSON Schema is checked by the server alone. Throws Error with code `code`. */
export async function checked(schema: Schema | undefined, value: unknown, code: string): Promise<unknown> {
  if (schema === undefined || !isStandard(schema)) return value;
  const result = await schema["~standard"].validate(value);
  if (result.issues === undefined) return result.value;
  const first = result.issues
    .slice(0, 5)
    .map((issue) =>
      issue.path?.length ? `${issue.path.map(step).join(".")}: ${issue.message}` : issue.message,
    );
  throw Object.assign(new Error(first.join("; ")), { code });
}

function step(segment: unknown): string {
  return String(typeof segment === "object" && segment !== null && "key" in segment ? segment.key : segment);
}
