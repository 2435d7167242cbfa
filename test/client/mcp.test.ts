/**
 * `haulout mcp` with real MCP servers: published ones, and one that the tests steer. Each test has a bridge process of its
 * own between a real Haulout server and a real MCP server.
 * limit: 240 s
 */
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { connect } from "../../client/index.ts";
import type { Client, SessionHandle } from "../../client/index.ts";
import { outputOf, toolNameOf } from "../../client/mcp/tools.ts";
import type { EntryBodyOf, EventFrame } from "../../protocol/entries.ts";
import { spawnNode, temporaryDirectory } from "../support/process.ts";
import type { TestProcess } from "../support/process.ts";
import { compiled } from "../support/root.ts";
import { startProxy } from "../support/proxy.ts";
import type { Proxy } from "../support/proxy.ts";
import { TestServer } from "../support/server.ts";
import { suite, assert } from "../support/suite.ts";
import { until as untilNamed } from "../support/wait.ts";

const MAIN = compiled("server/main.ts");
const STEERED = compiled("test/client/support/mcp-server.ts");
const published = (name: string): string =>
  join(
    dirname(createRequire(import.meta.url).resolve(`@modelcontextprotocol/${name}/package.json`)),
    "dist",
    "index.js",
  );

const test = suite("MCP");
const slow = { limitMs: 60_000 };
let server: TestServer;
/** Where clients connect: it stays when the server is started anew. */
let proxy: Proxy;
let clients: Client[] = [];
let processes: TestProcess[] = [];

test.before(async () => {
  server = await TestServer.start({ env: { HAULOUT_PROVIDER_GRACE_MS: "15000" } });
  proxy = await startProxy({ port: server.port });
});
test.after.each(async () => {
  for (const client of clients) client.close();
  for (const each of processes) each.kill();
  await Promise.all(processes.map((each) => each.exited));
  [clients, processes] = [[], []];
});
test.after(async () => {
  await proxy.close();
  await server.stop();
});

const until = (check: () => boolean, limitMs = 15_000): Promise<unknown> =>
  untilNamed(check, limitMs, check.toString());

/** Starts a bridge and waits until it provides `tool`. */
async function bridge(args: readonly string[], tool: string): Promise<TestProcess> {
  const started = spawnNode([MAIN, "mcp", ...args], { env: { HAULOUT_URL: proxy.url } });
  processes.push(started);
  await started.waitForLine(new RegExp(`^providing .*\\b${tool}\\b`), 30_000);
  return started;
}

async function steered(...options: string[]) {
  const folder = temporaryDirectory();
  const file = join(folder, "events");
  writeFileSync(file, "");
  const process = await bridge([...options, "--", globalThis.process.execPath, STEERED, file], "\\w*wait");
  const events = (): string[] => readFileSync(file, "utf8").trim().split("\n");
  return { process, events, mark: join(folder, "mark") };
}

async function newSession(): Promise<{ client: Client; session: SessionHandle }> {
  const client = connect({ url: proxy.url, user: { id: "ann" } });
  clients.push(client);
  const { session } = await client.createSession({ agent: "demo" });
  return { client, session: await client.attach(session) };
}

const script = (tool: string, input: object): string =>
  JSON.stringify({ script: [{ calls: [{ tool, input }] }, { text: "done" }] });

/** Has the model call a tool; answers how the call ended. */
async function callTool(session: SessionHandle, tool: string, input: object = {}) {
  const entries: EventFrame[] = [];
  const stop = session.on("entry", (entry) => entries.push(entry));
  await session.ask(script(tool, input), { timeoutMs: 45_000 });
  stop();
  const bodies = entries.map((entry) => entry.event);
  const [result] = bodies.filter((body): body is EntryBodyOf<"tool-result"> => body.type === "tool-result");
  return { ...result!, dispatched: bodies.filter((body) => body.type === "tool-dispatched").length };
}

test(
  "a published server's tools are offered with a prefix, their schemas, and effects by their hints",
  slow,
  async () => {
    const process = await bridge(
      ["--prefix", "ev_", "--", globalThis.process.execPath, published("server-everything")],
      "ev_echo",
    );
    const { client } = await newSession();
    const { items } = await client.listTools({ limit: 200 });
    const listed = new Map(items.map((item) => [item.name, item]));
    assert.is(listed.get("ev_echo")?.effect, "pure");
    assert.is(listed.get("ev_gzip-file-as-resource")?.effect, "idempotent");
    assert.is(listed.get("ev_toggle-simulated-logging")?.effect, "once");
    assert.equal(listed.get("ev_echo")?.inputSchema["required"], ["message"]);
    assert.not.ok(listed.has("ev_simulate-research-query"));
    assert.ok(process.stderr.some((line) => line.includes("simulate-research-query is left out")));
  },
);

