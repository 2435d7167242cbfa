/**
 * Backoff: the numbers of a client that comes back, with time and chance in hand.
 */
import { Backoff } from "../../client/backoff.ts";
import { suite, assert } from "../support/suite.ts";
import { manualClock } from "./support/clock.ts";

const test = suite("client backoff");

test("the first retry waits 0 to 1 s, later ones 0.25 s to twice as much each, at most 2 s while the outage is young", () => {
  for (const [chance, waits] of [
    [0, [0, 250, 250, 250, 250]],
    [1, [1000, 1000, 2000, 2000, 2000]],
  ] as const) {
    const clock = manualClock();
    clock.chance = chance;
    const backoff = new Backoff({}, clock);
    assert.equal(
      [0, 1, 2, 3, 4].map(() => backoff.next()),
      waits,
    );
  }
});

test("after 30 s of outage the cap rises to 30 s", () => {
  const clock = manualClock();
  clock.chance = 1;
  const backoff = new Backoff({}, clock);
  for (let retry = 0; retry < 8; retry++) backoff.next();
  clock.advance(30_000);
  assert.is(backoff.next(), 30_000);
});

test("a connection, however short, makes the next outage a young one", () => {
  const clock = manualClock();
  clock.chance = 1;
  const backoff = new Backoff({}, clock);
  for (let retry = 0; retry < 8; retry++) backoff.next();
  clock.advance(60_000);
  assert.is(backoff.next(), 30_000);
  backoff.online();
  clock.advance(1);
  assert.is(backoff.next(), 2000);
  clock.advance(30_000);
  assert.is(backoff.next(), 30_000);
});

test("after a connection of 10 s the next retry is a first one, after a shorter one it is not", () => {
  const clock = manualClock();
  clock.chance = 1;
  const backoff = new Backoff({}, clock);
  backoff.next();
  backoff.next();
  backoff.online();
  clock.advance(9_999);
  assert.is(backoff.next(), 2000);
  backoff.online();
  clock.advance(10_000);
  assert.is(backoff.next(), 1000);
});

test("the server's window replaces the wait, its retryAfterMs is waited for first", () => {
  const clock = manualClock();
  const backoff = new Backoff({}, clock);
  assert.is(backoff.next({ window: [4000, 6000] }), 5000);
  clock.chance = 0;
  assert.is(backoff.next({ retryAfterMs: 7000 }), 7250);
});

test("an overloaded server gets no quick first retry", () => {
  const clock = manualClock();
  clock.chance = 0;
  assert.is(new Backoff({}, clock).next({ slow: true }), 250);
});

test.run();
