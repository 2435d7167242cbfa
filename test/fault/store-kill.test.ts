/**
 * kill -9 at any instant loses nothing that was acked: writers are killed again and again on one directory, and after
 * each death everything acked in all their lives must be there, contiguous and unchanged.
 */
import { fileURLToPath } from "node:url";
import { spawnNode, temporaryDirectory } from "../support/process.ts";
import { assert, suite } from "../support/suite.ts";
import { seedFromEnvironment, seeded } from "../support/wait.ts";
import { Acks, verify } from "./store-load.ts";

const CYCLES = 6;
const WRITER = fileURLToPath(new URL("./store-writer.js", import.meta.url));
const test = suite("embedded store under kill -9");

test("whatever instant kills the process, all that was acked is there", { limitMs: 120_000 }, async () => {
  const random = seeded(seedFromEnvironment());
  const directory = temporaryDirectory();
  const acks = new Acks();
  for (let cycle = 1; cycle <= CYCLES; cycle++) {
    // One that dies while it opens, and so while it recovers what the one before left.
    const unlucky = spawnNode([WRITER, directory, "0", "1"]);
    await unlucky.waitForLine(/^opening /);
    unlucky.kill("SIGKILL");
    await unlucky.exited;
    acks.take(unlucky.stdout);
    const writer = spawnNode([WRITER, directory, String(random.int(2 ** 31)), "30"]);
    await writer.waitForLine(new RegExp(`^total ${100 * (1 + random.int(25))}$`), 30_000);
    writer.kill("SIGKILL");
    const { signal } = await writer.exited;
    assert.is(signal, "SIGKILL", writer.stderr.join("\n"));
    acks.take(writer.stdout);
    const { entries, unacked } = await verify(directory, acks, random);
    console.log(`cycle ${cycle}: ${acks.total} acks, ${entries} entries, ${unacked} of them never acked`);
  }
});

test.run();
