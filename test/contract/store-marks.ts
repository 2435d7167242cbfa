/**
 * The part of the store contract about read marks: whose they are, that they only move on, and that they go with their
 * session. See ./store.ts for how a home takes part.
 */
import type { Store } from "../../server/store/store.ts";
import { assert, suite } from "../support/suite.ts";
import { begin, type MakeStore, type Writer } from "./store-support.ts";

export function marksContract(name: string, makeStore: MakeStore): void {
  const test = suite(`${name}: read marks`);
  let store: Store;
  let writer: Writer;

  test.before.each(async () => {
    ({ store, writer } = await begin(makeStore));
  });
  test.after.each(() => store.close());

  test("each user has one mark a session, read for many sessions at once", async () => {
    for (const id of ["ses_1", "ses_10", "ses_2"]) await writer.create(id);
    await store.markRead("ses_1", "ada", { seq: 3, messages: 2 });
    await store.markRead("ses_10", "ada", { seq: 0, messages: 0 });
    await store.markRead("ses_1", "bob", { seq: 5, messages: 4 });
    assert.equal(await store.readMarks("ada", ["ses_2", "ses_1", "ses_10", "gone"]), [
      undefined,
      { seq: 3, messages: 2 },
      { seq: 0, messages: 0 },
      undefined,
    ]);
    assert.equal(await store.readMarks("bob", ["ses_1"]), [{ seq: 5, messages: 4 }]);
    assert.equal(await store.readMarks("eve", []), []);
  });

  test("a mark only moves on, in whatever order and however many come together", async () => {
    await writer.create("ses_1");
    const seqs = [4, 9, 2, 9, 7];
    await Promise.all(seqs.map((seq) => store.markRead("ses_1", "ada", { seq, messages: seq })));
    assert.equal(await store.readMarks("ada", ["ses_1"]), [{ seq: 9, messages: 9 }]);
    await store.markRead("ses_1", "ada", { seq: 8, messages: 8 });
    await store.markRead("ses_1", "ada", { seq: 10, messages: 9 });
    assert.equal(await store.readMarks("ada", ["ses_1"]), [{ seq: 10, messages: 9 }]);
  });

  test("a session that is not there takes no mark", async () => {
    const grant = await writer.create("ses_1");
    await store.remove(grant);
    for (const id of ["ses_1", "ses_2", "no id"]) {
      await store.markRead(id, "ada", { seq: 1, messages: 1 });
      assert.equal(await store.readMarks("ada", [id]), [undefined]);
    }
  });

  test.run();
}
