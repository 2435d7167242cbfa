/**
 * How much and how many: the rate of frames and bytes of a connection and of a user, connections of a user, of an address
 * and in all. Real sockets against the socket layer, on a clock that the test moves.
 */
import { Admission, networkOf } from "../../../server/socket/admission.ts";
import type { ConnectionsOptions } from "../../../server/socket/connections.ts";
import type { ListenOptions } from "../../../server/socket/listen.ts";
import { Bucket } from "../../../server/socket/rate.ts";
import { assert, suite } from "../../support/suite.ts";
import { until } from "../../support/wait.ts";
import { Peer, Server, type Frame } from "./harness.ts";

const test = suite("rates and counts");
const servers: Server[] = [];
test.after.each(async () => {
  for (const server of servers.splice(0)) await server.stop();
});

let now = 0;
async function start(options: ConnectionsOptions, listen: Partial<ListenOptions> = {}): Promise<Server> {
  now = 1_000_000;
  const tokens = ["ann", "bob"].map((user) => ({ token: user, user }));
  const auth = { mode: "token", tokens } as const;
  const server = await Server.start({ ...options, auth, listen, wheel: { clock: () => now } });
  servers.push(server);
  return server;
}

const ask = (id: number): Frame => ({ type: "listAgents", id });
const accepted = { type: "callAccepted", session: "s", call: "c", attempt: 1 };

test("a bucket holds its burst, refills by its rate, and says when a debt is paid", () => {
  const bucket = new Bucket(10, 2, 0);
  assert.equal([bucket.spend(1, 0), bucket.spend(1, 0), bucket.spend(1, 0)], [0, 0, 100]);
  assert.is(bucket.spend(1, 100), 100);
  assert.is(bucket.spend(1, 300), 0);
  assert.not(bucket.isFull(400));
  assert.ok(bucket.isFull(10_000));
  assert.is(bucket.spend(4.5, 10_000), 250);
  assert.ok(bucket.flooded);
  assert.is(new Bucket(0, 0, 0).spend(1e9, 0), 0);
});

test("requests over the rate of frames are rate-limited, and pass after the time that they were told", async () => {
  const server = await start({ framesPerSecond: 10, frameBurst: 3 });
  const peer = await Peer.greeted(server.url, { token: "ann" });
  peer.send(ask(1), ask(2), ask(3), ask(4), ask(5));
  for (const id of [1, 2, 3]) assert.equal(await peer.next(), { type: "ok", id });
  for (const [id, retryAfterMs] of [
    [4, 100],
    [5, 200],
  ]) {
    const error = await peer.next();
    assert.equal(
      [error["id"], error["code"], error["retryable"], error["retryAfterMs"]],
      [id, "rate-limited", true, retryAfterMs],
    );
  }
  assert.is(server.frames.length, 3);
  now += 300;
  peer.send(ask(4));
  assert.equal(await peer.next(), { type: "ok", id: 4 });
});

test("what a provider says of its calls is never lost to the rate", async () => {
  const server = await start({ framesPerSecond: 10, frameBurst: 10 });
  const peer = await Peer.greeted(server.url, { token: "ann" });
  peer.send(...Array.from({ length: 19 }, () => accepted), ask(1));
  const error = await peer.next();
  assert.equal([error["id"], error["code"]], [1, "rate-limited"]);
  assert.is(server.frames.length, 19);
});

test("the answers to a call are free", async () => {
  const server = await start({ framesPerSecond: 1, frameBurst: 4 });
  const peer = await Peer.greeted(server.url, { token: "ann" });
  const call = { session: "s", call: "c", attempt: 1, run: "r", agent: "a", tool: "t", input: null };
  const actor = { kind: "user", id: "u", name: "u", verified: true } as const;
  for (let at = 0; at < 50; at++) {
    server.only.call({ ...call, actor, timeoutMs: 1 });
    peer.send(accepted, { ...accepted, type: "callResult", output: 1 });
    await until(() => server.frames.length === 2 * (at + 1), 1000, "the answer");
  }
  peer.send(ask(1));
  await peer.until("ok");
});

test("who goes on and on over the rate is ended by 4104, with requests as with anything else", async () => {
  for (const frame of [ask, () => accepted, () => ({ type: "pong" })]) {
    const server = await start({ framesPerSecond: 1, frameBurst: 5 });
    const peer = await Peer.greeted(server.url, { token: "ann" });
    peer.send(...Array.from({ length: 11 }, (_, id) => frame(id)));
    const frames = await peer.until("disconnect");
    assert.equal([frames.at(-1)!["code"], frames.at(-1)!["reconnect"]], [4104, true]);
    assert.ok(server.frames.length <= 10);
  }
});

test("bytes count as well as frames", async () => {
  const server = await start({ bytesPerSecond: 1000, byteBurst: 1000 });
  const peer = await Peer.greeted(server.url, { token: "ann" });
  peer.send({ ...ask(1), more: "x".repeat(1200) });
  const error = await peer.next();
  assert.is(error["code"], "rate-limited");
  assert.ok(error["retryAfterMs"] > 200 && error["retryAfterMs"] < 300, error["retryAfterMs"]);
  now += 1000;
  peer.send(ask(2));
  assert.equal(await peer.next(), { type: "ok", id: 2 });
});

