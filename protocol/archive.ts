/**
 * The files that leave a server: a backup of all sessions, and the export of one. Owns their forms and versions; reads and
 * writes no file. A backup is `records`, whole frames each with its checksum, and `manifest.json`, written last: without
 * it a backup is not one. An export is lines of JSON: a header, then the log's `event` frames. Never used by browsers.
 */
import { crc32 } from "node:zlib";
import { z } from "zod";
import { decodeTrusted, encodeFrame } from "./codec.ts";
import { id, milliseconds, sessionId } from "./content.ts";
import { backedUp, tally, type BackedUp, type Tally } from "./lists.ts";

export const BACKUP_VERSION = 1;
export const EXPORT_VERSION = 1;
export const RECORDS_FILE = "records";
export const MANIFEST_FILE = "manifest.json";

const count = z.int().min(0);
/** `bytes` and `sha256` are those of the records. */
export const manifest = z.object({
  format: z.literal("haulout-backup"),
  version: z.literal(BACKUP_VERSION),
  createdAt: milliseconds,
  sessions: count,
  entries: count,
  deleted: count,
  damaged: z.array(sessionId),
  bytes: count,
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});
export type Manifest = z.infer<typeof manifest>;

export const exportHeader = z.object({
  format: z.literal("haulout-session"),
  version: z.literal(EXPORT_VERSION),
  session: id,
  /** How many lines follow. */
  entries: z.int().min(1),
  exportedAt: milliseconds,
});
export type ExportHeader = z.infer<typeof exportHeader>;

/**
 * What a file says of its form: the parsed header or manifest. Throws Error with what to tell a person, a newer version
 * included.
 */
export function readHeader<T extends { format: string; version: number }>(
  schema: z.ZodType<T>,
  what: { readonly format: T["format"]; readonly version: number; readonly name: string },
  text: string,
): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new Error(`${what.name} is not JSON`, { cause });
  }
  const { format, version } = (value ?? {}) as { format?: unknown; version?: unknown };
  if (format !== what.format) throw new Error(`${what.name} is not of the format ${what.format}`);
  if (typeof version === "number" && version > what.version)
    throw new Error(
      `${what.name} has version ${version}; this one knows up to ${what.version}: use a newer one`,
    );
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new Error(`${what.name}: ${issue?.path.join(".")}: ${issue?.message}`);
}

const Kind = { entry: 1, end: 2, tally: 3 } as const;
const HEADER = 9;
/** A frame and then some: what says more is damaged. */
const MAX_RECORD = 2 * 1024 * 1024;

/** An entry's frame, as bytes; that a session is complete or was deleted; or, after all sessions, what a user used. */
export type ArchiveRecord =
  | { readonly entry: Uint8Array }
  | { readonly end: BackedUp }
  | { readonly tally: Tally };

/** length(u32) of the body, CRC32(u32) over kind and body, kind(u8), body; integers big-endian. */
export function encodeRecord(record: ArchiveRecord): Uint8Array {
  const [kind, body] =
    "entry" in record
      ? [Kind.entry, record.entry]
      : "end" in record
        ? [Kind.end, encodeFrame(record.end)]
        : [Kind.tally, encodeFrame(record.tally)];
  const bytes = new Uint8Array(HEADER + body.byteLength);
  const view = new DataView(bytes.buffer);
  bytes[8] = kind;
  bytes.set(body, HEADER);
  view.setUint32(0, body.byteLength);
  view.setUint32(4, crc32(bytes.subarray(8)));
  return bytes;
}

/** Records out of a stream of bytes, wherever its pieces were cut. Throws Error naming the byte at which one is damaged. */
export async function* readRecords(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<ArchiveRecord, void> {
  let rest: Uint8Array = new Uint8Array(0);
  let at = 0;
  const damaged = (why: string): Error => new Error(`the record at byte ${at} ${why}`);
  for await (const piece of pieces) {
    rest = rest.length === 0 ? piece : joined(rest, piece);
    for (;;) {
      if (rest.length < HEADER) break;
      const view = new DataView(rest.buffer, rest.byteOffset, rest.byteLength);
      const length = view.getUint32(0);
      if (length > MAX_RECORD) throw damaged("is damaged");
      const end = HEADER + length;
      if (rest.length < end) break;
      if (crc32(rest.subarray(8, end)) !== view.getUint32(4)) throw damaged("fails its checksum");
      const body = rest.subarray(HEADER, end);
      if (rest[8] === Kind.entry) yield { entry: body };
      else if (rest[8] === Kind.end) yield { end: backedUp.parse(decodeTrusted(body)) };
      else if (rest[8] === Kind.tally) yield { tally: tally.parse(decodeTrusted(body)) };
      else throw damaged(`is of an unknown kind`);
      rest = rest.subarray(end);
      at += end;
    }
  }
  if (rest.length > 0) throw damaged("is cut short");
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
