/**
 * The laws of fold, for every log: states are never changed in place, cutting to the tail commutes with folding, history
 * is bounded in bytes, and the state is a JSON value that a snapshot can carry.
 */
import fc from "fast-check";
import { decodeTrusted, encodeFrame } from "../../protocol/codec.ts";
import type { EventFrame } from "../../protocol/entries.ts";
import { eventFrame } from "../../protocol/entries.ts";
import type { SessionState } from "../../protocol/frames.ts";
import { sessionState } from "../../protocol/frames.ts";
import { messageSize } from "../../protocol/size.ts";
import { cut, fold, RETAIN_BYTES, RETAIN_MESSAGES } from "../../protocol/state.ts";
import { assert, suite } from "../support/suite.ts";
import { seedFromEnvironment } from "../support/wait.ts";
import { assistantMessage, choices, entry, randomLog, userMessage } from "./logs.ts";

const test = suite("laws of fold");
const seed = seedFromEnvironment();

function foldAll(log: readonly EventFrame[], from?: SessionState): SessionState {
  let state = from;
  for (const item of log) state = fold(state, item);
  assert.ok(state);
  return state;
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}

test("random logs are valid, and long enough to say something", () => {
  const seen = new Set<string>();
  for (const log of fc.sample(choices.map(randomLog), { numRuns: 500, seed })) {
    for (const item of log) {
      seen.add(item.event.type);
      if ((item.event.type as string) !== "something-new") eventFrame.parse(item);
    }
  }
  assert.is(seen.size, 30, [...seen].join());
});

test("fold never changes a state or an entry in place", () => {
  fc.assert(
    fc.property(choices, (numbers) => {
      let state: SessionState | undefined;
      // A write to a frozen object throws in a module.
      for (const item of randomLog(numbers)) state = deepFreeze(fold(state, deepFreeze(item)));
      deepFreeze(cut(state!, 3));
    }),
    { seed },
  );
});

test("folding commutes with cutting to the tail", () => {
  fc.assert(
    fc.property(choices, fc.nat(), fc.nat(8), (numbers, where, tail) => {
      const log = randomLog(numbers);
      const at = 1 + (where % log.length);
      const early = cut(foldAll(log.slice(0, at)), tail);
      assert.equal(cut(foldAll(log.slice(at), early), tail), cut(foldAll(log), tail));
    }),
    { numRuns: 500, seed },
  );
});

test("folding commutes with a snapshot's way over the wire", () => {
  fc.assert(
    fc.property(choices, fc.nat(), (numbers, where) => {
      const log = randomLog(numbers);
      const at = 1 + (where % log.length);
      const carried = decodeTrusted(encodeFrame(foldAll(log.slice(0, at)))) as SessionState;
      assert.equal(foldAll(log.slice(at), carried), foldAll(log));
    }),
    { seed },
  );
});

test("every state is what the schema of a snapshot says", () => {
  fc.assert(
    fc.property(choices, (numbers) => {
      const state = foldAll(randomLog(numbers));
      assert.equal(sessionState.parse(state), state);
    }),
    { seed },
  );
});

test("cutting keeps the last messages and any with open calls", () => {
  const log = [entry(1, { type: "session-created", agent: "demo", owner: "ada" })];
  log.push(entry(2, { type: "message", message: assistantMessage("open", ["call_1"]) }));
  for (let i = 3; i <= 12; i++) log.push(entry(i, { type: "message", message: userMessage(`m${i}`) }));
  const state = foldAll(log);
  assert.equal(
    cut(state, 2).messages.map((message) => message.id),
    ["open", "m11", "m12"],
  );
  assert.equal(
    cut(state, 0).messages.map((message) => message.id),
    ["open"],
  );
  assert.is(cut(state, 200), state);
  const done = fold(state, entry(13, { type: "tool-result", call: "call_1", outcome: "ok", durationMs: 1 }));
  assert.equal(
    cut(done, 2).messages.map((message) => message.id),
    ["m11", "m12"],
  );
});

test("a state keeps messages within its bytes: the newest always, and those with open calls", () => {
  const log = [entry(1, { type: "session-created", agent: "demo", owner: "ada" })];
  log.push(entry(2, { type: "message", message: assistantMessage("open", ["call_1"]) }));
  const text = "x".repeat(700_000);
  for (let i = 3; i <= 20; i++) log.push(entry(i, { type: "message", message: userMessage(`m${i}`, text) }));
  const state = foldAll(log);
  const ids = state.messages.map((message) => message.id);
  assert.equal(ids, ["open", "m16", "m17", "m18", "m19", "m20"]);
  const kept = state.messages.slice(1);
  const total = kept.reduce((sum, message) => sum + messageSize(message).bytes, 0);
  assert.ok(total <= RETAIN_BYTES && total + 700_000 > RETAIN_BYTES);
  const done = fold(state, entry(21, { type: "tool-result", call: "call_1", outcome: "ok", durationMs: 1 }));
  assert.not(done.messages.some((message) => message.id === "open" && done.messages.length > 6));
  const huge = fold(
    state,
    entry(21, { type: "message", message: userMessage("huge", "x".repeat(RETAIN_BYTES)) }),
  );
  assert.equal(
    huge.messages.map((message) => message.id),
    ["open", "huge"],
  );
});

test("compacted drops what it covers, but for the last messages and those with open calls", () => {
  const log = [entry(1, { type: "session-created", agent: "demo", owner: "ada" })];
  log.push(entry(2, { type: "message", message: assistantMessage("open", ["call_1"]) }));
  const count = RETAIN_MESSAGES + 50;
  for (let i = 3; i <= count; i++) log.push(entry(i, { type: "message", message: userMessage(`m${i}`) }));
  const all = foldAll([...log, entry(count + 1, { type: "compacted", upTo: count, summary: "short" })]);
  assert.is(all.messages.length, RETAIN_MESSAGES + 1);
  assert.is(all.messages[0]!.id, "open");
  assert.equal(all.compacted, { upTo: count, summary: "short" });
  const some = foldAll([...log, entry(count + 1, { type: "compacted", upTo: 10, summary: "short" })]);
  assert.equal(
    some.messages.slice(0, 2).map((message) => message.id),
    ["open", "m11"],
  );
});

test.run();
