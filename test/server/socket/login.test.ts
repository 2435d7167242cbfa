/**
 * A login on an open connection: what is held while it is looked at, how it expires and is renewed, what becomes of it
 * when the settings change, and that neither an instance nor a refresh makes one user of another. Real sockets; the
 * clock by which tokens expire is the test's.
 */
import { ProtocolError } from "../../../protocol/errors.ts";
import type { AuthenticatedUser } from "../../../server/auth/custom.ts";
import type { ClientRequest, Hello } from "../../../server/auth/method.ts";
import { assert, suite } from "../../support/suite.ts";
import { deferred, until } from "../../support/wait.ts";
import { Peer, Server, type Frame, type HarnessOptions } from "./harness.ts";

const test = suite("login");
const QUICK = { wheel: { tickMs: 5, slots: 8 } };
let now: number;
const servers: Server[] = [];
test.before.each(() => void (now = 1_000_000));
test.after.each(async () => {
  for (const server of servers.splice(0)) await server.stop();
});

async function start(options: HarnessOptions): Promise<Server> {
  const server = await Server.start({ ...QUICK, wallClock: () => now, ...options });
  servers.push(server);
  return server;
}

type Check = (
  request: ClientRequest,
  hello: Hello,
) => AuthenticatedUser | undefined | Promise<AuthenticatedUser>;

const custom = (authenticate: Check, failed?: (error: unknown) => void): HarnessOptions => ({
  auth: { mode: "custom", authenticate, ...(failed === undefined ? {} : { failed }) },
});

/** Tokens like `ann 60`: a user, and how many seconds it lasts; more words are rights. */
const spoken: Check = (_, { token = "" }) => {
  const [id = "", lasts = "", ...rights] = token.split(" ");
  if (id === "") return undefined;
  return { id, rights, ...(lasts === "" ? {} : { expiresAt: now + Number(lasts) * 1000 }) };
};

async function ask(peer: Peer, frame: Frame): Promise<Frame> {
  peer.send(frame);
  for (;;) {
    const answer = await peer.next();
    if (answer["id"] === frame["id"]) return answer;
  }
}

async function refused(peer: Peer): Promise<{ error: Frame; code: number; reconnect: boolean }> {
  const error = await peer.next();
  const { reconnect } = await peer.next();
  return { error, code: (await peer.closed).code, reconnect: reconnect as boolean };
}

test("what comes while a hello is looked at is held, in order, and none of it is lost", async () => {
  const gate = deferred();
  const server = await start(
    custom(async () => {
      await gate.promise;
      return { id: "ann" };
    }),
  );
  for (const protocol of ["haulout.v1.json", "haulout.v1.msgpack"]) {
    const peer = await Peer.open(server.url, [protocol]);
    const before = server.frames.length;
    peer.send({ type: "hello", id: 0, protocol: 1 });
    for (let id = 1; id <= 20; id++)
      peer.send({ type: "listAgents", id }, { type: "listAgents", id: id + 100 });
    await until(() => server.connections.size > 0, 1000, "the connection");
    assert.is(server.frames.length, before, "nothing is handled without an identity");
    gate.resolve();
    assert.is((await peer.next())["type"], "welcome");
    const ids: number[] = [];
    while (ids.length < 40) ids.push((await peer.next())["id"] as number);
    assert.equal(
      ids,
      Array.from({ length: 40 }, (_, at) => Math.floor(at / 2) + 1 + (at % 2) * 100),
    );
    peer.close();
  }
});

test("a check that takes longer than a hello may ends with 4106, and what it answers late changes nothing", async () => {
  const gate = deferred<AuthenticatedUser>();
  const server = await start({ ...custom(() => gate.promise), helloTimeoutMs: 30 });
  const peer = await Peer.open(server.url);
  peer.send({ type: "hello", protocol: 1 });
  peer.send({ type: "listAgents", id: 1 });
  assert.equal([(await peer.next())["code"], (await peer.closed).code], [4106, 4106]);
  gate.resolve({ id: "ann" });
  await gate.promise;
  await Peer.open(server.url);
  assert.equal([server.frames.length, server.gone.length], [0, 0]);
  assert.equal(
    [...server.connections].map(({ identity }) => identity),
    [undefined],
  );
});

test("a program's check sees the request and the hello, and says who it is", async () => {
  const seen: [ClientRequest, Hello][] = [];
  const server = await start(
    custom((request, hello) => {
      seen.push([request, hello]);
      return { id: "ann", name: "Ann", rights: ["watch"] };
    }),
  );
  const peer = await Peer.open(`${server.url}?x=1`, ["haulout.v1.json"], { headers: { cookie: "sid=7" } });
  peer.send({ type: "hello", protocol: 1, token: "t", user: { id: "mallory" } });
  assert.equal((await peer.next())["user"], { id: "ann", name: "Ann" });
  const [{ address, url, headers, secure }, hello] = seen[0]!;
  assert.equal([address, url, headers.cookie, secure], ["127.0.0.1", "/ws?x=1", "sid=7", false]);
  assert.equal([hello.token, hello.user], ["t", { id: "mallory" }]);
  assert.equal(server.only.identity?.actor, { kind: "user", id: "ann", name: "Ann", verified: true });
  assert.equal(server.only.identity?.rights, ["watch"]);
});

