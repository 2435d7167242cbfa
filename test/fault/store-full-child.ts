/**
 * A store on a disk that fills up: `node store-full-child.js <directory of a small file system> <seed>`. Fills it while
 * sessions append, frees it, goes on, and checks by reopening that nothing acked is lost. Runs as a process of its own,
 * for the file system is mounted for it alone. Prints what happened; any broken promise ends it with code 1.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { CommitQueue } from "../../server/store/commit.ts";
import { EmbeddedStore } from "../../server/store/embedded.ts";
import { StoreUnavailableError, type Grant } from "../../server/store/store.ts";
import { bytes, indexRow, texts } from "../contract/store-support.ts";
import { assert } from "../support/suite.ts";
import { seeded, until, type Random } from "../support/wait.ts";
import { fillUp } from "./full-disk.ts";

const SESSIONS = 12;
const [disk = "", seed = "0"] = process.argv.slice(2);
const directory = join(disk, "data");
const filler = join(disk, "filler");
const random = seeded(Number(seed));

const options = { writeBufferSize: 256 * 1024 };
const store = await EmbeddedStore.open(directory, options);
const queue = new CommitQueue(store);
const member = await store.join("one", 10 ** 9);

/** What no session may ever lose: text by seq. */
const acked = new Map<string, Map<number, string>>();
const seen = { acks: 0, indexed: 0, unknown: 0, fenced: 0, unavailable: 0 };
let stopped = false;

/** Does not compress, so that the disk fills as fast as it is written. */
function textOfSize(draw: Random, length: number): string {
  let text = "";
  while (text.length < length) text += draw.int(2 ** 31).toString(36);
  return text;
}

/** As a session would: after anything but ok, forget everything and start from what the store says. */
async function write(id: string, draw: Random): Promise<void> {
  let grant: Grant | undefined = await create(id);
  while (!stopped) {
    if (grant === undefined) {
      grant = await reload(id);
      if (grant === undefined) {
        await new Promise(setImmediate);
        continue;
      }
    }
    const text = textOfSize(draw, 50 + draw.int(2000));
    const seq: number = grant.seq + 1;
    const result = await queue.append({
      id,
      epoch: grant.epoch,
      expectedSeq: grant.seq,
      entries: [bytes(text)],
      searchable: true,
      ...(draw.chance(0.1) && { index: indexRow({ open: true }) }),
    });
    if (result.status === "ok") {
      acked.get(id)?.set(seq, text);
      seen.acks++;
      grant = { ...grant, seq };
      if (draw.chance(0.1)) await store.checkpoint(grant, bytes(text)).catch(isUnavailable);
    } else {
      assert.ok(result.status === "unknown" || result.status === "fenced", `${id}: ${result.status}`);
      seen[result.status]++;
      grant = undefined;
    }
  }
}

async function create(id: string): Promise<Grant> {
  acked.set(id, new Map([[1, id]]));
  const epoch = Date.now();
  const result = await queue.append({
    id,
    epoch,
    expectedSeq: 0,
    entries: [bytes(id)],
    index: indexRow({ open: true }),
    create: member,
  });
  assert.equal(result, { status: "ok", seq: 1 });
  return { id, epoch, seq: 1 };
}

async function reload(id: string): Promise<Grant | undefined> {
  try {
    await check(store, id);
    const grant = await store.claim(id, member);
    assert.ok(grant !== undefined && !("heldBy" in grant), `${id} is gone`);
    return grant;
  } catch (error) {
    isUnavailable(error);
    return undefined;
  }
}

/** As the server would beside all that: writes of its own, which a failed one of others must not hold up, nor they it. */
async function index(): Promise<void> {
  while (!stopped) {
    try {
      const logs = await store.unindexed(SESSIONS);
      const said = logs.map(({ id, seq: after }) => {
        const seq = after + 1;
        return { id, after, seq, texts: [{ seq, terms: [`${seq % 100}`] }], more: true };
      });
      if (said.length > 0 && (await store.index(said))) seen.indexed += said.length;
    } catch (error) {
      isUnavailable(error);
    }
    await new Promise(setImmediate);
  }
}

function isUnavailable(error: unknown): void {
  if (!(error instanceof StoreUnavailableError)) throw error;
  seen.unavailable++;
}

/** All that was acked is there, and what came later than the last ack is one whole append at most. */
async function check(from: EmbeddedStore, id: string): Promise<void> {
  const found = await texts(from, id, 0, Infinity);
  const known = acked.get(id) ?? new Map<number, string>();
  for (const [seq, text] of known)
    assert.ok(found[seq - 1] === text, `${id}: acked ${seq} of ${found.length} is lost`);
}

const writers = Array.from({ length: SESSIONS }, (_, at) => write(`ses_${at}`, random.fork()));
const writing = Promise.all([...writers, index()]);
writing.catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
const after = (acks: number): Promise<unknown> => until(() => seen.acks >= acks, 20_000, `${acks} acks`);
let bystander = await create("ses_bystander");
let rounds = 0;
for (; rounds < 4; rounds++) {
  await after(seen.acks + 50 + random.int(400));
  const before = { ...seen };
  fillUp(filler);
  await until(() => seen.unknown > before.unknown, 20_000, "a failed write");
  // Sometimes free the disk at once, sometimes only when even opening has failed.
  if (rounds % 2 === 0)
    await until(() => seen.unavailable > before.unavailable + 100, 20_000, "a store out of work");
  rmSync(filler);
  await after(seen.acks + 200);
  const { indexed } = seen;
  await until(() => seen.indexed > indexed, 20_000, "more to be found");
  // Whoever took no part in the failed write must not go on from a memory that may be ahead of the disk.
  const { id, epoch, seq } = bystander;
  const late = await queue.append({ id, epoch, expectedSeq: seq, entries: [bytes("late")] });
  assert.equal(late, { status: "fenced" });
  bystander = (await reload(id)) ?? bystander;
  assert.ok(bystander.epoch > epoch);
}
stopped = true;
await writing;
await queue.close();
for (const id of acked.keys()) await check(store, id);
await store.close();
const reopened = await EmbeddedStore.open(directory, options);
for (const id of acked.keys()) await check(reopened, id);
await reopened.close();
console.log(`full ${rounds} times: ${JSON.stringify(seen)}`);
