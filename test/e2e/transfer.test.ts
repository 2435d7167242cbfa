// limit: 300 s
/**
 * Export and import of one session through a running server: the same history comes out, what was open is closed by name,
 * and a file or a peer that is not good leaves nothing behind that anything restarts. Backup needs the same right.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { EventFrame } from "../../protocol/entries.ts";
import { run, assertSound } from "../fault/backup-load.ts";
import { temporaryDirectory } from "../support/process.ts";
import { script } from "../support/runtime.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { until } from "../support/wait.ts";
import { Wire } from "../support/wire.ts";

type Frame = Record<string, unknown>;
const test = suite("export and import");
/** Each of them starts several processes. */
const LONG = { limitMs: 120_000 };
let server: TestServer;
let wire: Wire;

test.before.each(async () => {
  server = await TestServer.start({ env: { HAULOUT_LOG: "silent" } });
  wire = await Wire.connect(server.url, { user: { id: "ada" } });
});
test.after.each(() => server.kill());

const bodies = (log: readonly EventFrame[], type: string): Frame[] =>
  log.map(({ event }) => event as Frame).filter((event) => event["type"] === type);

async function create(session: string): Promise<void> {
  await wire.ok("createSession", { agent: "demo", session, title: "a title" });
  await wire.ok("attach", { session });
}

async function log(of: string, from: TestServer = server): Promise<EventFrame[]> {
  const { code, out, err } = await run(["export", of], from.url);
  assert.is(code, 0, err);
  const [header, ...entries] = out.split("\n").map((line) => JSON.parse(line) as Frame);
  assert.equal([header!["format"], header!["version"], header!["session"]], ["haulout-session", 1, of]);
  assert.is(header!["entries"], entries.length);
  return entries as unknown as EventFrame[];
}

test("what is exported and imported has the same history, keys and times under a new id", LONG, async () => {
  await create("one");
  const calls = script({ text: "wait" }, { calls: [{ tool: "clock", input: {} }] }, { text: "noon" });
  await wire.ok("send", { session: "one", key: "k", content: calls });
  await wire.event("run-finished");
  const before = await log("one");
  const file = join(temporaryDirectory(), "one.jsonl");
  assert.is((await run(["export", "one", "--out", file], server.url)).code, 0);
  assert.is((await run(["export", "one", "--out", file], server.url)).code, 1);

  const other = await TestServer.start();
  const { code, out, err } = await run(["import", file], other.url);
  assert.is(code, 0, err);
  assert.match(out, /^ses_[0-9a-z]+$/);
  const after = await log(out, other);
  const same = (entries: EventFrame[]): unknown =>
    entries.map(({ at, run, actor, event }) => ({ at, run, actor, event }));
  assert.equal(same(after), same(before));
  assert.is(new Set(after.map(({ epoch }) => epoch)).size, 1);
  const reader = await Wire.connect(other.url, { user: { id: "ada" } });
  const { items } = await reader.ok("listSessions");
  assert.equal(
    (items as Frame[]).map(({ id, title, owner, state }) => ({ id, title, owner, state })),
    [{ id: out, title: "a title", owner: "ada", state: "idle" }],
  );
  assert.is((await reader.ok("send", { session: out, key: "k", content: calls }))["duplicate"], true);
  await reader.ok("attach", { session: out });
  await reader.ok("send", { session: out, key: "k2", content: "go on" });
  await reader.event("run-finished");
  await other.stop();
  await assertSound(other.data);
});

test("a run that was open is interrupted, its calls get an outcome, inputs are withdrawn", LONG, async () => {
  const tool = { name: "slow", inputSchema: { type: "object" }, effect: "once" };
  await wire.ok("offerTools", { tools: [tool] });
  await create("busy");
  await wire.ok("send", {
    session: "busy",
    key: "k",
    content: script({ calls: [{ tool: "slow", input: {} }] }),
  });
  await wire.frame("call");
  await wire.ok("send", { session: "busy", key: "k2", content: "waits" });
  const file = join(temporaryDirectory(), "busy.jsonl");
  assert.is((await run(["export", "busy", "--out", file], server.url)).code, 0);
  const { code, err } = await run(["import", file, "--session", "copy"], server.url);
  assert.is(code, 0, err);
  const copy = await log("copy");
  assert.equal(
    bodies(copy, "run-finished").map(({ reason }) => reason),
    ["interrupted"],
  );
  assert.equal(
    bodies(copy, "tool-result").map(({ outcome }) => outcome),
    ["outcome-unknown"],
  );
  assert.is(bodies(copy, "input-withdrawn").length, 1);
  const again = await run(["import", file, "--session", "copy"], server.url);
  assert.is(again.code, 1);
  assert.match(again.err, /conflict: session copy exists/);
  await server.kill();
  await assertSound(server.data);
});

