/**
 * The heartbeat: the wheel against a clock of the test, then pings, pongs and silence on real sockets, with the clock
 * still the test's.
 */
import { Wheel, type Watched } from "../../../server/socket/heartbeat.ts";
import { assert, suite } from "../../support/suite.ts";
import { until } from "../../support/wait.ts";
import { Peer, Server } from "./harness.ts";

const test = suite("heartbeat");

function clocked(options: { tickMs: number; slots: number }): { wheel: Wheel; at: (ms: number) => void } {
  let now = 1000;
  const wheel = new Wheel({ ...options, clock: () => now });
  return {
    wheel,
    at: (ms) => {
      now = 1000 + ms;
      wheel.advance();
    },
  };
}

function watched(again: () => number | undefined): Watched & { looks: number[] } {
  const looks: number[] = [];
  return { looks, check: (now) => (looks.push(now - 1000), again()) };
}

test("looks when the time has come, not before, and again when told", () => {
  const { wheel, at } = clocked({ tickMs: 10, slots: 16 });
  const item = watched(() => 30);
  wheel.watch(item, 25);
  for (let ms = 1; ms <= 100; ms++) at(ms);
  assert.equal(item.looks, [30, 60, 90]);
  assert.is(wheel.size, 1);
});

test("looks no more at what answers undefined or was forgotten", () => {
  const { wheel, at } = clocked({ tickMs: 10, slots: 16 });
  const once = watched(() => undefined);
  const forgotten = watched(() => 10);
  wheel.watch(once, 10);
  wheel.watch(forgotten, 10);
  at(10);
  wheel.forget(forgotten);
  at(100);
  assert.equal([once.looks, forgotten.looks], [[10], [10]]);
  assert.is(wheel.size, 0);
});

test("what is due later than a round is looked at on the way, and a new time replaces the old", () => {
  const { wheel, at } = clocked({ tickMs: 10, slots: 4 });
  const late = watched(() => 1000);
  wheel.watch(late, 1000);
  at(30);
  assert.equal(late.looks, [30]);
  const moved = watched(() => undefined);
  wheel.watch(moved, 10);
  wheel.watch(moved, 30);
  at(40);
  assert.equal(moved.looks, []);
  at(60);
  assert.equal(moved.looks, [60]);
});

test("a clock that jumps costs one round, and everything due is looked at", () => {
  const { wheel, at } = clocked({ tickMs: 10, slots: 8 });
  const items = Array.from({ length: 20 }, () => watched(() => 40));
  items.forEach((item, index) => wheel.watch(item, index * 3));
  at(1_000_000);
  assert.ok(items.every(({ looks }) => looks.length >= 1 && looks.length <= 2));
});

test("one that ends another while both are due is not asked to look at the dead", () => {
  const { wheel, at } = clocked({ tickMs: 10, slots: 8 });
  const second = watched(() => 10);
  const first = watched(() => (wheel.forget(second), undefined));
  wheel.watch(first, 10);
  wheel.watch(second, 10);
  at(20);
  assert.equal(second.looks, []);
});

/** A server whose clock the test moves; its connections are looked after by hand. */
async function timed(): Promise<{ server: Server; at: (ms: number) => void }> {
  let now = 0;
  const server = await Server.start({ wheel: { clock: () => now, tickMs: 100_000 }, random: () => 0.5 });
  return {
    server,
    at: (ms) => {
      now = ms;
      for (const connection of server.connections) connection.check(now);
    },
  };
}

test("pings each pingMs, the first after a random part of it, and a pong keeps the connection", async () => {
  const { server, at } = await timed();
  const peer = await Peer.greeted(server.url);
  let pings = 0;
  peer.socket.on("message", (data: Buffer) => {
    if (data.toString() !== '{"type":"ping"}') return;
    pings++;
    peer.send({ type: "pong" });
  });
  const pongs = (): number => Number(/\{type="pong"\} (\d+)/.exec(server.metrics.text())?.[1] ?? 0);
  at(12_000);
  at(12_500);
  await until(() => pongs() === 1, 1000, "the first pong");
  for (let round = 1; round <= 4; round++) {
    at(12_500 + round * 25_000);
    await until(() => pongs() === round + 1, 1000, "the next pong");
  }
  assert.is(pings, 5);
  assert.is(server.connections.size, 1);
  await server.stop();
});

test("a silent peer is ended by 4102 after pingMs + 10 s, and may come back", async () => {
  const { server, at } = await timed();
  const peer = await Peer.greeted(server.url);
  at(34_999);
  assert.is(server.connections.size, 1);
  at(35_000);
  assert.is(server.connections.size, 0);
  const disconnect = await peer.next();
  assert.equal([disconnect["code"], disconnect["reconnect"]], [4102, true]);
  assert.equal(await peer.closed, { code: 4102, reason: "no-pong" });
  await server.stop();
});

test("any frame counts as life, even a bad one", async () => {
  const { server, at } = await timed();
  const peer = await Peer.greeted(server.url);
  at(30_000);
  peer.send({ type: "nonsense" });
  await peer.next();
  at(64_000);
  assert.is(server.connections.size, 1);
  at(65_000);
  assert.is(server.connections.size, 0);
  await server.stop();
});

test("a peer that waits for its hello's deadline is not pinged", async () => {
  const { server, at } = await timed();
  const peer = await Peer.open(server.url);
  at(9_999);
  assert.is(server.connections.size, 1);
  at(10_000);
  assert.equal(await peer.closed, { code: 4106, reason: "hello-timeout" });
  assert.is(peer.messages, 1);
  await server.stop();
});

test.run();
