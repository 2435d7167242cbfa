/**
 * Names of models: what each kind of name becomes, where keys and addresses come from, what is said when something is
 * missing, and that nothing is loaded before it is asked for.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { Catalog } from "../../../server/model/catalog.ts";
import { ModelError } from "../../../server/model/model.ts";
import { findPackage } from "../../../server/model/packages.ts";
import { scriptedModel } from "../../../server/model/scripted.ts";
import { howToBegin, listUsable } from "../../../server/model/usable.ts";
import { spawnNode, temporaryDirectory } from "../../support/process.ts";
import { compiled } from "../../support/root.ts";
import { assert, suite } from "../../support/suite.ts";
import { ASK, drain } from "./drain.ts";
import { anthropic } from "./dialects/anthropic.ts";
import { google } from "./dialects/google.ts";
import { openaiChat, openaiCompatible } from "./dialects/openai-chat.ts";
import { openaiResponses } from "./dialects/openai-responses.ts";
import { ProviderServer } from "./dialects/server.ts";

const test = suite("catalog");

let server: ProviderServer;
test.before(async () => {
  server = await ProviderServer.start();
});
test.after(() => server.stop());

test("each provider is asked in its own dialect, with the key of its usual variable or of the file", async () => {
  const url = server.url;
  const table = [
    ["openai:gpt-5-mini", openaiResponses, { OPENAI_API_KEY: "key-1", OPENAI_BASE_URL: `${url}/v1` }, {}],
    [
      "openai:gpt-4.1",
      openaiChat,
      { OPENAI_API_KEY: "key-1" },
      { openai: { baseURL: `${url}/v1`, api: "chat" } },
    ],
    [
      "anthropic:claude-sonnet-4-5",
      anthropic,
      { ANTHROPIC_API_KEY: "key-1\n", ANTHROPIC_BASE_URL: `${url}/` },
      {},
    ],
    [
      "anthropic:claude-sonnet-4-5",
      anthropic,
      { ANTHROPIC_API_KEY: "x" },
      { anthropic: { apiKey: "key-1", baseURL: `${url}/v1` } },
    ],
    [
      "google:gemini-2.5-flash",
      google,
      { GEMINI_API_KEY: "key-1" },
      { google: { baseURL: `${url}/v1beta` } },
    ],
    [
      "openai-compatible:qwen3:8b",
      openaiCompatible,
      { OPENAI_COMPATIBLE_BASE_URL: `${url}/v1`, OPENAI_COMPATIBLE_API_KEY: "key-1" },
      {},
    ],
    [
      "openai-compatible:qwen3:8b",
      openaiCompatible,
      { OLLAMA_HOST: url.replace("http://", "") },
      { "openai-compatible": { apiKey: "key-1" } },
    ],
    ["vllm:org/model", openaiCompatible, {}, { vllm: { baseURL: `${url}/v1`, apiKey: "key-1" } }],
  ] as const;
  for (const [name, dialect, env, settings] of table) {
    const catalog = new Catalog({ env, settings });
    assert.is(catalog.problem(name), undefined);
    server.play({ chunks: dialect.events({ text: ["Yes."] }) });
    const model = catalog.model(name);
    assert.is(model.id, name);
    assert.is((await drain(model)).text, "Yes.");
    const [asked] = server.asked;
    assert.match(asked!.path, dialect.path);
    assert.match(String(dialect.key(asked!.headers)), /\bkey-1$/);
    const sent = name.slice(name.indexOf(":") + 1);
    assert.ok(dialect === google ? asked!.path.includes(sent) : asked!.body.model === sent);
  }
});

test("an endpoint without a key is asked without one", async () => {
  server.play({ chunks: openaiCompatible.events({ text: ["Yes."] }) });
  await drain(
    new Catalog({ env: { OPENAI_COMPATIBLE_BASE_URL: `${server.url}/v1` } }).model("openai-compatible:m"),
  );
  assert.is(server.asked[0]!.headers["authorization"], undefined);
});

test("settings that are the provider's own go to it, time limits stay here", async () => {
  const openai = {
    apiKey: "k",
    baseURL: `${server.url}/v1`,
    organization: "org-1",
    headers: { "x-a": "b" },
    firstPartMs: 40,
  };
  const model = new Catalog({ env: {}, settings: { openai } }).model("openai:gpt-5-mini");
  server.play({ chunks: [": wait\n\n"], ending: "silence" });
  assert.is((await assert.rejects(drain(model), ModelError)).code, "timeout");
  server.play({ chunks: openaiResponses.events({ text: ["Yes."] }) });
  await drain(model).catch(() => {});
  const [asked] = server.asked;
  assert.equal([asked!.headers["openai-organization"], asked!.headers["x-a"]], ["org-1", "b"]);
});

test("a model is made once, scripted is the scripted one, and a program's own come first", () => {
  const mine = { ...scriptedModel, id: "mine" };
  const catalog = new Catalog({ env: {}, given: (name) => (name === "openai:x" ? mine : undefined) });
  assert.is(catalog.model("scripted"), scriptedModel);
  assert.is(catalog.model("openai:x"), mine);
  assert.is(catalog.problem("openai:x"), undefined);
  assert.is(catalog.model("openai:y"), catalog.model("openai:y"));
});

test("what is missing is said with the way out", () => {
  const catalog = new Catalog({
    env: { OPENAI_API_KEY: " " },
    settings: { vllm: {} },
    cwd: temporaryDirectory(),
  });
  const table: Record<string, RegExp | undefined> = {
    scripted: undefined,
    "openai:gpt-5-mini":
      /^"openai:gpt-5-mini": it needs a key: set OPENAI_API_KEY, or models\.openai\.apiKey in/,
    "anthropic:x": /set ANTHROPIC_API_KEY, or models\.anthropic\.apiKey/,
    "google:x": /set GOOGLE_GENERATIVE_AI_API_KEY, or/,
    "openai-compatible:x": undefined,
    "vllm:x": /^"vllm:x": it needs an address: set models\.vllm\.baseURL$/,
    "gpt-5": /^"gpt-5" names no model: write provider:name/,
    "openai:": /names no model/,
    "": /names no model/,
    "nowhere:x": /there is no provider "nowhere": .* needs a baseURL in models\.nowhere$/,
    "module:./gone.js": /^"module:\.\/gone\.js": there is no file .*gone\.js$/,
  };
  for (const [name, expected] of Object.entries(table)) {
    const problem = catalog.problem(name);
    if (expected === undefined) assert.is(problem, undefined);
    else assert.match(problem ?? "", expected);
  }
});

test("a package that is not installed is named with the command that installs it", async () => {
  const catalog = new Catalog({ env: { OPENAI_API_KEY: "k" }, find: () => undefined });
  const way = "the package @ai-sdk/openai is missing: npm install @ai-sdk/openai";
  assert.is(catalog.problem("openai:gpt-5-mini"), `"openai:gpt-5-mini": ${way}`);
  const error = await assert.rejects(drain(catalog.model("openai:gpt-5-mini")), ModelError);
  assert.equal([error.code, error.retryable], ["unavailable", false]);
  assert.ok(error.message.endsWith(way));
});

test("a package is found beside this one, or where its owner works, as an import would find it", () => {
  const cwd = temporaryDirectory();
  const folder = join(cwd, "node_modules", "@seal", "model");
  mkdirSync(join(cwd, "deep", "er"), { recursive: true });
  mkdirSync(folder, { recursive: true });
  const write = (content: object): void =>
    writeFileSync(join(folder, "package.json"), JSON.stringify(content));
  const entry = (): string | undefined =>
    findPackage("@seal/model", join(cwd, "deep", "er"))?.url.replace(/.*\/model\//, "");
  write({
    version: "1.2.3",
    exports: { ".": { require: "./a.cjs", import: { types: "./a.d.ts", default: "./a.mjs" } } },
  });
  assert.is(entry(), "a.mjs");
  write({ version: "1.2.3", exports: { ".": "./b.js" } });
  assert.is(entry(), "b.js");
  write({ version: "1.2.3", main: "c.js" });
  assert.is(entry(), "c.js");
  write({});
  assert.is(entry(), undefined);
  assert.is(findPackage("@ai-sdk/openai", cwd)?.version.split(".")[0], "3");
  assert.is(findPackage("@seal/none", cwd), undefined);
});

test("a module's model may be of either kind, or a function that makes one", async () => {
  const cwd = temporaryDirectory();
  const stream =
    'async *stream() { yield { type: "text", block: "0", text: "mine" }; yield { type: "finish", reason: "stop", usage: { inputTokens: 0, outputTokens: 0 } }; }';
  const sdk = `{ specificationVersion: "v3", provider: "p", modelId: "m", async doStream() { return { stream: new ReadableStream({ start(c) {
    c.enqueue({ type: "text-delta", id: "1", delta: "mine" });
    c.enqueue({ type: "finish", finishReason: { unified: "stop", raw: "stop" }, usage: {} }); c.close(); } }) }; } }`;
  const files: Record<string, string> = {
    "own.mjs": `export default { id: "x", ${stream} };`,
    "named.mjs": `export const model = { id: "x", ${stream} };`,
    "made.mjs": `export default async () => (${sdk});`,
    "sdk.mjs": `export default ${sdk};`,
    "none.mjs": "export default 7;",
    "broken.mjs": "export default nothing.at.all;",
    "typed.ts": "export default {} as object;",
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(cwd, name), text);
  const catalog = new Catalog({ env: {}, cwd });
  for (const name of ["own.mjs", "named.mjs", "made.mjs", "sdk.mjs"]) {
    const model = catalog.model(`module:./${name}`);
    assert.is((await drain(model)).text, "mine");
    assert.is(model.id, `module:./${name}`);
  }
  const fails = async (name: string): Promise<string> =>
    (await assert.rejects(drain(catalog.model(`module:./${name}`)), ModelError)).message;
  assert.match(await fails("none.mjs"), /none\.mjs: its default export is no model of the AI SDK/);
  assert.match(await fails("broken.mjs"), /broken\.mjs: it cannot be loaded: nothing is not defined/);
  assert.match(await fails("gone.mjs"), /there is no file .*gone\.mjs/);
  if (process.versions.node.startsWith("20.")) {
    assert.match(await fails("typed.ts"), /cannot read TypeScript: write it in JavaScript, or use Node 22/);
  }
});

test("a load that failed is tried again by the next request", async () => {
  const cwd = temporaryDirectory();
  const model = new Catalog({ env: {}, cwd }).model("module:./late.mjs");
  await assert.rejects(drain(model), /there is no file/);
  const finish = '{ type: "finish", reason: "stop", usage: { inputTokens: 0, outputTokens: 0 } }';
  writeFileSync(join(cwd, "late.mjs"), `export default { id: "x", async *stream() { yield ${finish}; } };`);
  assert.is((await drain(model, ASK)).reason, "stop");
});

test("nothing of a provider is loaded by a name, only by the first request", async () => {
  const cwd = temporaryDirectory();
  const folder = join(cwd, "package");
  mkdirSync(folder);
  writeFileSync(join(folder, "index.mjs"), "globalThis.loaded = true; export const other = 1;");
  const url = new URL(`file://${join(folder, "index.mjs")}`).href;
  const catalog = new Catalog({ env: { OPENAI_API_KEY: "k" }, find: () => ({ version: "9.0.0", url }) });
  const model = catalog.model("openai:gpt-5-mini");
  assert.is(catalog.problem("openai:gpt-5-mini"), undefined);
  catalog.providers();
  assert.is((globalThis as { loaded?: boolean }).loaded, undefined);
  const error = await assert.rejects(drain(model), ModelError);
  assert.is((globalThis as { loaded?: boolean }).loaded, true);
  assert.is(error.message, "@ai-sdk/openai 9.0.0 is not a version known here");
});

// --- what is usable ---

async function fakeOllama(models: readonly string[]): Promise<{ url: string; stop: () => void }> {
  const fake = createServer((request, response) => {
    const data = models.map((id) => ({ id, object: "model" }));
    response
      .writeHead(request.url === "/v1/models" ? 200 : 404)
      .end(JSON.stringify({ object: "list", data }));
  });
  await new Promise<void>((resolve) => fake.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(fake.address() as AddressInfo).port}`, stop: () => fake.close() };
}

test("a local server that answers is offered with its models, one that does not costs a moment", async () => {
  const ollama = await fakeOllama(["qwen3:8b", "llama3.2:3b", "\u001b[31mred"]);
  const list = await listUsable(new Catalog({ env: { OLLAMA_HOST: ollama.url } }));
  const local = list.find(({ name }) => name === "openai-compatible")!;
  assert.equal(local, {
    name: "openai-compatible",
    ready: true,
    says: `${ollama.url} answers with qwen3:8b, llama3.2:3b`,
    models: ["qwen3:8b", "llama3.2:3b"],
    example: "openai-compatible:qwen3:8b",
  });
  assert.match(howToBegin(list), /"model":"openai-compatible:qwen3:8b"/);
  const bare = await listUsable(new Catalog({ env: { OLLAMA_HOST: ollama.url }, find: () => undefined }));
  assert.match(
    howToBegin(bare),
    /answers, but the package @ai-sdk\/openai-compatible is missing: npm install/,
  );
  ollama.stop();

  const began = performance.now();
  const mute = await ProviderServer.start();
  mute.play({ chunks: [], mute: true });
  const none = await listUsable(new Catalog({ env: { OLLAMA_HOST: mute.url } }), { timeoutMs: 50 });
  assert.match(none.find(({ name }) => name === "openai-compatible")!.says, /^nothing answers at /);
  assert.ok(performance.now() - began < 5000);
  assert.match(howToBegin(none), /npm install @ai-sdk\/openai\), set its key \(OPENAI_API_KEY\)/);
  await mute.stop();
});

test("haulout models lists what is usable; a first start says how to add a model and offers what is there", async () => {
  const ollama = await fakeOllama(["qwen3:8b"]);
  const env = {
    OLLAMA_HOST: ollama.url,
    ANTHROPIC_API_KEY: "hush-7Q4x",
    OPENAI_API_KEY: "",
    GEMINI_API_KEY: "",
  };
  const cwd = temporaryDirectory();
  const run = async (...args: string[]): Promise<string> => {
    const child = spawnNode([compiled("server/main.ts"), ...args], { cwd, env });
    assert.is((await child.exited).code, 0, child.stderr.join("\n"));
    return child.stdout.join("\n");
  };
  const text = await run("models");
  assert.match(
    text,
    /^ready {2}anthropic +key from ANTHROPIC_API_KEY, @ai-sdk\/anthropic 3\.\S+; for example anthropic:/m,
  );
  assert.match(text, /^ {2}- {4}openai +it needs a key: set OPENAI_API_KEY, or models\.openai\.apiKey/m);
  assert.match(text, /^ready {2}openai-compatible +http:\/\/127\.0\.0\.1:\d+ answers with qwen3:8b$/m);
  assert.match(text, /^ready {2}scripted /m);
  const { models } = JSON.parse(await run("models", "--json"));
  assert.equal(
    models.map(({ name }: { name: string }) => name),
    ["openai", "anthropic", "google", "openai-compatible", "module", "scripted"],
  );
  assert.not.match(text + JSON.stringify(models), /hush/);

  const started = spawnNode([compiled("server/main.ts"), "serve"], {
    cwd,
    env: { ...env, ANTHROPIC_API_KEY: "", HAULOUT_PORT: "0", HAULOUT_STORE: "memory" },
  });
  await started.waitForLine(
    /^The demo agent is no language model\..* openai-compatible: .* answers with qwen3:8b\.$/,
  );
  await started.waitForLine(/^ {2}\{"agents":\[.*"model":"openai-compatible:qwen3:8b"\}\]\}$/);
  started.kill("SIGTERM");
  assert.is((await started.exited).code, 0);
  ollama.stop();
});

test.run();
