/**
 * growth: what one delivery costs as clients, and as sessions, become more, beside Socket.IO: rows for charts, one a point.
 * The growth with the length of a log is long-session's.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { samplesOf } from "./bench.ts";
import type { Bench, BenchOptions, Row } from "./bench.ts";
import { startPeers } from "./peers.ts";
import type { Peers } from "./peers.ts";
import { table } from "./report.ts";
import type { Side } from "./side.ts";
import { interleave } from "./slices.ts";
import type { Subject } from "./slices.ts";
import { median, ratioOf } from "./stats.ts";

/** Deliveries of one sample, about: a few clients are spoken to more often. */
const DELIVERIES = 20_000;
const MAX_CLIENTS = 1000;

interface Sweep {
  readonly name: string;
  readonly title: string;
  readonly xs: string;
  readonly sizes: readonly number[];
  readonly clients: (size: number) => number;
  readonly rooms: (size: number) => number;
}

export const growth: Bench = {
  name: "growth",
  about: "the cost of a delivery with 1 to 1000 clients, and with 1 to 10 000 sessions",
  async run(options) {
    const quick = options.size === "quick";
    const rows: Row[] = [];
    // One point shows that it runs: the others are the same with other numbers.
    const sweeps: Sweep[] = [
      {
        name: "clients",
        title: "More readers of one session",
        xs: "clients",
        sizes: quick ? [10] : [1, 10, 100, 1000],
        clients: (size) => size,
        rooms: () => 1,
      },
      {
        name: "sessions",
        title: "More sessions that stream, spread over up to 1000 clients",
        xs: "sessions",
        sizes: quick ? [] : [1, 10, 100, 1000, 10_000],
        clients: (size) => Math.min(size, MAX_CLIENTS),
        rooms: (size) => size,
      },
    ];
    for (const sweep of sweeps)
      for (const size of sweep.sizes) rows.push(...(await point(sweep, size, options)));
    return rows;
  },
};

async function point(sweep: Sweep, size: number, options: BenchOptions): Promise<Row[]> {
  const groups = Math.max(1, Math.ceil(samplesOf(options, { quick: 2, normal: 8, full: 20 }) / 2));
  const started: Side[] = [];
  try {
    const subjects = await Promise.all(
      (["haulout", "socket.io"] as const).map(async (kind): Promise<Subject> => {
        // Every piece is a delivery, for both.
        const peers = await startPeers(kind, started, kind === "haulout" ? "0" : "no");
        await peers.clients.ask("open", sweep.clients(size));
        const [rooms = ""] = await peers.server.ask("rooms", sweep.rooms(size));
        await peers.clients.ask("spread", rooms);
        return { name: kind, slice: () => slice(peers, size, sweep, options) };
      }),
    );
    const taken = await interleave(subjects, groups, 1, options.size !== "quick");
    const cost = (kind: string): number => median(taken.get(kind)!.flat());
    options.say(
      table(
        [`${size} ${sweep.xs}`, "slices", "µs of CPU per delivery"],
        [...taken].map(([kind, samples]) => [kind, String(samples.flat().length), cost(kind).toFixed(2)]),
      ),
    );
    const row = (kind: string, series: string): Row => ({
      name: `growth, ${size} ${sweep.xs}, µs of CPU per delivery, ${series}`,
      ...ratioOf(
        taken.get(kind)!.map((ours) => ({ ours, theirs: [1] })),
        median,
      ),
      goal: null,
      better: "lower",
      chart: {
        name: sweep.name,
        title: sweep.title,
        x: size,
        xs: sweep.xs,
        ys: "µs of the server's CPU per delivery",
        series,
      },
    });
    return [row("haulout", "Haulout"), row("socket.io", "Socket.IO")];
  } finally {
    await Promise.all(started.map((side) => side.stop()));
  }
}

/** µs of CPU per delivery. */
async function slice(peers: Peers, size: number, sweep: Sweep, options: BenchOptions): Promise<number[]> {
  const { server, clients } = peers;
  const each = Math.max(sweep.clients(size), sweep.rooms(size));
  const wanted = options.size === "quick" ? 100 : DELIVERIES;
  const turns = Math.min(500, Math.max(2, Math.ceil(wanted / each)));
  await clients.ask("received");
  const [sent = 0, us = 0] = (await server.ask("fan", turns, 1, 4)).map(Number);
  let received = 0;
  for (let tries = 0; tries < 200 && received < sent; tries++) {
    received += await clients.number("received");
    if (received < sent) await sleep(20);
  }
  if (received !== sent || sent === 0) throw new Error(`${sent} sent, ${received} received`);
  return [us / sent];
}
