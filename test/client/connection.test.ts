/**
 * The connection's state machine, with time, chance and sockets in hand.
 */
import { connect } from "../../client/index.ts";
import type { Client, ConnectOptions } from "../../client/index.ts";
import { suite, assert } from "../support/suite.ts";
import { manualClock } from "./support/clock.ts";
import { handTransport, settled } from "./support/wire.ts";

const test = suite("client connection");

async function make(options: Partial<ConnectOptions> = {}) {
  const clock = manualClock();
  const transport = handTransport();
  const client = connect({ url: "http://host:1", clock, transport: transport.open, ...options });
  const states: string[] = [];
  client.on("status", ({ state, retryAt }) =>
    states.push(retryAt === undefined ? state : `${state} waiting`),
  );
  await settled();
  const online = async (): Promise<void> => {
    transport.last.open();
    transport.last.welcome();
    await settled();
  };
  /** Lets the next attempt begin. */
  const retry = async (client: Client): Promise<number> => {
    const wait = client.status.retryAt! - clock.now();
    clock.advance(wait);
    await settled();
    return wait;
  };
  return { clock, transport, client, states, online, retry };
}

test("says hello with instance, user and client, and is online with the welcome", async () => {
  const { transport, client, online } = await make({
    user: { id: "ann" },
    instance: "ins_1",
    token: "t",
    client: { name: "test" },
  });
  assert.is(transport.last.url, "ws://host:1/ws");
  assert.is(client.status.state, "connecting");
  await online();
  assert.is(client.status.state, "online");
  assert.equal(transport.last.sent, [
    {
      type: "hello",
      id: 0,
      protocol: 1,
      instance: "ins_1",
      token: "t",
      user: { id: "ann" },
      client: { name: "test" },
    },
  ]);
  assert.equal(client.user, { id: "ann", name: "Ann" });
});

test("leaves out of its hello what is undefined", async () => {
  const { transport, online } = await make({ user: { id: "ann", name: undefined } as { id: string } });
  await online();
  assert.equal(transport.last.sent[0]!["user"], { id: "ann" });
});

test("answers a ping inside the message handler", async () => {
  const { transport, online } = await make();
  await online();
  transport.last.feed({ type: "ping" });
  assert.is(transport.last.sent.at(-1)!.type, "pong");
});

test("a lost socket is replaced, and what the old one still says changes nothing", async () => {
  const { transport, client, online, retry, states } = await make();
  await online();
  const [first] = transport.wires;
  first!.close(1006, "ECONNRESET");
  assert.is(client.status.state, "reconnecting");
  assert.is(client.status.reason, "ECONNRESET");
  const wait = await retry(client);
  assert.ok(wait >= 0 && wait <= 1000);
  assert.is(transport.wires.length, 2);
  first!.close(4510, "late");
  first!.feed({ type: "disconnect", code: 4510, reason: "late", reconnect: false });
  await online();
  first!.close(1006);
  assert.is(client.status.state, "online");
  assert.equal(states, ["online", "reconnecting waiting", "reconnecting", "online"]);
});

test("an attempt without welcome ends after 8 s, and only one is in flight", async () => {
  const { transport, client, clock, retry } = await make();
  transport.last.open();
  client.reconnect();
  clock.advance(7_999);
  await settled();
  assert.is(transport.wires.length, 1);
  clock.advance(1);
  assert.is(client.status.reason, "no welcome in time");
  assert.is(transport.wires[0]!.closedByClient, true);
  await retry(client);
  assert.is(transport.wires.length, 2);
});

test("close codes decide by their range", async () => {
  const expected: [number, string][] = [
    [1000, "closed"],
    [1002, "closed"],
    [1006, "reconnecting"],
    [1009, "closed"],
    [1012, "reconnecting"],
    [4000, "reconnecting"],
    [4099, "reconnecting"],
    [4101, "reconnecting"],
    [4299, "reconnecting"],
    [4400, "closed"],
    [4501, "closed"],
    [4510, "closed"],
    [4999, "closed"],
  ];
  for (const [code, state] of expected) {
    const { transport, client, online } = await make();
    await online();
    transport.last.close(code);
    assert.is(client.status.state, state, String(code));
    client.close();
  }
});

test("an expired token is replaced when there is a way to get a new one", async () => {
  let count = 0;
  const { transport, client, online, retry } = await make({ token: () => `t${++count}` });
  await online();
  assert.is(transport.last.sent[0]!["token"], "t1");
  transport.last.close(4400);
  await retry(client);
  await online();
  assert.is(transport.last.sent[0]!["token"], "t2");
});

test("a token that cannot be had is tried again, and says why", async () => {
  let failing = true;
  const { client, retry, online } = await make({
    token: () => (failing ? Promise.reject(new Error("no network")) : "t"),
  });
  assert.is(client.status.reason, "no token: no network");
  failing = false;
  await retry(client);
  await online();
  assert.is(client.status.state, "online");
});

test("authExpiring sends a fresh token", async () => {
  let count = 0;
  const { transport, online } = await make({ token: () => Promise.resolve(`t${++count}`) });
  await online();
  transport.last.feed({ type: "authExpiring", expiresAt: 1 });
  await settled();
  assert.equal(
    transport.last.of("refreshToken").map((frame) => frame["token"]),
    ["t2"],
  );
});

