/**
 * What the embedded store keeps on disk: the form of every key and every value. Owns their encoding, their checksums
 * and the format number; changing any byte of it means a new number and a migration. Never touches a file.
 */
import { hash } from "node:crypto";
import { crc32 } from "node:zlib";
import { MAX_UINT48 } from "./check.ts";
import { StoreDamagedError, type IndexRow } from "./store.ts";

/**
 * Keys are bytes, integers big-endian. A session id is 1 to 64 of A-Z a-z 0-9 _ -, so that 0x00 ends it and all rows of
 * a session in one kind lie between `kind id 00` and `kind id 01`.
 *
 *   kind  key after it                                  body of the value
 *   00    "format"                                      format number u32
 *   00    00 "restoring"                                none: a restore is under way, there is no "format" yet
 *   01    id 00 seq(u48)                                epoch(u48), the entry's bytes
 *   02    id 00                                         01 head(u48) index-row | 02 deleted at, ms(u48)
 *   03    00 or (01 hash(reader)), ~updatedAt(u48), id  index-row
 *   04    id 00                                         none: the session's index says open
 *   05    id 00 hash(JSON [user, key])                  seq(u48)
 *   06    id 00                                         the snapshot: seq(u48), body
 *   07    id 00                                         the checkpoint
 *   08    id 00                                         none: deleted, its rows in 01 and 05 not yet all purged
 *   09    00 or (01 hash(reader)), id                   none: in that session requests are open
 *   0a    id 00                                         those requests, opaque
 *   0b    JSON user 00                                  what the user has used in all: JSON of a usage
 *   0b    JSON user 00 day, ms(u48)                     the same of one UTC day
 *   0c    hash(owner), id                               none: a session of that user
 *   0d    id 00 hash(user)                              how far the user has read: seq(u48), messages(u48)
 *   0e    name 00                                       an agent that was put at run time, opaque
 *   0f    block(u32), term                              the documents of the block that have the term
 *   10    00 or (01 hash(reader)), block(u32)           the documents of the block that are the reader's to find
 *   11    id 00 seq(u48)                                of a text that is found: document(u48), its terms, spaces between
 *   12    document(u48)                                 where it stands: seq(u48), id
 *   13    id 00                                         indexed up to seq(u48), the title's seq(u48), JSON of the readers
 *   14    id 00                                         seq(u48): up to there at least the log is to be indexed
 *   00    00 "documents"                                next document(u48), terms in its block(u48), writes so far(u48)
 *   00    00 "marked"                                   the id up to which 14 was written for logs of before; none: all
 *
 * Documents are numbered in the order in which they were indexed, and 4096 numbers are a block; a set of them is a bit for
 * each (512 bytes), or less than 256 of their offsets(u16).
 * hash: the first 16 bytes of SHA-256. ~: inverted, so that the newest sorts first. 03 00 lists every session.
 * index-row: flags(u8; 1: open, 2: has an owner), updatedAt(u48), number of readers(u16), each reader's length(u16) and
 * UTF-8, the owner's in the same way, then info.
 * head in 02: the head when the row was written, a lower bound of the head now.
 * Value: version(u8, 1), CRC32(u32) over the body and then the key, body. The key is in the checksum so that a value
 * which turns up in another row's place is damage, too; a missing or a doubled entry therefore fails its successor.
 */
export const FORMAT = 1;

export const Kind = {
  store: 0,
  entry: 1,
  session: 2,
  list: 3,
  open: 4,
  key: 5,
  snapshot: 6,
  checkpoint: 7,
  purge: 8,
  asked: 9,
  requests: 10,
  tally: 11,
  owned: 12,
  mark: 13,
  agent: 14,
  term: 15,
  found: 16,
  text: 17,
  document: 18,
  indexed: 19,
  unindexed: 20,
} as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

const VERSION = 1;
const HEADER = 5;
const HASH = 16;
const ENTRY_HEADER = HEADER + 6;
const OPEN = 1;
const OWNED = 2;
const LIVE = 1;
const DELETED = 2;

export const FORMAT_KEY = Buffer.from("\0format", "latin1");
/** Stands instead of the format's row, and before all others, while a directory is being made of a backup. */
export const RESTORING_KEY = Buffer.from("\0\0restoring", "latin1");

/** As a string of bytes (to be written as latin1): four times as fast as a Buffer. */
function digest(text: string): string {
  return hash("sha256", text, "binary").slice(0, HASH);
}

// --- Keys ---

