/**
 * Regular expressions of schemas that others write: run by an engine without backtracking, so that time grows with text
 * times pattern and no faster. Owns the bound of a pattern; what its texts cost is spent from the work of their check.
 */
import { RE2JS } from "re2js";
import type { Work } from "./work.ts";

/** Steps of the engine's programs, of one schema together; about ten microseconds each to compile. */
const MAX_PROGRAM = 20_000;

/** What the validator asks of a regular expression; `toString` is the name under which it tells two of them apart. */
interface Expression {
  test(text: string): boolean;
  toString(): string;
}

/** In place of `RegExp`, for the validator. What it makes throws for a pattern that needs backtracking or is too large. */
export function linearRegExp(work: Work): { (pattern: string): Expression; code: string } {
  const known = new Map<string, Expression>();
  let size = 0;
  const compile = (pattern: string): Expression => {
    const before = known.get(pattern);
    if (before !== undefined) return before;
    size += programSize(pattern);
    if (size > MAX_PROGRAM) throw new Error("patterns that repeat too much");
    const expression = RE2JS.compile(pattern);
    const steps = expression.programSize();
    const made: Expression = {
      test(text) {
        work.spend(text.length * steps);
        return expression.matcher(text).find();
      },
      toString: () => pattern,
    };
    known.set(pattern, made);
    return made;
  };
  return Object.assign(compile, { code: "linear" });
}

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
