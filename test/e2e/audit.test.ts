/**
 * The audit log of a real server: who was not let in, who gave rights, deleted, was refused; a line each, without a secret
 * and without what was said.
 */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { WireConnection, type Frame } from "../conformance/wire.ts";
import { temporaryDirectory } from "../support/process.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";

const test = suite("audit log");

test("it tells of refusals, grants, revocations and deletions, and of nothing else", async () => {
  const auditLog = join(temporaryDirectory(), "audit.jsonl");
  const tokens = [
    { token: "secret-of-ann", user: "ann" },
    { token: "secret-of-bob", user: "bob" },
  ];
  const server = await TestServer.start({
    store: "memory",
    config: { auditLog, auth: { mode: "token", tokens } },
  });
  const ann = await WireConnection.open(server.url, "json", { hello: { token: "secret-of-ann" } });
  const bob = await WireConnection.open(server.url, "json", { hello: { token: "secret-of-bob" } });
  const stranger = await WireConnection.open(server.url, "json", { hello: false });
  stranger.send({ type: "hello", protocol: 1, token: "wrong-secret" });
  assert.is(await stranger.closed(), 4501);
  assert.is((await fetch(`${server.http}/ticket`, { method: "POST" })).status, 401);
  let id = 0;
  const ask = (frame: object): Promise<Frame> => ann.ask({ id: ++id, ...frame });
  const { session } = await ask({ type: "createSession", agent: "demo", title: "a-secret-title" });
  await ask({ type: "send", session, key: "k", content: "what-was-said" });
  await ask({ type: "grant", session, user: "bob", role: "viewer" });
  const refused = await bob.ask({ type: "deleteSession", id: 1, session });
  assert.is(refused["code"], "forbidden");
  await ask({ type: "revoke", session, user: "bob" });
  await ask({ type: "deleteSession", session });
  await server.stop();
  const text = readFileSync(auditLog, "utf8");
  const lines = text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.equal(
    lines.map(({ event, user, subject, role, outcome }) => [event, user, subject, role, outcome]),
    [
      ["hello", undefined, undefined, undefined, "unauthenticated"],
      ["http", undefined, undefined, undefined, "401"],
      ["grant", "ann", "bob", "viewer", "ok"],
      ["deleteSession", "bob", undefined, undefined, "forbidden"],
      ["revoke", "ann", "bob", undefined, "ok"],
      ["deleteSession", "ann", undefined, undefined, "ok"],
    ],
  );
  for (const line of lines) {
    assert.is(line["address"], "127.0.0.1");
    assert.match(line["time"] as string, /^\d{4}-/);
  }
  assert.not(/secret|what-was-said/.test(text), text);
  assert.is(statSync(auditLog).mode & 0o777, 0o600);
});

test.run();
