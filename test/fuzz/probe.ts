/**
 * Loaded into a server process (`node --expose-gc --import …`) that is being measured: on SIGUSR2 it collects garbage and
 * prints, as a line of JSON on stdout, its memory and the longest that its event loop was busy without a pause since the
 * line before. Never part of the server.
 */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { stolenMs } from "../support/stolen.ts";

const EVERY_MS = 5;

/**
 * What this thread has computed so far, ms: the clock on the wall would count what other processes had of the processor.
 * Always 0 where the system does not tell.
 */
function computedMs(): number {
  try {
    return Number(readFileSync("/proc/thread-self/schedstat", "latin1").split(" ")[0]) / 1e6;
  } catch {
    return 0;
  }
}

let longest = { busyMs: 0, wallMs: 0 };
let computed = computedMs();
let stolen = stolenMs();
let wall = performance.now();

function look(): void {
  const now = { computed: computedMs(), stolen: stolenMs(), wall: performance.now() };
  const wallMs = now.wall - wall;
  // The kernel takes what the host keeps from it for computed by whoever was interrupted. And it counts in ticks: some of
  // what it tells now was computed before the last look.
  const busyMs = Math.min(now.computed - computed, wallMs) - (now.stolen - stolen);
  if (busyMs > longest.busyMs) longest = { busyMs, wallMs };
  ({ computed, stolen, wall } = now);
}
setInterval(look, EVERY_MS).unref();

async function report(): Promise<void> {
  const stall = longest;
  // Finalizers and the allocator give memory back between collections.
  for (let i = 0; i < 4; i++) {
    globalThis.gc?.();
    await sleep(100);
  }
  const { rss, heapUsed, external } = process.memoryUsage();
  look();
  longest = { busyMs: 0, wallMs: 0 };
  console.log(JSON.stringify({ memory: { rss, heapUsed, external }, stall }));
}

process.on("SIGUSR2", () => void report());
