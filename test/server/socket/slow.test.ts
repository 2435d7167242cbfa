/**
 * Sockets whose other end does not read: what waits for them is bounded each and in all, they are told and ended by the
 * right code, and others go on.
 */
import { connect, type Socket } from "node:net";
import { EncodedFrame, encodeFrame } from "../../../protocol/codec.ts";
import { assert, suite } from "../../support/suite.ts";
import { until } from "../../support/wait.ts";
import { Peer, Server } from "./harness.ts";

const test = suite("slow sockets");
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A WebSocket by hand, whose other end never reads once it has said hello. */
async function deafPeer(server: Server): Promise<Socket> {
  const socket = connect(server.port, "127.0.0.1");
  socket.on("error", () => undefined);
  const key = Buffer.alloc(16).toString("base64");
  socket.write(
    `GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
  );
  await new Promise((resolve) => socket.once("data", resolve));
  const hello = Buffer.from('{"type":"hello","protocol":1}');
  // A mask of zeros leaves the payload as it is.
  socket.write(Buffer.concat([Buffer.from([0x81, 0x80 | hello.length, 0, 0, 0, 0]), hello]));
  await new Promise((resolve) => socket.once("data", resolve));
  socket.pause();
  return socket;
}

test("a reader that does not read is ended by 4103 at a bounded cost, and harms nobody", async () => {
  const server = await Server.start();
  const deaf = await deafPeer(server);
  const slow = server.only;
  const well = await Peer.greeted(server.url);
  const [, other] = server.connections;
  let given = 0;
  let most = 0;
  while (!slow.gone && given < 200 * 2 ** 20) {
    const frame = new EncodedFrame(encodeFrame({ type: "toolProgress", progress: "x".repeat(16 * 1024) }));
    given += frame.bytes.length;
    slow.deliver(frame);
    most = Math.max(most, slow.queuedBytes);
    if (given % (64 * frame.bytes.length) === 0) await turn();
  }
  assert.ok(slow.gone, "it was given everything");
  assert.ok(most <= 4 * 2 ** 20, `${most} bytes were queued`);
  assert.is(server.connections.totals.queuedBytes, 0);
  other!.deliver(new EncodedFrame(encodeFrame({ type: "toolProgress", progress: 1 })));
  assert.is((await well.next())["type"], "toolProgress");
  // It neither reads nor answers the close, so it is cut off.
  await until(() => server.metrics.text().includes('haulout_disconnects_total{code="4103"} 1'), 2000, "4103");
  deaf.destroy();
  await server.stop();
});

test("of all that waits the longest queues are given up, by 4101, and who reads goes on", async () => {
  const server = await Server.start({ maxOutboxBytes: 4 * 2 ** 20 });
  const deaf = [await deafPeer(server), await deafPeer(server), await deafPeer(server)];
  const slow = [...server.connections];
  const well = await Peer.greeted(server.url);
  const [, , , other] = server.connections;
  const frame = new EncodedFrame(encodeFrame({ type: "toolProgress", progress: "x".repeat(16 * 1024) }));
  for (let round = 0; !slow.some(({ gone }) => gone); round++) {
    for (const connection of slow) connection.deliver(frame);
    // The first has the most, but not by so much that the system's own buffers still take all of the others.
    if (round % 8 === 0) slow[0]!.deliver(frame);
    if (slow[0]!.queuedBytes % 2 ** 20 < 2 * frame.bytes.length) await turn();
  }
  assert.equal(
    slow.map(({ gone }) => gone),
    [true, false, false],
  );
  assert.ok(server.connections.totals.queuedBytes <= 3 * 2 ** 20);
  other!.deliver(frame);
  assert.is((await well.next())["type"], "toolProgress");
  await until(() => server.metrics.text().includes('haulout_disconnects_total{code="4101"} 1'), 2000, "4101");
  for (const socket of deaf) socket.destroy();
  await server.stop();
});

test("a reader that comes back late finds a disconnect frame and close 4103", async () => {
  const server = await Server.start({ listen: { closeTimeoutMs: 5000 } });
  const peer = await Peer.greeted(server.url);
  peer.socket.pause();
  const connection = server.only;
  const frame = new EncodedFrame(encodeFrame({ type: "toolProgress", progress: "x".repeat(16 * 1024) }));
  while (!connection.gone) {
    for (let i = 0; i < 64; i++) connection.deliver(frame);
    await turn();
  }
  peer.socket.resume();
  const frames = await peer.until("disconnect");
  assert.equal([frames.at(-1)!["code"], frames.at(-1)!["reconnect"]], [4103, true]);
  assert.equal(await peer.closed, { code: 4103, reason: "slow-reader" });
  await server.stop();
});

test("a reader for whom no byte moves for 30 s is ended by 4103; one that reads slowly is not", async () => {
  let now = 0;
  const server = await Server.start({ wheel: { clock: () => now, tickMs: 250 } });
  const deaf = await deafPeer(server);
  const connection = server.only;
  const frame = new EncodedFrame(encodeFrame({ type: "toolProgress", progress: "x".repeat(64 * 1024) }));
  // Until the system takes no more and bytes stay here.
  while (connection.queuedBytes < 2 ** 20) {
    connection.deliver(frame);
    await turn();
  }
  // The wheel's own timer looks as well; what counts is the clock.
  const look = (): number | undefined => connection.check(now);
  now = 20_000;
  look();
  const before = connection.queuedBytes;
  deaf.resume();
  await until(() => connection.queuedBytes < before, 2000, "bytes to move");
  deaf.pause();
  now = 45_000;
  look();
  assert.not(connection.gone, "its bytes moved at 20 s");
  while (connection.queuedBytes < 2 ** 20) {
    connection.deliver(frame);
    await turn();
  }
  now = 120_000;
  look();
  assert.ok(connection.gone);
  deaf.destroy();
  await server.stop();
});

test.run();
