/**
 * The shims that stand between a process and its disk (./shim/*.c), compiled when they are asked for. Owns how; what each
 * does to writes is said in its source.
 */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { temporaryDirectory } from "../support/process.ts";
import { repositoryRoot } from "../support/root.ts";
import { ensureTool, findTool } from "../support/tools.ts";

/** Answers the path of the shim; undefined: it cannot be made here. */
export async function compileShim(name: "failing" | "syncs"): Promise<string | undefined> {
  if (process.platform !== "linux" || !(await ensureTool("cc"))) return undefined;
  const shim = join(temporaryDirectory(), `${name}.so`);
  const source = join(repositoryRoot, "test", "fault", "shim", `${name}.c`);
  execFileSync(findTool("cc") ?? "cc", ["-shared", "-fPIC", "-O1", "-Wall", "-o", shim, source, "-ldl"]);
  return shim;
}
