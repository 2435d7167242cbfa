/**
 * The assertions tests use: uvu's, and `rejects` for promises. Reach them as `assert` from ./suite.ts.
 * `equal` compares deeply, `is` compares with Object.is. Note that `throws(fn, "text")` takes the text as the message
 * to show, not as a check: give a regular expression or a predicate.
 */
import { inspect } from "node:util";
import { Assertion } from "uvu/assert";

export * from "uvu/assert";

type ErrorClass = abstract new (...parameters: never[]) => Error;

/**
 * Fails unless the promise (or what the function returns) rejects, and answers what it rejected with.
 * `check`: a pattern for the message, an Error class, or a predicate.
 */
export async function rejects(
  promise: PromiseLike<unknown> | (() => PromiseLike<unknown>),
  check?: RegExp | ErrorClass | ((error: any) => boolean),
): Promise<any> {
  let value: unknown;
  try {
    value = await (typeof promise === "function" ? promise() : promise);
  } catch (error) {
    if (check !== undefined && !accepts(check, error)) {
      fail(`Expected a rejection that passes ${String(check)}, got ${inspect(error)}`);
    }
    return error;
  }
  return fail(`Expected a rejection, got ${inspect(value)}`);
}

function accepts(check: RegExp | ErrorClass | ((error: any) => boolean), error: unknown): boolean {
  if (check instanceof RegExp) return check.test(error instanceof Error ? error.message : String(error));
  if (isErrorClass(check)) return error instanceof check;
  return Boolean(check(error));
}

function isErrorClass(check: object): check is ErrorClass {
  return check === Error || ("prototype" in check && check.prototype instanceof Error);
}

function fail(message: string): never {
  throw new Assertion({ message, operator: "rejects", expects: undefined, actual: undefined });
}
