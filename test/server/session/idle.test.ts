// limit: 300 s
/**
 * Idle sessions cost no memory: a process of its own creates a hundred thousand on disk. Owns the bound on its heap.
 */
import { join } from "node:path";
import { spawnNode, temporaryDirectory } from "../../support/process.ts";
import { compiled } from "../../support/root.ts";
import { assert, suite } from "../../support/suite.ts";

const test = suite("idle sessions");
const MIB = 1024 * 1024;

test(
  "100 000 sessions, created and idle, leave the registry empty and the heap at most 20 MB larger",
  { limitMs: 280_000 },
  async () => {
    const child = compiled("test/server/session/idle-child.ts");
    const made = spawnNode(["--expose-gc", child, join(temporaryDirectory(), "data"), "100000"]);
    const { code } = await made.exited;
    assert.is(code, 0, made.stderr.join("\n"));
    const { registry, before, after, answered } = JSON.parse(made.stdout.at(-1)!) as Record<string, number>;
    console.log(`heap ${(before! / MIB).toFixed(1)} → ${(after! / MIB).toFixed(1)} MiB`);
    assert.is(registry, 0);
    assert.ok(after! - before! <= 20 * 1_000_000, `${after! - before!} bytes more`);
    assert.ok(answered);
  },
);

test.run();
