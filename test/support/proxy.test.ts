/**
 * The proxy that faults are made with does what it says, between a real server and a raw client: a fault that is none
 * would let every test behind it pass.
 */
import { createServer, connect, type AddressInfo, type Socket } from "node:net";
import { startProxy } from "./proxy.ts";
import { TestServer } from "./server.ts";
import { assert, suite } from "./suite.ts";
import { until } from "./wait.ts";
import { Wire } from "./wire.ts";

const test = suite("proxy");

/** A server that keeps what it is sent, in the pieces in which it came. */
async function listen(): Promise<{ port: number; pieces: Buffer[]; sockets: Socket[]; close(): void }> {
  const pieces: Buffer[] = [];
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
    socket.on("data", (piece) => pieces.push(piece));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = (): void => {
    for (const socket of sockets) socket.destroy();
    server.close();
  };
  return { port: (server.address() as AddressInfo).port, pieces, sockets, close };
}

test("single bytes come as they were sent, in many pieces", async () => {
  const server = await listen();
  const proxy = await startProxy(server);
  proxy.singleBytes(true);
  const client = connect(proxy.port, "127.0.0.1");
  const text = "0123456789".repeat(50);
  client.write(text);
  const all = (): string => Buffer.concat(server.pieces).toString();
  await until(() => all().length === text.length, 10_000, "every byte");
  assert.is(all(), text);
  assert.ok(server.pieces.length > 10, `${server.pieces.length} pieces`);
  client.destroy();
  await proxy.close();
  server.close();
});

test("a server and a client read frames that come byte by byte", async () => {
  const server = await TestServer.start({ store: "memory" });
  const proxy = await startProxy(server);
  for (const encoding of ["msgpack", "json"] as const) {
    proxy.singleBytes(true);
    const wire = await Wire.connect(proxy.url, { encoding });
    const { session } = await wire.ok("createSession", { agent: "demo" });
    await wire.ok("attach", { session });
    await wire.ok("send", { session, key: "key", content: "häh? 👋 ".repeat(20) });
    // In the middle of what comes, whole pieces again.
    proxy.singleBytes(false);
    const end = await wire.event("run-finished", { session });
    assert.match(end["event"].text, /häh\? 👋/);
    await wire.close();
  }
  await proxy.close();
  await server.kill();
});

test("a half-open connection is silent, and stays open for the server when the client is gone", async () => {
  const server = await listen();
  const proxy = await startProxy(server);
  const client = connect(proxy.port, "127.0.0.1");
  const gone = new Promise((resolve) => client.once("error", resolve));
  client.write("before");
  await until(() => server.pieces.length === 1, 10_000, "the first piece");
  proxy.halfOpen();
  client.write("after");
  // A connection made later works: what was sent before it would have come by now.
  const other = connect(proxy.port, "127.0.0.1");
  other.write("other");
  await until(() => server.pieces.length === 2, 10_000, "the other connection");
  assert.equal(server.pieces.map(String), ["before", "other"]);
  proxy.loseClients();
  await gone;
  assert.is(server.sockets[0]?.destroyed, false);
  assert.is(proxy.open, 2);
  other.destroy();
  await proxy.close();
  server.close();
});

test.run();
