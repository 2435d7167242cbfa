/**
 * What a tool provider of the chaos worlds did, in a file that survives its death: one line for each call that it began,
 * finished, or was told the verdict of. Owns the format; the providers write it, the oracle judges it.
 */
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import type { JsonValue } from "../../protocol/content.ts";

export interface Reference {
  readonly session: string;
  readonly call: string;
  readonly attempt: number;
}

export type Line =
  | { readonly did: "begun"; readonly reference: Reference; readonly tool: string; readonly input: JsonValue }
  | { readonly did: "done"; readonly reference: Reference; readonly output: JsonValue }
  | { readonly did: "told"; readonly reference: Reference; readonly verdict: string }
  | { readonly did: "problem"; readonly problem: string };

export class Journal {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  write(line: Line): void {
    appendFileSync(this.path, `${JSON.stringify(line)}\n`);
  }

  /** Oldest first; what was being written at a kill is left out. */
  read(): Line[] {
    if (!existsSync(this.path)) return [];
    const lines = readFileSync(this.path, "utf8").split("\n").slice(0, -1);
    return lines.map((line) => JSON.parse(line) as Line);
  }
}
