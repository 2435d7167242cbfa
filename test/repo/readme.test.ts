/**
 * What README.md says, held against the code: settings and their defaults, limits, paths over HTTP, commands, scripts,
 * the map of folders, links. What it tells a newcomer to type is run by readme-clone.test.ts.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ConfigError, loadConfig } from "../../server/config.ts";
import { agentDefinition } from "../../server/agent/agent.ts";
import { Catalog } from "../../server/model/catalog.ts";
import { compiled, repositoryRoot } from "../support/root.ts";
import { spawnNode, temporaryDirectory } from "../support/process.ts";
import { assert, suite } from "../support/suite.ts";
import { codeBlocks, localLinks, plain, tableUnder } from "./markdown.ts";

const test = suite("README.md");

const page = readFileSync(join(repositoryRoot, "README.md"), "utf8");
const scripts = JSON.parse(readFileSync(join(repositoryRoot, "package.json"), "utf8")).scripts as Record<
  string,
  string
>;
const source = (path: string): string => readFileSync(join(repositoryRoot, path), "utf8");

async function haulout(
  args: string[],
  cwd: string,
  env: Record<string, string | undefined> = {},
): Promise<{ code: number | null; output: string }> {
  const child = spawnNode([compiled("server/main.ts"), ...args], { cwd, env });
  const { code } = await child.exited;
  return { code, output: [...child.stdout, ...child.stderr].join("\n") };
}

test("links lead to files, and no line runs off the page", () => {
  const links = localLinks(page);
  assert.ok(links.length > 0);
  for (const link of links) assert.ok(existsSync(join(repositoryRoot, link)), link);
  for (const line of page.split("\n")) {
    assert.ok(line.length <= 130 || line.startsWith("|") || line.startsWith("{"), line);
  }
});

test("the settings have the names and defaults of its table", () => {
  const defaults: Record<string, unknown> = { ...loadConfig({ env: {}, cwd: "/" }) };
  const samples: Record<string, string> = {
    HAULOUT_HOST: "::1",
    HAULOUT_PORT: "1",
    HAULOUT_DATA: "/x",
    HAULOUT_STORE: "memory",
    HAULOUT_REDIS_URL: "redis://x",
    HAULOUT_LOG: "trace",
    HAULOUT_PROVIDER_GRACE_MS: "1",
  };
  const rows = tableUnder(page, "Settings");
  const named: string[] = [];
  for (const [variable = "", fields = "", value = ""] of rows) {
    const given = fields === "" ? [] : fields.split(", ").map(plain);
    named.push(...given);
    const values = value.split(", ").map(plain);
    for (const [at, field] of given.entries()) {
      if (field === "auth" || field === "agents" || field === "models") continue;
      const shown = field === "data" ? join("/", values[at] ?? "") : (values[at] ?? "");
      assert.is(JSON.stringify(defaults[field] ?? "").replaceAll('"', ""), shown, field);
    }
    const name = plain(variable);
    const [field] = given;
    if (name !== "" && field !== undefined) {
      const sample = samples[name];
      assert.ok(sample !== undefined, `${name} has no sample here`);
      assert.is(loadConfig({ env: { [name]: sample }, cwd: "/" }).where(field), name);
    }
  }
  const all = [...source("server/config.ts").matchAll(/\bHAULOUT_[A-Z_]+/g)].map(([name]) => name);
  for (const name of new Set(all))
    assert.ok(
      rows.some(([cell]) => plain(cell ?? "") === name),
      `${name} is missing`,
    );
  const known = fieldsOfFile();
  assert.equal(named.toSorted(), [...known].toSorted());
});

/** The fields of the file, read from the text of its schema, which is not exported. */
function fieldsOfFile(): Set<string> {
  const schema =
    /const file = z\.strictObject\(\{\n([\s\S]*?)\n\}\);/.exec(source("server/config.ts"))?.[1] ?? "";
  return new Set(
    [...schema.matchAll(/^ {2}(\w+):|^ {2}(auth),?$/gm)].map(([, name, bare]) => name ?? bare ?? ""),
  );
}

test("its haulout.json is accepted, and a token's rights are as it says", async () => {
  const block = codeBlocks(page).find(({ name }) => name === "haulout.json");
  const folder = temporaryDirectory();
  writeFileSync(join(folder, "haulout.json"), block!.text);
  assert.equal(await haulout(["check"], folder), { code: 0, output: "ok" });
  writeFileSync(join(folder, "haulout.json"), block!.text.replace('"host"', '"hots"'));
  const wrong = await haulout(["check"], folder);
  assert.is(wrong.code, 1);
  assert.match(wrong.output, /haulout\.json: unknown key "hots".*"host"/);
});

test("its settings for tokens of an issuer are accepted", async () => {
  const block = codeBlocks(page).find(({ name }) => name === "jwt.json");
  const folder = temporaryDirectory();
  writeFileSync(join(folder, "haulout.json"), block!.text);
  assert.equal(await haulout(["check"], folder), { code: 0, output: "ok" });
  writeFileSync(
    join(folder, "haulout.json"),
    block!.text.replace(/"audience".*/, "").replace(/,(\s*})/, "$1"),
  );
  const wrong = await haulout(["check"], folder);
  assert.is(wrong.code, 1);
  assert.match(wrong.output, /auth: jwksUrl: issuer and audience are needed/);
});

