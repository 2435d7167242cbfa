/**
 * The outbox: one write per turn, bounds in bytes, room for replay, what lags and what may be dropped. Against a wire that
 * the test holds, then with many sockets; those whose other end does not read are in socket/slow.test.ts.
 */
import { EncodedFrame, encodeFrame } from "../../protocol/codec.ts";
import {
  Outbox,
  outboxTotals,
  type OutboxOptions,
  type OutboxTotals,
  type Wire,
  type WireFrame,
} from "../../server/socket/outbox.ts";
import { Turn } from "../../server/socket/turn.ts";
import { assert, suite } from "../support/suite.ts";
import { Peer, Server } from "./socket/harness.ts";

const test = suite("outbox");
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A wire that keeps what it is given until it is told to move. */
class HeldWire implements Wire {
  readonly writes: { data: Uint8Array | string; fin: boolean; sent: () => void }[] = [];
  bufferedAmount = 0;
  held = false;

  send(frames: readonly WireFrame[], isText: boolean, fin: boolean, sent: () => void): void {
    const whole = typeof frames[0] === "string" ? frames.join("\n") : Buffer.concat(frames as Uint8Array[]);
    const data = frames.length === 1 ? frames[0]! : whole;
    if (fin && typeof data === "string") assert.ok(isText);
    this.writes.push({ data, fin, sent });
    if (this.held) this.bufferedAmount += data.length;
    else sent();
  }

  /** The system takes the oldest write that is held. */
  move(): void {
    const write = this.writes.find(({ sent }) => sent !== done)!;
    this.bufferedAmount -= write.data.length;
    const { sent } = write;
    write.sent = done;
    sent();
  }
}
const done = (): void => undefined;

function makeOutbox(
  options: OutboxOptions = {},
  totals = outboxTotals(),
): {
  wire: HeldWire;
  outbox: Outbox;
  totals: OutboxTotals;
  overflows: () => number;
  pressure: () => number;
  at: (ms: number) => void;
} {
  const wire = new HeldWire();
  let overflows = 0;
  let pressure = 0;
  let now = 0;
  const outbox = new Outbox(
    {
      wire,
      turn: new Turn(),
      totals,
      clock: () => now,
      onOverflow: () => (overflows++, outbox.close()),
      onPressure: () => pressure++,
    },
    options,
  );
  return {
    wire,
    outbox,
    totals,
    overflows: () => overflows,
    pressure: () => pressure,
    at: (ms) => (now = ms),
  };
}

test("frames of one turn are one write, those of the next another", async () => {
  const { wire, outbox, totals } = makeOutbox();
  for (const byte of [1, 2, 3]) outbox.push(new Uint8Array([byte]));
  assert.is(wire.writes.length, 0);
  await turn();
  outbox.push(new Uint8Array([4]));
  await turn();
  assert.equal(
    wire.writes.map(({ data }) => [...(data as Uint8Array)]),
    [[1, 2, 3], [4]],
  );
  assert.equal([totals.writes, totals.frames, totals.bytes, totals.queuedBytes], [2, 4, 4, 0]);
});

test("lines of JSON are joined by newlines", async () => {
  const { wire, outbox } = makeOutbox();
  outbox.push('{"a":1}');
  outbox.push('{"b":2}');
  await turn();
  assert.equal(
    wire.writes.map(({ data }) => data),
    ['{"a":1}\n{"b":2}'],
  );
});

test("a single frame is written as it is, without a copy", async () => {
  const { wire, outbox } = makeOutbox();
  const frame = new Uint8Array([1, 2]);
  outbox.push(frame);
  await turn();
  assert.is(wire.writes[0]!.data, frame);
});

test("more than a window goes in several messages, a frame larger than it in fragments, nothing lost or mixed", async () => {
  const { wire, outbox, totals } = makeOutbox({ windowBytes: 10 });
  const sent: number[] = [];
  for (const [value, length] of [
    [1, 4],
    [2, 5],
    [3, 4],
    [4, 25],
    [5, 1],
  ] as const) {
    const frame = new Uint8Array(length).fill(value);
    sent.push(...frame);
    outbox.push(frame);
  }
  await turn();
  assert.equal(
    wire.writes.map(({ data, fin }) => [data.length, fin]),
    [
      [9, true],
      [4, true],
      [10, false],
      [10, false],
      [5, true],
      [1, true],
    ],
  );
  assert.equal(
    wire.writes.flatMap(({ data }) => [...(data as Uint8Array)]),
    sent,
  );
  assert.equal([totals.frames, totals.bytes, totals.queuedBytes], [5, 39, 0]);
});

test("a text frame larger than the window is cut by bytes, not by characters", async () => {
  const { wire, outbox } = makeOutbox({ windowBytes: 10 });
  const line = `"${"é😀".repeat(20)}"`;
  outbox.push(line);
  await turn();
  assert.ok(wire.writes.every(({ data }) => data.length <= 10));
  assert.is(Buffer.concat(wire.writes.map(({ data }) => data as Uint8Array)).toString(), line);
});

