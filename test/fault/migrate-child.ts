/**
 * A process that migrates a directory through two made-up formats until it is done or killed:
 * `node migrate-child.js <directory>`. Prints a line at each batch and goes on when it gets one; at the end says `done`.
 */
import { createInterface } from "node:readline";
import { ClassicLevel } from "classic-level";
import type { Level } from "../../server/store/directory.ts";
import { FORMAT_KEY, Kind, rangeOf, unseal } from "../../server/store/layout.ts";
import { migrate, type Migration } from "../../server/store/migrate.ts";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
/** A kind of rows that no real format has. */
const MADE_UP = 200;
const BATCH = 50;

/** 1 → 2: each session gets a row of the new kind. */
const addRows: Migration = async (level) => {
  await inBatches(level, rangeOf(Kind.session), (key, _, batch) => {
    batch.put(Buffer.concat([Buffer.of(MADE_UP), key.subarray(1)]), Buffer.from("added"));
  });
};

/** 2 → 3: the rows change their form; those that have the new one are known by it. */
const changeRows: Migration = async (level) => {
  const range = { gte: Buffer.of(MADE_UP), lt: Buffer.of(MADE_UP + 1) };
  await inBatches(level, range, (key, value, batch) => {
    if (!value.toString().endsWith(", changed")) batch.put(key, Buffer.from(`${value.toString()}, changed`));
  });
};

async function inBatches(
  level: Level,
  range: { gte: Buffer; lt: Buffer },
  change: (key: Buffer, value: Buffer, batch: ReturnType<Level["batch"]>) => void,
): Promise<void> {
  const rows = level.iterator(range);
  for (let page = await rows.nextv(BATCH); page.length > 0; page = await rows.nextv(BATCH)) {
    const batch = level.batch();
    for (const [key, value] of page) change(key, value, batch);
    await batch.write();
    process.stdout.write("batch\n");
    await lines.next();
  }
  await rows.close();
}

const [directory = ""] = process.argv.slice(2);
const level: Level = new ClassicLevel(directory, { keyEncoding: "buffer", valueEncoding: "buffer" });
await level.open();
const row = (await level.get(FORMAT_KEY)) ?? Buffer.alloc(0);
const from = unseal("", FORMAT_KEY, row, "the format row").readUInt32BE();
const steps = new Map([
  [1, addRows],
  [2, changeRows],
]);
process.stdout.write(`from ${from}\n`);
await migrate(level, directory, from, 3, steps);
await level.close();
process.stdout.write("done\n");
process.exit(0);
