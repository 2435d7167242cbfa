/**
 * The disk of a chaos world: a small file system that can be full, under a shim that lets syncing fail. Owns the mount
 * (in a mount namespace that ends with its process) and the shim; what cannot be had here is said in `leftOut`.
 */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findTool } from "../support/tools.ts";
import { spawnProcess, temporaryDirectory, type TestProcess } from "../support/process.ts";
import { fillUp } from "./full-disk.ts";
import { compileShim } from "./shim.ts";

/** LevelDB writes 16 MiB of log before it makes a table of it. */
const MOUNT = 'mount -t tmpfs -o size=64m,mode=700 none "$1" && echo mounted && exec cat';

/** How to have a mount namespace of one's own, as root or in a user namespace, and how to enter it. */
const NAMESPACES = [
  { unshare: ["-m"], enter: ["-m"] },
  { unshare: ["-Urm"], enter: ["-U", "--preserve-credentials", "-m"] },
];

export interface Disk {
  readonly data: string;
  /** How to run a command that sees this disk. */
  readonly within: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Faults that cannot be made here, and why. */
  readonly leftOut: readonly string[];
  fill(): void;
  /** Makes room again. */
  free(): void;
  failing(failing: boolean): void;
  close(): void;
}

export async function makeDisk(): Promise<Disk> {
  const folder = temporaryDirectory();
  const holder = await mount(folder);
  const failing = await (shim ??= compileShim("failing"));
  const flag = join(temporaryDirectory(), "failing");
  const filler = `/proc/${holder?.process.pid}/root${join(folder, "filler")}`;
  const leftOut: string[] = [];
  if (holder === undefined)
    leftOut.push("a full disk: needs unshare(1), nsenter(1), the right to mount a tmpfs");
  if (failing === undefined) leftOut.push("a disk that fails to sync: needs Linux and a C compiler");
  return {
    data: join(folder, "data"),
    within: holder === undefined ? [] : ["nsenter", "-t", String(holder.process.pid), ...holder.enter],
    env: failing === undefined ? {} : { LD_PRELOAD: failing, HAULOUT_FAIL_WHILE: flag },
    leftOut,
    fill: () => holder !== undefined && fillUp(filler),
    free: () => rmSync(filler, { force: true }),
    failing: (fails) => (fails ? writeFileSync(flag, "") : rmSync(flag, { force: true })),
    close: () => holder?.process.kill("SIGKILL"),
  };
}

async function mount(folder: string): Promise<{ process: TestProcess; enter: string[] } | undefined> {
  if (findTool("unshare") === undefined || findTool("nsenter") === undefined) return undefined;
  for (const { unshare, enter } of NAMESPACES) {
    const holder = spawnProcess("unshare", [...unshare, "sh", "-c", MOUNT, "sh", folder]);
    const mounted = await holder.waitForLine(/^mounted$/).then(
      () => true,
      () => false,
    );
    if (mounted) return { process: holder, enter };
  }
  return undefined;
}

let shim: Promise<string | undefined> | undefined;
