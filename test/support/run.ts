/**
 * What `npm test` runs after the build: every test/**\/*.test.ts (but test/bench), each file its own process group,
 * two beside each other. `npm test -- PATH…` runs only those files or folders; `--jobs N` changes the two.
 * In a file's first five lines `limit: 300 s` replaces the deadline of 120 s and `alone` keeps others from running beside
 * it, each on a comment line of its own. Output of a red file is shown in full, of a green one only its `seed` and
 * `skip` lines. Believes a file only if its last summary line (./suite.ts) and its exit code say the same.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { repositoryRoot } from "./root.ts";
import { hintForMissing } from "./tools.ts";

const SUMMARY = "suite-summary ";
const DEADLINE_S = 120;

interface TestFile {
  /** Path of the source from the root of the repository. */
  readonly path: string;
  readonly deadlineS: number;
  readonly alone: boolean;
}

interface Outcome {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly output: string;
  /** Why the file is red although no test says so. */
  readonly problem?: string;
  readonly seconds: number;
}

const groups = new Set<number>();

async function main(): Promise<void> {
  const { jobs, paths } = readArguments(process.argv.slice(2));
  const all = paths.length === 0;
  const total = { passed: 0, failed: 0 };
  const red: string[] = [];
  if (all) for (const line of hintForMissing(["strace", "chromium", "python3", "cc"])) console.log(line);
  if (process.env["HAULOUT_BUILD_FAILED"]) {
    console.log(
      all ? "FAIL the build: see the compiler's errors above" : "note: the compiler reported errors (above)",
    );
    if (all) {
      total.failed++;
      red.push("the build");
    }
  }

  const sources = new Set<string>();
  for (const path of all ? ["test"] : paths) {
    const found = discover(path);
    if (found.length === 0) {
      console.log(`FAIL ${path}: no test file here`);
      total.failed++;
      red.push(path);
    }
    for (const file of found) sources.add(file);
  }

  const runAndCount = async (file: TestFile): Promise<void> => {
    const outcome = await runFile(file);
    show(file, outcome);
    total.passed += outcome.passed;
    total.failed += outcome.failed;
    if (outcome.failed > 0) red.push(file.path);
  };
  const files = [...sources].toSorted().map(describe);
  await inParallel(
    jobs,
    files.filter((file) => !file.alone),
    runAndCount,
  );
  await inParallel(
    1,
    files.filter((file) => file.alone),
    runAndCount,
  );

  if (red.length > 0) console.log(`\nred: ${red.join(", ")}`);
  console.log(`${total.passed} passed, ${total.failed} failed`);
  process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;
}

function readArguments(given: readonly string[]): { jobs: number; paths: string[] } {
  const paths = [...given];
  const at = paths.indexOf("--jobs");
  const jobs = at < 0 ? 2 : Number(paths.splice(at, 2)[1]);
  if (!Number.isInteger(jobs) || jobs < 1) throw new Error("--jobs takes a number from 1");
  const unknown = paths.find((path) => path.startsWith("-"));
  if (unknown !== undefined)
    throw new Error(`unknown option ${unknown}; use: npm test -- [--jobs N] [PATH…]`);
  return { jobs, paths };
}

/** The test files at or under a path given from the current folder or from the root. */
function discover(path: string): string[] {
  const absolute = [resolve(path), resolve(repositoryRoot, path)].find((candidate) => existsSync(candidate));
  if (absolute === undefined) return [];
  if (statSync(absolute).isFile()) {
    return absolute.endsWith(".test.ts") ? [relative(repositoryRoot, absolute)] : [];
  }
  return readdirSync(absolute, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => relative(repositoryRoot, join(absolute, name)))
    .filter((name) => !name.startsWith("test/bench/") || path.includes("bench"));
}

function describe(path: string): TestFile {
  const top = readFileSync(join(repositoryRoot, path), "utf8").split("\n", 5);
  const limit = top.map((line) => /^\s*(?:\/\/|\/?\*+)\s*limit:\s*(\d+)\s*s\b/.exec(line)?.[1]).find(Boolean);
  const alone = top.some((line) => /^\s*(?:\/\/|\/?\*+)\s*alone\b/.test(line));
  return { path, deadlineS: limit === undefined ? DEADLINE_S : Number(limit), alone };
}

