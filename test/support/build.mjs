/**
 * Compiles, and bundles the page. `build.mjs` puts everything into .build (for tests, fuzz, chaos and benches; only what
 * changed is written), `build.mjs dist` a clean copy of what is published into dist. Plain JavaScript, for Node 20 cannot
 * run TypeScript.
 * A lock keeps two builds apart; a test that starts while a build writes may still see half of it.
 * HAULOUT_SKIP_BUILD=1 leaves out the build into .build. Exit code: that of the compiler.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const output = join(root, ".build");
const lock = join(output, "lock");
const forPublishing = process.argv[2] === "dist";

if (process.env["HAULOUT_SKIP_BUILD"] && !forPublishing) process.exit(0);
mkdirSync(output, { recursive: true });
takeLock();
try {
  process.exitCode = compile();
  if (process.exitCode === 0) {
    const { bundlePage } = await import("./page.mjs");
    await bundlePage(join(root, forPublishing ? "dist" : ".build"));
  }
} finally {
  rmSync(lock, { force: true });
}

function compile() {
  const compiler = join(root, "node_modules", "typescript", "bin", "tsc");
  if (!existsSync(compiler)) {
    console.error("TypeScript is not installed: run `npm ci` first.");
    return 1;
  }
  if (forPublishing) rmSync(join(root, "dist"), { recursive: true, force: true });
  else forgetOldState();
  const project = join(root, forPublishing ? "tsconfig.build.json" : "tsconfig.json");
  const { status } = spawnSync(process.execPath, [compiler, "-p", project], { cwd: root, stdio: "inherit" });
  const main = join(root, "dist", "server", "main.js");
  if (forPublishing && existsSync(main)) chmodSync(main, 0o755);
  return status ?? 1;
}

/** The compiler's incremental state misses changes of some settings (of `lib`) and of installed packages. */
function forgetOldState() {
  const hash = createHash("sha256");
  for (const name of ["tsconfig.json", "package-lock.json"]) {
    if (existsSync(join(root, name))) hash.update(readFileSync(join(root, name)));
  }
  const settings = hash.digest("hex");
  const remembered = join(output, "settings");
  if (existsSync(remembered) && readFileSync(remembered, "utf8") === settings) return;
  rmSync(join(output, "tsconfig.tsbuildinfo"), { force: true });
  writeFileSync(remembered, settings);
}

/** The lock is a file with the holder's process id; one whose holder is gone is taken over. */
function takeLock() {
  for (let waited = 0; waited < 120_000; waited += 100) {
    try {
      writeFileSync(lock, String(process.pid), { flag: "wx" });
      return;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    if (!holderLives()) rmSync(lock, { force: true });
    else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
  }
  throw new Error(`another build holds ${lock}`);
}

function holderLives() {
  try {
    const holder = Number(readFileSync(lock, "utf8"));
    // An empty file is one that is being written.
    if (holder > 0) process.kill(holder, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}
