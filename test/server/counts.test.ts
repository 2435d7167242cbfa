/**
 * What work costs, in counts and never in time: messages written, frames, commits and entries, on a whole server with real
 * sockets. A change that doubles one of them is found here.
 */
import { silentLog } from "../../server/observe/log.ts";
import { startServer, type HauloutServer } from "../../server/server.ts";
import { temporaryDirectory } from "../support/process.ts";
import { Reader } from "../support/reader.ts";
import { assert, suite } from "../support/suite.ts";
import { Wire } from "../support/wire.ts";

const test = suite("counts");
let server: HauloutServer;

test.before(async () => {
  server = await startServer({
    port: 0,
    store: "embedded",
    data: temporaryDirectory(),
    log: silentLog(),
    // Whole for the whole test: a window ends when an entry comes.
    limits: { coalesceMs: 600_000 },
    runtime: { presence: { presenceEveryMs: 600_000 } },
  });
});
test.after(() => server.stop());

const READERS = 20;

interface Counts {
  readonly writes: number;
  readonly frames: number;
  readonly commits: number;
  readonly entries: number;
  readonly deltas: number;
}

function counts(): Counts {
  const { writes, frames } = server.connections.totals;
  const { commits, entries } = server.runtime.commits.counters;
  return { writes, frames, commits, entries, deltas: server.runtime.feeds.deltas };
}

/** What `work` adds to each count. */
async function added(work: () => Promise<unknown>): Promise<Counts> {
  const before = counts();
  await work();
  const after = counts();
  const of = (name: keyof Counts): number => after[name] - before[name];
  return {
    writes: of("writes"),
    frames: of("frames"),
    commits: of("commits"),
    entries: of("entries"),
    deltas: of("deltas"),
  };
}

async function readers(count: number): Promise<{ session: string; all: { wire: Wire; reader: Reader }[] }> {
  const url = `ws://127.0.0.1:${server.port}/ws`;
  const first = await Wire.connect(url);
  const { session } = await first.ok("createSession", { agent: "demo" });
  const wires = [first, ...(await Promise.all(Array.from({ length: count - 1 }, () => Wire.connect(url))))];
  const all = await Promise.all(
    wires.map(async (wire) => {
      const reader = new Reader(session as string);
      await reader.enter(wire);
      return { wire, reader };
    }),
  );
  // The first word of who is here comes with nothing else.
  await Promise.all(wires.map((wire) => wire.frame("presence")));
  return { session: session as string, all };
}

const play = (...items: object[]): string => JSON.stringify({ script: items });

test("a send costs one commit, and its answer and the entry are one message", async () => {
  const { session, all } = await readers(1);
  const [{ wire, reader }] = all as [(typeof all)[number]];
  await wire.ok("send", { session, key: "open", content: play({ stall: 3_600_000 }) });
  await reader.until(() => reader.state?.run, "the run");
  const cost = await added(async () => {
    for (let at = 0; at < 10; at++) await wire.ok("send", { session, key: `key ${at}`, content: "more" });
  });
  assert.equal(cost, { writes: 10, frames: 20, commits: 10, entries: 10, deltas: 0 });
  wire.cut();
});

test("a run for many readers: each entry and each delta is one encoding, and few messages carry them", async () => {
  const { session, all } = await readers(READERS);
  const cost = await added(async () => {
    const [{ wire }] = all as [(typeof all)[number]];
    const content = play({ text: "Word after word after word. ".repeat(40), chunk: 4 });
    const { input } = await wire.ok("send", { session, key: "k", content });
    await Promise.all(all.map(({ reader }) => reader.runOf(input as string)));
  });
  const types = all[0]!.reader.types;
  // input-queued | run-started, message | message, step-finished, run-finished
  assert.equal([cost.entries, cost.commits], [6, 3], types.join());
  assert.ok(cost.deltas <= 2, `${cost.deltas} deltas for 280 pieces`);
  // Those, a part, and the answer to the send.
  assert.is(cost.frames, READERS * (cost.entries + cost.deltas + 1) + 1);
  assert.ok(cost.writes <= READERS * 4, `${cost.writes} messages for ${READERS} readers`);
  for (const { reader, wire } of all) {
    assert.equal(reader.faults, []);
    wire.cut();
  }
});

test("a step of many calls: they leave in one message, and their results share commits", async () => {
  const CALLS = 32;
  const url = `ws://127.0.0.1:${server.port}/ws`;
  const provider = await Wire.connect(url);
  const tool = { name: "echo", description: "Echoes.", inputSchema: {}, effect: "pure" };
  await provider.ok("offerTools", { tools: [tool], maxConcurrent: CALLS });
  const sender = await Wire.connect(url);
  const { session } = await sender.ok("createSession", { agent: "demo" });
  const calls = Array.from({ length: CALLS }, (_, at) => ({ tool: "echo", input: { at } }));
  const seen: Record<string, unknown>[] = [];
  const answered = new Promise<void>((resolve) => {
    provider.listeners.add(({ frame }) => {
      if (frame["type"] !== "call") return;
      seen.push(frame);
      if (seen.length < CALLS) return;
      provider.send(
        ...seen.map(({ call, attempt }) => ({ type: "callResult", session, call, attempt, output: 1 })),
      );
      resolve();
    });
  });
  const cost = await added(async () => {
    await sender.ok("send", { session, key: "k", content: play({ calls }, { text: "done" }) });
    await answered;
    const acks = (): true | undefined =>
      provider.received.filter(({ frame }) => frame["type"] === "resultAck").length === CALLS || undefined;
    await provider.wait(acks, 10_000, "the verdicts");
  });
  // At most 16 results share an append; message and dispatches are one.
  assert.ok(cost.commits <= 8, `${cost.commits} commits`);
  // The answer, the calls, the verdicts of each append.
  assert.ok(cost.writes <= 8, `${cost.writes} messages`);
  provider.cut();
  sender.cut();
});

test.run();
