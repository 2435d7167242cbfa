/**
 * The codec of both subprotocols: frames to bytes or text and back. Owns the MessagePack options and the way a WebSocket
 * message is cut into frames; every inbound frame is scanned before it is decoded. Never validates shapes (frames.ts)
 * and never imports zod, so browsers can use it.
 */
import { Packr, Unpackr } from "msgpackr";
import { ProtocolError } from "./errors.ts";
import { checkJsonValue, scanJson, scanMsgpack } from "./scan.ts";

// Records and structured clones are extension types: no other language reads them, and they need per-connection state.
const OPTIONS = {
  useRecords: false,
  variableMapSize: true,
  structuredClone: false,
  encodeUndefinedAsNil: true,
  int64AsType: "number",
  // A payload may have a key `toJSON`; it is no method.
  useToJSON: false,
} as const;
const packr = new Packr(OPTIONS);
const unpackr = new Unpackr(OPTIONS);

/** One frame as a MessagePack map. The frame holds JSON values only (see toJsonValue). */
export function encodeFrame(frame: object): Uint8Array {
  return packr.pack(frame);
}

/** One frame as a line of JSON, without the line's end. */
export function encodeJsonFrame(frame: object): string {
  return JSON.stringify(frame);
}

/** A trusted MessagePack frame (one that this codec encoded) as a value. */
export function decodeTrusted(bytes: Uint8Array): unknown {
  return unpackr.unpack(bytes);
}

/** The JSON line of a trusted MessagePack frame. */
export function transcodeToJson(bytes: Uint8Array): string {
  return JSON.stringify(unpackr.unpack(bytes));
}

/**
 * The frames of one binary WebSocket message: MessagePack maps back to back.
 * Throws ProtocolError `bad-frame` at the first one that the scan refuses; those before it have been yielded, those
 * after it cannot be found any more.
 */
export function* decodeBinary(bytes: Uint8Array): Generator<Record<string, unknown>, void> {
  if (bytes.length === 0) throw new ProtocolError("bad-frame", "an empty message");
  for (let at = 0; at < bytes.length;) {
    const end = scanMsgpack(bytes, at);
    yield unpackr.unpack(bytes.subarray(at, end)) as Record<string, unknown>;
    at = end;
  }
}

/**
 * The frames of one text WebSocket message: JSON objects, one a line; blank lines are passed over.
 * Throws ProtocolError `bad-frame` at the first line that is none.
 */
export function* decodeText(text: string): Generator<Record<string, unknown>, void> {
  let empty = true;
  // Line by line, for a message of a million newlines must not become a million strings.
  for (let at = 0; at < text.length;) {
    const newline = text.indexOf("\n", at);
    const end = newline < 0 ? text.length : newline;
    if (!isBlank(text, at, end)) {
      empty = false;
      yield decodeJsonLine(text.slice(at, end));
    }
    at = end + 1;
  }
  if (empty) throw new ProtocolError("bad-frame", "an empty message");
}

function isBlank(text: string, from: number, to: number): boolean {
  for (let at = from; at < to; at++) {
    const code = text.charCodeAt(at);
    if (code !== 0x20 && code !== 0x09 && code !== 0x0d) return false;
  }
  return true;
}

function decodeJsonLine(line: string): Record<string, unknown> {
  scanJson(line);
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new ProtocolError("bad-frame", "a line that is not JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ProtocolError("bad-frame", "a frame is a map");
  }
  checkJsonValue(value);
  return value as Record<string, unknown>;
}

/** One encoding of one frame, shared by every reader: the MessagePack bytes, and the JSON line made when first asked for. */
export class EncodedFrame {
  readonly bytes: Uint8Array;
  /** The channel of a part, a delta or another frame that a reader who lags may go without. */
  readonly channel: number | undefined;
  /** How many frames it is. */
  readonly count: number = 1;
  #line: string | undefined;

  constructor(bytes: Uint8Array, channel?: number) {
    this.bytes = bytes;
    this.channel = channel;
  }

  get line(): string {
    return (this.#line ??= this.transcode());
  }

  protected transcode(): string {
    return transcodeToJson(this.bytes);
  }
}
