/**
 * How many sessions a user may own: what counts, what gives room again, and that nobody comes in by asking at once.
 */
import { ProtocolError } from "../../../protocol/errors.ts";
import { fork } from "../../../server/session/fork.ts";
import { EmbeddedStore } from "../../../server/store/embedded.ts";
import { temporaryDirectory } from "../../support/process.ts";
import { caller, closeRuntimes, startRuntime, type TestRuntime } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";

const test = suite("sessions of a user");
test.after.each(closeRuntimes);

async function refused(work: Promise<unknown>): Promise<void> {
  const { code, retryable, details } = await assert.rejects(work, ProtocolError);
  assert.equal([code, retryable, details], ["forbidden", false, { limit: "maxSessionsPerUser", max: 2 }]);
}

const forked = (runtime: TestRuntime, id: string, user: string): Promise<unknown> => {
  const { registry, store } = runtime.runtime;
  return registry.with(id, ({ state }) => fork(registry, store, caller(user), state));
};

test("who owns as many as may be gets a typed error, until one is deleted; closed ones and forks count", async () => {
  const runtime = await startRuntime({ maxSessionsPerUser: 2 });
  const first = await runtime.session();
  await runtime.run(first, "hello");
  await runtime.close(first);
  await forked(runtime, first, "ada");
  await refused(runtime.session());
  await refused(forked(runtime, first, "ada"));
  assert.ok(await runtime.session({}, "bob"), "another user");
  await runtime.remove(first);
  await runtime.session();
  await refused(runtime.session());
});

test("a creation that is repeated is answered, however many there are", async () => {
  const runtime = await startRuntime({ maxSessionsPerUser: 2 });
  const made = { session: "mine", key: "k" };
  await runtime.session(made);
  await runtime.session();
  assert.is(await runtime.session(made), "mine");
  await refused(runtime.session({ ...made, title: "another" }));
});

test("creations at the same time come in as far as there is room, also after a restart", async () => {
  const directory = temporaryDirectory();
  const created = async (): Promise<number> => {
    const store = await EmbeddedStore.open(directory);
    const runtime = await startRuntime({ store, maxSessionsPerUser: 5 });
    const all = await Promise.allSettled(Array.from({ length: 9 }, () => runtime.session()));
    await closeRuntimes();
    return all.filter(({ status }) => status === "fulfilled").length;
  };
  assert.equal([await created(), await created()], [5, 0]);
});

test("who is not verified could be anybody, and is not counted; 0 is no bound", async () => {
  const runtime = await startRuntime({ maxSessionsPerUser: 1 });
  for (const _ of [1, 2, 3]) await runtime.runtime.createSession("demo", "ada");
  const free = await startRuntime({ maxSessionsPerUser: 0 });
  for (const _ of [1, 2, 3]) await free.session();
});

test.run();
