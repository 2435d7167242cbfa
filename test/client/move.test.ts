/**
 * Planned changes of a client's connection: the next socket is there, welcomed and offered on before the last one goes. By
 * hand where the order of frames matters, and over real sockets and two servers behind a proxy that switches.
 */
import { connect, type Client, type ConnectOptions } from "../../client/index.ts";
import { systemClock } from "../../client/clock.ts";
import { startProxy, type Proxy } from "../support/proxy.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { deferred, until } from "../support/wait.ts";
import { Wire } from "../support/wire.ts";
import { manualClock } from "./support/clock.ts";
import { handTransport, settled } from "./support/wire.ts";

const test = suite("client moves");
const clients: Client[] = [];
const servers: TestServer[] = [];
const proxies: Proxy[] = [];
test.after.each(async () => {
  for (const client of clients.splice(0)) client.close();
  await Promise.all(proxies.splice(0).map((proxy) => proxy.close()));
  await Promise.all(servers.splice(0).map((server) => server.kill()));
});

const input = { type: "object" } as const;
/** Two servers begin, and a machine may be busy: what is judged is the order of things. */
const LONG = { limitMs: 90_000 };
const PATIENCE_MS = 30_000;

/** A client that is online by hand and offers a tool. */
async function provider() {
  const clock = manualClock();
  const transport = handTransport();
  const client = connect({ url: "http://host:1", clock, transport: transport.open });
  clients.push(client);
  const states: string[] = [];
  client.on("status", ({ state }) => states.push(state));
  await settled();
  const [old] = transport.wires;
  old!.open();
  old!.welcome();
  const offered = client.provideTools({ work: { description: "", input, execute: () => 1 } });
  const accept = (wire: typeof old): void =>
    wire!.feed({ type: "ok", id: wire!.of("offerTools").at(-1)!["id"], accepted: ["work"] });
  await settled();
  accept(old);
  await offered;
  states.length = 0;
  return { clock, transport, client, states, old: old!, accept };
}

const call = { type: "call", session: "ses_1", call: "call_1", attempt: 1, run: "run_1", agent: "demo" };
const asked = { tool: "work", input: {}, timeoutMs: 60_000 };
const actor = { kind: "user", id: "ann", name: "Ann", verified: false };

test("the old socket serves until the next one is welcomed, and stays until tools are offered there", async () => {
  const { transport, client, states, old, accept } = await provider();
  client.reconnect();
  client.reconnect();
  await settled();
  assert.is(transport.wires.length, 2);
  const next = transport.last;
  const waiting = client.listSessions();
  assert.is(old.of("listSessions").length, 1);
  old.feed({ type: "ok", id: old.of("listSessions")[0]!["id"], items: [] });
  assert.equal(await waiting, { type: "ok", id: old.of("listSessions")[0]!["id"], items: [] });
  next.open();
  assert.is(next.sent[0]!.type, "hello");
  next.welcome();
  await settled();
  assert.is(old.closedByClient, false);
  assert.equal(next.of("offerTools")[0]!["working"], []);
  // Nobody works on it here any more.
  old.feed({ ...call, ...asked, actor });
  assert.is((old.of("callResult")[0]!["error"] as { code: string }).code, "not-started");
  accept(next);
  await settled();
  assert.is(old.closedByClient, true);
  assert.is(client.status.state, "online");
  assert.ok(
    states.every((state) => state === "online"),
    states.join(),
  );
});

test("what the server lets go of because of the next socket ends nothing", async () => {
  const { transport, client, old } = await provider();
  client.reconnect();
  await settled();
  transport.last.open();
  old.feed({ type: "disconnect", code: 4510, reason: "a newer connection", reconnect: false });
  old.close(4510, "");
  assert.is(client.status.state, "reconnecting");
  transport.last.welcome();
  await settled();
  assert.is(client.status.state, "online");
  assert.is(transport.wires.length, 2);
});

test("a server that stops is left once another takes one; until then its socket is kept", async () => {
  const { clock, transport, client, states, old } = await provider();
  old.feed({ type: "goaway", code: 4000, reconnectAfterMs: [100, 100] });
  clock.advance(100);
  await settled();
  assert.is(transport.wires.length, 2);
  transport.last.close(1006, "Unexpected server response: 503");
  assert.is(client.status.state, "online");
  assert.is(old.closedByClient, false);
  clock.advance(1_000);
  await settled();
  assert.is(transport.wires.length, 3);
  transport.last.close(1006, "Unexpected server response: 503");
  old.close(4000, "the server stops");
  assert.is(client.status.state, "reconnecting");
  clock.advance(client.status.retryAt! - clock.now());
  await settled();
  assert.is(transport.wires.length, 4);
  transport.last.open();
  transport.last.welcome();
  assert.is(client.status.state, "online");
  assert.equal(new Set(states), new Set(["reconnecting", "online"]));
});

