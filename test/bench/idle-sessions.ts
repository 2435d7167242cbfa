/**
 * idle-sessions: what sessions cost that nobody uses. Starts the server on a folder with many of them and on one with few,
 * by turns, and compares the time until it listens and the memory that it then has: both should not depend on the number.
 * And how long a page of the list takes among many. By its name with a million of them, in `full` with a tenth of that.
 */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { EmbeddedStore } from "../../server/store/embedded.ts";
import { newSession } from "../support/long-log.ts";
import { temporaryDirectory } from "../support/process.ts";
import { samplesOf } from "./bench.ts";
import type { Bench, BenchOptions, Row } from "./bench.ts";
import { Link } from "./link.ts";
import { startHaulout } from "./processes.ts";
import { table } from "./report.ts";
import { interleave } from "./slices.ts";
import { median, quantile, ratioOf } from "./stats.ts";

const FEW = 100;
const LISTS = 40;
/** What a start leaves to be collected is gone by then. */
const SETTLE_MS = 300;
const PER_COMMIT = 1000;
/** "Independent of their number", with room for what a larger tree of tables costs LevelDB to open. */
const GOAL = 1.2;
const READY_MS = 1000;
const LIST_MS = 5;

export const idleSessions: Bench = {
  name: "idle-sessions",
  about: "start and memory with many sessions on disk, beside few",
  async run(options) {
    const many = { quick: 2000, normal: 1_000_000, full: 100_000 }[options.size];
    const groups = Math.max(1, Math.ceil(samplesOf(options, { quick: 2, normal: 10, full: 10 }) / 2));
    const warmUp = options.size !== "quick";
    const folders = { few: temporaryDirectory(), many: temporaryDirectory() };
    await fill(folders.few, FEW);
    const began = performance.now();
    await fill(folders.many, many);
    options.say(`${many} sessions written in ${((performance.now() - began) / 1000).toFixed(1)} s`);
    const memory = new Map<string, number[]>([
      ["few", []],
      ["many", []],
    ]);
    const lists: number[] = [];
    const subjects = (["few", "many"] as const).map((name) => ({
      name,
      async slice(count: number) {
        const taken: number[] = [];
        for (let at = 0; at < count; at++) {
          const started = await startOnce(folders[name]);
          taken.push(started.ms);
          memory.get(name)!.push(started.bytes);
          if (name === "many") lists.push(...started.lists);
        }
        return taken;
      },
    }));
    return report(await interleave(subjects, groups, 1, warmUp), { memory, lists }, many, options);
  },
};

/** Sessions as the server itself would have created them. */
async function fill(folder: string, count: number): Promise<void> {
  const store = await EmbeddedStore.open(folder);
  const member = await store.join("bench", 600_000);
  for (let at = 0; at < count; at += PER_COMMIT) {
    const batch = Array.from({ length: Math.min(PER_COMMIT, count - at) }, () => newSession(member));
    for (const { status } of await store.append(batch)) {
      if (status !== "ok") throw new Error(`a session could not be written: ${status}`);
    }
  }
  await store.leave(member);
  await store.close();
}

/** From the start of the process until it listens; what pages of the list take; its memory then. */
async function startOnce(data: string): Promise<{ ms: number; lists: number[]; bytes: number }> {
  const began = performance.now();
  const server = await startHaulout("embedded", { data, limitMs: 120_000 });
  const ms = performance.now() - began;
  const link = await Link.open(server.url);
  const lists: number[] = [];
  let cursor: string | undefined;
  for (let page = 0; page < LISTS; page++) {
    const asked = performance.now();
    const request = { type: "listSessions", limit: 50, ...(cursor === undefined ? {} : { cursor }) };
    const { items, cursor: next } = await link.request(request);
    lists.push(performance.now() - asked);
    if (items.length !== 50) throw new Error(`a list of ${items.length} sessions`);
    cursor = next;
  }
  await sleep(SETTLE_MS);
  const bytes = residentBytes(server.pid);
  link.close();
  await server.stop();
  return { ms, lists, bytes };
}

function residentBytes(pid: number): number {
  const kibibytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kibibytes) * 1024;
}

function report(
  times: ReadonlyMap<string, readonly number[][]>,
  { memory, lists }: { memory: ReadonlyMap<string, readonly number[]>; lists: readonly number[] },
  many: number,
  { say }: BenchOptions,
): Row[] {
  const mebibytes = (name: string): string => (median(memory.get(name)!) / 2 ** 20).toFixed(1);
  const ms = (name: string, q: number): string => quantile(times.get(name)!.flat(), q).toFixed(0);
  say(
    table(
      ["sessions on disk", "starts", "p50 ms", "longest", "RSS MiB"],
      [
        [
          String(FEW),
          String(times.get("few")!.flat().length),
          ms("few", 0.5),
          ms("few", 1),
          mebibytes("few"),
        ],
        [
          String(many),
          String(times.get("many")!.flat().length),
          ms("many", 0.5),
          ms("many", 1),
          mebibytes("many"),
        ],
      ],
    ),
  );
  const started = times.get("many")!.map((ours, at) => ({ ours, theirs: times.get("few")![at] ?? [] }));
  // Two starts a group on either side; those that warmed up are not among the groups.
  const of = (name: string, at: number): readonly number[] =>
    memory
      .get(name)!
      .slice(-2 * started.length)
      .slice(2 * at, 2 * at + 2);
  const held = started.map((_, at) => ({ ours: of("many", at), theirs: of("few", at) }));
  const name = `idle-sessions, ${many} / ${FEW} on disk`;
  const among = `idle-sessions, among ${many}`;
  const starts = times.get("many")!.map((ours) => ({ ours, theirs: [1] }));
  const pages = [{ ours: lists, theirs: [1] }];
  return [
    { name: `${among}, ms until it listens`, ...ratioOf(starts, median), goal: READY_MS, better: "lower" },
    { name: `${among}, ms of a list page`, ...ratioOf(pages, median), goal: LIST_MS, better: "lower" },
    { name: `${name}, start`, ...ratioOf(started, median), goal: GOAL, better: "lower" },
    { name: `${name}, memory`, ...ratioOf(held, median), goal: GOAL, better: "lower" },
  ];
}
