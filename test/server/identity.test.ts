/**
 * Who is who on a whole server: tickets and metrics over HTTP, a program's own check, TLS, and the client library that
 * keeps its token fresh by itself. The server and its clients are real; only clocks of tokens are short.
 */
import { copyFileSync, writeFileSync } from "node:fs";
import { get } from "node:https";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { WebSocket } from "ws";
import { connect, type Client } from "../../client/index.ts";
import { silentLog } from "../../server/observe/log.ts";
import { ConfigError } from "../../server/config.ts";
import { findProblems, startServer, type HauloutServer, type ServerOptions } from "../../server/server.ts";
import { temporaryDirectory } from "../support/process.ts";
import { assert, suite } from "../support/suite.ts";
import { until } from "../support/wait.ts";
import { Wire, type Frame } from "../support/wire.ts";
import { SECRET, sign } from "./auth/issuer.ts";
import { CERTIFICATES } from "./auth/certificates.ts";

const test = suite("identity");
const started: HauloutServer[] = [];
const clients: Client[] = [];
test.after.each(async () => {
  for (const client of clients.splice(0)) client.close();
  for (const server of started.splice(0)) await server.stop();
});

async function start(options: ServerOptions = {}): Promise<HauloutServer> {
  const server = await startServer({ port: 0, store: "memory", log: silentLog(), ...options });
  started.push(server);
  return server;
}

const wsUrl = ({ url }: HauloutServer): string => `${url.replace("http", "ws")}/ws`;

const TOKENS = [
  { token: "of-ann", user: "ann", name: "Ann" },
  { token: "of-bob", user: "bob", rights: ["watch"] },
  { token: "of-root", user: "root", rights: ["admin"] },
];
const LIST: ServerOptions = { auth: { mode: "token", tokens: TOKENS } };

function ticketOf(
  { url }: HauloutServer,
  token: string | undefined,
  headers: Record<string, string> = {},
  method = "POST",
): Promise<Response> {
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
  return fetch(`${url}/ticket`, { method, headers: { ...authorization, ...headers } });
}

test("a page shows a ticket in place of a token, once", async () => {
  const server = await start(LIST);
  const response = await ticketOf(server, "of-ann");
  const { ticket, expiresAt, ...rest } = (await response.json()) as Frame;
  assert.equal([response.status, response.headers.get("cache-control"), rest], [200, "no-store", {}]);
  assert.ok(expiresAt > Date.now() && expiresAt <= Date.now() + 30_000);
  const wire = await Wire.connect(wsUrl(server), { token: ticket });
  assert.equal(wire.welcome["user"], { id: "ann", name: "Ann" });
  const replay = await Wire.open(wsUrl(server));
  await assert.rejects(replay.hello({ token: ticket }), /unauthenticated/);
  assert.is((await replay.closed).code, 4400);
  await wire.close();
});

test("a ticket is for whoever shows a token, and for nobody else", async () => {
  const server = await start(LIST);
  const { ticket } = (await (await ticketOf(server, "of-ann")).json()) as Frame;
  for (const token of [undefined, "wrong", "", ticket as string, "x".repeat(9000), "two words"]) {
    const response = await ticketOf(server, token);
    assert.equal(
      [response.status, response.headers.get("www-authenticate"), await response.json()],
      [401, "Bearer", { error: "unauthenticated" }],
    );
  }
  assert.is((await ticketOf(server, "of-ann", {}, "GET")).status, 405);
  const open = await start();
  assert.is((await ticketOf(open, "any")).status, 404, "without authentication there are none");
  for (let at = 0; at < 31; at++) assert.is((await ticketOf(server, "of-ann")).status, 200);
  const full = await ticketOf(server, "of-ann");
  assert.equal([full.status, full.headers.get("retry-after")], [429, "30"]);
  assert.is((await ticketOf(server, "of-bob")).status, 200, "others are not kept from theirs");
});

test("pages of allowed origins may ask for tickets, others may not and read nothing", async () => {
  const server = await start({ ...LIST, allowedOrigins: ["https://app.example"] });
  const origin = "https://app.example";
  const preflight = await ticketOf(server, undefined, { origin }, "OPTIONS");
  assert.is(preflight.status, 204);
  assert.equal(
    ["origin", "methods", "headers", "credentials"].map((name) =>
      preflight.headers.get(`access-control-allow-${name}`),
    ),
    [origin, "POST", "authorization", null],
  );
  const answer = await ticketOf(server, "of-ann", { origin });
  assert.equal(
    [answer.status, answer.headers.get("access-control-allow-origin"), answer.headers.get("vary")],
    [200, origin, "origin"],
  );
  for (const foreign of ["https://evil.example", "null"]) {
    for (const method of ["POST", "OPTIONS"]) {
      const refused = await ticketOf(server, "of-ann", { origin: foreign }, method);
      assert.equal([refused.status, refused.headers.get("access-control-allow-origin")], [403, null]);
    }
  }
});

