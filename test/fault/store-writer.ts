/**
 * A process that appends to an embedded store until it is killed: `node store-writer.js <directory> <seed> <sessions>`.
 * Says `ack <session> <seq>` for every append answered ok, `removed <session>` for every deletion, and `total <n>` at
 * each hundredth of these lines; `opening <pid>` comes first. Any other answer ends it with code 1. Never says anything before it is answered.
 */
import { CommitQueue } from "../../server/store/commit.ts";
import { EmbeddedStore } from "../../server/store/embedded.ts";
import type { Grant, IndexRow } from "../../server/store/store.ts";
import { bytes, granted } from "../contract/store-support.ts";
import { seeded, type Random } from "../support/wait.ts";
import { READER, entriesFrom, keyNameOf } from "./store-load.ts";

console.log(`opening ${process.pid}`);
const [directory = "", seed = "0", sessions = "1"] = process.argv.slice(2);
// Small buffers, so that tables are written and merged while the process is killed.
const store = await EmbeddedStore.open(directory, { writeBufferSize: 256 * 1024 });
const queue = new CommitQueue(store);
const member = await store.join("writer", 10 ** 9);
const random = seeded(Number(seed));
let said = 0;

function say(line: string): void {
  said++;
  process.stdout.write(said % 100 === 0 ? `${line}\ntotal ${said}\n` : `${line}\n`);
}

function indexRow(draw: Random, seq: number): IndexRow {
  return { readers: [READER], open: draw.chance(0.5), updatedAt: Date.now(), info: bytes(`as of ${seq}`) };
}

async function append(grant: Grant, draw: Random, create: boolean): Promise<Grant> {
  const count = 1 + draw.int(3);
  const seq = grant.seq + count;
  const result = await queue.append({
    id: grant.id,
    epoch: grant.epoch,
    expectedSeq: grant.seq,
    entries: entriesFrom(grant.id, grant.seq, count),
    keys: [{ user: READER, key: keyNameOf(seq), seq }],
    ...(create && { create: member }),
    ...((create || draw.chance(0.2)) && { index: indexRow(draw, seq) }),
  });
  if (result.status !== "ok") throw new Error(`${grant.id}: ${JSON.stringify(result)}`);
  say(`ack ${grant.id} ${seq}`);
  return { ...grant, seq };
}

async function take(id: string, draw: Random): Promise<Grant> {
  if ((await store.load(id)) !== undefined) return granted(store.claim(id, member));
  return append({ id, epoch: Date.now(), seq: 0 }, draw, true);
}

async function write(id: string, draw: Random): Promise<void> {
  let grant = await take(id, draw);
  for (;;) {
    grant = await append(grant, draw, false);
    if (draw.chance(0.02)) await store.checkpoint(grant, bytes(`checkpoint at ${grant.seq}`));
    if (draw.chance(0.01)) await store.snapshot(grant, grant.seq, bytes(`snapshot at ${grant.seq}`));
    if (draw.chance(0.01)) {
      await store.release(grant);
      grant = await granted(store.claim(id, member));
    }
  }
}

async function createAndRemove(draw: Random): Promise<void> {
  for (let count = 0; ; count++) {
    const id = `tmp_${process.pid}_${count}`;
    const grant = await append(await take(id, draw), draw, false);
    if (draw.chance(0.8) && (await store.remove(grant))) say(`removed ${id}`);
    else await store.release(grant);
  }
}

await Promise.all([
  ...Array.from({ length: Number(sessions) }, (_, at) => write(`ses_${at}`, random.fork())),
  createAndRemove(random.fork()),
]);
