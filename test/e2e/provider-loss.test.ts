// limit: 240 s
/**
 * Providers that die: a `once` call is never sent a second time, pure calls move on, a provider that returns goes on
 * where it was, and whatever the server did meanwhile, each result gets a verdict.
 */
import { Reader } from "../support/reader.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { Wire, type Frame } from "../support/wire.ts";
import { Provider, calls, newSession, referenceOf, say, script, type OfferedTool } from "./play.ts";

const GRACE_MS = 400;

const test = suite("lost providers");
let patient: TestServer;
let hasty: TestServer;

test.before(async () => {
  // One waits 30 s for a provider to return, the other hardly.
  patient = await TestServer.start({ store: "memory" });
  hasty = await TestServer.start({ store: "memory", env: { HAULOUT_PROVIDER_GRACE_MS: String(GRACE_MS) } });
});
test.after(async () => {
  await patient.kill();
  await hasty.kill();
});

async function provide(
  server: TestServer,
  tools: Readonly<Record<string, OfferedTool>>,
  options: { instance?: string; fields?: Frame } = {},
): Promise<Provider> {
  const { instance, fields } = options;
  return Provider.offer(
    await Wire.connect(server.url, instance === undefined ? {} : { instance }),
    tools,
    fields,
  );
}

async function run(
  server: TestServer,
  content: string,
): Promise<{ session: string; reader: Reader; input: string; end: () => Promise<unknown> }> {
  const wire = await Wire.connect(server.url);
  const session = await newSession(wire);
  const reader = Reader.fromStart(session);
  await reader.enter(wire);
  const input = (await say(wire, session, content))["input"] as string;
  return { session, reader, input, end: () => reader.runOf(input) };
}

/** What became of the calls: type, attempt and cause or outcome of their entries. */
function course(reader: Reader): string[] {
  return reader.entries
    .map(({ entry }) => entry.event as Frame)
    .filter(({ type }) => type.startsWith("tool-"))
    .map(({ type, attempt, cause, outcome, verdict }) => {
      return [type.slice(5), attempt, cause ?? outcome ?? verdict]
        .filter((word) => word !== undefined)
        .join(" ");
    });
}

test("a once call whose provider dies is never sent again and ends outcome-unknown", async () => {
  const first = await provide(hasty, { pay: { effect: "once" } });
  const second = await provide(hasty, { pay: { effect: "once" } });
  const { reader, end } = await run(hasty, script(calls(["pay"]), { text: "so" }));
  const [victim, other] = await whoGotIt(first, second);
  const call = await victim.next();
  victim.accept(call);
  await reader.entry("tool-accepted");
  const began = performance.now();
  victim.wire.cut();
  await end();
  const took = performance.now() - began;
  assert.equal(course(reader), [
    "dispatched 1",
    "accepted 1",
    "lost 1 disconnected",
    "result 1 outcome-unknown",
  ]);
  assert.ok(took >= GRACE_MS - 50, `${took} ms are less than the grace`);
  assert.is(other.calls.length, 0);
  // Nor by the call's next step: the model asked once.
  await other.wire.ok("withdrawTools");
  assert.is(other.calls.length, 0);
  await other.wire.close();
});

/** The one of two providers that has the call, first. */
async function whoGotIt(a: Provider, b: Provider): Promise<[Provider, Provider]> {
  await Promise.race([a, b].map((provider) => provider.wire.frame("call")));
  return a.calls.length > 0 ? [a, b] : [b, a];
}

test("a pure call whose provider dies moves to the next one at once", async () => {
  const first = await provide(patient, { read: { effect: "pure" } }, { instance: "ins_reads" });
  const second = await provide(patient, { read: { effect: "pure" } });
  const { reader, end } = await run(patient, script(calls(["read"]), { text: "so" }));
  const [victim, other] = await whoGotIt(first, second);
  const call = await victim.next();
  victim.accept(call);
  victim.wire.cut();
  const again = await other.next(3000);
  assert.equal(referenceOf(again), { ...referenceOf(call), attempt: 2 });
  assert.is(await other.answer(again, "read"), "stored");
  await end();
  assert.equal(course(reader), ["dispatched 1", "lost 1 disconnected", "dispatched 2", "result 2 ok"]);
  if (victim === first) {
    const back = new Provider(await Wire.connect(patient.url, { instance: "ins_reads" }));
    assert.is(await back.verdict(call, { output: "too late" }), "stale");
    await back.wire.close();
  }
  await other.wire.close();
});

