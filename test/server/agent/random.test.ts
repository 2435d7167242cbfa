/**
 * Random sessions: people who send, steer, interrupt, cancel, withdraw and close at random moments, over a model and tools
 * that do anything. Whatever happened, each log keeps the rules, and every acked send is there in the order of the acks.
 */
import { ProtocolError } from "../../../protocol/errors.ts";
import type { EventFrame } from "../../../protocol/entries.ts";
import { fold } from "../../../protocol/state.ts";
import { ModelError } from "../../../server/model/model.ts";
import type { ModelPart } from "../../../server/model/model.ts";
import * as commands from "../../../server/session/commands.ts";
import { setFloor } from "../../../server/session/floor.ts";
import { grant } from "../../../server/session/members.ts";
import type { SessionState } from "../../../protocol/frames.ts";
import type { LocalTool } from "../../../server/tool/local.ts";
import {
  bodiesOf,
  calls,
  caller,
  closeRuntimes,
  finishes,
  says,
  startRuntime,
  TestModel,
  thinks,
  type TestRuntime,
} from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { seeded, seedFromEnvironment, until, type Random } from "../../support/wait.ts";
import { violations } from "./rules.ts";

const test = suite("random runs");
test.after.each(closeRuntimes);

const random = seeded(seedFromEnvironment());

/** A few turns of the event loop, or a moment. */
async function pause(chance: Random): Promise<void> {
  for (let n = chance.int(6); n > 0; n--) await new Promise(setImmediate);
  if (chance.chance(0.1)) await new Promise((resolve) => setTimeout(resolve, chance.int(8)));
}

function randomModel(chance: Random): TestModel {
  return new TestModel(async function* (_request, signal): AsyncGenerator<ModelPart> {
    for (let n = chance.int(5); n > 0; n--) {
      await pause(chance);
      // Some requests end when they are told to, some do not listen.
      if (signal.aborted && chance.chance(0.7)) signal.throwIfAborted();
      yield chance.chance(0.8) ? says(chance.pick(["a", "bc", "\ud83d", "\ude00"])) : thinks("hm");
    }
    if (chance.chance(0.08))
      throw new ModelError("x", "x", { retryable: chance.chance(0.5), retryAfterMs: 1 });
    if (chance.chance(0.05)) return;
    const asked = chance.chance(0.5) ? 1 + chance.int(4) : 0;
    for (let n = asked; n > 0; n--)
      yield calls(chance.pick(["quick", "slow", "deaf", "bad", "nobody"]), { n });
    await pause(chance);
    yield finishes(asked > 0 ? "tool-calls" : chance.pick(["stop", "stop", "length", "content-filter"]));
  });
}

function tools(chance: Random): LocalTool[] {
  const made = (name: string, effect: "pure" | "once", execute: LocalTool["execute"]): LocalTool => ({
    name,
    effect,
    execute,
    timeoutMs: 200,
    inputSchema: {},
  });
  return [
    made("quick", "pure", () => 1),
    made("slow", "once", async () => {
      await pause(chance);
      return "done";
    }),
    made("deaf", "once", () => new Promise(() => {})),
    made("bad", "pure", async () => {
      await pause(chance);
      throw new Error("bad");
    }),
  ];
}

async function visit(runtime: TestRuntime, session: string, user: string, chance: Random): Promise<void> {
  const { registry } = runtime.runtime;
  const refused = new Set<string>();
  for (let n = 0; n < 12; n++) {
    await pause(chance);
    try {
      const { run, queue } = await runtime.state(session);
      const act = chance.next();
      if (act < 0.6) {
        const mode = chance.pick([
          "queue",
          "queue",
          "queue",
          "steer",
          "interrupt",
          "rollback",
          "reject",
        ] as const);
        const { seq, input } = await runtime.send(session, `${user} ${n}`, { user, mode });
        acked.push({ session, seq, input });
      } else if (act < 0.8 && run !== undefined) {
        await runtime.cancel(session, run.run, user, chance.chance(0.3));
      } else if (act < 0.9 && queue.length > 0) {
        const { input } = chance.pick(queue);
        const order = queue.map((item) => item.input).sort(() => chance.next() - 0.5);
        const { withdrawInput, editInput, orderInputs } = commands;
        await registry.with(session, (held) =>
          chance.pick([
            () => withdrawInput(held, caller(user), input),
            () => editInput(held, caller(user), input, "edited"),
            () => orderInputs(held, caller(user), order),
            () => setFloor(held, caller("ada"), { mode: chance.pick(["open", "queue"]) }),
          ])(),
        );
      } else if (act > 0.985) {
        await runtime.close(session, user);
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      refused.add(error.code);
    }
  }
  const expected = new Set(["busy", "closed", "conflict", "forbidden", "queue-full"]);
  assert.equal(
    [...refused].filter((code) => !expected.has(code)),
    [],
  );
}

let acked: { session: string; seq: number; input: string }[] = [];

test("every log keeps the rules", { limitMs: 100_000 }, async () => {
  for (let round = 0; round < 12; round++) {
    acked = [];
    const chance = random.fork();
    const runtime = await startRuntime({
      model: randomModel(chance),
      agent: { maxSteps: 4, runTimeoutMs: chance.chance(0.3) ? 60 : 60_000 },
      maxQueue: 5,
      timings: { cancelMs: 30 },
      tools: tools(chance),
    });
    const sessions = await Promise.all([runtime.session(), runtime.session(), runtime.session()]);
    for (const session of sessions)
      await runtime.runtime.registry.with(session, (held) => grant(held, caller("ada"), "bob", "owner", 10));
    await Promise.all(
      sessions.flatMap((session) =>
        ["ada", "bob"].map((user) => visit(runtime, session, user, chance.fork())),
      ),
    );
    for (const session of sessions) {
      await until(
        async () => {
          const { run, queue } = await runtime.state(session);
          return run === undefined && queue.length === 0;
        },
        30_000,
        "the last run's end",
      );
      const log = await runtime.log(session);
      assert.equal(violations(log), []);
      checkAcks(session, log);
      checkState(await runtime.state(session), log);
    }
    assert.is(runtime.runtime.router.openCalls, 0);
    await closeRuntimes();
  }
});

/** What was acked stands where it was acked, and ran or was withdrawn. */
function checkAcks(session: string, log: readonly EventFrame[]): void {
  const consumed = new Set(bodiesOf(log, "message").map(({ message }) => message.id));
  for (const { input } of bodiesOf(log, "input-withdrawn")) consumed.add(input);
  for (const ack of acked) {
    if (ack.session !== session) continue;
    const { event } = log[ack.seq - 1]!;
    assert.is(event.type === "input-queued" ? event.input : event.type, ack.input);
    assert.ok(consumed.has(ack.input), `${ack.input} never ran`);
  }
}

function checkState(state: SessionState, log: readonly EventFrame[]): void {
  let folded: SessionState | undefined;
  for (const entry of log) folded = fold(folded, entry);
  assert.equal(state, folded);
  assert.equal([state.calls, state.queue, state.run], [[], [], undefined]);
}

test.run();