/** `kind id 00`: the one row that a session has in this kind, or the start of its rows. */
export function sessionKey(kind: Kind, id: string): Buffer {
  const key = Buffer.allocUnsafe(id.length + 2);
  key[0] = kind;
  key.write(id, 1, "latin1");
  key[id.length + 1] = 0;
  return key;
}

/** All rows of a session in a kind, or of all sessions; for an iterator. */
export function rangeOf(kind: Kind, id?: string): { gte: Buffer; lt: Buffer } {
  if (id === undefined) return { gte: Buffer.of(kind), lt: Buffer.of(kind + 1) };
  const lt = sessionKey(kind, id);
  lt[lt.length - 1] = 1;
  return { gte: sessionKey(kind, id), lt };
}

/** The id in a key that ends with `id 00`. */
export function idOfSessionKey(key: Buffer): string {
  return key.toString("latin1", 1, key.length - 1);
}

export function entryKey(id: string, seq: number): Buffer {
  const key = Buffer.allocUnsafe(id.length + 8);
  writeEntryKey(key, 0, id, seq);
  return key;
}

function writeEntryKey(target: Buffer, at: number, id: string, seq: number): void {
  target[at] = Kind.entry;
  target.write(id, at + 1, "latin1");
  target[at + 1 + id.length] = 0;
  target.writeUIntBE(seq, at + 2 + id.length, 6);
}

export function keyRowKey(id: string, user: string, key: string): Buffer {
  const row = Buffer.allocUnsafe(id.length + 2 + HASH);
  row[0] = Kind.key;
  row.write(id, 1, "latin1");
  row[id.length + 1] = 0;
  row.write(digest(JSON.stringify([user, key])), id.length + 2, "latin1");
  return row;
}

export function markKey(id: string, user: string): Buffer {
  return Buffer.concat([sessionKey(Kind.mark, id), Buffer.from(digest(user), "latin1")]);
}

/** `day` absent: of all days. No control character is in JSON, so that 00 ends it. */
export function tallyKey(user: string, day?: number): Buffer {
  const text = Buffer.from(`\x0b${JSON.stringify(user)}\0`);
  return day === undefined ? text : Buffer.concat([text, uint48(day)]);
}

/** Throws SyntaxError for a key that is none. */
export function readTallyKey(key: Buffer): { readonly user: string; readonly day: number | undefined } {
  const end = key.indexOf(0, 1);
  const user = JSON.parse(key.toString("utf8", 1, end)) as string;
  return { user, day: key.length > end + 1 ? key.readUIntBE(end + 1, 6) : undefined };
}

/** Without `id`: where the sessions of the user begin. */
export function ownedKey(owner: string, id = ""): Buffer {
  return Buffer.from(`\x0c${digest(owner)}${id}`, "latin1");
}

export function idOfOwnedKey(key: Buffer): string {
  return key.toString("latin1", 1 + HASH);
}

/** Where the list of `reader` starts; undefined: the list of all sessions. No prefix is the start of another. */
export function listPrefix(reader: string | undefined): Buffer {
  return Buffer.from(reader === undefined ? "\x03\x00" : `\x03\x01${digest(reader)}`, "latin1");
}

export function listKey(prefix: Buffer, updatedAt: number, id: string): Buffer {
  const key = Buffer.allocUnsafe(prefix.length + 6 + id.length);
  prefix.copy(key);
  key.writeUIntBE(MAX_UINT48 - updatedAt, prefix.length, 6);
  key.write(id, prefix.length + 6, "latin1");
  return key;
}

/** The end of a list: past every time and id. */
export function listEnd(prefix: Buffer): Buffer {
  return Buffer.concat([prefix, Buffer.alloc(7, 0xff)]);
}

export function idOfListKey(prefix: Buffer, key: Buffer): string {
  return key.toString("latin1", prefix.length + 6);
}

// --- Values ---

function checksum(key: Uint8Array, body: Uint8Array): number {
  return crc32(key, crc32(body));
}

export function seal(key: Buffer, ...parts: readonly Uint8Array[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.byteLength, HEADER);
  const value = Buffer.allocUnsafe(length);
  let at = HEADER;
  for (const part of parts) {
    value.set(part, at);
    at += part.byteLength;
  }
  value[0] = VERSION;
  value.writeUInt32BE(checksum(key, value.subarray(HEADER)), 1);
  return value;
}

