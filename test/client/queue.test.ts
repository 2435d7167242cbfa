/**
 * The queue behind an iterator: bounded, ordered, never losing silently.
 */
import { BoundedQueue } from "../../client/queue.ts";
import { suite, assert } from "../support/suite.ts";

const test = suite("client queue");
const make = (maxItems: number, maxBytes = 1000) => {
  const ends: number[] = [];
  const queue = new BoundedQueue<string>({ maxItems, maxBytes, size: (item) => item.length }, () =>
    ends.push(1),
  );
  return { queue, ends };
};

test("yields what is pushed before and after it is asked for", async () => {
  const { queue } = make(10);
  queue.push("a");
  queue.push("b");
  assert.equal(await queue.next(), { value: "a", done: false });
  assert.equal(await queue.next(), { value: "b", done: false });
  const next = queue.next();
  queue.push("c");
  assert.equal(await next, { value: "c", done: false });
  const last = queue.next();
  queue.end();
  assert.equal(await last, { value: undefined, done: true });
});

test("an overflow throws queue-full after what is held, and ends the source once", async () => {
  const { queue, ends } = make(2);
  for (const item of ["a", "b", "c", "d"]) queue.push(item);
  const seen: string[] = [];
  const error = await assert.rejects(async () => {
    for await (const item of queue) seen.push(item);
  });
  assert.equal(seen, ["a", "b"]);
  assert.is(error.code, "queue-full");
  assert.is(ends.length, 1);
  assert.equal(await queue.next(), { value: undefined, done: true });
});

test("bytes count too, but one item always fits", async () => {
  const { queue } = make(10, 5);
  queue.push("larger than five");
  queue.push("x");
  assert.is((await queue.next()).value, "larger than five");
  await assert.rejects(queue.next(), /too slow/);
});

test("a reader that leaves ends the source", async () => {
  const { queue, ends } = make(10);
  queue.push("a");
  queue.push("b");
  for await (const item of queue) {
    assert.is(item, "a");
    break;
  }
  assert.is(ends.length, 1);
  assert.equal(await queue.next(), { value: undefined, done: true });
});

test("items that merge take one place", async () => {
  const queue = new BoundedQueue<string>(
    { maxItems: 1, maxBytes: 100, size: (item) => item.length, merge: (last, item) => last + item },
    () => undefined,
  );
  for (const item of ["a", "b", "c"]) queue.push(item);
  assert.is((await queue.next()).value, "abc");
});

test.run();
