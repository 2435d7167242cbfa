/**
 * durable-sends: how many sends a second are acknowledged when 1000 sessions send at once, each its next when its last is
 * durable; beside the engine alone, committing the same rows in groups with fsync. Both in one process, turn by turn. All
 * sessions have an open run that waits, so that a send is what is measured, and not the run that it would start. Between the
 * two stands the commit queue with the store: it tells which part costs what.
 */
import { ClassicLevel } from "classic-level";
import { encodeFrame } from "../../protocol/codec.ts";
import { newId, newMessageId } from "../../protocol/ids.ts";
import { Runtime } from "../../server/runtime.ts";
import { scriptedModel } from "../../server/model/scripted.ts";
import * as commands from "../../server/session/commands.ts";
import { CommitQueue } from "../../server/store/commit.ts";
import { EmbeddedStore } from "../../server/store/embedded.ts";
import { entryKey, keyRowKey, seal, uint48 } from "../../server/store/layout.ts";
import type { AppendItem } from "../../server/store/store.ts";
import { temporaryDirectory } from "../support/process.ts";
import { until } from "../support/wait.ts";
import { samplesOf } from "./bench.ts";
import type { Bench, BenchOptions, Row } from "./bench.ts";
import { table } from "./report.ts";
import { interleave } from "./slices.ts";
import type { Subject } from "./slices.ts";
import { median, quantile, ratioOf } from "./stats.ts";
import type { Estimate } from "./stats.ts";

const GOAL = 0.7;
const BATCH = 1000;
const MAX_QUEUE = 10_000;
const CONTENT = "A message of a length that people write, neither a word nor a page.";
const ANN = { kind: "user", id: "ann", name: "Ann", verified: false } as const;
const EPOCH = Date.now();
const WAITING = JSON.stringify({ script: [{ stall: 3_600_000 }] });

export const durableSends: Bench = {
  name: "durable-sends",
  about: "acknowledged sends of 1000 sessions at once, beside the engine's own group commit",
  async run(options) {
    const sessions = options.size === "quick" ? 100 : 1000;
    const each = options.size === "quick" ? 2 : 5;
    const groups = Math.max(1, Math.ceil(samplesOf(options, { quick: 4, normal: 16, full: 40 }) / 2));
    const engine = await engineSubject(sessions, each);
    const store = await storeSubject(sessions, each);
    const runtime = await runtimeSubject(sessions, each);
    try {
      const taken = await interleave(
        [engine.subject, store.subject, runtime.subject],
        groups,
        1,
        options.size !== "quick",
      );
      return report(taken, sessions * each, options);
    } finally {
      await engine.close();
      await store.close();
      await runtime.close();
    }
  },
};

interface Side {
  readonly subject: Subject;
  close(): Promise<void>;
}

/** Samples are sends per second of one burst. */
async function timed(
  sessions: number,
  each: number,
  send: (session: number) => Promise<unknown>,
): Promise<number[]> {
  const began = performance.now();
  await Promise.all(
    Array.from({ length: sessions }, async (_, session) => {
      for (let at = 0; at < each; at++) await send(session);
    }),
  );
  return [(sessions * each * 1000) / (performance.now() - began)];
}

async function runtimeSubject(sessions: number, each: number): Promise<Side> {
  const store = await EmbeddedStore.open(temporaryDirectory());
  const runtime = new Runtime(scriptedModel, [], { store, maxQueue: MAX_QUEUE, idleMs: 500 });
  await runtime.addAgent({ name: "waiter" });
  const caller = { actor: ANN, rights: ["admin"] };
  const send = (id: string, content: string): Promise<unknown> =>
    runtime.registry.with(id, (session) =>
      commands.send(session, caller, { key: newId("key"), content }, runtime),
    );
  const prepare = async (): Promise<string[]> => {
    const ids = await Promise.all(
      Array.from({ length: sessions }, () => runtime.createSession("waiter", "ann")),
    );
    await Promise.all(ids.map((id) => send(id, WAITING)));
    const waits = (id: string): boolean => (runtime.registry.peek(id)?.state.messages.length ?? 0) > 0;
    await until(() => ids.every(waits), 60_000, "all runs to wait");
    return ids;
  };
  return {
    subject: {
      name: "runtime",
      async slice() {
        // Fresh ones each time: a long queue would be measured with the sends.
        const ids = await prepare();
        const taken = await timed(sessions, each, (at) => send(ids[at]!, CONTENT));
        await Promise.all(ids.map((id) => runtime.closeSession(id)));
        return taken;
      },
    },
    close: () => runtime.close(),
  };
}

