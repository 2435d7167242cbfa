/**
 * Refusal is a typed error, not a broken connection: frames of later versions and payloads over the limits are answered,
 * nothing of them is in the log, and what stands around them on the same connection is served.
 */
import { MAX_FRAME_BYTES, type Encoding } from "../../protocol/version.ts";
import { Reader } from "../support/reader.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { Wire, type Frame } from "../support/wire.ts";
import { newSession, say } from "./play.ts";

const test = suite("refusals");
let server: TestServer;

test.before(async () => {
  server = await TestServer.start();
});
test.after(() => server.kill());

const connect = (encoding: Encoding = "msgpack"): Promise<Wire> => Wire.connect(server.url, { encoding });

/** A value of so many containers inside one another. */
function nested(depth: number): unknown {
  let value: unknown = [];
  for (let at = 1; at < depth; at++) value = at % 2 === 0 ? [value] : { in: value };
  return value;
}

/** A content of that depth: the list and its part count too. */
const content = (depth: number): unknown => [{ type: "data-deep", data: nested(depth - 2) }];

test("frames that nobody knows are answered, and the tenth in a minute ends the connection with 4500", async () => {
  const wire = await connect();
  const session = await newSession(wire);
  for (let at = 0; at < 9; at++) {
    const error = await wire.refused(`dance${at}`, { session });
    assert.equal([error["code"], (error["details"] as Frame)["frame"]], ["unknown-frame", `dance${at}`]);
  }
  assert.ok((await say(wire, session, "still here"))["seq"]);
  wire.send({ type: "dance9" });
  assert.is((await wire.closed).code, 4500);
  assert.is((await wire.frame("disconnect"))["reconnect"], false);
});

for (const encoding of ["msgpack", "json"] as const) {
  test(`payloads over the limits are too-large, and nothing around them is lost (${encoding})`, async () => {
    const wire = await connect(encoding);
    const session = await newSession(wire);
    const reader = Reader.fromStart(session);
    await reader.enter(wire);
    const over: [type: "send" | "createSession" | "updateSession", fields: Frame][] = [
      ["send", { session, key: "deep", content: content(17) }],
      ["send", { session, key: "long", content: "x".repeat(800 * 1024) }],
      ["send", { session, key: "many", content: [{ type: "data-many", data: Array(10_000).fill(0) }] }],
      ["createSession", { agent: "demo", metadata: nested(17) }],
      ["updateSession", { session, metadata: "x".repeat(800 * 1024) }],
    ];
    const asked: Promise<Frame>[] = [];
    for (const [at, [type, fields]] of over.entries()) {
      asked.push(wire.ok("send", { session, key: `before ${at}`, content: `before ${at}` }));
      asked.push(wire.request(type, fields));
      asked.push(wire.ok("send", { session, key: `after ${at}`, content: `after ${at}` }));
    }
    const answers = await Promise.all(asked);
    for (const [at, [type]] of over.entries()) {
      const error = answers[at * 3 + 1]!;
      assert.equal([error["type"], error["code"], error["retryable"]], ["error", "too-large", false], type);
    }
    await reader.runOf(answers.at(-1)!["input"] as string, 20_000);
    const keys = reader.entries.flatMap(({ entry: { event } }) =>
      event.type === "input-queued" ? [event.key] : [],
    );
    assert.equal(
      keys,
      over.flatMap((_, at) => [`before ${at}`, `after ${at}`]),
    );
    assert.equal(reader.faults, []);
  });
}

test("payloads at the limits are taken, replayed, and fit a snapshot's frame", async () => {
  const wire = await connect();
  const session = await newSession(wire);
  const reader = Reader.fromStart(session);
  await reader.enter(wire);
  const long = "x".repeat(768 * 1024 - 16);
  for (const value of [
    content(16),
    long,
    "ü".repeat(200_000),
    [{ type: "data-many", data: Array(9_990).fill(0) }],
  ]) {
    const { input } = await say(wire, session, value);
    await reader.runOf(input as string);
  }
  for (const encoding of ["msgpack", "json"] as const) {
    const other = await connect(encoding);
    const snapshot = new Reader(session);
    await snapshot.enter(other);
    assert.equal(snapshot.faults, []);
    assert.equal(snapshot.state!.messages.at(-1), reader.state!.messages.at(-1));
    const sizes = other.received.map(({ raw }) => raw.length);
    if (encoding === "msgpack") assert.ok(Math.max(...sizes) <= MAX_FRAME_BYTES, String(Math.max(...sizes)));
    const replayed = Reader.fromStart(session);
    await replayed.enter(await connect(encoding));
    assert.equal(replayed.state, reader.state);
  }
  assert.equal(reader.faults, []);
});

test("a queue that is full says so, and takes the same key later", async () => {
  const wire = await connect();
  const session = await newSession(wire);
  const reader = Reader.fromStart(session);
  await reader.enter(wire);
  await say(wire, session, JSON.stringify({ script: [{ stall: 60_000 }] }));
  const { run } = await reader.entry("run-started");
  const max = (wire.welcome["limits"] as Frame)["maxQueue"] as number;
  for (let at = 0; at < max; at++) await say(wire, session, `waiting ${at}`);
  const over = { session, key: "one too many", content: "one too many" };
  const error = await wire.refused("send", over);
  assert.equal([error["code"], error["retryable"]], ["queue-full", true]);
  assert.is((await wire.refused("send", { ...over, mode: "reject" }))["code"], "busy");
  await wire.ok("cancel", { session, run: run! });
  await reader.until(() => reader.state!.queue.length < max, "room in the queue");
  const ok = await wire.ok("send", over);
  assert.is(ok["duplicate"], false);
  await reader.runOf(ok["input"] as string, 20_000);
  assert.equal(reader.faults, []);
});

test("more than maxInFlight unanswered requests are rate-limited, and the others are answered", async () => {
  const wire = await connect();
  const session = await newSession(wire);
  const max = (wire.welcome["limits"] as Frame)["maxInFlight"] as number;
  const ids = Array.from({ length: max + 8 }, () => wire.newRequest());
  wire.send(...ids.map((id) => ({ type: "history", id, session })));
  const answers = await Promise.all(ids.map((id) => wire.frame((frame) => frame["id"] === id)));
  const refused = answers.filter(({ type }) => type === "error");
  assert.is(refused.length, 8);
  for (const { code, retryable } of refused) assert.equal([code, retryable], ["rate-limited", true]);
  assert.ok((await wire.ok("history", { session }))["items"]);
});

test.run();