test(
  "content blocks, structured content, progress and refusals of a published server arrive",
  slow,
  async () => {
    await bridge(["--", globalThis.process.execPath, published("server-everything")], "echo");
    const { session } = await newSession();
    const said = await callTool(session, "echo", { message: "hi" });
    assert.equal(said.output, { content: [{ type: "text", text: "Echo: hi" }] });
    const { output: image } = await callTool(session, "get-tiny-image");
    const [, file] = (image as { content: { type: string; mediaType?: string; url?: string }[] }).content;
    assert.is(file?.type, "file");
    assert.is(file?.mediaType, "image/png");
    assert.match(file!.url!, /^data:image\/png;base64,iVBOR/);
    const { output: weather } = await callTool(session, "get-structured-content", { location: "Chicago" });
    assert.equal(Object.keys((weather as { structuredContent: object }).structuredContent).sort(), [
      "conditions",
      "humidity",
      "temperature",
    ]);
    assert.equal((weather as { content: unknown[] }).content, []);
    const links = (await callTool(session, "get-resource-links", { count: 2 })).output;
    assert.equal(
      (links as { content: { type: string }[] }).content.map(({ type }) => type),
      ["text", "data-mcp", "data-mcp"],
    );
    const shown: unknown[] = [];
    const stop = session.on("progress", ({ progress }) => shown.push(progress));
    await callTool(session, "trigger-long-running-operation", { duration: 1, steps: 2 });
    stop();
    assert.ok(shown.some((progress) => (progress as { total?: number }).total === 2));
    assert.is((await callTool(session, "echo", { message: 5 })).outcome, "invalid-input");
  },
);

test(
  "files are written and read through a published server, and its errors reach the model",
  slow,
  async () => {
    const folder = temporaryDirectory();
    await bridge(
      ["--prefix", "fs_", "--", globalThis.process.execPath, published("server-filesystem"), folder],
      "fs_write_file",
    );
    const { session } = await newSession();
    const path = join(folder, "note.txt");
    assert.is((await callTool(session, "fs_write_file", { path, content: "walrus" })).outcome, "ok");
    assert.is(readFileSync(path, "utf8"), "walrus");
    const read = await callTool(session, "fs_read_text_file", { path });
    assert.match(JSON.stringify(read.output), /walrus/);
    const outside = await callTool(session, "fs_read_text_file", { path: "/etc/hostname" });
    assert.is(outside.outcome, "error");
    assert.match(outside.error!.message, /denied/i);
  },
);

test("tools that come and go on the MCP server come and go here", slow, async () => {
  const { process } = await steered();
  const { client, session } = await newSession();
  assert.is((await callTool(session, "shrinking")).outcome, "ok");
  await callTool(session, "change");
  await process.waitForLine(/^providing .*\bgrown\b/);
  const names = (await client.listTools({ limit: 200 })).items.map(({ name }) => name);
  assert.ok(names.includes("grown"));
  assert.not.ok(names.includes("shrinking"));
  assert.equal((await callTool(session, "grown")).output, { content: [{ type: "text", text: "grown" }] });
});

test("a cancelled run aborts the call on the MCP server", slow, async () => {
  const { events } = await steered();
  const { session } = await newSession();
  const running = session.ask(script("wait", {}), { timeoutMs: 45_000 });
  await until(() => events().includes("waits"));
  await session.cancel();
  const end = await running;
  assert.is(end.reason, "cancelled");
  await until(() => events().includes("aborted"));
});

test("a call that takes too long times out, and the MCP server is told", slow, async () => {
  const { events } = await steered("--prefix", "brief_", "--timeout", "2");
  const { session } = await newSession();
  assert.is((await callTool(session, "brief_wait")).outcome, "timeout");
  await until(() => events().includes("aborted"));
});

test(
  "an MCP server that dies is started again: what only reads runs again, what must not does not",
  slow,
  async () => {
    const { events, mark } = await steered();
    const { session } = await newSession();
    const pure = await callTool(session, "die_pure", { mark });
    assert.is(pure.outcome, "ok");
    assert.is(pure.dispatched, 1);
    assert.equal(pure.output, { content: [{ type: "text", text: "the second time" }] });
    const once = await callTool(session, "die_once", { mark: `${mark}-once` });
    assert.is(once.outcome, "error");
    assert.is(once.error!.code, "connection-lost");
    assert.is(once.dispatched, 1);
    await until(() => events().filter((event) => event === "started").length === 3, 15_000);
    assert.equal(
      events().filter((event) => event.startsWith("die")),
      ["die_pure", "die_pure", "die_once"],
    );
  },
);

