/**
 * What sessions and users may use of models: where runs end, what they cost by the table of prices, and that the totals
 * come from the log alone. That a kill changes nothing of it is tested in test/fault/recover.test.ts.
 */
import { grant } from "../../../server/session/members.ts";
import { withFallback } from "../../../server/model/fallback.ts";
import { priced } from "../../../server/model/prices.ts";
import { ModelError, type Model, type ModelPart } from "../../../server/model/model.ts";
import type { Usage } from "../../../protocol/content.ts";
import type { ImportedEntry } from "../../../protocol/lists.ts";
import { ProtocolError } from "../../../protocol/errors.ts";
import {
  bodiesOf,
  caller,
  calls,
  Clock,
  closeRuntimes,
  finishes,
  says,
  startRuntime,
  TestModel,
  typesOf,
  USAGE,
} from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { answers, compact, failing, full, WINDOW } from "./compacting.ts";
import { violations } from "./rules.ts";

const test = suite("budgets");
test.after.each(closeRuntimes);

const CLOCK = {
  name: "clock",
  effect: "pure" as const,
  inputSchema: { type: "object" },
  execute: () => "noon",
};
const asks = [calls("clock"), finishes("tool-calls")];

test("a run ends before the model call for which nothing is left, its calls with their results", async () => {
  const model = new TestModel(asks, asks, [says("never"), finishes()]);
  const runtime = await startRuntime({ model, tools: [CLOCK], budgets: { session: { tokens: 10 } } });
  const session = await runtime.session();
  const end = await runtime.run(session, "go");
  assert.equal([end.reason, end.error?.code, end.steps], ["error", "over-budget", 2]);
  assert.is(end.error?.message, "the session has used 10 of its budget of 10 tokens");
  assert.equal(end.usage, { inputTokens: 6, outputTokens: 4 });
  const log = await runtime.log(session);
  assert.equal(typesOf(log).slice(-4), ["tool-result", "step-finished", "budget-stopped", "run-finished"]);
  const [stopped] = bodiesOf(log, "budget-stopped");
  const { run } = end;
  assert.equal(stopped, {
    type: "budget-stopped",
    run,
    scope: "session",
    unit: "tokens",
    limit: 10,
    spent: 10,
  });
  assert.equal(violations(log), []);
  assert.is(model.requests.length, 2);
});

test("what is sent to it later ends at once, and other sessions go on", async () => {
  const model = new TestModel([says("hello"), finishes()]);
  const runtime = await startRuntime({ model, budgets: { session: { tokens: 5 } } });
  const [spent, other] = [await runtime.session(), await runtime.session({}, "bob")];
  assert.is((await runtime.run(spent, "one")).reason, "text", "the step that reaches it is whole");
  const end = await runtime.run(spent, "two");
  assert.equal(
    [end.error?.code, end.steps, end.usage],
    ["over-budget", 0, { inputTokens: 0, outputTokens: 0 }],
  );
  assert.is((await runtime.run(other, "three", { user: "bob" })).reason, "text");
  assert.is(model.requests.length, 2);
  assert.equal(violations(await runtime.log(spent)), []);
});

test("a run that was cancelled meanwhile ends as cancelled", async () => {
  const model = new TestModel(asks);
  const runtime = await startRuntime({
    model,
    tools: [{ ...CLOCK, execute: () => new Promise<never>(() => {}) }],
    budgets: { session: { tokens: 1 } },
    timings: { cancelMs: 1 },
  });
  const session = await runtime.session();
  const { input } = await runtime.send(session, "go");
  await runtime.entry(session, "tool-dispatched");
  const { run } = (await runtime.state(session)).run!;
  await runtime.cancel(session, run);
  assert.is((await runtime.endOf(session, input)).reason, "cancelled");
  assert.not(typesOf(await runtime.log(session)).includes("budget-stopped"));
});

