/**
 * The server as a whole, on its own runtime: start, readiness, metrics of real work, refusals at the start, and the stop:
 * what was asked is answered, everyone is told, and it is over in less than two seconds.
 */
import { join } from "node:path";
import { ConfigError } from "../../server/config.ts";
import { silentLog } from "../../server/observe/log.ts";
import { findProblems, startServer, type HauloutServer, type ServerOptions } from "../../server/server.ts";
import { temporaryDirectory } from "../support/process.ts";
import { assert, suite } from "../support/suite.ts";
import { until } from "../support/wait.ts";
import { Peer, type Frame } from "./socket/harness.ts";

const test = suite("server");
const started: HauloutServer[] = [];
test.after.each(async () => {
  for (const server of started.splice(0)) await server.stop();
});

async function start(options: ServerOptions = {}): Promise<HauloutServer> {
  const server = await startServer({ port: 0, store: "memory", log: silentLog(), ...options });
  started.push(server);
  return server;
}

const socketUrl = (server: HauloutServer): string => `ws://127.0.0.1:${server.port}/ws`;

/** Asks and waits for the answer with that id; answers all frames up to it. */
async function ask(peer: Peer, frame: Frame): Promise<Frame> {
  peer.send(frame);
  for (;;) {
    const answer = await peer.next();
    if (answer["id"] === frame["id"]) return answer;
  }
}

/** A session with the demo agent that this peer reads. */
async function converse(peer: Peer): Promise<string> {
  const { session } = await ask(peer, { type: "createSession", id: 1, agent: "demo" });
  await ask(peer, { type: "attach", id: 2, session });
  return session as string;
}

test("serves a conversation with a tool call, and counts it", async () => {
  const server = await start();
  const peer = await Peer.greeted(socketUrl(server));
  const session = await converse(peer);
  const content = JSON.stringify({ script: [{ calls: [{ tool: "clock", input: {} }] }, { text: "done" }] });
  await ask(peer, { type: "send", id: 3, session, key: "k", content });
  const events: Frame[] = [];
  while (events.at(-1)?.["event"]?.type !== "run-finished") events.push(await peer.next());
  const finished = events.at(-1)!["event"];
  assert.equal([finished.reason, finished.text], ["text", "done"]);
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  for (const sample of [
    'haulout_connections{encoding="json"} 1',
    "haulout_runs_started_total 1",
    'haulout_runs_finished_total{reason="text"} 1',
    'haulout_tool_calls_total{tool="clock",outcome="ok"} 1',
    'haulout_frames_received_total{type="send"} 1',
    "haulout_sessions_loaded 1",
    "haulout_outbox_queued_bytes 0",
  ]) {
    assert.ok(metrics.includes(`${sample}\n`), `${sample}\n${metrics}`);
  }
  assert.ok(Number(/haulout_commit_entries_total (\d+)/.exec(metrics)![1]) >= 8);
});

test("is ready once started, and not while the store fails", async () => {
  const server = await start();
  assert.is((await fetch(`${server.url}/readyz`)).status, 200);
  const { store } = server.runtime;
  store.load = () => Promise.reject(new Error("disk"));
  const response = await fetch(`${server.url}/readyz`);
  assert.equal([response.status, await response.text()], [503, "the store cannot be used\n"]);
  assert.is((await fetch(`${server.url}/healthz`)).status, 200);
});

test("refuses what cannot work, naming field and remedy, before anything is opened", async () => {
  const data = join(temporaryDirectory(), "data");
  for (const host of ["0.0.0.0", "::", "192.0.2.1"]) {
    const error = await assert.rejects(start({ host, data, store: "embedded" }), ConfigError);
    assert.match(error.message, /^host: .*HAULOUT_TOKEN.*127\.0\.0\.1$/);
  }
  const problems = findProblems({
    host: "0.0.0.0",
    store: "postgres://db",
    redisUrl: "redis://cache",
    budgets: { session: { cost: 1 }, user: { day: { tokens: 1 }, total: { cost: 1 } } },
    agents: [{ name: "a" }, { name: "b", model: "openai:gpt" }],
    where: (field) => `haulout.json: ${field}`,
  });
  assert.equal(
    problems.map((line) => line.split(":", 2).join(":")),
    ["host", "store", "redisUrl", "budgets.session.cost", "budgets.user.total.cost", "agents[1].model"].map(
      (field) => `haulout.json: ${field}`,
    ),
  );
  const auth = { mode: "token", tokens: [{ token: "t", user: "u" }] } as const;
  assert.equal(findProblems({ host: "0.0.0.0", auth }), []);
  assert.equal(findProblems({ host: "::1" }), []);
});

