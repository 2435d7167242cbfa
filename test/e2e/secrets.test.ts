/**
 * Secrets of a whole server: one planted in every setting that may hold one, then logins that fail, a model that quotes its
 * request, settings that cannot be read and a kill. None of them is in what it prints, logs, audits, measures or sends.
 */
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { spawnNode, temporaryDirectory } from "../support/process.ts";
import { compiled } from "../support/root.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { deferred, until } from "../support/wait.ts";
import { Wire } from "../support/wire.ts";
import { sign } from "../server/auth/issuer.ts";
import { calls, newSession, say, script } from "./play.ts";

const test = suite("secrets of a server");
const folder = temporaryDirectory();
const MARK = "hush-4pW9";
const JWT_SECRET = `${MARK}-jwt-secret-of-more-than-thirty-two-bytes`;
const ANN = `${MARK}-token-of-ann`;
const ADMIN = `${MARK}-token-of-admin`;
const GUESS = `${MARK}-guess`;
const auditLog = join(folder, "audit.jsonl");

/** Base64 has no hyphen. */
const HOOK_MARK = "hush4pW9";
const HOOK_SECRET = `whsec_${HOOK_MARK.repeat(4)}`;
const hooked = deferred<IncomingHttpHeaders>();

/** A model's server, and who is told of requests: refuses, and says why with all that it was sent. */
const model = createServer((request, response) => {
  if (request.url?.endsWith("-hook") === true) hooked.resolve(request.headers);
  response.writeHead(401, { "content-type": "application/json" });
  response.end(
    JSON.stringify({ error: { message: `bad key: ${JSON.stringify(request.headers)} ${request.url}` } }),
  );
});
test.before(async () => {
  const listening = deferred();
  model.listen(0, "127.0.0.1", () => listening.resolve());
  await listening.promise;
});
test.after(() => {
  model.close();
  model.closeAllConnections();
});

function settings(): Record<string, unknown> {
  const { port } = model.address() as AddressInfo;
  return {
    auditLog,
    auth: { mode: "jwt", jwt: { secret: JWT_SECRET }, tokens: [{ token: ANN, user: "ann" }] },
    models: {
      "openai-compatible": {
        baseURL: `http://127.0.0.1:${port}/${MARK}-path/v1`,
        apiKey: `${MARK}-api-key`,
        headers: { "x-account": `${MARK}-header` },
      },
    },
    agents: [
      { name: "quoted", model: "openai-compatible:any", headers: { "x-team": `${MARK}-of-agent` } },
      { name: "asker", tools: ["ask"] },
    ],
    webhooks: [{ url: `http://127.0.0.1:${port}/${MARK}-hook`, secret: HOOK_SECRET }],
    webhookDelayMs: 1,
  };
}

function silent(told: unknown, what: string): void {
  const text = typeof told === "string" ? told : JSON.stringify(told);
  for (const mark of [MARK, HOOK_MARK, Buffer.from(HOOK_MARK, "base64").toString("latin1")]) {
    const at = text.indexOf(mark);
    assert.ok(at < 0, `${what}: ${text.slice(Math.max(0, at - 300), at + 100)}`);
  }
}