test("no summary is made of a session whose budget is spent, on request or when it is due", async () => {
  const model = new TestModel(answers("one", full), answers("never"));
  const runtime = await startRuntime({ model, agent: WINDOW, budgets: { session: { tokens: 81 } } });
  const session = await runtime.session();
  await runtime.run(session, "go");
  const refused = await compact(runtime, session).catch((error: unknown) => error);
  assert.ok(refused instanceof ProtocolError && refused.code === "forbidden" && !refused.retryable);
  assert.is((await runtime.run(session, "more")).error?.code, "over-budget");
  assert.is(model.requests.length, 1);
});

test("a summary counts, and what it leaves nothing of ends the run before its step", async () => {
  const model = new TestModel(answers("one", full), answers("in short"), answers("never"));
  const runtime = await startRuntime({ model, agent: WINDOW, budgets: { session: { tokens: 86 } } });
  const session = await runtime.session();
  await runtime.run(session, "go");
  const end = await runtime.run(session, "more");
  assert.equal([end.error?.code, end.usage], ["over-budget", { inputTokens: 3, outputTokens: 2 }]);
  assert.equal((await runtime.state(session)).session.usage, { inputTokens: 83, outputTokens: 3 });
  assert.equal(violations(await runtime.log(session)), []);
});

test("what a step costs stands in every count of it, and a budget of it ends the run", async () => {
  const used = { inputTokens: 1000, outputTokens: 100, cachedInputTokens: 600 };
  const model = new TestModel([calls("clock"), finishes("tool-calls", used)]);
  const runtime = await startRuntime({
    model,
    tools: [CLOCK],
    prices: { "other*": { input: 9, output: 9 }, "te*": { input: 2, output: 10, cachedInput: 0.5 } },
    budgets: { session: { cost: 0.004 } },
  });
  const session = await runtime.session();
  const end = await runtime.run(session, "go");
  // 400 · 2 + 600 · 0.5 + 100 · 10 = 2100 millionths.
  assert.equal([end.steps, end.usage.cost, end.error?.code], [2, 4200, "over-budget"]);
  const log = await runtime.log(session);
  assert.equal(
    bodiesOf(log, "step-finished").map(({ usage }) => usage.cost),
    [2100, 2100],
  );
  const [stopped] = bodiesOf(log, "budget-stopped");
  assert.equal([stopped!.unit, stopped!.limit, stopped!.spent], ["cost", 4000, 4200]);
  assert.is((await runtime.state(session)).session.usage?.cost, 4200);
});

const DAY = 86_400_000;

test("a user's budget of a day ends runs in every session until the day is over, of all users alone", async () => {
  const clock = new Clock(20_000 * DAY + 1000);
  const model = new TestModel([says("hello"), finishes()]);
  const runtime = await startRuntime({
    model,
    now: clock.now,
    budgets: { user: { day: { tokens: 10 } } },
  });
  const [one, two] = [await runtime.session(), await runtime.session()];
  const ends = async (session: string, user?: string): Promise<string> => {
    const end = await runtime.run(session, "go", user === undefined ? {} : { user });
    return end.error?.code ?? end.reason;
  };
  assert.equal([await ends(one), await ends(two), await ends(one)], ["text", "text", "over-budget"]);
  const [stopped] = bodiesOf(await runtime.log(one), "budget-stopped");
  assert.equal(
    [stopped!.scope, stopped!.unit, stopped!.limit, stopped!.spent],
    ["user-day", "tokens", 10, 10],
  );
  const end = await runtime.run(two, "go");
  assert.is(end.error?.message, "the user has used 10 of their budget for the day of 10 tokens");
  await runtime.runtime.registry.with(one, (held) => grant(held, caller("ada"), "bob", "editor", 10));
  assert.is(await ends(one, "bob"), "text", "in the same session");
  clock.advance(DAY);
  assert.is(await ends(two), "text");
  const { total, days } = await runtime.runtime.spending.of("ada");
  assert.equal(total, { inputTokens: 9, outputTokens: 6 });
  assert.equal(
    days.map(({ day, usage }) => [day / DAY, usage.inputTokens]),
    [
      [20_001, 3],
      [20_000, 6],
    ],
  );
  assert.equal((await runtime.runtime.spending.of("bob")).total, USAGE);
});

