/**
 * Where a request comes from: forwarding headers count only from listed proxies, read from the right, so that what a
 * client writes there itself is never believed; and the base path at the door.
 */
import type { IncomingMessage } from "node:http";
import { Proxies } from "../../../server/socket/proxies.ts";
import { assert, suite } from "../../support/suite.ts";
import { Peer, Server } from "./harness.ts";

const test = suite("proxies");

function read(trusted: readonly string[], remoteAddress: string, headers: IncomingMessage["headers"]) {
  const request = { headers, socket: { remoteAddress }, url: "/ws" } as unknown as IncomingMessage;
  return new Proxies(trusted).read(request);
}
const from = (trusted: readonly string[], remote: string, forwarded: string): string =>
  read(trusted, remote, { "x-forwarded-for": forwarded }).address;

test("nobody's word counts unless the proxy is listed", () => {
  const forged = {
    host: "real.example",
    "x-forwarded-for": "1.2.3.4",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "forged.example",
  };
  for (const trusted of [[], ["10.0.0.1"]]) {
    const { address, secure, host } = read(trusted, "9.9.9.9", forged);
    assert.equal([address, secure, host], ["9.9.9.9", false, "real.example"]);
  }
  const { address, secure, host } = read(["9.9.9.9"], "9.9.9.9", forged);
  assert.equal([address, secure, host], ["1.2.3.4", true, "forged.example"]);
});

test("the address is the last one that no listed proxy wrote of another", () => {
  const trusted = ["10.0.0.0/8", "fd00::/8", "::1"];
  assert.is(from(trusted, "10.1.1.1", "6.6.6.6, 1.2.3.4"), "1.2.3.4", "6.6.6.6 is the client's own word");
  assert.is(from(trusted, "10.1.1.1", "6.6.6.6, 1.2.3.4, 10.2.2.2, fd00::7"), "1.2.3.4", "through three");
  assert.is(from(trusted, "::ffff:10.1.1.1", "::ffff:1.2.3.4"), "1.2.3.4", "IPv4 over IPv6");
  assert.is(from(trusted, "::1", "[2001:db8::9]:443"), "2001:db8::9");
  assert.is(from(trusted, "::1", "1.2.3.4:5678"), "1.2.3.4");
  assert.is(from(trusted, "10.1.1.1", "10.3.3.3, 10.2.2.2"), "10.3.3.3", "proxies all the way");
  assert.is(from(trusted, "10.1.1.1", ""), "10.1.1.1");
  assert.is(
    from(trusted, "10.1.1.1", "1.2.3.4, junk, 10.2.2.2"),
    "10.2.2.2",
    "no further than it can be read",
  );
  assert.is(from(trusted, "11.1.1.1", "1.2.3.4"), "11.1.1.1");
});

test("of several schemes and hosts the nearest proxy's counts", () => {
  const { secure, host } = read(["10.0.0.1"], "10.0.0.1", {
    host: "inner",
    "x-forwarded-proto": "https, http",
    "x-forwarded-host": "forged.example, real.example",
  });
  assert.equal([secure, host], [false, "real.example"]);
});

test("what is neither address nor range is an error", () => {
  for (const text of [
    "",
    "proxy.example",
    "10.0.0.1/33",
    "10.0.0.0/x",
    "10.0.0.0/8/8",
    "::1/129",
    "300.1.1.1",
  ])
    assert.throws(() => new Proxies([text]), /neither an address nor a range/, text);
});

test("a proxy that is listed decides which host and page it is, and the connection has the client's address", async () => {
  const listen = { trustedProxies: ["127.0.0.1"], allowedHosts: ["chat.example"] };
  const server = await Server.start({ listen });
  const open = (headers: Record<string, string>): Promise<Peer> =>
    Peer.open(server.url, ["haulout.v1.json"], { headers });
  const forwarded = {
    "x-forwarded-host": "chat.example",
    "x-forwarded-proto": "https",
    "x-forwarded-for": "1.2.3.4",
  };
  await open({ ...forwarded, origin: "https://chat.example" });
  assert.is(server.only.address, "1.2.3.4");
  await assert.rejects(open({ ...forwarded, origin: "http://chat.example" }), /403/);
  await assert.rejects(open({ ...forwarded, origin: "https://evil.example" }), /403/);
  await assert.rejects(open({ ...forwarded, "x-forwarded-host": "evil.example" }), /403/);
  await server.stop();

  const direct = await Server.start({ listen: { allowedHosts: ["chat.example"] } });
  await assert.rejects(
    Peer.open(direct.url, ["haulout.v1.json"], { headers: { ...forwarded, origin: "https://chat.example" } }),
    /403/,
  );
  await direct.stop();
});

test("with a base path everything is behind it, and nothing anywhere else", async () => {
  const server = await Server.start({ listen: { basePath: "/haul.out" } });
  const http = `http://127.0.0.1:${server.port}`;
  await Peer.greeted(server.url.replace("/ws", "/haul.out/ws?x=1"));
  for (const path of ["/ws", "/haul.outws", "/haul.out/ws/", "/haul.out//ws", "/haul-out/ws", "/haul.out"])
    await assert.rejects(Peer.open(server.url.replace("/ws", path)), /404/);
  const seen: string[] = [];
  server.plain = (request, response) => {
    seen.push(request.url ?? "");
    response.end();
  };
  for (const path of [
    "/haul.out",
    "/haul.out/",
    "/haul.out?a=1",
    "/haul.out/healthz?b",
    "/healthz",
    "/haul.outer/x",
  ])
    await fetch(http + path);
  assert.equal(seen, ["/", "/", "/?a=1", "/healthz?b", "", ""]);
  await server.stop();
});

test.run();
