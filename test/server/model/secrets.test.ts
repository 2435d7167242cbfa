/**
 * Secrets planted wherever a model's access has them, and wherever a provider may say them: none is in the log, in an
 * entry, in a frame, in an error or on the terminal. Every dialect, every way to fail.
 */
import { Catalog } from "../../../server/model/catalog.ts";
import { describeUsable, howToBegin, listUsable } from "../../../server/model/usable.ts";
import { createLog } from "../../../server/observe/log.ts";
import { findProblems } from "../../../server/server.ts";
import { closeRuntimes, startRuntime } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { CASES } from "./dialects/cases.ts";
import { ProviderServer } from "./dialects/server.ts";
import { DIALECTS } from "./dialects/suite.ts";

const test = suite("secrets of models");
const SECRET = "hush-7Q4x";

let server: ProviderServer;
test.before(async () => {
  server = await ProviderServer.start();
});
test.after(() => server.stop());
test.after.each(closeRuntimes);

const NAMES: Readonly<Record<string, string>> = {
  "openai chat": "openai:gpt-4.1-mini",
  "openai responses": "openai:gpt-5-mini",
  "openai-compatible": "openai-compatible:qwen3:8b",
  anthropic: "anthropic:claude-sonnet-4-5",
  google: "google:gemini-2.5-flash",
};

for (const dialect of DIALECTS) {
  test(`${dialect.name}: whatever fails, no secret is told`, { limitMs: 120_000 }, async () => {
    const access = {
      apiKey: `sk-${SECRET}`,
      baseURL: `${server.url}/gate-${SECRET}${dialect.base}`,
      headers: { "x-account": SECRET },
      firstPartMs: 100,
      idleMs: 60,
      ...(dialect.name === "openai chat" ? { api: "chat" } : {}),
    };
    const name = NAMES[dialect.name]!;
    const catalog = new Catalog({ settings: { [name.split(":")[0]!]: access }, env: {} });
    const lines: string[] = [];
    const log = createLog({ level: "trace", destination: { write: (line) => void lines.push(line) } });
    const agent = { model: name, headers: { "x-team": SECRET }, runTimeoutMs: 60_000 };
    const runtime = await startRuntime({ models: (asked) => catalog.model(asked), agent, log });
    const session = await runtime.session();
    const codes = new Set<string>();
    for (const each of CASES.filter((item) => item.error !== undefined)) {
      const reply = each.reply(dialect);
      // Attempts follow at once where there is a header to say so; of the others the first one is enough.
      const headers = { ...reply.headers, "retry-after": "0", "x-echo": SECRET };
      server.play(...Array.from({ length: 3 }, () => ({ ...reply, headers })));
      const { input } = await runtime.send(session, "?");
      const started = await runtime.entry(session, "run-started", (body) => body.input === input);
      const stop = setTimeout(() => void runtime.cancel(session, started.event.run).catch(() => {}), 200);
      const end = await runtime.endOf(session, input);
      clearTimeout(stop);
      if (end.error !== undefined) codes.add(end.error.code);
    }
    assert.ok(codes.size >= 6, [...codes].join());
    assert.ok(server.asked.length === 0 || server.asked.every(({ path }) => path.includes(SECRET)));
    const told = JSON.stringify([await runtime.log(session), runtime.events.all, lines]);
    assert.not.ok(
      told.includes(SECRET),
      told.slice(Math.max(0, told.indexOf(SECRET) - 300), told.indexOf(SECRET) + 100),
    );
  });
}

test("a key that no header can hold fails the run and is not quoted", async () => {
  const lines: string[] = [];
  const log = createLog({ level: "trace", destination: { write: (line) => void lines.push(line) } });
  for (const [name, keys] of [
    ["openai:gpt-5-mini", { openai: { apiKey: `sk\n${SECRET}`, baseURL: server.url } }],
    ["anthropic:claude-sonnet-4-5", { anthropic: { apiKey: `sk\u0000${SECRET}`, baseURL: server.url } }],
    ["google:gemini-2.5-flash", { google: { apiKey: `clé ✓ ${SECRET}`, baseURL: server.url } }],
  ] as const) {
    const catalog = new Catalog({ settings: keys, env: {} });
    const runtime = await startRuntime({
      models: (asked) => catalog.model(asked),
      agent: { model: name },
      log,
    });
    const session = await runtime.session();
    const { input } = await runtime.send(session, "?");
    const started = await runtime.entry(session, "run-started", (body) => body.input === input);
    const stop = setTimeout(() => void runtime.cancel(session, started.event.run).catch(() => {}), 200);
    const end = await runtime.endOf(session, input);
    clearTimeout(stop);
    assert.ok(end.reason === "error" || end.reason === "cancelled");
    assert.not.ok(JSON.stringify([await runtime.log(session), lines]).includes(SECRET));
    await closeRuntimes();
  }
});

test("neither the configuration's faults nor the list of models show one", async () => {
  const bad = `http://user:${SECRET}@127.0.0.1/v1?key=${SECRET}`;
  const settings = {
    openai: { apiKey: SECRET, baseURL: bad },
    vllm: { apiKey: { nested: SECRET }, baseURL: "http://127.0.0.1:1/v1" },
    here: { apiKey: SECRET, baseURL: `${server.url}/${SECRET}/v1`, headers: { "x-account": SECRET } },
    anthropic: { apiKey: SECRET },
  };
  const env = { OPENAI_COMPATIBLE_BASE_URL: bad, GEMINI_API_KEY: SECRET };
  const catalog = new Catalog({ settings, env });
  assert.is(catalog.problems.length, 2);
  const list = await listUsable(catalog, { timeoutMs: 300 });
  const agents = ["openai:a", "vllm:a", "here:a", "nowhere:a"].map((model, at) => ({
    name: `a${at}`,
    model,
  }));
  const problems = findProblems({ models: settings, agents });
  const told = [
    catalog.problems,
    list,
    describeUsable(list),
    howToBegin(list),
    problems,
    catalog.problem("openai-compatible:x"),
  ];
  assert.not.ok(JSON.stringify(told).includes(SECRET), JSON.stringify(told));
});

test.run();
