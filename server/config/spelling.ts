/**
 * What somebody may have meant by a name that is not known. Owns the distance of two names; knows no setting.
 */

/** The known name that is fewest edits away, if that is few for its length. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const edits = (candidate: string): number => distance(name.toLowerCase(), candidate.toLowerCase());
  const [best] = known.toSorted((a, b) => edits(a) - edits(b));
  return best !== undefined && edits(best) <= Math.max(1, Math.floor(best.length / 3)) ? best : undefined;
}

/** Insertions, deletions, changes and swaps of neighbours that make `b` of `a`. */
function distance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, at) => at)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const above = rows[i - 1]!;
      let least = Math.min(row[j - 1]! + 1, above[j]! + 1, above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, rows[i - 2]![j - 2]! + 1);
      }
      row.push(least);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
