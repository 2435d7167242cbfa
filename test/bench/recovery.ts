/**
 * recovery: a server with 1000 open runs is killed with -9 and started again. Measured from the moment that `/readyz` says
 * 200: until every run has its `run-recovered` on disk, and until 100 programs that use the client library are live again,
 * which reconnect and attach by themselves. Both beside what is promised, 5 s. Each sample has a folder of its own.
 */
import { setTimeout as pause } from "node:timers/promises";
import { connect } from "../../client/client.ts";
import { newId } from "../../protocol/ids.ts";
import { temporaryDirectory } from "../support/process.ts";
import { until } from "../support/wait.ts";
import { samplesOf } from "./bench.ts";
import type { Bench, BenchOptions, Row } from "./bench.ts";
import { Link, type Frame } from "./link.ts";
import { startHaulout } from "./processes.ts";
import type { Running } from "./processes.ts";
import { table } from "./report.ts";
import { median, quantile, ratioOf } from "./stats.ts";

const PROMISED_MS = 5000;
const CLIENTS = 100;
const LINKS = 10;
/** Text that is there before the crash, then an answer that does not end. */
const OPEN = JSON.stringify({ script: [{ text: "Some words of an answer." }, { stall: 3_600_000 }] });

/** ms from `/readyz`, of one restart. */
interface Sample {
  /** When the last run was recovered, and each. */
  readonly all: number;
  readonly runs: readonly number[];
  readonly live: readonly number[];
}

export const recovery: Bench = {
  name: "recovery",
  about: "kill -9 with 1000 open runs: from readiness to all recovered, and to clients live",
  async run(options) {
    const sessions = options.size === "quick" ? 50 : 1000;
    const clients = options.size === "quick" ? 10 : CLIENTS;
    const count = Math.max(1, samplesOf(options, { quick: 1, normal: 5, full: 15 }));
    const samples: Sample[] = [];
    for (let at = 0; at < count; at++) samples.push(await restart(sessions, clients));
    return report(samples, sessions, clients, options);
  },
};

async function restart(sessions: number, clients: number): Promise<Sample> {
  const data = temporaryDirectory();
  const first = await startHaulout("embedded", { data });
  const ids = await openRuns(first.url, sessions);
  const watchers = ids.slice(0, clients).map((session) => watcher(first.url, session));
  await Promise.all(watchers.map(({ there }) => there));
  await first.kill();
  for (const each of watchers) each.liveAt = undefined;
  const { port } = new URL(first.url);
  const starting = startHaulout("embedded", { data, port: Number(port), limitMs: 60_000 });
  const http = `http://127.0.0.1:${port}`;
  await until(async () => (await answer(`${http}/readyz`))?.ok === true, 60_000, "readiness");
  const readyAt = Date.now();
  let second: Running | undefined;
  try {
    const recovered = async (): Promise<boolean> => {
      const text = (await (await answer(`${http}/metrics`))?.text()) ?? "";
      return Number(/^haulout_runs_recovered_total (\d+)$/m.exec(text)?.[1] ?? 0) === sessions;
    };
    await until(recovered, 60_000, "all runs to be recovered");
    const all = Date.now() - readyAt;
    await until(() => watchers.every(({ liveAt }) => liveAt !== undefined), 60_000, "all clients to be live");
    const live = watchers.map(({ liveAt }) => Math.max(0, liveAt! - readyAt));
    second = await starting;
    const runs = (await recoveredAt(second.url, ids)).map((at) => Math.max(0, at - readyAt));
    return { all, runs, live };
  } finally {
    for (const { client } of watchers) client.close();
    await (second ?? (await starting)).kill();
  }
}

async function answer(url: string): Promise<Response | undefined> {
  try {
    return await fetch(url);
  } catch {
    // Nobody listens yet.
    await pause(5);
    return undefined;
  }
}

/** Sessions whose runs have begun and do not end. */
async function openRuns(url: string, count: number): Promise<string[]> {
  const links = await Promise.all(Array.from({ length: LINKS }, () => Link.open(url)));
  const ids = Array.from({ length: count }, () => newId("ses"));
  let begun = 0;
  await Promise.all(
    links.map(async (link, first) => {
      link.onFrame = ({ type }: Frame) => {
        if (type === "delta") begun++;
      };
      for (let at = first; at < count; at += LINKS) {
        const session = ids[at]!;
        await link.request({ type: "createSession", agent: "demo", session });
        await link.request({ type: "attach", session });
        await link.request({ type: "send", session, key: "open", content: OPEN });
      }
    }),
  );
  await until(() => begun >= count, 60_000, "all runs to begin");
  for (const link of links) link.close();
  return ids;
}

/** A program that has attached, with the time when it was last caught up. */
function watcher(
  url: string,
  session: string,
): { client: ReturnType<typeof connect>; there: Promise<unknown>; liveAt: number | undefined } {
  const client = connect({ url });
  const there = client.attach(session).then((handle) => {
    handle.on("live", () => (watching.liveAt = Date.now()));
  });
  const watching = { client, there, liveAt: undefined as number | undefined };
  return watching;
}

/** When each run's `run-recovered` was written, ms since 1970. */
async function recoveredAt(url: string, ids: readonly string[]): Promise<number[]> {
  const link = await Link.open(url);
  const times: number[] = [];
  link.onFrame = (frame) => {
    if (frame["type"] === "event" && frame["event"].type === "run-recovered") times.push(frame["at"]);
  };
  for (const session of ids) {
    await link.request({ type: "attach", session, after: { epoch: 0, seq: 0 } });
  }
  await until(() => times.length >= ids.length, 60_000, "all logs");
  link.close();
  return times;
}

function report(samples: readonly Sample[], sessions: number, clients: number, { say }: BenchOptions): Row[] {
  const figures = {
    [`all ${sessions} runs recovered`]: samples.map(({ all }) => [all]),
    "a run recovered": samples.map(({ runs }) => runs),
    [`a client live, of ${clients}`]: samples.map(({ live }) => live),
  };
  const ms = (value: number): string => value.toFixed(0);
  say(
    table(
      ["after readiness", "samples", "p50 ms", "p99 ms", "longest"],
      Object.entries(figures).map(([name, groups]) => [
        name,
        String(groups.flat().length),
        ...[0.5, 0.99, 1].map((q) => ms(quantile(groups.flat(), q))),
      ]),
    ),
  );
  const beside = (groups: readonly (readonly number[])[], statistic: (all: readonly number[]) => number) =>
    ratioOf(
      groups.map((ours) => ({ ours, theirs: [PROMISED_MS] })),
      statistic,
    );
  const [all, , live] = Object.values(figures);
  const name = `recovery, ${sessions} open runs`;
  return [
    { name: `${name}, all recovered / 5 s`, ...beside(all!, median), goal: 1, better: "lower" },
    {
      name: `${name}, p99 of ${clients} clients live / 5 s`,
      ...beside(live!, (taken) => quantile(taken, 0.99)),
      goal: 1,
      better: "lower",
    },
  ];
}
