/**
 * Forking: what a fork begins with is what the original had said at the end of a run, for every run of any history; what
 * belongs to the original alone is not copied; and a fork is one append.
 */
import fc from "fast-check";
import { buildPrompt } from "../../../server/agent/prompt.ts";
import { fork } from "../../../server/session/fork.ts";
import type { ForkRequest } from "../../../server/session/fork.ts";
import type { EventFrame } from "../../../protocol/entries.ts";
import type { HistoryMessage, SessionState } from "../../../protocol/frames.ts";
import { fold } from "../../../protocol/state.ts";
import {
  bodiesOf,
  caller,
  calls,
  closeRuntimes,
  finishes,
  says,
  script,
  startRuntime,
  TestModel,
  typesOf,
  type TestRuntime,
} from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { deferred, seedFromEnvironment } from "../../support/wait.ts";
import { TestStore } from "./stores.ts";

const test = suite("fork");
test.after.each(closeRuntimes);

function forkOf(runtime: TestRuntime, session: string, at?: number, user = "ada"): Promise<string> {
  const { registry, store } = runtime.runtime;
  return registry.with(session, async ({ state }) => {
    return (await fork(registry, store, caller(user), state, { at })).session;
  });
}

const said = (messages: readonly HistoryMessage[]) => messages.map(({ seq: _, at: __, ...rest }) => rest);
const boundaries = (log: readonly EventFrame[]): number[] =>
  log.filter(({ event }) => event.type === "run-finished").map(({ seq }) => seq);
const stateAt = (log: readonly EventFrame[], at: number): SessionState => {
  let state: SessionState | undefined;
  for (const entry of log.slice(0, at)) state = fold(state, entry);
  return state!;
};

/** Holds of every fork: state, prompt and log. */
async function check(
  runtime: TestRuntime,
  session: string,
  at: number | undefined,
  user: string,
): Promise<void> {
  const log = await runtime.log(session);
  const place = at ?? boundaries(log).at(-1)!;
  const original = stateAt(log, place);
  const id = await forkOf(runtime, session, at, user);
  const copy = await runtime.state(id);
  const since = original.messages.filter(({ seq }) => seq > (original.compacted?.upTo ?? 0));
  assert.equal(said(copy.messages), said(since));
  assert.equal(buildPrompt(copy, "demo"), buildPrompt(original, "demo"));
  assert.equal(copy.session.forkedFrom, { session, at: place });
  assert.equal([copy.session.agent, copy.session.owner, copy.session.state], ["demo", user, "idle"]);
  assert.equal(
    [copy.session.title, copy.session.metadata],
    [original.session.title, original.session.metadata],
  );
  assert.equal(copy.members, { [user]: "owner" });
  assert.equal(
    [copy.calls, copy.requests, copy.queue, copy.run, copy.lastRun],
    [[], [], [], undefined, undefined],
  );
  const types = typesOf(await runtime.log(id));
  const summary = original.compacted === undefined ? [] : ["compacted"];
  assert.equal(types, ["session-created", ...summary, ...since.map(() => "message")]);
}

const tools = [{ name: "look", inputSchema: {}, execute: (input: unknown) => ({ looked: input }) }];
const contents = [
  "hello",
  script({ text: "some words" }),
  script(
    { reasoning: "hm" },
    {
      calls: [
        { tool: "look", input: { at: 1 } },
        { tool: "none", input: {} },
      ],
    },
    { text: "seen" },
  ),
  script({ text: "half" }, { error: "broken" }),
  script({ text: "cut" }, { finish: "length" }),
];

