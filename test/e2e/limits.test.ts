/**
 * Limits as an operator sets them: each of `limits` in haulout.json reaches the part that enforces it. A real server, and
 * clients that go over each by one.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "../../client/index.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import { WireConnection, type Frame } from "../conformance/wire.ts";
import { ConfigError, loadConfig } from "../../server/config.ts";
import { temporaryDirectory } from "../support/process.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { until } from "../support/wait.ts";

const test = suite("limits of an operator");

let server: TestServer;
test.after(() => server.kill());

test.before(async () => {
  server = await TestServer.start({
    store: "memory",
    config: {
      auth: {
        mode: "token",
        tokens: ["ann", "bob", "cy", "dee", "eve", "fay"].map((user) => ({
          token: user,
          user,
          rights: ["create:*", "provide:*"],
        })),
      },
      limits: {
        maxConnectionsPerUser: 3,
        framesPerSecond: 200,
        frameBurst: 40,
        maxInFlight: 4,
        maxQueue: 1,
        maxRunsPerUser: 1,
        maxSessionsPerUser: 60,
        maxTools: 2,
        maxSchemaBytes: 1000,
        maxAttachments: 1,
        maxAttachmentBytes: 100,
      },
    },
  });
});

async function open(user: string): Promise<{ ask: (frame: object) => Promise<Frame>; wire: WireConnection }> {
  const wire = await WireConnection.open(server.url, "json", { hello: { token: user } });
  let id = 0;
  return { wire, ask: (frame) => wire.ask({ id: ++id, ...frame }) };
}

const limitOf = (answer: Frame): unknown => [
  answer["code"],
  (answer["details"] as Frame | undefined)?.["limit"],
];

test("an input has so many files and bytes of them", async () => {
  const { ask, wire } = await open("ann");
  const { session } = await ask({ type: "createSession", agent: "demo" });
  const file = { type: "file", mediaType: "text/plain", url: "data:text/plain,x" };
  const send = (content: unknown[], key: string) => ask({ type: "send", session, key, content });
  assert.is((await send([file], "fits"))["type"], "ok");
  assert.equal(limitOf(await send([file, file], "many")), ["too-large", "maxAttachments"]);
  const large = { ...file, url: `data:text/plain,${"x".repeat(100)}` };
  assert.equal(limitOf(await send([large], "large")), ["too-large", "maxAttachmentBytes"]);
  wire.terminate();
});

test("a user owns so many sessions", async () => {
  const client = connect({ url: server.url, token: "fay" });
  const create = async (): Promise<string> => (await client.createSession({ agent: "demo" })).session;
  const [one] = await Promise.all(Array.from({ length: 60 }, create));
  const { code, details } = await assert.rejects(create(), ProtocolError);
  assert.equal([code, details?.["limit"]], ["forbidden", "maxSessionsPerUser"]);
  await client.request("deleteSession", { session: one! });
  await create();
  client.close();
});

test("a provider offers so many tools and bytes of schemas, all its offers together", async () => {
  const { ask, wire } = await open("bob");
  const tool = (name: string, length = 1) => ({
    name,
    inputSchema: { type: "object", description: "x".repeat(length) },
  });
  const offer = (...tools: object[]) => ask({ type: "offerTools", tools });
  assert.equal((await offer(tool("one")))["accepted"], ["one"]);
  assert.equal((await offer(tool("one"), tool("two")))["accepted"], ["one", "two"]);
  assert.equal(limitOf(await offer(tool("three"))), ["too-large", "maxTools"]);
  await ask({ type: "withdrawTools", names: ["two"] });
  assert.equal(limitOf(await offer(tool("three", 1000))), ["too-large", "maxSchemaBytes"]);
  assert.equal((await offer(tool("three")))["accepted"], ["three"]);
  wire.terminate();
});

/** Schemas that cost whoever checks them: by name, with the code that refuses them. */
const HOSTILE: Readonly<Record<string, readonly [string, object]>> = {
  "back reference": ["bad-frame", { pattern: "(a+)+\\1$" }],
  lookahead: ["bad-frame", { properties: { a: { pattern: "^(?=(a+)+$)b" } } }],
  "repeats of repeats": ["bad-frame", { pattern: "((a{1000}){1000}){1000}" }],
  "pattern of names": ["bad-frame", { patternProperties: { "(?:x{0,900}){90}": {} } }],
  "far away": ["bad-frame", { $ref: "http://127.0.0.1:1/schema.json" }],
  "no schema": ["bad-frame", { type: "nothing" }],
  bytes: ["too-large", { description: "x".repeat(130 * 1024) }],
  items: ["too-large", { enum: Array.from({ length: 4_001 }, (_, n) => n) }],
};

