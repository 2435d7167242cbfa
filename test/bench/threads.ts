/**
 * threads: where the server's processor time goes under mixed load on the embedded store: its main thread, which runs
 * JavaScript and the sockets, and the threads beside it, which compress, sync, read, and collect garbage. It says how much
 * a second core takes over already, and how much a server could gain from more of them.
 */
import type { Bench, Row } from "./bench.ts";
import { startPeers } from "./peers.ts";
import { cpuByThread } from "./processes.ts";
import { table } from "./report.ts";
import type { Side } from "./side.ts";

const CLIENTS = 100;

export const threads: Bench = {
  name: "threads",
  about: "how the server's CPU splits between its main thread and those beside it",
  async run(options) {
    const rounds = { quick: 1, normal: 10, full: 30 }[options.size];
    const started: Side[] = [];
    try {
      const { server, clients } = await startPeers("haulout", started, "50", "embedded");
      await clients.ask("open", options.size === "quick" ? 10 : CLIENTS);
      const before = cpuByThread(server.child.pid);
      for (let round = 0; round < rounds; round++) {
        await clients.ask("join", (await server.ask("rooms", 10))[0]!);
        await clients.ask("send", 8, 4);
        await server.ask("fan", 40, 2, 5);
      }
      const after = cpuByThread(server.child.pid);
      return report(server.child.pid, before, after, options.say);
    } finally {
      await Promise.all(started.map((side) => side.stop()));
    }
  },
};

function report(
  pid: number,
  before: ReadonlyMap<number, number>,
  after: ReadonlyMap<number, number>,
  say: (line: string) => void,
): Row[] {
  const used = [...after]
    .map(([id, ms]) => ({
      name: id === pid ? "main thread" : "beside it",
      ms: ms - (before.get(id) ?? 0),
    }))
    .filter(({ ms }) => ms >= 1)
    .sort((a, b) => b.ms - a.ms);
  const all = used.reduce((sum, { ms }) => sum + ms, 0);
  const main = used.find(({ name }) => name === "main thread")?.ms ?? 0;
  say(
    table(
      ["thread", "CPU ms", "share"],
      used.map(({ name, ms }) => [name, ms.toFixed(0), `${((100 * ms) / all).toFixed(1)} %`]),
    ),
  );
  const share = main / all;
  const name = "threads, CPU of the main thread / of the whole server";
  return [{ name, ratio: share, interval: [share, share], goal: null, better: "lower" }];
}
