/**
 * The test runner itself: everything that uvu alone would let pass as green must be red.
 * Each case is a tiny compiled test file, written to a temporary folder and run as a real process, by itself or by
 * the runner. Owns nothing else; the support files it proves are suite.ts, run.ts, process.ts and wait.ts.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { spawnNode, temporaryDirectory } from "./process.ts";
import { compiled, repositoryRoot } from "./root.ts";
import { assert, suite, SUMMARY } from "./suite.ts";
import { deferred, seeded, until } from "./wait.ts";

const test = suite("test support");
const folder = temporaryDirectory();
let files = 0;

interface Outcome {
  readonly code: number | null;
  readonly output: string;
  readonly summary: { passed: number; failed: number; skipped: number } | undefined;
}

/** Runs a test file with this text; `test` is a suite. */
async function runText(text: string): Promise<Outcome> {
  const path = join(folder, `case${files++}.test.mjs`);
  const support = pathToFileURL(compiled("test/support/suite.ts")).href;
  writeFileSync(path, `import { suite, assert } from ${JSON.stringify(support)};\n${text}\n`);
  const child = spawnNode([path]);
  const { code } = await child.exited;
  const line = child.stdout.findLast((each) => each.startsWith(SUMMARY));
  return {
    code,
    output: [...child.stdout, ...child.stderr].join("\n"),
    summary: line === undefined ? undefined : JSON.parse(line.slice(SUMMARY.length)),
  };
}

async function expectCounts(text: string, passed: number, failed: number, shows?: RegExp): Promise<void> {
  const outcome = await runText(text);
  assert.equal(outcome.summary, { passed, failed, skipped: 0 }, outcome.output);
  assert.is(outcome.code, failed === 0 ? 0 : 1, outcome.output);
  if (shows !== undefined) assert.match(outcome.output, shows);
}

const withSuite = (body: string): string => `const test = suite("case");\n${body}\ntest.run();`;

test("passing tests are green", async () => {
  await expectCounts(withSuite(`test("a", () => {}); test("b", async () => {});`), 2, 0);
});

test("a failing assertion is red and shows its test", async () => {
  await expectCounts(withSuite(`test("sums", () => assert.is(1, 2)); test("b", () => {});`), 1, 1, /sums/);
});

test("a thrown string, undefined and an odd error are red", async () => {
  await expectCounts(withSuite(`test("a", () => { throw "hm"; });`), 0, 1, /no Error: 'hm'/);
  await expectCounts(withSuite(`test("a", () => Promise.reject());`), 0, 1, /no Error: undefined/);
  await expectCounts(
    withSuite(`test("a", () => { throw Object.assign(new Error("x"), { name: 5 }); });`),
    0,
    1,
  );
});

test("a test that never settles is red at its limit, and the next one runs", async () => {
  const text = `test("waits", { limitMs: 50 }, () => new Promise(() => {})); test("b", () => {});`;
  await expectCounts(withSuite(text), 1, 1, /longer than 50 ms/);
});

test("a leaked timer keeps neither a green nor a red file alive", { limitMs: 10_000 }, async () => {
  await expectCounts(withSuite(`test("a", () => void setInterval(() => {}, 1000));`), 1, 0);
  await expectCounts(withSuite(`setInterval(() => {}, 1000); test("a", () => assert.ok(false));`), 0, 1);
});

test("a file without tests, without run() or with a forgotten suite is red", async () => {
  await expectCounts(`suite("case").run();`, 0, 1, /has no tests/);
  await expectCounts(`suite("case")("a", () => {});`, 0, 1, /never run/);
  await expectCounts(
    `${withSuite(`test("a", () => {});`)}\nsuite("other")("b", () => {});`,
    1,
    1,
    /never run/,
  );
});

test("a test added after run() is red", async () => {
  await expectCounts(`${withSuite(`test("a", () => {});`)}\ntest("b", () => {});`, 0, 1, /would never run/);
});

test("a suite defined after a wait at the top level runs too", async () => {
  const late = `await new Promise((go) => setTimeout(go, 50));\nconst b = suite("late");\nb("b", () => {}); b.run();`;
  await expectCounts(`${withSuite(`test("a", () => {});`)}\n${late}`, 2, 0);
});

