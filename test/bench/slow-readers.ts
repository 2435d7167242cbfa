/**
 * slow-readers: 200 readers of one session, and one more that stops reading while text streams: what the others get with and
 * without it, by turns, what the server keeps for it, and whether it has the same state when it reads again. Then all of
 * them stop: how much memory the server takes at most, and how long it takes to answer somebody else.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { Reader } from "../support/reader.ts";
import { until } from "../support/wait.ts";
import { Wire } from "../support/wire.ts";
import { samplesOf } from "./bench.ts";
import type { Bench, BenchOptions, Row } from "./bench.ts";
import { Link } from "./link.ts";
import { startPeers } from "./peers.ts";
import type { Peers } from "./peers.ts";
import type { Side } from "./side.ts";
import { interleave } from "./slices.ts";
import { median, ratioOf } from "./stats.ts";

const MIB = 2 ** 20;
/** Of 16 UTF-16 units: so much at once that what a system buffers for a connection is soon full. */
const PIECES = 256;
/** Nothing came for so long: nothing will. */
const QUIET_MS = 500;
/** What one connection may hold, besides a constant. */
const MAX_QUEUED = 4 * MIB;

export const slowReaders: Bench = {
  name: "slow-readers",
  about: "200 readers of a stream beside one that stops; then all of them stop",
  async run(options) {
    const quick = options.size === "quick";
    const readers = quick ? 20 : 200;
    const groups = Math.max(1, Math.ceil(samplesOf(options, { quick: 2, normal: 12, full: 30 }) / 2));
    const started: Side[] = [];
    try {
      const peers = await startPeers("haulout", started, "0");
      await peers.clients.ask("open", readers);
      const [room = ""] = await peers.server.ask("rooms", 1);
      await peers.clients.ask("join", room);
      return [
        ...(await oneStops(peers, room, readers, groups, options)),
        ...(await allStop(peers, quick ? 50 : 2000, readers, options)),
      ];
    } finally {
      await Promise.all(started.map((side) => side.stop()));
    }
  },
};

async function oneStops(
  { server, clients, url }: Peers,
  room: string,
  readers: number,
  groups: number,
  { size, say }: BenchOptions,
): Promise<Row[]> {
  const turns = size === "quick" ? 20 : 250;
  const wires = await Promise.all([Wire.connect(wsOf(url)), Wire.connect(wsOf(url))]);
  const [stopping, reading] = wires;
  const enter = async (wire: Wire): Promise<Reader> => {
    const reader = new Reader(room);
    await reader.enter(wire);
    return reader;
  };
  const [slow, quick] = await Promise.all([enter(stopping), enter(reading)]);
  let queued = 0;
  let least = 1;
  /** Pieces per ms that the others got. */
  const slice = async (stopped: boolean): Promise<number[]> => {
    const { socket } = stopping;
    await clients.ask("received");
    if (stopped) socket.pause();
    const began = performance.now();
    const [sent = 0] = (await server.ask("fan", turns, 4, 8, PIECES)).map(Number);
    // Two readers of the room are not among these clients.
    const wanted = sent * (readers / (readers + 2));
    let received = 0;
    for (let more = 1; more > 0 && received < wanted; received += more) {
      more = await clients.number("received");
      if (more > 0) continue;
      await sleep(QUIET_MS);
      more = await clients.number("received");
    }
    const ms = performance.now() - began;
    if (stopped) queued = Math.max(queued, await server.number("queued"));
    socket.resume();
    least = Math.min(least, received / wanted);
    return [received / ms];
  };
  const subjects = [
    { name: "one stopped", slice: () => slice(true) },
    { name: "all read", slice: () => slice(false) },
  ];
  const taken = await interleave(subjects, groups, 1, size !== "quick");
  // Something is committed while it does not read.
  stopping.socket.pause();
  await clients.ask("send", 1, 1);
  await until(() => quick.state!.run === undefined && quick.state!.queue.length === 0, 60_000, "the runs");
  stopping.socket.resume();
  await until(() => slow.live && slow.position?.seq === quick.position?.seq, 60_000, "the slow reader");
  const same = isDeepStrictEqual(slow.state, quick.state);
  for (const wire of wires) wire.cut();
  if (!same) throw new Error("the slow reader has another state");
  say(
    `at most ${(queued / MIB).toFixed(2)} MiB waited for the one that stopped, and afterwards it had the same state; ` +
      `of a slice the others got ${(100 * least).toFixed(1)} % at least`,
  );
  const pairs = taken
    .get("one stopped")!
    .map((ours, at) => ({ ours, theirs: taken.get("all read")![at] ?? [] }));
  const kept = queued / MAX_QUEUED;
  return [
    {
      name: "slow-readers, delivery to the others with one stopped / with all reading",
      ...ratioOf(pairs, median),
      goal: 0.97,
      better: "higher",
    },
    {
      name: "slow-readers, bytes kept for the one / 4 MiB",
      ratio: kept,
      interval: [kept, kept],
      goal: 1,
      better: "lower",
    },
  ];
}

async function allStop(
  { server, clients, url }: Peers,
  turns: number,
  readers: number,
  { say }: BenchOptions,
): Promise<Row[]> {
  const other = await Link.open(wsOf(url));
  await clients.ask("pause");
  const answers: number[] = [];
  let most = 0;
  for (let tenth = 0; tenth < 10; tenth++) {
    await server.ask("fan", Math.ceil(turns / 10), 4, 1, PIECES);
    const began = performance.now();
    await other.request({ type: "listAgents" });
    answers.push(performance.now() - began);
    most = Math.max(most, await server.number("rss"));
  }
  await clients.ask("resume");
  other.close();
  say(
    `all ${readers} stopped: at most ${(most / MIB).toFixed(0)} MiB of RSS; others answered within ` +
      `${Math.max(...answers).toFixed(1)} ms`,
  );
  const share = most / (1024 * MIB);
  const name = `slow-readers, RSS with all ${readers} stopped / 1 GiB`;
  return [{ name, ratio: share, interval: [share, share], goal: 1, better: "lower" }];
}

function wsOf(url: string): string {
  return `${url.replace("http", "ws")}/ws`;
}
