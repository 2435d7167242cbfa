// limit: 120 s
/**
 * A reader that stops reading: it leaves the live set at a bounded cost, others go on as if it were not there, and once
 * it reads again it ends with the state of those who never stopped. Over real sockets to a real server; what is judged is
 * bytes and entries.
 */
import { cut } from "../../protocol/state.ts";
import { Reader } from "../support/reader.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { Wire } from "../support/wire.ts";
import { newSession, say, script } from "./play.ts";

const test = suite("slow readers");
let server: TestServer;

test.before(async () => {
  server = await TestServer.start({ store: "memory" });
});
test.after(() => server.kill());

const RUNS = 14;
const TEXT = "a seal on the ice ".repeat(14_000);

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${server.http}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
}

async function reading(session: string): Promise<{ wire: Wire; reader: Reader }> {
  const wire = await Wire.connect(server.url);
  const reader = new Reader(session);
  await reader.enter(wire);
  return { wire, reader };
}

test("one stops reading: the rest gets everything, it costs little, and it catches up from the log", async () => {
  const talker = await Wire.connect(server.url);
  const session = await newSession(talker);
  const [slow, ...others] = await Promise.all(Array.from({ length: 4 }, () => reading(session)));
  slow!.wire.socket.pause();
  let most = 0;
  for (let at = 0; at < RUNS; at++) {
    const { input } = await say(talker, session, script({ text: `${at} ${TEXT}`, chunk: 32_768 }));
    await Promise.all(others.map(({ reader }) => reader.runOf(input as string)));
    most = Math.max(most, await metric("haulout_outbox_queued_bytes"));
  }
  // What no reader may go without, and one entry that was added when there was still room.
  assert.ok(most > 0 && most < (256 + 1024) * 1024, `${most} bytes waited`);
  assert.ok((await metric("haulout_readers_lagged_total")) > 0);
  assert.not(slow!.wire.over, "it keeps its connection");
  slow!.wire.socket.resume();
  const [other] = others as [(typeof others)[number]];
  await slow!.reader.until(() => slow!.reader.state?.seq === other.reader.state?.seq, "the last entry");
  const caughtUp = ({ trace }: Reader): boolean => trace.lastIndexOf("live") > trace.lastIndexOf("event");
  await slow!.reader.until(() => caughtUp(slow!.reader), "live");
  assert.equal(cut(slow!.reader.state!, 200), cut(other.reader.state!, 200));
  // It is live again.
  const { input } = await say(talker, session, "And now?");
  for (const { reader } of [slow!, ...others]) {
    await reader.runOf(input as string);
    assert.equal(reader.faults, []);
  }
  assert.ok(slow!.reader.lives > 1);
});

test("all stop reading: who talks in another session is answered, and what waits is bounded", async () => {
  const talker = await Wire.connect(server.url);
  const session = await newSession(talker);
  const readers = await Promise.all(Array.from({ length: 10 }, () => reading(session)));
  for (const { wire } of readers) wire.socket.pause();
  const probe = await reading(session);
  for (let at = 0; at < RUNS; at++) {
    const { input } = await say(talker, session, script({ text: `${at} ${TEXT}`, chunk: 32_768 }));
    await probe.reader.runOf(input as string);
  }
  assert.ok((await metric("haulout_outbox_queued_bytes")) < readers.length * (256 + 1024) * 1024);
  const other = await newSession(talker);
  const { wire, reader } = await reading(other);
  const { input } = await say(wire, other, "Are you there?");
  await reader.runOf(input as string);
  assert.ok((await metric("haulout_readers_lagged_total")) >= readers.length);
});

test.run();
