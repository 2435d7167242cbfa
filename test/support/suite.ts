/**
 * The one door to uvu: no other file imports it. Adds what uvu lacks: a limit for each test, red for a throw that is no
 * Error, for a failing hook, for a suite without tests or without run(), and for errors outside any test; an end of the
 * process when the tests are done, whatever timers are left. Prints one last line for ./run.ts, see SUMMARY.
 * Use: `const test = suite("commit queue"); test("answers in order", async () => {…}); test.run();`
 */
import { realpathSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { inspect, types } from "node:util";
import { Assertion } from "uvu/assert";

export * as assert from "./assert.ts";

/** Starts the last line of a test file; a JSON object {passed, failed, skipped} follows. */
export const SUMMARY = "suite-summary ";
const TEST_LIMIT_MS = 30_000;
const HOOK_LIMIT_MS = 120_000;

type Body = () => unknown;

export interface TestOptions {
  /** How long the test and its `before.each` may take together; 30 s unless told. */
  readonly limitMs?: number;
}

/** Hooks of one kind run in the order given; `after` hooks run even when tests fail. */
export interface Hook {
  (body: Body): void;
  each(body: Body): void;
}

export interface Suite {
  (name: string, body: Body): void;
  (name: string, options: TestOptions, body: Body): void;
  /** Leaves a test out and shows why. Rare: only for what this machine cannot do. */
  skip(name: string, reason: string): void;
  before: Hook;
  after: Hook;
  /** Every suite must be run, after its last test, while the file is being loaded. */
  run(): void;
}

// uvu must neither start by itself nor end by itself: it does not wait for the file to be loaded.
const queue: unknown[][] = [[null]];
Object.assign(globalThis, { UVU_DEFER: 1, UVU_QUEUE: queue });
const uvu = await import("uvu");

const count = { passed: 0, failed: 0, skipped: 0 };
const unfinished = new Set<string>();
const reported = new WeakSet<Error>();
let started = false;
let finished = false;
/** Fails the test that is running; undefined between tests. */
let failCurrent: ((error: Error) => void) | undefined;

export function suite(name: string): Suite {
  if (!started) start();
  const inner = uvu.suite(name);
  const hooks = {
    before: [] as Body[],
    after: [] as Body[],
    beforeEach: [] as Body[],
    afterEach: [] as Body[],
  };
  let tests = 0;
  let skips = 0;
  let closed = false;
  let broken: Error | undefined;
  unfinished.add(name);

  const add = (title: string, second: Body | TestOptions, third?: Body): void => {
    if (closed) throw new Error(`"${title}" is added to "${name}" after run(): it would never run`);
    const body = typeof second === "function" ? second : third;
    const limitMs = (typeof second === "function" ? undefined : second.limitMs) ?? TEST_LIMIT_MS;
    if (body === undefined) throw new Error(`"${title}" has no body`);
    tests++;
    inner(title, async () => {
      const problem = broken ?? (await attempt(hooks, body, limitMs));
      if (problem === undefined) count.passed++;
      else {
        count.failed++;
        throw presentable(problem);
      }
    });
  };

  inner.before(async () => {
    broken = await firstProblem(hooks.before, "before");
  });
  inner.after(async () => {
    const problem = await firstProblem(hooks.after, "after");
    if (problem !== undefined) report(`the after hook of "${name}"`, problem);
  });

  return Object.assign(add, {
    skip(title: string, reason: string): void {
      skips++;
      count.skipped++;
      console.log(`skip "${title}": ${reason}`);
    },
    before: hook(hooks.before, hooks.beforeEach),
    after: hook(hooks.after, hooks.afterEach),
    run(): void {
      if (closed) throw new Error(`the suite "${name}" is run twice`);
      closed = true;
      if (tests + skips === 0) throw new Error(`the suite "${name}" has no tests`);
      unfinished.delete(name);
      inner.run();
    },
  });
}

function hook(all: Body[], each: Body[]): Hook {
  return Object.assign((body: Body) => void all.push(body), { each: (body: Body) => void each.push(body) });
}

/** Runs one test with its hooks; answers what went wrong. `after.each` runs whatever happened before it. */
async function attempt(
  hooks: { readonly beforeEach: readonly Body[]; readonly afterEach: readonly Body[] },
  body: Body,
  limitMs: number,
): Promise<Error | undefined> {
  const problem = await limited(limitMs, "the test", async () => {
    for (const before of hooks.beforeEach) await before();
    await body();
  });
  const later = await firstProblem(hooks.afterEach, "after.each");
  return problem ?? later;
}

async function firstProblem(bodies: readonly Body[], kind: string): Promise<Error | undefined> {
  let first: Error | undefined;
  for (const body of bodies) {
    const problem = await limited(HOOK_LIMIT_MS, `a ${kind} hook`, body);
    first ??= problem;
  }
  return first;
}

/** Never rejects: answers undefined, or the throw, the stray error or the limit that ended the body. */
async function limited(ms: number, what: string, body: Body): Promise<Error | undefined> {
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<Error | undefined>((resolve) => {
      failCurrent = resolve;
      timer = setTimeout(() => resolve(new Error(`${what} took longer than ${ms} ms`)), ms);
      Promise.resolve()
        .then(body)
        .then(
          () => resolve(undefined),
          (thrown: unknown) => resolve(toError(thrown)),
        );
    });
  } finally {
    failCurrent = undefined;
    clearTimeout(timer);
  }
}

function toError(thrown: unknown): Error {
  if (types.isNativeError(thrown) || thrown instanceof Error) return thrown;
  return new Error(`thrown, but no Error: ${inspect(thrown)}`);
}

/** uvu shows only message and stack, and fails to fail on odd ones; this puts causes and fields into the stack. */
function presentable(error: Error): Error {
  if (error instanceof Assertion) return error;
  const shown = new Error(String(error.message));
  shown.stack = inspect(error, { depth: 4 });
  return shown;
}

function report(where: string, error: Error): void {
  // A file that fails to load is seen by the process and by its import.
  if (reported.has(error)) return;
  reported.add(error);
  count.failed++;
  console.log(`\n  FAIL  ${where}\n    ${inspect(error, { depth: 4 })}\n`);
}

/** Called by the first suite: waits until the whole test file is loaded, runs every suite, ends the process. */
function start(): void {
  started = true;
  process.on("uncaughtException", (thrown: unknown) => {
    const error = toError(thrown);
    if (failCurrent !== undefined) failCurrent(error);
    else report("outside any test", error);
  });
  process.on("exit", () => {
    if (finished) return;
    console.log("the process ended before its tests did");
    process.exitCode = 1;
  });
  const main = pathToFileURL(realpathSync(process.argv[1] ?? "")).href;
  import(main)
    .then(async () => {
      for (const name of unfinished)
        report(`"${name}"`, new Error("this suite is never run: call test.run()"));
      await uvu.exec();
    })
    .catch((thrown: unknown) => report("the test file", toError(thrown)))
    .finally(finish);
}

function finish(): void {
  finished = true;
  if (count.passed + count.failed + count.skipped === 0) report("the test file", new Error("no test ran"));
  const line = `${SUMMARY}${JSON.stringify(count)}\n`;
  process.stdout.write(line, () => process.exit(count.failed === 0 ? 0 : 1));
}