const answers: Record<string, { check: Check; error: string; code: number; logged: boolean }> = {
  nobody: { check: () => undefined, error: "unauthenticated", code: 4501, logged: false },
  "an error": {
    check: () => Promise.reject(new Error("the database says secret")),
    error: "unauthenticated",
    code: 4501,
    logged: true,
  },
  "a user that cannot be one": {
    check: () => ({ id: "__proto__" }),
    error: "unauthenticated",
    code: 4501,
    logged: true,
  },
  "a right that is none": {
    check: () => ({ id: "a", rights: ["root"] }),
    error: "unauthenticated",
    code: 4501,
    logged: true,
  },
  "a user whose time is over": {
    check: () => ({ id: "a", expiresAt: 1 }),
    error: "unauthenticated",
    code: 4400,
    logged: false,
  },
  forbidden: {
    check: () => Promise.reject(new ProtocolError("forbidden", "not you")),
    error: "forbidden",
    code: 4502,
    logged: false,
  },
  "a reason to come back": {
    check: () => Promise.reject(new ProtocolError("unavailable", "later", { retryAfterMs: 50 })),
    error: "unavailable",
    code: 4101,
    logged: false,
  },
};
for (const [what, { check, error, code, logged }] of Object.entries(answers)) {
  test(`a check that answers ${what} ends with ${error} and ${code}`, async () => {
    const failures: unknown[] = [];
    const server = await start(custom(check, (failure) => failures.push(failure)));
    const peer = await Peer.open(server.url);
    peer.send({ type: "hello", id: 3, protocol: 1 });
    const seen = await refused(peer);
    assert.equal([seen.error["code"], seen.error["id"], seen.code], [error, 3, code]);
    assert.not.match(JSON.stringify(seen.error), /secret/);
    assert.is(seen.reconnect, code < 4500);
    assert.is(failures.length, logged ? 1 : 0);
    assert.is(server.connections.size, 0);
  });
}

test("at four fifths of its life a token is told to expire, once; 25 s after its end the connection is closed", async () => {
  const server = await start(custom(spoken));
  const peer = await Peer.greeted(server.url, { token: "ann 100" });
  now += 79_999;
  assert.is((await ask(peer, { type: "listAgents", id: 1 }))["type"], "ok");
  now += 1;
  assert.equal(await peer.next(), { type: "authExpiring", expiresAt: 1_100_000 });
  now = 1_124_999;
  assert.is((await ask(peer, { type: "listAgents", id: 2 }))["type"], "ok", "in its grace");
  now = 1_125_000;
  const disconnect = await peer.next();
  assert.equal([disconnect["type"], disconnect["code"], disconnect["reconnect"]], ["disconnect", 4400, true]);
  assert.equal(await peer.closed, { code: 4400, reason: "token-expired" });
  assert.is(server.gone.length, 1);
});

test("a new token of the same user takes the old one's place, with its rights and its own expiry", async () => {
  const server = await start(custom(spoken));
  const peer = await Peer.greeted(server.url, { token: "ann 100 watch", instance: "one" });
  const { provider } = server.only.identity!;
  now += 90_000;
  await peer.next();
  assert.is((await ask(peer, { type: "refreshToken", id: 1, token: "ann 1000 create:x" }))["type"], "ok");
  const { identity } = server.only;
  assert.equal([identity?.rights, identity?.provider, identity?.instance], [["create:x"], provider, "one"]);
  assert.equal(server.changed, [server.only]);
  now += 200_000;
  assert.is((await ask(peer, { type: "listAgents", id: 2 }))["type"], "ok", "beyond the first one's end");
  now += 600_000;
  assert.equal(await peer.next(), { type: "authExpiring", expiresAt: 2_090_000 });
});

test("a token of another user, and one that is not valid, change nothing", async () => {
  const server = await start(custom(spoken));
  const peer = await Peer.greeted(server.url, { token: "ann 100 watch" });
  const before = server.only.identity;
  for (const [token, code] of [
    ["bob 100 admin", "forbidden"],
    ["", "unauthenticated"],
    ["ann -5 admin", "unauthenticated"],
  ] as const) {
    const answer = await ask(peer, { type: "refreshToken", id: 1, token });
    assert.equal([answer["type"], answer["code"]], ["error", code], token);
  }
  assert.is(server.only.identity, before);
  assert.equal(server.changed, []);
  now += 200_000;
  assert.is((await peer.until("disconnect")).at(-1)!["code"], 4400, "the first one's end holds");
});

