/**
 * Commands in a pseudo terminal, as a person runs them: what is typed goes in, what is seen comes out. Owns the process
 * behind it (`script` of util-linux makes the terminal) and kills it with the test.
 */
import { spawn, spawnSync } from "node:child_process";
import { until } from "../../support/wait.ts";
import { Terminal } from "./terminal.ts";

const running = new Set<() => void>();
process.once("exit", () => {
  for (const kill of running) kill();
});

/** Why there are no pseudo terminals on this machine; undefined if there are. */
export function whyNoTerminal(): string | undefined {
  const { stdout } = spawnSync("script", ["--version"], { encoding: "utf8" });
  return stdout?.includes("util-linux") ? undefined : "script of util-linux is not here";
}

export class Pty {
  readonly terminal: Terminal;
  readonly exited: Promise<number | null>;
  /** All that the program wrote. */
  raw = "";
  readonly #type: (text: string) => void;
  readonly #kill: () => void;

  constructor(args: readonly string[], env: Record<string, string>, columns: number) {
    this.terminal = new Terminal(columns);
    const quoted = args.map((argument) => `'${argument.replaceAll("'", `'\\''`)}'`).join(" ");
    const command = `stty cols ${columns} rows 24 && exec ${quoted}`;
    const child = spawn("script", ["-qefc", command, "/dev/null"], {
      env: { PATH: process.env["PATH"], SHELL: "/bin/sh", TERM: "xterm", ...env },
      stdio: ["pipe", "pipe", "inherit"],
    });
    child.stdin.on("error", () => undefined);
    child.stdout.setEncoding("utf8").on("data", (data: string) => {
      this.raw += data;
      this.terminal.write(data);
    });
    this.#type = (text) => void child.stdin.write(text);
    this.#kill = () => void child.kill("SIGKILL");
    running.add(this.#kill);
    this.exited = new Promise((resolve) => {
      child.once("close", (code) => {
        running.delete(this.#kill);
        resolve(code);
      });
    });
  }

  type(text: string): void {
    this.#type(text);
  }

  kill(): void {
    this.#kill();
  }

  /** Waits until the screen passes; shows the screen when it never does. */
  async sees(check: RegExp | ((rows: string[]) => unknown), ms = 15_000): Promise<void> {
    const passes = check instanceof RegExp ? (rows: string[]) => check.test(rows.join("\n")) : check;
    try {
      await until(() => passes(this.terminal.rows), ms, String(check));
    } catch (error) {
      throw new Error(`${(error as Error).message}; the screen is\n${this.terminal.rows.join("\n")}`, {
        cause: error,
      });
    }
  }
}
