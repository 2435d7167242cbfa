/**
 * What README.md tells a newcomer to type, typed: in a copy of the repository without anything built or installed. Set-up
 * commands, two chats and a remote tool, and every TypeScript block, type-checked and run against the server that started.
 * limit: 600 s
 */
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { repositoryRoot } from "../support/root.ts";
import { spawnProcess, temporaryDirectory } from "../support/process.ts";
import type { TestProcess } from "../support/process.ts";
import { assert, suite } from "../support/suite.ts";
import { until } from "../support/wait.ts";
import { codeBlocks } from "./markdown.ts";

const test = suite("README.md in a clone");

const blocks = codeBlocks(readFileSync(join(repositoryRoot, "README.md"), "utf8"));
const clone = join(temporaryDirectory(), "haulout");
/** Not part of a clone: what was installed, built or left behind here. */
const LEFT_OUT = new Set([".git", "node_modules", ".build", "dist", "haulout-data", ".artifacts", "my-data"]);
let url = "";

function block(name: string): string {
  const found = blocks.find((each) => each.name === name);
  if (found === undefined) throw new Error(`README.md has no block ${name}`);
  return found.text;
}

/** Runs what is in a shell block. The server's address is the one thing that a reader would not need to give. */
function type(script: string, env: Record<string, string> = {}): TestProcess {
  const quiet = {
    npm_config_prefer_offline: "true",
    npm_config_audit: "false",
    npm_config_update_notifier: "false",
  };
  return spawnProcess("bash", ["-euo", "pipefail", "-c", script], {
    cwd: clone,
    env: { ...quiet, HAULOUT_LOG: "warn", ...(url === "" ? {} : { HAULOUT_URL: url }), ...env },
  });
}

/** What runs against the server of the second test says so at once when that one failed. */
function needsServer(): void {
  if (url === "") throw new Error("the server did not start");
}

async function finish(child: TestProcess): Promise<string> {
  const { code } = await child.exited;
  if (code !== 0) throw new Error([...child.stdout, ...child.stderr].join("\n"));
  return child.stdout.join("\n");
}

test.before(() => {
  cpSync(repositoryRoot, clone, {
    recursive: true,
    filter: (path) => path === repositoryRoot || !LEFT_OUT.has(path.slice(repositoryRoot.length + 1)),
  });
});

test("the set-up commands are literally these", () => {
  const setup = blocks.filter(({ name }) => name === "setup").map(({ text }) => text.trim());
  assert.equal(setup, ["npm ci && npm start", "npm ci && npm test"]);
});

test("npm ci && npm start serves and says what to do next", { limitMs: 400_000 }, async () => {
  const server = type("npm ci && npm start", { HAULOUT_PORT: "0" });
  const [, address = ""] = await server.waitForLine(/^haulout listening on http:\/\/(\S+)/, 390_000);
  url = `ws://${address}/ws`;
  await server.waitForLine(/chat$/);
  await server.waitForLine(/from "haulout\/client"/);
});

test("two chats and a tool of another process share one session", { limitMs: 60_000 }, async () => {
  needsServer();
  const ann = type(block("chat"));
  const [, session = ""] = await ann.waitForLine(/session (ses_\w+)/, 20_000);
  await finish(type(block("tool-file")));
  const tools = type(block("tools"));
  await tools.waitForLine(/providing greet/, 20_000);

  const bob = type(block("join").replace("SESSION", session));
  await bob.waitForLine(/session ses_/, 20_000);
  ann.stdin.write("Good morning\n");
  for (const chat of [ann, bob]) {
    await chat.waitForLine(/ann> Good morning/);
    await chat.waitForLine(/demo: You said “Good morning”/);
  }
  bob.stdin.write(block("script"));
  for (const chat of [ann, bob]) {
    await chat.waitForLine(/greet\(.*\) ok .*Hello Ann, this is process \d+/);
    await chat.waitForLine(/There you are\./);
  }
  ann.stdin.write(block("question"));
  for (const chat of [ann, bob]) await chat.waitForLine(/\? asked: Shall I\?/);
  bob.stdin.write("1\n");
  for (const chat of [ann, bob]) await chat.waitForLine(/So be it\./);
  const said = (chat: TestProcess): string[] => chat.stdout.filter((line) => !line.startsWith("#"));
  await until(() => said(ann).length === said(bob).length, 5_000, "both to print the same");
  assert.equal(said(ann), said(bob));
  ann.stdin.end();
  bob.stdin.end();
  await finish(ann);
  await finish(bob);
});

test("the TypeScript blocks type-check", { limitMs: 60_000 }, async () => {
  const files = blocks.filter(({ language }) => language === "ts");
  assert.equal(
    files.map(({ name }) => name),
    ["ask.ts", "weather.ts", "embed.ts"],
  );
  for (const { name, text } of files) writeFileSync(join(clone, name), text);
  const compilerOptions = {
    strict: true,
    noEmit: true,
    module: "nodenext",
    target: "es2023",
    types: ["node"],
  };
  const config = { compilerOptions, files: files.map(({ name }) => name) };
  writeFileSync(join(clone, "tsconfig.readme.json"), JSON.stringify(config));
  await finish(type("npx tsc -p tsconfig.readme.json"));
});

test("ask.ts prints the answer", { limitMs: 60_000 }, async () => {
  needsServer();
  const printed = await finish(type(block("run-ask")));
  assert.match(printed, /You said “What is a haul-out\?”[\s\S]*\n2 messages in ses_/);
});

test("weather.ts provides its tool, and calls of it answer", { limitMs: 60_000 }, async () => {
  needsServer();
  const provider = type(block("run-ask").replace("ask.ts", "weather.ts"));
  await provider.waitForLine(/providing weather/, 30_000);
  const call = { tool: "weather", input: { city: "Ilulissat" } };
  const chat = type(block("chat"));
  chat.stdin.end(`${JSON.stringify({ script: [{ calls: [call] }, { text: "Done." }] })}\n`);
  assert.match(await finish(chat), /weather\(.*\) ok .*"celsius":21/);
});

test("embed.ts runs an agent without a server", { limitMs: 60_000 }, async () => {
  const printed = await finish(type(block("run-ask").replace("ask.ts", "embed.ts")));
  assert.match(printed, /ses_\w+ \d+ tool-result[\s\S]*That makes five\. text 2/);
});

test("one file's tests run alone", { limitMs: 100_000 }, async () => {
  // That nothing built is enough shows whoever runs all tests from a clone; here it would be compiled once more.
  cpSync(join(repositoryRoot, ".build"), join(clone, ".build"), {
    recursive: true,
    filter: (path) => !path.endsWith("lock"),
  });
  const printed = await finish(type("npm test -- test/protocol/errors.test.ts"));
  assert.match(printed, /^\d+ passed, 0 failed$/m);
});

test.run();