test("all connections of a user share a rate, other users have their own", async () => {
  const server = await start({ userFramesPerSecond: 1, userFrameBurst: 4 });
  const ann = await Peer.greeted(server.url, { token: "ann" });
  const again = await Peer.greeted(server.url, { token: "ann" });
  const bob = await Peer.greeted(server.url, { token: "bob" });
  ann.send(ask(1), ask(2));
  again.send(ask(1), ask(2));
  for (const peer of [ann, again]) {
    for (const id of [1, 2]) assert.equal(await peer.next(), { type: "ok", id });
  }
  again.send(ask(3));
  assert.is((await again.next())["code"], "rate-limited");
  bob.send(ask(1));
  assert.equal(await bob.next(), { type: "ok", id: 1 });
  // A new connection does not begin anew.
  ann.close();
  again.close();
  await until(() => server.connections.size === 1, 1000, "both gone");
  const third = await Peer.greeted(server.url, { token: "ann" });
  third.send(ask(1));
  assert.is((await third.next())["code"], "rate-limited");
  now += 60_000;
  third.send(ask(2));
  assert.equal(await third.next(), { type: "ok", id: 2 });
});

test("a user has so many connections; one that supersedes another needs no place", async () => {
  const server = await start({ maxConnectionsPerUser: 2 });
  const first = await Peer.greeted(server.url, { token: "ann", instance: "one" });
  await Peer.greeted(server.url, { token: "ann", instance: "two" });
  const third = await Peer.open(server.url);
  third.send({ type: "hello", id: 7, protocol: 1, token: "ann" });
  const { message: _, ...error } = await third.next();
  assert.equal(error, {
    type: "error",
    id: 7,
    code: "rate-limited",
    retryable: true,
    retryAfterMs: 5000,
    details: { limit: "maxConnectionsPerUser", value: 2 },
  });
  assert.is((await third.closed).code, 4104);
  await Peer.greeted(server.url, { token: "bob" });
  await Peer.greeted(server.url, { token: "ann", instance: "one" });
  assert.is((await first.closed).code, 4510);
  assert.is(server.connections.size, 3);
});

test("names that nobody has verified bound nobody", async () => {
  const server = await Server.start({ maxConnectionsPerUser: 1, userFramesPerSecond: 1, userFrameBurst: 1 });
  servers.push(server);
  const peers = await Promise.all([1, 2, 3].map(() => Peer.greeted(server.url)));
  for (const peer of peers) peer.send(ask(1), ask(2));
  for (const peer of peers) for (const id of [1, 2]) assert.equal(await peer.next(), { type: "ok", id });
});

test("connections in all, of one address and without a hello are refused with 503 beyond their number", async () => {
  for (const limit of ["maxConnections", "maxConnectionsPerAddress", "maxGreeting"] as const) {
    const server = await start({}, { [limit]: 2, countLoopback: true });
    const first = await Peer.open(server.url);
    await Peer.open(server.url);
    await assert.rejects(Peer.open(server.url), /503/);
    first.close();
    await until(() => server.connections.size === 1, 1000, "the first to be gone");
    await Peer.open(server.url);
  }
});

test("upgrades of one address come no faster than told; loopback is not counted unless told", async () => {
  const rate = { upgradesPerSecond: 1, upgradeBurst: 3 };
  const server = await start({}, { ...rate, countLoopback: true });
  for (let at = 0; at < 3; at++) await Peer.open(server.url);
  await assert.rejects(Peer.open(server.url), /503/);
  assert.match(server.metrics.text(), /haulout_upgrades_refused_total\{reason="upgrades"\} 1/);
  const open = await start({}, rate);
  for (let at = 0; at < 8; at++) await Peer.open(open.url);
});

test("an address that left is forgotten once nothing is held against it", () => {
  let at = 0;
  const admission = new Admission({ upgradesPerSecond: 1, upgradeBurst: 2 }, () => at);
  const greeter = { identity: undefined };
  const knock = (address: string): string | undefined => {
    const refused = admission.refusal(address);
    if (refused === undefined) admission.enter(address, greeter)();
    return refused?.[0];
  };
  assert.equal(
    [1, 2, 3].map(() => knock("192.0.2.1")),
    [undefined, undefined, "upgrades"],
  );
  assert.is(knock("192.0.2.2"), undefined);
  at += 10_000;
  assert.is(knock("192.0.2.3"), undefined);
  assert.is(admission.addresses, 1);
});

test("a network of IPv6 and a mapped address are one address", () => {
  assert.is(networkOf("::ffff:192.0.2.7"), "192.0.2.7");
  assert.is(networkOf("2001:db8:0:7::1"), networkOf("2001:0DB8:0000:0007:aaaa:bbbb:cccc:dddd"));
  assert.is.not(networkOf("2001:db8:0:7::1"), networkOf("2001:db8:0:8::1"));
  assert.is(networkOf("fe80::1%eth0"), networkOf("fe80::2"));
  assert.is(networkOf("::1"), "::1");
});

test.run();
