/**
 * What a figure was measured on: processors, load, versions, and where the data lies. Owns the few lines that go above
 * every result; never judges them.
 */
import { existsSync, readFileSync, statfsSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { repositoryRoot } from "../support/root.ts";
import { stolenShare } from "../support/stolen.ts";

const TMPFS = 0x01021994;

export function describeMachine(): string[] {
  const [model = "unknown processor"] = cpus().map((cpu) => cpu.model.trim());
  return [
    `${availableParallelism()} × ${model}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${process.platform} ${release()}`,
    `node ${process.version}, ws ${version("ws")}, msgpackr ${version("msgpackr")}, classic-level ${version("classic-level")}, ` +
      `native masks ${has("bufferutil") ? "with" : "without"} bufferutil`,
    `data in ${tmpdir()} (${dataHome()})`,
  ];
}

let stolen = stolenShare();

/**
 * Load averages, how long tasks waited for a processor in the last ten seconds, and what a virtual machine's host took
 * since this was last asked, where the kernel says.
 */
export function describeLoad(): string {
  const load = loadavg().map((value) => value.toFixed(2));
  let pressure = "";
  try {
    pressure = /^some (avg10=\S+)/.exec(readFileSync("/proc/pressure/cpu", "utf8"))?.[1] ?? "";
  } catch {
    // Not on this kernel.
  }
  const taken = (100 * stolen()).toFixed(1);
  stolen = stolenShare();
  return `load ${load.join(" ")}${pressure === "" ? "" : `, cpu pressure ${pressure} %`}, ${taken} % taken by the host`;
}

/** Where a file system lives in memory, fsync costs nothing and durable figures say little. */
export function dataHome(): string {
  return statfsSync(tmpdir()).type === TMPFS ? "in memory: fsync is free here" : "on disk";
}

function version(name: string): string {
  const text = readFileSync(join(repositoryRoot, "node_modules", name, "package.json"), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

function has(name: string): boolean {
  return existsSync(join(repositoryRoot, "node_modules", name));
}
