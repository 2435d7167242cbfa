// limit: 300 s
/**
 * Backup and restore as processes, under load and under kill -9: a backup is whole or is known not to be, a restored
 * directory is sound and holds what was acked before, positions in it stay valid or are known not to be.
 */
import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryDirectory } from "../support/process.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { seedFromEnvironment, seeded, until } from "../support/wait.ts";
import { Wire } from "../support/wire.ts";
import { assertSound, fill, haulout, logsIn, run } from "./backup-load.ts";
import { Load } from "./trouble.ts";

const test = suite("backup and restore");
const data = temporaryDirectory();
const random = seeded(seedFromEnvironment());
let ids: string[] = [];

test.before(async () => {
  ids = await fill(data, 30, 20);
});

const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

test("a restored backup has every log, key and deleted id, and is sound", { limitMs: 120_000 }, async () => {
  const server = await TestServer.start({ data });
  const folder = join(temporaryDirectory(), "copy");
  const made = await run(["backup", folder], server.url);
  assert.equal([made.code, made.err], [0, ""]);
  assert.match(made.out, /^30 sessions, \d+ entries, 1 deleted ids in /);
  assert.equal(readdirSync(folder).toSorted(), ["manifest.json", "records"]);
  await server.stop();

  const restored = join(temporaryDirectory(), "data");
  const back = await run(["restore", folder, "--data", restored]);
  assert.equal([back.code, back.err], [0, ""]);
  await assertSound(restored);
  assert.equal(await logsIn(restored, ids), await logsIn(data, ids));

  const again = await TestServer.start({ data: restored });
  const wire = await Wire.connect(again.url, { user: { id: "ada" } });
  const fields = { session: "ses_3", key: "key ses_3", content: "hello from ses_3" };
  assert.is((await wire.ok("send", fields))["duplicate"], true);
  assert.is((await wire.refused("createSession", { agent: "demo", session: "gone" }))["code"], "conflict");
  await wire.ok("send", { ...fields, key: "new", content: "go on" });
  // It is indexed anew, beside other work.
  const found = async (): Promise<string> =>
    ((await wire.ok("search", { text: "title ses_7" }))["items"] as { session: string }[])
      .map(({ session }) => session)
      .join();
  await until(async () => (await found()) === "ses_7", 20_000, "the search");
  await again.kill();
  assert.is((await run(["restore", folder, "--data", restored])).code, 1);
});

test("under load a backup holds all that was acked before it", { limitMs: 120_000 }, async () => {
  const server = await TestServer.start({ data, env: { HAULOUT_LOG: "silent" } });
  const wire = await Wire.connect(server.url);
  for (const session of ids.slice(0, 6)) await wire.ok("deleteSession", { session });
  const other = await TestServer.start({ env: { HAULOUT_LOG: "silent" } });
  const load = await Load.start(other.http, 6);
  await load.more(200);
  const before = new Map([...load.acked].map(([id, titles]) => [id, new Map(titles)]));
  const folder = temporaryDirectory();
  assert.is((await run(["backup", folder], other.url)).code, 0);
  await load.stop();
  const restored = join(temporaryDirectory(), "data");
  assert.is((await run(["restore", folder, "--data", restored])).code, 0);
  await assertSound(restored);

  // What was acked after the backup is gone, and a client that saw it is told so.
  const watcher = await Wire.connect(other.url);
  const { head, epoch } = await watcher.ok("attach", { session: "ses_0" });
  await other.kill();
  const again = await TestServer.start({ data: restored });
  const later = load.acked;
  load.acked.clear();
  for (const [id, titles] of before) later.set(id, titles);
  assert.ok((await load.check(again.url)) >= 200);
  const reader = await Wire.connect(again.url);
  const now = await reader.ok("attach", { session: "ses_0" });
  assert.ok((now["head"] as number) < (head as number));
  await reader.ok("updateSession", { session: "ses_0", title: "another history" });
  const middle = { epoch, seq: (now["head"] as number) - 1 };
  assert.is((await reader.ok("attach", { session: "ses_0", after: middle }))["mode"], "events");
  for (let at = now["head"] as number; at < (head as number); at++)
    await reader.ok("updateSession", { session: "ses_0", title: `another ${at}` });
  const beyond = { epoch, seq: head };
  assert.is((await reader.ok("attach", { session: "ses_0", after: beyond }))["mode"], "snapshot");
  await again.kill();
  await server.stop();
});

