/**
 * The command as a process: what it prints first, check, help, errors in a line each, signals and exit codes.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { spawnNode, temporaryDirectory, type Exit, type TestProcess } from "../support/process.ts";
import { compiled } from "../support/root.ts";
import { assert, suite } from "../support/suite.ts";
import { Peer } from "./socket/harness.ts";

const test = suite("main");
const LISTENING = /^haulout listening on (http:\/\/127\.0\.0\.1:(\d+))$/;

function haulout(
  args: readonly string[],
  env: Record<string, string> = {},
  config?: unknown,
): TestProcess & { cwd: string } {
  const cwd = temporaryDirectory();
  if (config !== undefined) writeFileSync(join(cwd, "haulout.json"), JSON.stringify(config));
  return Object.assign(spawnNode([compiled("server/main.ts"), ...args], { cwd, env }), { cwd });
}

async function ended(process: TestProcess): Promise<{ code: Exit["code"]; stdout: string; stderr: string }> {
  const { code } = await process.exited;
  return { code, stdout: process.stdout.join("\n"), stderr: process.stderr.join("\n") };
}

test("serves without any setting, says where on its first line and how to go on after it", async () => {
  const server = haulout([], { HAULOUT_PORT: "0" });
  const [, url, port] = await server.waitForLine(LISTENING);
  assert.is(server.stdout[0], `haulout listening on ${url}`);
  await server.waitForLine(/log follows/);
  const text = server.stdout.join("\n");
  for (const word of [
    ` chat`,
    "--as",
    "tools ./",
    "watch",
    'from "haulout/client"',
    `HAULOUT_URL=ws://127.0.0.1:${port}/ws`,
  ]) {
    assert.ok(text.includes(word), `${word} in\n${text}`);
  }
  const peer = await Peer.greeted(`ws://127.0.0.1:${port}/ws`);
  peer.send({ type: "listAgents", id: 1 });
  assert.equal(
    (await peer.next())["items"].map((agent: { name: string }) => agent.name),
    ["demo"],
  );

  const began = performance.now();
  server.kill("SIGTERM");
  assert.is((await peer.until("disconnect")).at(-1)!["code"], 4000);
  assert.equal(await server.exited, { code: 0, signal: null });
  assert.ok(performance.now() - began < 2000);
  const log = server.stderr.map((line) => JSON.parse(line));
  assert.equal([log[0].msg, log.at(-1).msg], ["ready", "stopped"]);
});

test("SIGINT stops as well; a second signal does not wait", async () => {
  const patient = { readyWaitMs: 60_000 };
  const server = haulout(["serve"], { HAULOUT_PORT: "0", HAULOUT_STORE: "memory" }, patient);
  await server.waitForLine(LISTENING);
  server.kill("SIGINT");
  while (!server.stderr.some((line) => line.includes('"stopping"')))
    await new Promise((resolve) => setImmediate(resolve));
  server.kill("SIGTERM");
  assert.equal(await server.exited, { code: 1, signal: null });
});

test("with a token in the environment it may bind outward, and only with it one gets in", async () => {
  const refused = await ended(haulout(["serve"], { HAULOUT_HOST: "0.0.0.0", HAULOUT_PORT: "0" }));
  assert.is(refused.code, 1);
  assert.match(refused.stderr, /^HAULOUT_HOST: others can reach 0\.0\.0\.0.*HAULOUT_TOKEN/);
  const env = {
    HAULOUT_HOST: "0.0.0.0",
    HAULOUT_PORT: "0",
    HAULOUT_STORE: "memory",
    HAULOUT_TOKEN: "open-sesame",
  };
  const server = haulout(["serve"], env);
  const [, port] = await server.waitForLine(/^haulout listening on http:\/\/0\.0\.0\.0:(\d+)$/);
  const url = `ws://127.0.0.1:${port}/ws`;
  await Peer.greeted(url, { token: "open-sesame" });
  const peer = await Peer.open(url);
  peer.send({ type: "hello", protocol: 1, token: "guess" });
  assert.is((await peer.next())["code"], "unauthenticated");
  server.kill();
  await server.exited;
  assert.not.match([...server.stdout, ...server.stderr].join("\n"), /open-sesame|guess/);
});

test("check says ok, or every fault in a line, by its exit code too", async () => {
  const [good, bad, model] = await Promise.all([
    ended(haulout(["check"], {}, { port: 1, agents: [{ name: "helper" }] })),
    ended(haulout(["check"], { HAULOUT_LOG: "loud" }, { prot: 1, agents: [{ name: "a b" }] })),
    ended(haulout(["check"], { OPENAI_API_KEY: "" }, { agents: [{ name: "a", model: "openai:gpt" }] })),
  ]);
  assert.equal(good, { code: 0, stdout: "ok", stderr: "" });
  assert.equal([bad.code, bad.stdout], [1, ""]);
  assert.equal(
    bad.stderr
      .split("\n")
      .map((line) => line.split(": ").slice(0, 2).join(": "))
      .toSorted(),
    [
      "HAULOUT_LOG: Invalid option",
      "haulout.json: agents[0].name",
      'haulout.json: unknown key "prot"; did you mean "port"?',
    ],
  );
  assert.equal(model, {
    code: 1,
    stdout: "",
    stderr:
      'haulout.json: agents[0].model: "openai:gpt": it needs a key: ' +
      "set OPENAI_API_KEY, or models.openai.apiKey in the configuration",
  });
});

test("a taken port and a taken directory are said in a line", async () => {
  const server = haulout(["serve"], { HAULOUT_PORT: "0" });
  const [, , port] = await server.waitForLine(LISTENING);
  const sameport = await ended(haulout(["serve"], { HAULOUT_PORT: port!, HAULOUT_STORE: "memory" }));
  assert.equal([sameport.code, sameport.stderr.split("\n").length], [1, 1]);
  assert.match(sameport.stderr, new RegExp(`^haulout: port ${port} is taken; .*HAULOUT_PORT`));
  const env = { HAULOUT_PORT: "0", HAULOUT_DATA: join(server.cwd, "haulout-data") };
  const samedata = await ended(haulout(["serve"], env));
  assert.equal([samedata.code, samedata.stderr.split("\n").length], [1, 1]);
  assert.match(samedata.stderr, /^haulout: .*haulout-data/);
  server.kill();
  assert.is((await server.exited).code, 0);
});

test("help, version and misuse", async () => {
  const [help, serveHelp, version, ...misuses] = await Promise.all(
    [["--help"], ["serve", "--help"], ["--version"], ["dance"], ["serve", "now"], ["--loud"]].map((args) =>
      ended(haulout(args)),
    ),
  );
  assert.is(help!.code, 0);
  for (const command of ["serve", "check", "chat", "tools", "watch", "sessions"])
    assert.match(help!.stdout, command);
  assert.equal(serveHelp, help);
  assert.match(version!.stdout, /^\d+\.\d+\.\d+/);
  for (const misuse of misuses) {
    assert.is(misuse.code, 2);
    assert.match(misuse.stderr, /try: haulout --help$/);
  }
});

test.run();
