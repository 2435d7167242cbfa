// limit: 300 s
/**
 * kill -9 between every two commits of one run that uses tools, exhaustively: a process of its own is killed after its
 * n-th commit for every n there is, and the next one must find the right end. Owns the table of what is right.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { EntryBodyOf, EntryType, EventFrame } from "../../protocol/entries.ts";
import { addUsage, NO_USAGE } from "../../protocol/usage.ts";
import type { Spent } from "../../server/store/store.ts";
import { violations } from "../server/agent/rules.ts";
import { temporaryDirectory } from "../support/process.ts";
import { compiled } from "../support/root.ts";
import { assert, suite } from "../support/suite.ts";
import { mortal, stateOf } from "./lives.ts";
import { live } from "./recover-child.ts";

const test = suite("recovery between every two commits");
const CHILD = compiled("test/fault/recover-child.ts");

function bodies<T extends EntryType>(log: readonly EventFrame[], type: T): EntryBodyOf<T>[] {
  return log.map(({ event }) => event).filter((event): event is EntryBodyOf<T> => event.type === type);
}

/** With nothing to die of it is the life of this process, which saves half of the processes there would be. */
async function life(
  directory: string,
  at: number | string,
  policy: string,
  ...more: string[]
): Promise<EventFrame[] | "killed"> {
  if (at === 0) return live(directory, "0", policy, ...more);
  return mortal<EventFrame>(CHILD, [directory, String(at), policy, ...more]);
}

function executions(directory: string, tool: string): number {
  const file = join(directory, tool);
  return existsSync(file) ? readFileSync(file).length : 0;
}

/**
 * What holds after any crash: one valid log, each input queued once and run to one end, the session usable afterwards, a
 * `once` call executed at most once. Answers the end of the first run.
 */
function check(log: readonly EventFrame[], directory: string, last = "text"): EntryBodyOf<"run-finished"> {
  const state = stateOf(log);
  assert.equal(
    log.map(({ seq }) => seq),
    log.map((_, index) => index + 1),
  );
  assert.equal(
    bodies(log, "input-queued").map(({ key }) => key),
    ["sent", "next"],
  );
  const runs = bodies(log, "run-started").map(({ run }) => run);
  const [first, second, ...more] = bodies(log, "run-finished");
  assert.equal([first!.run, second!.run, ...more], runs);
  assert.is(second!.reason, last, "the session is usable");
  const used = [first, second].reduce((sum, end) => addUsage(sum, end!.usage), NO_USAGE);
  assert.equal(state.session.usage, used, "each step is counted once");
  const { total, days } = JSON.parse(readFileSync(join(directory, "spent"), "utf8")) as Spent;
  assert.equal(total, used, "for its user, too");
  assert.equal(
    days.reduce((sum, { usage }) => addUsage(sum, usage), NO_USAGE),
    used,
  );
  assert.equal(state.calls, []);
  assert.equal(violations(log), []);
  const calls = bodies(log, "message").flatMap(({ message }) =>
    message.parts.flatMap((part) => (part.type === "dynamic-tool" ? [part.toolCallId] : [])),
  );
  const results = bodies(log, "tool-result").map(({ call }) => call);
  assert.equal([...calls].sort(), [...results].sort());
  const buys = bodies(log, "tool-dispatched").filter(({ effect }) => effect === "once");
  assert.ok(buys.length <= 1, "a once call was dispatched twice");
  assert.ok(executions(directory, "buy") <= 1, "a once call was executed twice");
  return first!;
}

test("a run goes on to its end after a kill at any commit", { limitMs: 250_000 }, async () => {
  let at = 1;
  const outcomes: string[] = [];
  for (; ; at++) {
    const directory = temporaryDirectory();
    const first = await life(directory, at, "restart-step");
    const log = first === "killed" ? await life(directory, 0, "restart-step") : first;
    if (log === "killed") throw new Error("killed without being told");
    const { reason, text } = check(log, directory);
    assert.equal([reason, text], ["text", "done"], `after commit ${at}`);
    for (const { outcome, call } of bodies(log, "tool-result")) {
      const buy = bodies(log, "message").some(({ message: { parts } }) =>
        parts.some(
          (part) => part.type === "dynamic-tool" && part.toolCallId === call && part.toolName === "buy",
        ),
      );
      if (!buy) assert.is(outcome, "ok", "a pure call is made again");
      else outcomes.push(outcome);
    }
    if (first !== "killed") break;
  }
  assert.ok(at > 11, `only ${at} commits`);
  assert.ok(outcomes.includes("ok"));
  assert.ok(
    outcomes.includes("outcome-unknown"),
    "a once call in flight at a crash of its process is unknown",
  );
});