test("a pure call without another provider waits for its own to return", async () => {
  const first = await provide(patient, { alone: { effect: "pure" } }, { instance: "ins_alone" });
  const { reader, end } = await run(patient, script(calls(["alone"]), { text: "so" }));
  const call = await first.next();
  first.accept(call);
  first.wire.cut();
  const wire = await Wire.connect(patient.url, { instance: "ins_alone" });
  const back = await Provider.offer(wire, { alone: { effect: "pure" } }, { working: [referenceOf(call)] });
  assert.is(await back.verdict(call, { output: "worked on" }), "stored");
  await end();
  assert.equal(course(reader), ["dispatched 1", "result 1 ok"]);
  await back.wire.close();
});

test("a superseding connection that names its work goes on with it", async () => {
  for (const effect of ["once", "pure"] as const) {
    const instance = `ins_supersede_${effect}`;
    const first = await provide(patient, { job: { effect } }, { instance });
    const { reader, end } = await run(patient, script(calls(["job"]), { text: "so" }));
    const call = await first.next();
    first.accept(call);
    // The old socket still lives: it is the new one that ends it.
    const wire = await Wire.connect(patient.url, { instance });
    assert.is((await first.wire.closed).code, 4510);
    const back = await Provider.offer(wire, { job: { effect } }, { working: [referenceOf(call)] });
    assert.is(back.calls.length, 0);
    assert.is(await back.verdict(call, { output: "gone on" }), "stored");
    await end();
    const accepted = effect === "once" ? ["accepted 1"] : [];
    assert.equal(course(reader), ["dispatched 1", ...accepted, "result 1 ok"]);
    await back.wire.ok("withdrawTools");
    await back.wire.close();
  }
});

test("a provider that returns without naming its work has forgotten it", async () => {
  for (const effect of ["once", "pure"] as const) {
    const instance = `ins_forgets_${effect}`;
    const first = await provide(patient, { job: { effect } }, { instance });
    const { reader, end } = await run(patient, script(calls(["job"]), { text: "so" }));
    const call = await first.next();
    first.accept(call);
    if (effect === "once") await reader.entry("tool-accepted");
    first.wire.cut();
    const back = await provide(patient, { job: { effect } }, { instance });
    if (effect === "pure") {
      const again = await back.next();
      assert.equal(referenceOf(again), { ...referenceOf(call), attempt: 2 });
      assert.is(await back.answer(again, "anew"), "stored");
    }
    await end();
    assert.equal(
      course(reader),
      effect === "once"
        ? ["dispatched 1", "accepted 1", "lost 1 forgotten", "result 1 outcome-unknown"]
        : ["dispatched 1", "lost 1 forgotten", "dispatched 2", "result 2 ok"],
    );
    await back.wire.ok("withdrawTools");
    await back.wire.close();
  }
});

test("a result that was kept over a broken connection is stored when it is sent again", async () => {
  const first = await provide(patient, { keep: { effect: "once" } }, { instance: "ins_keeps" });
  const { reader, end } = await run(patient, script(calls(["keep"]), { text: "so" }));
  const call = await first.next();
  first.accept(call);
  await reader.entry("tool-accepted");
  first.wire.cut();
  // Results first, then the offer, which names no work: there is none any more.
  const back = new Provider(await Wire.connect(patient.url, { instance: "ins_keeps" }));
  back.result(call, { output: "kept" });
  await back.offer({ keep: { effect: "once" } });
  const ack = await back.wire.frame("resultAck");
  assert.is(ack["verdict"], "stored");
  await end();
  assert.equal(course(reader), ["dispatched 1", "accepted 1", "result 1 ok"]);
  await back.wire.close();
});

test("a provider that returns with calls that ended, or never were, is told to stop them", async () => {
  const instance = "absent";
  const away = await provide(patient, { toil: { effect: "once" } }, { instance });
  const { session, reader, end } = await run(patient, script(calls(["toil"]), { text: "so" }));
  const call = await away.next();
  away.accept(call);
  await reader.entry("tool-accepted");
  away.wire.cut();
  const asking = await Wire.connect(patient.url);
  await asking.ok("cancel", { session, run: reader.state!.run!.run });
  await end();
  assert.is(course(reader).at(-1), "result 1 outcome-unknown");
  const head = reader.state!.seq;

  const back = new Provider(await Wire.connect(patient.url, { instance }));
  const gone = await newSession(asking);
  await asking.ok("deleteSession", { session: gone });
  const never = { session, call: "call_never", attempt: 1 };
  const working = [referenceOf(call), never, { ...never, session: gone }, { ...never, session: "ses_never" }];
  await back.offer({ toil: { effect: "once" } }, { working });
  for (const one of working) assert.is((await back.cancelled(one))["reason"], "ended");
  assert.is((await asking.ok("attach", { session }))["head"], head, "nothing of it is logged");
});