test("a disconnect frame is enough: no close needs to follow", async () => {
  const { transport, client, online } = await make();
  await online();
  transport.last.feed({ type: "disconnect", code: 4103, reason: "slow reader", reconnect: true });
  assert.is(client.status.state, "reconnecting");
  assert.is(client.status.reason, "slow reader");
  assert.is(transport.last.closedByClient, true);
});

test("a disconnect that forbids to come back is obeyed whatever its code", async () => {
  const { transport, client, online } = await make();
  await online();
  transport.last.feed({ type: "disconnect", code: 4000, reason: "gone", reconnect: false });
  assert.is(client.status.state, "closed");
});

test("goaway: works on until its moment in the window, then changes over", async () => {
  const { transport, client, online, clock } = await make();
  await online();
  transport.last.feed({ type: "goaway", code: 4000, reconnectAfterMs: [1000, 3000] });
  clock.advance(1_999);
  assert.is(client.status.state, "online");
  clock.advance(1);
  await settled();
  clock.advance(0);
  await settled();
  assert.is(transport.wires.length, 2);
  await online();
  assert.is(client.status.state, "online");
});

test("goaway: a server that closes sooner is not called before the window", async () => {
  const { transport, client, online, clock, retry } = await make();
  await online();
  transport.last.feed({ type: "goaway", code: 4000, reconnectAfterMs: [2000, 2000] });
  clock.advance(500);
  transport.last.close(4000);
  assert.is(await retry(client), 1500);
});

test("the refusal of a hello is the reason that is shown, and its retryAfterMs is waited for", async () => {
  const { transport, client, retry } = await make();
  transport.last.open();
  transport.last.feed({
    type: "error",
    code: "unavailable",
    message: "starting",
    retryable: true,
    retryAfterMs: 5000,
  });
  transport.last.close(4101);
  assert.is(client.status.reason, "unavailable: starting");
  assert.ok((await retry(client)) >= 5000);
});

test("silence beyond the server's pings ends the socket", async () => {
  const { transport, client, online, clock } = await make();
  await online();
  clock.advance(30_000);
  transport.last.feed({ type: "ping" });
  clock.advance(34_999);
  assert.is(client.status.state, "online");
  clock.advance(1);
  assert.is(client.status.state, "reconnecting");
});

test("what no codec reads ends the socket, not the process", async () => {
  const { transport, client, online } = await make();
  await online();
  transport.last.raw(new Uint8Array([0xc1, 0, 1]));
  assert.is(client.status.state, "reconnecting");
  assert.ok(client.status.reason!.includes("no frame"));
});

test("closed for good: waiting requests fail, new ones too, and reconnect() begins anew", async () => {
  const { transport, client, online } = await make();
  const waiting = client.listSessions();
  transport.last.open();
  transport.last.close(4501, "bad token");
  const error = await assert.rejects(waiting);
  assert.is(error.code, "unavailable");
  assert.is(error.retryable, false);
  await assert.rejects(client.listSessions(), /bad token/);
  await assert.rejects(client.attach("ses_1"), /bad token/);
  await assert.rejects(client.online(), /bad token/);
  client.reconnect();
  await settled();
  await online();
  assert.is(client.status.state, "online");
});

test("close() ends timers, requests and the socket, once", async () => {
  const { transport, client, online, clock } = await make();
  await online();
  const waiting = client.listSessions();
  client.close();
  client.close();
  await assert.rejects(waiting, /closed/);
  assert.is(transport.last.closedByClient, true);
  assert.is(clock.timers, 0);
  client.reconnect();
  await settled();
  assert.is(transport.wires.length, 1);
});

test("unsent requests are counted in the status", async () => {
  const { client, online, transport } = await make();
  const counts: number[] = [];
  client.on("status", ({ unsent }) => counts.push(unsent));
  const made = client.createSession({ agent: "demo" });
  assert.is(client.status.unsent, 1);
  await online();
  assert.is(client.status.unsent, 0);
  const [request] = transport.last.of("createSession");
  assert.ok(request!["session"].startsWith("ses_"));
  assert.ok(request!["key"].startsWith("key_"));
  transport.last.feed({ type: "ok", id: request!["id"], session: request!["session"], epoch: 1, seq: 1 });
  assert.is((await made).session, request!["session"]);
  assert.equal(counts, [1, 1, 0]);
});

test("a createSession in flight when the socket dies is repeated with the same key", async () => {
  const { client, online, transport, retry } = await make();
  await online();
  const made = client.createSession({ agent: "demo" });
  const before = transport.last.of("createSession")[0]!;
  transport.last.close(1006);
  await retry(client);
  await online();
  const after = transport.last.of("createSession")[0]!;
  assert.equal(after, before);
  transport.last.feed({ type: "ok", id: after["id"], session: after["session"], epoch: 1, seq: 1 });
  await made;
});

test("an error about a frame without id is told", async () => {
  const { client, online, transport } = await make();
  await online();
  const errors: string[] = [];
  client.on("error", (error) => errors.push(error.code));
  transport.last.feed({ type: "error", code: "bad-frame", message: "x", retryable: false });
  assert.equal(errors, ["bad-frame"]);
});

test("an unknown frame is passed over", async () => {
  const { client, online, transport } = await make();
  await online();
  transport.last.feed({ type: "brand-new", x: 1 }, { type: "ping" });
  assert.is(client.status.state, "online");
  assert.is(transport.last.sent.at(-1)!.type, "pong");
});

test.run();
