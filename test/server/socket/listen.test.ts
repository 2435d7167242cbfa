/**
 * The door: Host and Origin against rebinding, draining, paths, the cap on sockets without a hello, and the goodbye.
 * Requests are written by hand, because clients do not let one choose these headers.
 */
import { once } from "node:events";
import { connect } from "node:net";
import { hostAllowed, isLoopback, originAllowed, type Asked } from "../../../server/socket/origin.ts";
import { assert, suite } from "../../support/suite.ts";
import { until } from "../../support/wait.ts";
import { Peer, Server } from "./harness.ts";

const test = suite("listen");
let server: Server;
test.before.each(async () => (server = await Server.start()));
test.after.each(() => server.stop());

/** Sends a request with these headers; answers the head of the response. */
function ask(port: number, path: string, headers: Record<string, string>, upgrade = true): Promise<string> {
  const all: Record<string, string> = {
    ...(upgrade
      ? {
          Connection: "Upgrade",
          Upgrade: "websocket",
          "Sec-WebSocket-Version": "13",
          "Sec-WebSocket-Key": Buffer.alloc(16).toString("base64"),
        }
      : { Connection: "close" }),
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    let text = "";
    socket.on("data", (data) => {
      text += data.toString("latin1");
      if (!text.includes("\r\n\r\n")) return;
      resolve(text);
      socket.destroy();
    });
    socket.on("error", reject);
    socket.on("close", () => resolve(text));
    socket.write(`GET ${path} HTTP/1.1\r\n${lines.join("")}\r\n`);
  });
}

const status = async (...parameters: Parameters<typeof ask>): Promise<number> =>
  Number((await ask(...parameters)).split(" ")[1]);

test("on a loopback address every loopback name is served, with any port, and no other", async () => {
  for (const host of ["localhost", "localhost:4787", "127.0.0.1:1", "[::1]:8080", "127.8.9.1"]) {
    assert.is(await status(server.port, "/ws", { Host: host }), 101, host);
    assert.is(await status(server.port, "/", { Host: host }, false), 200, host);
  }
  for (const host of [
    "evil.example",
    "localhost.evil.example",
    "10.0.0.1",
    "127.0.0.1@evil.example",
    "",
    "a b",
  ]) {
    assert.ok([400, 403].includes(await status(server.port, "/ws", { Host: host })), host);
    assert.ok([400, 403].includes(await status(server.port, "/", { Host: host }, false)), host);
  }
  assert.match(server.metrics.text(), /haulout_upgrades_refused_total\{reason="host"\} [1-9]/);
});

test("a page may connect from the host that it came from, and from nowhere else", async () => {
  const Host = `localhost:${server.port}`;
  for (const Origin of [`http://localhost:${server.port}`, `https://localhost:${server.port}`]) {
    assert.is(await status(server.port, "/ws", { Host, Origin }), 101, Origin);
  }
  for (const Origin of ["http://localhost:1", "https://evil.example", "null", "file://", "junk"]) {
    assert.is(await status(server.port, "/ws", { Host, Origin }), 403, Origin);
  }
});

test("lists of hosts and origins add to that", async () => {
  const open = await Server.start({
    listen: {
      allowedHosts: ["chat.example"],
      allowedOrigins: ["https://app.example", "http://localhost:5173"],
    },
  });
  assert.is(await status(open.port, "/ws", { Host: "chat.example:80", Origin: "https://app.example" }), 101);
  assert.is(await status(open.port, "/ws", { Host: "localhost", Origin: "http://localhost:5173" }), 101);
  assert.is(await status(open.port, "/ws", { Host: "other.example" }), 403);
  assert.is(await status(open.port, "/ws", { Host: "localhost", Origin: "https://app.example.evil" }), 403);
  await open.stop();
});

test("the rules, where no socket is needed", () => {
  assert.ok(isLoopback("::1") && isLoopback("[::1]") && isLoopback("LOCALHOST") && isLoopback("127.1.2.3"));
  assert.not(isLoopback("0.0.0.0") || isLoopback("::") || isLoopback("127.evil.example"));
  const outside = { host: "0.0.0.0" };
  assert.ok(hostAllowed("anything.example:99", outside));
  assert.not(hostAllowed(undefined, outside));
  assert.not(hostAllowed("localhost", { ...outside, allowedHosts: ["chat.example"] }));
  assert.ok(hostAllowed("[2001:db8::1]:80", { ...outside, allowedHosts: ["2001:db8::1"] }));
  const asked = (origin: string | undefined, host: string, secure = false): Asked => ({
    origin,
    host,
    secure,
  });
  assert.ok(originAllowed(asked("https://chat.example", "chat.example:443"), outside));
  assert.not(originAllowed(asked("https://chat.example", "chat.example:80"), outside));
  assert.ok(originAllowed(asked("https://any.example", "x"), { ...outside, allowedOrigins: ["*"] }));
  assert.ok(originAllowed(asked(undefined, "x"), outside));
  assert.ok(originAllowed(asked("https://chat.example", "chat.example", true), outside));
  assert.not(originAllowed(asked("http://chat.example", "chat.example", true), outside), "a page in clear");
});

