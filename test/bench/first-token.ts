/**
 * first-token: from `send` to the first `delta` at a client, over a real socket to a real server process, on the memory
 * and the embedded store; beside the round trip of the same bytes through a plain `ws` echo server. What it measures is
 * the server's own share of the wait for a first word: the scripted model answers at once. One message is in flight.
 */
import { encodeFrame } from "../../protocol/codec.ts";
import { newId } from "../../protocol/ids.ts";
import { deferred } from "../support/wait.ts";
import { samplesOf } from "./bench.ts";
import type { Bench, BenchOptions, Row } from "./bench.ts";
import { Link, openSocket } from "./link.ts";
import { startEcho, startHaulout } from "./processes.ts";
import type { Running } from "./processes.ts";
import { table } from "./report.ts";
import { interleave } from "./slices.ts";
import type { Subject } from "./slices.ts";
import { quantile, ratioOf } from "./stats.ts";

const PER_SLICE = 20;
const TEXT = "How long until the first word of an answer?";
export const firstToken: Bench = {
  name: "first-token",
  about: "send → first delta, beside a plain ws echo",
  async run(options) {
    const samples = samplesOf(options, { quick: 80, normal: 1000, full: 4000 });
    const perSlice = Math.min(PER_SLICE, Math.max(1, Math.floor(samples / 4)));
    const groups = Math.max(2, Math.ceil(samples / (2 * perSlice)));
    const running: Running[] = [];
    const ends: (() => void)[] = [];
    try {
      running.push(await startEcho(), await startHaulout("memory"), await startHaulout("embedded"));
      const [echo, memory, embedded] = running as [Running, Running, Running];
      const subjects = [
        await echoSubject(echo, ends),
        await serverSubject("memory", memory, ends),
        await serverSubject("embedded", embedded, ends),
      ];
      return report(await interleave(subjects, groups, perSlice, options.size !== "quick"), options);
    } finally {
      for (const end of ends) end();
      await Promise.all(running.map((each) => each.stop()));
    }
  },
};

async function echoSubject({ url }: Running, ends: (() => void)[]): Promise<Subject> {
  const socket = await openSocket(url, undefined);
  ends.push(() => socket.terminate());
  const bytes = encodeFrame({ type: "send", id: 1, session: newId("ses"), key: "key_1", content: TEXT });
  let arrived = deferred<number>();
  socket.on("message", () => arrived.resolve(performance.now()));
  return {
    name: "ws echo",
    async slice(count) {
      const taken: number[] = [];
      for (let at = 0; at < count; at++) {
        arrived = deferred<number>();
        const began = performance.now();
        socket.send(bytes);
        taken.push((await arrived.promise) - began);
      }
      return taken;
    },
  };
}

async function serverSubject(name: string, { url }: Running, ends: (() => void)[]): Promise<Subject> {
  const link = await Link.open(url);
  ends.push(() => link.close());
  let first = deferred<number>();
  let finished = deferred();
  link.onFrame = (frame) => {
    if (frame["type"] === "delta") first.resolve(performance.now());
    else if (frame["type"] === "event" && frame["event"].type === "run-finished") finished.resolve();
  };
  return {
    name,
    async slice(count) {
      // A session of its own for each slice: a long history would be measured with the rest.
      const { session } = await link.request({ type: "createSession", agent: "demo" });
      await link.request({ type: "attach", session });
      const taken: number[] = [];
      for (let at = 0; at < count; at++) {
        first = deferred<number>();
        finished = deferred();
        const send = link.prepare({ type: "send", session, key: `key_${at}`, content: TEXT });
        const began = performance.now();
        link.transmit(send.bytes);
        taken.push((await first.promise) - began);
        await Promise.all([send.answer, finished.promise]);
      }
      await link.request({ type: "detach", session });
      return taken;
    },
  };
}

function report(taken: ReadonlyMap<string, readonly number[][]>, { say }: BenchOptions): Row[] {
  const all = (name: string): number[] => taken.get(name)!.flat();
  const ms = (value: number): string => value.toFixed(3);
  say(
    table(
      ["", "samples", "p50 ms", "p90 ms", "p99 ms", "longest"],
      [...taken.keys()].map((name) => [
        name,
        String(all(name).length),
        ...[0.5, 0.9, 0.99, 1].map((q) => ms(quantile(all(name), q))),
      ]),
    ),
  );
  const theirs = taken.get("ws echo")!;
  const rows: Row[] = [];
  for (const store of ["memory", "embedded"]) {
    const groups = taken.get(store)!.map((ours, at) => ({ ours, theirs: theirs[at] ?? [] }));
    for (const [label, q] of [
      ["p50", 0.5],
      ["p99", 0.99],
    ] as const) {
      const estimate = ratioOf(groups, (samples) => quantile(samples, q));
      rows.push({
        name: `first-token, ${store} store, ${label} / ws echo`,
        ...estimate,
        goal: null,
        better: "lower",
      });
    }
  }
  return rows;
}
