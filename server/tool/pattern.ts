/**
 * Regular expressions of schemas that others write: run by an engine without backtracking, so that time grows with text
 * times pattern and no faster. Owns the bounds of both; a pattern over them is refused, a text over them cannot be checked.
 */
import { RE2JS } from "re2js";

/** Steps of the engine's program; about a microsecond each to compile. */
const MAX_PROGRAM = 20_000;
/** Text units times program steps: a second, at worst, for one check. */
const MAX_WORK = 10_000_000;

/** What the validator asks of a regular expression; `toString` is the name under which it tells two of them apart. */
interface Expression {
  test(text: string): boolean;
  toString(): string;
}

/** In place of `RegExp`, for the validator. Throws for a pattern that needs backtracking or is over the bound. */
export const linearRegExp = Object.assign(
  (pattern: string): Expression => {
    if (programSize(pattern) > MAX_PROGRAM) throw new Error("a pattern that repeats too much");
    const expression = RE2JS.compile(pattern);
    const steps = expression.programSize();
    return {
      test(text) {
        if (text.length * steps > MAX_WORK) throw new Error("the text is too long for its pattern");
        return expression.matcher(text).find();
      },
      toString: () => pattern,
    };
  },
  { code: "linear" },
);

/** About how large the engine's program will be: counted repeats are written out in it. */
function programSize(pattern: string): number {
  const groups: number[] = [];
  let size = 0;
  let atom = 0;
  const add = (cost: number): void => {
    atom = cost;
    size += cost;
  };
  for (let at = 0; at < pattern.length; at++) {
    const rest = pattern[at];
    if (rest === "\\") {
      at += /^\\[pPx]\{[^}]*\}|^\\./su.exec(pattern.slice(at))?.[0].length ?? 1;
      at--;
      add(1);
    } else if (rest === "[") {
      at += /^\[\^?\]?(?:\\.|[^\]\\])*/su.exec(pattern.slice(at))?.[0].length ?? 1;
      add(1);
    } else if (rest === "(") {
      groups.push(size);
      size = 0;
    } else if (rest === ")") {
      const inner = size;
      size = groups.pop() ?? 0;
      add(inner + 2);
    } else if (rest === "{") {
      const repeat = /^\{(\d+)(?:,(\d*))?\}/.exec(pattern.slice(at, at + 32));
      if (repeat === null) {
        add(1);
        continue;
      }
      at += repeat[0].length - 1;
      const times = Math.max(1, Number(repeat[1]), Number(repeat[2] ?? 0));
      size += atom * (times - 1);
      atom *= times;
    } else {
      add(1);
    }
  }
  return groups.reduce((sum, outer) => sum + outer, size);
}