test("its agent on a language model is accepted as soon as there is a key", async () => {
  const block = codeBlocks(page).find(({ name }) => name === "models.json");
  const folder = temporaryDirectory();
  writeFileSync(join(folder, "haulout.json"), block!.text);
  const without = await haulout(["check"], folder, { OPENAI_API_KEY: undefined });
  assert.is(without.code, 1);
  assert.match(without.output, /OPENAI_API_KEY/);
  assert.equal(await haulout(["check"], folder, { OPENAI_API_KEY: "any" }), { code: 0, output: "ok" });
});

test("the providers have the packages and keys of its table", () => {
  const rows = tableUnder(page, "Language models").slice(0, -1);
  const statuses = new Catalog({ env: {} }).providers();
  const shown = rows.map(([name = "", pack = "", key = ""]) => {
    const keys = key.startsWith("`") ? [plain(key)] : [];
    return [/^`([a-z-]+):`/.exec(name)?.[1], plain(pack), ...keys];
  });
  const known = statuses.map(({ provider }) => [
    provider.name,
    provider.package,
    ...(provider.keyNeeded ? provider.keys.slice(0, 1) : []),
  ]);
  assert.equal(shown, known);
});

test("it names every field of an agent", () => {
  const bullet = /^- \*\*Agents\*\*:(?:.*\n)(?: {2}.*\n)*/m.exec(page)?.[0] ?? "";
  const named = [...bullet.matchAll(/`(\w+)`/g)]
    .map(([, name = ""]) => name)
    .filter((name) => name !== "demo");
  assert.equal(named.toSorted(), Object.keys(agentDefinition.shape).toSorted());
});

test("its rules of approval are settings that work", () => {
  const block = codeBlocks(page).find(({ name }) => name === "approvals.json");
  const folder = temporaryDirectory();
  writeFileSync(join(folder, "haulout.json"), block?.text ?? "");
  const { agents } = loadConfig({ env: {}, cwd: folder });
  assert.equal(Object.keys(agents?.[0]?.approvals ?? {}), ["pay_*", "write_file"]);
});

test("its webhooks are settings that work, and a secret that is none is not repeated", () => {
  const block = codeBlocks(page).find(({ name }) => name === "webhooks.json")?.text ?? "";
  const folder = temporaryDirectory();
  const load = (text: string): ReturnType<typeof loadConfig> => {
    writeFileSync(join(folder, "haulout.json"), text);
    return loadConfig({ env: {}, cwd: folder });
  };
  const { webhooks, webhookDelayMs } = load(block);
  assert.equal([webhooks?.[0]?.url, webhookDelayMs], ["https://example.com/hook", 10_000]);
  assert.throws(
    () => load(block.replace("whsec_", "hunter2")),
    (error: Error) => error.message.includes("webhooks[0].secret") && !error.message.includes("hunter2"),
  );
  assert.throws(() => load(block.replace("https:", "file:")), /webhooks\[0\]\.url: an http/);
});

test("anything but loopback needs tokens", async () => {
  const folder = temporaryDirectory();
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "haulout.json"), `{"host":"0.0.0.0"}`);
  const { code, output } = await haulout(["serve"], folder);
  assert.is(code, 1);
  assert.match(output, /HAULOUT_TOKEN/);
  assert.throws(
    () => loadConfig({ env: { HAULOUT_STORE: "redis" }, cwd: folder }),
    (error: unknown) => error instanceof ConfigError,
  );
});

/**
 * Where a limit may stand: a constant, a default after `??`, a default of a schema, a value in an object. Whoever moves
 * one changes the table.
 */
const definitions = (name: string): RegExp[] => [
  new RegExp(`\\b${name}(?:: number)? = ([\\d_ *]+);`),
  new RegExp(`\\b${name} \\?\\? ([\\w *]+?) ?[,;)}\\n]`),
  new RegExp(`\\b${name}: z\\b[^:]*?\\.default\\(([\\d_ *]+)\\)`),
  new RegExp(`\\b${name}: ([\\d_ *]+),`),
];

test("each limit stands in the code where its table says", () => {
  const rows = tableUnder(page, "Limits");
  assert.ok(rows.length > 25);
  for (const [what = "", bound = "", place = ""] of rows) {
    const [path = "", name = ""] = place.split(" ").map(plain);
    const text = textOf(path);
    const found = definitions(name).map((pattern) => pattern.exec(text)?.[1]);
    const defined = found.find((value) => value !== undefined);
    assert.ok(defined !== undefined, `${what}: no ${name} in ${path}`);
    assert.is(numberOf(defined, text), inUnits(bound), `${what}: ${path} says ${defined}`);
  }
});

