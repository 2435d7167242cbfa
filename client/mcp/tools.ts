/**
 * MCP's shapes as Haulout's: a tool's name, schemas and hints as a tool definition, a result's content blocks as message
 * parts. Owns that mapping, in which nothing is left out; never speaks to a server.
 */
import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import type { CallToolResult, ContentBlock, Tool } from "@modelcontextprotocol/client";
import type { Effect, JsonSchema, JsonValue } from "../../protocol/content.ts";

const MAX_NAME = 64;

/** `prefix` + the MCP name, in the characters and the length that tool names have here; equal for equal names. */
export function toolNameOf(prefix: string, name: string): string {
  const wanted = `${prefix}${name}`;
  const plain = wanted.replace(/[^A-Za-z0-9_-]/g, "_");
  if (plain === wanted && plain.length <= MAX_NAME) return plain;
  // Two names that differ only in what is replaced or cut must not become one.
  const hash = createHash("sha256")
    .update(wanted)
    .digest("base64url")
    .replace(/[^A-Za-z0-9]/g, "")
    .slice(0, 6);
  return `${plain.slice(0, MAX_NAME - hash.length - 1)}_${hash}`;
}

/** A tool that only reads may run anywhere and again; an unmarked one may have done what it does. */
export function effectOf({ annotations }: Tool): Effect {
  if (annotations?.readOnlyHint === true) return "pure";
  return annotations?.idempotentHint === true ? "idempotent" : "once";
}

/** Whether the server demands a way to call it that this bridge does not have (MCP tasks). */
export function needsTask(tool: Tool): boolean {
  const { execution } = tool as { execution?: { taskSupport?: string } };
  return execution?.taskSupport === "required";
}

export function inputSchemaOf({ inputSchema }: Tool): JsonSchema {
  return inputSchema as JsonSchema;
}

/** Outputs are `{content, structuredContent?}`; what a tool promises of the latter is checked there. */
export function outputSchemaOf({ outputSchema }: Tool): JsonSchema | undefined {
  if (outputSchema === undefined) return undefined;
  const { $schema, ...schema } = outputSchema as Record<string, JsonValue>;
  // References from the root of the tool's schema would not lead to the same place below another one.
  if (JSON.stringify(schema).includes('"$ref"')) return undefined;
  return {
    ...($schema === undefined ? {} : { $schema }),
    type: "object",
    properties: { content: { type: "array" }, structuredContent: schema },
    required: ["content", "structuredContent"],
  };
}

export function descriptionOf({ name, title, description }: Tool): string {
  return description ?? title ?? name;
}

/** What a tool itself calls an error. */
export class ToolError extends Error {}

/** What the model and everybody in the session is given of a result. Throws ToolError. */
export function outputOf(result: CallToolResult): JsonValue {
  if (result.isError === true) {
    throw new ToolError(
      result.content.map(textOf).join("\n").trim() || "the tool says that it failed, and not why",
    );
  }
  const { structuredContent } = result;
  // For readers that know no structured content, servers repeat it as text.
  const blocks =
    structuredContent === undefined
      ? result.content
      : result.content.filter((block) => !repeats(block, structuredContent));
  return {
    content: blocks.map(partOf),
    ...(structuredContent === undefined ? {} : { structuredContent: structuredContent as JsonValue }),
  };
}

function repeats(block: ContentBlock, structured: unknown): boolean {
  if (block.type !== "text") return false;
  try {
    return isDeepStrictEqual(JSON.parse(block.text), structured);
  } catch {
    return false;
  }
}

function textOf(block: ContentBlock): string {
  return block.type === "text" ? block.text : `[${block.type}]`;
}

/** A content block as a message part; what has no part of its own is a `data-mcp` part with the block in it. */
function partOf(block: ContentBlock): JsonValue {
  if (block.type === "text") return { type: "text", text: block.text };
  if (block.type === "image" || block.type === "audio") return file(block.mimeType, block.data);
  if (block.type === "resource" && "blob" in block.resource) {
    const { blob, mimeType, uri } = block.resource;
    return { ...file(mimeType ?? "application/octet-stream", blob), filename: uri.slice(0, 1024) };
  }
  return { type: "data-mcp", data: block as unknown as JsonValue };
}

function file(mediaType: string, base64: string): { type: string; mediaType: string; url: string } {
  return { type: "file", mediaType, url: `data:${mediaType};base64,${base64}` };
}
