// limit: 300 s
/**
 * Migration under kill -9. There is one real format yet, so the steps are made up; what is proven is the mechanism: a
 * directory that was killed anywhere in a migration is brought to the same end by the next start, and no number on the
 * disk is ahead of its rows. Real servers refuse what is newer, and what no step leads from.
 */
import { fileURLToPath } from "node:url";
import { ClassicLevel } from "classic-level";
import { FORMAT, FORMAT_KEY, seal } from "../../server/store/layout.ts";
import { MIGRATIONS, writeFormat } from "../../server/store/migrate.ts";
import { EmbeddedStore } from "../../server/store/embedded.ts";
import { StoreOpenError } from "../../server/store/store.ts";
import { Writer } from "../contract/store-support.ts";
import { spawnNode, temporaryDirectory, type TestProcess } from "../support/process.ts";
import { spawnServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { seedFromEnvironment, seeded } from "../support/wait.ts";

const CHILD = fileURLToPath(new URL("./migrate-child.js", import.meta.url));
const SESSIONS = 500;
const test = suite("migration");

async function withLevel<T>(
  directory: string,
  work: (level: ClassicLevel<Buffer, Buffer>) => Promise<T>,
): Promise<T> {
  const options = { keyEncoding: "buffer", valueEncoding: "buffer" } as const;
  const level = new ClassicLevel<Buffer, Buffer>(directory, options);
  await level.open();
  try {
    return await work(level);
  } finally {
    await level.close();
  }
}

/** The n-th line that says how far it is, when it is there. */
function nthLine(child: TestProcess, n: number): Promise<RegExpExecArray> {
  let seen = 0;
  const pattern = /^(?:batch|done)$/;
  const counting = {
    exec: (line: string) => (pattern.test(line) && ++seen === n ? pattern.exec(line) : null),
  };
  return child.waitForLine(counting as RegExp, 20_000);
}

async function filled(): Promise<string> {
  const directory = temporaryDirectory();
  const store = await EmbeddedStore.open(directory);
  const writer = new Writer(store, await store.join("one", 60_000), Date.now);
  await store.append(Array.from({ length: SESSIONS }, (_, at) => writer.creation(`ses_${at}`)));
  await store.close();
  return directory;
}

test("a migration that was killed anywhere comes to the same end", { limitMs: 120_000 }, async () => {
  const random = seeded(seedFromEnvironment());
  const directory = await filled();
  const starts: string[] = [];
  // Each of the two steps has ten batches.
  const kills = [1, 1 + random.int(9), 10, 11 + random.int(8), 1 + random.int(9), Infinity];
  for (const batches of kills) {
    const child = spawnNode(["--enable-source-maps", CHILD, directory]);
    starts.push((await child.waitForLine(/^from (\d)$/))[1]!);
    let seen = 0;
    while (seen < batches) {
      const [line] = await nthLine(child, ++seen);
      if (line === "done") break;
      if (seen < batches) child.stdin.write("go on\n");
    }
    if (batches < Infinity) child.kill("SIGKILL");
    const { code, signal } = await child.exited;
    assert.equal([code, signal], batches < Infinity ? [null, "SIGKILL"] : [0, null], child.stderr.join("\n"));
  }
  console.log(`started from the formats ${starts.join(" ")}`);
  assert.equal(starts, ["1", "1", "1", "1", "2", "2"]);
  const rows = await withLevel(directory, (level) =>
    level.iterator({ gte: Buffer.of(200), lt: Buffer.of(201) }).all(),
  );
  assert.is(rows.length, SESSIONS);
  assert.equal(new Set(rows.map(([, value]) => value.toString())), new Set(["added, changed"]));
  const error = await assert.rejects(EmbeddedStore.open(directory), StoreOpenError);
  assert.match(error.message, /has format 3; this version knows formats up to 1: use a newer version$/);
});

test("every format before this one has a step, and one without a step is refused", async () => {
  for (let format = 1; format < FORMAT; format++) assert.ok(MIGRATIONS.has(format), `from ${format}`);
  const directory = await filled();
  await withLevel(directory, (level) => writeFormat(level, 0));
  const server = spawnServer({ data: directory });
  assert.is((await server.exited).code, 1);
  assert.is(server.stderr.length, 1);
  assert.match(server.stderr[0]!, /has format 0, from which no way leads to \d+: use an older version$/);
  await withLevel(directory, async (level) => {
    await level.put(FORMAT_KEY, seal(FORMAT_KEY, Buffer.of(0, 0, 0, FORMAT)));
  });
  const store = await EmbeddedStore.open(directory);
  assert.is((await store.load("ses_7"))?.head, 1);
  await store.close();
});

test.run();
