/**
 * Retry: what a run was asked is asked again, once a key, in the name of whoever retries; of runs that answered, are open
 * or are not known here nothing is.
 */
import { fork } from "../../../server/session/fork.ts";
import { retry } from "../../../server/session/retry.ts";
import type { Content } from "../../../protocol/content.ts";
import type { ResultOf } from "../../../protocol/frames.ts";
import {
  aborted,
  bodiesOf,
  caller,
  closeRuntimes,
  finishes,
  says,
  script,
  startRuntime,
  TestModel,
  type TestRuntime,
} from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { violations } from "../agent/rules.ts";

const test = suite("retry");
test.after.each(closeRuntimes);

function again(
  runtime: TestRuntime,
  session: string,
  run: string,
  { key = "again", user = "ada" } = {},
): Promise<ResultOf<"send">> {
  const { registry } = runtime.runtime;
  return registry.with(session, (held) => retry(held, caller(user), { run, key }, runtime.runtime));
}

const broken = script({ text: "half" }, { error: "broken" });

test("what a failed run was asked is queued again, in the name of who retries", async () => {
  const runtime = await startRuntime();
  const session = await runtime.session();
  await runtime.runtime.registry.with(session, (held) =>
    held.exclusive(() => held.append([{ body: { type: "member-changed", user: "bob", role: "editor" } }])),
  );
  const { run, reason } = await runtime.run(session, broken);
  assert.is(reason, "error");
  const { input, duplicate } = await again(runtime, session, run, { user: "bob" });
  assert.is(duplicate, false);
  assert.is((await runtime.endOf(session, input)).reason, "error");
  const log = await runtime.log(session);
  const queued = log.filter(({ event }) => event.type === "input-queued");
  assert.equal(
    queued.map(({ actor }) => actor?.id),
    ["ada", "bob"],
  );
  const [first, second] = bodiesOf(log, "input-queued");
  assert.is(second!.content, first!.content);
  assert.equal([second!.mode, second!.agent, second!.key], ["queue", undefined, "again"]);
  assert.equal(violations(log), []);
});

test("a repeated key answers the first retry; with another run it conflicts", async () => {
  const runtime = await startRuntime();
  const session = await runtime.session();
  const { run } = await runtime.run(session, broken);
  const other = await runtime.run(session, script({ error: "too" }));
  const first = await again(runtime, session, run);
  await runtime.endOf(session, first.input);
  assert.equal(await again(runtime, session, run), { ...first, position: 0, duplicate: true });
  assert.is((await assert.rejects(again(runtime, session, other.run))).code, "conflict");
  const third = await again(runtime, session, run, { key: "another" });
  assert.is(third.duplicate, false);
  await runtime.endOf(session, third.input);
});

test("runs that were cancelled, timed out or cut off can be retried; one that answered cannot", async () => {
  const model = new TestModel(
    async function* (_request, signal) {
      yield says("well");
      await aborted(signal);
    },
    [says("half"), finishes("length")],
    [says("whole"), finishes()],
  );
  const runtime = await startRuntime({ model });
  const session = await runtime.session();
  const { input } = await runtime.send(session, "say it");
  await runtime.delta(session, "well");
  const { event: started } = await runtime.entry(session, "run-started");
  const open = await assert.rejects(again(runtime, session, started.run));
  assert.is(open.code, "conflict");
  await runtime.cancel(session, started.run);
  assert.is((await runtime.endOf(session, input)).reason, "cancelled");
  const cut = await runtime.endOf(session, (await again(runtime, session, started.run, { key: "1" })).input);
  assert.is(cut.reason, "max-tokens");
  const whole = await runtime.endOf(session, (await again(runtime, session, cut.run, { key: "2" })).input);
  assert.is(whole.reason, "text");
  const answered = await assert.rejects(again(runtime, session, whole.run, { key: "3" }));
  assert.equal([answered.code, answered.retryable], ["conflict", false]);
  const older = await again(runtime, session, started.run, { key: "4" });
  await runtime.endOf(session, older.input);
});

test("parts, edits and another agent are as they were", async () => {
  const runtime = await startRuntime({ model: new TestModel([says("half"), finishes("length")]) });
  await runtime.runtime.addAgent({ name: "other" });
  const session = await runtime.session();
  const parts: Content = [
    { type: "text", text: "look" },
    { type: "file", mediaType: "text/plain", url: "data:text/plain,hi" },
    { type: "data-place", data: { at: "sea" } },
  ];
  const { run } = await runtime.run(session, parts, { agent: "other" });
  const { input } = await again(runtime, session, run);
  await runtime.endOf(session, input);
  const [first, second] = bodiesOf(await runtime.log(session), "input-queued");
  assert.equal([second!.content, second!.agent], [first!.content, "other"]);
});

test("runs that are not known here are not found, and closed sessions and strangers are refused", async () => {
  const runtime = await startRuntime();
  const { registry, store } = runtime.runtime;
  const session = await runtime.session();
  const { run } = await runtime.run(session, broken);
  assert.is((await assert.rejects(again(runtime, session, "run_nobody"))).code, "not-found");
  assert.is((await assert.rejects(again(runtime, session, run, { user: "eve" }))).code, "not-found");
  const copy = await registry.with(session, ({ state }) => fork(registry, store, caller("ada"), state));
  assert.is(
    (await assert.rejects(again(runtime, copy.session, run))).code,
    "not-found",
    "it began elsewhere",
  );
  await runtime.close(session);
  assert.is((await assert.rejects(again(runtime, session, run))).code, "closed");
});

test.run();