test(
  "people who are asked are heard once after a kill at any commit, and what they allow runs at most once",
  { limitMs: 250_000 },
  async () => {
    for (let at = 1; ; at++) {
      const directory = temporaryDirectory();
      const first = await life(directory, at, "restart-step", "asked");
      const log = first === "killed" ? await life(directory, 0, "restart-step", "asked") : first;
      if (log === "killed") throw new Error("killed without being told");
      assert.is(check(log, directory).reason, "text", `after commit ${at}`);
      const state = stateOf(log);
      assert.equal(state.requests, []);
      const [opened, ...others] = bodies(log, "request-opened");
      assert.equal(others, []);
      const resolved = bodies(log, "request-resolved");
      assert.equal(
        resolved.map(({ request, decision, by }) => [request, decision, by?.map(({ id }) => id).toSorted()]),
        [[opened?.request, "approve", ["ann", "bob"]]],
      );
      assert.is(bodies(log, "request-answered").length, 1, "each said it once");
      assert.is(state.allowances?.length, 1);
      assert.is(bodies(log, "tool-dispatched").filter(({ effect }) => effect === "once").length, 1);
      if (first !== "killed") break;
    }
  },
);

test("a run ends at the session's budget after a kill at any commit", { limitMs: 250_000 }, async () => {
  let at = 1;
  for (; ; at++) {
    const directory = temporaryDirectory();
    const first = await life(directory, at, "restart-step", "-", "1");
    const log = first === "killed" ? await life(directory, 0, "restart-step", "-", "1") : first;
    if (log === "killed") throw new Error("killed without being told");
    const { reason, steps, error } = check(log, directory, "error");
    assert.equal([reason, steps, error?.code], ["error", 1, "over-budget"], `after commit ${at}`);
    const ended = bodies(log, "run-finished").map(({ run }) => run);
    const stopped = bodies(log, "budget-stopped").map(({ run }) => run);
    assert.equal(stopped, ended, "it is said once for each run");
    if (first !== "killed") break;
  }
  assert.ok(at > 6, `only ${at} commits`);
});

test("with the policy to stop, the run ends interrupted and the session is usable", async () => {
  const directory = temporaryDirectory();
  assert.is(await life(directory, 4, "stop"), "killed");
  const log = (await life(directory, 0, "stop")) as EventFrame[];
  assert.is(check(log, directory).reason, "interrupted");
});

test("the third restart of one step ends the run, and the session is usable", async () => {
  const directory = temporaryDirectory();
  assert.is(await life(directory, "run-started", "restart-step"), "killed");
  assert.is(await life(directory, "run-recovered", "restart-step"), "killed");
  assert.is(await life(directory, "run-recovered", "restart-step"), "killed");
  const log = (await life(directory, 0, "restart-step")) as EventFrame[];
  assert.equal(attempts(log), [
    [1, 1],
    [1, 2],
  ]);
  assert.is(check(log, directory).reason, "interrupted");
});

test("a tool of this process that kills it each time ends the run at the third restart, too", async () => {
  const directory = temporaryDirectory();
  for (let death = 1; death <= 3; death++)
    assert.is(await life(directory, "look", "restart-step"), "killed", `death ${death}`);
  const log = (await life(directory, 0, "restart-step")) as EventFrame[];
  assert.equal(attempts(log), [
    [1, 1],
    [1, 2],
  ]);
  assert.is(check(log, directory).reason, "interrupted");
  assert.is(executions(directory, "look"), 3);
});

function attempts(log: readonly EventFrame[]): [number, number][] {
  return bodies(log, "run-recovered").map(({ step, attempt }) => [step, attempt]);
}

test.run();
