// limit: 300 s
/**
 * A server whose disk fails under it: full, failing to sync, read-only, damaged. Acks stop and say when to try again,
 * `readyz` says 503, what is in memory is still read, and once the disk works the same process goes on; what was acked
 * is there. The store's own tests are store-*.test.ts; here it is the whole server, as a process.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ClassicLevel } from "classic-level";
import { verify } from "../../server/session/verify.ts";
import { FORMAT_KEY, entryKey, seal } from "../../server/store/layout.ts";
import { spawnProcess, temporaryDirectory, type TestProcess } from "../support/process.ts";
import { compiled, repositoryRoot } from "../support/root.ts";
import { TestServer, spawnServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { ensureTool, findTool } from "../support/tools.ts";
import { seedFromEnvironment, seeded } from "../support/wait.ts";
import { Wire } from "../support/wire.ts";
import { Load } from "./trouble.ts";
import { fillUp } from "./full-disk.ts";

const LISTENING = /^haulout listening on (http:\/\/\S+)$/;
const MOUNT = 'mount -t tmpfs -o size=24m,mode=700 none "$1" && cd "$1" && shift && exec "$@"';
const READ_ONLY = `mount -t tmpfs none "$1" && mkdir "$1/data" && mount -o remount,bind,ro "$1" && shift && exec "$@"`;
const test = suite("a server on a bad disk");

/** How to run a command with a mount namespace of its own, as root or in a user namespace. */
const flags = [["-m"], ["-Urm"]].find(
  (each) =>
    spawnSync("unshare", [...each, "sh", "-c", MOUNT, "sh", temporaryDirectory(), "true"]).status === 0,
);

function serveOn(disk: string, mount: string): TestProcess {
  const command = [process.execPath, "--enable-source-maps", compiled("server/main.ts"), "serve"];
  const env = {
    HAULOUT_PORT: "0",
    HAULOUT_DATA: join(disk, "data"),
    HAULOUT_LOG: "silent",
    HAULOUT_CONFIG: undefined,
  };
  return spawnProcess("unshare", [...(flags ?? []), "sh", "-c", mount, "sh", disk, ...command], { env });
}

/** A session that somebody reads stays in memory: it can be joined although the disk is gone. */
async function readable(url: string): Promise<() => Promise<void>> {
  const reader = await Wire.connect(url);
  await reader.ok("createSession", { agent: "demo", session: "read" });
  await reader.ok("attach", { session: "read" });
  return async () => {
    const other = await Wire.connect(url);
    const { mode, head } = await other.ok("attach", { session: "read" });
    assert.equal([mode, head], ["snapshot", 1]);
    await other.close();
    assert.is(reader.over, false);
  };
}

if (flags === undefined) {
  const why = "needs unshare(1) and the right to mount a tmpfs";
  test.skip("a full disk stops acks until there is room again", why);
  test.skip("a read-only directory is told at the start, in a line", why);
} else {
  test("a full disk stops acks until there is room again", { limitMs: 120_000 }, async () => {
    const disk = temporaryDirectory();
    const server = serveOn(disk, MOUNT);
    const [, http = ""] = await server.waitForLine(LISTENING, 30_000);
    const filler = `/proc/${server.pid}/root${join(disk, "filler")}`;
    const load = await Load.start(http, 6);
    const stillReads = await readable(`${http.replace("http", "ws")}/ws`);
    for (let round = 0; round < 2; round++) {
      await load.more(200);
      await load.ready(200);
      fillUp(filler);
      await load.refusals();
      await load.ready(503);
      await stillReads();
      rmSync(filler);
      await load.ready(200);
      await load.more(200);
    }
    await load.stop();
    assert.ok((await load.check(`${http.replace("http", "ws")}/ws`)) > 400);
    server.kill();
    assert.is((await server.exited).code, 0);
  });

  test("a read-only directory is told at the start, in a line", async () => {
    const server = serveOn(temporaryDirectory(), READ_ONLY);
    assert.is((await server.exited).code, 1);
    assert.equal([server.stdout.length, server.stderr.length], [0, 1]);
    assert.match(server.stderr[0]!, /^haulout: data directory .* cannot be opened: .*Read-only file system/i);
  });
}

async function failingShim(): Promise<string | undefined> {
  if (process.platform !== "linux" || !(await ensureTool("cc"))) return undefined;
  const shim = join(temporaryDirectory(), "failing.so");
  const source = join(repositoryRoot, "test", "fault", "shim", "failing.c");
  execFileSync(findTool("cc") ?? "cc", ["-shared", "-fPIC", "-O1", "-Wall", "-o", shim, source, "-ldl"]);
  return shim;
}