test("metrics are for those who may watch, for everybody without authentication or if it is said", async () => {
  const read = async ({ url }: HauloutServer, token?: string): Promise<number> =>
    (
      await fetch(
        `${url}/metrics`,
        token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } },
      )
    ).status;
  const server = await start(LIST);
  for (const [token, status] of [
    [undefined, 401],
    ["wrong", 401],
    ["of-ann", 403],
    ["of-bob", 200],
    ["of-root", 200],
  ] as const)
    assert.is(await read(server, token), status, token);
  assert.is((await fetch(`${server.url}/readyz`)).status, 200);
  assert.is(await read(await start()), 200);
  assert.is(await read(await start({ ...LIST, openMetrics: true })), 200);
});

test("what a frame says of its sender is not believed", async () => {
  const server = await start(LIST);
  const wire = await Wire.connect(wsUrl(server), { token: "of-ann", user: { id: "root" } });
  const forged = {
    actor: { kind: "system", id: "root", name: "root", verified: true },
    user: "root",
    owner: "root",
  };
  const { session } = await wire.ok("createSession", { agent: "demo", ...forged });
  await wire.ok("attach", { session, after: { epoch: 0, seq: 0 } });
  await wire.ok("send", { session, key: "k", content: "hello", ...forged });
  const created = await wire.event("session-created");
  assert.is((created["event"] as Frame)["owner"], "ann");
  const ann = { kind: "user", id: "ann", name: "Ann", verified: true };
  assert.equal([created["actor"], (await wire.event("input-queued"))["actor"]], [ann, ann]);
});

test("who loses the right to read by a new token is detached at once", async () => {
  const server = await start({
    authenticate: (_, { token = "" }) => ({ id: "root", rights: token.split(" ") }),
  });
  const ann = await server.runtime.createSession("demo", "ann");
  const root = await Wire.connect(wsUrl(server), { token: "admin" });
  await root.ok("attach", { session: ann });
  await root.frame("live");
  await root.ok("refreshToken", { token: "create:*" });
  const detached = await root.frame("detached");
  assert.equal([detached["session"], detached["reason"]], [ann, "forbidden"]);
  assert.is((await root.refused("history", { session: ann }))["code"], "not-found");
  await server.runtime.sendTo(ann, "a secret", "ann");
  await root.ok("refreshToken", { token: "admin" });
  assert.not.match(JSON.stringify(root.received.map(({ frame }) => frame)), /a secret/);
  assert.is(((await root.ok("history", { session: ann }))["items"] as Frame[]).length, 2);
});

test("the client library answers for its token by itself, and stays attached beyond the first one's end", async () => {
  const server = await start({
    auth: { mode: "jwt", jwt: { secret: SECRET, clockSkewMs: 0 } },
    connections: { authGraceMs: 100, wheel: { tickMs: 20 } },
  });
  let asked = 0;
  const client = connect({
    url: wsUrl(server),
    token: () => sign(SECRET, { lasts: ++asked === 1 ? 2 : 600 }),
  });
  clients.push(client);
  const { session } = await client.createSession({ agent: "demo" });
  const chat = await client.attach(session);
  const states: string[] = [];
  client.on("status", ({ state }) => states.push(state));
  const [connection] = server.connections;
  const first = connection!.identity!.expiresAt!;
  await until(() => connection!.identity!.expiresAt! > first, 5000, "the second token");
  await until(() => Date.now() > first + 200, 5000, "the first one's end");
  assert.match((await chat.ask("hello")).text!, /hello/);
  assert.equal([asked, states, server.connections.size], [2, [], 1]);
});

test("a client whose token was not renewed in time comes back with a new one; with a fixed one it stops", async () => {
  const server = await start({
    auth: { mode: "jwt", jwt: { secret: SECRET, clockSkewMs: 0 } },
    connections: { authGraceMs: 50, wheel: { tickMs: 20 } },
  });
  let asked = 0;
  const token = async (): Promise<string> => {
    asked++;
    if (asked === 2) throw new Error("the issuer is away");
    return sign(SECRET, { lasts: asked === 1 ? 2 : 600 });
  };
  const client = connect({ url: wsUrl(server), token, backoff: { firstMs: 10, minMs: 5, baseMs: 10 } });
  const fixed = connect({ url: wsUrl(server), token: await sign(SECRET, { lasts: 2 }) });
  clients.push(client, fixed);
  await Promise.all([client.online(), fixed.online()]);
  await until(() => fixed.status.state === "closed", 6000, "the end of the fixed one");
  assert.match(fixed.status.reason!, /expired/);
  await until(() => asked === 3 && client.status.state === "online", 6000, "the return");
  await client.listAgents();
});

test("a client that shows a token which has expired asks for another instead of giving up", async () => {
  const server = await start({ auth: { mode: "jwt", jwt: { secret: SECRET } } });
  let asked = 0;
  const token = (): Promise<string> => sign(SECRET, { lasts: ++asked === 1 ? -100 : 100 });
  const client = connect({ url: wsUrl(server), token, backoff: { firstMs: 10, minMs: 5, baseMs: 10 } });
  clients.push(client);
  await client.online();
  assert.is(asked, 2);
});

