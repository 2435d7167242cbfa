/**
 * Readers who cannot keep up, and many who attach at once: out of the live set and back by the log, and a store that is
 * read once for all of them.
 */
import { MemoryStore } from "../../../server/store/memory.ts";
import { closeRuntimes, finishes, says, startRuntime, TestModel } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { deferred } from "../../support/wait.ts";
import { TestReader } from "./reader.ts";

const test = suite("readers who lag");
test.after.each(closeRuntimes);

test("a reader for whom too much waits leaves the live set, and comes back by the log and a live", async () => {
  const gate = deferred();
  const runtime = await startRuntime({
    model: new TestModel(async function* () {
      yield says("the beginning");
      await gate.promise;
      yield says(" and the end");
      yield finishes();
    }),
    coalesceMs: 0,
  });
  const session = await runtime.session();
  const [slow, quick] = [new TestReader(), new TestReader()];
  for (const reader of [slow, quick]) await reader.attach(runtime, session);
  await runtime.send(session, "go");
  await runtime.delta(session, "beginning");
  const before = slow.frames.length;
  slow.lagging = true;
  const empty = slow.fill();
  gate.resolve();
  await runtime.entry(session, "run-finished");
  assert.is(slow.frames.length, before, "nothing is added to what waits");
  assert.equal(slow.dropped, [slow.answer!.channel], "what it could go without was taken back");
  assert.is(runtime.runtime.feeds.lagged, 1);
  slow.lagging = false;
  empty();
  const { seq } = await runtime.state(session);
  await slow.until((frame) => frame.type === "live" && frame.seq === seq);
  assert.equal(slow.seqs, quick.seqs);
  assert.is(slow.text(), "");
  await runtime.run(session, "again");
  assert.equal(slow.seqs, quick.seqs, "it is live again");
  assert.equal(slow.folded(), quick.folded());
});

test("a thousand readers who attach to a long log at once read the store once", async () => {
  const store = new MemoryStore();
  const runtime = await startRuntime({ model: new TestModel([says("well"), finishes()]), store });
  const session = await runtime.session();
  for (let n = 0; n < 40; n++) await runtime.run(session, `${n} ${"x".repeat(20_000)}`);
  await runtime.runtime.registry.unloadIdle(-1);
  const pages = new Map<number, number>();
  const read = store.read.bind(store);
  store.read = (id, after, ...more) => {
    pages.set(after, (pages.get(after) ?? 0) + 1);
    return read(id, after, ...more);
  };
  const { seq, epoch } = await runtime.state(session);
  pages.clear();
  const readers = Array.from({ length: 1000 }, (_, at) => ({
    after: at % 2 === 0 ? { seq: 0, epoch: 0 } : { seq: 9, epoch },
    entries: 0,
    lives: 0,
  }));
  const attach = (reader: (typeof readers)[number]): Promise<void> =>
    runtime.runtime.registry.with(session, ({ feed }) =>
      feed.attach(
        {
          gone: false,
          lagging: false,
          drop: () => {},
          room: () => undefined,
          mayRead: () => true,
          // Its last frame is `live`.
          deliver: ({ count }) => ((reader.entries += reader.lives), (reader.lives = count)),
        },
        { after: reader.after },
        ({ mode }) => assert.is(mode, "events"),
      ),
    );
  await Promise.all(readers.map(attach));
  for (const reader of readers) assert.equal([reader.entries, reader.lives], [seq - reader.after.seq, 1]);
  assert.ok(pages.size > 10, `${pages.size} pages`);
  assert.equal(
    [...pages.values()].filter((reads) => reads > 1),
    [],
    "no page is read twice",
  );
});

test.run();