test("a user's budget in all holds on every day; the session's is asked first", async () => {
  const clock = new Clock();
  const model = new TestModel([says("hello"), finishes()]);
  const budgets = { session: { tokens: 10 }, user: { day: { tokens: 10 }, total: { tokens: 10 } } };
  const runtime = await startRuntime({ model, now: clock.now, budgets });
  const [one, two] = [await runtime.session(), await runtime.session()];
  for (const _ of [1, 2]) assert.is((await runtime.run(one, "go")).reason, "text");
  clock.advance(DAY);
  for (const session of [one, two]) await runtime.run(session, "go");
  const scopes = [one, two].map(async (id) => bodiesOf(await runtime.log(id), "budget-stopped")[0]?.scope);
  assert.equal(await Promise.all(scopes), ["session", "user"]);
  assert.is(model.requests.length, 2);
});

test("a summary counts for who asked for it, and is refused where their budget is spent", async () => {
  const model = new TestModel(answers("one"), answers("in short"), answers("two"), answers("again"));
  const runtime = await startRuntime({ model, budgets: { user: { total: { tokens: 6 } } } });
  const session = await runtime.session();
  await runtime.runtime.registry.with(session, (held) => grant(held, caller("ada"), "bob", "editor", 10));
  await runtime.run(session, "go");
  await compact(runtime, session, "bob");
  const [ada, bob] = [await runtime.runtime.spending.of("ada"), await runtime.runtime.spending.of("bob")];
  assert.equal([ada.total, bob.total], [USAGE, USAGE]);
  await runtime.run(session, "more");
  const refused = await compact(runtime, session).catch((error: unknown) => error);
  assert.ok(refused instanceof ProtocolError && refused.code === "forbidden", String(refused));
  await compact(runtime, session, "bob");
});

test("a deleted session leaves what was used, a fork and an import add nothing", async () => {
  const model = new TestModel([says("hello"), finishes()]);
  const runtime = await startRuntime({ model });
  const session = await runtime.session();
  await runtime.run(session, "go");
  const log = await runtime.log(session);
  await runtime.runtime.forkSession(session, "ada");
  const entries = log.map(({ at, run, actor, event }) => ({ at, run, actor, event }) as ImportedEntry);
  await runtime.runtime.startImport("copy").add(0, entries, true);
  assert.equal((await runtime.state("copy")).session.usage, USAGE);
  await runtime.remove(session);
  assert.equal((await runtime.runtime.spending.of("ada")).total, USAGE);
});

async function usageOf(model: Model): Promise<Usage | undefined> {
  const request = {
    instructions: "",
    messages: [],
    tools: [],
    toolChoice: "auto" as const,
    reasoning: false,
  };
  let last: ModelPart | undefined;
  for await (const part of model.stream(request, new AbortController().signal)) last = part;
  return last?.type === "finish" ? last.usage : undefined;
}

test("of a chain the model that answered is paid, by the first price that fits; without one usage stays as it is", async () => {
  const named = (id: string, model: Model): Model => ({ id, stream: (...given) => model.stream(...given) });
  const broken = named("dear", new TestModel(failing(new ModelError("bad-request", "no"))));
  const chain = withFallback([broken, named("cheap-1", new TestModel([finishes()]))]);
  const prices = {
    dear: { input: 100, output: 100 },
    "cheap-*": { input: 1, output: 1 },
    "*": { input: 7, output: 7 },
  };
  assert.equal(await usageOf(priced(chain, prices)), { ...USAGE, cost: 5 });
  assert.equal(await usageOf(priced(new TestModel([finishes()]), prices)), { ...USAGE, cost: 35 });
  assert.equal(await usageOf(priced(new TestModel([finishes()]), { other: { input: 1, output: 1 } })), USAGE);
  const odd = { inputTokens: Number.NaN, outputTokens: 3, cachedInputTokens: 9 };
  assert.is((await usageOf(priced(new TestModel([finishes("stop", odd)]), prices)))?.cost, 21);
});

test.run();
