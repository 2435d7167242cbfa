/**
 * A provider whose process dies: what it keeps in a folder, and that the next process with that folder is the same
 * provider, sends what was never confirmed and runs nothing twice. Real processes, disks and kills.
 */
import { appendFileSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { keepIn } from "../../client/node.ts";
import { CallLedger } from "../../client/calls.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import { Reader } from "../support/reader.ts";
import { spawnNode, temporaryDirectory, type TestProcess } from "../support/process.ts";
import { startProxy } from "../support/proxy.ts";
import { compiled } from "../support/root.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { until } from "../support/wait.ts";
import { Wire, type Frame } from "../support/wire.ts";
import { calls, newSession, say, script } from "../e2e/play.ts";
import { manualClock } from "./support/clock.ts";

const test = suite("results that outlive their process");

const reference = (call: string) => ({ session: "ses_1", call, attempt: 1 });
const results = (folder: string): string[] => readdirSync(folder).filter((name) => name.endsWith(".json"));

test("a folder remembers who this is and what was not confirmed, in order, and is nobody else's", async () => {
  const folder = join(temporaryDirectory(), "deep", "state");
  const first = await keepIn(folder);
  assert.is(statSync(folder).mode & 0o777, 0o700);
  assert.equal(first.results.kept, []);
  for (const name of ["c1", "c2", "c3"])
    await first.results.keep({ ...reference(name), end: { output: { name, text: "ü\u0000" } } });
  await first.results.forget(reference("c2"));
  await first.results.forget(reference("never"));
  appendFileSync(join(folder, "notes.txt"), "not ours");
  writeFileSync(join(folder, `${"0".repeat(64)}.json.1.part`), "{half");
  const second = await keepIn(folder);
  assert.is(second.instance, first.instance);
  assert.equal(second.results.kept, [
    { ...reference("c1"), end: { output: { name: "c1", text: "ü\u0000" } } },
    { ...reference("c3"), end: { output: { name: "c3", text: "ü\u0000" } } },
  ]);
  assert.not.equal((await keepIn(temporaryDirectory())).instance, first.instance);
});

test("a folder is one process's at a time, and the next one's when that ends, however it ends", async () => {
  const folder = temporaryDirectory();
  const opens = `import { keepIn } from ${JSON.stringify(compiled("client/node.ts"))};
    await keepIn(${JSON.stringify(folder)});
    console.log("open");
    setInterval(() => {}, 1000);`;
  const first = spawnNode(["--input-type=module", "-e", opens], {});
  await first.waitForLine(/^open$/);
  let refusal: unknown;
  await keepIn(folder).catch((error: unknown) => (refusal = error));
  assert.match(String(refusal), `${folder} is in use by process ${first.pid}`);
  first.kill("SIGKILL");
  await first.exited;
  await keepIn(folder);
  assert.equal(readdirSync(folder).sort(), ["instance", "lock"]);
  // A number that is another process's by now is nobody's claim.
  writeFileSync(join(folder, "lock"), JSON.stringify({ pid: process.ppid, started: "1" }));
  await keepIn(folder);
});

test("a result is sent when it is on the disk, and a disk that fails holds nothing up", async () => {
  const out: string[] = [];
  const faults: unknown[] = [];
  const port = {
    accepted: () => undefined,
    progress: () => undefined,
    result: ({ call }: { call: string }) => void out.push(`sent ${call}`),
  };
  const folder = await keepIn(temporaryDirectory());
  const store = {
    kept: [{ ...reference("old"), end: { output: 1 } }],
    keep: async (result: Parameters<typeof folder.results.keep>[0]) => {
      if (result.call === "bad") throw new ProtocolError("unavailable", "the disk is full");
      await folder.results.keep(result);
      out.push(`kept ${result.call}`);
    },
    forget: (confirmed: ReturnType<typeof reference>) => folder.results.forget(confirmed),
  };
  const ledger = new CallLedger(
    port,
    manualClock(),
    () => undefined,
    store,
    (error) => faults.push(error),
  );
  const call = (name: string): void => {
    const actor = { kind: "user", id: "ann", name: "Ann", verified: true } as const;
    const more = { run: "run_1", agent: "demo", tool: "t", input: {}, actor, timeoutMs: 60_000 };
    ledger.call(
      { type: "call", ...reference(name), ...more },
      () => true,
      async () => 1,
    );
  };
  ledger.resend();
  call("good");
  assert.equal(ledger.working, [reference("good")], "at work until it is kept");
  await until(() => out.length === 3, 5_000, "the result");
  assert.equal(out, ["sent old", "kept good", "sent good"]);
  call("bad");
  await until(() => out.length === 4, 5_000, "the other");
  assert.equal([out.at(-1), faults.length], ["sent bad", 1]);
  call("old");
  assert.is(out.at(-1), "sent old", "it did not run again");
  assert.equal(ledger.working, []);
});

interface World {
  readonly folder: string;
  readonly file: string;
  readonly effects: string;
}

function world(): World {
  const folder = temporaryDirectory();
  const effects = join(folder, "effects");
  const file = join(folder, "tools.mjs");
  writeFileSync(
    file,
    `import { appendFileSync, existsSync } from "node:fs";
     export default { buy: { description: "buys", input: { type: "object" }, effect: "once",
       execute: async (_, { call }) => {
         appendFileSync(${JSON.stringify(effects)}, call + "\\n");
         while (!existsSync(${JSON.stringify(join(folder, "go"))})) await new Promise((done) => setTimeout(done, 10));
         return "bought";
       } } };`,
  );
  return { folder: join(folder, "state"), file, effects };
}

const provide = (at: World, url: string): TestProcess =>
  spawnNode([compiled("server/main.ts"), "tools", at.file, "--keep", at.folder, "--url", url]);

async function killed(process: TestProcess): Promise<void> {
  process.kill("SIGKILL");
  await process.exited;
}

async function ask(wire: Wire): Promise<Reader> {
  const session = await newSession(wire);
  const reader = Reader.fromStart(session);
  await reader.enter(wire);
  await say(wire, session, script(calls(["buy"]), { text: "done" }));
  return reader;
}

const outcome = async (reader: Reader): Promise<Frame> => {
  const { event } = await reader.entry(({ event }) => event.type === "tool-result");
  return event;
};

test(
  "killed between the work and its word, a provider returns with the result of a once call",
  { limitMs: 60_000 },
  async () => {
    const server = await TestServer.start();
    const proxy = await startProxy({ port: server.port });
    const at = world();
    const provider = provide(at, proxy.url);
    await provider.waitForLine(/^providing buy/);
    const wire = await Wire.connect(server.url);
    const reader = await ask(wire);
    await until(() => existsSync(at.effects), 10_000, "the work");
    proxy.stall();
    writeFileSync(join(at.folder, "..", "go"), "");
    await until(() => results(at.folder).length === 1, 10_000, "the result on the disk");
    await killed(provider);
    proxy.cut();
    const again = provide(at, server.url);
    assert.equal([(await outcome(reader))["outcome"], (await outcome(reader))["output"]], ["ok", "bought"]);
    assert.is(readFileSync(at.effects, "utf8").split("\n").length, 2, "one line: it ran once");
    await until(() => results(at.folder).length === 0, 10_000, "the confirmed result to go");
    await killed(again);
    await proxy.close();
    await server.kill();
  },
);

test(
  "killed in the middle of a once call, it returns without it, and the outcome is not known",
  { limitMs: 60_000 },
  async () => {
    const server = await TestServer.start();
    const at = world();
    const provider = provide(at, server.url);
    await provider.waitForLine(/^providing buy/);
    const wire = await Wire.connect(server.url);
    const reader = await ask(wire);
    await until(() => existsSync(at.effects), 10_000, "the work");
    await killed(provider);
    const again = provide(at, server.url);
    assert.is((await outcome(reader))["outcome"], "outcome-unknown");
    assert.is(readFileSync(at.effects, "utf8").split("\n").length, 2);
    await killed(again);
    await server.kill();
  },
);

test.run();