test("whatever fails, none is printed, logged, audited, measured or sent", { limitMs: 60_000 }, async () => {
  const env = { HAULOUT_LOG: "trace", HAULOUT_TOKEN: ADMIN, ANTHROPIC_API_KEY: `${MARK}-of-environment` };
  const server = await TestServer.start({ config: settings(), env });
  const authorization = `Bearer ${ANN}`;
  const ticketed = await fetch(`${server.http}/ticket`, { method: "POST", headers: { authorization } });
  const { ticket } = (await ticketed.json()) as { ticket: string };
  const signed = await sign(JWT_SECRET);
  const frames: unknown[] = [];
  const wires: Wire[] = [];
  for (const token of [ticket, signed, ANN]) wires.push(await Wire.connect(server.url, { token }));
  for (const token of [GUESS, ticket, `${signed}x`, await sign(`${GUESS}-with-more-than-thirty-two-bytes`)]) {
    const wire = await Wire.open(server.url);
    await assert.rejects(wire.hello({ token }), /unauthenticated/);
    frames.push(...wire.received.map(({ frame }) => frame));
  }
  const bad = { authorization: `Bearer ${GUESS}` };
  const page = await fetch(`${server.http}/metrics?token=${GUESS}`, { headers: bad });
  const ann = wires.at(-1)!;
  const { session } = await ann.ok("createSession", { agent: "quoted" });
  await ann.ok("attach", { session });
  await ann.ok("send", { session, key: "k", content: "?" });
  const over = await ann.frame((frame) => frame["event"]?.["type"] === "run-finished");
  assert.is(over["event"]["reason"], "error");
  await assert.rejects(ann.ok("refreshToken", { token: GUESS }), /unauthenticated/);
  await assert.rejects(ann.ok("join", { token: `ses_none.inv_1.${GUESS}` }), /not-found/);
  const asker = await newSession(ann, { agent: "asker" });
  const question = { questions: [{ id: "q", text: "Now?", kind: "text" }] };
  await say(ann, asker, script(calls(["ask", question])));
  assert.match(String((await hooked.promise)["webhook-signature"]), /^v1,/);
  const logged = (): boolean => server.process.stderr.some((line) => line.includes("nobody could be told"));
  await until(logged, 10_000, "the refusal in the log");
  const headers = { authorization: `Bearer ${ADMIN}` };
  const metrics = await fetch(`${server.http}/metrics`, { headers });
  assert.is(metrics.status, 200);
  silent(await metrics.text(), "the metrics");
  silent(await page.text(), "a refused page");
  for (const wire of wires) frames.push(...wire.received.map(({ frame }) => frame));
  await server.kill();
  const again = await server.again();
  await again.stop();
  silent(frames, "the frames");
  const audited = readFileSync(auditLog, "utf8");
  assert.match(audited, /unauthenticated/);
  silent(audited, "the audit log");
  const printed = [server, again].flatMap(({ process }) => [...process.stdout, ...process.stderr]).join("\n");
  silent(printed, "what it printed");
  for (const secret of [ticket, signed])
    assert.not([printed, audited, JSON.stringify(frames)].join().includes(secret));
});

test("neither check nor a start that fails quotes one", { limitMs: 180_000 }, async () => {
  const key = join(folder, "key.pem");
  writeFileSync(key, `-----BEGIN PRIVATE KEY-----\n${MARK}\n-----END PRIVATE KEY-----\n`);
  const database = `postgres://haulout:${MARK}-password@127.0.0.1:1/haulout`;
  const token = { token: ANN, user: "ann" };
  const cases: Record<string, [content: object | string, env?: Record<string, string>]> = {
    good: [settings()],
    "store of the environment": [settings(), { HAULOUT_STORE: database }],
    "store of the file": [{ ...settings(), store: database }],
    "no store": [{ ...settings(), store: `mysql://haulout:${MARK}@127.0.0.1/haulout` }],
    redis: [{ ...settings(), redisUrl: `redis://:${MARK}@127.0.0.1:1` }],
    "no redis": [settings(), { HAULOUT_REDIS_URL: `http://:${MARK}@127.0.0.1:1` }],
    "key of tls": [{ ...settings(), tls: { cert: key, key } }],
    "key of jwt": [
      { auth: { mode: "jwt", jwt: { publicKey: readFileSync(key, "utf8"), algorithms: ["RS256"] } } },
    ],
    "two forms of a token": [{ auth: { mode: "token", tokens: [{ ...token, sha256: MARK }] } }],
    "token of a wrong kind": [
      { auth: { mode: "token", tokens: [{ ...token, rights: [MARK] }, token, token] } },
    ],
    "key of a webhook": [{ ...settings(), webhooks: [{ url: "http://a.example", secret: MARK }] }],
    "address of a webhook": [
      { ...settings(), webhooks: [{ url: `ftp://${MARK}@a.example`, secret: HOOK_SECRET }] },
    ],
    "broken file": [`{"auth": {"mode": "token", "tokens": [{"token": "${ANN}" "user"`],
  };
  for (const [name, [content, env]] of Object.entries(cases)) {
    const path = join(temporaryDirectory(), "haulout.json");
    writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
    const checked = spawnNode([compiled("server/main.ts"), "check"], {
      env: { HAULOUT_CONFIG: path, ...env },
    });
    const { code } = await checked.exited;
    const printed = [...checked.stdout, ...checked.stderr].join("\n");
    if (name === "good") assert.is(code, 0, printed);
    silent(printed, `check with ${name}`);
    if (code === 0) continue;
    const data = {
      HAULOUT_CONFIG: path,
      HAULOUT_PORT: "0",
      HAULOUT_DATA: join(temporaryDirectory(), "data"),
    };
    const started = spawnNode([compiled("server/main.ts"), "serve"], { env: { ...data, ...env } });
    await started.exited;
    silent([...started.stdout, ...started.stderr].join("\n"), `serve with ${name}`);
  }
});

test.run();
