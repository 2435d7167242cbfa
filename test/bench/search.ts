/**
 * search: how long the request takes on the embedded store, for somebody who may read all sessions and for a member of
 * few, by kinds of words: rare and common ones, two together, two that never meet, and a beginning. Beside the 50 ms that it
 * may take. Without sockets, and with the store's own indexer before it. The rows leave out what the machine's host had of
 * the processors meanwhile; the table has both.
 */
import { encodeFrame } from "../../protocol/codec.ts";
import type { EntryBody, EventFrame } from "../../protocol/entries.ts";
import { fold } from "../../protocol/state.ts";
import { silentLog } from "../../server/observe/log.ts";
import type { Caller } from "../../server/session/access.ts";
import { Indexer, searchable } from "../../server/session/indexer.ts";
import { indexRow } from "../../server/session/listing.ts";
import { search } from "../../server/session/search.ts";
import { EmbeddedStore } from "../../server/store/embedded.ts";
import type { AppendItem, Member } from "../../server/store/store.ts";
import { temporaryDirectory } from "../support/process.ts";
import { stolenMs, TICK_MS } from "../support/stolen.ts";
import { seeded, type Random } from "../support/wait.ts";
import { samplesOf } from "./bench.ts";
import type { Bench, BenchOptions, Row } from "./bench.ts";
import { table } from "./report.ts";
import { quantile, ratioOf } from "./stats.ts";

const GOAL_MS = 50;
const PER_SESSION = 100;
/** Of so many sessions the member of few has one. */
const ONE_IN = 100;
const WORDS = 20_000;
const PER_MESSAGE = 20;
const EPOCH = Date.now();
const ANN = { kind: "user", id: "ann", name: "Ann", verified: true } as const;

interface Question {
  readonly name: string;
  readonly text: (random: Random) => string;
}

const QUESTIONS: readonly Question[] = [
  { name: "rare word", text: (random) => word(WORDS - 1 - random.int(WORDS / 2)) + " " },
  { name: "common word", text: (random) => word(random.int(10)) },
  { name: "two words", text: (random) => `${word(random.int(100))} ${word(100 + random.int(400))}` },
  { name: "two that never meet", text: () => "neverleft neverright" },
  { name: "beginning", text: (random) => word(random.int(WORDS)).slice(0, 3) },
  {
    name: "common and a beginning",
    text: (random) => `${word(random.int(10))} ${word(random.int(WORDS)).slice(0, 2)}`,
  },
];

const CALLERS: readonly { readonly name: string; readonly caller: Caller }[] = [
  { name: "reads all", caller: { actor: { ...ANN, id: "root" }, rights: ["watch"] } },
  { name: "member of all", caller: { actor: ANN, rights: [] } },
  { name: "member of few", caller: { actor: { ...ANN, id: "bob" }, rights: [] } },
];

export const searchBench: Bench = {
  name: "search",
  about: "words in the messages of all sessions that one may read, embedded store",
  async run(options) {
    const messages = { quick: 2000, normal: 100_000, full: 1_000_000 }[options.size];
    const store = await EmbeddedStore.open(temporaryDirectory());
    try {
      await fill(store, messages, options);
      return await ask(store, messages, options);
    } finally {
      await store.close();
    }
  },
};

async function fill(store: EmbeddedStore, messages: number, { say }: BenchOptions): Promise<void> {
  const random = seeded(1);
  const member = await store.join("bench", 3_600_000);
  for (let at = 0; at < messages / PER_SESSION; at += 10) {
    const batch = Array.from({ length: 10 }, (_, next) => filled(member, at + next, random));
    for (const { status } of await store.append(batch))
      if (status !== "ok") throw new Error(`a session could not be written: ${status}`);
  }
  await store.leave(member);
  const began = performance.now();
  const indexer = new Indexer({ store, log: silentLog() });
  indexer.start();
  await indexer.idle();
  await indexer.close();
  const ms = performance.now() - began;
  say(
    `${messages} messages indexed in ${(ms / 1000).toFixed(1)} s, ${((1000 * ms) / messages).toFixed(0)} µs each`,
  );
}

