/**
 * What the host of a virtual machine keeps its processors from computing. Owns only that one number of the system, for
 * measurements that are of this process and not of its neighbours.
 */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";

/** Of the times in /proc/stat; so is the error of a difference. */
export const TICK_MS = 10;

/** Of all processors since the machine started, ms. Always 0 where the system does not tell. */
export function stolenMs(): number {
  try {
    // cpu user nice system idle iowait irq softirq steal …
    return Number(readFileSync("/proc/stat", "latin1").split("\n", 1)[0]!.split(/ +/)[8]) * TICK_MS;
  } catch {
    return 0;
  }
}

/** Starts to count; what it answers tells which share of the processors' time was taken since. */
export function stolenShare(): () => number {
  const [began, before] = [performance.now(), stolenMs()];
  return () => (stolenMs() - before) / ((performance.now() - began) * availableParallelism());
}