test(
  "at every end of a run of any history, the fork has said what the original had",
  { limitMs: 60_000 },
  async () => {
    const steps = fc.array(fc.nat(contents.length), { minLength: 1, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(steps, fc.boolean(), async (kinds, unload) => {
        const runtime = await startRuntime({ tools });
        const session = await runtime.session({ title: "T", metadata: { m: 1 } });
        let answered = false;
        for (const kind of kinds) {
          const content = contents[kind];
          if (content !== undefined) {
            await runtime.run(session, content);
            answered = true;
          } else if (answered) {
            // Nothing to summarize is refused.
            await runtime.runtime.registry
              .with(session, (held) => held.compactor.run(caller("ada")))
              .catch(() => {});
          }
          if (unload) await runtime.runtime.registry.unloadIdle(0);
        }
        if (!answered) return;
        for (const at of [undefined, ...boundaries(await runtime.log(session))])
          await check(runtime, session, at, "ada");
        await closeRuntimes();
      }),
      { seed: seedFromEnvironment(), numRuns: 25 },
    );
  },
);

test("it goes on by itself, and the original does not notice", async () => {
  const model = new TestModel(
    [says("hello"), finishes()],
    [says("They greeted."), finishes()],
    [says("again"), finishes()],
    [says("in the fork"), finishes()],
  );
  const runtime = await startRuntime({ model });
  const session = await runtime.session();
  await runtime.run(session, "hi");
  await runtime.runtime.registry.with(session, (held) => held.compactor.run(caller("ada")));
  await runtime.run(session, "more");
  const before = await runtime.log(session);
  const id = await forkOf(runtime, session);
  await runtime.run(id, "what now?");
  const [, , asked] = model.requests;
  assert.equal(model.requests[3]!.messages.slice(0, asked!.messages.length), asked!.messages);
  assert.equal(await runtime.log(session), before);
  assert.is((await runtime.state(id)).messages.length, 4);
});

test("what the original has open or to itself is not copied", async () => {
  const go = deferred();
  const model = new TestModel([says("hello"), finishes()], async function* () {
    yield says("slowly");
    await go.promise;
    yield finishes();
  });
  const runtime = await startRuntime({ model });
  const session = await runtime.session();
  await runtime.run(session, "hi", { key: "k" });
  await runtime.runtime.registry.with(session, (held) =>
    held.exclusive(() => held.append([{ body: { type: "member-changed", user: "bob", role: "viewer" } }])),
  );
  const { input } = await runtime.send(session, "and now?");
  await runtime.delta(session, "slowly");
  await runtime.send(session, "waiting");
  await check(runtime, session, undefined, "bob");
  const id = await forkOf(runtime, session, undefined, "bob");
  assert.is((await runtime.send(id, "hi", { key: "k", user: "bob" })).duplicate, false);
  go.resolve();
  await runtime.endOf(session, input);
});

test("only the end of a run is a place to fork at", async () => {
  const runtime = await startRuntime();
  const session = await runtime.session();
  const none = await assert.rejects(forkOf(runtime, session));
  assert.equal([none.code, none.retryable], ["conflict", false]);
  await runtime.run(session, "hi");
  const log = await runtime.log(session);
  for (const at of [0, ...log.map(({ seq }) => seq), log.length + 1, 2 ** 40]) {
    if (boundaries(log).includes(at)) await check(runtime, session, at, "ada");
    else assert.is((await assert.rejects(forkOf(runtime, session, at))).code, "bad-frame", `at ${at}`);
  }
});

test("a closed session can be forked, a deleted one not", async () => {
  const runtime = await startRuntime();
  const session = await runtime.session();
  await runtime.run(session, "hi");
  await runtime.close(session);
  await check(runtime, session, undefined, "ada");
  await runtime.remove(session);
  assert.is((await assert.rejects(forkOf(runtime, session))).code, "not-found");
});

test("a fork that is repeated with its key is the first one, even at the same moment", async () => {
  const runtime = await startRuntime();
  const session = await runtime.session();
  await runtime.run(session, "hi");
  const { registry, store } = runtime.runtime;
  const ask = (request: ForkRequest, user = "ada"): Promise<string> =>
    registry.with(session, async ({ state }) => {
      return (await fork(registry, store, caller(user), state, request)).session;
    });
  const keyed = { newSession: "mine", key: "k" };
  assert.equal(await Promise.all([ask(keyed), ask(keyed), ask(keyed)]), ["mine", "mine", "mine"]);
  const log = await runtime.log("mine");
  assert.equal(bodiesOf(log, "session-created")[0]!.key, "k");
  const [first] = boundaries(await runtime.log(session));
  await runtime.run(session, "more");
  const [, second] = boundaries(await runtime.log(session));
  assert.is(await ask(keyed), "mine");
  assert.is(await ask({ ...keyed, at: first! }), "mine");
  assert.equal(await runtime.log("mine"), log);
  for (const [request, user] of [
    [{ ...keyed, at: second! }, "ada"],
    [{ ...keyed, key: "other" }, "ada"],
    [{ newSession: "mine" }, "ada"],
    [{ newSession: session, key: "k" }, "ada"],
    [keyed, "bob"],
  ] as const)
    assert.is((await assert.rejects(ask(request, user))).code, "conflict", JSON.stringify([request, user]));
  assert.is((await assert.rejects(ask({ key: "k" }))).code, "bad-frame");
  await runtime.remove("mine");
  assert.is((await assert.rejects(ask(keyed))).code, "conflict", "the id of a deleted session");
});

test("results that fit no entry together are left out of the copy, and marked", async () => {
  const big = "x".repeat(600 * 1024);
  const runtime = await startRuntime({
    model: new TestModel(
      [calls("look"), calls("look"), calls("look"), finishes("tool-calls")],
      [says("ok"), finishes()],
    ),
    tools: [{ name: "look", inputSchema: {}, execute: () => big }],
  });
  const session = await runtime.session();
  await runtime.run(session, "look");
  const id = await forkOf(runtime, session);
  const { messages } = await runtime.state(id);
  const parts = messages.flatMap((message) => message.parts.filter((part) => part.type === "dynamic-tool"));
  assert.equal(
    parts.map(({ state }) => state),
    Array(3).fill("output-available"),
  );
  assert.equal(
    parts
      .map(({ output, truncated }) => (output === big ? "whole" : truncated))
      .filter((kept) => kept === "whole"),
    ["whole"],
  );
  assert.is(parts.filter(({ truncated }) => truncated).length, 2);
});

test(
  "a long history is copied from the last summary on, at most what a state keeps",
  { limitMs: 60_000 },
  async () => {
    const runtime = await startRuntime({ model: new TestModel([says("y".repeat(300_000)), finishes()]) });
    const session = await runtime.session();
    for (let run = 0; run < 20; run++) await runtime.run(session, `number ${run}`);
    await check(runtime, session, undefined, "ada");
    assert.ok((await runtime.state(await forkOf(runtime, session))).messages.length < 30);
  },
);

test("an append that is lost leaves no half of a fork", async () => {
  const store = new TestStore();
  const runtime = await startRuntime({ store });
  const session = await runtime.session();
  await runtime.run(session, "hi");
  const before = await runtime.log(session);
  store.failNext("not written");
  assert.is((await assert.rejects(forkOf(runtime, session))).code, "unavailable");
  const ids: string[] = [];
  for await (const id of runtime.runtime.sessions()) ids.push(id);
  assert.equal(ids, [session]);
  assert.equal(bodiesOf(await runtime.log(session), "message").length, bodiesOf(before, "message").length);
});

test.run();
