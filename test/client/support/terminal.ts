/**
 * A terminal as a person sees it: the rows that a program's output leaves on a screen of a given width, scrolled-off ones
 * included. Owns the few control sequences that readline and our own screen use, and fails on any other.
 */
export class Terminal {
  readonly #columns: number;
  readonly #height: number;
  #rows: string[][] = [[]];
  #row = 0;
  #column = 0;
  #rest = "";

  constructor(columns: number, height = 24) {
    this.#columns = columns;
    this.#height = height;
  }

  /** Every row from the first one on, without trailing blanks. */
  get rows(): string[] {
    return this.#rows.map((row) =>
      Array.from(row, (cell) => cell ?? " ")
        .join("")
        .trimEnd(),
    );
  }

  /** Where the cursor is. */
  get cursor(): { row: number; column: number } {
    return { row: this.#row, column: this.#column };
  }

  write(chunk: string): void {
    const text = this.#rest + chunk;
    let at = 0;
    while (at < text.length) {
      const character = String.fromCodePoint(text.codePointAt(at)!);
      if (character === "\u001b") {
        const sequence = /^\u001b(?:\[([0-9;?]*)([A-Za-z])|[=>])/.exec(text.slice(at));
        if (sequence === null) {
          if (text.length - at > 20)
            throw new Error(`an unknown escape: ${JSON.stringify(text.slice(at, at + 20))}`);
          break;
        }
        this.#control(sequence[2] ?? "", sequence[1] ?? "");
        at += sequence[0].length;
        continue;
      }
      this.#put(character);
      at += character.length;
    }
    this.#rest = text.slice(at);
  }

  #put(character: string): void {
    if (character === "\r") this.#column = 0;
    else if (character === "\n") this.#down();
    else if (character === "\b") this.#column = Math.max(0, this.#column - 1);
    else if (character === "\u0007") return;
    else if (character < " ") throw new Error(`a control character: ${JSON.stringify(character)}`);
    else {
      if (this.#column >= this.#columns) {
        this.#down();
        this.#column = 0;
      }
      this.#rows[this.#row]![this.#column++] = character;
    }
  }

  #down(): void {
    this.#row++;
    if (this.#row === this.#rows.length) this.#rows.push([]);
  }

  #control(kind: string, given: string): void {
    const count = Math.max(1, Number(given.split(";")[0]) || 0);
    const top = Math.max(0, this.#rows.length - this.#height);
    if (kind === "A") this.#row = Math.max(top, this.#row - count);
    else if (kind === "B") this.#row = Math.min(this.#rows.length - 1, this.#row + count);
    else if (kind === "C") this.#column = Math.min(this.#columns - 1, this.#column + count);
    else if (kind === "D") this.#column = Math.max(0, Math.min(this.#column, this.#columns - 1) - count);
    else if (kind === "G") this.#column = Math.min(this.#columns, count) - 1;
    else if (kind === "J" && (given === "" || given === "0")) {
      this.#rows[this.#row] = this.#rows[this.#row]!.slice(0, this.#column);
      this.#rows.length = this.#row + 1;
    } else if (kind === "K") this.#rows[this.#row] = this.#rows[this.#row]!.slice(0, this.#column);
    else if (!["m", "h", "l", "n", ""].includes(kind))
      throw new Error(`an unknown sequence: ${given}${kind}`);
  }
}
