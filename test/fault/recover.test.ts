// limit: 300 s
/**
 * kill -9 between every two commits of one run that uses tools, exhaustively: a process of its own is killed after its
 * n-th commit for every n there is, and the next one must find the right end. Owns the table of what is right.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { EntryBodyOf, EntryType, EventFrame } from "../../protocol/entries.ts";
import { fold } from "../../protocol/state.ts";
import type { SessionState } from "../../protocol/frames.ts";
import { spawnNode, temporaryDirectory } from "../support/process.ts";
import { compiled } from "../support/root.ts";
import { assert, suite } from "../support/suite.ts";

const test = suite("recovery between every two commits");
const CHILD = compiled("test/fault/recover-child.ts");

function bodies<T extends EntryType>(log: readonly EventFrame[], type: T): EntryBodyOf<T>[] {
  return log.map(({ event }) => event).filter((event): event is EntryBodyOf<T> => event.type === type);
}

async function life(
  directory: string,
  at: number | string,
  policy: string,
): Promise<EventFrame[] | "killed"> {
  const child = spawnNode([CHILD, directory, String(at), policy]);
  const { code, signal } = await child.exited;
  if (signal === "SIGKILL") return "killed";
  assert.is(code, 0, child.stderr.join("\n"));
  return child.stdout.map((line) => JSON.parse(line) as EventFrame);
}

function executions(directory: string, tool: string): number {
  const file = join(directory, tool);
  return existsSync(file) ? readFileSync(file).length : 0;
}

/** What holds after any crash: one valid log, one end, `once` executed at most once. */
function check(log: readonly EventFrame[], directory: string): SessionState {
  let state: SessionState | undefined;
  for (const entry of log) state = fold(state, entry);
  assert.equal(
    log.map(({ seq }) => seq),
    log.map((_, index) => index + 1),
  );
  assert.is(bodies(log, "input-queued").length, 1);
  assert.is(bodies(log, "run-started").length, 1);
  assert.is(bodies(log, "run-finished").length, 1);
  assert.equal(state!.calls, []);
  const calls = bodies(log, "message").flatMap(({ message }) =>
    message.parts.flatMap((part) => (part.type === "dynamic-tool" ? [part.toolCallId] : [])),
  );
  const results = bodies(log, "tool-result").map(({ call }) => call);
  assert.equal([...calls].sort(), [...results].sort());
  const buys = bodies(log, "tool-dispatched").filter(({ effect }) => effect === "once");
  assert.ok(buys.length <= 1, "a once call was dispatched twice");
  assert.ok(executions(directory, "buy") <= 1, "a once call was executed twice");
  return state!;
}

test("a run goes on to its end after a kill at any commit", { limitMs: 250_000 }, async () => {
  let at = 1;
  const outcomes: string[] = [];
  for (; ; at++) {
    const directory = temporaryDirectory();
    const first = await life(directory, at, "restart-step");
    const log = first === "killed" ? await life(directory, 0, "restart-step") : first;
    if (log === "killed") throw new Error("killed without being told");
    const state = check(log, directory);
    assert.is(state.lastRun?.reason, "text", `after commit ${at}`);
    assert.is(
      state.messages
        .at(-1)
        ?.parts.map((part) => (part.type === "text" ? part.text : ""))
        .join(""),
      "done",
    );
    for (const { outcome, call } of bodies(log, "tool-result")) {
      const buy = state.messages.some(({ parts }) =>
        parts.some(
          (part) => part.type === "dynamic-tool" && part.toolCallId === call && part.toolName === "buy",
        ),
      );
      if (!buy) assert.is(outcome, "ok", "a pure call is made again");
      else outcomes.push(outcome);
    }
    if (first !== "killed") break;
  }
  assert.ok(at > 8, `only ${at} commits`);
  assert.ok(outcomes.includes("ok"));
  assert.ok(
    outcomes.includes("outcome-unknown"),
    "a once call in flight at a crash of its process is unknown",
  );
});

test("with the policy to stop, the run ends interrupted and the session is usable", async () => {
  const directory = temporaryDirectory();
  assert.is(await life(directory, 4, "stop"), "killed");
  const log = (await life(directory, 0, "stop")) as EventFrame[];
  assert.is(check(log, directory).lastRun?.reason, "interrupted");
});

test("the third restart of one step ends the run", async () => {
  const directory = temporaryDirectory();
  assert.is(await life(directory, "run-started", "restart-step"), "killed");
  assert.is(await life(directory, "run-recovered", "restart-step"), "killed");
  assert.is(await life(directory, "run-recovered", "restart-step"), "killed");
  const log = (await life(directory, 0, "restart-step")) as EventFrame[];
  const state = check(log, directory);
  assert.equal(
    bodies(log, "run-recovered").map(({ step, attempt }) => [step, attempt]),
    [
      [1, 1],
      [1, 2],
    ],
  );
  assert.is(state.lastRun?.reason, "interrupted");
});

test.run();
