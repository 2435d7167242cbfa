/**
 * Rolling back: a turn that is interrupted and taken out of what the model reads, while the log, the history and people
 * keep it; over compaction, fork and a stop of the process, too.
 */
import { fold } from "../../../protocol/state.ts";
import type { SessionState } from "../../../protocol/frames.ts";
import { readHistory } from "../../../server/session/history.ts";
import { MemoryStore } from "../../../server/store/memory.ts";
import type { ModelPart, ModelRequest } from "../../../server/model/model.ts";
import {
  aborted,
  bodiesOf,
  calls,
  closeRuntimes,
  finishes,
  says,
  startRuntime,
  TestModel,
  type TestRuntime,
  type Turn,
} from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { violations } from "./rules.ts";

const test = suite("rollback");
test.after.each(closeRuntimes);

const hangs = (...parts: ModelPart[]): Turn =>
  async function* (_request, signal) {
    yield* parts;
    yield await aborted(signal);
  };
const answers = (text: string): Turn => [says(text), finishes()];

/** What people and the agent have said, as the model was told. */
function told({ messages }: ModelRequest): string[] {
  return messages.flatMap((message) =>
    message.role === "tool"
      ? ["result"]
      : message.parts.flatMap((part) =>
          part.type === "text" ? [part.text] : part.type === "tool-call" ? ["call"] : [],
        ),
  );
}

async function said(runtime: TestRuntime, session: string): Promise<[string, boolean][]> {
  const { messages } = await runtime.state(session);
  return messages.map(({ parts, rolledBack }) => [
    parts.map((part) => (part.type === "text" ? part.text : part.type)).join(),
    rolledBack ?? false,
  ]);
}

test("the turn that it ends is not read by the model, and stays for people", async () => {
  const model = new TestModel(
    answers("one"),
    [says("looking"), calls("quick"), finishes("tool-calls")],
    hangs(says("half")),
    answers("three"),
  );
  const runtime = await startRuntime({
    model,
    tools: [{ name: "quick", inputSchema: {}, execute: () => 1 }],
  });
  const session = await runtime.session();
  await runtime.run(session, "first");
  await runtime.send(session, "second");
  await runtime.entry(session, "step-finished", ({ finishReason }) => finishReason === "tool-calls");
  await runtime.delta(session, "half");
  await runtime.run(session, "third", { mode: "rollback" });
  assert.equal(told(model.requests.at(-1)!), ["first", "one", "third"]);
  assert.equal(await said(runtime, session), [
    ["first", false],
    ["one", false],
    ["second", true],
    ["looking,dynamic-tool", true],
    ["half", true],
    ["third", false],
    ["three", false],
  ]);
  const log = await runtime.log(session);
  assert.equal(violations(log), []);
  assert.equal(
    bodiesOf(log, "run-finished").map(({ reason, rolledBack }) => [reason, rolledBack]),
    [
      ["text", undefined],
      ["cancelled", true],
      ["text", undefined],
    ],
  );
  for (let limit = 1; limit <= 7; limit++) {
    const pages: [string, boolean][] = [];
    for (let cursor: string | undefined; ;) {
      const page = await readHistory(runtime.runtime.store, await runtime.state(session), cursor, limit);
      pages.unshift(...page.items.map(({ id, rolledBack }): [string, boolean] => [id, rolledBack ?? false]));
      if (page.cursor === undefined) break;
      ({ cursor } = page);
    }
    const { messages } = await runtime.state(session);
    assert.equal(
      pages,
      messages.map(({ id, rolledBack }) => [id, rolledBack ?? false]),
      `history in pages of ${limit}`,
    );
  }
  const copy = await runtime.runtime.forkSession(session, "ada");
  assert.equal(
    (await said(runtime, copy)).map(([text]) => text),
    ["first", "one", "third", "three"],
  );
});

test("a run that is being cancelled can still be rolled back, once, and is after a stop of the process, too", async () => {
  const store = new MemoryStore();
  const close = store.close.bind(store);
  store.close = () => Promise.resolve();
  const setup = {
    store,
    tools: [{ name: "deaf", inputSchema: {}, execute: () => new Promise<never>(() => {}) }],
  };
  const first = await startRuntime({
    ...setup,
    model: new TestModel([calls("deaf"), finishes("tool-calls")]),
  });
  const session = await first.session();
  await first.send(session, "go");
  const { event } = await first.entry(session, "run-started");
  await first.entry(session, "tool-dispatched");
  const asked = await first.cancel(session, event.run);
  for (let again = 0; again < 2; again++)
    assert.equal(await first.cancel(session, event.run, "ada", true), asked);
  await first.runtime.close();
  store.close = close;
  const model = new TestModel(answers("well"));
  const second = await startRuntime({ ...setup, model });
  await second.entry(session, "run-finished");
  await second.run(session, "next");
  assert.equal(told(model.requests[0]!), ["next"]);
  const log = await second.log(session);
  assert.equal(violations(log), []);
  assert.equal(
    bodiesOf(log, "cancel-requested").map(({ rollback }) => rollback),
    [undefined, true],
  );
  const state = log.reduce<SessionState | undefined>(fold, undefined)!;
  assert.equal(
    state.messages.map(({ rolledBack }) => rolledBack ?? false),
    [true, true, false, false],
  );
});

test("without an open run it is an input like others", async () => {
  const model = new TestModel(answers("one"), answers("two"));
  const runtime = await startRuntime({ model });
  const session = await runtime.session();
  await runtime.run(session, "first");
  await runtime.run(session, "second", { mode: "rollback" });
  assert.equal(told(model.requests[1]!), ["first", "one", "second"]);
});

test.run();
