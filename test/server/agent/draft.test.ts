/**
 * The message that a model is writing: parts by their blocks, deltas that never end inside a surrogate pair, calls that
 * are whole or nothing, and a budget that marks what it cuts. Includes what the seed asserted of its message builder.
 */
import { MAX_PAYLOAD_BYTES } from "../../../protocol/version.ts";
import { measure } from "../../../protocol/values.ts";
import { Draft } from "../../../server/agent/draft.ts";
import type { ModelPart } from "../../../server/model/model.ts";
import { assert, suite } from "../../support/suite.ts";
import { seeded, seedFromEnvironment } from "../../support/wait.ts";

const test = suite("the draft of a message");

type Part = Exclude<ModelPart, { type: "finish" }>;
const text = (words: string, block = "t"): Part => ({ type: "text", block, text: words });
const reasoning = (words: string, block = "r"): Part => ({ type: "reasoning", block, text: words });
const input = (words: string, block: string, tool = "work"): Part => ({
  type: "tool-input",
  block,
  tool,
  text: words,
});
const call = (json: string, block: string, tool = "work"): Part => ({
  type: "tool-call",
  block,
  tool,
  input: json,
});

function draftOf(...parts: Part[]): { draft: Draft; deltas: { part: number; text: string }[] } {
  const draft = new Draft("msg_1");
  return { draft, deltas: parts.map((part) => draft.add(part)) };
}

test("text and reasoning accumulate by their blocks, in order of their beginning", () => {
  const { draft, deltas } = draftOf(reasoning("a"), text("x"), reasoning("b"), text("y"), text("z", "t2"));
  assert.equal(
    deltas.map(({ part }) => part),
    [0, 1, 0, 1, 2],
  );
  const done = draft.finish(true);
  assert.equal(done.parts, [
    { type: "reasoning", text: "ab" },
    { type: "text", text: "xy" },
    { type: "text", text: "z" },
  ]);
  assert.is(done.text, "xyz");
});

test("a block's name is its kind's own: text 0 and reasoning 0 are two parts", () => {
  const { draft } = draftOf(text("x", "0"), reasoning("y", "0"));
  assert.is(draft.finish(true).parts.length, 2);
});

test("a part begins once", () => {
  const draft = new Draft("msg_1");
  assert.is(draft.begun, false);
  assert.equal(draft.add(text("a")).begins, { part: 0, kind: "text" });
  assert.is(draft.add(text("b")).begins, undefined);
  assert.is(draft.begun, true);
});

test("a call is announced by its id and tool, and keeps both", () => {
  const draft = new Draft("msg_1");
  const { begins } = draft.add(input('{"a"', "c1"));
  assert.is(begins?.kind, "tool-input");
  assert.is(begins?.tool, "work");
  assert.match(begins?.call ?? "", /^call_/);
  draft.add(input(":1}", "c1"));
  draft.add(call('{"a":1}', "c1"));
  const { calls, parts } = draft.finish(true);
  assert.equal(calls, [{ call: begins!.call!, tool: "work", input: { a: 1 }, fault: undefined }]);
  assert.equal(parts, [
    {
      type: "dynamic-tool",
      toolName: "work",
      toolCallId: begins!.call!,
      state: "input-available",
      input: { a: 1 },
    },
  ]);
});

test("calls keep the order in which they began, each with an id of its own", () => {
  const { draft } = draftOf(
    input("", "b"),
    input("", "a"),
    call("{}", "a"),
    call("{}", "b"),
    call("{}", "c"),
  );
  const { calls } = draft.finish(true);
  assert.is(new Set(calls.map((each) => each.call)).size, 3);
  assert.is(calls.length, 3);
});

test("a call that was only begun is dropped", () => {
  const { draft } = draftOf(text("hm"), input('{"a":', "c1"));
  assert.equal(draft.finish(true).calls, []);
  assert.is(draft.finish(true).parts.length, 1);
});

test("an unannounced call shows its input whole, an announced one not twice", () => {
  assert.is(draftOf(call('{"a":1}', "c")).deltas[0]?.text, '{"a":1}');
  assert.is(draftOf(input('{"a":1}', "c"), call('{"a":1}', "c")).deltas[1]?.text, "");
});

test("no input at all is the empty object", () => {
  for (const nothing of ["", "  \n"]) {
    const { calls } = draftOf(call(nothing, "c")).draft.finish(true);
    assert.equal([calls[0]?.input, calls[0]?.fault], [{}, undefined]);
  }
});