test("only /ws is upgraded, with any query", async () => {
  const Host = "localhost";
  assert.is(await status(server.port, "/ws?x=1", { Host }), 101);
  for (const path of ["/", "/ws/", "/wsx", "//ws", "/%77s"]) {
    assert.is(await status(server.port, path, { Host }), 404, path);
  }
});

test("a node that takes nobody answers 503, and says when to try again", async () => {
  server.refusing = "The server stops.";
  const answer = await ask(server.port, "/ws", { Host: "localhost" });
  assert.match(answer, /^HTTP\/1\.1 503 /);
  assert.match(answer, /\r\nRetry-After: 1\r\n/);
});

test("who is refused and does not hang up keeps no server from stopping", async () => {
  const stopping = await Server.start();
  stopping.refusing = "The server stops.";
  const socket = connect({ port: stopping.port, host: "127.0.0.1", allowHalfOpen: true });
  socket.on("error", () => undefined);
  const ended = once(socket, "end");
  let answer = "";
  socket.on("data", (data) => (answer += data.toString("latin1")));
  const key = Buffer.alloc(16).toString("base64");
  socket.write(
    `GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
  );
  await ended;
  assert.match(answer, /^HTTP\/1\.1 503 [^]*The server stops\.\n$/);
  await stopping.stop();
  socket.destroy();
});

test("sockets of one address without a hello can be capped; saying hello makes room", async () => {
  const capped = await Server.start({ listen: { maxGreetingPerAddress: 2, countLoopback: true } });
  const first = await Peer.open(capped.url);
  const second = await Peer.open(capped.url);
  await assert.rejects(Peer.open(capped.url), /503/);
  first.send({ type: "hello", protocol: 1 });
  await first.next();
  await Peer.open(capped.url);
  second.close();
  await until(() => capped.connections.size === 2, 1000, "the second to be gone");
  await Peer.open(capped.url);
  await assert.rejects(Peer.open(capped.url), /503/);
  await capped.stop();
});

test("compression is not negotiated", async () => {
  const peer = await Peer.open(server.url, ["haulout.v1.json"], { perMessageDeflate: true });
  assert.is(peer.socket.extensions, "");
});

test("a message in too many fragments closes with a code of the transport", async () => {
  const small = await Server.start({ listen: { maxFragments: 4 } });
  const peer = await Peer.greeted(small.url);
  for (let i = 0; i < 10; i++) peer.socket.send("x", { fin: false });
  assert.is((await peer.closed).code, 1008);
  await small.stop();
});

test("stopping answers what is in flight, begins nothing new, and closes with 4000", async () => {
  const peer = await Peer.greeted(server.url);
  server.hold = true;
  peer.send({ type: "listAgents", id: 1 });
  await until(() => server.frames.length === 1, 1000, "the request");
  const silent = await Peer.open(server.url);
  server.connections.announceStop([0, 500]);
  assert.equal(await peer.next(), { type: "goaway", code: 4000, reconnectAfterMs: [0, 500] });
  peer.send({ type: "listAgents", id: 2 });
  const error = await peer.next();
  assert.equal([error["id"], error["code"], error["retryable"]], [2, "draining", true]);
  server.frames[0]!.connection.send({ type: "ok", id: 1 });
  assert.equal(await peer.next(), { type: "ok", id: 1 });
  await server.connections.disconnectAll();
  assert.equal(await peer.next(), {
    type: "disconnect",
    code: 4000,
    reason: "the server stops",
    reconnect: true,
  });
  assert.is((await peer.closed).code, 4000);
  assert.is((await silent.closed).code, 4000);
});

test("disconnects can be spread", async () => {
  const peers = await Promise.all([1, 2, 3, 4].map(() => Peer.greeted(server.url)));
  const ends: number[] = [];
  const began = performance.now();
  for (const peer of peers) void peer.closed.then(() => ends.push(performance.now() - began));
  await server.connections.disconnectAll(80);
  await Promise.all(peers.map((peer) => peer.closed));
  assert.ok(ends[3]! >= 55, `the last was told after ${ends[3]} ms`);
});

test("a port that is taken is an error, not a crash", async () => {
  await assert.rejects(Server.start({ listen: { port: server.port } }), /EADDRINUSE/);
});

test.run();
