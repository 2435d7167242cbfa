/**
 * Models and tools that produce anything at all: every entry they cause fits the wire and passes its scan, every run ends,
 * and the next input runs. Random parts from a printed seed.
 */
import { scanMsgpack } from "../../../protocol/scan.ts";
import { MAX_FRAME_BYTES } from "../../../protocol/version.ts";
import type { ModelPart } from "../../../server/model/model.ts";
import {
  bodiesOf,
  calls,
  callsWith,
  closeRuntimes,
  finishes,
  says,
  startRuntime,
  TestModel,
  type TestRuntime,
} from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { seeded, seedFromEnvironment, type Random } from "../../support/wait.ts";
import { violations } from "./rules.ts";

const test = suite("hostile models and tools");
test.after.each(closeRuntimes);

/** Every entry is one frame that any peer accepts, and the log keeps its rules. */
async function holds(runtime: TestRuntime, session: string): Promise<void> {
  for (const { seq, bytes } of await runtime.runtime.store.read(session, 0, 10_000)) {
    assert.ok(bytes.length <= MAX_FRAME_BYTES, `entry ${seq} has ${bytes.length} bytes`);
    assert.is(scanMsgpack(bytes, 0), bytes.length, `entry ${seq}`);
  }
  assert.equal(violations(await runtime.log(session)), []);
}

async function afterwards(runtime: TestRuntime, session: string): Promise<void> {
  await holds(runtime, session);
  const state = await runtime.state(session);
  assert.is(state.run, undefined);
  assert.equal(state.calls, []);
}

const wide = (n: number): string => JSON.stringify({ list: Array.from({ length: n }, () => 0) });

test("several calls that are each within the bounds and together over them", async () => {
  const model = new TestModel(
    [
      callsWith("work", wide(9_000)),
      callsWith("work", wide(9_000)),
      callsWith("work", wide(9_000)),
      finishes("tool-calls"),
    ],
    [says("done"), finishes()],
  );
  const runtime = await startRuntime({ model, tools: [{ name: "work", inputSchema: {}, execute: () => 1 }] });
  const session = await runtime.session();
  const end = await runtime.run(session, "go");
  assert.is(end.reason, "text");
  await afterwards(runtime, session);
});

test("more calls than a message may have parts, and no warning of it", async () => {
  const warnings: Error[] = [];
  const warned = (warning: Error): void => void warnings.push(warning);
  process.on("warning", warned);
  const many = Array.from({ length: 3_000 }, () => calls("work"));
  const runtime = await startRuntime({
    model: new TestModel([...many, finishes("tool-calls")], [says("done"), finishes()]),
    tools: [{ name: "work", inputSchema: {}, execute: () => 1 }],
  });
  const session = await runtime.session();
  assert.is((await runtime.run(session, "go")).reason, "text");
  await afterwards(runtime, session);
  process.off("warning", warned);
  assert.equal(warnings, []);
});

test("a tool name of a megabyte, and one that is a property of every object", async () => {
  const names = ["x".repeat(1_000_000), "constructor", "__proto__", "toString", "", "\ud800"];
  const runtime = await startRuntime({
    model: new TestModel(
      [...names.map((name) => calls(name)), finishes("tool-calls")],
      [says("done"), finishes()],
    ),
  });
  const session = await runtime.session();
  assert.is((await runtime.run(session, "go")).reason, "text");
  const results = bodiesOf(await runtime.log(session), "tool-result");
  assert.equal(new Set(results.map(({ outcome }) => outcome)), new Set(["unavailable"]));
  assert.is(results.length, names.length);
  await afterwards(runtime, session);
});

test("an error of a megabyte, with half a surrogate in it", async () => {
  const runtime = await startRuntime({
    // oxlint-disable-next-line require-yield
    model: new TestModel(async function* () {
      throw Object.assign(new Error(`${"e".repeat(1_000_000)}\ud800`), { code: 7 });
    }),
  });
  const session = await runtime.session();
  assert.is((await runtime.run(session, "go")).reason, "error");
  await afterwards(runtime, session);
});

