/**
 * The text of a conversation and of a terminal: the same for every reader, harmless, of known width.
 */
import fc from "fast-check";
import { Conversation } from "../../client/cli/conversation.ts";
import { CatchUp } from "../../client/cli/follow.ts";
import { clean, jsonLine, lastRow, oneLine } from "../../client/cli/text.ts";
import { suite, assert } from "../support/suite.ts";
import { seedFromEnvironment } from "../support/wait.ts";
import { ann, Log, noUsage } from "./support/entries.ts";

const test = suite("client conversation");
const seed = seedFromEnvironment();
const HOSTILE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/u;

function printed(use: (conversation: Conversation) => void): string {
  let text = "";
  use(new Conversation((piece) => void (text += piece)));
  return text;
}

/** A conversation with everything in it; `text` is what the agent says first. */
function talk(text: string): Log {
  const log = new Log();
  log.created();
  log.asked("hi\nthere", { input: "msg_1", run: "run_1" });
  log.answered("msg_2", "run_1", [
    { type: "text", text },
    {
      type: "dynamic-tool",
      toolName: "clock",
      toolCallId: "call_1",
      state: "input-available",
      input: { a: 1 },
    },
  ]);
  log.add({
    type: "tool-result",
    call: "call_1",
    attempt: 1,
    outcome: "ok",
    output: { now: 1 },
    durationMs: 12,
  });
  log.add({ type: "message-abandoned", message: "msg_3", text: "half a thou", cause: "overloaded" });
  log.answered("msg_4", "run_1", [{ type: "text", text: "cut o" }], true);
  log.add({ type: "session-updated", title: "New\u001b[2J" }, { actor: ann });
  log.add(
    { type: "run-finished", run: "run_1", reason: "cancelled", steps: 1, usage: noUsage, model: "m" },
    { run: "run_1" },
  );
  log.add({ type: "session-closed" }, { actor: ann });
  return log;
}

test("is printed line by line, later lines set in", () => {
  const log = talk("Look:\n\n- one\n");
  const text = printed((conversation) => log.entries.forEach((entry) => conversation.entry(entry)));
  assert.is(
    text,
    [
      "Ann> hi",
      "  there",
      "demo: Look:",
      "  ",
      "  - one",
      '  * clock({"a":1}) ok in 12 ms {"now":1}',
      "demo: half a thou",
      "  [abandoned: overloaded]",
      "demo: cut o",
      "  [incomplete]",
      '-- the title is now "New␛[2J"',
      "-- the run ended: cancelled",
      "-- the session was closed by Ann",
      "",
    ].join("\n"),
  );
});

test("who sees the text being written, in whatever pieces, prints what a late comer prints", () => {
  const text = fc.array(fc.constantFrom("word ", "\n", "\r\n", "\u001b[1m", "\u{1f980}", "  ", "x"), {
    maxLength: 30,
  });
  fc.assert(
    fc.property(text, fc.array(fc.nat(100), { maxLength: 10 }), fc.boolean(), (pieces, cuts, whole) => {
      const said = pieces.join("");
      const log = talk(said);
      const late = printed((conversation) => log.entries.forEach((entry) => conversation.entry(entry)));
      const live = printed((conversation) => {
        for (const entry of log.entries) {
          if (entry.event.type === "message" && entry.event.message.id === "msg_2") {
            // Never inside a surrogate pair, and perhaps not to the end.
            const at = [...cuts.map((cut) => cut % (said.length + 1)), ...(whole ? [said.length] : [])]
              .sort((a, b) => a - b)
              .filter((cut) => said.slice(0, cut).isWellFormed());
            let from = 0;
            for (const to of at) {
              conversation.delta({
                message: "msg_2",
                part: 0,
                kind: "text",
                offset: from,
                text: said.slice(from, to),
              });
              from = to;
            }
          }
          conversation.entry(entry);
        }
      });
      assert.is(live, late);
      assert.not.ok(HOSTILE.test(late));
    }),
    { seed, numRuns: 300 },
  );
});

test("who joins prints the last messages only, and knows the calls of the others", () => {
  const log = talk("first");
  log.asked("more", { input: "msg_9", run: "run_2" });
  const text = printed((conversation) => {
    const catchUp = new CatchUp(conversation, 1);
    for (const entry of log.entries) catchUp.entry(entry);
    catchUp.done();
    catchUp.delta({ message: "msg_10", part: 0, kind: "text", offset: 0, text: "answer" });
  });
  assert.is(text, "Ann> more\ndemo: answer");
});

test("two text parts are two lines, reasoning and tool input are not printed", () => {
  const text = printed((conversation) => {
    conversation.delta({ message: "m", part: 0, kind: "reasoning", offset: 0, text: "hm" });
    conversation.delta({ message: "m", part: 1, kind: "text", offset: 0, text: "one" });
    conversation.delta({ message: "m", part: 2, kind: "tool-input", offset: 0, text: "{" });
    conversation.delta({ message: "m", part: 3, kind: "text", offset: 0, text: "two" });
    conversation.end();
  });
  assert.is(text, "agent: one\n  two\n");
});

test("clean text holds nothing that drives a terminal, whatever it was, and stays what it was otherwise", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.integer({ min: 0, max: 0x2100 }).map((code) => String.fromCharCode(code)) }),
      (text) => {
        assert.not.ok(HOSTILE.test(clean(text)));
        assert.not.ok(/[\n\t]/.test(oneLine(text)));
      },
    ),
    { seed, numRuns: 500 },
  );
  assert.is(clean("Grüße, 世界 👩‍👩‍👧\t\n"), "Grüße, 世界 👩‍👩‍👧\t\n");
});

test("a frame as JSON is harmless and still the same frame", () => {
  const frame = { text: "\u001b]0;x\u0007 \u202e \u009b \u2028", "k\u0085": 1 };
  assert.not.ok(HOSTILE.test(jsonLine(frame)));
  assert.equal(JSON.parse(jsonLine(frame)), frame);
});

test("the last row is where a terminal of that width has it", () => {
  assert.equal(lastRow("", "abc", 5), { row: "abc", rows: 0 });
  assert.equal(lastRow("abc", "de", 5), { row: "abcde", rows: 0 });
  assert.equal(lastRow("abcde", "f", 5), { row: "f", rows: 1 });
  assert.equal(lastRow("", "abcdefghijk", 5), { row: "k", rows: 2 });
  assert.equal(lastRow("abc", "世界", 5), { row: "界", rows: 1 });
  assert.equal(lastRow("", "世界世", 5), { row: "世", rows: 1 });
  assert.equal(lastRow("a", "e\u0301e\u0301", 3), { row: "ae\u0301e\u0301", rows: 0 });
  assert.equal(lastRow("", "👩‍👩‍👧!", 3), { row: "👩‍👩‍👧!", rows: 0 });
});

test.run();