/** The body of a value; throws StoreDamagedError naming the session and, for entries, the seq. */
export function unseal(id: string, key: Buffer, value: Buffer, what: string, seq?: number): Buffer {
  if (value.length < HEADER) throw new StoreDamagedError(id, seq, `${what} is cut short`);
  if (value[0] !== VERSION)
    throw new StoreDamagedError(id, seq, `${what} has the unknown version ${value[0]}`);
  const body = value.subarray(HEADER);
  if (checksum(key, body) !== value.readUInt32BE(1))
    throw new StoreDamagedError(id, seq, `${what} fails its checksum`);
  return body;
}

/** Encodes entries one after another in one buffer: `key` and `value` are good until the next call. */
export class EntryEncoder {
  #scratch = Buffer.allocUnsafe(64 * 1024);
  key: Buffer = this.#scratch;
  value: Buffer = this.#scratch;

  encode(id: string, epoch: number, seq: number, bytes: Uint8Array): void {
    const length = ENTRY_HEADER + bytes.byteLength;
    const end = length + id.length + 8;
    if (end > this.#scratch.length) this.#scratch = Buffer.allocUnsafe(end * 2);
    const scratch = this.#scratch;
    scratch[0] = VERSION;
    scratch.writeUIntBE(epoch, HEADER, 6);
    scratch.set(bytes, ENTRY_HEADER);
    // Body and key lie side by side, so that one call covers both.
    writeEntryKey(scratch, length, id, seq);
    scratch.writeUInt32BE(crc32(scratch.subarray(HEADER, end)), 1);
    this.key = scratch.subarray(length, end);
    this.value = scratch.subarray(0, length);
  }
}

export interface Entry {
  readonly epoch: number;
  readonly bytes: Buffer;
}

export function readEntry(id: string, seq: number, key: Buffer, value: Buffer): Entry {
  const body = unseal(id, key, value, "the entry", seq);
  if (body.length < 6) throw new StoreDamagedError(id, seq, "the entry is cut short");
  return { epoch: body.readUIntBE(0, 6), bytes: body.subarray(6) };
}

export function uint48(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(6);
  bytes.writeUIntBE(value, 0, 6);
  return bytes;
}

/** A session's row: `head` is the head when it was written. */
export type SessionRow = { readonly head: number; readonly index: IndexRow } | { readonly deletedAt: number };

export function sealLiveSession(key: Buffer, head: number, index: Uint8Array): Buffer {
  return seal(key, Buffer.of(LIVE), uint48(head), index);
}

export function sealDeletedSession(key: Buffer, deletedAt: number): Buffer {
  return seal(key, Buffer.of(DELETED), uint48(deletedAt));
}

export function readSessionRow(id: string, key: Buffer, value: Buffer): SessionRow {
  const body = unseal(id, key, value, "the session's row");
  if (body[0] === DELETED) return { deletedAt: body.readUIntBE(1, 6) };
  if (body[0] !== LIVE) throw new StoreDamagedError(id, undefined, "the session's row has an unknown state");
  return { head: body.readUIntBE(1, 6), index: readIndex(body.subarray(7)) };
}

export function encodeIndex(index: IndexRow): Buffer {
  const head = Buffer.allocUnsafe(9);
  head[0] = (index.open ? OPEN : 0) | (index.owner === undefined ? 0 : OWNED);
  head.writeUIntBE(index.updatedAt, 1, 6);
  head.writeUInt16BE(index.readers.length, 7);
  const parts: Uint8Array[] = [head];
  for (const user of index.owner === undefined ? index.readers : [...index.readers, index.owner]) {
    const text = Buffer.from(user);
    const length = Buffer.allocUnsafe(2);
    length.writeUInt16BE(text.length);
    parts.push(length, text);
  }
  return Buffer.concat([...parts, index.info]);
}

/** Takes bytes whose checksum was right. */
export function readIndex(bytes: Buffer): IndexRow {
  const users: string[] = [];
  const [flags = 0] = bytes;
  const readers = bytes.readUInt16BE(7);
  let at = 9;
  for (let left = readers + (flags & OWNED ? 1 : 0); left > 0; left--) {
    const length = bytes.readUInt16BE(at);
    users.push(bytes.toString("utf8", at + 2, at + 2 + length));
    at += 2 + length;
  }
  const [owner] = users.slice(readers);
  return {
    readers: users.slice(0, readers),
    ...(owner === undefined ? {} : { owner }),
    open: (flags & OPEN) !== 0,
    updatedAt: bytes.readUIntBE(1, 6),
    info: bytes.subarray(at),
  };
}
