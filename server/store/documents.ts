/**
 * Sets of documents, for the embedded store's search: a document is a text that can be found, by a number that is never
 * used again, and the documents of a block of numbers are a set of bits. Owns the form of a set in memory and on disk.
 * Never knows what a document says.
 */

/** Documents of one block. */
export const BLOCK = 4096;
const BYTES = BLOCK / 8;

/** A bit for each document of a block. */
export type Documents = Uint8Array;

export function noDocuments(): Documents {
  return new Uint8Array(BYTES);
}

export function add(documents: Documents, offset: number): void {
  documents[offset >> 3]! |= 1 << (offset & 7);
}

export function remove(documents: Documents, offset: number): void {
  documents[offset >> 3]! &= ~(1 << (offset & 7));
}

export function has(documents: Documents, offset: number): boolean {
  return (documents[offset >> 3]! & (1 << (offset & 7))) !== 0;
}

/** Leaves those that are in the other set, too. */
export function keep(documents: Documents, others: Documents): void {
  for (let at = 0; at < BYTES; at++) documents[at]! &= others[at]!;
}

/** The offsets below `below`, the last one first. */
export function* latest(documents: Documents, below = BLOCK): Generator<number, void> {
  for (let offset = below - 1; offset >= 0; offset--) {
    if (documents[offset >> 3] === 0) offset &= ~7;
    else if (has(documents, offset)) yield offset;
  }
}

/** All offsets as u16 where that is shorter than the bits; undefined for an empty set. */
export function encodeDocuments(documents: Documents): Buffer | undefined {
  const offsets = [...latest(documents)];
  if (offsets.length === 0) return undefined;
  if (offsets.length * 2 >= BYTES) return Buffer.from(documents);
  const bytes = Buffer.allocUnsafe(offsets.length * 2);
  offsets.forEach((offset, at) => bytes.writeUInt16BE(offset, at * 2));
  return bytes;
}

/** Adds what `encodeDocuments` made of a set. Takes bytes whose checksum was right. */
export function addEncoded(documents: Documents, bytes: Buffer): void {
  if (bytes.length === BYTES) for (let at = 0; at < BYTES; at++) documents[at]! |= bytes[at]!;
  else for (let at = 0; at < bytes.length; at += 2) add(documents, bytes.readUInt16BE(at));
}
