/**
 * The wheel of deadlines and the inbox: never early, late by one turn at most, taken back for good; items one at a time in
 * order. The clock is the test's; the wheel's own timer turns in real time.
 */
import { Deadlines } from "../../../server/tool/deadlines.ts";
import { Inbox } from "../../../server/tool/inbox.ts";
import { Clock } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { deferred, seedFromEnvironment, seeded, until } from "../../support/wait.ts";

const test = suite("deadlines and inboxes");

let clock: Clock;
let wheel: Deadlines;
test.before.each(() => {
  clock = new Clock();
  wheel = new Deadlines(clock.now);
});
test.after.each(() => wheel.close());

/** Moves the clock, and resolves when the wheel has turned with it. */
async function pass(ms: number): Promise<void> {
  clock.advance(ms);
  const { promise, resolve } = deferred();
  wheel.at(clock.now() - 20, resolve);
  await promise;
}

test("a deadline runs when the clock has reached it, not before", async () => {
  const start = clock.now();
  const ran: number[] = [];
  wheel.after(1_000, () => ran.push(clock.now() - start));
  await pass(960);
  await pass(39);
  assert.equal(ran, []);
  await pass(21);
  assert.equal(ran, [1_020]);
});

test("random deadlines run once each, none early", async () => {
  const random = seeded(seedFromEnvironment());
  const start = clock.now();
  const due = Array.from({ length: 300 }, () => random.int(2_000));
  const ran = due.map(() => [] as number[]);
  const cancelled = new Set<number>();
  const clears = due.map((ms, n) => wheel.after(ms, () => ran[n]!.push(clock.now() - start)));
  for (let at = 0; at < 2_100; at += 1 + random.int(120)) {
    for (const [n, clear] of clears.entries()) {
      if (ran[n]!.length === 0 && random.chance(0.003)) {
        clear();
        cancelled.add(n);
      }
    }
    clock.advance(1 + random.int(120));
    await new Promise(setImmediate);
  }
  clock.advance(3_000);
  await until(() => ran.every((times, n) => times.length === 1 || cancelled.has(n)), 5_000, "all deadlines");
  for (const [n, times] of ran.entries()) {
    assert.is(times.length, cancelled.has(n) ? 0 : 1, `deadline ${n}`);
    for (const ms of times) assert.ok(ms >= due[n]!, `deadline ${n} of ${due[n]} ms at ${ms}`);
  }
});

test("a deadline in the past runs at the next turn", async () => {
  const { promise, resolve } = deferred();
  wheel.at(clock.now() - 5_000, resolve);
  await promise;
});

test("one that runs takes another of the same moment back", async () => {
  const ran: string[] = [];
  let clearSecond = (): void => {};
  wheel.after(100, () => {
    ran.push("first");
    clearSecond();
  });
  clearSecond = wheel.after(100, () => ran.push("second"));
  await pass(200);
  assert.equal(ran, ["first"]);
});

test("one function set twice is two deadlines", async () => {
  let count = 0;
  const add = (): void => void count++;
  wheel.after(50, add);
  const clear = wheel.after(50, add);
  wheel.after(50, add);
  clear();
  clear();
  await pass(100);
  assert.is(count, 2);
});

test("a deadline set by a deadline runs in its own time", async () => {
  const ran: string[] = [];
  wheel.after(10, () => {
    ran.push("first");
    wheel.after(100, () => ran.push("second"));
  });
  await pass(40);
  assert.equal(ran, ["first"]);
  await pass(140);
  assert.equal(ran, ["first", "second"]);
});

test("a closed wheel runs nothing and keeps no timer", async () => {
  let ran = false;
  wheel.after(10, () => (ran = true));
  wheel.close();
  wheel.after(10, () => (ran = true));
  clock.advance(1_000);
  await new Promise(setImmediate);
  assert.is(ran, false);
});

test("an inbox gives its items in order, and waits when it has none", async () => {
  const inbox = new Inbox<number>();
  inbox.push(1);
  inbox.push(2);
  assert.is(inbox.waiting, 2);
  assert.equal([await inbox.next(), await inbox.next()], [1, 2]);
  const third = inbox.next();
  inbox.push(3);
  inbox.push(4);
  assert.is(await third, 3);
  assert.is(inbox.waiting, 1);
  assert.equal(inbox.drain(), [4]);
  assert.is(inbox.waiting, 0);
});

test.run();
