/**
 * Frames after the hello: order, validation, errors that name what they are about, the limit of requests in flight, bad
 * frames, hostile messages. Real sockets against the socket layer.
 */
import { encodeFrame } from "../../../protocol/codec.ts";
import { assert, suite } from "../../support/suite.ts";
import { until } from "../../support/wait.ts";
import { Peer, Server, type Frame } from "./harness.ts";

const test = suite("frames of a connection");
let server: Server;
test.before.each(async () => (server = await Server.start()));
test.after.each(() => server.stop());

for (const protocol of ["haulout.v1.msgpack", "haulout.v1.json"]) {
  test(`hands frames on in order, many to a message, in ${protocol}`, async () => {
    const peer = await Peer.greeted(server.url, {}, [protocol]);
    peer.send(
      { type: "listAgents", id: 1 },
      { type: "callAccepted", session: "s", call: "c", attempt: 1 },
      { type: "pong" },
      { type: "listAgents", id: 2 },
    );
    peer.send({ type: "listAgents", id: 3, unknown: "is ignored" });
    for (const id of [1, 2, 3]) assert.equal(await peer.next(), { type: "ok", id });
    assert.equal(
      server.frames.map(({ frame }) => frame.type),
      ["listAgents", "callAccepted", "listAgents", "listAgents"],
    );
    assert.equal(server.frames[3]!.frame, { type: "listAgents", id: 3 });
    assert.ok(server.frames.every(({ connection }) => connection === server.only));
  });
}

test("fills in the defaults of a schema", async () => {
  const peer = await Peer.greeted(server.url);
  peer.send({ type: "offerTools", id: 1, tools: [{ name: "t", inputSchema: {} }] });
  await peer.next();
  const { frame } = server.frames[0]!;
  assert.equal(frame.type === "offerTools" && frame.tools[0]!.effect, "once");
});

const refused: Record<string, { frame: Frame; error: Frame }> = {
  "an unknown type": {
    frame: { type: "teleport", id: 1 },
    error: { id: 1, code: "unknown-frame", details: { frame: "teleport" } },
  },
  "an unknown type without id": {
    frame: { type: "teleport", session: "ses_1" },
    error: { code: "unknown-frame", details: { frame: "teleport", session: "ses_1" } },
  },
  "a type of Object's prototype": {
    frame: { type: "constructor", id: 1 },
    error: { id: 1, code: "unknown-frame", details: { frame: "constructor" } },
  },
  "a frame without type": { frame: { id: 1 }, error: { id: 1, code: "bad-frame" } },
  "a wrong field": {
    frame: { type: "attach", id: 1, session: "ses_1", after: { epoch: 1, seq: "2" } },
    error: { id: 1, code: "bad-frame", details: { frame: "attach", session: "ses_1", field: "after.seq" } },
  },
  "a missing id": {
    frame: { type: "attach", session: "ses_1" },
    error: { code: "bad-frame", details: { frame: "attach", session: "ses_1", field: "id" } },
  },
  "an id that is none": {
    frame: { type: "attach", id: -1, session: "ses_1" },
    error: { code: "bad-frame", details: { frame: "attach", session: "ses_1", field: "id" } },
  },
  "a notice with a wrong field": {
    frame: { type: "callResult", session: "ses_1", call: "call_1", attempt: 2, error: "boom" },
    error: {
      code: "bad-frame",
      details: { frame: "callResult", session: "ses_1", call: "call_1", attempt: 2, field: "error" },
    },
  },
};
for (const [what, { frame, error }] of Object.entries(refused)) {
  test(`answers ${what} by a typed error`, async () => {
    const peer = await Peer.greeted(server.url);
    peer.send(frame);
    const { message, ...rest } = await peer.next();
    assert.equal(rest, { type: "error", retryable: false, ...error });
    if (error["details"]?.field) assert.match(message, error["details"].field);
    peer.send({ type: "listAgents", id: 2 });
    assert.equal(await peer.next(), { type: "ok", id: 2 });
  });
}