test("an input that is no JSON, or more than a payload may be, is a fault of the call", () => {
  const deep = `${"[".repeat(20)}${"]".repeat(20)}`;
  const wide = JSON.stringify(Array.from({ length: 10_001 }, () => 0));
  for (const bad of ["{", "nonsense", '{"a":1} trailing', deep, wide, '"\\ud800']) {
    const { calls } = draftOf(call(bad, "c")).draft.finish(true);
    assert.ok(calls[0]?.fault !== undefined, bad.slice(0, 30));
  }
});

test("an input cannot carry what the wire has no form for", () => {
  const { calls } = draftOf(
    call('{"__proto__":{"admin":true},"a":"\\ud800","\\udc00":1e400}', "c"),
  ).draft.finish(true);
  assert.equal(calls[0]?.input, { a: "\ufffd", "\ufffd": null });
  assert.is(calls[0]?.fault, undefined);
});

test("a surrogate pair that comes in two is one delta", () => {
  const { draft, deltas } = draftOf(
    text("a\ud83d"),
    text("\ude00b"),
    text("\ud83d"),
    text(""),
    text("\ude00"),
  );
  assert.equal(
    deltas.map((delta) => delta.text),
    ["a", "😀b", "", "", "😀"],
  );
  assert.is(draft.finish(true).text, "a😀b😀");
});

test("half a pair that never becomes whole is made well formed", () => {
  const { draft } = draftOf(text("a\ud83d"), text("b\ude00c"));
  assert.is(draft.finish(true).text, "a\ufffdb\ufffdc");
});

test("however a text is cut into pieces, its deltas are well formed and add up", () => {
  const random = seeded(seedFromEnvironment());
  for (let round = 0; round < 300; round++) {
    const whole = Array.from({ length: random.int(40) }, () => random.pick(["a", "ü", "€", "😀", "👩🏽‍🚀"])).join(
      "",
    );
    const draft = new Draft("msg_1");
    let shown = "";
    for (let at = 0; at < whole.length;) {
      const size = 1 + random.int(5);
      const delta = draft.add(text(whole.slice(at, at + size))).text;
      assert.ok(delta.isWellFormed());
      shown += delta;
      at += size;
    }
    assert.is(shown, whole);
    assert.is(draft.finish(true).text, whole);
  }
});

test("a text over the budget is cut and marked; what is shown is what is kept", () => {
  for (const size of [1_000, 100_000, 2_000_000]) {
    const draft = new Draft("msg_1");
    let shown = "";
    for (let at = 0; at < 2_000_000; at += size) shown += draft.add(text("x".repeat(size))).text;
    const { parts, text: kept } = draft.finish(true);
    assert.is(kept, shown);
    assert.equal(parts, [{ type: "text", text: kept, truncated: true }]);
    assert.ok(measure(parts).bytes <= MAX_PAYLOAD_BYTES + 64, `${measure(parts).bytes} bytes`);
  }
});

test("small pieces are not cut sooner than large ones", () => {
  const draft = new Draft("msg_1");
  for (let n = 0; n < 400_000; n++) draft.add(text("x"));
  const { parts, text: kept } = draft.finish(true);
  assert.is(kept.length, 400_000);
  assert.equal(Object.keys(parts[0] ?? {}), ["type", "text"], "not marked as cut");
});

test("a call whose input is cut cannot be executed", () => {
  const { draft } = draftOf(call(JSON.stringify({ a: "x".repeat(900_000) }), "c"));
  const { calls } = draft.finish(true);
  assert.is(calls[0]?.input, null);
  assert.match(calls[0]?.fault ?? "", /over the limit/);
});

test("the budget is the message's, not each part's", () => {
  const { draft } = draftOf(text("x".repeat(500_000)), reasoning("y".repeat(500_000)));
  const { parts } = draft.finish(true);
  assert.ok(measure(parts).bytes <= MAX_PAYLOAD_BYTES + 128);
  assert.equal(
    parts.map((part) => "truncated" in part),
    [false, true],
  );
});

test("a message has a bounded number of parts", () => {
  const draft = new Draft("msg_1");
  for (let n = 0; n < 2_000; n++) draft.add(text("x", `t${n}`));
  assert.is(draft.finish(true).parts.length, 512);
});

test("a tool's name is cut by characters", () => {
  const { draft } = draftOf(call("{}", "c", `${"x".repeat(255)}😀`));
  const [asked] = draft.finish(true).calls;
  assert.ok(asked?.tool.isWellFormed());
  assert.ok((asked?.tool.length ?? 999) <= 256);
});

test("what was shown is what is taken back", () => {
  const { draft } = draftOf(reasoning("hidden"), text("one "), call("{}", "c"), text("two", "t2"));
  assert.is(draft.shown, "one two");
});

test.run();
