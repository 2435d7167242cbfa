/**
 * Unfinished text: parts and offsets as they were streamed, until their message is committed or taken back. What it hands
 * out is a copy.
 */
import { LiveText } from "../../../server/session/live.ts";
import { assert, suite } from "../../support/suite.ts";

const test = suite("unfinished text");

let live: LiveText;
test.before.each(() => {
  live = new LiveText();
});

test("there is none at first", () => {
  assert.is(live.partial, undefined);
  live.clear();
  assert.is(live.partial, undefined);
});

test("offsets count UTF-16 units of each part", () => {
  live.begin("run_1", "msg_1", 0, "reasoning");
  live.begin("run_1", "msg_1", 1, "text");
  assert.equal(live.append("msg_1", 1, "a😀"), { kind: "text", offset: 0 });
  assert.equal(live.append("msg_1", 0, "hm"), { kind: "reasoning", offset: 0 });
  assert.equal(live.append("msg_1", 1, "b"), { kind: "text", offset: 3 });
  assert.equal(live.partial, {
    run: "run_1",
    message: "msg_1",
    parts: [
      { part: 0, kind: "reasoning", text: "hm" },
      { part: 1, kind: "text", text: "a😀b" },
    ],
  });
});

test("a call's part says which call and which tool", () => {
  live.begin("run_1", "msg_1", 0, "tool-input", "call_1", "work");
  live.append("msg_1", 0, "{}");
  assert.equal(live.partial?.parts, [
    { part: 0, kind: "tool-input", call: "call_1", tool: "work", text: "{}" },
  ]);
});

test("text of a message or part that was not begun goes nowhere", () => {
  assert.is(live.append("msg_1", 0, "x"), undefined);
  live.begin("run_1", "msg_1", 0, "text");
  assert.is(live.append("msg_2", 0, "x"), undefined);
  assert.is(live.append("msg_1", 1, "x"), undefined);
  assert.is(live.partial?.parts[0]?.text, "");
});

test("the next message takes the place of the last", () => {
  live.begin("run_1", "msg_1", 0, "text");
  live.append("msg_1", 0, "old");
  live.begin("run_1", "msg_2", 0, "text");
  assert.equal(live.partial, {
    run: "run_1",
    message: "msg_2",
    parts: [{ part: 0, kind: "text", text: "" }],
  });
});

test("a message's end clears its own text, the run's end clears all", () => {
  live.begin("run_1", "msg_2", 0, "text");
  live.clear("msg_1");
  assert.ok(live.partial !== undefined);
  live.clear("msg_2");
  assert.is(live.partial, undefined);
  live.begin("run_1", "msg_3", 0, "text");
  live.clear();
  assert.is(live.partial, undefined);
});

test("what is handed out does not grow", () => {
  live.begin("run_1", "msg_1", 0, "text");
  live.append("msg_1", 0, "a");
  const { partial } = live;
  live.append("msg_1", 0, "b");
  live.begin("run_1", "msg_1", 1, "text");
  assert.equal(partial?.parts, [{ part: 0, kind: "text", text: "a" }]);
});

test("what a process before had streamed is shown again", () => {
  const partial = {
    run: "run_1",
    message: "msg_1",
    parts: [{ part: 0, kind: "text" as const, text: "half" }],
  };
  live.restore(partial);
  assert.equal(live.partial, partial);
  live.clear("msg_1");
  assert.is(live.partial, undefined);
});

test.run();