test("without authentication there is nothing to refresh, and nobody becomes another by it", async () => {
  const server = await start({});
  const peer = await Peer.greeted(server.url, { user: { id: "ann" } });
  assert.is((await ask(peer, { type: "refreshToken", id: 1, token: "any" }))["type"], "ok");
  assert.is(server.only.identity?.user.id, "ann");
});

const TOKENS = [
  { token: "a", user: "ann", rights: ["watch"] },
  { token: "b", user: "bob" },
];

test("a token that is taken back closes its connections with 4401, and no others", async () => {
  const server = await start({ auth: { mode: "token", tokens: TOKENS } });
  const [ann, bob] = [
    await Peer.greeted(server.url, { token: "a" }),
    await Peer.greeted(server.url, { token: "b" }),
  ];
  server.authenticator.reload({ mode: "token", tokens: TOKENS.slice(1) });
  server.connections.review();
  const disconnect = await ann.next();
  assert.equal([disconnect["code"], disconnect["reconnect"]], [4401, true]);
  assert.equal(await ann.closed, { code: 4401, reason: "token-revoked" });
  assert.is((await ask(bob, { type: "listAgents", id: 1 }))["type"], "ok");
  const again = await Peer.open(server.url);
  again.send({ type: "hello", protocol: 1, token: "a" });
  assert.is((await refused(again)).code, 4501);
});

test("a token that is rotated lets its user in by the new one alone", async () => {
  const server = await start({ auth: { mode: "token", tokens: TOKENS } });
  const old = await Peer.greeted(server.url, { token: "a", instance: "one" });
  server.authenticator.reload({ mode: "token", tokens: [{ token: "a2", user: "ann" }] });
  server.connections.review();
  assert.is((await old.closed).code, 4401);
  await Peer.greeted(server.url, { token: "a2", instance: "one" });
  assert.is(server.only.identity?.user.id, "ann");
});

test("a token with other rights keeps its connections, and they have them; with another user it does not", async () => {
  const server = await start({ auth: { mode: "token", tokens: TOKENS } });
  const ann = await Peer.greeted(server.url, { token: "a", instance: "one" });
  await Peer.greeted(server.url, { token: "b" });
  const [first] = server.connections;
  server.authenticator.reload({
    mode: "token",
    tokens: [
      { token: "a", user: "ann", name: "Ann", rights: ["create:x"] },
      { token: "b", user: "eve" },
    ],
  });
  server.connections.review();
  await until(() => server.connections.size === 1, 1000, "bob to be gone");
  assert.equal(
    [first!.identity?.rights, first!.identity?.user.name, first!.identity?.instance],
    [["create:x"], "Ann", "one"],
  );
  assert.equal(server.changed, [first]);
  assert.is((await ask(ann, { type: "listAgents", id: 1 }))["type"], "ok");
});

test("an instance that another user has stolen supersedes nothing and is another provider", async () => {
  const server = await start({ auth: { mode: "token", tokens: TOKENS } });
  const ann = await Peer.greeted(server.url, { token: "a", instance: "stolen" });
  await Peer.greeted(server.url, { token: "b", instance: "stolen" });
  assert.is((await ask(ann, { type: "listAgents", id: 1 }))["type"], "ok");
  const providers = [...server.connections].map(({ identity }) => identity?.provider);
  assert.is(new Set(providers).size, 2);
  assert.equal(server.gone, []);
});

test("a ticket is good for one hello; the second ends with 4400", async () => {
  const server = await start({ auth: { mode: "token", tokens: TOKENS } });
  const request = { address: "", secure: false, host: undefined, origin: undefined, url: "/", headers: {} };
  const { ticket } = await server.authenticator.issueTicket("a", request);
  await Peer.greeted(server.url, { token: ticket });
  assert.equal([server.only.identity?.user.id, server.only.identity?.rights], ["ann", ["watch"]]);
  const replay = await Peer.open(server.url);
  replay.send({ type: "hello", id: 1, protocol: 1, token: ticket });
  const { error, code } = await refused(replay);
  assert.equal([error["code"], code], ["unauthenticated", 4400]);
  const late = await server.authenticator.issueTicket("a", request);
  now += 30_000;
  const peer = await Peer.open(server.url);
  peer.send({ type: "hello", protocol: 1, token: late.ticket });
  assert.is((await refused(peer)).code, 4400, "too late");
});

test("all hellos are looked after by one timer, those that expire too", async () => {
  const server = await start(custom(spoken));
  const timers = (): number => process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;
  await Peer.greeted(server.url, { token: "ann 100" });
  const before = timers();
  for (let at = 0; at < 20; at++) await Peer.greeted(server.url, { token: `user${at} 100` });
  assert.ok(timers() <= before, `${before} timers became ${timers()}`);
});

test.run();