test("a model of the embedder's own is found by its name", async () => {
  const { scriptedModel } = await import("../../server/model/scripted.ts");
  const models = (name: string): typeof scriptedModel | undefined =>
    name === "mine" ? scriptedModel : undefined;
  const server = await start({ models, agents: [{ name: "a", model: "mine" }] });
  assert.equal(
    server.runtime.agents().map(({ name }) => name),
    ["a"],
  );
});

test("a taken port is an error and leaves no store open", async () => {
  const first = await start();
  const data = join(temporaryDirectory(), "data");
  await assert.rejects(start({ port: first.port, store: "embedded", data }), /EADDRINUSE/);
  await start({ store: "embedded", data });
});

test("a data directory that another server has is an error, and the port is free again", async () => {
  const data = join(temporaryDirectory(), "data");
  const first = await start({ store: "embedded", data });
  const error = await assert.rejects(start({ store: "embedded", data }));
  assert.is(error.name, "StoreLockedError");
  await first.stop();
  await start({ store: "embedded", data });
});

test("stops in less than two seconds: answers, tells everyone, closes with 4000", async () => {
  const server = await start({ drainSpreadMs: 50 });
  const peers = await Promise.all(Array.from({ length: 20 }, () => Peer.greeted(socketUrl(server))));
  const [busy] = peers;
  const session = await converse(busy!);
  await ask(busy!, {
    type: "send",
    id: 3,
    session,
    key: "k",
    content: JSON.stringify({ script: [{ text: "x".repeat(100), rate: 1, chunk: 1 }] }),
  });
  busy!.send({ type: "send", id: 4, session, key: "k2", content: "next" });
  const sends = 'haulout_frames_received_total{type="send"} 2';
  await until(() => server.metrics.text().includes(sends), 2000, "the second send");
  const began = performance.now();
  const stopping = server.stop();
  const refused = await Peer.open(socketUrl(server)).catch((error: unknown) => error);
  assert.match(String(refused), /503|ECONNREFUSED/);
  for (const peer of peers) {
    const frames = await peer.until("disconnect");
    const goaway = frames.find(({ type }) => type === "goaway");
    assert.equal(goaway, { type: "goaway", code: 4000, reconnectAfterMs: [0, 50] });
    if (peer === busy) assert.ok(frames.some(({ type, id }) => type === "ok" && id === 4));
    assert.is((await peer.closed).code, 4000);
  }
  await stopping;
  assert.ok(performance.now() - began < 2000, `${performance.now() - began} ms`);
  await assert.rejects(fetch(`${server.url}/healthz`));
});

test("while it drains it is alive but not ready, and takes no one", async () => {
  const server = await start({ readyWaitMs: 300 });
  const peer = await Peer.greeted(socketUrl(server));
  const stopping = server.stop();
  const response = await fetch(`${server.url}/readyz`);
  assert.equal([response.status, await response.text()], [503, "draining\n"]);
  assert.is((await fetch(`${server.url}/healthz`)).status, 200);
  await assert.rejects(Peer.open(socketUrl(server)), /503/);
  peer.send({ type: "listAgents", id: 1 });
  assert.is((await peer.next())["type"], "ok");
  await stopping;
});

test("a client that does not let go is cut off, and so is everything by force", async () => {
  const server = await start({ closeWaitMs: 100 });
  const deaf = await Peer.greeted(socketUrl(server));
  deaf.socket.pause();
  await server.stop();

  const slow = await start({ readyWaitMs: 60_000 });
  await Peer.greeted(socketUrl(slow));
  const began = performance.now();
  void slow.stop();
  await slow.stop({ force: true });
  assert.ok(performance.now() - began < 1000);
  started.length = 0;
});

test.run();
