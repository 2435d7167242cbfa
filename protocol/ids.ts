/**
 * Identifiers: unguessable, time-ordered, with a prefix that says what they name. Owns their form; never their
 * uniqueness across a deleted session (the store's tombstones see to that).
 */

const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";

export type IdPrefix = "ses" | "run" | "msg" | "call" | "req" | "con" | "key" | "ins";

/** A session id is any string of 1–64 of these. */
export const SESSION_ID = /^[A-Za-z0-9_-]{1,64}$/;

/** `<prefix>_` + 10 characters of clock (ms) + 16 of randomness (80 bits), base 32. */
export function newId(prefix: IdPrefix, now: number = Date.now()): string {
  let time = "";
  for (let rest = now, i = 0; i < 10; i++) {
    time = ALPHABET[rest % 32] + time;
    rest = Math.floor(rest / 32);
  }
  const random = globalThis.crypto.getRandomValues(new Uint8Array(16));
  let tail = "";
  for (const byte of random) tail += ALPHABET[byte & 31];
  return `${prefix}_${time}${tail}`;
}
