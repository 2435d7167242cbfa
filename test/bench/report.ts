/**
 * Results on paper: tables for people, one line of JSON for programs. Owns form alone; what a number means is the
 * bench's.
 */
import type { Row } from "./bench.ts";
import { quantile } from "./stats.ts";

/** Columns as wide as their widest cell; the first is left-aligned, the others right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  const line = (row: readonly string[]): string =>
    row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!))).join("  ");
  return all.map((row) => line(row).trimEnd()).join("\n");
}

/** Slices by their subject, with the quartiles of their samples. */
export function quartileTable(
  title: string,
  taken: ReadonlyMap<string, readonly (readonly number[])[]>,
  fraction: number,
): string {
  return table(
    [title, "slices", "p25", "p50", "p75"],
    [...taken].map(([name, samples]) => [
      name,
      String(samples.flat().length),
      ...[0.25, 0.5, 0.75].map((q) => quantile(samples.flat(), q).toFixed(fraction)),
    ]),
  );
}

export function rowTable(rows: readonly Row[]): string {
  return table(
    ["figure", "ratio", "95 % interval", "goal", ""],
    rows.map(({ name, ratio, interval, goal, better }) => [
      name,
      digits(ratio),
      `${digits(interval[0])} – ${digits(interval[1])}`,
      goal === null ? "" : `${better === "lower" ? "≤" : "≥"} ${goal}`,
      verdict({ ratio, goal, better }),
    ]),
  );
}

/** The last line of `--json`. */
export function rowsAsJson(rows: readonly Row[]): string {
  return JSON.stringify({
    rows: rows.map(({ name, ratio, goal, better, interval }) => ({
      name,
      ratio: Number(digits(ratio)),
      goal,
      better,
      interval: interval.map((value) => Number(digits(value))),
    })),
  });
}

function verdict({ ratio, goal, better }: Pick<Row, "ratio" | "goal" | "better">): string {
  if (goal === null) return "reported";
  return (better === "lower" ? ratio <= goal : ratio >= goal) ? "met" : "MISSED";
}

/** Three digits that count. */
function digits(value: number): string {
  return value.toPrecision(3).includes("e") ? String(Math.round(value)) : value.toPrecision(3);
}
