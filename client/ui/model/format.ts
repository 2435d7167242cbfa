/**
 * How values are written for people: times, lengths, sizes, names. Owns also what is taken out of names and titles, which
 * others choose: what cannot be seen, and what turns the direction of the text around it.
 */

/** Control characters, zero-width ones and those that change the direction of text. */
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
const TURNING = /[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;

/** A name or a title on one line, of at most `most` characters. */
export function plain(text: string, most = 120): string {
  const shown = Array.from(
    text
      .slice(0, most * 4)
      .replace(UNSEEN, " ")
      .replace(/\s+/g, " ")
      .trim(),
  );
  return shown.length > most ? `${shown.slice(0, most - 1).join("")}…` : shown.join("");
}

/** A piece of a line, its ends as they are. */
export const piece = (text: string): string => text.replace(UNSEEN, " ");

/** What a session is called in lists. */
export const titleOf = ({
  id,
  title,
}: {
  readonly id: string;
  readonly title?: string | undefined;
}): string => plain(title ?? "") || `Untitled ${id.slice(-6)}`;

/** Code and output with what would hide or reorder it made visible. */
export function visible(text: string): string {
  return text.replace(
    TURNING,
    (found) => `⟦U+${found.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}⟧`,
  );
}

const HALF_DAY_MS = 43_200_000;
const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const WHOLE = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

export function when(at: number, now = Date.now()): string {
  return new Date(at).toDateString() === new Date(now).toDateString() ? TIME.format(at) : DAY.format(at);
}

/** Until when: of a moment within half a day its time, whatever the day. */
export const until = (at: number, now = Date.now()): string =>
  Math.abs(at - now) < HALF_DAY_MS ? TIME.format(at) : when(at, now);

export const timeOf = (at: number): string => TIME.format(at);
export const wholeTime = (at: number): string => WHOLE.format(at);

export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  const minutes = Math.floor(ms / 60_000);
  const seconds = Math.floor((ms % 60_000) / 1000);
  if (minutes < 60) return seconds === 0 ? `${minutes} min` : `${minutes} min ${seconds} s`;
  return minutes % 60 === 0 ? `${minutes / 60} h` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** 1234567 as `1.2 M`. */
export function count(value: number): string {
  if (value < 1000) return Number.isInteger(value) ? String(value) : value.toFixed(1);
  if (value < 1e6) return `${(value / 1e3).toFixed(value < 1e4 ? 1 : 0)} k`;
  return `${(value / 1e6).toFixed(1)} M`;
}

export function bytes(value: number): string {
  if (value < 1024) return `${Math.round(value)} B`;
  if (value < 1024 * 1024) return `${(value / 1024).toFixed(value < 10_240 ? 1 : 0)} KiB`;
  return `${(value / 1024 / 1024).toFixed(1)} MiB`;
}

/** `plural(2, "message")` is `2 messages`. */
export const plural = (n: number, word: string): string => `${n} ${word}${n === 1 ? "" : "s"}`;

/** One of twelve hues, the same for the same id everywhere. */
export function hueOf(id: string): number {
  let hash = 0;
  for (const character of id) hash = (hash * 31 + character.codePointAt(0)!) | 0;
  return (((hash % 12) + 12) % 12) * 30;
}
