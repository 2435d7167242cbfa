/**
 * Where a conversation is printed: plain streams, or a terminal on which somebody types while others talk. Owns the
 * interface and the plain form: the conversation on stdout, everything about it on stderr. The terminal is screen.ts.
 */
import type { Style } from "./conversation.ts";

export interface Output {
  /** A piece of the conversation. */
  write(text: string, style: Style): void;
  /** A line that is no part of the conversation. */
  notice(line: string): void;
  /** Who speaks at the input line; undefined: nobody may, and there is no prompt. */
  speaker(name: string | undefined): void;
  /** What is going on right now, where there is a place to show it; empty for nothing. */
  status(text: string): void;
  /** Puts the terminal back as it was. */
  close(): void;
}

export function plainOutput(stdout: NodeJS.WritableStream, stderr: NodeJS.WritableStream): Output {
  return {
    write: (text) => void stdout.write(text),
    notice: (line) => void stderr.write(`${line}\n`),
    speaker: () => undefined,
    status: () => undefined,
    close: () => undefined,
  };
}

const CODES: Record<Style, string> = {
  plain: "",
  user: "\u001b[32m",
  agent: "\u001b[36m",
  faint: "\u001b[2m",
  warning: "\u001b[33m",
};

/** Colours on a terminal, unless NO_COLOR asks for none. */
export function painter(isTerminal: boolean): (text: string, style: Style) => string {
  const { NO_COLOR: none } = process.env;
  if (!isTerminal || (none !== undefined && none !== "")) return (text) => text;
  return (text, style) => (CODES[style] === "" || text === "" ? text : `${CODES[style]}${text}\u001b[0m`);
}
