/**
 * connections: what clients cost a server beside Socket.IO: a send and its answer, with the entry that follows from it;
 * coming back after their connections were cut, with nothing missed; being connected and silent. CPU and memory are the
 * server's alone.
 */
import { samplesOf } from "./bench.ts";
import type { Bench, BenchOptions, Row, Size } from "./bench.ts";
import { spent, startPeers } from "./peers.ts";
import type { Peers } from "./peers.ts";
import { quartileTable } from "./report.ts";
import type { Side } from "./side.ts";
import { interleave } from "./slices.ts";
import type { Subject } from "./slices.ts";
import { median, ratioOf } from "./stats.ts";

const SENDERS = 16;
const IN_FLIGHT = 4;

export const connections: Bench = {
  name: "connections",
  about: "server CPU of sends and of coming back, memory of idle connections, beside Socket.IO",
  async run(options) {
    const groups = Math.max(1, Math.ceil(samplesOf(options, { quick: 2, normal: 16, full: 40 }) / 2));
    return [
      ...(await acks(groups, options)),
      ...(await returns(Math.max(1, Math.ceil(groups / 4)), options)),
      ...(await idle(options)),
    ];
  },
};

/** Samples are µs of CPU per send. */
async function acks(groups: number, options: BenchOptions): Promise<Row[]> {
  const each = options.size === "quick" ? 8 : 80;
  return beside(
    `send → ack + first event`,
    "memory store / Socket.IO's ack",
    0.8,
    groups,
    options,
    async ({ server, clients }) => {
      // Rooms of their own: what waits in a session from before would be measured with the sends.
      await clients.ask("join", (await server.ask("rooms", SENDERS))[0]!);
      await clients.ask("prepare");
      const us = await spent(server, () => clients.ask("send", each, IN_FLIGHT));
      return us / (SENDERS * each);
    },
    { clients: SENDERS },
  );
}

/** Samples are µs of CPU per connection that came back. */
async function returns(groups: number, options: BenchOptions): Promise<Row[]> {
  const count = { quick: 50, normal: 1000, full: 5000 }[options.size];
  return beside(
    `${count} clients come back and resume`,
    "Socket.IO with recovery",
    0.5,
    groups,
    options,
    async ({ server, clients }) => {
      await clients.ask("cut");
      return (await spent(server, () => clients.ask("again"))) / count;
    },
    { clients: count, rooms: 10, recovery: true },
  );
}

async function beside(
  what: string,
  rival: string,
  goal: number,
  groups: number,
  options: BenchOptions,
  sample: (peers: Peers) => Promise<number>,
  { clients: count, rooms, recovery }: { clients: number; rooms?: number; recovery?: boolean },
): Promise<Row[]> {
  const started: Side[] = [];
  try {
    const make = async (kind: "haulout" | "socket.io", ...more: string[]): Promise<Subject> => {
      const peers = await startPeers(kind, started, ...more);
      await peers.clients.ask("open", count);
      if (rooms !== undefined) await peers.clients.ask("join", (await peers.server.ask("rooms", rooms))[0]!);
      const slice = async (samples: number): Promise<number[]> => {
        const taken: number[] = [];
        for (let at = 0; at < samples; at++) taken.push(await sample(peers));
        return taken;
      };
      return { name: kind, slice };
    };
    const subjects = await Promise.all([make("haulout"), make("socket.io", recovery ? "recovery" : "no")]);
    const taken = await interleave(subjects, groups, 1, options.size !== "quick");
    options.say(quartileTable(`${what}: µs of CPU each`, taken, 1));
    const theirs = taken.get("socket.io")!;
    const pairs = taken.get("haulout")!.map((ours, at) => ({ ours, theirs: theirs[at] ?? [] }));
    return [{ name: `connections, ${what}, ${rival}`, ...ratioOf(pairs, median), goal, better: "lower" }];
  } finally {
    await Promise.all(started.map((side) => side.stop()));
  }
}

const IDLE: Readonly<Record<Size, number>> = { quick: 200, normal: 4000, full: 9000 };

/** One start each: memory that was given back once is not asked for again. */
async function idle({ size, say }: BenchOptions): Promise<Row[]> {
  const count = IDLE[size];
  const bytes: number[] = [];
  for (const kind of ["haulout", "socket.io"] as const) {
    const started: Side[] = [];
    try {
      const { server, clients } = await startPeers(kind, started);
      // What the first connections load stays out of it.
      await clients.ask("open", 50);
      const before = await server.number("rss");
      await clients.ask("open", count);
      bytes.push(((await server.number("rss")) - before) / count);
    } finally {
      await Promise.all(started.map((side) => side.stop()));
    }
  }
  const [ours = NaN, theirs = NaN] = bytes;
  say(
    `${count} idle connections: ${(ours / 1024).toFixed(1)} KiB each, Socket.IO ${(theirs / 1024).toFixed(1)} KiB`,
  );
  const ratio = Math.max(ours, 1) / Math.max(theirs, 1);
  const name = `connections, memory of each of ${count} idle ones / Socket.IO`;
  return [{ name, ratio, interval: [ratio, ratio], goal: 0.5, better: "lower" }];
}
