/**
 * The files in a tool's output: an output that is a part, a list of parts, or an object whose `content` is one, as MCP
 * has it. Owns what of it a model is shown as a file and what as text; which models take files, their adapters know.
 */
import { filePart } from "../../protocol/content.ts";
import type { JsonValue } from "../../protocol/content.ts";
import type { ResultPart } from "../model/model.ts";

/** undefined: an output without a file, which is shown as the value that it is. */
export function outputParts(output: JsonValue): ResultPart[] | undefined {
  if (Array.isArray(output)) return partsOf(output);
  if (!isObject(output)) return undefined;
  const { content, ...rest } = output;
  if (!Array.isArray(content)) return partsOf([output]);
  const parts = partsOf(content);
  if (parts !== undefined && Object.keys(rest).length > 0) parts.push(asText(rest));
  return parts;
}

function partsOf(items: readonly JsonValue[]): ResultPart[] | undefined {
  if (!items.every((item) => isObject(item) && typeof item["type"] === "string")) return undefined;
  const parts = items.map((item) => partOf(item as Record<string, JsonValue>));
  return parts.some(({ type }) => type === "file") ? parts : undefined;
}

function partOf(item: Record<string, JsonValue>): ResultPart {
  if (item["type"] === "text" && typeof item["text"] === "string")
    return { type: "text", text: item["text"] };
  const { success, data } = filePart.safeParse(item);
  if (!success) return asText(item);
  const { type, mediaType, url, filename } = data;
  return { type, mediaType, url, ...(filename === undefined ? {} : { filename }) };
}

function asText(value: JsonValue): ResultPart {
  return { type: "text", text: JSON.stringify(value) };
}

function isObject(value: JsonValue): value is Record<string, JsonValue> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