test("a next socket that is never welcomed is given up, and the old one goes on", async () => {
  const { clock, transport, client, old } = await provider();
  client.reconnect();
  await settled();
  transport.last.open();
  for (let ms = 0; ms < 8_000; ms += 1_000) {
    old.feed({ type: "ping" });
    clock.advance(1_000);
  }
  assert.is(transport.last.closedByClient, true);
  assert.is(client.status.state, "online");
  client.close();
  assert.is(clock.timers, 0);
});

async function server(config: object = {}): Promise<TestServer> {
  const started = await TestServer.start({ store: "memory", config });
  servers.push(started);
  return started;
}

/** A provider behind a proxy, whose calls of `work` end when the test says so, and its states since then. */
async function behind(first: TestServer, options: Partial<ConnectOptions> = {}) {
  const proxy = await startProxy({ port: first.port });
  proxies.push(proxy);
  const client = connect({ url: proxy.url, user: { id: "worker" }, ...options });
  clients.push(client);
  const begun: string[] = [];
  const goOn = deferred();
  const execute = async (_: unknown, context: { call: string }): Promise<string> => {
    begun.push(context.call);
    await goOn.promise;
    return "done";
  };
  await client.provideTools({ work: { description: "", input, execute } });
  const states: string[] = [];
  client.on("status", ({ state }) => states.push(state));
  return { proxy, client, begun, goOn, states };
}

const providersOn = async (wire: Wire): Promise<number> => {
  const { items } = (await wire.ok("listTools")) as { items: { name: string; providers: number }[] };
  return items.find(({ name }) => name === "work")?.providers ?? 0;
};

test("a call in flight is not lost by a planned reconnect, and runs once", LONG, async () => {
  const { proxy, client, begun, goOn, states } = await behind(await server());
  const wire = await Wire.connect(servers[0]!.url);
  const { session } = await wire.ok("createSession", { agent: "demo" });
  await wire.ok("attach", { session });
  const content = JSON.stringify({ script: [{ calls: [{ tool: "work", input: {} }] }] });
  await wire.ok("send", { session, key: "k", content });
  await until(() => begun.length === 1, PATIENCE_MS, "the call");
  const { connection } = client.welcome!;
  client.reconnect();
  await until(() => client.welcome?.connection !== connection && proxy.open === 1, PATIENCE_MS, "the move");
  await until(async () => (await providersOn(wire)) === 1, PATIENCE_MS, "the offer");
  goOn.resolve();
  const { event } = await wire.event("tool-result");
  assert.is((event as { outcome: string }).outcome, "ok");
  assert.is((event as { attempt: number }).attempt, 1);
  assert.is(begun.length, 1);
  assert.not(wire.received.some(({ frame }) => JSON.stringify(frame).includes("tool-lost")));
  assert.equal([proxy.total, proxy.open], [2, 1]);
  assert.not(states.includes("closed"), states.join());
});

test("a provider is on the next server before it leaves the last, which stops or not", LONG, async () => {
  const [last, next] = [await server({ drainSpreadMs: 30_000 }), await server()];
  const [onLast, onNext] = [await Wire.connect(last.url), await Wire.connect(next.url)];
  for (let at = 0; at < 3; at++) await Wire.connect(last.url);
  const { proxy, client, states } = await behind(last, { clock: { ...systemClock, random: () => 0 } });
  const open: number[] = [];
  client.on("frame", ({ type }) => type === "welcome" && open.push(proxy.open));
  proxy.target(next.port);
  client.reconnect();
  await until(async () => (await providersOn(onNext)) === 1 && proxy.open === 1, PATIENCE_MS, "the move");
  assert.is(await providersOn(onLast), 0);
  proxy.target(last.port);
  client.reconnect();
  await until(async () => (await providersOn(onLast)) === 1 && proxy.open === 1, PATIENCE_MS, "the way back");
  proxy.target(next.port);
  last.process.kill("SIGTERM");
  await until(() => open.length === 3, PATIENCE_MS, "another server");
  await until(async () => (await providersOn(onNext)) === 1, PATIENCE_MS, "its offer");
  assert.equal(open, [2, 2, 2], "both sockets were open when the next one was welcomed");
  assert.ok(
    states.every((state) => state === "online"),
    states.join(),
  );
});

test.run();
