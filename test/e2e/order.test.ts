/**
 * One run at a time per session, in the order of admission; sessions do not wait for one another. Many clients send at
 * once, and the log tells in which order they were admitted and run.
 */
import { Reader } from "../support/reader.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { Wire, type Frame } from "../support/wire.ts";
import { Provider, calls, newSession, say, script } from "./play.ts";

const CLIENTS = 10;
const SENDS = 5;

const test = suite("order of runs");
let server: TestServer;

test.before(async () => {
  server = await TestServer.start();
});
test.after(() => server.kill());

const connect = (): Promise<Wire> => Wire.connect(server.url);

test("50 concurrent sends to one session run one after another, in the order of their acks", async () => {
  const session = await newSession(await connect());
  const reader = Reader.fromStart(session);
  await reader.enter(await connect());
  const clients = await Promise.all(Array.from({ length: CLIENTS }, connect));
  const oneClient = (wire: Wire, number: number): Promise<Frame[]> => {
    const sends = Array.from({ length: SENDS }, (_, at) =>
      say(
        wire,
        session,
        script({ text: `${number}.${at}`, rate: 300, chunk: 1 }, calls(["clock"]), { text: "!" }),
      ),
    );
    return Promise.all(sends);
  };
  const acks = await Promise.all(clients.map(oneClient));
  const all = acks.flat();
  assert.is(new Set(all.map((ok) => ok["seq"])).size, CLIENTS * SENDS);
  for (const [at, own] of acks.entries()) {
    const seqs = own.map((ok) => ok["seq"] as number);
    assert.equal(
      seqs,
      seqs.toSorted((a, b) => a - b),
      "one connection's sends are admitted as they were sent",
    );
    const arrived = clients[at]!.received.map(({ frame }) => frame).filter((frame) => own.includes(frame));
    assert.equal(arrived, own, "and acked in that order");
  }
  const admitted = all.toSorted((a, b) => a["seq"] - b["seq"]).map((ok) => ok["input"] as string);
  await reader.runOf(admitted.at(-1)!, 20_000);

  const started: string[] = [];
  let open: string | undefined;
  for (const { entry } of reader.entries) {
    const { event } = entry;
    if (event.type === "run-started") {
      assert.is(open, undefined, `${event.run} starts while ${open} is open`);
      open = event.run;
      started.push(event.input);
    } else if (event.type === "run-finished") {
      assert.is(event.run, open);
      assert.is(event.reason, "text");
      open = undefined;
    } else if (entry.run !== undefined) {
      assert.is(entry.run, open, `${event.type} belongs to no open run`);
    }
  }
  assert.equal(started, admitted);
  assert.equal(reader.faults, []);
});

test("50 sends to 50 sessions run at the same time", async () => {
  const wires = [await connect(), await connect()];
  const provider = await Provider.offer(await connect(), { hold: { effect: "pure" } }, { maxConcurrent: 50 });
  const sessions: string[] = [];
  for (let at = 0; at < 50; at++) sessions.push(await newSession(wires[at % 2]!));
  const readers = sessions.map((session) => Reader.fromStart(session));
  for (const [at, reader] of readers.entries()) await reader.enter(wires[at % 2]!);
  await Promise.all(
    sessions.map((session, at) => say(wires[at % 2]!, session, script(calls(["hold"]), { text: "ok" }))),
  );
  const held: Frame[] = [];
  for (let at = 0; at < 50; at++) held.push(await provider.next());
  // Every run is open now: none of them has had its answer.
  assert.equal(new Set(held.map((call) => call["session"])), new Set(sessions));
  for (const call of held) provider.accept(call);
  for (const call of held) provider.result(call, { output: "held" });
  const spans: [number, number][] = [];
  for (const reader of readers) {
    const finished = await reader.entry("run-finished");
    const started = await reader.entry("run-started");
    spans.push([started.at, finished.at]);
    assert.equal(reader.faults, []);
  }
  const lastStart = Math.max(...spans.map(([start]) => start));
  const firstEnd = Math.min(...spans.map(([, end]) => end));
  assert.ok(lastStart <= firstEnd, `the last started at ${lastStart}, the first ended at ${firstEnd}`);
});

test("reads of a session do not wait for its run", async () => {
  const wire = await connect();
  const session = await newSession(wire);
  await say(wire, session, script({ stall: 60_000 }));
  await say(wire, session, "waits");
  const other = await connect();
  const began = performance.now();
  const reader = new Reader(session);
  await reader.enter(other);
  const { items } = await other.ok("history", { session });
  const listed = (await other.ok("listSessions"))["items"] as Frame[];
  assert.is(reader.state?.session.state, "running");
  assert.is(reader.state?.queue.length, 1);
  assert.is((items as Frame[]).length, 1);
  assert.equal(
    listed.filter(({ id }) => id === session).map(({ state, queued }) => [state, queued]),
    [["running", 1]],
  );
  assert.ok(performance.now() - began < 5000);
  await wire.ok("deleteSession", { session });
});

test.run();