test("a call goes on while Haulout is killed and started again", slow, async () => {
  const { process, events } = await steered();
  const { client, session } = await newSession();
  const running = session.ask(script("wait", {}), { timeoutMs: 45_000 });
  await until(() => events().includes("waits"));
  await server.kill();
  server = await server.again();
  proxy.target(server.port);
  await until(() => process.stderr.includes("connected again"), 20_000);
  await untilNamed(
    async () => (await client.listTools({ limit: 200 })).items.some(({ name }) => name === "wait"),
    15_000,
    "the offer",
  );
  await session.cancel();
  assert.is((await running).reason, "cancelled");
  assert.equal(
    events().filter((event) => event === "waits"),
    ["waits"],
  );
  await until(() => events().includes("aborted"));
});

test("a server behind a URL is reached again after it was started anew", slow, async () => {
  const start = async (port: string): Promise<TestProcess> => {
    const started = spawnNode([published("server-everything"), "streamableHttp"], { env: { PORT: port } });
    processes.push(started);
    await until(() => [...started.stdout, ...started.stderr].some((line) => /listening/i.test(line)), 20_000);
    return started;
  };
  const port = await freePort();
  const first = await start(port);
  const process = await bridge([`http://127.0.0.1:${port}/mcp`], "echo");
  const { session } = await newSession();
  assert.is((await callTool(session, "echo", { message: "a" })).outcome, "ok");
  first.kill("SIGKILL");
  await first.exited;
  await until(() => process.stdout.includes("providing nothing"), 20_000);
  await start(port);
  await until(() => process.stdout.filter((line) => /^providing .*\becho\b/.test(line)).length === 2, 30_000);
  assert.is((await callTool(session, "echo", { message: "b" })).outcome, "ok");
});

test("a server that is not there, and a wrong command line, are said in one line", slow, async () => {
  const run = async (...args: string[]) => {
    const started = spawnNode([MAIN, "mcp", ...args], { env: { HAULOUT_URL: proxy.url } });
    processes.push(started);
    const { code } = await started.exited;
    return { code, err: started.stderr.join("\n") };
  };
  const port = await freePort();
  const [absent, failing, nothing, both, effect] = await Promise.all([
    run(`http://127.0.0.1:${port}/mcp`),
    run("--", join(temporaryDirectory(), "absent")),
    run(),
    run("http://127.0.0.1/mcp", "--", "program"),
    run("--effect", "x=twice", "--", "program"),
  ]);
  assert.is(absent.code, 1);
  assert.match(absent.err, /haulout mcp: /);
  assert.is(failing.code, 1);
  assert.match(failing.err, /ENOENT/);
  for (const { code, err } of [nothing, both, effect]) {
    assert.is(code, 2);
    assert.match(err, /try: haulout mcp --help/);
  }
});

test("names are made fit, and never one of two", () => {
  assert.is(toolNameOf("p_", "read-file"), "p_read-file");
  const dotted = toolNameOf("", "files.read");
  assert.match(dotted, /^files_read_[A-Za-z0-9]{1,6}$/);
  assert.not.equal(dotted, toolNameOf("", "files/read"));
  const long = toolNameOf("p_", "x".repeat(80));
  assert.ok(long.length <= 64);
  assert.not.equal(long, toolNameOf("p_", "x".repeat(81)));
});

test("a result keeps its blocks; text that only repeats structured content is not said twice", () => {
  const structuredContent = { a: 1 };
  assert.equal(
    outputOf({
      content: [
        { type: "text", text: '{ "a": 1 }' },
        { type: "text", text: "and more" },
        { type: "resource", resource: { uri: "file:///x", text: "inside" } },
        { type: "audio", data: "AAAA", mimeType: "audio/wav" },
      ],
      structuredContent,
    }),
    {
      content: [
        { type: "text", text: "and more" },
        { type: "data-mcp", data: { type: "resource", resource: { uri: "file:///x", text: "inside" } } },
        { type: "file", mediaType: "audio/wav", url: "data:audio/wav;base64,AAAA" },
      ],
      structuredContent,
    },
  );
  assert.throws(() => outputOf({ content: [{ type: "text", text: "no" }], isError: true }), /^no$/);
});

async function freePort(): Promise<string> {
  const { createServer } = await import("node:net");
  return new Promise((resolve) => {
    const listener = createServer().listen(0, "127.0.0.1", () => {
      const { port } = listener.address() as { port: number };
      listener.close(() => resolve(String(port)));
    });
  });
}

test.run();
