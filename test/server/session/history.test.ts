/**
 * Older messages, page by page: whatever the log and the size of the pages, they are what the whole log folds to, each once
 * and in order, with the results of their calls.
 */
import fc from "fast-check";
import { encodeFrame } from "../../../protocol/codec.ts";
import type { EventFrame } from "../../../protocol/entries.ts";
import type { HistoryMessage, SessionState } from "../../../protocol/frames.ts";
import { fold } from "../../../protocol/state.ts";
import { MAX_FRAME_BYTES } from "../../../protocol/version.ts";
import { readHistory } from "../../../server/session/history.ts";
import { MemoryStore } from "../../../server/store/memory.ts";
import { choices, randomLog, SESSION } from "../../protocol/logs.ts";
import { calls, closeRuntimes, finishes, says, startRuntime, TestModel } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { deferred, seedFromEnvironment } from "../../support/wait.ts";

const test = suite("history");
test.after.each(closeRuntimes);

async function stored(log: readonly EventFrame[]): Promise<{ store: MemoryStore; state: SessionState }> {
  const store = new MemoryStore();
  const create = await store.join("test", 60_000);
  const index = { readers: [], open: false, updatedAt: 0, info: new Uint8Array() };
  const entries = log.map((entry) => encodeFrame(entry));
  await store.append([{ id: SESSION, epoch: 1, expectedSeq: 0, entries, index, create }]);
  return { store, state: folded(log)! };
}

function folded(log: readonly EventFrame[]): SessionState | undefined {
  let state: SessionState | undefined;
  for (const entry of log) state = fold(state, entry);
  return state;
}

/** Every page from the newest to the oldest, and how many there were. */
async function pages(
  store: MemoryStore,
  state: SessionState,
  limit: number,
): Promise<{ messages: HistoryMessage[]; count: number }> {
  const messages: HistoryMessage[] = [];
  let count = 0;
  for (let cursor: string | undefined; ;) {
    const page = await readHistory(store, state, cursor, limit);
    count++;
    assert.ok(page.items.length <= limit);
    assert.ok(page.items.length > 0 || page.cursor === undefined, "an empty page is the last one");
    messages.unshift(...page.items);
    if (page.cursor === undefined) return { messages, count };
    ({ cursor } = page);
  }
}

test("pages are what the log folds to, for random logs and sizes", { limitMs: 60_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(choices, fc.integer({ min: 1, max: 40 }), async (numbers, limit) => {
      const log = randomLog(numbers);
      // What a compaction leaves out of the state is still history.
      const whole = folded(
        log.filter(({ event }) => event.type !== "compacted").map((entry, n) => ({ ...entry, seq: n + 1 })),
      );
      const { store, state } = await stored(log);
      const { messages } = await pages(store, state, limit);
      const bare = ({ seq: _, ...message }: HistoryMessage): object => message;
      assert.equal(messages.map(bare), whole?.messages.map(bare));
      assert.equal(
        messages.map(({ seq }) => seq),
        log.flatMap(({ event, seq }) => (event.type === "message" ? [seq] : [])),
      );
    }),
    { numRuns: 400, seed: seedFromEnvironment() | 0 },
  );
});

test("a log without messages is one empty page", async () => {
  const { store, state } = await stored(randomLog([]));
  assert.equal(await readHistory(store, state, undefined, 10), { items: [] });
});

test("a cursor that is none is refused", async () => {
  const { store, state } = await stored(randomLog([]));
  for (const cursor of ["", "x", "-1", "0", "1.5", "Infinity", "9007199254740993"]) {
    await assert.rejects(readHistory(store, state, cursor, 10), /cursor/);
  }
});

test("a cursor beyond the log is the newest page", async () => {
  const { store, state } = await stored(randomLog([1, 2, 3]));
  assert.equal(await readHistory(store, state, "999", 50), await readHistory(store, state, undefined, 50));
});

test("a page that is asked for while its calls are open has them open", async () => {
  const gate = deferred();
  const runtime = await startRuntime({
    model: new TestModel([calls("wait"), finishes("tool-calls")], [says("done"), finishes()]),
    tools: [{ name: "wait", inputSchema: {}, execute: () => gate.promise }],
  });
  const session = await runtime.session();
  await runtime.send(session, "go");
  await runtime.entry(session, "tool-dispatched");
  const read = async () => readHistory(runtime.runtime.store, await runtime.state(session), undefined, 10);
  const open = (await read()).items[1]?.parts[0];
  assert.is(open?.type === "dynamic-tool" ? open.state : "", "input-available");
  gate.resolve();
  await runtime.entry(session, "run-finished");
  const { items } = await read();
  assert.equal(items, (await runtime.state(session)).messages);
});

test("pages fit a frame, and together are everything", async () => {
  const runtime = await startRuntime({
    model: new TestModel([calls("big"), finishes("tool-calls")], [says("y".repeat(300_000)), finishes()]),
    tools: [{ name: "big", inputSchema: {}, execute: () => "z".repeat(700_000) }],
    agent: { maxSteps: 1 },
  });
  const session = await runtime.session();
  for (let n = 0; n < 8; n++) await runtime.run(session, `${n}${"x".repeat(250_000)}`);
  const state = await runtime.state(session);
  const seqs: number[] = [];
  for (let cursor: string | undefined; ;) {
    const page = await readHistory(runtime.runtime.store, state, cursor, 50);
    assert.ok(encodeFrame({ type: "ok", id: 4_294_967_295, ...page }).length <= MAX_FRAME_BYTES);
    seqs.unshift(...page.items.map(({ seq }) => seq));
    if (page.cursor === undefined) break;
    ({ cursor } = page);
  }
  const log = await runtime.log(session);
  assert.equal(
    seqs,
    log.flatMap(({ event, seq }) => (event.type === "message" ? [seq] : [])),
  );
});

test("a page far back in a long log reads little of it", async () => {
  const runtime = await startRuntime({ model: new TestModel([says("well"), finishes()]) });
  const session = await runtime.session();
  for (let n = 0; n < 300; n++) await runtime.run(session, `input ${n}`);
  const state = await runtime.state(session);
  const { store } = runtime.runtime;
  let read = 0;
  const counted = Object.create(store) as MemoryStore;
  counted.read = async (...given) => {
    const entries = await store.read(...given);
    read += entries.length;
    return entries;
  };
  const page = await readHistory(counted, state, "100", 5);
  assert.is(page.items.length, 5);
  assert.ok(read <= 600, `${read} of ${state.seq} entries`);
});

test.run();
