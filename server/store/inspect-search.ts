/**
 * Looks at the rows of the search: that each can be read, and that a text and its document say the same of each other. Owns
 * those checks for verify; whose rows they are is asked in strays.ts.
 */
import type { Level } from "./directory.ts";
import { has } from "./documents.ts";
import {
  COUNTER_KEY,
  MARKED_KEY,
  blockOf,
  documentKey,
  offsetOf,
  readCounter,
  readDocuments,
  readIndexed,
  readPlace,
  readText,
  readerKey,
  seqOfTextKey,
  termKey,
  textKey,
} from "./findable.ts";
import { Kind, rangeOf, unseal } from "./layout.ts";
import { guard, rowsOf, type Report } from "./rows.ts";

const SEARCH = "(search)";

export async function inspectSearch(level: Level, report: Report): Promise<void> {
  await rowsOf(level, rangeOf(Kind.text), {}, report, async (key, value) => {
    const id = idIn(key);
    const seq = seqOfTextKey(key);
    const text = guard(id, report, () => readText(id, key, value));
    if (text === undefined) return;
    const { document, terms } = text;
    const place = documentKey(document);
    const stored = await level.get(place);
    const known =
      stored &&
      guard(
        id,
        () => {},
        () => readPlace(place, stored),
      );
    if (known === undefined || known.id !== id || known.seq !== seq)
      report({ session: id, seq, problem: "its text cannot be found by its document" });
    const sets = [
      ...terms.map((term) => termKey(blockOf(document), term)),
      readerKey(undefined, blockOf(document)),
    ];
    const values = await level.getMany(sets);
    const missing = sets.some((set, at) => {
      const documents = guard(
        id,
        () => {},
        () => readDocuments(set, values[at]),
      );
      return documents !== undefined && !has(documents, offsetOf(document));
    });
    if (missing) report({ session: id, seq, problem: "its text is not found by all of its words" });
  });
  await rowsOf(level, rangeOf(Kind.document), {}, report, async (key, value) => {
    const place = guard(SEARCH, report, () => readPlace(key, value));
    if (place === undefined) return;
    const text = textKey(place.id, place.seq);
    const stored = await level.get(text);
    const known =
      stored &&
      guard(
        place.id,
        () => {},
        () => readText(place.id, text, stored),
      );
    if (stored === undefined || (known !== undefined && !documentKey(known.document).equals(key)))
      report({
        session: place.id,
        seq: place.seq,
        problem: "a document says that it has a text and it has none",
      });
  });
  for (const kind of [Kind.term, Kind.found])
    await rowsOf(level, rangeOf(kind), {}, report, (key, value) => {
      guard(SEARCH, report, () => readDocuments(key, value));
    });
  await rowsOf(level, rangeOf(Kind.indexed), {}, report, (key, value) => {
    guard(idIn(key), report, () => readIndexed(idIn(key), key, value));
  });
  await rowsOf(level, rangeOf(Kind.unindexed), {}, report, (key, value) => {
    guard(idIn(key), report, () => unseal(idIn(key), key, value, "its mark as not indexed"));
  });
  const [counter, marked] = await level.getMany([COUNTER_KEY, MARKED_KEY]);
  guard(SEARCH, report, () => readCounter(counter));
  if (marked !== undefined)
    guard(SEARCH, report, () => unseal(SEARCH, MARKED_KEY, marked, "which sessions are marked"));
}

function idIn(key: Buffer): string {
  return key.toString("latin1", 1, key.indexOf(0, 1));
}
