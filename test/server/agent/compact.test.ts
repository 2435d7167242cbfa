/**
 * Compaction that a member asks for: what the model is shown before and after, that nothing leaves the log, that no input
 * waits for it, and that a summary which fails or is stopped changes nothing.
 */
import { readHistory } from "../../../server/session/history.ts";
import { ModelError } from "../../../server/model/model.ts";
import {
  aborted,
  bodiesOf,
  calls,
  Clock,
  closeRuntimes,
  finishes,
  says,
  type RuntimeSetup,
} from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { deferred } from "../../support/wait.ts";
import { answers, compact, failing, started, textsOf } from "./compacting.ts";
import { violations } from "./rules.ts";

const test = suite("compaction that is asked for");
test.after.each(closeRuntimes);

test("asked for, a summary takes the place of what it covers in the prompt, and nothing leaves the log", async () => {
  const { model, runtime, session } = await started([
    answers("hello Ada"),
    answers("They greeted."),
    answers("well"),
  ]);
  await runtime.run(session, "hello");
  const before = await runtime.log(session);
  const { seq } = await compact(runtime, session);
  const log = await runtime.log(session);
  assert.equal(log.slice(0, -1), before);
  const entry = log.at(-1)!;
  assert.is(entry.seq, seq);
  assert.is(entry.actor?.id, "ada");
  assert.equal(entry.event, {
    type: "compacted",
    upTo: before.find(({ event }) => event.type === "message" && event.message.role === "assistant")!.seq,
    summary: "They greeted.",
    usage: { inputTokens: 3, outputTokens: 2 },
  });
  const [, asked] = model.requests;
  assert.equal(textsOf(asked!).slice(0, 2), ["hello", "hello Ada"]);
  assert.match(textsOf(asked!)[2]!, /^Write a summary of this conversation/);
  assert.equal([asked!.tools, asked!.toolChoice], [[], "none"]);
  await runtime.run(session, "and you?");
  assert.equal(textsOf(model.requests[2]!), ["Summary of what came before:\nThey greeted.", "and you?"]);
  const state = await runtime.state(session);
  assert.is(state.messages.length, 4, "readers keep what they show");
  const { items } = await readHistory(runtime.runtime.store, state, undefined, 200);
  assert.equal(
    items.map(({ id }) => id),
    state.messages.map(({ id }) => id),
  );
  assert.equal(violations(await runtime.log(session)), []);
});

test("calls and results reach the summary in words, and hooks may change what asks for it", async () => {
  const prompts: string[] = [];
  const { model, runtime, session } = await started(
    [[calls("look", { at: "sea" }), finishes("tool-calls")], answers("a seal"), answers("They saw a seal.")],
    {
      tools: [{ name: "look", inputSchema: {}, execute: () => ({ seen: "seal" }) }],
      hook: [
        {
          onCompact: (prompt) => {
            prompts.push(prompt);
            return "In one line:";
          },
        },
        { onCompact: (prompt) => Promise.resolve(`${prompt} please`) },
      ],
    },
  );
  await runtime.run(session, "look");
  await compact(runtime, session);
  const asked = model.requests.at(-1)!;
  assert.match(prompts[0]!, /^Write a summary/);
  assert.equal(textsOf(asked), ["look", '[called look with {"at":"sea"}]', "a seal", "In one line: please"]);
  assert.match(JSON.stringify(asked.messages), /seen.*seal/);
  for (const { role } of asked.messages) assert.not.equal(role, "tool");
});

test("a failure that may pass is asked again", async () => {
  const soon = failing(new ModelError("overloaded", "soon", { retryable: true, retryAfterMs: 1 }));
  const { model, runtime, session } = await started([answers("a"), soon, soon, answers("S")]);
  await runtime.run(session, "go");
  await compact(runtime, session);
  assert.is(model.requests.length, 4);
});

/** A session whose summary waits for the test. */
async function writing(setup: RuntimeSetup = {}) {
  const asked = deferred<AbortSignal>();
  const go = deferred();
  const made = await started(
    [
      answers("hello"),
      async function* (_request, signal) {
        asked.resolve(signal);
        await Promise.race([go.promise, aborted(signal)]);
        yield says("They greeted.");
        yield finishes();
      },
      answers("later"),
    ],
    setup,
  );
  await made.runtime.run(made.session, "hello");
  const compacting = compact(made.runtime, made.session);
  compacting.catch(() => {});
  return { ...made, compacting, signal: await asked.promise, go };
}

test("inputs do not wait for a summary that somebody asked for", async () => {
  const { runtime, session, compacting, go } = await writing();
  await runtime.run(session, "meanwhile");
  assert.is((await assert.rejects(compact(runtime, session))).code, "busy", "one at a time");
  go.resolve();
  await compacting;
  const state = await runtime.state(session);
  const kept = state.messages.filter(({ seq }) => seq > state.compacted!.upTo);
  assert.is(kept.length, 2, "what came meanwhile is not covered");
  assert.equal(violations(await runtime.log(session)), []);
});

test("it is refused while a run is open, where nothing was answered, when closed, and to strangers", async () => {
  const go = deferred();
  const { runtime, session } = await started([
    async function* () {
      await go.promise;
      yield says("hi");
      yield finishes();
    },
    answers("S"),
  ]);
  assert.is((await assert.rejects(compact(runtime, session))).code, "conflict");
  const { input } = await runtime.send(session, "hello");
  await runtime.entry(session, "run-started");
  const busy = await assert.rejects(compact(runtime, session));
  assert.equal([busy.code, busy.retryable], ["busy", true]);
  assert.is((await assert.rejects(compact(runtime, session, "eve"))).code, "not-found");
  go.resolve();
  await runtime.endOf(session, input);
  await compact(runtime, session);
  assert.is((await assert.rejects(compact(runtime, session))).code, "conflict", "nothing since");
  await runtime.close(session);
  assert.is((await assert.rejects(compact(runtime, session))).code, "closed");
});

test("what ends the session ends the summary", async () => {
  const closed = await writing();
  await closed.runtime.close(closed.session);
  closed.go.resolve();
  assert.is((await assert.rejects(closed.compacting)).code, "closed");
  assert.is(bodiesOf(await closed.runtime.log(closed.session), "compacted").length, 0);
  const deleted = await writing();
  await deleted.runtime.remove(deleted.session);
  assert.ok(deleted.signal.aborted);
  assert.is((await assert.rejects(deleted.compacting)).code, "unavailable");
  const stopped = await writing();
  await stopped.runtime.runtime.close();
  assert.ok(stopped.signal.aborted);
  assert.is((await assert.rejects(stopped.compacting)).code, "unavailable");
});

test("a summary that takes longer than a run may is given up", async () => {
  const clock = new Clock();
  const { runtime, session, compacting, signal } = await writing({
    now: clock.now,
    agent: { runTimeoutMs: 5000 },
  });
  clock.advance(6000);
  assert.is((await assert.rejects(compacting)).code, "timeout");
  assert.ok(signal.aborted);
  await compact(runtime, session);
});

test.run();
