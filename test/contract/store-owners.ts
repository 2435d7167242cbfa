/**
 * The part of the store contract about owners: leases, claims, epochs, fencing, and the slots that only an owner
 * writes. Owns who may write when. Knows no home.
 * See ./store.ts for how a home takes part.
 */
import type { Member, Store } from "../../server/store/store.ts";
import { StoreUnavailableError } from "../../server/store/store.ts";
import { assert, suite } from "../support/suite.ts";
import {
  Writer,
  begin,
  bytes,
  granted,
  next,
  textOf,
  texts,
  TTL,
  type MakeStore,
  type StoreUnderTest,
} from "./store-support.ts";

export function ownersContract(name: string, makeStore: MakeStore): void {
  const test = suite(`${name}: owners and slots`);
  let home: StoreUnderTest;
  let store: Store;
  let member: Member;
  let writer: Writer;

  test.before.each(async () => {
    ({ home, store, member, writer } = await begin(makeStore));
  });
  test.after.each(() => store.close());

  // --- Owners ---

  test("a live member's session is held against others and granted anew to itself", async () => {
    const first = await writer.create("ses_1");
    const two = await store.join("two", TTL);
    assert.equal(await store.claim("ses_1", two), { heldBy: member });
    const again = await granted(store.claim("ses_1", member));
    assert.ok(again.epoch > first.epoch);
    assert.is(again.seq, 1);
    assert.equal(await writer.one(next(first, ["old"])), { status: "fenced" });
    await writer.append(again, ["new"]);
  });

  test("a claim after the lease has ended fences the first owner", async () => {
    const first = await writer.append(await writer.create("ses_1"), ["two"]);
    await home.advance(TTL + 1);
    const two = await store.join("two", TTL);
    const second = await granted(store.claim("ses_1", two));
    assert.ok(second.epoch > first.epoch);
    assert.ok(second.epoch >= home.now() - TTL);
    assert.is(second.seq, 2);
    assert.equal(await writer.one(next(first, ["late"])), { status: "fenced" });
    assert.is(await store.checkpoint(first, bytes("late")), false);
    assert.is(await store.snapshot(first, 1, bytes("late")), false);
    assert.is(await store.remove(first), false);
    await writer.append(second, ["three"]);
    assert.equal(await texts(store, "ses_1"), ["ses_1 begins", "two", "three"]);
    const loaded = await store.load("ses_1");
    assert.is(loaded?.epochAtHead, second.epoch);
    assert.is(loaded?.checkpoint, undefined);
  });

  test("a heartbeat keeps the lease, a missed one ends it for good", async () => {
    await writer.create("ses_1");
    const two = await store.join("two", 10 * TTL);
    for (let beat = 0; beat < 3; beat++) {
      await home.advance(TTL * 0.8);
      assert.is(await store.heartbeat(member), true);
    }
    assert.equal(await store.claim("ses_1", two), { heldBy: member });
    await home.advance(TTL + 1);
    assert.is(await store.heartbeat(member), false);
    assert.is(await store.heartbeat(member), false);
    await assert.rejects(store.claim("ses_1", member), StoreUnavailableError);
    await granted(store.claim("ses_1", two));
  });

  test("leaving gives back every session and fences what comes late", async () => {
    const a = await writer.create("ses_a");
    const b = await writer.create("ses_b");
    const two = await store.join("two", TTL);
    const c = await new Writer(store, two, writer.now).create("ses_c");
    await store.leave(member);
    assert.equal(await writer.one(next(a, ["late"])), { status: "fenced" });
    assert.equal(await writer.one(writer.creation("ses_d")), { status: "fenced" });
    assert.ok((await granted(store.claim("ses_b", two))).epoch > b.epoch);
    assert.is(await store.heartbeat(member), false);
    await writer.append(c, ["still mine"]);
  });

  test("a released session is free at once, and its old grant is void for ever", async () => {
    const first = await writer.create("ses_1");
    await store.release(first);
    assert.equal(await writer.one(next(first, ["late"])), { status: "fenced" });
    const two = await store.join("two", TTL);
    const second = await granted(store.claim("ses_1", two));
    assert.ok(second.epoch > first.epoch);
    await store.release(first);
    assert.equal(await store.claim("ses_1", member), { heldBy: two });
    await store.release(second);
    const third = await granted(store.claim("ses_1", member));
    assert.ok(third.epoch > second.epoch);
    assert.equal(await writer.one(next(second, ["late"])), { status: "fenced" });
  });

  test("epochs only grow, within one millisecond and over an epoch ahead of the clock", async () => {
    let grant = await writer.create("ses_1", { epoch: home.now() + 5000 });
    for (let round = 0; round < 5; round++) {
      await store.release(grant);
      const later = await granted(store.claim("ses_1", member));
      assert.ok(later.epoch > grant.epoch);
      grant = await writer.append(later, [`round ${round}`]);
      assert.is((await store.load("ses_1"))?.epochAtHead, grant.epoch);
    }
    await home.advance(60_000);
    member = await store.join("again", TTL);
    assert.ok((await granted(store.claim("ses_1", member))).epoch >= home.now() - 1000);
  });

  test("of many claims at once exactly one member gets the session", async () => {
    await store.release(await writer.create("ses_1"));
    const members = await Promise.all(Array.from({ length: 8 }, (_, at) => store.join(`node ${at}`, TTL)));
    const answers = await Promise.all(members.map((one) => store.claim("ses_1", one)));
    const grants = answers.filter((answer) => answer !== undefined && !("heldBy" in answer));
    assert.is(grants.length, 1);
    const winner = members[answers.indexOf(grants[0])];
    for (const answer of answers) if (answer && "heldBy" in answer) assert.equal(answer.heldBy, winner);
  });

  test("a claim during an append sees either all of it or fences it", async () => {
    const two = await store.join("two", TTL);
    let grant = await writer.create("ses_1");
    for (let round = 0; round < 20; round++) {
      const appending = writer.one(next(grant, [`${round} a`, `${round} b`]));
      const leaving = round % 2 === 0 ? store.release(grant) : undefined;
      const claiming = store.claim("ses_1", round % 2 === 0 ? two : member);
      const [result, claim] = await Promise.all([appending, claiming, leaving]);
      const length = (await texts(store, "ses_1")).length;
      if (claim === undefined || "heldBy" in claim) throw new Error("the session was free");
      assert.is(claim.seq, length);
      assert.is(length, result.status === "ok" ? grant.seq + 2 : grant.seq);
      assert.ok(result.status === "ok" || result.status === "fenced");
      await store.release(claim);
      grant = await granted(store.claim("ses_1", member));
    }
  });

  // --- Slots ---

  test("the checkpoint is one slot that the owner writes and clears", async () => {
    const grant = await writer.create("ses_1");
    assert.is(await store.checkpoint(grant, bytes("one")), true);
    assert.is(await store.checkpoint(grant, bytes("two")), true);
    assert.is(textOf((await store.load("ses_1"))?.checkpoint), "two");
    assert.is(await store.checkpoint(grant, null), true);
    assert.is((await store.load("ses_1"))?.checkpoint, undefined);
    const later = await granted(store.claim("ses_1", member));
    assert.is(await store.checkpoint(grant, bytes("late")), false);
    assert.is(await store.checkpoint(later, bytes("three")), true);
    assert.is(textOf((await store.load("ses_1"))?.checkpoint), "three");
  });

  test("many slots written at once all arrive, the last of a session last", async () => {
    const grants = await Promise.all(Array.from({ length: 20 }, (_, at) => writer.create(`ses_${at}`)));
    const writes = [1, 2, 3].flatMap((n) =>
      grants.map((grant) => store.checkpoint(grant, bytes(`${grant.id} ${n}`))),
    );
    assert.ok((await Promise.all(writes)).every(Boolean));
    for (const { id } of grants) assert.is(textOf((await store.load(id))?.checkpoint), `${id} 3`);
  });

  test("a session loads with its latest snapshot and the head beyond it", async () => {
    let grant = await writer.create("ses_1");
    grant = await writer.append(grant, ["two", "three"]);
    assert.is(await store.snapshot(grant, 2, bytes("as of two")), true);
    grant = await writer.append(grant, ["four"]);
    const loaded = await store.load("ses_1");
    assert.is(loaded?.head, 4);
    assert.is(loaded?.snapshot?.seq, 2);
    assert.is(textOf(loaded?.snapshot?.body), "as of two");
    assert.equal(await texts(store, "ses_1", 2), ["three", "four"]);
    assert.is(await store.snapshot(grant, 4, bytes("as of four")), true);
    assert.is((await store.load("ses_1"))?.snapshot?.seq, 4);
    await assert.rejects(store.snapshot(grant, 5, bytes("ahead")), TypeError);
    const later = await granted(store.claim("ses_1", member));
    assert.is(await store.snapshot(grant, 1, bytes("late")), false);
    assert.is((await store.load("ses_1"))?.snapshot?.seq, 4);
    await store.release(later);
  });

  test.run();
}
