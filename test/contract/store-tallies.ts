/**
 * The part of the store contract about what users have used: sums by user and day, written with the entries that they count.
 * See ./store.ts for how a home takes part.
 */
import type { Store } from "../../server/store/store.ts";
import type { Tally } from "../../protocol/lists.ts";
import { assert, suite } from "../support/suite.ts";
import { type Writer, begin, next, type MakeStore } from "./store-support.ts";

const DAY = 86_400_000;
const used = (tokens: number, cost?: number): Tally["usage"] => ({
  inputTokens: tokens,
  outputTokens: 1,
  ...(cost === undefined ? {} : { cost }),
});

export function talliesContract(name: string, makeStore: MakeStore): void {
  const test = suite(`${name}: tallies`);
  let store: Store;
  let writer: Writer;
  const tally = (user: string, day: number, tokens: number): Tally => ({
    user,
    day: day * DAY,
    usage: used(tokens),
  });

  test.before.each(async () => {
    ({ store, writer } = await begin(makeStore));
  });
  test.after.each(() => store.close());

  test("what appends bring is summed by user and day, and nothing is there for others", async () => {
    const one = await writer.create("ses_1", { tallies: [tally("ada", 3, 10)] });
    await writer.append(one, ["two"], {
      tallies: [tally("ada", 3, 5), tally("ada", 4, 7), tally("bob", 4, 2)],
    });
    const zero = { inputTokens: 0, outputTokens: 0 };
    assert.equal(await store.spent("ada", 0), {
      total: { inputTokens: 22, outputTokens: 3 },
      days: [
        { day: 3 * DAY, usage: { inputTokens: 15, outputTokens: 2 } },
        { day: 4 * DAY, usage: used(7) },
      ],
    });
    assert.equal((await store.spent("ada", 4 * DAY)).days, [{ day: 4 * DAY, usage: used(7) }]);
    assert.equal((await store.spent("bob", 5 * DAY)).days, []);
    for (const user of ["eve", "ad", "ada ", ""])
      assert.equal(await store.spent(user, 0), { total: zero, days: [] });
  });

  test("each part of a usage is summed where any has it", async () => {
    const one = await writer.create("ses_1", {
      tallies: [{ user: "ada", day: 0, usage: { ...used(1, 7), cachedInputTokens: 1 } }],
    });
    await writer.append(one, ["two"], {
      tallies: [{ user: "ada", day: 0, usage: { ...used(1), reasoningTokens: 2 } }],
    });
    const sum = { inputTokens: 2, outputTokens: 2, cachedInputTokens: 1, reasoningTokens: 2, cost: 7 };
    assert.equal((await store.spent("ada", 0)).total, sum);
  });

  test("items of one batch add to one tally; those that are refused add nothing", async () => {
    const user = "ada";
    const [one, two] = [await writer.create("ses_1"), await writer.create("ses_2")];
    const gone = { ...(await writer.create("ses_3")), epoch: 1 };
    const tallies = [tally(user, 1, 10)];
    const results = await store.append([
      next(one, ["a"], { tallies }),
      next(gone, ["b"], { tallies }),
      next(two, ["c"], { tallies }),
    ]);
    assert.equal(
      results.map(({ status }) => status),
      ["ok", "fenced", "ok"],
    );
    assert.is((await writer.one(next({ ...two, seq: 7 }, ["d"], { tallies }))).status, "conflict");
    assert.is((await store.spent(user, 0)).total.inputTokens, 20);
  });

  test("a deletion takes nothing back", async () => {
    const grant = await writer.create("ses_1", { tallies: [tally("ada", 1, 10)] });
    assert.ok(await store.remove(grant));
    assert.is((await store.spent("ada", 0)).total.inputTokens, 10);
  });

  test("any user may be counted, and nobody stands in another's way", async () => {
    const users = ["a", "a\0", "a\0b", 'a"', "a\u0001", "é", "😀", "constructor", "x".repeat(128)];
    let grant = await writer.create("ses_1");
    for (const [at, user] of users.entries())
      grant = await writer.append(grant, [user], { tallies: [tally(user, at, at + 1), tally(user, 300, 1)] });
    for (const [at, user] of users.entries()) {
      const { total, days } = await store.spent(user, 0);
      assert.equal([total.inputTokens, days.length], [at + 2, 2], user);
    }
    if (store.tallies === undefined) return;
    const found: string[] = [];
    let after: Tally | undefined;
    do {
      const page = await store.tallies(after, 5);
      found.push(...page.map(({ user, day }) => JSON.stringify([user, day / DAY])));
      after = page.at(-1);
    } while (after !== undefined);
    const expected = users.flatMap((user, at) =>
      [
        [user, at],
        [user, 300],
      ].map((row) => JSON.stringify(row)),
    );
    assert.equal(found.toSorted(), expected.toSorted());
    const owners = found.map((row) => (JSON.parse(row) as [string])[0]);
    assert.is(owners.filter((user, at) => user !== owners[at - 1]).length, users.length, "side by side");
  });

  test("a tally that is none is a TypeError", async () => {
    const grant = await writer.create("ses_1");
    for (const bad of [tally("x".repeat(2000), 1, 1), tally("ada", -1, 1), tally("ada", 0.3 / DAY, 1)])
      await assert.rejects(store.append([next(grant, ["a"], { tallies: [bad] })]), TypeError);
    assert.is((await store.spent("ada", 0)).total.inputTokens, 0);
  });

  test.run();
}
