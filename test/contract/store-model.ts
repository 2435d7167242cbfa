/**
 * The part of the store contract that plays random histories against a plain model of the store.
 * Owns no rule of its own: it finds the histories that nobody thought of. A failure prints its seed.
 * See ./store.ts for how a home takes part.
 */
import type { Grant, Member, Store } from "../../server/store/store.ts";
import { assert, suite } from "../support/suite.ts";
import { seedFromEnvironment, seeded } from "../support/wait.ts";
import {
  type Writer,
  begin,
  granted,
  idsOf,
  next,
  texts,
  type MakeStore,
  type StoreUnderTest,
} from "./store-support.ts";

export function modelContract(name: string, makeStore: MakeStore): void {
  const test = suite(`${name}: random histories`);
  let home: StoreUnderTest;
  let store: Store;
  let member: Member;
  let writer: Writer;

  test.before.each(async () => {
    ({ home, store, member, writer } = await begin(makeStore));
  });
  test.after.each(() => store.close());

  test("random histories of several members end as a plain model says", { limitMs: 60_000 }, async () => {
    const random = seeded(seedFromEnvironment());
    const ids = Array.from({ length: 6 }, (_, at) => `ses_${at}`);
    const logs = new Map<string, string[]>();
    const gone = new Set<string>();
    const grants = new Map<string, Grant[]>();
    const members = [member, await store.join("two", 10 ** 9)];
    for (let step = 0; step < 400; step++) {
      const id = random.pick(ids);
      const log = logs.get(id);
      const held = grants.get(id) ?? [];
      const action = random.int(10);
      if (action < 6) {
        const grant = held.length > 0 ? random.pick(held) : { id, epoch: 1, seq: 0 };
        const expectedSeq = random.chance(0.8) ? (log?.length ?? 0) : random.int(4);
        const text = `step ${step}`;
        const result = await writer.one(next({ ...grant, seq: expectedSeq }, [text]));
        if (log === undefined || grant.epoch !== held.at(-1)?.epoch)
          assert.equal(result, { status: "fenced" });
        else if (expectedSeq !== log.length) assert.equal(result, { status: "conflict", head: log.length });
        else assert.is(log.push(text), result.status === "ok" ? result.seq : -1);
      } else if (action === 6) {
        const item = writer.creation(id, { create: random.pick(members), epoch: home.now() + step });
        const result = await writer.one(item);
        if (log !== undefined || gone.has(id))
          assert.equal(result, { status: "conflict", head: log?.length ?? 0 });
        else {
          assert.equal(result, { status: "ok", seq: 1 });
          logs.set(id, [`${id} begins`]);
          grants.set(id, [{ id, epoch: item.epoch, seq: 1 }]);
        }
      } else if (action === 7) {
        const claim = await store.claim(id, random.pick(members));
        if (log === undefined) assert.is(claim, undefined);
        else if (claim && !("heldBy" in claim)) {
          assert.is(claim.seq, log.length);
          assert.ok(held.every((grant) => grant.epoch < claim.epoch));
          held.push(claim);
        }
      } else if (action === 8) {
        const last = held.at(-1);
        if (last !== undefined && random.chance(0.5)) {
          await store.release(last);
          const claim = await granted(store.claim(id, random.pick(members)));
          assert.ok(claim.epoch > last.epoch);
          held.push(claim);
        }
      } else if (held.length > 0 && random.chance(0.2)) {
        const grant = random.pick(held);
        const current = grant.epoch === held.at(-1)?.epoch;
        assert.is(await store.remove(grant), current);
        if (current) {
          logs.delete(id);
          grants.delete(id);
          gone.add(id);
        }
      }
    }
    for (const id of ids) assert.equal(await texts(store, id), logs.get(id) ?? []);
    assert.equal(idsOf(await store.list({ limit: 100 })).toSorted(), [...logs.keys()].toSorted());
  });

  test.run();
}