async function inParallel<T>(
  width: number,
  items: readonly T[],
  work: (item: T) => Promise<void>,
): Promise<void> {
  const waiting = [...items];
  const lane = async (): Promise<void> => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: width }, lane));
}

/** Runs one file with a temporary folder of its own, and leaves neither processes nor that folder behind. */
async function runFile(file: TestFile): Promise<Outcome> {
  const built = join(repositoryRoot, ".build", file.path.replace(/\.ts$/, ".js"));
  const began = performance.now();
  if (!existsSync(built)) {
    return { passed: 0, failed: 1, skipped: 0, output: "", problem: `not built: ${built}`, seconds: 0 };
  }
  const temporary = mkdtempSync(join(tmpdir(), "haulout-test-"));
  const child = spawn(process.execPath, ["--enable-source-maps", built], {
    cwd: repositoryRoot,
    env: { ...process.env, TMPDIR: temporary },
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const group = child.pid;
  if (group !== undefined) groups.add(group);
  const chunks: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => chunks.push(chunk));

  let late = false;
  const deadline = setTimeout(() => {
    late = true;
    endGroup(group);
  }, file.deadlineS * 1000);
  const closed = new Promise<void>((done) => child.once("close", () => done()));
  const ending = await new Promise<string>((done) => {
    child.once("exit", (code, signal) => done(signal ?? String(code)));
    child.once("error", (error) => done(error.message));
  });
  clearTimeout(deadline);
  endGroup(group);
  // A grandchild outside the group may keep the pipes open for ever.
  const patience = new Promise<void>((done) => setTimeout(done, 1000).unref());
  await Promise.race([closed, patience]);
  child.stdout.destroy();
  child.stderr.destroy();
  rmSync(temporary, { recursive: true, force: true, maxRetries: 3 });

  const output = Buffer.concat(chunks).toString("utf8");
  const seconds = (performance.now() - began) / 1000;
  const end = late ? `killed at its deadline of ${file.deadlineS} s` : `ended with ${ending}`;
  return { ...judge(output, end, !late && ending === "0"), output, seconds };
}

function judge(output: string, end: string, clean: boolean): Omit<Outcome, "output" | "seconds"> {
  const line = output.split("\n").findLast((candidate) => candidate.startsWith(SUMMARY));
  if (line === undefined) return { passed: 0, failed: 1, skipped: 0, problem: `no summary: ${end}` };
  const count = JSON.parse(line.slice(SUMMARY.length)) as { passed: number; failed: number; skipped: number };
  if (count.failed > 0) return count;
  if (!clean) return { ...count, failed: 1, problem: `the tests say green, but the file ${end}` };
  if (count.passed + count.skipped === 0) return { ...count, failed: 1, problem: "no tests" };
  return count;
}

function endGroup(group: number | undefined): void {
  if (group === undefined) return;
  groups.delete(group);
  try {
    process.kill(-group, "SIGKILL");
  } catch {
    // Nobody is left in it.
  }
}

function show(file: TestFile, outcome: Outcome): void {
  const parts = [`${outcome.passed} passed`];
  if (outcome.failed > 0) parts.push(`${outcome.failed} failed`);
  if (outcome.skipped > 0) parts.push(`${outcome.skipped} skipped`);
  const verdict = outcome.failed > 0 ? "FAIL" : "ok  ";
  console.log(`${verdict} ${file.path}  ${parts.join(", ")}  ${outcome.seconds.toFixed(1)} s`);
  const lines = outcome.output.split("\n").filter((line) => !line.startsWith(SUMMARY));
  const shown = outcome.failed > 0 ? lines : lines.filter((line) => /^(seed|skip)\b/.test(line));
  for (const line of shown) console.log(`     ${line}`);
  if (outcome.problem !== undefined) console.log(`     ${outcome.problem}`);
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => {
    for (const group of groups) endGroup(group);
    process.exit(130);
  });
}
await main().catch((error: unknown) => {
  for (const group of groups) endGroup(group);
  console.error(error);
  console.log("0 passed, 1 failed");
  process.exitCode = 1;
});
