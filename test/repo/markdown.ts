/**
 * Reads what tests need of a Markdown page: fenced blocks with their names, tables by heading, links. Owns that little;
 * no general parser.
 */

export interface Block {
  readonly language: string;
  /** What follows the language on the fence's line; readers of the page do not see it. */
  readonly name: string;
  readonly text: string;
  /** Of the opening fence, from 1. */
  readonly line: number;
}

/** Throws Error for a fence that is never closed. */
export function codeBlocks(page: string): Block[] {
  const blocks: Block[] = [];
  let open: { language: string; name: string; line: number; lines: string[] } | undefined;
  for (const [at, line] of page.split("\n").entries()) {
    const [fence, language = "", name = ""] = /^```(\S*) ?(.*)$/.exec(line) ?? [];
    if (open === undefined && fence !== undefined) open = { language, name, line: at + 1, lines: [] };
    else if (open !== undefined && line === "```") {
      blocks.push({ ...open, text: `${open.lines.join("\n")}\n` });
      open = undefined;
    } else open?.lines.push(line);
  }
  if (open !== undefined) throw new Error(`the block of line ${open.line} has no end`);
  return blocks;
}

/** The cells of the first table under a heading of the second level, its head left out. */
export function tableUnder(page: string, heading: string): string[][] {
  const section = page.split(/^## /m).find((text) => text.startsWith(`${heading}\n`));
  if (section === undefined) throw new Error(`there is no heading ${heading}`);
  const lines = section.split("\n");
  const from = lines.findIndex((line) => line.startsWith("|"));
  const table = from < 0 ? [] : lines.slice(from + 2);
  const end = table.findIndex((line) => !line.startsWith("|"));
  return table.slice(0, end < 0 ? undefined : end).map((line) =>
    line
      .slice(1, -1)
      .split("|")
      .map((cell) => cell.trim()),
  );
}

/** Where links lead that stay in the repository. */
export function localLinks(page: string): string[] {
  return [...page.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)]
    .map(([, target = ""]) => target)
    .filter((target) => !/^[a-z]+:/.test(target));
}

/** A cell without its code marks. */
export function plain(cell: string): string {
  return cell.replaceAll("`", "");
}
