/**
 * Long sessions: what is read of the store to have one in memory, and for a turn of it, in counts; and the stored state
 * with its older messages left for later, which must come to what the log folds to, wherever it was stored.
 */
import { encodeFrame } from "../../../protocol/codec.ts";
import type { EntryBody, EventFrame } from "../../../protocol/entries.ts";
import type { SessionState } from "../../../protocol/frames.ts";
import { cut, fold } from "../../../protocol/state.ts";
import { snapshotFor } from "../../../server/session/snapshot.ts";
import { encodeState, Stored } from "../../../server/session/stored.ts";
import { MemoryStore } from "../../../server/store/memory.ts";
import type { StoredEntry, Unindexed } from "../../../server/store/store.ts";
import { TURN, writeLongSession } from "../../support/long-log.ts";
import { closeRuntimes, finishes, says, startRuntime, TestModel } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { seeded, seedFromEnvironment, until } from "../../support/wait.ts";
import { assistantMessage, entry, USAGE, userMessage } from "../../protocol/logs.ts";

const test = suite("long sessions");
test.after.each(closeRuntimes);

class CountingStore extends MemoryStore {
  entriesRead = 0;
  snapshots: number[] = [];

  override async read(...given: Parameters<MemoryStore["read"]>): Promise<StoredEntry[]> {
    const entries = await super.read(...given);
    this.entriesRead += entries.length;
    return entries;
  }

  /** The search reads every log once in its own time, which is not what is counted here. */
  override unindexed(): Promise<readonly Unindexed[]> {
    return Promise.resolve([]);
  }

  override async snapshot(...given: Parameters<MemoryStore["snapshot"]>): Promise<boolean> {
    const stored = await super.snapshot(...given);
    this.snapshots.push(given[1]);
    return stored;
  }
}

const model = (): TestModel => new TestModel([says("well"), finishes()]);

for (const entries of [1000, 20_000]) {
  test(`with ${entries} entries a turn reads nothing, and whoever comes after a kill reads what is new`, async () => {
    const store = new CountingStore();
    const { id, head } = await writeLongSession(store, Math.ceil(entries / TURN));
    const first = await startRuntime({ store, model: model() });
    await first.run(id, "Is anybody there?");
    await until(() => store.snapshots.length === 1, 5000, "a stored state");
    const before = store.entriesRead;
    assert.is(before, head, "nothing was stored of it: it was folded once");
    for (let turn = 0; turn < 10; turn++) await first.run(id, `Turn ${turn}`);
    assert.is(store.entriesRead, before);
    assert.is(store.snapshots.length, 1);
    // Another process on the same store, with nothing unloaded by the one before.
    const next = await startRuntime({ store, model: model() });
    const state = await next.state(id);
    assert.is(state.seq, (await first.state(id)).seq);
    assert.ok(store.entriesRead - before <= 11 * TURN, `${store.entriesRead - before} entries`);
    assert.equal(snapshotFor(state, 200), snapshotFor(await first.state(id), 200));
    assert.equal(state, await first.state(id), "its older messages, too");
  });
}

test("the state of a session in memory is stored every so many entries, with no commit of its own", async () => {
  const store = new CountingStore();
  const runtime = await startRuntime({ store, model: model(), snapshotEvery: 50 });
  const session = await runtime.session();
  const TURNS = 100;
  for (let turn = 0; turn < TURNS; turn++) await runtime.run(session, `Turn ${turn}`);
  const { seq } = await runtime.state(session);
  const { commits } = runtime.runtime.commits.counters;
  assert.is(commits, 1 + 3 * TURNS);
  const at = store.snapshots.join(", ");
  assert.ok(store.snapshots.length >= 5 && store.snapshots.length <= seq / 50, at);
  for (const [index, one] of store.snapshots.entries())
    assert.ok(one - (store.snapshots[index - 1] ?? 0) >= 50, at);
});

test("a state that is stored anywhere in a log comes to what the whole log folds to", async () => {
  const random = seeded(seedFromEnvironment());
  for (let round = 0; round < 12; round++) {
    const log = longLog(random);
    const at = 1 + random.int(log.length - 1);
    let state: SessionState | undefined;
    for (const one of log.slice(0, at)) state = fold(state, one);
    const stored = Stored.decode(await encodeState(state!))!;
    for (const one of log.slice(at)) {
      state = fold(state, one);
      stored.fold(one);
    }
    const read = stored.state();
    // As a reader gets it, before anybody has asked for the older ones.
    assert.equal(
      encodeFrame(snapshotFor(read, 200)),
      encodeFrame(snapshotFor(state!, 200)),
      `round ${round}`,
    );
    assert.equal(cut(read, 200).messages, cut(state!, 200).messages);
    assert.equal({ ...read }, state, `round ${round}, stored at ${at} of ${log.length}`);
    const after = entry(state!.seq + 1, { type: "message", message: userMessage("last") });
    assert.equal(fold(read, after), fold(state, after));
  }
});

/** Hundreds of messages, with calls that stay open for long, compactions and runs that are rolled back. */
function longLog(random: ReturnType<typeof seeded>): EventFrame[] {
  const created: EntryBody = { type: "session-created", agent: "demo", owner: "ada" };
  const log = [entry(1, created)];
  const open: string[] = [];
  const runs: string[] = [];
  const add = (event: EntryBody): void => void log.push(entry(log.length + 1, event));
  const turns = 150 + random.int(300);
  for (let turn = 0; turn < turns; turn++) {
    const run = `run_${turn}`;
    const calls = random.chance(0.2) ? [`call_${turn}`] : [];
    open.push(...calls);
    runs.push(run);
    add({ type: "message", message: { ...userMessage(`msg_u${turn}`), run } });
    add({ type: "message", message: { ...assistantMessage(`msg_a${turn}`, calls), run } });
    if (open.length > 0 && random.chance(0.15)) {
      const [call = ""] = open.splice(random.int(open.length), 1);
      add({ type: "tool-result", call, outcome: "ok", output: turn, durationMs: 1 });
    }
    if (random.chance(0.01))
      add({ type: "compacted", upTo: 1 + random.int(log.length), summary: `at ${turn}` });
    if (random.chance(0.02))
      add({
        type: "run-finished",
        run: random.pick(runs),
        reason: "cancelled",
        steps: 1,
        usage: USAGE,
        model: "test",
        rolledBack: true,
      });
  }
  return log;
}

test.run();
