/**
 * A power cut loses nothing that was acked: writers are killed, then every file is cut back towards what was synced
 * (the page cache that kill -9 leaves intact is gone), and all that was acked must be there. A disk that lies about
 * syncing must make the same test fail. ./shim/syncs.c knows what was synced; without a C compiler this is skipped.
 */
import { closeSync, openSync, readFileSync, readdirSync, statSync, truncateSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { spawnNode, temporaryDirectory } from "../support/process.ts";
import { assert, suite } from "../support/suite.ts";
import { seedFromEnvironment, seeded, type Random } from "../support/wait.ts";
import { compileShim } from "./shim.ts";
import { Acks, verify, type Verdict } from "./store-load.ts";

const CYCLES = 6;
const WRITER = fileURLToPath(new URL("./store-writer.js", import.meta.url));
const test = suite("embedded store under power cuts");

/** Inode to bytes that are surely on the disk. */
type Sizes = Map<string, number>;

/** What a life starts from counts as written long ago. */
function sizesIn(directory: string): Sizes {
  const files = readdirSync(directory).map((name) => statSync(join(directory, name)));
  return new Map(files.map(({ ino, size }) => [String(ino), size]));
}

function addJournal(sizes: Sizes, journal: string): void {
  for (const line of readFileSync(journal, "utf8").split("\n").slice(0, -1)) {
    const [inode = "", size] = line.split(" ");
    sizes.set(inode, Number(size));
  }
}

type Mode = "none" | "all" | "part" | "torn";
const MODES: readonly Mode[] = ["none", "all", "part", "torn"];

/**
 * What the disk may hold after the cut: of each file all that was synced, and of what was not: nothing, all, a part, or,
 * in the write-ahead log, a part followed by sectors that were never written.
 */
function cutPower(directory: string, synced: Sizes, modes: readonly Mode[], random: Random): number {
  let lost = 0;
  const mode = random.pick(modes);
  for (const name of readdirSync(directory)) {
    const path = join(directory, name);
    const { ino, size } = statSync(path);
    const sure = Math.min(size, synced.get(String(ino)) ?? 0);
    if (size === sure || mode === "all") continue;
    const kept = mode === "none" ? sure : sure + random.int(size - sure);
    truncateSync(path, kept);
    lost += size - kept;
    if (mode !== "torn" || !name.endsWith(".log")) continue;
    const garbage = Buffer.alloc(size - kept, random.chance(0.5) ? 0 : "garbage");
    const file = openSync(path, "a");
    writeSync(file, garbage);
    closeSync(file);
  }
  return lost;
}

interface Life {
  readonly shim: string;
  /** Syncing the write-ahead log does nothing. */
  readonly lying: boolean;
  readonly directory: string;
  readonly journal: string;
}

/** One writer from start to death; adds to the acks. */
async function live(life: Life, acks: Acks, random: Random): Promise<void> {
  const writer = spawnNode([WRITER, life.directory, String(random.int(2 ** 31)), "30"], {
    env: {
      LD_PRELOAD: life.shim,
      HAULOUT_SYNC_JOURNAL: life.journal,
      HAULOUT_SYNC_IGNORE: life.lying ? ".log" : undefined,
    },
  });
  await writer.waitForLine(new RegExp(`^total ${100 * (1 + random.int(30))}$`), 30_000);
  writer.kill("SIGKILL");
  const { signal } = await writer.exited;
  assert.is(signal, "SIGKILL", writer.stderr.join("\n"));
  acks.take(writer.stdout);
}

async function cycles(shim: string, lying: boolean, count: number): Promise<Verdict | undefined> {
  const random = seeded(seedFromEnvironment());
  const directory = temporaryDirectory();
  const acks = new Acks();
  let verdict: Verdict | undefined;
  for (let cycle = 1; cycle <= count; cycle++) {
    const life = { shim, lying, directory, journal: join(temporaryDirectory(), "journal") };
    const synced = sizesIn(directory);
    await live(life, acks, random);
    addJournal(synced, life.journal);
    const lost = cutPower(directory, synced, lying ? ["none"] : MODES, random);
    verdict = await verify(directory, acks, random);
    console.log(
      `cycle ${cycle}: ${acks.total} acks, ${verdict.unacked} entries never acked, ${lost} bytes cut off`,
    );
  }
  return verdict;
}

const shim = await compileShim("syncs");
if (shim === undefined) {
  test.skip("a power cut loses nothing that was acked", "needs Linux and a C compiler");
} else {
  test("a power cut loses nothing that was acked", { limitMs: 120_000 }, async () => {
    const verdict = await cycles(shim, false, CYCLES);
    assert.ok((verdict?.entries ?? 0) > 0);
  });

  test("a disk that lies about syncing is found out", { limitMs: 120_000 }, async () => {
    const error = await assert.rejects(cycles(shim, true, CYCLES), /: acked \d+, found|is not listed|: the /);
    console.log(`found out: ${error.message}`);
  });
}

test.run();