/** LevelDB with the store's settings, and a commit loop with nothing but what a group commit needs. */
async function engineSubject(sessions: number, each: number): Promise<Side> {
  const level = new ClassicLevel<Buffer, Buffer>(temporaryDirectory(), {
    keyEncoding: "buffer",
    valueEncoding: "buffer",
  });
  await level.open({ writeBufferSize: 16 * 2 ** 20, cacheSize: 8 * 2 ** 20 });
  let waiting: { readonly rows: readonly (readonly [Buffer, Buffer])[]; readonly done: () => void }[] = [];
  let busy = false;
  const commit = async (): Promise<void> => {
    busy = true;
    await Promise.resolve();
    while (waiting.length > 0) {
      const group = waiting.slice(0, BATCH);
      waiting = waiting.slice(BATCH);
      const batch = level.batch();
      for (const { rows } of group) for (const [key, value] of rows) batch.put(key, value);
      await batch.write({ sync: true });
      for (const { done } of group) done();
    }
    busy = false;
  };
  const write = (rows: readonly (readonly [Buffer, Buffer])[]): Promise<void> =>
    new Promise((done) => {
      waiting.push({ rows, done });
      if (!busy) void commit();
    });
  return {
    subject: {
      name: "engine",
      async slice() {
        const rows = Array.from({ length: sessions }, () =>
          entriesOfSends(newId("ses"), each).map((entry, at) => rowsOf(entry, at + 1)),
        );
        const next = rows.map(() => 0);
        return timed(sessions, each, (at) => write(rows[at]![next[at]!++]!));
      },
    },
    close: () => level.close(),
  };
}

/** Commit queue and embedded store, without sessions. */
async function storeSubject(sessions: number, each: number): Promise<Side> {
  const store = await EmbeddedStore.open(temporaryDirectory());
  const commits = new CommitQueue(store);
  const member = await store.join("bench", 600_000);
  return {
    subject: {
      name: "store",
      async slice() {
        const logs = Array.from({ length: sessions }, () => entriesOfSends(newId("ses"), each + 1));
        const index = { readers: [ANN.id], open: true, updatedAt: Date.now(), info: new Uint8Array(200) };
        const append = async (log: SentEntry[], at: number, more: Partial<AppendItem>): Promise<void> => {
          const { session: id, frame, key } = log[at]!;
          const keys = [{ user: ANN.id, key, seq: at + 1 }];
          const item = { id, epoch: EPOCH, expectedSeq: at, entries: [frame], keys, ...more };
          const { status } = await commits.append(item);
          if (status !== "ok") throw new Error(`an append was answered by ${status}`);
        };
        await Promise.all(logs.map((log) => append(log, 0, { index, create: member })));
        const next = logs.map(() => 1);
        return timed(sessions, each, (at) => append(logs[at]!, next[at]!++, {}));
      },
    },
    async close() {
      await commits.close();
      await store.close();
    },
  };
}

interface SentEntry {
  readonly session: string;
  readonly key: string;
  readonly frame: Uint8Array;
}

/** What is committed for a send. Made beforehand, for neither engine nor store makes it. */
function entriesOfSends(session: string, count: number): SentEntry[] {
  return Array.from({ length: count }, (_, at) => {
    const key = newId("key");
    const event = { type: "input-queued", input: newMessageId(), key, content: CONTENT, mode: "queue" };
    const entry = { type: "event", session, epoch: EPOCH, seq: at + 1, at: EPOCH, actor: ANN, event };
    return { session, key, frame: encodeFrame(entry) };
  });
}

/** The rows that the embedded store writes for it. */
function rowsOf({ session, key, frame }: SentEntry, seq: number): [Buffer, Buffer][] {
  const entryRow = entryKey(session, seq);
  const keyRow = keyRowKey(session, ANN.id, key);
  return [
    [entryRow, seal(entryRow, uint48(EPOCH), frame)],
    [keyRow, seal(keyRow, uint48(seq))],
  ];
}

function report(
  taken: ReadonlyMap<string, readonly number[][]>,
  burst: number,
  { say }: BenchOptions,
): Row[] {
  const rates = (name: string): number[] => taken.get(name)!.flat();
  const lines = ["engine", "store", "runtime"].map((name) => [
    name,
    String(rates(name).length),
    ...[0.25, 0.5, 0.75].map((q) => String(Math.round(quantile(rates(name), q)))),
  ]);
  say(table([`sends/s in bursts of ${burst}`, "bursts", "p25", "p50", "p75"], lines));
  const beside = (name: string): Estimate =>
    ratioOf(
      taken.get(name)!.map((ours, at) => ({ ours, theirs: taken.get("engine")![at] ?? [] })),
      median,
    );
  const name = "durable-sends,";
  return [
    { name: `${name} runtime / engine's group commit`, ...beside("runtime"), goal: GOAL, better: "higher" },
    { name: `${name} queue and store / the same`, ...beside("store"), goal: null, better: "higher" },
  ];
}
