/**
 * What a word is for the search, what is looked for, and the piece of a text that is shown.
 */
import { snippetOf } from "../../../server/session/snippet.ts";
import { MAX_TEXT, termsOf, wantedOf, words } from "../../../server/session/words.ts";
import { assert, suite } from "../../support/suite.ts";

const test = suite("words of a search");

const shown = (text: string, wanted: string): string => {
  const { snippet, marks } = snippetOf(text, wantedOf(wanted));
  return marks.reduceRight((line, [from, to]) => {
    return `${line.slice(0, from)}[${line.slice(from, to)}]${line.slice(to)}`;
  }, snippet);
};

test("words are runs of letters, marks and digits, in one case and without accents", () => {
  assert.equal(termsOf("Don't PANIC: 42 snake_case, a/b"), [
    "don",
    "t",
    "panic",
    "42",
    "snake",
    "case",
    "a",
    "b",
  ]);
  assert.equal(termsOf("Grüße ÉIDER ﬁn Ｗｉｄｅ ΟΔΟΣ İstanbul"), [
    "grusse",
    "eider",
    "fin",
    "wide",
    "οδοσ",
    "istanbul",
  ]);
  assert.equal(termsOf("Привет हिन्दी 한국어"), ["привет", "हिन्दी", "한국어"]);
  assert.equal(termsOf("e\u0301 é"), ["e"]);
  assert.equal(termsOf("🦭 — \u0000 …"), []);
});

test("scripts without spaces are taken apart in pairs of characters", () => {
  assert.equal(termsOf("東京都へ"), ["東京", "京都", "都へ", "へ"]);
  assert.equal(termsOf("v2東京ok"), ["v2", "東京", "京", "ok"]);
  assert.equal(termsOf("𠮷野家"), ["𠮷野", "野家", "家"]);
  assert.equal(wantedOf("京都"), { terms: [], prefix: "京都" });
  assert.equal(wantedOf("東京都"), { terms: ["東京"], prefix: "京都" });
  assert.equal(wantedOf("東"), { terms: [], prefix: "東" });
});

test("places are those of the text, whatever folding makes of a word", () => {
  const text = "a Größe\u0301 東京 z";
  const found = [...words(text)].map(({ term, from, to }) => [term, text.slice(from, to)]);
  assert.equal(found, [
    ["a", "a"],
    ["grosse", "Größe\u0301"],
    ["東京", "東京"],
    ["京", "京"],
    ["z", "z"],
  ]);
});

test("the last word counts as a beginning of two characters or more, the others whole", () => {
  assert.equal(wantedOf("Blue sea  seal"), { terms: ["blue", "sea"], prefix: "seal" });
  assert.equal(wantedOf("sea sea s"), { terms: ["sea", "s"] });
  assert.equal(wantedOf("?!"), { terms: [] });
});

test("words, texts and what is looked for are bounded", () => {
  assert.equal(termsOf("x".repeat(1000)), ["x".repeat(32)]);
  assert.equal(wantedOf("é".repeat(40)), { terms: [], prefix: "e".repeat(32) });
  assert.is(termsOf(Array.from({ length: 5000 }, (_, at) => `w${at}`).join(" ")).length, 2000);
  assert.equal(termsOf(`${" ".repeat(MAX_TEXT)}late`), []);
  const many = wantedOf(Array.from({ length: 100 }, (_, at) => `w${at}`).join(" "));
  assert.is(many.terms.length, 15);
  assert.is(many.prefix, "w99");
});

test("a snippet begins a little before the first mark and marks what was looked for", () => {
  assert.is(
    shown("The ÉIDER sleeps, eiderdown too.", "sleeps eider"),
    "The [ÉIDER] [sleeps], [eiderdown] too.",
  );
  const long = `${"before ".repeat(30)}here is the needle${" after".repeat(60)}`;
  assert.match(shown(long, "needle"), /^…(before )+here is the \[needle\] after.{90,}…$/);
  assert.is(snippetOf(long, wantedOf("needle")).snippet.length, 162);
  assert.is(shown("東京都庁", "京都"), "東[京都]庁");
  assert.is(shown("nothing of it", "absent"), "nothing of it");
});

test("no character is cut in two, and no mark leaves the snippet", () => {
  for (let shift = 0; shift < 4; shift++) {
    const text = `${"x".repeat(shift)}${"🦭".repeat(40)} needle ${"🦭".repeat(200)}${"long".repeat(100)}`;
    const { snippet, marks } = snippetOf(text, wantedOf("needle long"));
    assert.ok(snippet.isWellFormed());
    for (const [from, to] of marks) assert.ok(from < to && to <= snippet.length);
  }
  const { snippet, marks } = snippetOf(`needle ${"a".repeat(148)} needlework`, wantedOf("needle"));
  assert.equal(
    marks.map(([from, to]) => snippet.slice(from, to)),
    ["needle", "need"],
  );
});

test.run();