test("what haulout.json may limit is in the table of limits", () => {
  const named = new Set(
    tableUnder(page, "Limits").map(([, , place = ""]) => plain(place.split(" ")[1] ?? "")),
  );
  const schema = /const limits = z\.strictObject\(\{\n([\s\S]*?)\n\}\);/.exec(
    source("server/config/limits.ts"),
  )?.[1];
  const names = [...(schema ?? "").matchAll(/^ {2}(\w+):/gm)].map(([, name = ""]) => name);
  assert.ok(names.length > 20);
  for (const name of names) assert.ok(named.has(name), `${name} is missing`);
});

/** A file, or all files of a folder. */
function textOf(path: string): string {
  if (path.endsWith(".ts")) return source(path);
  const names = readdirSync(join(repositoryRoot, path)).filter((name) => name.endsWith(".ts"));
  return names.map((name) => source(join(path, name))).join("\n");
}

/** `4 * 2 ** 20`, or the name of a constant of the same file. */
function numberOf(expression: string, text: string): number {
  const constant = /^[A-Z_]+$/.test(expression)
    ? new RegExp(`\\b${expression} = ([\\d_ *]+);`).exec(text)?.[1]
    : expression;
  return (constant ?? "NaN")
    .replaceAll("_", "")
    .split(/(?<!\*) \* (?!\*)/)
    .map((factor) =>
      factor
        .split(" ** ")
        .map(Number)
        .reduceRight((exponent, base) => base ** exponent),
    )
    .reduce((product, factor) => product * factor, 1);
}

function inUnits(bound: string): number {
  const [, number = "", unit = ""] = /^(\d+)(?: (\w+))?$/.exec(bound) ?? [];
  const units: Record<string, number> = { "": 1, KiB: 2 ** 10, MiB: 2 ** 20, s: 1000, min: 60_000 };
  return Number(number) * (units[unit] ?? NaN);
}

test("the paths over HTTP answer as its table says", async () => {
  const cwd = temporaryDirectory();
  const env = { HAULOUT_PORT: "0", HAULOUT_STORE: "memory", HAULOUT_LOG: "silent" };
  const server = spawnNode([compiled("server/main.ts"), "serve"], { cwd, env });
  const [, url = ""] = await server.waitForLine(/listening on (\S+)/);
  const rows = tableUnder(page, "Over HTTP");
  for (const [path = ""] of rows) {
    const { status } = await fetch(url + plain(path));
    assert.is(status, { "/ws": 426, "/ticket": 405 }[plain(path)] ?? 200, path);
  }
  assert.equal(
    rows.map(([path = ""]) => plain(path)),
    ["/", "/ws", "/healthz", "/readyz", "/metrics", "/ticket"],
  );
  server.kill();
  await server.exited;
});

test("the commands are those that help lists", async () => {
  const { output } = await haulout(["--help"], temporaryDirectory());
  const named = tableUnder(page, "Commands").map(([command = ""]) => plain(command));
  const helped = [...output.matchAll(/^(haulout [a-z]+(?: \[?[A-Z]+\]?)?) {2}/gm)].map(
    ([, command = ""]) => command,
  );
  assert.equal(named, helped);
});

test("scripts exist and what they start has a source", () => {
  const named = new Set([...page.matchAll(/npm run (\w+)/g)].map(([, name = ""]) => name));
  assert.ok(named.size > 0);
  for (const name of [...named, "test", "start"]) {
    const script = scripts[name];
    assert.ok(script !== undefined, name);
    for (const [, built = ""] of script.matchAll(/\.build\/(\S+)\.js/g)) {
      assert.ok(existsSync(join(repositoryRoot, `${built}.ts`)), `npm run ${name} starts ${built}.ts`);
    }
  }
  assert.ok(existsSync(join(repositoryRoot, ".ci", "run")));
});

test("the map leads to what is there", () => {
  const map = codeBlocks(page).find(({ name }) => name === "map")!.text;
  const paths = [...map.matchAll(/^(\S+)/gm)].map(([path]) => path);
  assert.ok(paths.length > 8);
  for (const path of paths) assert.ok(existsSync(join(repositoryRoot, path)), path);
  for (const path of page.match(/\b(?:test|server|client|protocol)\/[\w/.-]+\.\w+/g) ?? []) {
    assert.ok(existsSync(join(repositoryRoot, path)), path);
  }
});

test("it gives twelve promises", () => {
  const section = page.split("## What it promises")[1]?.split("\n## ")[0] ?? "";
  assert.equal(
    [...section.matchAll(/^(\d+)\. /gm)].map(([, number]) => Number(number)),
    [...Array(12).keys()].map((at) => at + 1),
  );
});

test("every block is one that a test knows", () => {
  const known =
    /^(?:sh (?:setup|chat|join|tool-file|tools|run-ask|docker)|text (?:script|question|map)|ts \w+\.ts|json (?:approvals|haulout|jwt|models|webhooks)\.json|text)$/;
  for (const { language, name, line } of codeBlocks(page)) {
    assert.match(`${language} ${name}`.trim(), known, `line ${line}`);
  }
});

test.run();
