/**
 * The scan: walks the bytes (or text) of a frame before anything decodes them, and refuses what the wire forbids:
 * binary and extension types, deep nesting, too many values, keys that are no string or `__proto__`, integers beyond
 * ±(2^53 − 1), numbers that are not finite, text that is not well formed. Owns those rules; never builds a value.
 */
import { ProtocolError } from "./errors.ts";
import { MAX_FRAME_DEPTH, MAX_FRAME_ITEMS } from "./version.ts";

function refuse(detail: string): never {
  throw new ProtocolError("bad-frame", detail);
}

const PROTO = [0x5f, 0x5f, 0x70, 0x72, 0x6f, 0x74, 0x6f, 0x5f, 0x5f];

/**
 * Checks one MessagePack map that begins at `start`; returns where it ends.
 * Throws ProtocolError `bad-frame`. Linear in the bytes, no allocation beyond one small stack.
 */
export function scanMsgpack(bytes: Uint8Array, start = 0): number {
  const end = bytes.length;
  const view = new DataView(bytes.buffer, bytes.byteOffset, end);
  // For each open container: values left to read, and whether it is a map waiting for a key.
  const left = new Uint32Array(MAX_FRAME_DEPTH + 1);
  const isMap = new Uint8Array(MAX_FRAME_DEPTH + 1);
  let depth = 0;
  let items = 0;
  let at = start;
  let wantKey = false;

  const need = (count: number): void => {
    if (at + count > end) refuse("truncated frame");
  };
  const open = (count: number, map: boolean): void => {
    if (depth >= MAX_FRAME_DEPTH) refuse(`nested deeper than ${MAX_FRAME_DEPTH}`);
    if (count > MAX_FRAME_ITEMS) refuse(`more than ${MAX_FRAME_ITEMS} values`);
    depth++;
    left[depth] = map ? count * 2 : count;
    isMap[depth] = map ? 1 : 0;
  };
  const text = (length: number): void => {
    need(length);
    if (wantKey && length === 9 && PROTO.every((byte, i) => bytes[at + i] === byte)) refuse("key __proto__");
    checkUtf8(bytes, at, at + length);
    at += length;
  };

  do {
    need(1);
    const byte = bytes[at++]!;
    wantKey = depth > 0 && isMap[depth] === 1 && left[depth]! % 2 === 0;
    if (depth > 0) left[depth] = left[depth]! - 1;
    else if (!((byte & 0xf0) === 0x80 || byte === 0xde || byte === 0xdf)) refuse("a frame is a map");
    if (wantKey) {
      if (!((byte & 0xe0) === 0xa0 || (byte >= 0xd9 && byte <= 0xdb))) refuse("a key that is no string");
    } else if (++items > MAX_FRAME_ITEMS) refuse(`more than ${MAX_FRAME_ITEMS} values`);

    if (byte <= 0x7f || byte >= 0xe0) {
      // small integer
    } else if (byte <= 0x8f) open(byte & 0x0f, true);
    else if (byte <= 0x9f) open(byte & 0x0f, false);
    else if (byte <= 0xbf) text(byte & 0x1f);
    else {
      switch (byte) {
        case 0xc0:
        case 0xc2:
        case 0xc3:
          break;
        case 0xca:
          need(4);
          if (!Number.isFinite(view.getFloat32(at))) refuse("a number that is not finite");
          at += 4;
          break;
        case 0xcb:
          need(8);
          if (!Number.isFinite(view.getFloat64(at))) refuse("a number that is not finite");
          at += 8;
          break;
        case 0xcc:
        case 0xd0:
          need(1);
          at += 1;
          break;
        case 0xcd:
        case 0xd1:
          need(2);
          at += 2;
          break;
        case 0xce:
        case 0xd2:
          need(4);
          at += 4;
          break;
        case 0xcf:
        case 0xd3: {
          need(8);
          const high = byte === 0xcf ? view.getUint32(at) : view.getInt32(at);
          const value = high * 0x1_0000_0000 + view.getUint32(at + 4);
          // 2^53 itself is refused with its neighbours: the sum above cannot tell it from 2^53 + 1.
          if (value > Number.MAX_SAFE_INTEGER || value < Number.MIN_SAFE_INTEGER)
            refuse("an integer beyond 2^53");
          at += 8;
          break;
        }
        case 0xd9: {
          need(1);
          const length = bytes[at++]!;
          text(length);
          break;
        }
        case 0xda: {
          need(2);
          const length = view.getUint16(at);
          at += 2;
          text(length);
          break;
        }
        case 0xdb: {
          need(4);
          const length = view.getUint32(at);
          at += 4;
          text(length);
          break;
        }
        case 0xdc:
        case 0xde: {
          need(2);
          const count = view.getUint16(at);
          at += 2;
          open(count, byte === 0xde);
          break;
        }
        case 0xdd:
        case 0xdf: {
          need(4);
          const count = view.getUint32(at);
          at += 4;
          open(count, byte === 0xdf);
          break;
        }
        default:
          refuse(`byte 0x${byte.toString(16)}: no JSON value`);
      }
    }
    while (depth > 0 && left[depth] === 0) depth--;
  } while (depth > 0);
  return at;
}

