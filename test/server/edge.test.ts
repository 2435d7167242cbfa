/**
 * Plain HTTP: every route, its headers and refusals, and metrics that a Prometheus can read.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { createEdge } from "../../server/edge/http.ts";
import { Authenticator } from "../../server/auth/authenticator.ts";
import { Proxies } from "../../server/socket/proxies.ts";
import { Metrics } from "../../server/observe/metrics.ts";
import { assert, suite } from "../support/suite.ts";

const test = suite("edge");
let server: Server;
let url: string;
let notReady: string | undefined | (() => never);
const metrics = new Metrics({ version: '1.0-"test"' });

test.before(async () => {
  const edge = createEdge({
    version: "1.0",
    notReady: () => (typeof notReady === "function" ? notReady() : notReady),
    metrics: () => metrics.text(),
    openMetrics: false,
    authenticator: new Authenticator({ mode: "none" }),
    originAllowed: () => true,
  });
  const proxies = new Proxies();
  server = createServer((request, response) => edge(request, response, proxies.read(request)));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
test.after(() => {
  metrics.close();
  server.closeAllConnections();
  server.close();
});

test("the process is healthy, whether it is ready or not", async () => {
  notReady = "draining";
  const response = await fetch(`${url}/healthz`);
  assert.equal([response.status, await response.text()], [200, "ok\n"]);
});

test("readiness says why not", async () => {
  for (const [state, status, body] of [
    [undefined, 200, "ready\n"],
    ["draining", 503, "draining\n"],
    ["the store cannot be reached", 503, "the store cannot be reached\n"],
  ] as const) {
    notReady = state;
    const response = await fetch(`${url}/readyz?probe=1`);
    assert.equal([response.status, await response.text()], [status, body]);
  }
});

test("a probe that throws is a 500 that says nothing", async () => {
  notReady = () => {
    throw new Error("secret");
  };
  const response = await fetch(`${url}/readyz`);
  assert.equal([response.status, await response.json()], [500, { error: "internal" }]);
});

test("the first page says what this is and how to connect", async () => {
  const response = await fetch(`${url}/`);
  const body = await response.text();
  assert.is(response.status, 200);
  for (const word of ["Haulout", "/ws", "haulout.v1.msgpack", "haulout.v1.json", "haulout chat"]) {
    assert.ok(body.includes(word), word);
  }
});

test("unknown paths are 404 in JSON, other methods 405, plain requests to /ws 426", async () => {
  const unknown = await fetch(`${url}/nothing`);
  assert.equal([unknown.status, await unknown.json()], [404, { error: "not-found" }]);
  for (const path of ["/__proto__", "/constructor", "/healthz/", "//healthz"]) {
    assert.is((await fetch(url + path)).status, 404, path);
  }
  for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) {
    const response = await fetch(`${url}/healthz`, { method });
    assert.equal([response.status, response.headers.get("allow")], [405, "GET, HEAD"]);
  }
  const ws = await fetch(`${url}/ws`);
  assert.equal([ws.status, ws.headers.get("upgrade")], [426, "websocket"]);
});

test("HEAD has the headers of GET and no body", async () => {
  const response = await fetch(`${url}/healthz`, { method: "HEAD" });
  assert.equal(
    [response.status, response.headers.get("content-length"), await response.text()],
    [200, "3", ""],
  );
});

test("every answer carries the security headers", async () => {
  for (const path of ["/", "/healthz", "/readyz", "/metrics", "/nothing", "/ws"]) {
    const { headers } = await fetch(url + path);
    assert.is(headers.get("x-content-type-options"), "nosniff");
    assert.is(headers.get("cache-control"), "no-store");
    assert.match(headers.get("content-security-policy")!, /default-src 'none'.*frame-ancestors 'none'/);
    assert.is(headers.get("referrer-policy"), "no-referrer");
    assert.is(headers.get("access-control-allow-origin"), null);
  }
});

/** Reads the text format strictly; answers samples by name and labels. */
function parse(text: string): Map<string, number> {
  const samples = new Map<string, number>();
  const kinds = new Map<string, string>();
  assert.ok(text.endsWith("\n"));
  for (const line of text.slice(0, -1).split("\n")) {
    const type = /^# TYPE ([a-z_]+) (counter|gauge|histogram)$/.exec(line);
    if (type) {
      assert.not(kinds.has(type[1]!), `${type[1]} twice`);
      kinds.set(type[1]!, type[2]!);
      continue;
    }
    if (/^# HELP [a-z_]+ \S.*$/.test(line)) continue;
    const sample = /^([a-z_]+)(\{(?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+\})? (\S+)$/.exec(line);
    assert.ok(sample, `not a line of the format: ${line}`);
    const name = sample[1]!.replace(/_(?:bucket|sum|count)$/, "");
    assert.ok(kinds.has(name) || kinds.has(sample[1]!), `${sample[1]} has no type`);
    assert.not(samples.has(`${sample[1]}${sample[2] ?? ""}`), `${line} twice`);
    samples.set(`${sample[1]}${sample[2] ?? ""}`, Number(sample[3]));
  }
  for (const value of samples.values()) assert.ok(Number.isFinite(value));
  return samples;
}

test("metrics are readable and count what they are given", async () => {
  metrics.runsStarted.add(2);
  metrics.runsFinished.add(1, "text");
  metrics.toolCalls.add(1, "clock", "ok");
  metrics.toolCalls.add(2, 'we"ird\\\n', "timeout");
  metrics.connections.add(3, "json");
  metrics.connections.add(-1, "json");
  for (const seconds of [0.0005, 0.003, 0.003, 99]) metrics.commitSeconds.observe(seconds);
  metrics.collect("gauge", "haulout_sessions_loaded", "Sessions in memory", () => 5);
  const response = await fetch(`${url}/metrics`);
  assert.match(response.headers.get("content-type")!, /^text\/plain; version=0\.0\.4/);
  const samples = parse(await response.text());
  const expected: Record<string, number> = {
    haulout_runs_started_total: 2,
    'haulout_runs_finished_total{reason="text"}': 1,
    'haulout_tool_calls_total{tool="clock",outcome="ok"}': 1,
    'haulout_tool_calls_total{tool="we\\"ird\\\\\\n",outcome="timeout"}': 2,
    'haulout_connections{encoding="json"}': 2,
    'haulout_commit_seconds_bucket{le="0.0005"}': 1,
    'haulout_commit_seconds_bucket{le="0.0025"}': 1,
    'haulout_commit_seconds_bucket{le="0.005"}': 3,
    'haulout_commit_seconds_bucket{le="2.5"}': 3,
    'haulout_commit_seconds_bucket{le="+Inf"}': 4,
    haulout_commit_seconds_count: 4,
    haulout_commits_total: 0,
    haulout_sessions_loaded: 5,
    [`haulout_build_info{version="1.0-\\"test\\"",node="${process.version}"}`]: 1,
  };
  for (const [name, value] of Object.entries(expected)) assert.is(samples.get(name), value, name);
  assert.ok(samples.get("process_resident_memory_bytes")! > 1e6);
});

test("a metric keeps a bounded number of series, and counts the rest as other", () => {
  const own = new Metrics({ version: "1" });
  for (let i = 0; i < 10_000; i++) own.toolCalls.add(1, `tool-${i}`, "ok");
  const samples = parse(own.text());
  const calls = [...samples].filter(([name]) => name.startsWith("haulout_tool_calls_total"));
  assert.is(calls.length, 501);
  assert.is(
    calls.reduce((sum, [, value]) => sum + value, 0),
    10_000,
  );
  assert.is(samples.get('haulout_tool_calls_total{tool="other",outcome="other"}'), 9500);
  own.close();
});

test("the delay of the event loop is near nothing when idle and shows what blocked it", async () => {
  const own = new Metrics({ version: "1" });
  const name = 'haulout_event_loop_delay_seconds{quantile="1"}';
  const half = 'haulout_event_loop_delay_seconds{quantile="0.5"}';
  await new Promise((resolve) => setTimeout(resolve, 300));
  const idle = parse(own.text());
  assert.ok(idle.get(half)! < 0.02, `${idle.get(half)} s idle`);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const until = performance.now() + 200;
  while (performance.now() < until);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const blocked = parse(own.text()).get(name)!;
  assert.ok(blocked > 0.1 && blocked < 1, `${blocked} s`);
  own.close();
});

test.run();