test("a program's own check lets in whom it names, over HTTP too", async () => {
  const server = await start({
    authenticate: async ({ headers }, { token }) => {
      if (headers.cookie === "sid=ann") return { id: "ann" };
      if (token === "of-bob") return { id: "bob", rights: ["watch"] };
      throw new Error("nobody");
    },
  });
  const byCookie = await Wire.connect(wsUrl(server), { socket: { headers: { cookie: "sid=ann" } } });
  assert.is((byCookie.welcome["user"] as Frame)["id"], "ann");
  const { ticket } = (await (await ticketOf(server, undefined, { cookie: "sid=ann" })).json()) as Frame;
  const byTicket = await Wire.connect(wsUrl(server), { token: ticket });
  assert.is((byTicket.welcome["user"] as Frame)["id"], "ann");
  const nobody = await Wire.open(wsUrl(server));
  await assert.rejects(nobody.hello({ token: "of-eve" }), /unauthenticated/);
  assert.is((await ticketOf(server, "of-eve")).status, 401);
  const metrics = { headers: { authorization: "Bearer of-bob" } };
  assert.is((await fetch(`${server.url}/metrics`, metrics)).status, 200);
});

test("outward it binds with tokens, with a check of its own, or when somebody says so", () => {
  const host = "0.0.0.0";
  assert.is(findProblems({ host }).length, 1);
  assert.is(findProblems({ host, auth: { mode: "none" } }).length, 1);
  assert.equal(findProblems({ host, auth: { mode: "none", open: true } }), []);
  assert.equal(findProblems({ host, auth: { mode: "jwt", jwt: { secret: SECRET } } }), []);
  assert.equal(findProblems({ host, authenticate: () => undefined }), []);
  const [both] = findProblems({ ...LIST, authenticate: () => undefined });
  assert.match(both!, /^auth: of no use beside/);
  const problems = findProblems({
    auth: { mode: "jwt", jwt: { secret: "short" } },
    tls: { cert: "/nowhere", key: "/nowhere" },
    trustedProxies: ["proxy"],
  });
  assert.equal(
    problems.map((line) => line.split(":", 1)[0]),
    ["auth", "tls", "trustedProxies"],
  );
});

test("serves https: and wss: with a certificate, and takes another one without a restart", async () => {
  const folder = temporaryDirectory();
  const files = { cert: join(folder, "chain.pem"), key: join(folder, "key.pem") };
  const put = (which: keyof typeof CERTIFICATES): void => {
    writeFileSync(files.cert, CERTIFICATES[which].cert);
    writeFileSync(files.key, CERTIFICATES[which].key);
  };
  put("one");
  const server = await start({ ...LIST, tls: files, basePath: "/haulout" });
  assert.match(server.url, /^https:\/\/127\.0\.0\.1:\d+\/haulout$/);
  const ca = [CERTIFICATES.one.cert, CERTIFICATES.two.cert];
  const served = (): Promise<[number, string]> =>
    new Promise((resolve, reject) => {
      const request = get(`${server.url}/healthz`, { ca, agent: false }, (response) => {
        response.resume();
        resolve([
          response.statusCode!,
          (response.socket as TLSSocket).getPeerCertificate().subject.CN as string,
        ]);
      });
      request.on("error", reject);
    });
  assert.equal(await served(), [200, "one.test"]);
  const wire = await Wire.connect(wsUrl(server), { token: "of-ann", socket: { ca } });
  put("two");
  server.reload({ ...LIST, tls: files });
  assert.equal(await served(), [200, "two.test"]);
  await wire.ok("listAgents");
  copyFileSync(files.cert, files.key);
  assert.throws(
    () => server.reload({ ...LIST, tls: files }),
    (error: Error) => error instanceof ConfigError && error.message.startsWith("tls: "),
  );
  assert.equal(await served(), [200, "two.test"]);
  const page = (origin: string): Promise<number> =>
    new Promise((resolve) => {
      const socket = new WebSocket(wsUrl(server), { ca, headers: { origin } });
      socket.on("open", () => resolve(101));
      socket.on("unexpected-response", (_, response) => resolve(response.statusCode!));
      socket.on("error", () => undefined);
    });
  assert.is(await page(`https://127.0.0.1:${server.port}`), 101);
  assert.is(await page(`http://127.0.0.1:${server.port}`), 403, "a page that came in clear");
});

test("a reload that cannot be is refused whole", async () => {
  const server = await start(LIST);
  const wire = await Wire.connect(wsUrl(server), { token: "of-ann" });
  for (const auth of [undefined, { mode: "none" }, { mode: "jwt", jwt: { secret: SECRET } }] as const)
    assert.throws(() => server.reload({ auth }), /takes a restart to change/);
  assert.throws(
    () => server.reload({ auth: { mode: "token", tokens: [{ user: "x" }] } }),
    /neither token nor sha256/,
  );
  await wire.ok("listAgents");
});

test.run();