test("quotes no more of a frame than an error can carry", async () => {
  const peer = await Peer.greeted(server.url);
  peer.send({ type: `${"x".repeat(127)}😀${"y".repeat(900_000)}`, session: "s".repeat(5000) });
  const error = await peer.next();
  assert.equal(error["details"], { frame: "x".repeat(127) });
  assert.ok(JSON.stringify(error).length < 1000);
});

test("what cannot be decoded loses the rest of its message only", async () => {
  const peer = await Peer.greeted(server.url, {}, ["haulout.v1.msgpack"]);
  const request = (id: number): Uint8Array => encodeFrame({ type: "listAgents", id });
  peer.socket.send(Buffer.concat([request(1), Buffer.from([0x81, 0xa1, 0x61, 0xc1]), request(2)]));
  peer.socket.send(request(3));
  assert.equal(await peer.next(), { type: "ok", id: 1 });
  assert.is((await peer.next())["code"], "bad-frame");
  assert.equal(await peer.next(), { type: "ok", id: 3 });
});

test("ten bad frames within a minute end the connection with 4500", async () => {
  let now = 0;
  const timed = await Server.start({ wheel: { clock: () => now } });
  const peer = await Peer.greeted(timed.url);
  const bad = async (): Promise<void> => {
    peer.send({ type: "nonsense" });
    assert.is((await peer.next())["code"], "unknown-frame");
  };
  for (let i = 0; i < 9; i++) await bad();
  now = 60_001;
  // The nine before are forgotten by now.
  for (let i = 0; i < 9; i++) await bad();
  await bad();
  assert.is((await peer.next())["code"], 4500);
  assert.equal(await peer.closed, { code: 4500, reason: "malformed" });
  await timed.stop();
});

test("one more request than may be in flight is rate-limited, and an answer makes room", async () => {
  const strict = await Server.start({ maxInFlight: 3 });
  strict.hold = true;
  const peer = await Peer.greeted(strict.url);
  for (let id = 1; id <= 4; id++) peer.send({ type: "listAgents", id });
  // Notices are never held up by requests.
  peer.send({ type: "callAccepted", session: "s", call: "c", attempt: 1 });
  const error = await peer.next();
  assert.equal([error["id"], error["code"], error["retryable"]], [4, "rate-limited", true]);
  await until(() => strict.frames.length === 4, 1000, "the notice");
  strict.only.send({ type: "ok", id: 2 });
  assert.equal(await peer.next(), { type: "ok", id: 2 });
  strict.hold = false;
  peer.send({ type: "listAgents", id: 5 });
  assert.equal(await peer.next(), { type: "ok", id: 5 });
  await strict.stop();
});

test("a client that goes on and on over its limit is ended by 4104, and may come back later", async () => {
  const strict = await Server.start({ maxInFlight: 1, maxRateLimited: 50 });
  strict.hold = true;
  const peer = await Peer.greeted(strict.url);
  peer.send(...Array.from({ length: 51 }, (_, id) => ({ type: "listAgents", id })));
  const frames = await peer.until("disconnect");
  assert.is(frames.filter(({ code }) => code === "rate-limited").length, 50);
  assert.equal([frames.at(-1)!["code"], frames.at(-1)!["reconnect"]], [4104, true]);
  assert.equal(await peer.closed, { code: 4104, reason: "rate-limited" });
  await strict.stop();
});

test("an id that is still unanswered cannot be used again", async () => {
  server.hold = true;
  const peer = await Peer.greeted(server.url);
  peer.send({ type: "listAgents", id: 1 }, { type: "listTools", id: 1 });
  const error = await peer.next();
  // Without the id, or the first request would seem to have failed.
  assert.equal(
    [error["id"], error["code"], error["details"]],
    [undefined, "bad-frame", { frame: "listTools", id: 1 }],
  );
  assert.is(server.frames.length, 1);
});