test(
  "a file that is cut, has a gap or is of a newer version is refused and leaves nothing",
  LONG,
  async () => {
    await create("one");
    for (let at = 0; at < 300; at++) await wire.ok("updateSession", { session: "one", title: `${at}` });
    const folder = temporaryDirectory();
    const file = join(folder, "one.jsonl");
    assert.is((await run(["export", "one", "--out", file], server.url)).code, 0);
    const lines = readFileSync(file, "utf8").trimEnd().split("\n");
    const cases: [string[], RegExp][] = [
      [lines.slice(0, -1), /is not whole: it has \d+ of \d+ entries/],
      [lines.filter((_, at) => at !== 280), /entry 280 is missing/],
      [
        [lines[0]!.replace('"version":1', '"version":2'), ...lines.slice(1)],
        /has version 2.*use a newer one/,
      ],
      [
        lines.map((line, at) => (at === 290 ? line.replace("session-updated", "session-upset") : line)),
        /bad-frame: entry 290: /,
      ],
      [[], /is empty/],
    ];
    for (const [at, [content, pattern]] of cases.entries()) {
      writeFileSync(file, content.length === 0 ? "" : `${content.join("\n")}\n`);
      const { code, err } = await run(["import", file, "--session", `copy_${at}`], server.url);
      assert.is(code, 1);
      assert.match(err, pattern);
      const session = `copy_${at}`;
      // The end of its connection may still be on its way.
      const gone = async (): Promise<boolean> =>
        (await wire.request("attach", { session }))["type"] === "error";
      await until(gone, 10_000, `${session} to be undone`);
    }
    const { items } = await wire.ok("listSessions");
    assert.is((items as unknown[]).length, 1);
  },
);

const created = { at: 1000, event: { type: "session-created", agent: "demo", owner: "ada" } };
const queued = {
  at: 1000,
  actor: { kind: "user", id: "ada", name: "Ada", verified: true },
  event: { type: "input-queued", input: "msg_1", key: "k", content: "hi", mode: "queue" },
};

test("a log that is none is refused, and its id stays used only if something was written", LONG, async () => {
  const importing = (session: string, after: number, ...entries: object[]): Promise<Frame> =>
    wire.request("importEntries", { session, after, entries });
  const { code } = await importing("a", 0, queued);
  assert.is(code, "bad-frame");
  assert.is((await importing("a", 0, created, created))["code"], "bad-frame");
  assert.is((await importing("a", 0, created))["type"], "ok");
  assert.is((await importing("a", 0, created))["code"], "conflict");
  assert.is(
    (await wire.request("importEntries", { session: "b", after: 0, entries: [], last: true }))["code"],
    "bad-frame",
  );
  for (const session of ["w", "x", "y", "z"]) assert.is((await importing(session, 0, created))["type"], "ok");
  assert.is((await importing("v", 0, created))["code"], "busy");
});

test(
  "an import whose connection ends is undone; one that is killed is no session that anything restarts",
  LONG,
  async () => {
    const peer = await Wire.connect(server.url);
    const title = (at: number): object => ({ at, event: { type: "session-updated", title: `${at}` } });
    const page = Array.from({ length: 400 }, (_, at) => title(2000 + at));
    for (const session of ["cut", "killed"]) {
      const end = session === "cut" ? peer : wire;
      await end.ok("importEntries", { session, after: 0, entries: [created, ...page, queued] });
    }
    // Some of it is on the disk, the input that waits is not.
    assert.is((await wire.ok("attach", { session: "cut" }))["type"], "ok");
    peer.cut();
    await wire.frame((frame) => frame["type"] === "detached" && frame["session"] === "cut");
    assert.is((await wire.refused("createSession", { agent: "demo", session: "cut" }))["code"], "conflict");
    await server.kill();
    const again = await server.again();
    const later = await Wire.connect(again.url);
    const { head, session } = await later.ok("attach", { session: "killed" });
    assert.ok((head as number) >= 300);
    assert.equal([(session as Frame)["state"], (session as Frame)["queued"]], ["idle", 0]);
    await again.kill();
    await assertSound(again.data);
  },
);

test("only the right admin backs up and imports; reading is enough to export", LONG, async () => {
  const tokens = [
    { token: "all", user: "root", rights: ["admin"] },
    { token: "ann", user: "ann", rights: ["create:*"] },
    { token: "bob", user: "bob", rights: ["create:*"] },
  ];
  const guarded = await TestServer.start({ config: { auth: { mode: "token", tokens } } });
  const ann = await Wire.connect(guarded.url, { token: "ann" });
  await ann.ok("createSession", { agent: "demo", session: "hers" });
  assert.is((await ann.refused("backup"))["code"], "forbidden");
  const page = { session: "new", after: 0, entries: [created], last: true };
  assert.is((await ann.refused("importEntries", page))["code"], "forbidden");
  const exported = async (token: string): Promise<number | null> =>
    (await run(["export", "hers", "--token", token], guarded.url)).code;
  assert.equal([await exported("ann"), await exported("bob"), await exported("all")], [0, 1, 0]);
  const refused = await run(["backup", temporaryDirectory(), "--token", "ann"], guarded.url);
  assert.is(refused.code, 1);
  assert.match(refused.err, /forbidden: needs the right admin/);
  await guarded.stop();
});

test.run();
