// limit: 300 s
/**
 * A deletion that was acked is one: kill -9 at once, and after the next start nothing is left of the session but its used
 * id, while its neighbours are whole. What the kill interrupted goes on by itself.
 */
import { verify } from "../../server/session/verify.ts";
import { EmbeddedStore } from "../../server/store/embedded.ts";
import { temporaryDirectory } from "../support/process.ts";
import { closeRuntimes, startRuntime } from "../support/runtime.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { until } from "../support/wait.ts";
import { Wire } from "../support/wire.ts";
import { assertSound } from "./backup-load.ts";

const ENTRIES = 4000;
const ROUNDS = 4;
const test = suite("killed in the middle of a deletion");
const data = temporaryDirectory();

test.before(async () => {
  const store = await EmbeddedStore.open(data);
  const world = await startRuntime({ store });
  const ids = ["kept", ...Array.from({ length: ROUNDS }, (_, at) => `long_${at}`)];
  await Promise.all(
    ids.map(async (session) => {
      await world.session({ session });
      await world.run(session, "hello", { key: "k" });
      await world.runtime.registry.with(session, (held) =>
        held.exclusive(async () => {
          for (let at = 0; at < ENTRIES; at += 500) {
            const body = { type: "session-updated", title: `title ${at}` } as const;
            await held.append(Array.from({ length: 500 }, () => ({ body })));
          }
        }),
      );
    }),
  );
  await closeRuntimes();
});

test("nothing is left but the used id", { limitMs: 180_000 }, async () => {
  let interrupted = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const session = `long_${round}`;
    const server = await TestServer.start({ data, env: { HAULOUT_LOG: "silent" } });
    const wire = await Wire.connect(server.url);
    await wire.ok("attach", { session });
    await wire.ok("deleteSession", { session });
    await server.kill();
    const totals = await verify(data, ({ session: id, problem }) => assert.unreachable(`${id}: ${problem}`));
    interrupted += totals.purging;
    assert.equal([totals.deleted, totals.sessions], [round + 1, ROUNDS - round]);

    const again = await TestServer.start({ data, env: { HAULOUT_LOG: "silent" } });
    const later = await Wire.connect(again.url);
    assert.is((await later.refused("attach", { session }))["code"], "not-found");
    assert.is((await later.refused("history", { session }))["code"], "not-found");
    const taken = { agent: "demo", session };
    assert.is((await later.refused("createSession", taken))["code"], "conflict");
    const { items } = await later.ok("listSessions");
    assert.not((items as { id: string }[]).some(({ id }) => id === session));
    await again.stop();
  }
  console.log(`${interrupted} of ${ROUNDS} deletions were interrupted`);
  assert.ok(interrupted > 0);
  // One start that has the time to finish.
  const store = await EmbeddedStore.open(data);
  await store.purged();
  await store.close();
  const totals = await verify(data, () => {});
  assert.equal([totals.faults, totals.purging, totals.deleted], [0, 0, ROUNDS]);
  assert.ok(totals.entries < ENTRIES + 100, `${totals.entries} entries`);
  await assertSound(data);
});

test("a deletion that was not acked is whole or not at all", { limitMs: 120_000 }, async () => {
  const server = await TestServer.start({ data, env: { HAULOUT_LOG: "silent" } });
  const wire = await Wire.connect(server.url);
  wire.send({ type: "deleteSession", id: 1, session: "kept" });
  await until(() => server.process.stdout.length > 0, 5000, "the server");
  await server.kill();
  const totals = await verify(data, ({ session, problem }) => assert.unreachable(`${session}: ${problem}`));
  assert.is(totals.sessions + totals.deleted, ROUNDS + 1);
});

test.run();