test("a killed backup is known to be none, wherever it was killed", { limitMs: 120_000 }, async () => {
  const server = await TestServer.start({ data });
  for (let round = 0; round < 3; round++) {
    const folder = temporaryDirectory();
    const child = haulout(["backup", folder], server.url);
    const records = join(folder, "records");
    const size = 1 + random.int(6 * 2 ** 20);
    await until(
      () => sizeOf(records) >= size || existsSync(join(folder, "manifest.json")),
      20_000,
      "records",
    );
    child.kill("SIGKILL");
    await child.exited;
    const target = join(temporaryDirectory(), "data");
    const { code, err } = await run(["restore", folder, "--data", target]);
    if (existsSync(join(folder, "manifest.json"))) assert.is(code, 0);
    else {
      assert.is(code, 1);
      assert.match(
        err,
        /^haulout: .* has no manifest\.json: it is no backup, or one that did not come to its end$/,
      );
      assert.not(existsSync(target));
    }
  }
  const folder = temporaryDirectory();
  const child = haulout(["backup", folder], server.url);
  await until(() => sizeOf(join(folder, "records")) > 0, 20_000, "the first records");
  await server.kill();
  const { code } = await child.exited;
  if (!existsSync(join(folder, "manifest.json"))) assert.is(code, 1);
  await assertSound(data);
});

test("a killed restore leaves nothing that a server takes for a store", { limitMs: 120_000 }, async () => {
  const server = await TestServer.start({ data });
  const folder = temporaryDirectory();
  assert.is((await run(["backup", folder], server.url)).code, 0);
  await server.stop();
  let killed = 0;
  for (let round = 0; round < 3; round++) {
    const target = join(temporaryDirectory(), "data");
    const child = haulout(["restore", folder, "--data", target]);
    const size = random.int(8 * 2 ** 20);
    const bytesIn = (): number =>
      existsSync(target)
        ? readdirSync(target).reduce(
            (sum, name) => sum + (name === "LOCK" ? 1 : sizeOf(join(target, name))),
            0,
          )
        : 0;
    const over = child.exited.then(() => true);
    await Promise.race([until(() => bytesIn() > size, 20_000, "rows"), over]);
    child.kill("SIGKILL");
    const { signal } = await child.exited;
    const { code, err } = await run(["verify", "--data", target]);
    if (signal === null) {
      assert.is(code, 0);
      continue;
    }
    killed++;
    if (code === 0) continue; // Killed after its last write.
    assert.match(err, /is of a restore that did not come to its end|holds no store|cannot be opened/);
  }
  assert.ok(killed > 0);
});

test("a changed, cut or newer backup is refused", { limitMs: 120_000 }, async () => {
  const server = await TestServer.start();
  const wire = await Wire.connect(server.url);
  await wire.ok("createSession", { agent: "demo", session: "one" });
  const folder = temporaryDirectory();
  assert.is((await run(["backup", folder], server.url)).code, 0);
  await server.stop();
  const records = readFileSync(join(folder, "records"));
  const manifest = readFileSync(join(folder, "manifest.json"), "utf8");
  const refused = async (pattern: RegExp): Promise<void> => {
    const target = join(temporaryDirectory(), "data");
    const { code, err } = await run(["restore", folder, "--data", target]);
    assert.is(code, 1, err);
    assert.match(err, pattern);
    assert.not.match(err, /\n/);
  };
  const changed = Buffer.from(records);
  changed[20]! ^= 1;
  writeFileSync(join(folder, "records"), changed);
  await refused(/^haulout: the record at byte 0 fails its checksum$/);
  writeFileSync(join(folder, "records"), records.subarray(0, -1));
  await refused(/^haulout: the record at byte \d+ is cut short$/);
  writeFileSync(join(folder, "records"), Buffer.alloc(0));
  await refused(/is not what its manifest\.json says/);
  writeFileSync(join(folder, "records"), records);
  writeFileSync(join(folder, "manifest.json"), manifest.replace('"version":1', '"version":2'));
  await refused(/has version 2; this one knows up to 1: use a newer one$/);
});

test.run();
