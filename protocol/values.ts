/**
 * Payload values: the bounds that content, input, output, metadata and answers keep, and the way of anything that a
 * model or an in-process tool made into a JSON value that fits the wire. Owns no schema.
 */
import type { JsonValue } from "./content.ts";
import { ProtocolError } from "./errors.ts";
import { MAX_PAYLOAD_BYTES, MAX_PAYLOAD_DEPTH, MAX_PAYLOAD_ITEMS } from "./version.ts";

/**
 * Bytes, depth and count of a JSON value. The bytes are at least those of its MessagePack and those of its JSON, so that
 * what fits one reader's frame fits every other's.
 */
export function measure(value: unknown): { bytes: number; depth: number; items: number } {
  let bytes = 0;
  let deepest = 0;
  let items = 0;
  const stack: unknown[] = [value];
  const depths: number[] = [0];
  while (stack.length > 0) {
    const item = stack.pop();
    const depth = depths.pop()!;
    items++;
    if (typeof item === "string") bytes += textBytes(item);
    else if (typeof item === "number") bytes += Math.abs(item) < 1e7 && Number.isInteger(item) ? 9 : 25;
    else if (typeof item === "object" && item !== null) {
      deepest = Math.max(deepest, depth + 1);
      bytes += 5;
      const values = Array.isArray(item) ? item : Object.values(item);
      if (!Array.isArray(item)) for (const key of Object.keys(item)) bytes += textBytes(key);
      for (const inner of values) {
        stack.push(inner);
        depths.push(depth + 1);
      }
    } else bytes += 6;
  }
  return { bytes, depth: deepest, items };
}

function textBytes(text: string): number {
  let bytes = 5;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20) bytes += code === 0x0a || code === 0x0d || code === 0x09 ? 2 : 6;
    else if (code < 0x80) bytes += code === 0x22 || code === 0x5c ? 2 : 1;
    // Either half of a surrogate pair counts two of its four bytes.
    else bytes += code < 0x800 || (code >= 0xd800 && code < 0xe000) ? 2 : 3;
  }
  return bytes;
}

/** Throws ProtocolError `too-large` when a payload value is over the wire's bounds. */
export function checkPayload(name: string, value: unknown): void {
  if (value === undefined) return;
  const { bytes, depth, items } = measure(value);
  const over =
    bytes > MAX_PAYLOAD_BYTES
      ? { bytes, limit: MAX_PAYLOAD_BYTES }
      : depth > MAX_PAYLOAD_DEPTH
        ? { depth, limit: MAX_PAYLOAD_DEPTH }
        : items > MAX_PAYLOAD_ITEMS
          ? { items, limit: MAX_PAYLOAD_ITEMS }
          : undefined;
  if (over)
    throw new ProtocolError("too-large", `${name} is over the limit of a payload`, {
      details: { field: name, ...over },
    });
}

/**
 * Anything as a JSON value, by the rules of JSON.stringify, with text made well formed and `__proto__` keys left out.
 * Throws TypeError for what JSON cannot hold (cycles, BigInt). `undefined` becomes null.
 */
export function toJsonValue(value: unknown): JsonValue {
  const text = JSON.stringify(value, (key, item: unknown) =>
    key === "__proto__" ? undefined : typeof item === "string" ? item.toWellFormed() : item,
  ) as string | undefined;
  if (text === undefined) return null;
  const plain = JSON.parse(text, function (this: unknown, key: string, item: unknown) {
    if (!key.isWellFormed()) {
      (this as Record<string, unknown>)[key.toWellFormed()] = item;
      return undefined;
    }
    return item;
  }) as JsonValue;
  return plain;
}

/** The longest prefix of at most `units` UTF-16 units that does not end inside a surrogate pair. */
export function cutText(text: string, units: number): string {
  if (text.length <= units) return text;
  const last = text.charCodeAt(units - 1);
  return text.slice(0, last >= 0xd800 && last < 0xdc00 ? units - 1 : units);
}
