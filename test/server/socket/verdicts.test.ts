/**
 * The verdict on a result that comes while the store does not answer: its provider says nothing twice on one socket, so
 * the server finds out by itself what becomes of it. The fault is planted around the store, the sockets are real.
 */
import { silentLog } from "../../../server/observe/log.ts";
import { startServer, type HauloutServer } from "../../../server/server.ts";
import { Provider, calls, newSession, say, script } from "../../e2e/play.ts";
import { readLog, bodiesOf } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { until } from "../../support/wait.ts";
import { Wire } from "../../support/wire.ts";
import { brings, TestStore } from "../session/stores.ts";

const test = suite("verdicts while the store fails");
let server: HauloutServer | undefined;
test.after.each(async () => {
  await server?.stop();
  server = undefined;
});

for (const lost of ["tool-accepted", "tool-result"] as const) {
  test(`a result is stored though the append of ${lost} fails and the log cannot be read for a while`, async () => {
    const store = new TestStore();
    const runtime = { router: { graceMs: 50 } };
    server = await startServer({ port: 0, store, log: silentLog(), runtime });
    const { registry } = server.runtime;
    const url = `ws://127.0.0.1:${server.port}/ws`;
    const provider = await Provider.offer(await Wire.connect(url), { pay: { effect: "once" } });
    const wire = await Wire.connect(url);
    const session = await newSession(wire);
    await say(wire, session, script(calls(["pay"]), { text: "so" }));
    const call = await provider.next();
    // Nobody but the provider's result brings the session back into memory.
    store.hideOrphans(true);
    store.failNext("not written", brings(lost));
    store.failReads(0);
    provider.accept(call);
    if (lost === "tool-accepted")
      await until(() => registry.peek(session)?.dropped !== false, 15_000, "the session to be lost");
    const verdict = provider.verdict(call, { output: { paid: 1 } });
    await until(() => store.refusedReads > 1, 15_000, "two looks at a log that cannot be read");
    store.failReads(Infinity);
    assert.is(await verdict, "stored");
    const [result, ...more] = bodiesOf(await readLog(store, session), "tool-result");
    assert.equal([result?.outcome, result?.output, more], ["ok", { paid: 1 }, []]);
  });
}

test.run();
