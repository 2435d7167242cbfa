/**
 * What the commands that work on a directory share: reading arguments, and text that is safe on a terminal. Owns the
 * error for a command called wrongly; prints nothing.
 */
import { parseArgs, type ParseArgsConfig } from "node:util";

/** Printed with a hint to `--help`; exit code 2. */
export class MisuseError extends Error {
  override readonly name = "MisuseError";
}

/** A reason that its reader can do something about: printed as it is; exit code 1. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
}

export function parse<T extends NonNullable<ParseArgsConfig["options"]>>(
  command: string,
  args: string[],
  options: T,
  arguments_: number,
) {
  let parsed;
  try {
    const help = { type: "boolean", short: "h" } as const;
    parsed = parseArgs({ args, options: { ...options, help }, allowPositionals: true, strict: true });
  } catch (error) {
    throw new MisuseError(`${command}: ${error instanceof Error ? error.message : String(error)}`);
  }
  const extra = parsed.positionals[arguments_];
  if (extra !== undefined) throw new MisuseError(`${command}: unexpected argument: ${extra}`);
  return {
    values: parsed.values as Partial<Record<keyof T | "help", string | boolean>>,
    positionals: parsed.positionals,
  };
}

/** What stands in a damaged store may be anything; what is printed is text on one line. */
export function printable(text: string): string {
  return text.toWellFormed().replace(/[\p{C}\u2028\u2029]/gu, "\ufffd");
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