test("a hostile schema is refused at the offer, wherever it stands in it, and nothing stays of the offer", async () => {
  const { ask, wire } = await open("eve");
  for (const [name, [code, schema]] of Object.entries(HOSTILE)) {
    const good = { name: "good", inputSchema: { type: "object" } };
    const approval = { mode: "when", when: schema };
    for (const bad of [{ inputSchema: schema }, { outputSchema: schema }, { approval }]) {
      const tools = [good, { ...good, name: "bad", ...bad }];
      const answer = await ask({ type: "offerTools", tools });
      assert.is(answer["code"], code, `${name} in ${Object.keys(bad)[0]}: ${JSON.stringify(answer)}`);
    }
  }
  const { items } = await ask({ type: "listTools" });
  assert.not(JSON.stringify(items).includes('"good"'));
  wire.terminate();
});

test("a hostile schema among an agent's approvals stops the start, and its place is named", () => {
  for (const [name, [, when]] of Object.entries(HOSTILE)) {
    const path = join(temporaryDirectory(), "haulout.json");
    const agents = [{ name: "a", approvals: { "*": { mode: "when", when } } }];
    writeFileSync(path, JSON.stringify({ agents }));
    try {
      loadConfig({ env: { HAULOUT_CONFIG: path } });
      assert.unreachable(`${name} is taken`);
    } catch (error) {
      assert.instance(error, ConfigError, name);
      assert.match((error as ConfigError).problems.join(), /agents\[0\]\.approvals.*when/, name);
    }
  }
});

test("a user has so many connections and open runs, a session so many inputs that wait", async () => {
  const peers = [await open("cy"), await open("cy"), await open("cy")];
  const fourth = await WireConnection.open(server.url, "json", { hello: false });
  fourth.send({ type: "hello", id: 1, protocol: 1, token: "cy" });
  assert.is((await fourth.take((frame) => frame["type"] === "error"))["code"], "rate-limited");
  assert.is(await fourth.closed(), 4104);
  const { ask } = peers[0]!;
  const sessions: unknown[] = [];
  for (let at = 0; at < 2; at++)
    sessions.push((await ask({ type: "createSession", agent: "demo" }))["session"]);
  const content = JSON.stringify({ script: [{ stall: 60_000 }] });
  for (const session of sessions) await ask({ type: "send", session, key: "first", content });
  const infos = async (): Promise<unknown[]> =>
    ((await ask({ type: "listSessions" }))["items"] as Frame[]).map((info) => [
      info["state"],
      info["queued"],
    ]);
  await until(async () => JSON.stringify(await infos()).includes("running"), 5000, "a run");
  assert.equal(new Set((await infos()).map(String)), new Set(["idle,1", "running,0"]));
  const full = await ask({ type: "send", session: sessions[1], key: "second", content });
  assert.is(full["code"], "queue-full");
  for (const { wire } of peers) wire.terminate();
});

test("the client library goes over no rate for long: all that it was asked for is done", async () => {
  const client = connect({ url: server.url, token: "dee" });
  const ids = await Promise.all(
    Array.from({ length: 60 }, () => client.createSession({ agent: "demo" }).then(({ session }) => session)),
  );
  assert.is(new Set(ids).size, 60);
  client.close();
});

test.run();
