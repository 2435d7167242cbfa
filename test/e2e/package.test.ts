// limit: 300 s
/**
 * The package as its users get it: packed, installed into an empty folder with what it declares and nothing else,
 * imported by its public names, run by its command, checked by the compiler, bundled for a browser.
 * Builds a copy of its own, so that a `dist` that others build or run meanwhile stays untouched.
 */
import { copyFileSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { spawnProcess, temporaryDirectory } from "../support/process.ts";
import { repositoryRoot } from "../support/root.ts";
import { assert, suite } from "../support/suite.ts";

const test = suite("the package");
const folder = temporaryDirectory();
const installed = join(folder, "user");

/** Runs to the end; its stdout. Throws with all that it printed when it fails. */
async function run(command: string, args: readonly string[], cwd: string): Promise<string> {
  const child = spawnProcess(command, args, { cwd });
  const { code, signal } = await child.exited;
  const output = [...child.stdout, ...child.stderr].join("\n");
  if (code !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${signal ?? code}\n${output}`);
  return child.stdout.join("\n");
}

/** Runs an ES module in the folder of the user; what it printed. */
function runModule(name: string, text: string): Promise<string> {
  writeFileSync(join(installed, name), text);
  return run(process.execPath, [name], installed);
}

test.before(async () => {
  const staging = join(folder, "staging");
  mkdirSync(staging);
  mkdirSync(installed);
  const compiler = join(repositoryRoot, "node_modules", "typescript", "bin", "tsc");
  const project = join(repositoryRoot, "tsconfig.build.json");
  await run(process.execPath, [compiler, "-p", project, "--outDir", join(staging, "dist")], repositoryRoot);
  const bundler = join(repositoryRoot, "test", "support", "page.mjs");
  await run(process.execPath, [bundler, join(staging, "dist")], repositoryRoot);
  for (const name of readdirSync(repositoryRoot)) {
    if (/^(?:package\.json|README.*|LICENSE.*|CHANGELOG.*|\.npmignore)$/.test(name)) {
      copyFileSync(join(repositoryRoot, name), join(staging, name));
    }
  }
  await run("npm", ["pack", "--ignore-scripts", "--pack-destination", folder], staging);
  const [tarball] = readdirSync(folder).filter((name) => name.endsWith(".tgz"));
  writeFileSync(
    join(installed, "package.json"),
    JSON.stringify({ name: "user", private: true, type: "module" }),
  );
  const quiet = ["--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts"];
  await run("npm", ["install", ...quiet, join(folder, tarball!)], installed);
});

test("it holds what its entry points need, and no sources or tests", () => {
  const inside = join(installed, "node_modules", "haulout");
  assert.equal(
    readdirSync(join(inside, "dist")).filter((name) => !/^(?:protocol|server|client)$/.test(name)),
    [],
  );
  for (const name of readdirSync(inside, { recursive: true, encoding: "utf8" })) {
    assert.not.match(name, /(?:(?<!\.d)\.ts|\.tsbuildinfo|\.test\.js)$/);
  }
  assert.ok(existsSync(join(inside, "LICENSE")));
});

test("a runtime is embedded by `haulout/server` and runs an agent", async () => {
  const output = await runModule(
    "runtime.js",
    `import { Runtime, scriptedModel } from "haulout/server";
     const runtime = new Runtime(scriptedModel, {
       onRegisterTools(registry) {
         registry.register({
           name: "double",
           description: "Twice a number.",
           inputSchema: { type: "object", properties: { n: { type: "number" } }, required: ["n"] },
           effect: "pure",
           execute: ({ n }) => 2 * n,
         });
       },
     });
     await runtime.addAgent({ name: "worker", model: "scripted" });
     const session = await runtime.createSession("worker", "me");
     const script = [{ calls: [{ tool: "double", input: { n: 21 } }] }, { text: "doubled" }];
     const response = await runtime.sendTo(session, JSON.stringify({ script }));
     console.log(JSON.stringify([response.finalResponse, response.stopReason, response.steps[0].results[0].output]));
     await runtime.close();`,
  );
  assert.equal(JSON.parse(output), ["doubled", "text", 42]);
});

test("the command serves, and `haulout/client` talks to it", async () => {
  const bin = join(installed, "node_modules", ".bin", "haulout");
  assert.match(await run(bin, ["--version"], installed), /^\d+\.\d+\.\d+/);
  const server = spawnProcess(bin, ["serve"], {
    cwd: installed,
    env: { HAULOUT_PORT: "0", HAULOUT_DATA: join(folder, "data"), HAULOUT_LOG: "warn" },
  });
  const [, url] = await server.waitForLine(/^haulout listening on http(:\/\/\S+)$/, 30_000);
  const page = await fetch(`http${url}/`);
  assert.match(page.headers.get("content-type")!, /^text\/html/, "the page is in the package");
  const output = await runModule(
    "client.js",
    `import { connect } from "haulout/client";
     const client = connect({ url: "ws${url}/ws" });
     const { session } = await client.createSession({ agent: "demo" });
     const chat = await client.attach(session);
     const answer = await chat.ask("Hello!");
     console.log(JSON.stringify([answer.text, answer.reason]));
     await client.close();`,
  );
  const [text, reason] = JSON.parse(output) as [string, string];
  assert.match(text, /Hello!/);
  assert.is(reason, "text");
  server.kill();
  assert.is((await server.exited).code, 0);
});

test("`haulout/protocol` folds a log", async () => {
  const output = await runModule(
    "protocol.js",
    `import { fold, encodeFrame, decodeBinary } from "haulout/protocol";
     const event = { type: "session-created", agent: "a", owner: "o" };
     const entry = { type: "event", session: "s", epoch: 1, seq: 1, at: 1, event };
     const [again] = decodeBinary(encodeFrame(entry));
     console.log(fold(undefined, again).session.owner);`,
  );
  assert.is(output, "o");
});

test("the types of its entry points stand on their own", async () => {
  writeFileSync(
    join(installed, "types.ts"),
    `import { Runtime, scriptedModel, type Hook } from "haulout/server";
     import { connect } from "haulout/client";
     import { fold, type EventFrame, type SessionState } from "haulout/protocol";
     const hook: Hook = { onEvent: async (context, event) => void [context.session, event.type] };
     export const runtime: Runtime = new Runtime(scriptedModel, hook);
     export const state = (entry: EventFrame): SessionState => fold(undefined, entry);
     export const client = connect({ url: "ws://127.0.0.1:4787/ws" });
     // @ts-expect-error a url is a string
     connect({ url: 1 });`,
  );
  const compiler = join(repositoryRoot, "node_modules", "typescript", "bin", "tsc");
  const strict = [
    "--strict",
    "--noEmit",
    "--module",
    "nodenext",
    "--target",
    "es2023",
    "--lib",
    "es2024,dom",
  ];
  const types = ["--types", "node", "--typeRoots", join(repositoryRoot, "node_modules", "@types")];
  const flags = [...strict, ...types, "--skipLibCheck", "--exactOptionalPropertyTypes"];
  await run(process.execPath, [compiler, ...flags, "types.ts"], installed);
});

for (const entry of ["client", "protocol"]) {
  test(`haulout/${entry} is bundled for a browser without zod and without Node`, async () => {
    const result = await build({
      stdin: {
        contents: `import * as all from "haulout/${entry}"; globalThis.all = all;`,
        resolveDir: installed,
      },
      bundle: true,
      write: false,
      metafile: true,
      minify: true,
      platform: "browser",
      format: "esm",
      logLevel: "silent",
    });
    const inputs = Object.keys(result.metafile.inputs);
    const packages = new Set(
      inputs.map((path) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? path),
    );
    console.log(
      `haulout/${entry}: ${result.outputFiles[0]!.contents.length} bytes; ${[...packages].join(", ")}`,
    );
    assert.not.ok(packages.has("zod"));
    assert.equal(
      inputs.filter((path) => /node_modules\/haulout\/dist\/server/.test(path)),
      [],
    );
    assert.not.match(result.outputFiles[0]!.text, /(?:from|import\()\s*"node:/);
  });
}

test.run();