test("a provider that returns with an attempt that the call moved on from is told of the cancel", async () => {
  const instance = "passed";
  const first = await provide(patient, { plod: { effect: "pure" } }, { instance });
  const { session, reader, end } = await run(patient, script(calls(["plod"]), { text: "so" }));
  const call = await first.next();
  first.accept(call);
  const second = await provide(patient, { plod: { effect: "pure" } });
  first.wire.cut();
  const moved = await second.next();
  second.accept(moved);
  const back = new Provider(await Wire.connect(patient.url, { instance }));
  await back.offer({ plod: { effect: "pure" } }, { working: [referenceOf(call)] });
  const asking = await Wire.connect(patient.url);
  await asking.ok("cancel", { session, run: reader.state!.run!.run });
  await back.cancelled(call);
  await second.cancelled(moved);
  back.result(call, { error: { code: "cancelled", message: "" } });
  second.result(moved, { error: { code: "cancelled", message: "" } });
  await end();
  assert.is(course(reader).at(-1), "result 2 cancelled");
});

test("not-started moves even a once call to another provider", async () => {
  const first = await provide(patient, { begin: { effect: "once" } });
  const second = await provide(patient, { begin: { effect: "once" } });
  const { reader, end } = await run(patient, script(calls(["begin"]), { text: "so" }));
  const [unable, able] = await whoGotIt(first, second);
  const call = await unable.next();
  assert.is(await unable.verdict(call, { error: { code: "not-started", message: "busy" } }), "stored");
  const again = await able.next();
  assert.is(again["attempt"], 2);
  assert.is(await able.answer(again, "begun"), "stored");
  await end();
  assert.equal(course(reader), [
    "dispatched 1",
    "lost 1 not-started",
    "dispatched 2",
    "accepted 2",
    "result 2 ok",
  ]);
  for (const { wire } of [first, second]) await wire.close();
});

test("what is not accepted within 5 s is taken back: pure calls move, once calls stay", async () => {
  const [pureA, pureB] = [
    await provide(patient, { calm: { effect: "pure" } }),
    await provide(patient, { calm: { effect: "pure" } }),
  ];
  const [onceA, onceB] = [
    await provide(patient, { sure: { effect: "once" } }),
    await provide(patient, { sure: { effect: "once" } }),
  ];
  const pureRun = await run(patient, script(calls(["calm"]), { text: "so" }));
  const onceRun = await run(patient, script(calls(["sure"]), { text: "so" }));
  const gone = await run(patient, script({ stall: 50 }, calls(["nobody"]), { text: "so" }));
  const [mute, next] = await whoGotIt(pureA, pureB);
  const [slow, spare] = await whoGotIt(onceA, onceB);
  const [call, sure] = [await mute.next(), await slow.next()];
  assert.is((await mute.cancelled(call))["reason"], "not-accepted");
  assert.is(await next.answer(await next.next(), "calm"), "stored");
  assert.is((await slow.cancelled(sure))["reason"], "not-accepted");
  assert.is(await slow.answer(sure, "done all the same"), "stored");
  for (const { end } of [pureRun, onceRun, gone]) await end();
  assert.equal(course(pureRun.reader), [
    "dispatched 1",
    "lost 1 not-accepted",
    "dispatched 2",
    "result 2 ok",
  ]);
  assert.is(course(onceRun.reader).at(-1), "result 1 ok");
  assert.is(spare.calls.length, 0);
  assert.equal(course(gone.reader), ["result unavailable"]);
  for (const { wire } of [pureA, pureB, onceA, onceB]) await wire.close();
});

test(
  "after kill -9 a result that is faster than recovery gets its verdict too",
  { limitMs: 60_000 },
  async () => {
    const own = await TestServer.start({ env: { HAULOUT_PROVIDER_GRACE_MS: "3000" } });
    const instance = "ins_outlives";
    const provider = await provide(
      own,
      { hold: { effect: "once" } },
      { instance, fields: { maxConcurrent: 60 } },
    );
    const wire = await Wire.connect(own.url);
    const sessions: string[] = [];
    for (let at = 0; at < 60; at++) {
      const session = await newSession(wire);
      sessions.push(session);
      await say(wire, session, script(calls(["hold"])));
    }
    const held: Frame[] = [];
    for (const _ of sessions) held.push(await provider.next());
    await own.kill();
    const again = await own.again();
    const back = new Provider(await Wire.connect(again.url, { instance }));
    const verdicts = await Promise.all(held.map((call) => back.verdict(call, { output: "held" })));
    for (const verdict of verdicts) assert.ok(["stored", "stale"].includes(verdict), verdict);
    // What the provider was told is what the log says.
    const late = await Wire.connect(again.url);
    for (const [at, call] of held.entries()) {
      const reader = Reader.fromStart(call["session"] as string);
      await reader.enter(late);
      await reader.entry("run-finished");
      const outcome = course(reader).find((line) => line.startsWith("result"));
      assert.is(outcome, verdicts[at] === "stored" ? "result 1 ok" : "result 1 outcome-unknown");
    }
    await again.kill();
  },
);

test.run();
