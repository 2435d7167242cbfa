/**
 * The part of the store contract about agents that were put at run time: one thing a name, whole or not at all. What a home
 * keeps beyond the process is asked where it is opened again. See ./store.ts for how a home takes part.
 */
import type { Store } from "../../server/store/store.ts";
import { assert, suite } from "../support/suite.ts";
import { begin, bytes, textOf, type MakeStore } from "./store-support.ts";

export function agentsContract(name: string, makeStore: MakeStore): void {
  const test = suite(`${name}: agents`);
  let store: Store;

  test.before.each(async () => {
    ({ store } = await begin(makeStore));
  });
  test.after.each(() => store.close());

  const kept = async (): Promise<string[]> =>
    (await store.agents()).map((row) => `${row.name}: ${textOf(row.body)}`);

  test("each name keeps what was written last, in the order of names", async () => {
    assert.equal(await kept(), []);
    for (const [agent, body] of [
      ["b", "one"],
      ["a-1", "two"],
      ["B", "three"],
      ["a", "x".repeat(100_000)],
      ["b", "four"],
      ["a", ""],
    ])
      await store.writeAgent(agent!, bytes(body!));
    assert.equal(await kept(), ["B: three", "a: ", "a-1: two", "b: four"]);
  });

  test("what is taken away is gone, and may come again", async () => {
    await store.writeAgent("a", bytes("one"));
    await store.writeAgent("b", bytes("two"));
    await store.writeAgent("a", null);
    await store.writeAgent("c", null);
    assert.equal(await kept(), ["b: two"]);
    await store.writeAgent("a", bytes("three"));
    assert.equal(await kept(), ["a: three", "b: two"]);
  });

  test("a session of the same name is another thing", async () => {
    const member = await store.join("two", 10_000);
    await store.append([
      {
        id: "a",
        epoch: 1,
        expectedSeq: 0,
        entries: [bytes("begins")],
        index: { readers: [], open: false, updatedAt: 1, info: bytes("") },
        create: member,
      },
    ]);
    assert.equal(await kept(), []);
    await store.writeAgent("a", bytes("one"));
    await store.writeAgent("a", null);
    assert.is((await store.load("a"))?.head, 1);
  });

  test("a name that is none is a TypeError", async () => {
    for (const bad of ["", "a b", "é", "x".repeat(65), "a\0"])
      await assert.rejects(store.writeAgent(bad, bytes("one")), TypeError);
    assert.equal(await kept(), []);
  });

  test.run();
}