test("tools that return or throw anything", async () => {
  const cycle: Record<string, unknown> = {};
  cycle["me"] = cycle;
  const outcomes: [unknown, string][] = [
    [undefined, "ok"],
    [() => 1, "ok"],
    [Symbol("s"), "ok"],
    [Number.NaN, "ok"],
    [new Date(0), "ok"],
    [new Map([[1, 2]]), "ok"],
    ["\ud800", "ok"],
    [{ "\udc00": "\ud800", ok: JSON.parse('{"__proto__":1}') as unknown }, "ok"],
    [{ toJSON: () => "mine" }, "ok"],
    [10n, "error"],
    [cycle, "error"],
    ["x".repeat(2_000_000), "error"],
    [Array.from({ length: 20_000 }, () => 1), "error"],
    [JSON.parse(`${"[".repeat(30)}${"]".repeat(30)}`), "error"],
  ];
  const throws: unknown[] = [
    Object.create(null),
    Object.assign(new Error("x"), { message: { toString: 1 } }),

    new Error("e".repeat(1_000_000)),
    "a string",
    null,
    undefined,
    { code: 1 },
    new Error("\ud800"),
  ];
  const results = [
    ...outcomes.map(
      ([value]) =>
        () =>
          value,
    ),
    ...throws.map((value) => () => Promise.reject(value)),
  ];
  const runtime = await startRuntime({
    model: new TestModel(
      [...results.map((_, n) => calls("work", { n })), finishes("tool-calls")],
      [says("done"), finishes()],
    ),
    tools: [{ name: "work", inputSchema: {}, execute: (input) => results[(input as { n: number }).n]?.() }],
  });
  const session = await runtime.session();
  assert.is((await runtime.run(session, "go")).reason, "text");
  await afterwards(runtime, session);
  const state = await runtime.state(session);
  const parts = state.messages[1]?.parts ?? [];
  const shown = parts.map((part) => (part.type === "dynamic-tool" ? part.state : part.type));
  const expected = [...outcomes.map(([, outcome]) => outcome), ...throws.map(() => "error")];
  assert.equal(
    shown,
    expected.map((outcome) => (outcome === "ok" ? "output-available" : "output-error")),
  );
});

test("outputs that are each within the bounds and together over a frame stay readable", async () => {
  const runtime = await startRuntime({
    model: new TestModel(
      [calls("work"), calls("work"), calls("work"), finishes("tool-calls")],
      [says("done"), finishes()],
    ),
    tools: [{ name: "work", inputSchema: {}, execute: () => "x".repeat(700_000) }],
  });
  const session = await runtime.session();
  assert.is((await runtime.run(session, "go")).reason, "text");
  await afterwards(runtime, session);
});

function randomPart(random: Random): ModelPart {
  const text = random.pick(["", "a", "\ud83d", "\ude00", "\u0000", "x".repeat(5_000), "é".repeat(300)]);
  const block = String(random.int(4));
  const tool = random.pick(["work", "work", "nobody", "", "constructor"]);
  const input = random.pick([
    "",
    "{}",
    "{",
    "null",
    "[1",
    '{"__proto__":1}',
    "1e400",
    wide(500),
    '"\\ud800"',
    "[[[[]]]]",
  ]);
  return random.pick<ModelPart>([
    { type: "text", block, text },
    { type: "reasoning", block, text },
    { type: "tool-input", block, tool, text },
    { type: "tool-call", block, tool, input },
    { type: "tool-output", block, ok: random.chance(0.5), value: text },
    { type: "file", mediaType: "image/png", url: `data:image/png;base64,${"A".repeat(random.int(200))}` },
    { type: "text", block, text, state: { signature: text } },
    { type: "tool-call", block: `p${block}`, tool, input, executed: true },
  ]);
}

test("random streams end their run, and leave a log that keeps the rules", { limitMs: 60_000 }, async () => {
  const random = seeded(seedFromEnvironment());
  const model = new TestModel(async function* (request) {
    const played = request.messages.filter(({ role }) => role === "assistant").length;
    for (let n = random.int(30); n > 0; n--) yield randomPart(random);
    if (random.chance(0.1)) throw new Error("a fault");
    if (random.chance(0.1)) return;
    yield finishes(
      played > 40
        ? "stop"
        : random.pick(["stop", "tool-calls", "length", "content-filter", "error", "other"]),
    );
  });
  const execute = (): unknown =>
    random.chance(0.2) ? Promise.reject(new Error("no")) : { text: "\ud800", n: -0 };
  const runtime = await startRuntime({
    model,
    agent: { maxSteps: 5 },
    tools: [{ name: "work", inputSchema: {}, execute }],
  });
  for (let round = 0; round < 60; round++) {
    const session = await runtime.session();
    await runtime.run(session, "go");
    await runtime.run(session, "go on");
    await afterwards(runtime, session);
  }
});

test.run();