/** A session with a title and its messages, as one append. */
function filled(create: Member, at: number, random: Random): AppendItem {
  const id = `ses_${String(at).padStart(8, "0")}`;
  const bodies: EntryBody[] = [
    { type: "session-created", agent: "demo", owner: "ann", title: sentence(random, 4) },
  ];
  if (at % ONE_IN === 0) bodies.push({ type: "member-changed", user: "bob", role: "viewer" });
  for (let number = 0; number < PER_SESSION; number++) {
    const never = number % 3 === 0 ? "neverleft" : "neverright";
    const text = `${sentence(random, PER_MESSAGE)} ${never}`;
    const message = {
      id: `msg_${at}_${number}`,
      role: "user",
      author: ANN,
      parts: [{ type: "text", text }],
    } as const;
    bodies.push({ type: "message", message: { ...message, parts: [...message.parts] } });
  }
  const entries = bodies.map((event, seq): EventFrame => {
    return { type: "event", session: id, epoch: EPOCH, seq: seq + 1, at: EPOCH, actor: ANN, event };
  });
  const [first, ...more] = entries;
  const index = indexRow(more.reduce(fold, fold(undefined, first!)));
  const frames = entries.map((entry) => encodeFrame(entry));
  return { id, epoch: EPOCH, expectedSeq: 0, entries: frames, index, create, ...searchable(bodies) };
}

/** As often as words of languages are: the n-th word one n-th as often as the first. */
function sentence(random: Random, length: number): string {
  return Array.from({ length }, () => word(Math.floor(WORDS ** random.next()) - 1)).join(" ");
}

/** Syllables, so that beginnings are shared as in languages. */
function word(rank: number): string {
  const syllables = [
    "ka",
    "ri",
    "mo",
    "ten",
    "sul",
    "va",
    "pe",
    "no",
    "li",
    "dor",
    "ba",
    "shi",
    "gu",
    "wen",
    "fa",
    "tu",
  ];
  let text = "";
  for (let left = rank + 17; left > 0; left = Math.floor(left / syllables.length))
    text += syllables[left % syllables.length]!;
  return text;
}

async function ask(store: EmbeddedStore, messages: number, options: BenchOptions): Promise<Row[]> {
  const rounds = samplesOf(options, { quick: 5, normal: 200, full: 400 });
  const parts = { store, registry: { peek: () => undefined } };
  const random = seeded(2);
  const rows: Row[] = [];
  const lines: string[][] = [];
  for (const { name: whose, caller } of CALLERS) {
    for (const { name, text } of QUESTIONS) {
      const taken: number[] = [];
      const clock: number[] = [];
      let hits = 0;
      const cpu = process.cpuUsage();
      for (let round = 0; round < rounds; round++) {
        const wanted = text(random);
        const [began, stolen] = [performance.now(), stolenMs()];
        const { items } = await search(parts, caller, { type: "search", id: 1, text: wanted });
        const ms = performance.now() - began;
        clock.push(ms);
        // A tick may have begun before.
        taken.push(ms - Math.max(0, stolenMs() - stolen - TICK_MS));
        hits += items.length;
      }
      const { user, system } = process.cpuUsage(cpu);
      const used = (user + system) / 1000 / rounds;
      const ms = (samples: readonly number[], q: number): string => quantile(samples, q).toFixed(1);
      lines.push([
        `${whose}, ${name}`,
        (hits / rounds).toFixed(1),
        used.toFixed(1),
        ms(taken, 0.5),
        ms(taken, 0.99),
        ms(clock, 0.99),
      ]);
      const groups = taken.map((sample) => ({ ours: [sample], theirs: [GOAL_MS] }));
      const estimate = ratioOf(groups, (samples) => quantile(samples, 0.99));
      rows.push({
        name: `search, ${whose}, ${name}, p99 / ${GOAL_MS} ms`,
        ...estimate,
        goal: 1,
        better: "lower",
      });
    }
  }
  options.say(table([`${messages} messages`, "hits", "CPU ms", "p50 ms", "p99 ms", "by the clock"], lines));
  return rows;
}
