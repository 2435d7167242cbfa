/**
 * Loaded into a server process (`node --expose-gc --import …`) that is being measured: on SIGUSR2 it collects garbage and
 * prints its memory as a line of JSON on stdout. Never part of the server.
 */
import { setTimeout as sleep } from "node:timers/promises";

async function report(): Promise<void> {
  // Finalizers and the allocator give memory back between collections.
  for (let i = 0; i < 4; i++) {
    globalThis.gc?.();
    await sleep(100);
  }
  const { rss, heapUsed, external } = process.memoryUsage();
  console.log(JSON.stringify({ memory: { rss, heapUsed, external } }));
}

process.on("SIGUSR2", () => void report());
