/**
 * The processes under measurement: a Haulout server as `haulout serve` runs it, and a plain `ws` echo server beside it.
 * Owns starting and stopping them; both are killed with the bench. Never a measurement.
 */
import { readFileSync, readdirSync } from "node:fs";
import { compiled } from "../support/root.ts";
import { spawnNode, temporaryDirectory } from "../support/process.ts";

/** ms of processor time that each thread of a process has used, user and system. */
export function cpuByThread(pid: number): Map<number, number> {
  const threads = readdirSync(`/proc/${pid}/task`).map(Number);
  return new Map(
    threads.map((thread) => {
      const [nanoseconds] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ");
      return [thread, Number(nanoseconds) / 1e6];
    }),
  );
}

/** The same of all threads together. */
export function cpuMs(pid: number): number {
  return [...cpuByThread(pid).values()].reduce((sum, ms) => sum + ms, 0);
}

export interface Running {
  readonly pid: number;
  /** The WebSocket's address. */
  readonly url: string;
  stop(): Promise<void>;
  /** kill -9; resolves when the process is gone. */
  kill(): Promise<void>;
}

/** A server with a data folder of its own; `data` takes an existing one. On any free port unless told. */
export async function startHaulout(
  store: "memory" | "embedded",
  options: { readonly data?: string; readonly port?: number; readonly limitMs?: number } = {},
): Promise<Running> {
  const { data = temporaryDirectory(), port = 0, limitMs = 30_000 } = options;
  const env = { HAULOUT_PORT: String(port), HAULOUT_STORE: store, HAULOUT_DATA: data, HAULOUT_LOG: "error" };
  // In its data folder: no haulout.json of whoever runs the bench.
  return start([compiled("server/main.ts"), "serve"], env, data, "/ws", limitMs);
}

export async function startEcho(): Promise<Running> {
  return start([compiled("test/bench/echo.ts")], {}, temporaryDirectory(), "/", 30_000);
}

async function start(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  cwd: string,
  path: string,
  limitMs: number,
): Promise<Running> {
  const child = spawnNode(args, { env, cwd });
  const [, address = ""] = await child.waitForLine(/listening on http:\/\/(\S+)/, limitMs);
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal);
    await child.exited;
  };
  return {
    pid: child.pid,
    url: `ws://${address}${path}`,
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
  };
}
