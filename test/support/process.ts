/**
 * Child processes and temporary folders of tests. Nothing started here outlives the test file: what still runs is
 * killed and temporary folders are removed when the process exits. Children do not see the HAULOUT_ settings of
 * whoever runs the tests, only those a test gives.
 */
import { spawn } from "node:child_process";
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { repositoryRoot } from "./root.ts";

export interface ProcessOptions {
  /** Added to the environment; undefined removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** The root of the repository unless told. */
  readonly cwd?: string;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface TestProcess {
  readonly pid: number;
  /** Lines of both streams, as far as they came. */
  readonly stdout: readonly string[];
  readonly stderr: readonly string[];
  readonly stdin: ChildProcessWithoutNullStreams["stdin"];
  /** Resolves when the process is gone and all its output is in; never rejects. */
  readonly exited: Promise<Exit>;
  /** The first line of stdout, past or to come, that matches. Rejects when the process ends or `ms` (10 s) are over. */
  waitForLine(pattern: RegExp, ms?: number): Promise<RegExpExecArray>;
  /** SIGTERM unless told. Does nothing to a process that is gone. */
  kill(signal?: NodeJS.Signals): void;
}

const leftovers = new Set<() => void>();

process.once("exit", () => {
  // Processes before the folders they write to: the newest first.
  for (const cleanUp of [...leftovers].toReversed()) cleanUp();
});

/** Starts `node ...args` with the Node that runs the tests. */
export function spawnNode(args: readonly string[], options: ProcessOptions = {}): TestProcess {
  return spawnProcess(process.execPath, args, options);
}

/** Starts any command. One that cannot be started throws, as far as the system says so at once. */
export function spawnProcess(
  command: string,
  args: readonly string[],
  options: ProcessOptions = {},
): TestProcess {
  const child = spawn(command, [...args], {
    cwd: options.cwd ?? repositoryRoot,
    env: environment(options.env),
    stdio: ["pipe", "pipe", "pipe"],
  });
  const pid = child.pid;
  if (pid === undefined) {
    child.once("error", () => undefined);
    throw new Error(`cannot start ${command} ${args.join(" ")}`);
  }
  // Writing to a process that just died is no failure of the test.
  child.stdin.on("error", () => undefined);
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  let exit: Exit | undefined;
  const exited = new Promise<Exit>((resolve) => {
    child.once("close", (code, signal) => {
      exit = { code, signal };
      resolve(exit);
    });
  });
  const kill = (signal: NodeJS.Signals = "SIGTERM"): void => void child.kill(signal);
  const killNow = (): void => kill("SIGKILL");
  leftovers.add(killNow);
  child.once("exit", () => leftovers.delete(killNow));

  const waitForLine = (pattern: RegExp, ms = 10_000): Promise<RegExpExecArray> =>
    new Promise((resolve, reject) => {
      let seen = 0;
      const look = (): boolean => {
        for (; seen < stdout.lines.length; seen++) {
          const match = pattern.exec(stdout.lines[seen] ?? "");
          if (match !== null) {
            stop();
            resolve(match);
            return true;
          }
        }
        return false;
      };
      const giveUp = (why: string): void => {
        stop();
        const output = [...stdout.lines.slice(-30), ...stderr.lines.slice(-30)].join("\n");
        reject(new Error(`no line matches ${String(pattern)}: ${why}; the last output was\n${output}`));
      };
      const timer = setTimeout(() => giveUp(`waited ${ms} ms`), ms);
      const stop = (): void => {
        clearTimeout(timer);
        stdout.watchers.delete(look);
      };
      if (look()) return;
      stdout.watchers.add(look);
      const ended = (end: Exit): void => {
        if (!look()) giveUp(`the process ended with ${end.signal ?? end.code}`);
      };
      if (exit !== undefined) ended(exit);
      else void exited.then(ended);
    });

  return { pid, stdout: stdout.lines, stderr: stderr.lines, stdin: child.stdin, exited, waitForLine, kill };
}

function collect(stream: NodeJS.ReadableStream): { lines: string[]; watchers: Set<() => boolean> } {
  const lines: string[] = [];
  const watchers = new Set<() => boolean>();
  createInterface({ input: stream, crlfDelay: Infinity }).on("line", (line) => {
    lines.push(line);
    for (const watcher of watchers) watcher();
  });
  return { lines, watchers };
}

function environment(added: ProcessOptions["env"]): NodeJS.ProcessEnv {
  const result: NodeJS.ProcessEnv = {};
  for (const [name, value] of Object.entries(process.env)) {
    if (!name.startsWith("HAULOUT_")) result[name] = value;
  }
  return { ...result, ...added };
}

/** A new empty folder, removed when the process exits. */
export function temporaryDirectory(): string {
  const folder = mkdtempSync(join(tmpdir(), "haulout-"));
  leftovers.add(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));
  return folder;
}
