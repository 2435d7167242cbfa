/**
 * `haulout verify` as a process: what it prints, its exit codes, and that it keeps away from a directory in use.
 */
import { ClassicLevel } from "classic-level";
import { entryKey } from "../../../server/store/layout.ts";
import { spawnNode, temporaryDirectory } from "../../support/process.ts";
import { compiled } from "../../support/root.ts";
import { TestServer } from "../../support/server.ts";
import { assert, suite } from "../../support/suite.ts";
import { Wire } from "../../support/wire.ts";

const test = suite("haulout verify");

async function verify(...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawnNode([compiled("server/main.ts"), "verify", ...args], { cwd: temporaryDirectory() });
  const { code } = await child.exited;
  return { code, out: child.stdout.join("\n"), err: child.stderr.join("\n") };
}

test("says no fault after a kill, names a fault, and refuses while a server runs", async () => {
  const server = await TestServer.start();
  const wire = await Wire.connect(server.url);
  const { session } = await wire.ok("createSession", { agent: "demo", session: "one" });
  await wire.ok("attach", { session });
  await wire.ok("send", { session, key: "k", content: "hello" });
  await wire.event("run-finished");
  const held = await verify("--data", server.data);
  assert.equal([held.code, held.out], [1, ""]);
  assert.match(held.err, /^haulout: data directory .* is in use by another server$/);
  await server.kill();
  const good = await verify("--data", server.data);
  assert.equal([good.code, good.err], [0, ""]);
  assert.match(good.out, /^1 session, \d+ entries, 0 deleted: no fault$/);

  const level = new ClassicLevel<Buffer, Buffer>(server.data, {
    keyEncoding: "buffer",
    valueEncoding: "buffer",
  });
  await level.put(entryKey("one", 3), Buffer.from("nonsense"));
  await level.close();
  const bad = await verify("--data", server.data);
  assert.is(bad.code, 1);
  assert.match(bad.out, /^one entry 3: the entry has the unknown version 110\n1 session, .*: 1 fault$/);
  const json = await verify("--data", server.data, "--json");
  assert.is(json.code, 1);
  const [fault, summary] = json.out.split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.equal([fault!["session"], fault!["seq"]], ["one", 3]);
  assert.is((summary!["summary"] as { faults: number }).faults, 1);
});

test("what is no store and what is called wrongly are told apart by the exit code", async () => {
  const [empty, strange, extra, help] = await Promise.all([
    verify("--data", temporaryDirectory()),
    verify("--dta", "x"),
    verify("x"),
    verify("--help"),
  ]);
  assert.is(empty.code, 1);
  assert.match(empty.err, /holds no store$/);
  assert.is(strange.code, 2);
  assert.match(strange.err, /--dta/);
  assert.is(extra.code, 2);
  assert.is(help.code, 0);
  assert.match(help.out, /^usage: haulout verify/);
});

test.run();
