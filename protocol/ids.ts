/**
 * Identifiers: unguessable, with a prefix that says what they name, time-ordered where they name something across
 * sessions. Owns their form; never their uniqueness across a deleted session (the store's tombstones see to that).
 */

const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";

export type IdPrefix = "ses" | "run" | "call" | "req" | "alw" | "con" | "key" | "ins" | "inv";

/** A session id is any string of 1–64 of these. */
export const SESSION_ID = /^[A-Za-z0-9_-]{1,64}$/;

/** Random bytes, drawn many at a time: drawing them costs more than the rest of an id. Each is used once. */
const pool = new Uint8Array(1024);
let used = pool.length;

/** `<prefix>_` + 10 characters of clock (ms) + 16 of randomness (80 bits), base 32. */
export function newId(prefix: IdPrefix, now: number = Date.now()): string {
  let time = "";
  for (let rest = now, i = 0; i < 10; i++) {
    time = ALPHABET[rest % 32] + time;
    rest = Math.floor(rest / 32);
  }
  return `${prefix}_${time}${randomText(16)}`;
}

/** Of a message: `msg_` + 12 characters of randomness (60 bits). Short, for each delta carries one. */
export function newMessageId(): string {
  return `msg_${randomText(12)}`;
}

/** So many characters of five random bits; at most as many as the pool has. */
function randomText(length: number): string {
  if (used + length > pool.length) {
    globalThis.crypto.getRandomValues(pool);
    used = 0;
  }
  let text = "";
  for (const end = used + length; used < end; used++) text += ALPHABET[pool[used]! & 31];
  return text;
}