test("failing hooks are red", async () => {
  await expectCounts(withSuite(`test.before(() => { throw "x"; }); test("a", () => {});`), 0, 1);
  await expectCounts(withSuite(`test.after(() => Promise.reject("x")); test("a", () => {});`), 1, 1);
  await expectCounts(withSuite(`test.before.each(() => { throw "x"; }); test("a", () => {});`), 0, 1);
  await expectCounts(withSuite(`test.after.each(() => { throw "x"; }); test("a", () => {});`), 0, 1);
});

test("hooks surround each test, and after.each follows a failed one", async () => {
  const text = `const seen = [];
    test.before(() => seen.push("before")); test.after(() => console.log("order " + seen.join(" ")));
    test.before.each(() => seen.push("[")); test.after.each(() => seen.push("]"));
    test("a", () => seen.push("a")); test("b", () => { seen.push("b"); throw new Error("b"); });`;
  await expectCounts(withSuite(text), 1, 1, /order before \[ a \] \[ b \]/);
});

test("an error outside the test's own promise is red", async () => {
  const text = `test("a", () => new Promise(() => setTimeout(() => { throw new Error("stray"); }, 1)));`;
  await expectCounts(withSuite(text), 0, 1, /stray/);
  await expectCounts(
    withSuite(`test("a", async () => { void Promise.reject(7); await new Promise(setImmediate); });`),
    0,
    1,
  );
});

test("a process that ends in the middle is red", async () => {
  const outcome = await runText(withSuite(`test("a", () => process.exit(0));`));
  assert.is(outcome.code, 1);
  assert.is(outcome.summary, undefined);
});

test("a skipped test is counted and its reason shown", async () => {
  const outcome = await runText(withSuite(`test("a", () => {}); test.skip("b", "no such tool");`));
  assert.is(outcome.code, 0);
  assert.equal(outcome.summary, { passed: 1, failed: 0, skipped: 1 });
  assert.match(outcome.output, /^skip "b": no such tool$/m);
});

test("assert.rejects answers the error and checks it", async () => {
  const error = await assert.rejects(Promise.reject(new TypeError("no")), TypeError);
  assert.is(error.message, "no");
  await assert.rejects(() => Promise.reject(new Error("no such thing")), /such/);
  await assert.rejects(assert.rejects(Promise.resolve(1)), /Expected a rejection/);
  await assert.rejects(assert.rejects(Promise.reject(new Error("a")), /b/), /passes/);
  await assert.rejects(
    assert.rejects(Promise.reject(new Error("a")), (given) => given.retryable),
    /passes/,
  );
});

test("the runner ends with one line of counts, red for what is no test file", async () => {
  const child = spawnNode([compiled("test/support/run.ts"), "test/nowhere.test.ts"], { cwd: repositoryRoot });
  const { code } = await child.exited;
  assert.is(code, 1);
  assert.is(child.stdout.at(-1), "0 passed, 1 failed");
});

test("waitForLine finds past and coming lines and tells why none came", async () => {
  const child = spawnNode(["-e", `console.log("port 5"); setTimeout(() => console.log("done"), 20)`]);
  assert.is((await child.waitForLine(/done/))[0], "done");
  assert.is((await child.waitForLine(/port (\d+)/))[1], "5");
  await assert.rejects(child.waitForLine(/never/), /ended with 0/);
  const sleeper = spawnNode(["-e", "setInterval(() => {}, 1000)"]);
  sleeper.kill("SIGKILL");
  assert.equal(await sleeper.exited, { code: null, signal: "SIGKILL" });
});

test("until answers what it waited for, or says what it missed", async () => {
  const gate = deferred<string>();
  let opened: string | undefined;
  void gate.promise.then((value) => (opened = value));
  gate.resolve("open");
  assert.is(await until(() => opened, 1000, "the gate"), "open");
  await assert.rejects(
    until(() => false, 20, "a miracle"),
    /20 ms for a miracle/,
  );
});

test("a seed draws the same sequence again", () => {
  const draw = (): number[] => {
    const random = seeded(42);
    return Array.from({ length: 5 }, () => random.int(1000));
  };
  assert.equal(draw(), draw());
  assert.ok(draw().every((value) => value >= 0 && value < 1000));
});

test.run();
