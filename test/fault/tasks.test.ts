// limit: 300 s
/**
 * kill -9 between every two commits of a run that has others do tasks, and in places of one that is cancelled: the next
 * process must find every task once, and one end for each. Owns what is right of all the logs together.
 */
import type { EventFrame } from "../../protocol/entries.ts";
import { violations } from "../server/agent/rules.ts";
import { temporaryDirectory } from "../support/process.ts";
import { compiled } from "../support/root.ts";
import { bodiesOf } from "../support/runtime.ts";
import { assert, suite } from "../support/suite.ts";
import { mortal, stateOf } from "./lives.ts";
import { live } from "./tasks-child.ts";

const test = suite("kills while tasks are done");
const CHILD = compiled("test/fault/tasks-child.ts");

type Mode = "finish" | "cancel";

/** The logs of all sessions, or that the process was killed; without a death it is the life of this process. */
async function life(directory: string, at: number, mode: Mode): Promise<EventFrame[][] | "killed"> {
  if (at === 0) return live(directory, 0, mode);
  return mortal<EventFrame[]>(CHILD, [directory, String(at), mode]);
}

/** What holds for all logs: each is valid, and each task is one session's, given by one call. */
function check(logs: readonly EventFrame[][], when: string): void {
  for (const log of logs) assert.equal(violations(log), [], when);
  const given = logs.flatMap((log) =>
    bodiesOf(log, "tool-delegated").map(({ call, child }) => [child, call]),
  );
  const made = logs
    .map(stateOf)
    .flatMap(({ session: { id, parent } }) => (parent ? [[id, parent.call]] : []));
  for (const task of made)
    assert.ok(
      given.some(([child, call]) => child === task[0] && call === task[1]),
      when,
    );
  assert.is(new Set(made.map(([, call]) => call)).size, made.length, `${when}: a task is done twice`);
}

/** Answers the first commit that there is none of any more. */
async function everyKill(
  mode: Mode,
  every: number,
  judge: (logs: readonly EventFrame[][], when: string) => void,
): Promise<number> {
  for (let at = 1; ; at += every) {
    const directory = temporaryDirectory();
    const first = await life(directory, at, mode);
    const logs = first === "killed" ? await life(directory, 0, mode) : first;
    if (logs === "killed") throw new Error("killed without being told");
    check(logs, `after commit ${at}`);
    judge(logs, `after commit ${at}`);
    if (first !== "killed") return at;
  }
}

test("a run and its tasks go on to their ends after a kill at any commit", { limitMs: 250_000 }, async () => {
  const commits = await everyKill("finish", 1, (logs, when) => {
    const texts = logs.map((log) => bodiesOf(log, "run-finished").map(({ text }) => text)).map(String);
    assert.equal(texts.toSorted(), ["done,yes", "leaf", "leaf", "middle"], when);
    for (const log of logs)
      for (const { outcome } of bodiesOf(log, "tool-result")) assert.is(outcome, "ok", when);
    const lead = logs.map(stateOf).find(({ session }) => session.id === "lead")!;
    const own = (log: readonly EventFrame[]): number =>
      bodiesOf(log, "run-finished").reduce((sum, { usage }) => sum + usage.outputTokens, 0);
    assert.is(
      lead.session.usage?.outputTokens,
      logs.reduce((sum, log) => sum + own(log), 0),
      `${when}: what tasks used counts once`,
    );
  });
  assert.ok(commits > 10, `only ${commits} commits`);
});

test(
  "a cancel ends the run and its tasks after a kill at every third commit",
  { limitMs: 250_000 },
  async () => {
    const commits = await everyKill("cancel", 3, (logs, when) => {
      for (const log of logs) {
        const { session, run, queue } = stateOf(log);
        assert.equal([run, queue], [undefined, []], when);
        const reasons = bodiesOf(log, "run-finished").map(({ reason }) => reason);
        assert.equal(
          reasons.filter((reason) => reason !== "cancelled"),
          session.id === "lead" ? ["text"] : [],
          when,
        );
      }
    });
    assert.ok(commits > 8, `only ${commits} commits`);
  },
);

test.run();
