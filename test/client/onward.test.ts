/**
 * How a conversation goes on, for applications and in the terminal: summed up, forked, asked again; against a real server.
 * limit: 180 s
 */
import { connect } from "../../client/index.ts";
import type { Client } from "../../client/index.ts";
import { spawnNode } from "../support/process.ts";
import { compiled } from "../support/root.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";

const test = suite("client onward");
let server: TestServer;
let client: Client;

test.before(async () => {
  server = await TestServer.start({ store: "memory" });
  client = connect({ url: server.url, user: { id: "ann", name: "Ann" } });
});
test.after(async () => {
  client.close();
  await server.stop();
});

const script = (...steps: object[]): string => JSON.stringify({ script: steps });
const FAILS = script({ text: "half" }, { error: "broken" });
const open = async () => client.attach((await client.createSession({ agent: "demo" })).session);

test("a session is summed up when it is asked to, and its handle shows the summary", async () => {
  const session = await open();
  const refused = await assert.rejects(session.compact());
  assert.is(refused.code, "conflict");
  await session.ask("hello");
  const seen = new Promise<number>((resolve) =>
    session.on("entry", (entry) => entry.event.type === "compacted" && resolve(entry.seq)),
  );
  assert.is((await session.compact()).seq, await seen);
  assert.match(session.state!.compacted!.summary, /^You said “Write a summary/);
  assert.is(session.shown().length, 2, "what was said is still shown");
});

test("a fork is a session of one's own with the same messages", async () => {
  const session = await open();
  await session.ask("hello");
  const first = session.state!;
  await session.ask("and now");
  const fork = await client.attach(await session.fork());
  assert.is(fork.state!.messages.length, 4);
  assert.equal([fork.info!.forkedFrom?.session, fork.info!.owner, fork.info!.queued], [session.id, "ann", 0]);
  assert.match((await fork.ask("again")).text!, /again/);
  assert.is(session.state!.messages.length, 4);
  const older = await client.attach(await session.fork({ at: first.seq }));
  assert.equal(
    older.shown().map(({ id }) => id),
    first.messages.map(({ id }) => id),
  );
  assert.is((await assert.rejects(session.fork({ at: 1 }))).code, "bad-frame");
  const twice = { newSession: `${session.id}-twice`, key: "again" };
  assert.equal([await session.fork(twice), await session.fork(twice)], [twice.newSession, twice.newSession]);
});

test("a run that failed is asked again, once a key", async () => {
  const session = await open();
  assert.is((await assert.rejects(session.retry())).code, "not-found");
  const { run } = await session.ask(FAILS);
  const first = await session.retry(run, { key: "k" });
  const again = await session.retry(run, { key: "k" });
  assert.equal([again.input, again.duplicate], [first.input, true]);
  await session.ask("something else");
  assert.is((await assert.rejects(session.retry())).code, "conflict", "the last one answered");
});

const MAIN = compiled("server/main.ts");

async function chat(args: string[], lines: string[]) {
  const command = spawnNode([MAIN, "chat", ...args], { env: { HAULOUT_URL: server.url } });
  command.stdin.end(lines.map((line) => `${line}\n`).join(""));
  const { code } = await command.exited;
  return { code, out: command.stdout.join("\n"), err: command.stderr.join("\n") };
}

test("/retry, /compact and /fork in a chat act on what the lines before them brought", async () => {
  const { code, out, err } = await chat(
    ["--as", "ann"],
    [FAILS, "/retry", "hello", "/compact", "more", "/fork"],
  );
  assert.is(code, 0, err);
  assert.is(out.match(/^-- the run ended: error/gm)?.length, 2);
  assert.match(out, /^demo: You said “hello”.*\n-- older messages were summari[sz]ed/m);
  const id = /forked: .* chat (ses_\w+)/.exec(err)?.[1];
  assert.ok(id, err);
  const forked = await chat([id, "--as", "bob"], ["what now?"]);
  assert.match(forked.out, /^-- older messages were summari[sz]ed/m);
  assert.match(forked.out, /^demo: You said “what now\?”/m);
});

test("what cannot be done is told, and is no success", async () => {
  const empty = await chat([], ["/retry", "/fork"]);
  assert.match(empty.err, /nothing was answered yet/);
  assert.match(empty.err, /conflict: no run has finished/);
  assert.is(empty.code, 1);
  const answered = await chat([], ["hello", "/retry"]);
  assert.match(answered.err, /conflict: run run_\w+ has answered/);
  const copied = await chat([/^# session (ses_\w+)/m.exec(answered.out)![1]!], ["/fork"]);
  const id = /forked: .* chat (ses_\w+)/.exec(copied.err)![1]!;
  const shown = await chat([id, "--as", "eve"], []);
  assert.match(shown.out, /^local> hello\ndemo: You said/m);
});

test.run();
