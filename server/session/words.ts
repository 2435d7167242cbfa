/**
 * What words are, for the search: of a text and of what is looked for, by the same rule. Owns that rule (SPEC.md §13) and
 * its bounds; changing it means that what is indexed is found by the old one. Never knows where a text comes from.
 */

/** UTF-16 units of a text that are looked at, and different words of it. */
export const MAX_TEXT = 65_536;
const MAX_TERMS = 2000;
/** Characters of a word that count, and words of what is looked for. */
const MAX_WORD = 32;
const MAX_WORDS = 16;
/** Characters from which on the beginning of a word is enough. */
const MIN_PREFIX = 2;

const RUN = /[\p{L}\p{M}\p{N}]+/gu;
/** Scripts without spaces between words. */
const UNSPACED =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}ー]+/gu;
/** No such script is among the letters before this. */
const MAYBE_UNSPACED = /[\u0e00-\uffff]/;
const ASCII = /^[\0-\x7f]*$/;
const ACCENTS = /[\u0300-\u036f]/g;

export interface Word {
  readonly term: string;
  /** UTF-16 units, from and up to, in the text. */
  readonly from: number;
  readonly to: number;
}

/** What a word is found by: in one case, without accents, at most 32 characters. */
function fold(word: string): string {
  if (ASCII.test(word)) return word.slice(0, MAX_WORD).toLowerCase();
  const bare = word.normalize("NFKD").replace(ACCENTS, "");
  const folded = bare.toUpperCase().toLowerCase().replaceAll("ς", "σ").normalize("NFC");
  return Array.from(folded).slice(0, MAX_WORD).join("");
}

/** The words of a text in their order, those of scripts without spaces in pairs of characters and the last by itself. */
export function* words(text: string): Generator<Word, void> {
  for (const { 0: run, index } of text.slice(0, MAX_TEXT).matchAll(RUN)) {
    if (!MAYBE_UNSPACED.test(run)) {
      yield { term: fold(run), from: index, to: index + run.length };
      continue;
    }
    let done = 0;
    for (const { 0: unspaced, index: at } of run.matchAll(UNSPACED)) {
      if (at > done) yield { term: fold(run.slice(done, at)), from: index + done, to: index + at };
      yield* pairs(unspaced, index + at);
      done = at + unspaced.length;
    }
    if (done < run.length) yield { term: fold(run.slice(done)), from: index + done, to: index + run.length };
  }
}

function* pairs(run: string, from: number): Generator<Word, void> {
  const characters = Array.from(run);
  let at = from;
  for (const [place, first] of characters.entries()) {
    const pair = first + (characters[place + 1] ?? "");
    yield { term: fold(pair), from: at, to: at + pair.length };
    at += first.length;
  }
}

/** What a text is found by. */
export function termsOf(text: string): string[] {
  const terms = new Set<string>();
  for (const { term } of words(text)) {
    if (term !== "") terms.add(term);
    if (terms.size === MAX_TERMS) break;
  }
  return [...terms];
}

/** What is looked for: texts with all the terms, and a word that begins with the prefix. */
export interface Wanted {
  readonly terms: readonly string[];
  readonly prefix?: string;
}

export function wantedOf(text: string): Wanted {
  const all = [...words(text)];
  // The last character of a run is in the pair before it.
  const whole = all.filter(({ to }, at) => to !== all[at - 1]?.to);
  const last = whole.pop()?.term ?? "";
  const terms = [...new Set(whole.map(({ term }) => term))].filter(Boolean).slice(0, MAX_WORDS - 1);
  if (last === "") return { terms };
  const long = Array.from(last).length >= MIN_PREFIX || MAYBE_UNSPACED.test(last);
  return long ? { terms, prefix: last } : { terms: [...terms, last] };
}