test("a dispatch that throws is answered by internal, without the cause", async () => {
  const peer = await Peer.greeted(server.url);
  const { connection } = await new Promise<(typeof server.frames)[0]>((resolve) => {
    server.frames.push = (item) => {
      resolve(item);
      throw new Error("secret");
    };
    peer.send({ type: "listAgents", id: 1 });
  });
  const error = await peer.next();
  assert.equal(error, {
    type: "error",
    id: 1,
    code: "internal",
    message: "the server failed",
    retryable: true,
  });
  assert.not(connection.gone);
});

test("a message of 2 MiB closes with 1009", async () => {
  const peer = await Peer.greeted(server.url);
  peer.socket.send(Buffer.alloc(2 * 1024 * 1024));
  assert.is((await peer.closed).code, 1009);
  await until(() => server.gone.length === 1, 1000, "gone");
  await until(
    () => server.metrics.text().includes('haulout_disconnects_total{code="1009"} 1'),
    1000,
    "the count",
  );
});

test("a message of a hundred thousand frames lets others in between", async () => {
  await server.stop();
  server = await Server.start({ framesPerSecond: 0 });
  const noisy = await Peer.greeted(server.url, {}, ["haulout.v1.msgpack"]);
  const calm = await Peer.greeted(server.url);
  const pong = encodeFrame({ type: "pong" });
  const count = Math.floor((1024 * 1024) / pong.length);
  noisy.socket.send(Buffer.concat(Array.from({ length: count }, () => pong)));
  noisy.send({ type: "listAgents", id: 1 });
  const pongs = (): number =>
    Number(/_received_total\{type="pong"\} (\d+)/.exec(server.metrics.text())?.[1] ?? 0);
  await until(() => pongs() > 0, 1000, "the first of them");
  calm.send({ type: "listAgents", id: 1 });
  assert.equal(await calm.next(), { type: "ok", id: 1 });
  assert.ok(pongs() < count, "the calm one waited for all of them");
  assert.equal(await noisy.next(), { type: "ok", id: 1 });
  assert.is(pongs(), count);
});

test("a peer that leaves is told of once, after the frame that was being handled", async () => {
  const peer = await Peer.greeted(server.url);
  const connection = server.only;
  connection.disconnect("overloaded", "too much");
  assert.ok(connection.gone);
  assert.equal(server.gone, []);
  await Promise.resolve();
  assert.equal(server.gone, [{ connection, successor: undefined }]);
  assert.not(connection.call({} as never));
  assert.is((await peer.next())["reconnect"], true);
  assert.equal(await peer.closed, { code: 4101, reason: "overloaded" });
  assert.is(server.gone.length, 1);
});

test("a peer that does not answer the close is cut off", async () => {
  const peer = await Peer.greeted(server.url);
  peer.socket.pause();
  server.only.disconnect("overloaded", "too much");
  await until(
    () => server.metrics.text().includes('haulout_disconnects_total{code="4101"} 1'),
    2000,
    "the end",
  );
});

test("tool calls leave as frames, and a host that is gone says so", async () => {
  const peer = await Peer.greeted(server.url);
  const host = server.only;
  const reference = { session: "s", call: "c", attempt: 1 };
  const actor = { kind: "user", id: "u", name: "u", verified: false } as const;
  const call = { ...reference, run: "r", agent: "a", tool: "t", input: { x: 1 }, actor, timeoutMs: 5 };
  assert.ok(host.call(call));
  assert.equal(await peer.next(), { type: "call", ...call });
  host.cancelCall(reference, "cancelled");
  assert.equal(await peer.next(), { type: "callCancel", ...reference, reason: "cancelled" });
  host.acknowledgeResult(reference, "stored");
  assert.equal(await peer.next(), { type: "resultAck", ...reference, verdict: "stored" });
  peer.close();
  await until(() => host.gone, 1000, "gone");
  assert.not(host.call(call));
});

test.run();
