/**
 * soak: ten minutes of everything at once on the embedded store: sessions that come and go, sends with their runs, text to
 * many, connections that are cut and come back, readers that stop reading. Only by its name, for its length. What may not
 * grow: memory over the last eight tenths, timers, listeners.
 */
import type { Bench, BenchOptions, Row } from "./bench.ts";
import { startPeers } from "./peers.ts";
import type { Peers } from "./peers.ts";
import type { Side } from "./side.ts";

const MINUTES = 10;
const GOAL_MIB = 1;
const CLIENTS = 40;
/** As many as fill the engine's two write buffers, 16 MiB each: their memory is taken once, however long it goes on. */
const WARM_UP_TURNS = 20_000;

interface Sample {
  readonly minute: number;
  readonly mebibytes: number;
  /** Of them: objects of the heap, and what lives outside of it for them. */
  readonly heap: number;
  readonly external: number;
  readonly timers: number;
  readonly listeners: number;
}

export const soak: Bench = {
  name: "soak",
  about: `${MINUTES} minutes of mixed load; only by this name. --samples: minutes`,
  async run(options) {
    const minutes = options.samples ?? MINUTES;
    const started: Side[] = [];
    try {
      const peers = await startPeers("haulout", started, "50", "embedded");
      await peers.server.ask("fill", WARM_UP_TURNS);
      return report(await load(peers, minutes), minutes, options);
    } finally {
      await Promise.all(started.map((side) => side.stop()));
    }
  },
};

async function load({ server, clients }: Peers, minutes: number): Promise<Sample[]> {
  const began = performance.now();
  const minute = (): number => (performance.now() - began) / 60_000;
  const samples: Sample[] = [];
  while (minute() < minutes) {
    await clients.ask("open", CLIENTS);
    await clients.ask("join", (await server.ask("rooms", CLIENTS / 4))[0]!);
    await clients.ask("send", 4, 2);
    await server.ask("fan", 40, 2, 5);
    await clients.ask("pause");
    await server.ask("fan", 40, 2, 5);
    await clients.ask("resume");
    await clients.ask("cut");
    await clients.ask("again");
    await clients.ask("send", 2, 1);
    await clients.ask("close");
    const bytes = (await server.ask("memory")).map(Number);
    const [mebibytes = NaN, heap = NaN, external = NaN] = bytes.map((value) => value / 2 ** 20);
    const [timers = NaN, listeners = NaN] = (await server.ask("held")).map(Number);
    samples.push({ minute: minute(), mebibytes, heap, external, timers, listeners });
  }
  return samples;
}

function report(samples: readonly Sample[], minutes: number, { say }: BenchOptions): Row[] {
  const late = samples.filter(({ minute }) => minute > minutes * 0.2);
  const [first, last] = [late[0]!, late.at(-1)!];
  const perMinute = slope(late);
  say(
    `${samples.length} rounds; MiB at the start of the last eight tenths ${first.mebibytes.toFixed(1)} ` +
      `(heap ${first.heap.toFixed(1)}, beside it ${first.external.toFixed(1)}), at the end ${last.mebibytes.toFixed(1)} ` +
      `(${last.heap.toFixed(1)}, ${last.external.toFixed(1)}); timers ${first.timers} → ${last.timers}, listeners ${first.listeners} → ${last.listeners}`,
  );
  const none = (name: string, ratio: number, goal: number): Row => ({
    name: `soak, ${name}`,
    ratio,
    interval: [ratio, ratio],
    goal,
    better: "lower",
  });
  return [
    none("MiB of memory a minute", perMinute, GOAL_MIB),
    none("timers more at the end than at the start", last.timers - first.timers, 5),
    none("listeners more at the end than at the start", last.listeners - first.listeners, 1),
  ];
}

/** Of the straight line that fits best. */
function slope(samples: readonly Sample[]): number {
  const mean = (of: (sample: Sample) => number): number =>
    samples.reduce((sum, sample) => sum + of(sample), 0) / samples.length;
  const [x, y] = [mean(({ minute }) => minute), mean(({ mebibytes }) => mebibytes)];
  const over = samples.reduce((sum, { minute, mebibytes }) => sum + (minute - x) * (mebibytes - y), 0);
  return over / samples.reduce((sum, { minute }) => sum + (minute - x) ** 2, 0);
}
