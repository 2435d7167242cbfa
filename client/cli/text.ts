/**
 * Text for a terminal: hostile text made harmless, its width in columns, short forms of values. Owns what may reach a
 * terminal from the wire; every string from others goes through here. Writes nothing.
 */
import type { JsonValue } from "../../protocol/content.ts";

// C0 (but newline and tab), DEL, C1, line separators, and everything that reorders text.
const HOSTILE =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

/**
 * Text that cannot drive a terminal: control characters are shown as pictures (ESC as ␛), others as U+FFFD. Carriage
 * returns are dropped, so that text cut anywhere gives the same. Newlines and tabs stay.
 */
export function clean(text: string): string {
  return text.toWellFormed().replace(HOSTILE, (character) => {
    const code = character.charCodeAt(0);
    if (code === 0x0d) return "";
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    return code === 0x7f ? "\u2421" : "\ufffd";
  });
}

/** Clean text on one line of at most `most` characters. */
export function oneLine(text: string, most = 200): string {
  const line = clean(text.slice(0, most * 4))
    .replace(/\s+/gu, " ")
    .trim();
  const characters = Array.from(line);
  return characters.length > most ? `${characters.slice(0, most - 1).join("")}…` : line;
}

/** A name as it is shown before what someone said. */
export function nameOf(name: string): string {
  return oneLine(name, 64) || "?";
}

/** A value as one short line of JSON. */
export function brief(value: JsonValue | undefined, most = 60): string {
  return value === undefined ? "" : oneLine(JSON.stringify(value), most);
}

/** A frame as a line of JSON that is safe to print: what could drive a terminal is escaped, the value is unchanged. */
export function jsonLine(value: unknown): string {
  return JSON.stringify(value).replace(HOSTILE, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

export function duration(milliseconds: number): string {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < 60_000) return `${(milliseconds / 1000).toFixed(1)} s`;
  return `${Math.floor(milliseconds / 60_000)} min ${Math.round((milliseconds % 60_000) / 1000)} s`;
}

/** Local time, to the second: `2026-01-31 09:05:07`. */
export function moment(at: number): string {
  const date = new Date(at - new Date(at).getTimezoneOffset() * 60_000);
  return date.toISOString().slice(0, 19).replace("T", " ");
}

const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });
// East Asian wide and fullwidth blocks; emoji are found by their property.
const WIDE =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|^[\u{1f300}-\u{1f64f}\u{1f680}-\u{1f6ff}\u{1f900}-\u{1f9ff}\u{20000}-\u{3fffd}]|^\p{Emoji_Presentation}|\ufe0f/u;
const ZERO = /^[\p{Mn}\p{Me}\p{Cf}]+$/u;

/**
 * The last row of `text` on a terminal of `columns`, when `row` is already on that row, and in how many rows it lies
 * below. Text is clean and without newlines.
 */
export function lastRow(row: string, text: string, columns: number): { row: string; rows: number } {
  const whole = row + text;
  if (/^[\u0020-\u007e]*$/.test(whole)) {
    if (whole.length <= columns) return { row: whole, rows: 0 };
    const rows = Math.ceil(whole.length / columns) - 1;
    return { row: whole.slice(rows * columns), rows };
  }
  let used = 0;
  let start = 0;
  let rows = 0;
  for (const { segment, index } of segmenter.segment(whole)) {
    const wide = segment === "\t" ? 8 - (used % 8) : WIDE.test(segment) ? 2 : ZERO.test(segment) ? 0 : 1;
    if (segment === "\t") used = Math.min(columns, used + wide);
    else if (used + wide > columns) {
      rows++;
      start = index;
      used = wide;
    } else used += wide;
  }
  return { row: whole.slice(start), rows };
}

/** Rows of as many cells each, the cells of a column below one another. */
export function aligned(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const cells = (row: readonly string[]): string[] => row.map((cell, column) => cell.padEnd(widths[column]!));
  return rows.map((row) => `${cells(row).join("  ").trimEnd()}\n`).join("");
}
