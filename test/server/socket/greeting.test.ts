/**
 * The first frame: what is welcomed, what is refused and with which close; tokens, users and rights; superseding.
 * Real sockets against the socket layer.
 */
import { createHash } from "node:crypto";
import { Authenticator } from "../../../server/auth/authenticator.ts";
import { allows, providerId } from "../../../server/auth/identity.ts";
import { assert, suite } from "../../support/suite.ts";
import { Peer, Server, type Frame } from "./harness.ts";

const test = suite("greeting");
let server: Server;
test.before.each(async () => (server = await Server.start()));
test.after.each(() => server.stop());

async function refusal(peer: Peer): Promise<{ error: Frame; disconnect: Frame; code: number }> {
  const error = await peer.next();
  const disconnect = await peer.next();
  assert.is(error["type"], "error");
  assert.is(disconnect["type"], "disconnect");
  const { code, reason } = await peer.closed;
  assert.is(disconnect["code"], code);
  assert.match(reason, /^[a-z-]+$/);
  return { error, disconnect, code };
}

for (const protocol of ["haulout.v1.msgpack", "haulout.v1.json"]) {
  test(`welcomes a hello in ${protocol}`, async () => {
    const peer = await Peer.open(server.url, [protocol]);
    assert.is(peer.socket.protocol, protocol);
    peer.send({ type: "hello", id: 7, protocol: 1, user: { id: "ann", name: "Ann" } });
    const welcome = await peer.next();
    assert.equal(
      { ...welcome, connection: "" },
      {
        type: "welcome",
        id: 7,
        protocol: 1,
        connection: "",
        user: { id: "ann", name: "Ann" },
        node: "test",
        pingMs: 25_000,
        limits: { maxFrame: 1_048_576, maxInFlight: 32, maxPayload: 786_432, maxQueue: 64 },
        features: [],
      },
    );
    assert.is(welcome["connection"], server.only.id);
    assert.equal(server.only.identity?.actor, { kind: "user", id: "ann", name: "Ann", verified: false });
  });
}

test("picks the first subprotocol of the client's list that it knows", async () => {
  const peer = await Peer.open(server.url, ["else", "haulout.v1.json", "haulout.v1.msgpack"]);
  assert.is(peer.socket.protocol, "haulout.v1.json");
});

test("without a subprotocol the first message's kind decides, and the other kind is a bad frame", async () => {
  const text = await Peer.open(server.url, []);
  assert.is(text.socket.protocol, "");
  text.socket.send('{"type":"hello","protocol":1}');
  assert.is((await text.next())["type"], "welcome");
  text.socket.send(Buffer.from([0x80]));
  assert.is((await text.next())["code"], "bad-frame");

  const binary = await Peer.open(server.url, []);
  // {"type":"hello","protocol":1}
  binary.socket.send(Buffer.from("82a474797065a568656c6c6fa870726f746f636f6c01", "hex"));
  assert.is((await binary.next())["type"], "welcome");
  assert.equal(
    [...server.connections].map((connection) => connection.encoding),
    ["json", "msgpack"],
  );
});

test("a client that offers only other subprotocols is accepted without one", async () => {
  // The ws client, as browsers do, gives up because none was chosen; what counts is that it was not refused in HTTP.
  await assert.rejects(Peer.open(server.url, ["haulout.v9.json"]), /no subprotocol/);
});

test("a message of the wrong kind before hello ends with 4500", async () => {
  const peer = await Peer.open(server.url, ["haulout.v1.msgpack"]);
  peer.socket.send("hello?");
  const { error, code } = await refusal(peer);
  assert.is(error["code"], "bad-frame");
  assert.is(code, 4500);
});

const wrongFirst: Record<string, { message: string; error: string; code: number; id?: number }> = {
  "text that is no JSON": { message: "hi", error: "bad-frame", code: 4500 },
  "an empty message": { message: "", error: "bad-frame", code: 4500 },
  "another frame": { message: '{"type":"listAgents","id":3}', error: "hello-required", code: 4500, id: 3 },
  "an unknown frame": { message: '{"type":"salut"}', error: "hello-required", code: 4500 },
  "a hello of another version": {
    message: '{"type":"hello","id":4,"protocol":2,"client":"new shape"}',
    error: "unsupported-protocol",
    code: 4503,
    id: 4,
  },
  "a hello without version": { message: '{"type":"hello","id":5}', error: "bad-frame", code: 4500, id: 5 },
  "two frames": {
    message: '{"type":"hello","protocol":1}\n{"type":"pong"}',
    error: "bad-frame",
    code: 4500,
  },
  "a hello over 16 KiB": {
    message: JSON.stringify({ type: "hello", protocol: 1, padding: "x".repeat(16 * 1024) }),
    error: "too-large",
    code: 4500,
  },
};
for (const [what, { message, error, code, id }] of Object.entries(wrongFirst)) {
  test(`refuses ${what} as the first message with ${error} and ${code}`, async () => {
    const peer = await Peer.open(server.url);
    peer.socket.send(message);
    const seen = await refusal(peer);
    assert.is(seen.error["code"], error);
    assert.is(seen.error["id"], id);
    assert.is(seen.code, code);
    assert.is(seen.disconnect["reconnect"], false);
    assert.is(server.connections.size, 0);
    assert.equal(server.gone, []);
  });
}

