/**
 * The runner of `npm test`, in a small repository of its own: a temporary folder with the compiled support files and
 * hand-written test files. Proves that a file is green only when it says so and ends so, that nothing of it is left
 * behind, and that the last line counts everything. The suite wrapper itself is proved in suite.test.ts.
 */
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { spawnNode, temporaryDirectory } from "./process.ts";
import { compiled, repositoryRoot } from "./root.ts";
import { assert, suite } from "./suite.ts";
import { until } from "./wait.ts";

const test = suite("runner");

interface Run {
  readonly code: number | null;
  readonly lines: readonly string[];
  readonly last: string | undefined;
}

/** Runs these test files (name → text) as `npm test` would; `$ROOT` in a text is the folder of the repository. */
async function run(
  files: Record<string, string>,
  args: string[] = [],
  env: Record<string, string> = {},
): Promise<Run> {
  const root = repositoryWith(files);
  const child = spawnNode([join(root, ".build/test/support/run.js"), ...args], { cwd: root, env });
  const { code } = await child.exited;
  return { code, lines: child.stdout, last: child.stdout.at(-1) };
}

function repositoryWith(files: Record<string, string>): string {
  const root = temporaryDirectory();
  cpSync(join(compiled("test/support/run.ts"), ".."), join(root, ".build/test/support"), { recursive: true });
  writeFileSync(join(root, "package.json"), `{ "type": "module" }`);
  symlinkSync(join(repositoryRoot, "node_modules"), join(root, "node_modules"));
  mkdirSync(join(root, "test"));
  for (const [name, text] of Object.entries(files)) {
    const body = `${text.replaceAll("$ROOT", root)}\n`;
    writeFileSync(join(root, "test", `${name}.test.ts`), body);
    writeFileSync(join(root, ".build/test", `${name}.test.js`), body);
  }
  return root;
}

const testing = (body: string): string =>
  `import { suite, assert } from "./support/suite.js";\nconst test = suite("case");\n${body}\ntest.run();`;
const green = testing(`test("a", () => {}); test("b", () => {});`);

test("counts of all files come last, and green is zero", async () => {
  const { code, last, lines } = await run({ one: green, two: green });
  assert.is(last, "4 passed, 0 failed");
  assert.is(lines.filter((line) => /^\d+ passed, \d+ failed$/.test(line)).length, 1);
  assert.is(code, 0);
});

test("one red test makes the run red and shows that file's output", async () => {
  const { code, last, lines } = await run({
    one: green,
    two: testing(`test("a", () => { throw "ouch"; });`),
  });
  assert.is(last, "2 passed, 1 failed");
  assert.is(code, 1);
  assert.ok(lines.some((line) => line.includes("ouch")));
});

test("files that crash, test nothing or never use a suite are red", async () => {
  const crash = `throw new Error("at load");`;
  const { code, last } = await run({
    crash,
    empty: "export {};",
    silent: testing(""),
    early: "process.exit(0);",
  });
  assert.is(last, "0 passed, 4 failed");
  assert.is(code, 1);
});

test("a file whose summary is green but whose end is not is red", async () => {
  const { last } = await run({ liar: `${green}\nprocess.on("exit", () => { process.exitCode = 3; });` });
  assert.is(last, "2 passed, 1 failed");
});

test("a file that hangs is killed at its own deadline", async () => {
  const { last, lines } = await run({
    hangs: `// limit: 1 s\n${testing(`test("a", () => { for (;;); });`)}`,
  });
  assert.is(last, "0 passed, 1 failed");
  assert.ok(lines.some((line) => line.includes("deadline of 1 s")));
});

test("processes that a test leaves behind are killed", async () => {
  const leak = testing(`import { spawn } from "node:child_process";
    import { writeFileSync } from "node:fs";
    test("a", () => {
      const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "inherit" });
      writeFileSync("$ROOT/pid", String(child.pid));
    });`);
  const root = repositoryWith({ leak });
  const child = spawnNode([join(root, ".build/test/support/run.js")], { cwd: root });
  assert.is((await child.exited).code, 0);
  const pid = Number(readFileSync(join(root, "pid"), "utf8"));
  assert.ok(pid > 0);
  // Nobody tells when a process that is not our child is gone.
  await until(() => !isAlive(pid), 5000, "the end of the leaked process");
});

test("a file that wants to be alone runs beside no other", async () => {
  const noting = testing(`import { appendFileSync } from "node:fs";
    test("a", async () => {
      appendFileSync("$ROOT/log", "+");
      await new Promise((go) => setTimeout(go, 100));
      appendFileSync("$ROOT/log", "-");
    });`);
  const root = repositoryWith({ a: `// alone\n${noting}`, b: `// alone\n${noting}`, c: noting });
  const child = spawnNode([join(root, ".build/test/support/run.js"), "--jobs", "3"], { cwd: root });
  assert.is((await child.exited).code, 0);
  assert.is(readFileSync(join(root, "log"), "utf8"), "+-+-+-");
});

test("only the named files run; a name without tests is red", async () => {
  const files = { one: green, two: green };
  assert.is((await run(files, ["test/one.test.ts"])).last, "2 passed, 0 failed");
  const missing = await run(files, ["test/one.test.ts", "test/three.test.ts"]);
  assert.is(missing.last, "2 passed, 1 failed");
  assert.is(missing.code, 1);
});

test("seeds and skips of green files are shown, their other output is not", async () => {
  const text = testing(
    `console.log("seed 7"); console.log("chatter"); test("a", () => {}); test.skip("b", "no tool");`,
  );
  const { lines, last } = await run({ text });
  assert.ok(lines.some((line) => line.trim() === "seed 7"));
  assert.ok(lines.some((line) => line.includes(`skip "b": no tool`)));
  assert.not.ok(lines.some((line) => line.includes("chatter")));
  assert.is(last, "1 passed, 0 failed");
});

test("a build with errors makes a full run red", async () => {
  const broken = { HAULOUT_BUILD_FAILED: "1" };
  assert.is((await run({ one: green }, [], broken)).last, "2 passed, 1 failed");
  assert.is((await run({ one: green }, ["test/one.test.ts"], broken)).last, "2 passed, 0 failed");
});

test("bad arguments still end with a count", async () => {
  const { code, last } = await run({ one: green }, ["--grep", "x"]);
  assert.is(last, "0 passed, 1 failed");
  assert.is(code, 1);
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test.run();
