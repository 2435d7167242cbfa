/**
 * One side of a bench in a process of its own: asked by numbered lines on its stdin, answering with the same number.
 * Owns that exchange, both ends of it; what is asked and what it means is each bench's.
 */
import { createInterface } from "node:readline";
import { compiled } from "../support/root.ts";
import { spawnProcess, temporaryDirectory, type TestProcess } from "../support/process.ts";

const LIMIT_MS = 120_000;

export class Side {
  readonly child: TestProcess;
  #last = 0;

  private constructor(child: TestProcess) {
    this.child = child;
  }

  /** A script of this folder, or another program that answers alike. */
  static start(script: string, ...args: readonly string[]): Side {
    const node = [process.execPath, "--expose-gc", compiled(`test/bench/${script}`)];
    const [command = "", ...rest] = script.endsWith(".ts") ? node : [script];
    return new Side(spawnProcess(command, [...rest, ...args], { cwd: temporaryDirectory() }));
  }

  async ask(command: string, ...args: readonly (string | number)[]): Promise<string[]> {
    const number = ++this.#last;
    this.child.stdin.write(`${[number, command, ...args].join(" ")}\n`);
    const [, words = ""] = await this.child.waitForLine(new RegExp(`^${number} ?(.*)$`), LIMIT_MS);
    return words.split(" ");
  }

  async number(command: string, ...args: readonly (string | number)[]): Promise<number> {
    return Number((await this.ask(command, ...args))[0]);
  }

  async stop(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.child.exited;
  }
}

type Words = string | number | readonly (string | number)[] | void;
export type Commands = Readonly<Record<string, (args: readonly string[]) => Words | Promise<Words>>>;

/** Answers what is asked, one after the other. A command that fails ends the process. */
export function answerLines(commands: Commands): void {
  let last: Promise<void> = Promise.resolve();
  createInterface({ input: process.stdin }).on("line", (line) => {
    const [number, command = "", ...args] = line.split(" ");
    last = last.then(async () => {
      const answer = await commands[command]!(args);
      console.log([number, ...[answer ?? []].flat()].join(" "));
    });
  });
}

/** µs of processor time that this process has used. */
export function cpu(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** Bytes of resident memory, with what is not needed let go. */
export function resident(): number {
  for (let at = 0; at < 4; at++) globalThis.gc?.();
  return process.memoryUsage.rss();
}
