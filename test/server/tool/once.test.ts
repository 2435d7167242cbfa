/**
 * A `once` call never runs twice: random providers that accept, answer, refuse, vanish, return, forget and repeat
 * themselves, over a clock that jumps. Counted where it matters, at the providers, and in the log.
 */
import { bodiesOf, Clock, closeRuntimes } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { seeded, seedFromEnvironment, type Random } from "../../support/wait.ts";
import type { ToolCall } from "../../../server/tool/tool.ts";
import { violations } from "../agent/rules.ts";
import { callsOf, TestProvider, tool } from "./provider.ts";

const test = suite("once means once");
test.after.each(closeRuntimes);

const ROUNDS = 150;
const random = seeded(seedFromEnvironment());

interface World {
  readonly chance: Random;
  readonly clock: Clock;
  readonly offer: ReturnType<typeof tool>;
  /** The socket of each provider now. */
  sockets: TestProvider[];
  /** Every call frame that any socket ever took. */
  readonly taken: ToolCall[];
  /** Attempts (call/attempt) whose provider said that it did not start them. */
  readonly refused: Set<string>;
}

const nameOf = ({ call, attempt }: { call: string; attempt: number }): string => `${call}/${attempt}`;

/** One thing that a provider, or time, does. */
function happen({ chance, clock, offer, sockets, taken, refused }: World): void {
  const at = chance.int(sockets.length);
  const socket = sockets[at]!;
  const held = taken.filter((call) => socket.calls.includes(call) || chance.chance(0.2));
  const call = held.length > 0 ? chance.pick(held) : undefined;
  const what = chance.next();
  if (what < 0.2 && call !== undefined) socket.accept(call);
  else if (what < 0.32 && call !== undefined) socket.result(call, "done");
  else if (what < 0.42 && call !== undefined) {
    // Only the word of the attempt's own provider counts.
    if (socket.fail(call, "not-started")) refused.add(nameOf(call));
  } else if (what < 0.47 && call !== undefined) socket.fail(call, "some-error");
  else if (what < 0.52 && call !== undefined) socket.progress(call, 1);
  else if (what < 0.64 && socket.open) socket.disconnect(chance.chance(0.2));
  else if (what < 0.8) {
    const again = chance.chance(0.1) ? socket : socket.again();
    again.onCall = (taking) => taken.push(taking);
    again.open = true;
    sockets[at] = again;
    const working = taken.filter(() => chance.chance(0.5));
    again.offer([offer], { maxConcurrent: 1 + chance.int(3), working });
  } else if (what < 0.83) socket.withdraw();
  else clock.advance(chance.pick([10, 100, 1_000, 6_000, 31_000]));
}

async function play(chance: Random, effect: "once" | "pure" | "idempotent"): Promise<void> {
  const clock = new Clock();
  const offer = tool("work", { effect, timeoutMs: 120_000 });
  const providers = ["prv_a", "prv_b", "prv_c"];
  const taken: ToolCall[] = [];
  const refused = new Set<string>();
  const run = await callsOf({ offer, providers, times: 1 + chance.int(4), now: clock.now });
  const sockets = run.by.map((provider) => {
    taken.push(...provider.calls);
    provider.onCall = (call) => taken.push(call);
    return provider;
  });
  const cancelAt = chance.chance(0.25) ? chance.int(40) : -1;
  const world = { chance, clock, offer, sockets, taken, refused };
  for (let n = 0; n < 60; n++) {
    if (n === cancelAt) {
      const { run: open } = await run.runtime.state(run.session);
      if (open !== undefined) await run.runtime.cancel(run.session, open.run);
    }
    happen(world);
    if (chance.chance(0.6)) await new Promise(setImmediate);
  }
  // Nobody says anything any more: time alone ends every call.
  const ending = setInterval(() => clock.advance(10_000), 2);
  const results = await run.ended();
  clearInterval(ending);

  const log = await run.runtime.log(run.session);
  assert.equal(violations(log), []);
  assert.is(run.runtime.runtime.router.openCalls, 0);
  assert.is(new Set(results.map(({ call }) => call)).size, results.length);
  if (effect !== "once") return;
  for (const call of taken) {
    const before = { call: call.call, attempt: call.attempt - 1 };
    const again = taken.some((other) => nameOf(other) === nameOf(before));
    assert.ok(
      !again || refused.has(nameOf(before)),
      `${nameOf(call)} although ${nameOf(before)} may have run`,
    );
  }
  const names = taken.map(nameOf);
  assert.is(new Set(names).size, names.length, "an attempt is sent once");
  const accepted = new Map<string, number>();
  for (const { call } of bodiesOf(log, "tool-dispatched")) accepted.set(call, (accepted.get(call) ?? 0) + 1);
  for (const [call, times] of accepted) {
    const lost = bodiesOf(log, "tool-lost").filter((body) => body.call === call);
    const moved = lost.filter(({ cause }) => cause === "not-sent" || cause === "not-started").length;
    assert.ok(times <= 1 + moved, `${call} was dispatched ${times} times`);
  }
}

for (const effect of ["once", "idempotent", "pure"] as const) {
  test(`random providers, ${effect} calls`, { limitMs: 60_000 }, async () => {
    for (let round = 0; round < (effect === "once" ? ROUNDS : ROUNDS / 5); round++) {
      const chance = random.fork();
      try {
        await play(chance, effect);
      } catch (error) {
        throw new Error(`round ${round}, seed ${chance.seed}`, { cause: error });
      }
      await closeRuntimes();
    }
  });
}

test("capacity is all given back", { limitMs: 60_000 }, async () => {
  const chance = random.fork();
  const clock = new Clock();
  const offer = tool("work", { timeoutMs: 20_000 });
  const run = await callsOf({ offer, times: 40, options: { maxConcurrent: 2 }, now: clock.now });
  const world: World = { chance, clock, offer, sockets: [...run.by], taken: [], refused: new Set() };
  run.by[0].onCall = (call) => world.taken.push(call);
  for (let n = 0; n < 300; n++) {
    happen(world);
    if (chance.chance(0.3)) await new Promise(setImmediate);
  }
  const ending = setInterval(() => clock.advance(10_000), 2);
  await run.ended();
  clearInterval(ending);
  const last = new TestProvider(run.runtime.runtime, "prv_last");
  last.offer([offer], { maxConcurrent: 1 });
  const [registered] = run.runtime.runtime.tools.visible([], run.session);
  assert.is(run.runtime.runtime.router.load(registered!).inFlight, 0);
});

test.run();