const shim = await failingShim();
if (shim === undefined) {
  test.skip("a disk that fails to sync stops acks until it syncs again", "needs Linux and a C compiler");
} else {
  test("a disk that fails to sync stops acks until it syncs again", { limitMs: 120_000 }, async () => {
    const flag = join(temporaryDirectory(), "failing");
    const env = { LD_PRELOAD: shim, HAULOUT_FAIL_WHILE: flag, HAULOUT_LOG: "silent" };
    const server = await TestServer.start({ env });
    const load = await Load.start(server.http, 6);
    const stillReads = await readable(server.url);
    for (let round = 0; round < 2; round++) {
      await load.more(100);
      writeFileSync(flag, "");
      await load.refusals();
      // Nobody acks meanwhile.
      const { acks } = load;
      await load.refusals();
      assert.is(load.acks, acks);
      await load.ready(503);
      await stillReads();
      rmSync(flag);
      await load.ready(200);
      await load.more(100);
    }
    await server.kill();
    await load.stop().catch(() => undefined);
    const again = await server.again();
    assert.ok((await load.check(again.url)) > 200);
    await again.kill();
    const totals = await verify(server.data, ({ session, problem }) => console.log(session, problem));
    assert.is(totals.faults, 0);
  });
}

/** A stopped server's directory with three finished sessions. */
async function left(): Promise<TestServer> {
  const server = await TestServer.start({ env: { HAULOUT_LOG: "silent" } });
  const wire = await Wire.connect(server.url);
  for (const session of ["one", "two", "three"]) {
    await wire.ok("createSession", { agent: "demo", session });
    await wire.ok("attach", { session });
    await wire.ok("send", { session, key: "k", content: "hello ".repeat(200) });
    await wire.event("run-finished", { session });
  }
  await server.stop();
  return server;
}

async function level(directory: string, work: (level: ClassicLevel<Buffer, Buffer>) => Promise<void>) {
  const opened = new ClassicLevel<Buffer, Buffer>(directory, {
    keyEncoding: "buffer",
    valueEncoding: "buffer",
  });
  await opened.open();
  await work(opened);
  await opened.close();
}

const from = { epoch: 0, seq: 0 };

test("a damaged record is an error for its session alone", async () => {
  const server = await left();
  await level(server.data, (opened) => opened.put(entryKey("two", 3), Buffer.from("nonsense")));
  const again = await server.again();
  const wire = await Wire.connect(again.url);
  const { code, retryable, message } = await wire.refused("attach", { session: "two", after: from });
  assert.equal([code, retryable, message], ["internal", false, "the session's log is damaged"]);
  assert.is((await wire.refused("send", { session: "two", key: "x", content: "x" }))["code"], "internal");
  for (const session of ["one", "three"]) await wire.ok("attach", { session, after: from });
  await wire.ok("send", { session: "one", key: "k2", content: "go on" });
  await wire.event("run-finished", { session: "one", from: wire.received.length });
  assert.is((await fetch(`${again.http}/readyz`)).status, 200);
  await again.kill();
});

test("a damaged table file costs what stands in it and not the server", { limitMs: 120_000 }, async () => {
  const random = seeded(seedFromEnvironment());
  const server = await left();
  await level(server.data, (opened) => opened.compactRange(Buffer.of(0), Buffer.of(255)));
  const [name = ""] = readdirSync(server.data).filter((each) => each.endsWith(".ldb"));
  const table = join(server.data, name);
  const whole = readFileSync(table);
  const broken = Buffer.from(whole);
  // Blocks of data come first, the index of the table at its end.
  const at = random.int(Math.floor(whole.length / 2));
  broken.fill(0xff, at, at + 64);
  writeFileSync(table, broken);
  const again = spawnServer({ data: server.data, env: { HAULOUT_LOG: "silent" } });
  const url = await again.waitForLine(LISTENING, 30_000).then(
    ([, http = ""]) => `${http.replace("http", "ws")}/ws`,
    () => undefined,
  );
  if (url === undefined) {
    assert.match(again.stderr.join("\n"), /^haulout: data directory [^\n]+$/);
    console.log("damaged table: refused at the start");
    return;
  }
  const wire = await Wire.connect(url);
  const outcomes: string[] = [];
  for (const session of ["one", "two", "three"]) {
    const answer = await wire.request("attach", { session, after: from });
    const right = answer["type"] === "ok" || ["internal", "unavailable"].includes(answer["code"] as string);
    assert.ok(right, JSON.stringify(answer));
    outcomes.push(answer["type"] === "ok" ? "right" : String(answer["code"]));
  }
  console.log(`damaged table: ${outcomes.join(", ")}`);
  await wire.ok("createSession", { agent: "demo", session: "new" });
  again.kill();
  await again.exited;
});

test("a directory that cannot be opened is told in a line: damaged, or of a newer version", async () => {
  const server = await left();
  await level(server.data, async (opened) => {
    const newer = Buffer.alloc(4);
    newer.writeUInt32BE(7);
    await opened.put(FORMAT_KEY, seal(FORMAT_KEY, newer));
  });
  const refused = async (): Promise<string> => {
    const started = spawnServer({ data: server.data });
    assert.is((await started.exited).code, 1);
    assert.equal([started.stdout.length, started.stderr.length], [0, 1], started.stderr.join("\n"));
    return started.stderr[0]!;
  };
  assert.match(await refused(), /has format 7; this version knows formats up to \d+: use a newer version$/);
  const manifest = readdirSync(server.data).find((name) => name.startsWith("MANIFEST"))!;
  writeFileSync(join(server.data, manifest), "nonsense");
  assert.match(await refused(), /^haulout: data directory .* cannot be opened: .*/);
  assert.ok(existsSync(join(server.data, manifest)));
});

test.run();
