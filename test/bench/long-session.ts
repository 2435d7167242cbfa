/**
 * long-session: whether a session gets slower as its log grows. For logs of several lengths: the first attach after a
 * kill -9, which is answered by a snapshot, and what the server spends on a turn. Each sample has a server of its own. A
 * prompt holds all that was said since the last compaction, at most RETAIN_BYTES: up to there a turn grows with it.
 */
import { newId } from "../../protocol/ids.ts";
import { EmbeddedStore } from "../../server/store/embedded.ts";
import { TURN, writeLongSession } from "../support/long-log.ts";
import { temporaryDirectory } from "../support/process.ts";
import { until } from "../support/wait.ts";
import { samplesOf } from "./bench.ts";
import type { Bench, Row } from "./bench.ts";
import { Link } from "./link.ts";
import { cpuMs, startHaulout } from "./processes.ts";
import { table } from "./report.ts";
import { median, ratioOf } from "./stats.ts";

const ATTACH_MS = 20;
const WARM_UP = 50;
/** From the length on at which a prompt is as long as it gets. */
const GROWTH = 1.2;

interface Sample {
  readonly attachMs: number;
  /** Of the server. */
  readonly attachCpuMs: number;
  readonly turnMs: number;
}

export const longSession: Bench = {
  name: "long-session",
  about: "logs of up to 100 000 entries: the first attach after kill -9, and the cost of a turn",
  async run(options) {
    const quick = options.size === "quick";
    const lengths = quick ? [60, 600] : [100, 1000, 10_000, 50_000, 100_000];
    const turns = quick ? 4 : 60;
    const count = Math.max(1, samplesOf(options, { quick: 1, normal: 5, full: 10 }));
    const samples = new Map<number, Sample[]>();
    for (const length of lengths) {
      const data = temporaryDirectory();
      const store = await EmbeddedStore.open(data);
      const short = await writeLongSession(store, 2);
      const { id } = await writeLongSession(store, Math.ceil(length / TURN));
      await store.close();
      const taken: Sample[] = [];
      // The first server folds the log, as none has had it before: it only warms up.
      for (let at = 0; at <= count; at++) taken.push(await visit(data, short.id, id, turns));
      samples.set(length, taken.slice(1));
    }
    const of = (length: number, what: keyof Sample): number[] =>
      samples.get(length)!.map((sample) => sample[what]);
    options.say(
      table(
        [
          "entries",
          "samples",
          "first attach, p50 ms",
          "longest",
          "server CPU of it",
          "and of a turn, p50 ms",
        ],
        lengths.map((length) => [
          String(length),
          String(count),
          median(of(length, "attachMs")).toFixed(1),
          Math.max(...of(length, "attachMs")).toFixed(1),
          median(of(length, "attachCpuMs")).toFixed(1),
          median(of(length, "turnMs")).toFixed(2),
        ]),
      ),
    );
    const [before = 0, last = 0] = lengths.slice(-2);
    const absolute = (what: keyof Sample): ReturnType<typeof ratioOf> =>
      ratioOf(
        of(last, what).map((ms) => ({ ours: [ms], theirs: [1] })),
        median,
      );
    const spent = of(last, "turnMs").map((ms, at) => ({ ours: [ms], theirs: [of(before, "turnMs")[at]!] }));
    const points = lengths.flatMap((length): Row[] => {
      const row = (series: string, value: number): Row => ({
        name: `long-session, ${length} entries, ${series}`,
        ratio: value,
        interval: [value, value],
        goal: null,
        better: "lower",
        chart: {
          name: "log",
          title: "A log that grows",
          x: length,
          xs: "entries",
          ys: "ms of the server's CPU",
          series,
        },
      });
      return [
        row("first attach after kill -9", median(of(length, "attachCpuMs"))),
        row("a turn", median(of(length, "turnMs"))),
      ];
    });
    return [
      {
        name: `long-session, ms of the first attach to ${last} entries after kill -9`,
        ...absolute("attachMs"),
        goal: ATTACH_MS,
        better: "lower",
      },
      {
        name: `long-session, ms of the server's CPU for it`,
        ...absolute("attachCpuMs"),
        goal: ATTACH_MS,
        better: "lower",
      },
      {
        name: `long-session, CPU of a turn at ${last} / at ${before} entries`,
        ...ratioOf(spent, median),
        goal: GROWTH,
        better: "lower",
      },
      ...points,
    ];
  },
};

/** Attaches, lets some turns pass, and kills the server with the session in memory. */
async function visit(data: string, short: string, session: string, turns: number): Promise<Sample> {
  const server = await startHaulout("embedded", { data, limitMs: 120_000 });
  const link = await Link.open(server.url);
  try {
    let ended = 0;
    link.onFrame = (frame) => {
      if (frame["type"] === "event" && frame["event"].type === "run-finished") ended++;
    };
    // A process that has just started compiles what it does for the first time: that is not the session's length.
    for (let at = 0; at < WARM_UP; at++) {
      await link.request({ type: "attach", session: short });
      await link.request({ type: "detach", session: short });
    }
    const cpu = cpuMs(server.pid);
    const began = performance.now();
    const { mode } = await link.request({ type: "attach", session });
    const attachMs = performance.now() - began;
    const attachCpuMs = cpuMs(server.pid) - cpu;
    if (mode !== "snapshot") throw new Error(`an attach was answered by ${mode}`);
    const turn = async (): Promise<void> => {
      const before = ended;
      await link.request({ type: "send", session, key: newId("key"), content: "A few words." });
      await until(() => ended > before, 60_000, "the end of a turn");
    };
    // Its older messages are read for the first one.
    await turn();
    const before = cpuMs(server.pid);
    for (let at = 0; at < turns; at++) await turn();
    return { attachMs, attachCpuMs, turnMs: (cpuMs(server.pid) - before) / turns };
  } finally {
    link.close();
    await server.kill();
  }
}