test("closes with 4106 when no hello comes", async () => {
  const impatient = await Server.start({ helloTimeoutMs: 20, wheel: { tickMs: 5 } });
  const peer = await Peer.open(impatient.url);
  assert.is((await peer.next())["code"], 4106);
  assert.equal(await peer.closed, { code: 4106, reason: "hello-timeout" });
  await impatient.stop();
});

test("a second hello is a bad frame", async () => {
  const peer = await Peer.greeted(server.url);
  peer.send({ type: "hello", id: 9, protocol: 1 });
  const error = await peer.next();
  assert.equal([error["code"], error["id"]], ["bad-frame", 9]);
});

test("mode token takes plain and hashed tokens, and the user comes from the token", async () => {
  const sha256 = createHash("sha256").update("second").digest("hex");
  const strict = await Server.start({
    auth: {
      mode: "token",
      tokens: [
        { token: "first", user: "ann", name: "Ann", rights: ["admin"] },
        { sha256, user: "bob" },
      ],
    },
  });
  const ann = await Peer.greeted(strict.url, { token: "first", user: { id: "mallory" } });
  assert.equal(strict.only.identity?.actor, { kind: "user", id: "ann", name: "Ann", verified: true });
  ann.close();
  await ann.closed;
  await Peer.greeted(strict.url, { token: "second" });
  const bob = [...strict.connections].at(-1)!;
  assert.equal(bob.identity?.user, { id: "bob", name: "bob" });
  assert.equal(bob.identity?.rights, ["create:*"]);
  for (const hello of [{}, { token: "third" }, { token: "" }, { token: sha256 }]) {
    const peer = await Peer.open(strict.url);
    peer.send({ type: "hello", id: 1, protocol: 1, ...hello });
    const { error, code } = await refusal(peer);
    assert.equal([error["code"], error["id"], code], ["unauthenticated", 1, 4501]);
  }
  await strict.stop();
});

test("a newer connection of the same user and instance supersedes the older at once", async () => {
  const old = await Peer.greeted(server.url, { instance: "page-1" });
  const first = server.only;
  const young = await Peer.greeted(server.url, { instance: "page-1" });
  const disconnect = await old.next();
  assert.equal(
    [disconnect["type"], disconnect["code"], disconnect["reconnect"]],
    ["disconnect", 4510, false],
  );
  assert.is((await old.closed).code, 4510);
  assert.equal(server.gone, [{ connection: first, successor: server.only }]);
  young.send({ type: "listAgents", id: 1 });
  assert.equal(await young.next(), { type: "ok", id: 1 });
});

test("neither another user nor a client without instance supersedes", async () => {
  await Peer.greeted(server.url, { instance: "page-1" });
  await Peer.greeted(server.url, { instance: "page-1", user: { id: "ann" } });
  await Peer.greeted(server.url);
  await Peer.greeted(server.url);
  assert.is(server.connections.size, 4);
  assert.is(new Set([...server.connections].map((connection) => connection.identity?.provider)).size, 4);
});

test("a provider id is the same for the same client, and tells users and instances apart", () => {
  assert.match(providerId("a", "b"), /^prv_[A-Za-z0-9_-]{26}$/);
  assert.is(providerId("a", "b"), providerId("a", "b"));
  assert.is.not(providerId("a", "bc"), providerId("ab", "c"));
});

test("rights match by glob, and admin includes all", () => {
  const has = (...rights: string[]): { rights: string[] } => ({ rights });
  assert.ok(allows(has("create:*"), "create", "demo"));
  assert.not(allows(has("create:*"), "provide", "demo"));
  assert.ok(allows(has("create:support-*-eu"), "create", "support-1-eu"));
  assert.not(allows(has("create:support-*-eu"), "create", "support-eu"));
  assert.ok(allows(has("provide:a*b*c"), "provide", "a-b-c"));
  assert.not(allows(has("provide:a*b*c"), "provide", "a-c-b"));
  assert.not(allows(has("provide:ab*bc"), "provide", "abc"));
  assert.ok(allows(has("provide:x"), "provide", "x"));
  assert.not(allows(has("provide:x"), "provide", "xy"));
  assert.not(allows(has("create:*"), "watch"));
  assert.ok(allows(has("watch"), "watch"));
  for (const kind of ["admin", "watch", "create", "provide"] as const)
    assert.ok(allows(has("admin"), kind, "x"));
});

test("a token without either form is refused when the server is built", () => {
  assert.throws(() => new Authenticator({ mode: "token", tokens: [{ user: "a" }] }));
  assert.throws(() => new Authenticator({ mode: "token", tokens: [{ user: "a", token: "" }] }));
  assert.throws(() => new Authenticator({ mode: "token", tokens: [{ user: "a", sha256: "xyz" }] }));
});

test.run();
