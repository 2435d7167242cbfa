/**
 * A full disk: appends answer `unknown`, reads say that the store is out of work, and once there is room again writing
 * goes on by itself, with everything that was ever acked. Owns the small file system (a tmpfs in a mount namespace of
 * its own, which goes with its process); the story itself is in ./store-full-child.ts.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { spawnProcess, temporaryDirectory } from "../support/process.ts";
import { assert, suite } from "../support/suite.ts";
import { seedFromEnvironment } from "../support/wait.ts";

const CHILD = fileURLToPath(new URL("./store-full-child.js", import.meta.url));
const MOUNT = 'mount -t tmpfs -o size=16m,mode=700 none "$1" && shift && exec "$@"';
const test = suite("embedded store on a full disk");

/** How to run a command with a mount namespace of its own, as root or in a user namespace. */
function unshare(): string[] | undefined {
  const folder = temporaryDirectory();
  return [["-m"], ["-Urm"]].find(
    (flags) => spawnSync("unshare", [...flags, "sh", "-c", MOUNT, "sh", folder, "true"]).status === 0,
  );
}

const flags = unshare();
if (flags === undefined) {
  test.skip(
    "a full disk loses nothing and stops nothing for ever",
    "needs unshare(1) and the right to mount a tmpfs",
  );
} else {
  test("a full disk loses nothing and stops nothing for ever", { limitMs: 120_000 }, async () => {
    const disk = temporaryDirectory();
    const seed = String(seedFromEnvironment());
    const command = [process.execPath, "--enable-source-maps", CHILD, disk, seed];
    const child = spawnProcess("unshare", [...flags, "sh", "-c", MOUNT, "sh", disk, ...command]);
    const { code } = await child.exited;
    assert.is(code, 0, [...child.stdout, ...child.stderr].join("\n"));
    assert.match(child.stdout.at(-1) ?? "", /^full 4 times/);
    console.log(child.stdout.at(-1));
  });
}

test.run();
