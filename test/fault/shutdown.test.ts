// limit: 180 s
/**
 * A server that stops: it says goodbye, leaves everything durable, is gone within two seconds, and the next one on the
 * same directory goes on. And a directory has one server at a time.
 */
import { existsSync } from "node:fs";
import type { EventFrame } from "../../protocol/entries.ts";
import { newId } from "../../protocol/ids.ts";
import { startProxy } from "../support/proxy.ts";
import { temporaryDirectory } from "../support/process.ts";
import { Reader } from "../support/reader.ts";
import { spawnServer, TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { until } from "../support/wait.ts";
import { Refused, Wire, WireOver, type Frame } from "../support/wire.ts";
import { Provider, calls, newSession, say, script } from "../e2e/play.ts";

const LIMIT_MS = 2000;
const STREAM = script({ text: "and on ".repeat(200), rate: 100, chunk: 5 });

const test = suite("stopping");

/** ms that it takes; the exit's code must be 0. */
async function stopAndMeasure(server: TestServer): Promise<number> {
  const began = performance.now();
  const exit = await server.stop();
  const ms = performance.now() - began;
  assert.equal(exit, { code: 0, signal: null }, server.process.stderr.join("\n"));
  return ms;
}

const reasonOf = ({ event }: EventFrame): string => (event.type === "run-finished" ? event.reason : "");

test("SIGTERM during a stream: goodbye, 4000, exit 0 within 2 s, and the next server goes on with the queue", async () => {
  const server = await TestServer.start();
  const wires = [await Wire.connect(server.url), await Wire.connect(server.url, { encoding: "json" })];
  const [wire] = wires as [Wire, Wire];
  const session = await newSession(wire);
  const reader = Reader.fromStart(session);
  await reader.enter(wire);
  const { input } = await say(wire, session, STREAM);
  const waiting: string[] = [];
  for (const text of ["one", "two", "three"])
    waiting.push((await say(wire, session, text))["input"] as string);
  await reader.until(() => reader.shown.size > 0, "text");
  const ms = await stopAndMeasure(server);
  console.log(`SIGTERM to exit: ${ms.toFixed(0)} ms`);
  assert.ok(ms < LIMIT_MS, `${ms} ms`);
  for (const each of wires) {
    assert.is((await each.closed).code, 4000);
    const types = each.received.map(({ frame }) => frame["type"]);
    const goaway = each.received.find(({ frame }) => frame["type"] === "goaway")?.frame as Frame;
    assert.is(goaway["code"], 4000);
    const [least, most] = goaway["reconnectAfterMs"] as [number, number];
    assert.ok(least >= 0 && most >= least);
    assert.ok(types.indexOf("disconnect") > types.indexOf("goaway"));
    assert.equal(each.received.find(({ frame }) => frame["type"] === "disconnect")?.frame["reconnect"], true);
  }
  const again = await server.again();
  await reader.enter(await Wire.connect(again.url));
  assert.is(reader.snapshots, 0, "the position is still valid");
  for (const next of waiting) assert.is(reasonOf(await reader.runOf(next)), "text");
  const ends = reader.entries.filter(({ entry: { event } }) => event.type === "run-finished");
  assert.is(ends.length, 4, "the run that was stopped has one end too");
  await reader.runOf(input as string);
  assert.equal(reader.faults, []);
  await again.kill();
});

test("a stop during a tool call leaves a call with one outcome", async () => {
  const server = await TestServer.start({ env: { HAULOUT_PROVIDER_GRACE_MS: "300" } });
  const provider = await Provider.offer(await Wire.connect(server.url), { work: { effect: "once" } });
  const wire = await Wire.connect(server.url);
  const session = await newSession(wire);
  const reader = Reader.fromStart(session);
  await reader.enter(wire);
  const { input } = await say(wire, session, script(calls(["work"]), { text: "so" }));
  provider.accept(await provider.next());
  await reader.entry("tool-accepted");
  const ms = await stopAndMeasure(server);
  assert.ok(ms < LIMIT_MS, `${ms} ms`);
  const again = await server.again();
  await reader.enter(await Wire.connect(again.url));
  await reader.runOf(input as string);
  assert.is(reader.types.filter((type) => type === "tool-result").length, 1);
  assert.is(reader.types.filter((type) => type === "tool-dispatched").length, 1);
  assert.equal(reader.state!.calls, []);
  await again.kill();
});

test("a client that takes nothing and says nothing does not hold the server up", async () => {
  const server = await TestServer.start();
  const proxy = await startProxy({ port: server.port });
  const writer = await Wire.connect(server.url);
  const session = await newSession(writer);
  for (let number = 0; number < 4; number++) {
    const deaf = new Reader(session);
    await deaf.enter(await Wire.connect(proxy.url));
  }
  proxy.halfOpen();
  const reader = Reader.fromStart(session);
  await reader.enter(writer);
  for (let sent = 0; sent < 30; sent++) {
    await reader.runOf((await say(writer, session, "x".repeat(50_000)))["input"] as string);
  }
  const ms = await stopAndMeasure(server);
  assert.ok(ms < LIMIT_MS, `${ms} ms`);
  await proxy.close();
});

test("sends that the stop overtakes are acked and kept, or refused for now; none is lost or doubled", async () => {
  const server = await TestServer.start();
  const wires = await Promise.all(Array.from({ length: 4 }, () => Wire.connect(server.url)));
  const sessions = await Promise.all(wires.map((wire) => newSession(wire)));
  const sent: { session: string; key: string; seq?: number }[] = [];
  const refusals: Frame[] = [];
  const flood = async (wire: Wire, session: string): Promise<void> => {
    for (;;) {
      const attempt: { session: string; key: string; seq?: number } = { session, key: newId("key") };
      sent.push(attempt);
      try {
        attempt.seq = (await say(wire, session, "hello", { key: attempt.key }))["seq"] as number;
      } catch (error) {
        if (error instanceof WireOver) return;
        if (!(error instanceof Refused)) throw error;
        refusals.push(error.frame);
      }
    }
  };
  const flooding = Promise.all(wires.map((wire, at) => flood(wire, sessions[at]!)));
  await until(() => sent.filter(({ seq }) => seq !== undefined).length >= 40, 10_000, "40 acks");
  assert.ok((await stopAndMeasure(server)) < LIMIT_MS);
  await flooding;
  for (const frame of refusals) assert.is(frame["retryable"], true, JSON.stringify(frame));
  const again = await server.again();
  const wire = await Wire.connect(again.url);
  for (const { session, key, seq } of sent) {
    const ok = await say(wire, session, "hello", { key });
    if (seq !== undefined) assert.equal([ok["seq"], ok["duplicate"]], [seq, true]);
  }
  for (const session of sessions) {
    const reader = Reader.fromStart(session);
    await reader.enter(wire);
    const keys = reader.entries.flatMap(({ entry: { event } }) =>
      event.type === "input-queued" ? [event.key] : [],
    );
    const expected = sent.filter((attempt) => attempt.session === session).map(({ key }) => key);
    assert.equal(new Set(keys), new Set(expected));
    assert.is(keys.length, expected.length);
  }
  const counted = new Map<string, number>();
  for (const { code } of refusals) counted.set(code as string, (counted.get(code as string) ?? 0) + 1);
  console.log(`${sent.length} sends, refused while stopping: ${JSON.stringify([...counted])}`);
  await again.kill();
});

test("while it drains nobody is let in, and a second SIGTERM ends it at once", async () => {
  const server = await TestServer.start({ config: { readyWaitMs: 60_000 } });
  const wire = await Wire.connect(server.url);
  const session = await newSession(wire);
  server.process.kill("SIGTERM");
  const ready = async (): Promise<boolean> => (await fetch(`${server.http}/readyz`)).status === 503;
  await until(ready, 10_000, "the server not to be ready");
  assert.is((await fetch(`${server.http}/healthz`)).status, 200);
  const refused = await Wire.connect(server.url).then(
    () => "let in",
    (error: unknown) => (error as Error).message,
  );
  assert.match(refused, /503/);
  // Those who are there are served until the goodbye.
  await say(wire, session, "still here");
  const began = performance.now();
  server.process.kill("SIGTERM");
  const exit = await server.process.exited;
  assert.is.not(exit.code, 0, "what was cut off is no clean end");
  assert.is(exit.signal, null, "and it was no crash");
  assert.ok(performance.now() - began < LIMIT_MS);
  const again = await server.again();
  const reader = Reader.fromStart(session);
  await reader.enter(await Wire.connect(again.url));
  assert.ok(await reader.entry("run-finished"));
  await again.kill();
});

test("a stop may wait for open runs; none begins, and those that take longer go on at the next start", async () => {
  const server = await TestServer.start({ config: { runWaitMs: 5000 } });
  const wire = await Wire.connect(server.url);
  const open = async (content: string): Promise<Reader> => {
    const reader = Reader.fromStart(await newSession(wire));
    await reader.enter(wire);
    await say(wire, reader.session, content);
    await reader.until(() => reader.shown.size > 0, "text");
    return reader;
  };
  const long = await open(script({ text: "and on ".repeat(10_000), rate: 100, chunk: 5 }));
  const short = await open(script({ text: "half a second, more or less", rate: 50, chunk: 1 }));
  await say(wire, short.session, "waiting");
  server.process.kill("SIGTERM");
  assert.is(reasonOf(await short.entry("run-finished")), "text");
  const late = await say(wire, short.session, "still acked");
  const exit = await server.process.exited;
  assert.equal(exit, { code: 0, signal: null });
  assert.is(short.types.filter((type) => type === "run-started").length, 1);
  assert.not.ok(long.types.includes("run-finished"));
  const again = await server.again();
  const next = await Wire.connect(again.url);
  await short.enter(next);
  assert.is(reasonOf(await short.runOf(late["input"] as string)), "text");
  assert.is(short.types.filter((type) => type === "run-finished").length, 3);
  await long.enter(next);
  const recovered = await long.entry("run-recovered");
  assert.ok(recovered.event.type === "run-recovered" && recovered.event.attempt === 0);
  assert.equal([...short.faults, ...long.faults], []);
  await again.kill();
});

test("a second server on the same directory is refused with a message that names it", async () => {
  const server = await TestServer.start();
  const second = spawnServer({ data: server.data });
  const exit = await second.exited;
  assert.is(exit.code, 1, second.stderr.join("\n"));
  assert.equal(second.stdout, []);
  const message = second.stderr.join("\n");
  assert.ok(message.includes(server.data), message);
  assert.match(message, /another|already|in use|locked/i);
  assert.not.match(message, /\n\s+at /, "a reason, no stack");
  const wire = await Wire.connect(server.url);
  await say(wire, await newSession(wire), "the first one is not disturbed");
  await server.kill();
});

test("a port that is taken is refused with a message that names it, and no directory is made", async () => {
  const server = await TestServer.start({ store: "memory" });
  const data = `${temporaryDirectory()}/never`;
  const second = spawnServer({ data, env: { HAULOUT_PORT: String(server.port) } });
  const exit = await second.exited;
  assert.is(exit.code, 1);
  assert.ok(second.stderr.join("\n").includes(String(server.port)), second.stderr.join("\n"));
  assert.not.match(second.stderr.join("\n"), /\n\s+at /);
  assert.not.ok(existsSync(data));
  await server.kill();
});

test.run();