test("a socket whose buffer is full gets nothing until bytes have moved", async () => {
  const { wire, outbox, at } = makeOutbox({ windowBytes: 10 });
  wire.held = true;
  outbox.push(new Uint8Array(9));
  outbox.push(new Uint8Array(9));
  outbox.push(new Uint8Array(9));
  await turn();
  assert.is(wire.writes.length, 2);
  at(40);
  assert.is(outbox.stuckFor(50), 50);
  wire.move();
  assert.is(outbox.stuckFor(50), 10);
  await turn();
  assert.is(wire.writes.length, 3);
  assert.is(outbox.stuckFor(90), 0);
  assert.is(outbox.freedAt, 40);
});

test("queued bytes are counted with what holding a frame costs, and no longer once written", async () => {
  const { outbox, totals, wire } = makeOutbox({ windowBytes: 10 });
  wire.held = true;
  for (let i = 0; i < 4; i++) outbox.push(new Uint8Array(10));
  assert.is(outbox.queuedBytes, 4 * 266);
  assert.is(totals.queuedBytes, 4 * 266);
  await turn();
  assert.is(outbox.queuedBytes, 3 * 266);
  outbox.close();
  assert.equal([outbox.queuedBytes, totals.queuedBytes], [0, 0]);
});

test("one frame over the bound is the end, told once", async () => {
  const { outbox, overflows, wire } = makeOutbox({ maxQueuedBytes: 1000 });
  for (let i = 0; i < 10; i++) outbox.push(new Uint8Array(100));
  assert.is(overflows(), 1);
  await turn();
  assert.equal(wire.writes, []);
});

test("room is there below the mark, and comes when enough is written or the outbox closes", async () => {
  const { outbox, wire } = makeOutbox({ windowBytes: 10, roomBytes: 600 });
  wire.held = true;
  assert.is(outbox.room(), undefined);
  for (let i = 0; i < 4; i++) outbox.push(new Uint8Array(10));
  const room = outbox.room();
  assert.ok(room);
  assert.is(outbox.room(), room);
  await turn();
  wire.move();
  await room;
  assert.ok(outbox.queuedBytes <= 600);
  for (let i = 0; i < 4; i++) outbox.push(new Uint8Array(10));
  const never = outbox.room();
  outbox.close();
  await never;
  assert.is(outbox.room(), undefined);
});

test("a reader lags over the mark, and what may be dropped of one channel is, and nothing else", async () => {
  const { outbox, wire, totals } = makeOutbox({ windowBytes: 10, lagBytes: 1000 });
  wire.held = true;
  outbox.push(new Uint8Array(10).fill(1), 7);
  await turn();
  outbox.push(new Uint8Array(10).fill(2), 7);
  outbox.push(new Uint8Array(10).fill(3));
  outbox.push(new Uint8Array(10).fill(4), 8);
  assert.is(outbox.lagging, false);
  outbox.push(new Uint8Array(10).fill(5), 7);
  assert.is(outbox.lagging, true);
  outbox.drop(7);
  outbox.drop(9);
  assert.equal([outbox.lagging, outbox.queuedBytes, totals.queuedBytes], [false, 2 * 266, 2 * 266]);
  while (outbox.queuedBytes > 0) {
    wire.move();
    await turn();
  }
  assert.equal(
    wire.writes.map(({ data }) => (data as Uint8Array)[0]),
    [1, 3, 4],
    "what was written is written",
  );
});

test("more in all outboxes than may wait is told, by whoever adds to it", () => {
  const totals = outboxTotals(1000);
  const [one, other] = [makeOutbox({}, totals), makeOutbox({}, totals)];
  for (let at = 0; at < 3; at++) one.outbox.push(new Uint8Array(10));
  assert.equal([one.pressure(), other.pressure()], [0, 0]);
  other.outbox.push(new Uint8Array(10));
  assert.equal([one.pressure(), other.pressure()], [0, 1]);
});

test("the last word follows what the socket takes, but never breaks into a frame", async () => {
  const open = makeOutbox({ windowBytes: 10 });
  open.outbox.push(new Uint8Array([1]));
  open.outbox.finish(new Uint8Array([9]));
  assert.equal(
    open.wire.writes.map(({ data }) => [...(data as Uint8Array)]),
    [[1], [9]],
  );
  open.outbox.push(new Uint8Array([2]));
  await turn();
  assert.is(open.wire.writes.length, 2);

  const broken = makeOutbox({ windowBytes: 10 });
  broken.wire.held = true;
  broken.outbox.push(new Uint8Array(30));
  broken.outbox.finish(new Uint8Array([9]));
  assert.equal(
    broken.wire.writes.map(({ data, fin }) => [data.length, fin]),
    [[10, false]],
  );
});

test("100 deltas of one turn reach each of 20 sockets in one message, encoded once", async () => {
  const server = await Server.start();
  const peers = await Promise.all(
    Array.from({ length: 20 }, () => Peer.greeted(server.url, {}, ["haulout.v1.msgpack"])),
  );
  const before = { ...server.connections.totals };
  for (let offset = 0; offset < 100; offset++) {
    const delta = { type: "delta", channel: 1, message: "m", part: 0, offset, text: "x" } as const;
    const frame = new EncodedFrame(encodeFrame(delta));
    for (const connection of server.connections) connection.deliver(frame);
  }
  for (const peer of peers) {
    for (let offset = 0; offset < 100; offset++) assert.is((await peer.next())["offset"], offset);
    assert.is(peer.messages, 2);
  }
  const { totals } = server.connections;
  assert.equal([totals.writes - before.writes, totals.frames - before.frames], [20, 2000]);
  await server.stop();
});

test.run();
