/**
 * Retention: whole sessions go when their last entry is old enough, and nothing else does. The clock is the test's.
 */
import { Retention } from "../../../server/session/retention.ts";
import { silentLog } from "../../../server/observe/log.ts";
import { MemoryStore } from "../../../server/store/memory.ts";
import { closeRuntimes, script, startRuntime, type TestRuntime } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";

const DAY = 86_400_000;
const test = suite("retention");
let at = 0;
let world: TestRuntime;
let retention: Retention;

test.before.each(async () => {
  at = 1_700_000_000_000;
  const now = (): number => at;
  world = await startRuntime({ store: new MemoryStore(), now });
  const { store, registry } = world.runtime;
  retention = new Retention({ store, registry, log: silentLog(), now }, 30);
});
test.after.each(async () => {
  await retention.close();
  await closeRuntimes();
});

async function left(): Promise<string[]> {
  const ids: string[] = [];
  for await (const id of world.runtime.sessions()) ids.push(id);
  return ids.toSorted();
}

test("idle and closed sessions go when their last entry is old, and their ids stay used", async () => {
  for (const session of ["idle", "closed", "used"]) {
    await world.session({ session });
    await world.run(session, "hello");
  }
  await world.close("closed");
  at += 29 * DAY;
  assert.is(await retention.sweep(), 0);
  await world.run("used", "hello again");
  at += DAY + 1;
  assert.is(await retention.sweep(), 2);
  assert.equal(await left(), ["used"]);
  assert.is((await world.state("used")).messages.length, 4);
  await assert.rejects(world.session({ session: "idle" }));
  at += 30 * DAY;
  assert.is(await retention.sweep(), 1);
  assert.equal(await left(), []);
});

test("a session with an open run or a waiting input is never old", async () => {
  await world.session({ session: "open" });
  await world.send("open", script({ text: "begun" }, { stall: 10 ** 7 }));
  await world.entry("open", "run-started");
  await world.send("open", "waits");
  at += 1000 * DAY;
  assert.is(await retention.sweep(), 0);
  assert.equal(await left(), ["open"]);
});

test("whoever reads a session that goes is told so", async () => {
  await world.session({ session: "read" });
  const frames: unknown[] = [];
  await world.runtime.registry.with("read", (session) =>
    session.feed.attach(
      {
        deliver: ({ line }) => frames.push(JSON.parse(line)),
        lagging: false,
        drop: () => {},
        room: () => undefined,
        mayRead: () => true,
        gone: false,
      },
      {},
      () => {},
    ),
  );
  at += 31 * DAY;
  assert.is(await retention.sweep(), 1);
  assert.equal(frames.at(-1), { type: "detached", session: "read", reason: "deleted" });
});

test("more sessions than one page of the list go in one walk", { limitMs: 60_000 }, async () => {
  for (let count = 0; count < 450; count++) {
    at += 1;
    await world.session({ session: `ses_${count}` });
  }
  at += 31 * DAY;
  await world.session({ session: "new" });
  assert.is(await retention.sweep(), 450);
  assert.equal(await left(), ["new"]);
});

test.run();
