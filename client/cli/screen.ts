/**
 * A terminal with an input line below a conversation that goes on by itself. Owns the bottom rows: the unfinished line of
 * the conversation, then the input line as readline draws it; what is typed stays whole whoever talks meanwhile. Text
 * given to it is clean (text.ts).
 */
import { createInterface } from "node:readline";
import type { Interface } from "node:readline";
import type { ReadStream, WriteStream } from "node:tty";
import type { Style } from "./conversation.ts";
import { painter } from "./output.ts";
import type { Output } from "./output.ts";
import { lastRow } from "./text.ts";

export interface ScreenEvents {
  line(text: string): void;
  /** Control-C on an empty line, or Control-D. */
  leave(): void;
  /** A key was pressed; whether there is something on the line now. */
  typed(isEmpty: boolean): void;
}

export class Screen implements Output {
  readonly #out: WriteStream;
  readonly #readline: Interface & { prevRows?: number };
  readonly #paint: (text: string, style: Style) => string;
  #name: string | undefined;
  #status = "";
  /** The last row of the conversation's unfinished line, and its style by piece. */
  #row: { text: string; style: Style }[] = [];
  #notices: string[] = [];
  #prompted = false;
  #closed = false;

  constructor(input: ReadStream, out: WriteStream, name: string, events: ScreenEvents) {
    this.#out = out;
    this.#paint = painter(true);
    this.#name = name;
    this.#readline = createInterface({
      input,
      output: out,
      terminal: true,
      historySize: 500,
      removeHistoryDuplicates: true,
    });
    this.#readline.on("line", (line) => {
      this.#eraseEcho(line);
      events.line(line);
    });
    // readline has taken the key by then.
    input.on("keypress", () => setImmediate(() => this.#closed || events.typed(this.#readline.line === "")));
    this.#readline.on("SIGINT", () => {
      if (this.#readline.line === "") return events.leave();
      this.#readline.write(null, { ctrl: true, name: "e" });
      this.#readline.write(null, { ctrl: true, name: "u" });
    });
    this.#readline.on("close", () => {
      if (!this.#closed) events.leave();
    });
    this.#prompt();
  }

  write(text: string, style: Style): void {
    if (this.#closed) return void this.#out.write(this.#paint(text, style));
    this.#clear();
    let painted = this.#paintedRow();
    for (const [index, piece] of text.split("\n").entries()) {
      if (index > 0) {
        painted += "\n";
        this.#row = [];
      }
      if (piece === "") continue;
      painted += this.#paint(piece, style);
      this.#row = this.#extended(piece, style);
    }
    this.#out.write(this.#row.length > 0 ? `${painted}\n` : painted);
    if (this.#row.length === 0)
      for (const line of this.#notices.splice(0)) this.#out.write(this.#noticed(line));
    this.#prompt();
  }

  notice(line: string): void {
    if (this.#closed) return void this.#out.write(`${line}\n`);
    // Not into the middle of what somebody is saying; the status line tells what is urgent.
    if (this.#row.length > 0) return void this.#notices.push(line);
    this.#clear();
    this.#out.write(this.#noticed(line));
    this.#prompt();
  }

  status(text: string): void {
    if (this.#status === text || this.#closed) return;
    this.#clear();
    this.#status = text;
    this.#redrawRow();
    this.#prompt();
  }

  speaker(name: string | undefined): void {
    if (this.#name === name || this.#closed) return;
    this.#clear();
    this.#name = name;
    this.#redrawRow();
    this.#prompt();
  }

  close(): void {
    if (this.#closed) return;
    this.#clear();
    this.#redrawRow();
    for (const line of this.#notices) this.#out.write(this.#noticed(line));
    this.#closed = true;
    this.#readline.close();
  }

  #noticed(line: string): string {
    return `${this.#paint(`· ${line}`, "faint")}\n`;
  }

  #paintedRow(): string {
    return this.#row.map((piece) => this.#paint(piece.text, piece.style)).join("");
  }

  #redrawRow(): void {
    if (this.#row.length > 0) this.#out.write(`${this.#paintedRow()}\n`);
  }

  /** The row after `piece` was written behind it. */
  #extended(piece: string, style: Style): { text: string; style: Style }[] {
    const before = this.#row.map((item) => item.text).join("");
    const { row, rows } = lastRow(before, piece, this.#columns);
    if (rows === 0) return [...this.#row, { text: piece, style }];
    return [{ text: row, style }];
  }

  /** Takes away the input line and the row above it that is not finished; the cursor is where that row began. */
  #clear(): void {
    if (!this.#prompted) return;
    const up = this.#readline.getCursorPos().rows + (this.#row.length > 0 ? 1 : 0);
    this.#out.write(`${up > 0 ? `\u001b[${up}A` : ""}\r\u001b[0J`);
    this.#prompted = false;
  }

  #prompt(): void {
    if (this.#closed) return;
    const status = this.#status === "" ? "" : `[${this.#status}] `;
    this.#readline.setPrompt(this.#name === undefined ? status : `${status}${this.#name}> `);
    // readline would go up by the rows of the line that was there before.
    this.#readline.prevRows = 0;
    this.#readline.prompt(true);
    this.#prompted = true;
  }

  /** The line just entered is on the screen; it comes back in the conversation, for everybody alike. */
  #eraseEcho(line: string): void {
    const typed = `${this.#readline.getPrompt()}${line}`;
    const { rows } = lastRow("", typed.replaceAll("\n", " "), this.#columns);
    this.#out.write(`\u001b[${rows + 1}A\r\u001b[0J`);
    this.#prompt();
  }

  get #columns(): number {
    return this.#out.columns > 0 ? this.#out.columns : 80;
  }
}
