/**
 * Lives of a process that dies of SIGKILL on purpose: how one is started as a process of its own, told from a death, and
 * what its log comes to. Owns no death and no judgement. A life with nothing to die of may as well be the test's own process.
 */
import { pathToFileURL } from "node:url";
import type { EventFrame } from "../../protocol/entries.ts";
import type { SessionState } from "../../protocol/frames.ts";
import { fold } from "../../protocol/state.ts";
import { spawnNode } from "../support/process.ts";
import { assert } from "../support/suite.ts";

/** What the process printed, a value a line, or that it was killed. */
export async function mortal<T>(file: string, args: readonly string[]): Promise<T[] | "killed"> {
  const child = spawnNode([file, ...args]);
  const { code, signal } = await child.exited;
  if (signal === "SIGKILL") return "killed";
  assert.is(code, 0, child.stderr.join("\n"));
  return child.stdout.map((line) => JSON.parse(line) as T);
}

/** The other side of it: where the module at this URL is the process, lives by its arguments and prints what comes of it. */
export async function asProcess(
  url: string,
  live: (args: readonly string[]) => Promise<readonly unknown[]>,
): Promise<void> {
  if (url !== pathToFileURL(process.argv[1] ?? "").href) return;
  for (const value of await live(process.argv.slice(2))) process.stdout.write(`${JSON.stringify(value)}\n`);
}

export function stateOf(log: readonly EventFrame[]): SessionState {
  let state: SessionState | undefined;
  for (const entry of log) state = fold(state, entry);
  return state!;
}
