/**
 * The piece of a text that shows why it was found. Owns where it is cut and what is marked in it, as numbers: never as
 * markup, which whoever shows it adds.
 */
import { words, type Wanted } from "./words.ts";

/** UTF-16 units of a snippet, and of those before its first mark. */
const LENGTH = 160;
const BEFORE = 40;
const MAX_MARKS = 32;
const ELLIPSIS = "…";

export interface Snippet {
  readonly snippet: string;
  /** From and up to, in UTF-16 units of the snippet; in order, none touches another. */
  readonly marks: [from: number, to: number][];
}

export function snippetOf(text: string, { terms, prefix }: Wanted): Snippet {
  const wanted = new Set(terms);
  let start: number | undefined;
  const marks: [number, number][] = [];
  for (const { term, from, to } of words(text)) {
    if (start !== undefined && from >= start + LENGTH) break;
    if (!wanted.has(term) && (prefix === undefined || !term.startsWith(prefix))) continue;
    start ??= startOf(text, from);
    const last = marks.at(-1);
    if (last !== undefined && from <= last[1]) last[1] = Math.max(last[1], to);
    else if (marks.length === MAX_MARKS) break;
    else marks.push([from, to]);
  }
  return cut(text, start ?? 0, marks);
}

/** A little before the first mark, at the beginning of a word if one begins there. */
function startOf(text: string, mark: number): number {
  if (mark <= BEFORE) return 0;
  const start = mark - BEFORE;
  const space = text.slice(start, mark).search(/\s/);
  return space < 0 ? start : start + space + 1;
}

function cut(text: string, from: number, marks: readonly [number, number][]): Snippet {
  const to = from + LENGTH;
  const start = isInside(text, from) ? from + 1 : from;
  const end = isInside(text, to) ? to - 1 : to;
  const before = start > 0 ? ELLIPSIS : "";
  const move = before.length - start;
  return {
    snippet: before + text.slice(start, end) + (end < text.length ? ELLIPSIS : ""),
    marks: marks.flatMap(([first, last]) =>
      first < end ? [[Math.max(first, start) + move, Math.min(last, end) + move]] : [],
    ),
  };
}

/** Whether a cut there would take a character apart. */
function isInside(text: string, at: number): boolean {
  const unit = text.charCodeAt(at);
  return unit >= 0xdc00 && unit <= 0xdfff;
}
