/**
 * System tools that some tests need beside Node. Says in one line how to get what is missing; as root on a Debian-like
 * machine `ensureTool` installs it, once, whatever number of test files ask at the same time.
 * Call it at the top level of a test file (with `limit: 300 s`), before the tests, and `test.skip` when it answers false.
 */
import { spawn } from "node:child_process";
import { accessSync, constants, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

const INSTALL_LIMIT_MS = 120_000;

/** Each tool: the commands that serve, best first, and the Debian packages that bring it. */
const TOOLS: Readonly<Record<string, { commands: readonly string[]; packages: string }>> = {
  strace: { commands: ["strace"], packages: "strace" },
  chromium: { commands: ["chromium", "chromium-browser", "google-chrome"], packages: "chromium" },
  python3: { commands: ["python3"], packages: "python3" },
  cc: { commands: ["cc", "gcc", "clang"], packages: "gcc libc6-dev" },
};

function tool(name: string): { commands: readonly string[]; packages: string } {
  return TOOLS[name] ?? { commands: [name], packages: name };
}

/** Absolute path of the tool's command, or undefined. HAULOUT_<TOOL> in the environment overrides the search. */
export function findTool(name: string): string | undefined {
  const given = process.env[`HAULOUT_${name.toUpperCase()}`];
  if (given) return given;
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  const candidates = tool(name).commands.flatMap((command) => folders.map((folder) => join(folder, command)));
  return candidates.find(isExecutable);
}

/** No line when all are there, else one that says what to install and how. */
export function hintForMissing(names: readonly string[]): string[] {
  const missing = names.filter((name) => findTool(name) === undefined);
  if (missing.length === 0) return [];
  const packages = missing.map((name) => tool(name).packages).join(" ");
  return [`missing: ${missing.join(", ")}; to install: apt-get update && apt-get install -y ${packages}`];
}

/** True when the tool is there, after an attempt to install it where that is possible. */
export async function ensureTool(name: string): Promise<boolean> {
  if (findTool(name) !== undefined) return true;
  if (process.getuid?.() === 0 && findTool("apt-get") !== undefined) await installOnce(name);
  if (findTool(name) !== undefined) return true;
  for (const line of hintForMissing([name])) console.log(line);
  return false;
}

/** One installer at a time; after a failed attempt nobody tries again for ten minutes. */
async function installOnce(name: string): Promise<void> {
  // Not os.tmpdir(): the runner gives each test file its own.
  const folder = process.platform === "win32" ? tmpdir() : "/tmp";
  const lock = join(folder, "haulout-tools.lock");
  const failed = join(folder, `haulout-tools-${name}.failed`);
  const giveUpAt = Date.now() + 2 * INSTALL_LIMIT_MS;
  while (!takeLock(lock)) {
    if (Date.now() > giveUpAt) return;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  try {
    if (findTool(name) !== undefined || ageMs(failed) < 600_000) return;
    const { packages } = tool(name);
    console.log(`installing ${packages}`);
    const command = `apt-get update -qq && apt-get install -y -qq --no-install-recommends ${packages}`;
    if (!(await shell(command))) writeFileSync(failed, "");
  } finally {
    rmSync(lock, { recursive: true, force: true });
  }
}

/** A lock folder holds its owner's process id; one whose owner is gone is removed for the next attempt. */
function takeLock(lock: string): boolean {
  try {
    mkdirSync(lock);
    writeFileSync(join(lock, "pid"), String(process.pid));
    return true;
  } catch {
    if (!ownerLives(lock)) rmSync(lock, { recursive: true, force: true });
    return false;
  }
}

function ownerLives(lock: string): boolean {
  try {
    process.kill(Number(readFileSync(join(lock, "pid"), "utf8")), 0);
    return true;
  } catch {
    // Without a pid file it may be a lock that was made this moment.
    return ageMs(lock) < 2_000;
  }
}

function ageMs(path: string): number {
  return Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0);
}

async function shell(command: string): Promise<boolean> {
  const child = spawn("sh", ["-c", command], {
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    stdio: ["ignore", "ignore", "inherit"],
    timeout: INSTALL_LIMIT_MS,
    killSignal: "SIGKILL",
  });
  return new Promise((resolve) => {
    child.once("error", () => resolve(false));
    child.once("exit", (code) => resolve(code === 0));
  });
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
