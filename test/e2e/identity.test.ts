/**
 * Identity on a server process: settings that change while it runs, by SIGHUP and by their file, the defences of the door,
 * and that no token and no ticket stands in what it prints.
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TestServer } from "../support/server.ts";
import { spawnNode, temporaryDirectory } from "../support/process.ts";
import { compiled } from "../support/root.ts";
import { assert, suite } from "../support/suite.ts";
import { until } from "../support/wait.ts";
import { Wire } from "../support/wire.ts";
import { SECRET, sign } from "../server/auth/issuer.ts";

const test = suite("identity");
const ANN = { token: "secret-of-ann-1" };
const BOB = { token: "secret-of-bob-1" };
const path = join(temporaryDirectory(), "haulout.json");
let server: TestServer;

function put(known: readonly { readonly token: string }[], more: object = {}): void {
  const tokens = known.map(({ token }) => ({ token, user: token.split("-")[2] }));
  const content = { auth: { mode: "jwt", jwt: { secret: SECRET }, tokens, ...more }, basePath: "/base" };
  // As an editor or a mounted volume does it: another file in its place.
  writeFileSync(`${path}.new`, JSON.stringify(content));
  renameSync(`${path}.new`, path);
}

test.before(async () => {
  put([ANN, BOB]);
  server = await TestServer.start({ store: "memory", env: { HAULOUT_CONFIG: path, HAULOUT_LOG: "info" } });
});
test.after(() => server.kill());

test("a token that leaves the file closes its connections, and the others go on", async () => {
  const [ann, bob] = [await Wire.connect(server.url, ANN), await Wire.connect(server.url, BOB)];
  const signed = await Wire.connect(server.url, { token: await sign(SECRET) });
  put([BOB]);
  assert.equal(await ann.closed, { code: 4401, reason: "token-revoked" });
  await bob.ok("listAgents");
  await signed.ok("listAgents");
  const again = await Wire.open(server.url);
  await assert.rejects(again.hello(ANN), /unauthenticated/);
  assert.is((await again.closed).code, 4501);
  put([ANN, BOB]);
  const back = await until(() => Wire.connect(server.url, ANN), 5000, "the token to count again");
  for (const wire of [back, bob, signed]) await wire.close();
});

test("SIGHUP reads the settings at once, and a file that is wrong changes nothing", async () => {
  const [ann, bob] = [await Wire.connect(server.url, ANN), await Wire.connect(server.url, BOB)];
  const said = (words: string): number => server.process.stderr.filter((line) => line.includes(words)).length;
  const before = said("settings are not taken");
  writeFileSync(path, '{"auth": {"mode": "token", "tokens": [{"token": "secret-of-eve-1" "user"');
  server.process.kill("SIGHUP");
  await until(() => said("settings are not taken") > before, 5000, "the complaint");
  put([ANN, BOB], { mode: "token" });
  await until(() => said("needed with mode jwt") > 0, 5000, "the second complaint");
  await ann.ok("listAgents");
  const read = said("settings were read again");
  put([ANN]);
  server.process.kill("SIGHUP");
  await until(() => said("settings were read again") > read, 5000, "the settings to be read");
  assert.is((await bob.closed).code, 4401);
  await ann.ok("listAgents");
  await ann.close();
});

test("a page of another site, and a name that was made to point here, do not get in, whatever they show", async () => {
  const port = server.port;
  const attempt = (headers: Record<string, string>): Promise<Wire> =>
    Wire.connect(server.url, { ...ANN, socket: { headers } });
  for (const headers of [
    { origin: "https://evil.example" },
    { origin: `http://rebound.example:${port}`, host: `rebound.example:${port}` },
    { host: `rebound.example:${port}` },
    {
      origin: `http://rebound.example:${port}`,
      host: `127.0.0.1:${port}`,
      "x-forwarded-host": `rebound.example:${port}`,
    },
  ])
    await assert.rejects(attempt(headers), /403/);
  for (const route of ["/ticket", "/metrics"]) {
    const page = { origin: "https://evil.example", authorization: `Bearer ${ANN.token}` };
    const response = await fetch(server.http + route, {
      method: route === "/ticket" ? "POST" : "GET",
      headers: page,
    });
    assert.is(response.headers.get("access-control-allow-origin"), null);
  }
  await (await attempt({ origin: `http://127.0.0.1:${port}` })).close();
});

test("a command asks another one for its token, for each connection", async () => {
  const file = join(temporaryDirectory(), "asked");
  const command = `echo x >> ${file}; echo ${ANN.token}`;
  const env = { HAULOUT_URL: server.url };
  const listing = spawnNode([compiled("server/main.ts"), "sessions", "--token-command", command], { env });
  assert.is((await listing.exited).code, 0, listing.stderr.join("\n"));
  assert.is(readFileSync(file, "utf8"), "x\n");
  const wrong = spawnNode([compiled("server/main.ts"), "sessions", "--token-command", "echo wrong"], { env });
  assert.is((await wrong.exited).code, 1);
  assert.match(wrong.stderr.join("\n"), /unauthenticated: the token is not valid/);
});

test("neither token nor ticket stands in what the server prints", async () => {
  const headers = { authorization: `Bearer ${ANN.token}` };
  const { ticket } = (await (await fetch(`${server.http}/ticket`, { method: "POST", headers })).json()) as {
    ticket: string;
  };
  await (await Wire.connect(server.url, { token: ticket })).close();
  const jwt = await sign(SECRET);
  await (await Wire.connect(server.url, { token: jwt })).close();
  const guess = await Wire.open(server.url);
  await assert.rejects(guess.hello({ token: "a-guess-of-mallory" }), /unauthenticated/);
  const all = [...server.process.stdout, ...server.process.stderr].join("\n");
  for (const secret of [ANN.token, BOB.token, "secret-of-eve-1", SECRET, ticket, jwt, "a-guess-of-mallory"])
    assert.not(all.includes(secret), secret);
});

test.run();
