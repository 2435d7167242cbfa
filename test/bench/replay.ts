/**
 * replay: what it costs to hand out ten thousand entries once more. From memory, over a socket, beside a plain socket that
 * the same bytes are written to; from the store, to a reader that takes everything at once, beside the engine's own walk
 * over the same rows. And what a streamed token costs on the wire beyond its text.
 */
import { cpSync } from "node:fs";
import { ClassicLevel } from "classic-level";
import { scriptedModel } from "../../server/model/scripted.ts";
import { Runtime } from "../../server/runtime.ts";
import type { Subscriber } from "../../server/session/subscriber.ts";
import { EmbeddedStore } from "../../server/store/embedded.ts";
import { entryKey } from "../../server/store/layout.ts";
import { TURN, writeLongSession } from "../support/long-log.ts";
import { temporaryDirectory } from "../support/process.ts";
import { samplesOf } from "./bench.ts";
import type { Bench, BenchOptions, Row } from "./bench.ts";
import { spent, startPeers } from "./peers.ts";
import { quartileTable } from "./report.ts";
import { cpu } from "./side.ts";
import type { Side } from "./side.ts";
import { interleave } from "./slices.ts";
import type { Subject } from "./slices.ts";
import { median, ratioOf } from "./stats.ts";
import { tokenRow } from "./token-bytes.ts";

/** Replays in one sample: a single one is over too soon to be measured. */
const TIMES = 5;

export const replay: Bench = {
  name: "replay",
  about: "10 000 entries to one reader, beside a plain socket and the engine; bytes of a streamed token",
  async run(options) {
    const turns = Math.ceil({ quick: 300, normal: 10_000, full: 10_000 }[options.size] / TURN);
    const groups = Math.max(1, Math.ceil(samplesOf(options, { quick: 2, normal: 16, full: 40 }) / 2));
    return [
      await fromMemory(turns, groups, options),
      await fromStore(turns, groups, options),
      await tokenRow(options),
    ];
  },
};

/** Samples are µs of CPU per entry. */
async function fromMemory(turns: number, groups: number, options: BenchOptions): Promise<Row> {
  const started: Side[] = [];
  try {
    const peers = await startPeers("haulout", started);
    const [id = "", head = ""] = await peers.server.ask("fill", turns);
    await peers.clients.ask("open", 1);
    const bytes = await peers.clients.number("replay", id, head);
    const plain = await startPeers("plain", started);
    await plain.clients.ask("open", 1);
    const subject = (name: string, server: Side, work: () => Promise<unknown>): Subject => ({
      name,
      async slice(count) {
        const taken: number[] = [];
        for (let at = 0; at < count; at++) {
          const us = await spent(server, async () => {
            for (let time = 0; time < TIMES; time++) await work();
          });
          taken.push(us / TIMES / Number(head));
        }
        return taken;
      },
    });
    const pour = async (): Promise<void> => {
      await Promise.all([plain.clients.ask("replay", "", bytes), plain.server.ask("pour", bytes)]);
    };
    const subjects = [
      subject("haulout", peers.server, () => peers.clients.ask("replay", id, head)),
      subject("plain socket", plain.server, pour),
    ];
    const taken = await interleave(subjects, groups, 1, options.size !== "quick");
    say(`${head} entries from memory over a socket`, taken, options);
    const name = `replay, ${head} entries from memory / the same bytes to a plain socket`;
    return { name, ...beside(taken, "haulout", "plain socket"), goal: 1.5, better: "lower" };
  } finally {
    await Promise.all(started.map((side) => side.stop()));
  }
}

async function fromStore(turns: number, groups: number, options: BenchOptions): Promise<Row> {
  const folder = temporaryDirectory();
  const filled = await EmbeddedStore.open(folder);
  const { id, head } = await writeLongSession(filled, turns);
  await filled.close();
  // The engine has rows of its own: a folder is one store's at a time.
  const copy = temporaryDirectory();
  cpSync(folder, copy, { recursive: true });
  const store = await EmbeddedStore.open(folder);
  const runtime = new Runtime(scriptedModel, [], { store });
  const level = new ClassicLevel<Buffer, Buffer>(copy, { keyEncoding: "buffer", valueEncoding: "buffer" });
  await level.open({ cacheSize: 8 * 2 ** 20 });
  try {
    const walk = async (): Promise<number> => {
      let count = 0;
      const iterator = level.iterator({ gte: entryKey(id, 1), lte: entryKey(id, head) });
      for (let rows = await iterator.nextv(1000); rows.length > 0; rows = await iterator.nextv(1000))
        count += rows.length;
      await iterator.close();
      return count;
    };
    const read = (): Promise<number> =>
      runtime.registry.with(id, async ({ feed }) => {
        const taker = new Taker();
        await feed.attach(taker, { after: { epoch: 0, seq: 0 } }, () => {});
        feed.detach(taker);
        // `live` comes last.
        return taker.frames - 1;
      });
    const subject = (name: string, work: () => Promise<number>): Subject => ({
      name,
      async slice(count) {
        const taken: number[] = [];
        for (let at = 0; at < count; at++) {
          const before = cpu();
          for (let time = 0; time < TIMES; time++) {
            const entries = await work();
            if (entries !== head) throw new Error(`${name}: ${entries} of ${head} entries`);
          }
          taken.push((cpu() - before) / TIMES / head);
        }
        return taken;
      },
    });
    const taken = await interleave(
      [subject("haulout", read), subject("engine", walk)],
      groups,
      1,
      options.size !== "quick",
    );
    say(`${head} entries from the store`, taken, options);
    const name = `replay, ${head} entries from the store / the engine's own walk`;
    return { name, ...beside(taken, "haulout", "engine"), goal: 1.3, better: "lower" };
  } finally {
    await runtime.close();
    await level.close();
  }
}

/** A reader that always has room. */
class Taker implements Subscriber {
  readonly gone = false;
  readonly lagging = false;
  frames = 0;

  deliver({ count }: { readonly count: number }): void {
    this.frames += count;
  }

  drop(): void {}

  room(): undefined {}

  mayRead(): boolean {
    return true;
  }
}

function beside(
  taken: ReadonlyMap<string, readonly number[][]>,
  ours: string,
  theirs: string,
): ReturnType<typeof ratioOf> {
  return ratioOf(
    taken.get(ours)!.map((group, at) => ({ ours: group, theirs: taken.get(theirs)![at] ?? [] })),
    median,
  );
}

function say(what: string, taken: ReadonlyMap<string, readonly number[][]>, options: BenchOptions): void {
  options.say(quartileTable(`${what}: µs of CPU each`, taken, 2));
}
