/**
 * The rows by which the embedded store finds texts: which documents of a block have a term, which of them a reader may
 * find, where a document stands, and how far a log is indexed. Owns their keys and forms; layout.ts has the table of them.
 * Never reads or writes a file.
 */
import { BLOCK, addEncoded, noDocuments, type Documents } from "./documents.ts";
import { Kind, listPrefix, seal, sessionKey, uint48, unseal } from "./layout.ts";
import { StoreDamagedError, type Place } from "./store.ts";

/** For errors: rows of a block belong to no session. */
const NO_SESSION = "(any)";

export const COUNTER_KEY = Buffer.from("\0\0documents", "latin1");
export const MARKED_KEY = Buffer.from("\0\0marked", "latin1");

export const blockOf = (document: number): number => Math.floor(document / BLOCK);
export const offsetOf = (document: number): number => document % BLOCK;

function uint32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Without `term`: where the terms of the block begin. */
export function termKey(block: number, term = ""): Buffer {
  return Buffer.concat([Buffer.of(Kind.term), uint32(block), Buffer.from(term)]);
}

/** The terms of a block that begin so. No byte of UTF-8 is 0xff. */
export function termRange(block: number, prefix: string): { gte: Buffer; lt: Buffer } {
  const gte = termKey(block, prefix);
  return { gte, lt: Buffer.concat([gte, Buffer.of(0xff)]) };
}

/** A list's prefix says by its first byte which list it is. */
export function readerKey(reader: string | undefined, block: number): Buffer {
  const prefix = listPrefix(reader);
  prefix[0] = Kind.found;
  return Buffer.concat([prefix, uint32(block)]);
}

export function blockOfReaderKey(key: Buffer): number {
  return key.readUInt32BE(key.length - 4);
}

export function textKey(id: string, seq: number): Buffer {
  return Buffer.concat([sessionKey(Kind.text, id), uint48(seq)]);
}

export function seqOfTextKey(key: Buffer): number {
  return key.readUIntBE(key.length - 6, 6);
}

export function documentKey(document: number): Buffer {
  return Buffer.concat([Buffer.of(Kind.document), uint48(document)]);
}

/** Adds the documents that a row of a term or of a reader has. */
export function addRow(documents: Documents, key: Buffer, value: Buffer): void {
  addEncoded(documents, unseal(NO_SESSION, key, value, "a row of the search"));
}

export function readDocuments(key: Buffer, value: Buffer | undefined): Documents {
  const documents = noDocuments();
  if (value !== undefined) addRow(documents, key, value);
  return documents;
}

/** An entry's text: its document, and what it is found by. No term has a space. */
export interface TextRow {
  readonly document: number;
  readonly terms: readonly string[];
}

export function sealText(key: Buffer, { document, terms }: TextRow): Buffer {
  return seal(key, uint48(document), Buffer.from(terms.join(" ")));
}

export function readText(id: string, key: Buffer, value: Buffer): TextRow {
  const body = unseal(id, key, value, "an indexed text");
  return { document: body.readUIntBE(0, 6), terms: body.toString("utf8", 6).split(" ") };
}

/** The row that says where a document stands. */
export function sealPlace(key: Buffer, { id, seq }: Place): Buffer {
  return seal(key, uint48(seq), Buffer.from(id, "latin1"));
}

export function readPlace(key: Buffer, value: Buffer): Place {
  const body = unseal(NO_SESSION, key, value, "a document's place");
  return { seq: body.readUIntBE(0, 6), id: body.toString("latin1", 6) };
}

/** How far a session's log is indexed, which entry names it (0: none), and who finds it. */
export interface Indexed {
  readonly seq: number;
  readonly title: number;
  readonly readers: readonly string[];
}

export const NOT_INDEXED: Indexed = { seq: 0, title: 0, readers: [] };

export function sealIndexed(key: Buffer, { seq, title, readers }: Indexed): Buffer {
  return seal(key, uint48(seq), uint48(title), Buffer.from(JSON.stringify(readers)));
}

export function readIndexed(id: string, key: Buffer, value: Buffer | undefined): Indexed {
  if (value === undefined) return NOT_INDEXED;
  const body = unseal(id, key, value, "how far it is indexed");
  return {
    seq: body.readUIntBE(0, 6),
    title: body.readUIntBE(6, 6),
    readers: JSON.parse(body.toString("utf8", 12)) as string[],
  };
}

/** `next`: the next document's number. `terms`: rows of terms in its block. `writes`: how often the rows were written. */
export interface Counter {
  readonly next: number;
  readonly terms: number;
  readonly writes: number;
}

export function sealCounter({ next, terms, writes }: Counter): Buffer {
  return seal(COUNTER_KEY, uint48(next), uint48(terms), uint48(writes));
}

export function readCounter(value: Buffer | undefined): Counter {
  if (value === undefined) return { next: 0, terms: 0, writes: 0 };
  const body = unseal(NO_SESSION, COUNTER_KEY, value, "the count of documents");
  if (body.length !== 18)
    throw new StoreDamagedError(NO_SESSION, undefined, "the count of documents is cut short");
  return { next: body.readUIntBE(0, 6), terms: body.readUIntBE(6, 6), writes: body.readUIntBE(12, 6) };
}