function checkUtf8(bytes: Uint8Array, from: number, to: number): void {
  let at = from;
  while (at < to) {
    const lead = bytes[at]!;
    if (lead < 0x80) {
      at++;
      continue;
    }
    const length =
      lead >= 0xc2 && lead < 0xe0 ? 2 : lead >= 0xe0 && lead < 0xf0 ? 3 : lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
    if (length === 0 || at + length > to) refuse("text that is not well-formed UTF-8");
    const second = bytes[at + 1]!;
    const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
    const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
    if (second < low || second > high) refuse("text that is not well-formed UTF-8");
    for (let i = 2; i < length; i++) {
      if ((bytes[at + i]! & 0xc0) !== 0x80) refuse("text that is not well-formed UTF-8");
    }
    at += length;
  }
}

/**
 * The same bounds on the text of one JSON frame, before JSON.parse: depth, values, numbers. An integer is refused when a
 * double would change it (2^53 + 1); one that a double spells just so passes, for that is how JSON writes large doubles.
 */
export function scanJson(text: string): void {
  let depth = 0;
  // The frame itself; then one value for each comma and for the first thing in each container.
  let items = 1;
  let fresh = false;
  const count = (): void => {
    if (++items > MAX_FRAME_ITEMS) refuse(`more than ${MAX_FRAME_ITEMS} values`);
  };
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x20 || code === 0x09 || code === 0x0d) continue;
    const closes = code === 0x5d || code === 0x7d;
    if (fresh && !closes) count();
    fresh = false;
    if (code === 0x22) {
      at = endOfString(text, at);
    } else if (code === 0x5b || code === 0x7b) {
      if (++depth > MAX_FRAME_DEPTH) refuse(`nested deeper than ${MAX_FRAME_DEPTH}`);
      fresh = true;
    } else if (closes) {
      depth--;
    } else if (code === 0x2c) {
      count();
    } else if (code === 0x2d || (code >= 0x30 && code <= 0x39)) {
      const from = at;
      while (at + 1 < text.length && isNumberCharacter(text.charCodeAt(at + 1))) at++;
      checkNumber(text.slice(from, at + 1));
    }
  }
}

function checkNumber(token: string): void {
  const value = Number(token);
  if (!Number.isFinite(value)) refuse("a number that is not finite");
  if (!Number.isSafeInteger(value) && String(value) !== token && /^-?\d+$/.test(token)) {
    refuse("an integer beyond 2^53");
  }
}

function endOfString(text: string, from: number): number {
  let at = from + 1;
  for (;;) {
    const quote = text.indexOf('"', at);
    if (quote < 0) refuse("truncated frame");
    let slashes = 0;
    while (text.charCodeAt(quote - 1 - slashes) === 0x5c) slashes++;
    if (slashes % 2 === 0) return quote;
    at = quote + 1;
  }
}

function isNumberCharacter(code: number): boolean {
  return (
    (code >= 0x30 && code <= 0x39) ||
    code === 0x2b ||
    code === 0x2d ||
    code === 0x2e ||
    code === 0x65 ||
    code === 0x45
  );
}

/** What only the parsed value shows: keys named `__proto__`, and text with lone surrogates. */
export function checkJsonValue(value: unknown): void {
  const stack: unknown[] = [value];
  while (stack.length > 0) {
    const item = stack.pop();
    if (typeof item === "string") {
      if (!item.isWellFormed()) refuse("text with a lone surrogate");
    } else if (Array.isArray(item)) {
      for (const element of item) stack.push(element);
    } else if (typeof item === "object" && item !== null) {
      for (const key of Object.keys(item)) {
        if (key === "__proto__") refuse("key __proto__");
        if (!key.isWellFormed()) refuse("text with a lone surrogate");
        stack.push((item as Record<string, unknown>)[key]);
      }
    }
  }
}
