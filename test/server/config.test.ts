/**
 * Settings: what holds without any, which source is stronger, and that every error says where it is and why, in a line.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ConfigError, loadConfig, type Config } from "../../server/config.ts";
import { temporaryDirectory } from "../support/process.ts";
import { assert, suite } from "../support/suite.ts";

const test = suite("config");

function load(content?: unknown, env: Record<string, string | undefined> = {}): Config {
  const cwd = temporaryDirectory();
  if (content !== undefined) {
    writeFileSync(join(cwd, "haulout.json"), typeof content === "string" ? content : JSON.stringify(content));
  }
  return loadConfig({ cwd, env });
}

function problems(content: unknown, env: Record<string, string | undefined> = {}): readonly string[] {
  try {
    load(content, env);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  throw new Error("nothing was wrong");
}

test("without file and environment there are defaults", () => {
  const cwd = temporaryDirectory();
  const { warnings, where, path, ...config } = loadConfig({ cwd, env: {} });
  assert.equal(config, {
    host: "127.0.0.1",
    port: 4787,
    data: join(cwd, "haulout-data"),
    store: "embedded",
    log: "info",
    providerGraceMs: 30_000,
    models: {},
    readyWaitMs: 0,
    runWaitMs: 0,
    drainSpreadMs: 0,
    openMetrics: false,
    webhookDelayMs: 10_000,
  });
  assert.is(path, join(cwd, "haulout.json"));
  assert.equal(warnings, []);
  assert.is(where("host"), "host");
});

test("the file beats the defaults, the environment beats the file", () => {
  const file = { host: "localhost", port: 1, store: "memory", log: "warn" };
  const config = load(file, { HAULOUT_PORT: "0", HAULOUT_LOG: "debug", HAULOUT_DATA: "/elsewhere" });
  assert.equal([config.host, config.port, config.store, config.log], ["localhost", 0, "memory", "debug"]);
  assert.is(config.data, "/elsewhere");
  assert.equal(["host", "port", "data"].map(config.where), [
    "haulout.json: host",
    "HAULOUT_PORT",
    "HAULOUT_DATA",
  ]);
});

test("every variable sets its field", () => {
  const config = load(undefined, {
    HAULOUT_HOST: "::1",
    HAULOUT_PORT: "80",
    HAULOUT_STORE: "postgres://db/haulout",
    HAULOUT_REDIS_URL: "redis://cache",
    HAULOUT_PROVIDER_GRACE_MS: "500",
  });
  assert.equal(
    [config.host, config.port, config.store, config.redisUrl, config.providerGraceMs],
    ["::1", 80, "postgres://db/haulout", "redis://cache", 500],
  );
});

test("an empty variable is one that is not set", () => {
  const config = load({ port: 5 }, { HAULOUT_PORT: "", HAULOUT_TOKEN: "", HAULOUT_CONFIG: "" });
  assert.is(config.port, 5);
  assert.is(config.auth, undefined);
});

test("HAULOUT_CONFIG names the file, and one that is not there is an error", () => {
  const cwd = temporaryDirectory();
  mkdirSync(join(cwd, "etc"));
  writeFileSync(join(cwd, "etc", "my.json"), '{"port":7}');
  assert.is(loadConfig({ cwd, env: { HAULOUT_CONFIG: "etc/my.json" } }).port, 7);
  assert.throws(
    () => loadConfig({ cwd, env: { HAULOUT_CONFIG: "etc/other.json" } }),
    (error: Error) => error.message === `HAULOUT_CONFIG: there is no file ${join(cwd, "etc", "other.json")}`,
  );
});

test("HAULOUT_TOKEN is one token with all rights, alone or beside those of the file", () => {
  const admin = { token: "secret", user: "admin", name: "admin", rights: ["admin"] };
  assert.equal(load(undefined, { HAULOUT_TOKEN: "secret" }).auth, { mode: "token", tokens: [admin] });
  const jwt = { secret: "s".repeat(32) };
  assert.equal(load({ auth: { mode: "jwt", jwt } }, { HAULOUT_TOKEN: "secret" }).auth, {
    mode: "jwt",
    jwt,
    tokens: [admin],
  });
  assert.equal(load({ auth: { mode: "none" } }, { HAULOUT_TOKEN: "secret" }).auth, {
    mode: "token",
    tokens: [admin],
  });
  const listed = { sha256: "a".repeat(64), user: "ann", rights: ["create:demo", "provide:*", "watch"] };
  assert.equal(load({ auth: { mode: "token", tokens: [listed] } }, { HAULOUT_TOKEN: "secret" }).auth, {
    mode: "token",
    tokens: [listed, admin],
  });
});

test("files are found from where the process was started", () => {
  const cwd = temporaryDirectory();
  const jwt = { jwksFile: "keys.json" };
  writeFileSync(
    join(cwd, "haulout.json"),
    JSON.stringify({ tls: { cert: "a.pem", key: "/b.pem" }, auth: { mode: "jwt", jwt } }),
  );
  const { tls, auth } = loadConfig({ cwd, env: {} });
  assert.equal(tls, { cert: join(cwd, "a.pem"), key: "/b.pem" });
  assert.is(auth?.jwt?.jwksFile, join(cwd, "keys.json"));
});

test("agents get their defaults", () => {
  const { agents } = load({ agents: [{ name: "helper", tools: ["clock"] }] });
  assert.equal([agents![0]!.name, agents![0]!.model, agents![0]!.maxSteps], ["helper", "scripted", 16]);
});

const faults: Record<
  string,
  { file?: unknown; env?: Record<string, string>; expected: (string | RegExp)[] }
> = {
  "a wrong type": { file: { port: "x" }, expected: ["haulout.json: port: expected number, received string"] },
  "a number out of range": { file: { port: 70_000 }, expected: [/^haulout\.json: port: .*65535$/] },
  "a variable that is no number": {
    env: { HAULOUT_PORT: "80a" },
    expected: ["HAULOUT_PORT: expected number, received string"],
  },
  "a variable out of range": { env: { HAULOUT_PORT: "70000" }, expected: [/^HAULOUT_PORT: .*65535$/] },
  "an unknown level": { env: { HAULOUT_LOG: "loud" }, expected: [/^HAULOUT_LOG: .*"warn"/] },
  "a store that is none": {
    env: { HAULOUT_STORE: "mysql://db" },
    expected: ["HAULOUT_STORE: embedded, memory or a postgres:// URL"],
  },
  "an unknown key": {
    file: { prot: 1 },
    expected: ['haulout.json: unknown key "prot"; did you mean "port"?'],
  },
  "an unknown key like no other": { file: { colour: 1 }, expected: ['haulout.json: unknown key "colour"'] },
  "an unknown key in an agent": {
    file: { agents: [{ name: "a" }, { name: "b", maxStep: 3 }] },
    expected: ['haulout.json: agents[1]: unknown key "maxStep"; did you mean "maxSteps"?'],
  },
  "an unknown key in a token": {
    file: { auth: { mode: "token", tokens: [{ token: "t", user: "u", right: ["admin"] }] } },
    expected: ['haulout.json: auth.tokens[0]: unknown key "right"; did you mean "rights"?'],
  },
  "a field of an agent": {
    file: { agents: [{ name: "a b", maxSteps: 0 }] },
    expected: [/^haulout\.json: agents\[0\]\.name: /, /^haulout\.json: agents\[0\]\.maxSteps: .*1$/],
  },
  "two agents of a name": {
    file: { agents: [{ name: "a" }, { name: "a" }] },
    expected: ["haulout.json: agents: two agents have the same name"],
  },
  "a member that is no agent": {
    file: { agents: [{ name: "a", members: ["a", "b"] }] },
    expected: ["haulout.json: agents[0].members[1]: no agent b"],
  },
  "no agent at all": { file: { agents: [] }, expected: [/^haulout\.json: agents: /] },
  "a mode without tokens": {
    file: { auth: { mode: "token" } },
    expected: ["haulout.json: auth.tokens: mode token needs at least one token"],
  },
  "tokens without the mode": {
    file: { auth: { mode: "none", tokens: [{ token: "t", user: "u" }] } },
    expected: ['haulout.json: auth.tokens: tokens are of no use with mode "none"'],
  },
  "a token in both forms or none": {
    file: {
      auth: { mode: "token", tokens: [{ user: "u" }, { user: "u", token: "t", sha256: "a".repeat(64) }] },
    },
    expected: [
      "haulout.json: auth.tokens[0]: either token or sha256 is needed",
      "haulout.json: auth.tokens[1]: either token or sha256 is needed",
    ],
  },
  "a right that is none": {
    file: { auth: { mode: "token", tokens: [{ token: "t", user: "u", rights: ["create:*", "root"] }] } },
    expected: ["haulout.json: auth.tokens[0].rights[1]: admin, watch, create:<glob> or provide:<glob>"],
  },
  "mode jwt without its settings, and those without the mode": {
    file: { auth: { mode: "jwt" } },
    expected: ["haulout.json: auth.jwt: needed with mode jwt, and only there"],
  },
  "an open door that is closed": {
    file: { auth: { mode: "token", tokens: [{ token: "t", user: "u" }], open: true } },
    expected: ['haulout.json: auth.open: of use with mode "none" only'],
  },
  "an unknown key of jwt": {
    file: { auth: { mode: "jwt", jwt: { jwksURL: "https://x/" } } },
    expected: ['haulout.json: auth.jwt: unknown key "jwksURL"; did you mean "jwksUrl"?'],
  },
  "a key set that anybody on the way may change": {
    file: { auth: { mode: "jwt", jwt: { jwksUrl: "http://127.0.0.1.evil.example/keys" } } },
    expected: ["haulout.json: auth.jwt.jwksUrl: https:, or http: on a loopback address"],
  },
  "an algorithm that is none": {
    file: { auth: { mode: "jwt", jwt: { secret: "x", algorithms: ["none"] } } },
    expected: [/^haulout\.json: auth\.jwt\.algorithms\[0\]: .*"RS256"/],
  },
  "prices and budgets that are none": {
    file: { prices: { m: { input: -1, output: 1 } }, budgets: { session: { token: 5 } } },
    expected: [
      /^haulout\.json: prices\.m\.input: /,
      'haulout.json: budgets.session: unknown key "token"; did you mean "tokens"?',
    ],
  },
  "a base path that is none": {
    file: { basePath: "/haulout/" },
    expected: [/^haulout\.json: basePath: a path like \/haulout/],
  },
  "a certificate without key": {
    file: { tls: { cert: "a.pem" } },
    expected: [/^haulout\.json: tls\.key: /],
  },
  "a file that is no object": { file: "[1]", expected: ["haulout.json: an object is needed"] },
  "several things at once": {
    file: { port: -1, host: 3 },
    env: { HAULOUT_LOG: "loud" },
    expected: [/^haulout\.json: host: /, /^haulout\.json: port: /, /^HAULOUT_LOG: /],
  },
};
for (const [what, { file, env, expected }] of Object.entries(faults)) {
  test(`names field, source and reason of ${what}`, () => {
    const found = problems(file, env);
    assert.is(found.length, expected.length, found.join("\n"));
    expected.forEach((line, at) => {
      if (typeof line === "string") assert.is(found[at], line);
      else assert.match(found[at]!, line);
      assert.not(found[at]!.includes("\n"));
    });
  });
}

test("a file that is no JSON is an error that quotes nothing of it", () => {
  for (const text of ['{"auth": {"tokens": [{"token": "hush" "user"', '{"token": "hush", }', "hush"]) {
    const [line] = problems(text);
    assert.match(line!, /^haulout\.json: is not valid JSON: /);
    assert.not.match(line!, /hush/);
  }
});

test("warns of a variable that looks like one of ours", () => {
  const { warnings } = load(undefined, { HAULOUT_PROT: "1", HAULOUT_SEED: "2", HAULOUT_CHROMIUM: "/x" });
  assert.equal(warnings, ["HAULOUT_PROT is not read; did you mean HAULOUT_PORT?"]);
});

test.run();
