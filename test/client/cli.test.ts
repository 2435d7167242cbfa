/**
 * The client's commands as a person runs them: in terminals, in pipes, against a real server.
 * limit: 240 s
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "../../client/index.ts";
import { spawnNode, temporaryDirectory } from "../support/process.ts";
import type { TestProcess } from "../support/process.ts";
import { startProxy } from "../support/proxy.ts";
import { compiled } from "../support/root.ts";
import { TestServer } from "../support/server.ts";
import { suite, assert } from "../support/suite.ts";
import { until } from "../support/wait.ts";
import { Pty, whyNoTerminal } from "./support/pty.ts";

const MAIN = compiled("server/main.ts");
const test = suite("client commands");
const terminals = whyNoTerminal();
const inTerminals = (name: string, body: () => Promise<void>): void =>
  terminals === undefined ? test(name, { limitMs: 60_000 }, body) : test.skip(name, terminals);
let server: TestServer;

test.before(async () => {
  server = await TestServer.start({ store: "memory" });
});
test.after(() => server.stop());

const run = (args: string[], url = server.url): TestProcess =>
  spawnNode([MAIN, ...args], { env: { HAULOUT_URL: url } });

/** Runs a command with lines on its stdin, to its end. */
async function piped(args: string[], lines: string[] = []) {
  const command = run(args);
  command.stdin.end(lines.map((line) => `${line}\n`).join(""));
  const { code } = await command.exited;
  return { code, out: command.stdout, err: command.stderr };
}

const script = (...steps: object[]): string => JSON.stringify({ script: steps });
const session = (rows: readonly string[]): string =>
  /^# session (ses_\w+)/m.exec(rows.join("\n"))?.[1] ?? "none";

function person(
  name: string,
  args: string[] = [],
  { columns = 60, url = server.url, colours = false } = {},
): Pty {
  const env = { HAULOUT_URL: url, ...(colours ? {} : { NO_COLOR: "1" }) };
  return new Pty([process.execPath, MAIN, "chat", "--as", name, ...args], env, columns);
}

/** The conversation on a screen: what is below the header and above the input line, without notices. */
function conversation(pty: Pty, name: string): string[] {
  const rows = pty.terminal.rows;
  const input = rows.findLastIndex((row) => new RegExp(`^(\\[.*\\] )?${name}>`).test(row));
  const header = rows.findIndex((row) => row.endsWith("--as NAME"));
  const first = header < 0 ? rows.findIndex((row) => row.startsWith("# session")) : header;
  return rows.slice(first + 1, input).filter((row) => !row.startsWith("· "));
}

test("a pipe of lines is a conversation: in order, with its answers, exit code 0", async () => {
  const { code, out, err } = await piped(["chat", "--as", "ann"], ["one", "", "two"]);
  assert.is(code, 0);
  assert.equal(err, []);
  assert.match(out[0]!, /^# session ses_\w+ with demo$/);
  assert.match(out[1]!, /chat ses_\w+ --url \S+ --as NAME$/);
  const said = out.slice(2);
  assert.is(said.length, 4);
  assert.is(said[0], "ann> one");
  assert.match(said[1]!, /^demo: .*one/);
  assert.is(said[2], "ann> two");
  assert.match(said[3]!, /^demo: .*two/);
});

test("who joins later prints the same conversation", async () => {
  const play = script(
    { text: "First line\nsecond line\n" },
    {
      calls: [
        { tool: "roll_dice", input: { sides: 6 } },
        { tool: "nowhere", input: {} },
      ],
    },
    { reasoning: "hidden" },
    { text: "and the end" },
  );
  const first = await piped(
    ["chat", "--as", "ann"],
    [play, script({ text: "never", rate: 1 }, { error: "broken" })],
  );
  const id = session(first.out);
  const second = await piped(["chat", id, "--as", "bob"]);
  assert.is(second.code, 0);
  assert.equal(second.out.slice(1), first.out.slice(2));
  const text = first.out.join("\n");
  assert.match(text, /^demo: First line\n {2}second line\n/m);
  assert.match(text, /^ {2}\* roll_dice\({"sides":6}\) ok in \d+ ms {"rolls"/m);
  assert.match(text, /^ {2}\* nowhere\({}\) unavailable in /m);
  assert.match(text, /^-- the run ended: error \(.*broken/m);
  const tail = await piped(["chat", id, "--tail", "1"]);
  assert.ok(tail.out.length < second.out.length);
  assert.is(tail.out.at(-1), second.out.at(-1));
});

test("what others write cannot drive the terminal", async () => {
  const evil = "\u001b]0;owned\u0007\u001b[2J\u009b31m\u202egnp.exe\r\nann> I agree";
  const first = await piped(["chat", "--as", "mal\u001b[31mlory"], [script({ text: evil })]);
  const second = await piped(["chat", session(first.out)]);
  const watched = await piped(["sessions"]);
  for (const text of [...first.out, ...second.out, ...watched.out]) {
    assert.not.match(text, /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/);
  }
  assert.ok(second.out.some((line) => line.includes("␛[2J")));
  assert.not.ok(second.out.some((line) => line.startsWith("ann> I agree")));
});

test("/cancel stops the answer that the line before it asked for", async () => {
  const slow = script({ text: "a long answer that never comes to its end ".repeat(50), rate: 5, chunk: 4 });
  const { code, out } = await piped(["chat"], [slow, "/cancel", "after"]);
  assert.is(code, 0);
  const text = out.join("\n");
  assert.match(text, /^-- the run ended: cancelled$/m);
  assert.match(text, /^local> after\ndemo: .*after/m);
});

test("commands that do not exist are not sent, a doubled slash is", async () => {
  const { out, err } = await piped(["chat"], ["/nonsense", "//etc", "/help", "/quit", "never"]);
  assert.match(err.join("\n"), /no such command: \/nonsense/);
  assert.match(err.join("\n"), /\/cancel stops/);
  assert.ok(!out.join("\n").includes("never"));
});

test("/who says who is here", async () => {
  const { err } = await piped(["chat", "--as", "ann"], ["/who"]);
  assert.equal(err, ["here: ann"]);
});

test("--json prints frames, a line each, and nothing else", async () => {
  const { code, out, err } = await piped(["chat", "--json"], ["hi \u202e"]);
  assert.is(code, 0);
  assert.equal(err, []);
  const frames = out.map((line) => JSON.parse(line) as { type: string; event?: { type: string } });
  assert.is(frames[0]?.type, "welcome");
  assert.ok(frames.some((frame) => frame.type === "delta"));
  assert.ok(frames.some((frame) => frame.event?.type === "run-finished"));
  assert.not.match(out.join(""), /\u202e/);
});

test("failures are told on stderr with a code that is not 0", async () => {
  const missing = await piped(["chat", "no-such-session"]);
  assert.is(missing.code, 1);
  assert.match(missing.err.join(), /not-found/);
  const wrong = await piped(["chat", "--agnet", "x"]);
  assert.is(wrong.code, 2);
  assert.match(wrong.err.join(), /--agnet.*try: haulout chat --help/);
  const agent = await piped(["chat", "--agent", "nobody"]);
  assert.is(agent.code, 1);
  assert.match(agent.err.join(), /nobody/);
});

test("every command explains itself", async () => {
  for (const name of [
    "chat",
    "tools",
    "watch",
    "allowed",
    "sessions",
    "providers",
    "search",
    "members",
    "invite",
    "join",
  ]) {
    const { code, out } = await piped([name, "--help"]);
    assert.is(code, 0);
    assert.match(out.join("\n"), new RegExp(`^usage: haulout ${name}[\\s\\S]*--url[\\s\\S]*--json`));
  }
});

test("sessions lists what there is, as a table or as lines of JSON", async () => {
  const { out: chat } = await piped(["chat", "--title", "A title\u001b[31m"], ["hi"]);
  const id = session(chat);
  const { out } = await piped(["sessions", "--limit", "5"]);
  assert.match(out[0]!, /^SESSION +AGENT +STATE +UNREAD +UPDATED +TOKENS +TITLE$/);
  const row = out.find((line) => line.startsWith(id))!;
  assert.match(row, / demo +idle +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +[1-9]\d* +A title␛\[31m$/);
  const json = await piped(["sessions", "--json"]);
  assert.ok(json.out.some((line) => (JSON.parse(line) as { id: string }).id === id));
});

test("watch prints the entries of a session from the first one, and goes on", async () => {
  const { out: chat } = await piped(["chat", "--as", "ann"], ["hi"]);
  const id = session(chat);
  const watching = run(["watch", id]);
  await watching.waitForLine(/run-finished/);
  assert.match(watching.stdout[0]!, /^1 \d\d:\d\d:\d\d session-created by ann: agent demo$/);
  assert.ok(watching.stdout.some((line) => /input-queued by ann: queue "hi"/.test(line)));
  await piped(["chat", id, "--as", "bob"], ["more"]);
  await watching.waitForLine(/input-queued by bob/);
  watching.kill("SIGINT");
  assert.is((await watching.exited).code, 0);
});

test("watch without a session shows all of them, new ones too", async () => {
  const watching = run(["watch"]);
  await watching.waitForLine(/^watching \d+ sessions/);
  const { out: chat } = await piped(["chat", "--as", "ann"], ["hi"]);
  await watching.waitForLine(new RegExp(`^${session(chat)} \\d+ .*run-finished`), 15_000);
  watching.kill("SIGTERM");
  assert.is((await watching.exited).code, 0);
});

test("tools lends the tools of a module, says what they are asked, and finishes what runs when stopped", async () => {
  const file = join(temporaryDirectory(), "tools.mjs");
  writeFileSync(
    file,
    `export default {
      add: {
        description: "adds", effect: "pure",
        input: { type: "object", properties: { a: { type: "number" }, b: { type: "number" } }, required: ["a", "b"] },
        execute: ({ a, b }) => a + b,
      },
      slow: {
        description: "slow", input: { type: "object" },
        execute: async (input, context) => { context.progress("half"); await new Promise((r) => setTimeout(r, 1500)); return "slept"; },
      },
    };`,
  );
  const providing = run(["tools", file, "--as", "tina"]);
  await providing.waitForLine(/^providing add, slow$/);
  const added = await piped(
    ["chat", "--as", "ann"],
    [script({ calls: [{ tool: "add", input: { a: 2, b: 3 } }] }, { text: "done" })],
  );
  assert.match(added.out.join("\n"), /\* add\({"a":2,"b":3}\) ok in \d+ ms 5/);
  await providing.waitForLine(/ add call_\w+ called with {"a":2,"b":3} for/);
  await providing.waitForLine(/ add call_\w+ ok in /);
  const slept = piped(["chat"], [script({ calls: [{ tool: "slow", input: {} }] }, { text: "done" })]);
  await providing.waitForLine(/ slow call_\w+ called/);
  providing.kill("SIGTERM");
  assert.match((await slept).out.join("\n"), /\* slow\({}\) ok in .*"slept"/);
  assert.is((await providing.exited).code, 0);
  assert.equal(providing.stderr, []);
});

test("tools says what is wrong with a file", async () => {
  const folder = temporaryDirectory();
  writeFileSync(join(folder, "empty.mjs"), "export const x = 1;");
  writeFileSync(join(folder, "half.mjs"), "export default { a: { description: 'x' } };");
  assert.match((await piped(["tools", join(folder, "none.mjs")])).err.join(), /cannot load/);
  assert.match((await piped(["tools", join(folder, "empty.mjs")])).err.join(), /no default export/);
  assert.match((await piped(["tools", join(folder, "half.mjs")])).err.join(), /tool a of .* needs/);
});

inTerminals(
  "two people in terminals see the same conversation, each message once, whoever types meanwhile",
  async () => {
    const ann = person("ann");
    // The prompt is there first on a busy machine, and the session's line is written above it.
    await ann.sees(/^# session ses_\w+/m);
    await ann.sees(/^ann>/m);
    const id = session(ann.terminal.rows);
    const bob = person("bob", [id]);
    await bob.sees(/^bob>/m);
    bob.type("my half-written thou");
    ann.type(
      `${script({ text: "word ".repeat(60), rate: 100, chunk: 5 }, { calls: [{ tool: "clock", input: {} }] }, { text: "ok" })}\r`,
    );
    await bob.sees(/^demo: word/m);
    ann.type("next from ann");
    bob.type("ghts");
    await ann.sees(/^demo: ok$/m);
    await bob.sees(/^bob> my half-written thoughts$/m);
    ann.type("\r");
    bob.type("\r");
    for (const pty of [ann, bob]) {
      await pty.sees((rows) => rows.filter((row) => row.startsWith("demo: You said")).length === 2);
      await pty.sees(/^(ann|bob)>$/m);
    }
    const seen = conversation(ann, "ann");
    assert.equal(conversation(bob, "bob"), seen);
    assert.is(seen.filter((row) => row === "ann> next from ann").length, 1);
    assert.is(seen.filter((row) => row === "bob> my half-written thoughts").length, 1);
    assert.match(seen.join("\n"), /\* clock\({}\) ok in /);
    // The long answer is whole, although it was written over and over above two input lines.
    const from = seen.findIndex((row) => row.startsWith("demo: word"));
    const to = seen.findIndex((row) => row.includes("* clock"));
    const answer = seen
      .slice(from, to)
      .map((row) => row.padEnd(60))
      .join("");
    assert.is(answer.slice("demo: ".length).trim(), "word ".repeat(60).trim());
    ann.type("/quit\r");
    assert.is(await ann.exited, 0);
    bob.type("\u0004");
    assert.is(await bob.exited, 0);
  },
);

inTerminals("a line longer than the terminal is wide is replaced by its message", async () => {
  const ann = person("ann", [], { columns: 30 });
  await ann.sees(/^ann>/m);
  const long = "a line that needs quite a few rows of a narrow terminal to be shown at all";
  ann.type(long);
  await ann.sees(/shown at all/);
  ann.type("\r");
  await ann.sees((rows) => rows.at(-1) === "ann>" && rows.some((row) => row.startsWith("demo: ")));
  const rows = conversation(ann, "ann");
  assert.is(rows.filter((row) => row.startsWith("ann> a line")).length, 1);
  ann.kill();
});

inTerminals("what is typed over several rows stays whole while others are written above it", async () => {
  const ann = person("ann", [], { columns: 40 });
  await ann.sees(/^ann>/m);
  const typed = "an input of more than one row, begun while the answer is being written";
  ann.type(`${script({ text: `${"streaming ".repeat(40)}\nlast line`, rate: 60, chunk: 6 })}\r`);
  await ann.sees(/^demo: streaming/m);
  for (const piece of typed.match(/.{1,10}/g)!) {
    ann.type(piece);
    await ann.sees((rows) => rows.join("").replaceAll(" ", "").includes(piece.replaceAll(" ", "")));
  }
  await ann.sees(
    (rows) => rows.includes("  last line") && rows.some((row) => row.startsWith("ann> an input")),
  );
  const rows = ann.terminal.rows;
  const input = rows.findIndex((row) => row.startsWith("ann> an input"));
  const joined = (part: string[]): string =>
    part
      .map((row) => row.padEnd(40))
      .join("")
      .trim();
  assert.is(joined(rows.slice(input)), `ann> ${typed}`);
  const from = rows.findIndex((row) => row.startsWith("demo: "));
  assert.is(joined(rows.slice(from, input)).match(/streaming/g)?.length, 40);
  ann.kill();
});

inTerminals(
  "Control-C takes the line away, then leaves; colours are for terminals that want them",
  async () => {
    const ann = person("ann", [], { colours: true });
    await ann.sees(/^ann>/m);
    ann.type("hi\r");
    await ann.sees(/^demo: /m);
    assert.match(ann.raw, /\u001b\[36mdemo: /);
    ann.type("not this");
    await ann.sees(/^ann> not this$/m);
    ann.type("\u0003");
    await ann.sees((rows) => rows.at(-1) === "ann>");
    ann.type("\u0003");
    assert.is(await ann.exited, 0);
  },
);

inTerminals(
  "a lost connection is shown where one types, and what was typed meanwhile is sent once",
  async () => {
    const proxy = await startProxy({ port: server.port });
    const ann = person("ann", [], { url: proxy.url });
    await ann.sees(/^ann>/m);
    proxy.refuse(true);
    proxy.cut();
    await ann.sees(/reconnecting/);
    ann.type("said offline\r");
    await ann.sees(/1 unsent/);
    proxy.refuse(false);
    await ann.sees(/^demo: .*said offline/m, 20_000);
    await ann.sees(/^ann>$/m);
    assert.is(conversation(ann, "ann").filter((row) => row === "ann> said offline").length, 1);
    ann.kill();
    await proxy.close();
  },
);

test("a chat goes on over a server that comes back", async () => {
  const own = await TestServer.start({});
  const proxy = await startProxy({ port: own.port });
  const client = connect({ url: proxy.url });
  const { session: id } = await client.createSession({ agent: "demo" });
  const chat = run(["chat", id, "--as", "ann"], proxy.url);
  await chat.waitForLine(/^# session/);
  chat.stdin.write("before\n");
  await chat.waitForLine(/^demo: .*before/);
  proxy.cut();
  chat.stdin.end("after\n");
  assert.is((await chat.exited).code, 0);
  const said = chat.stdout.filter((line) => line.startsWith("ann> "));
  assert.equal(said, ["ann> before", "ann> after"]);
  await until(() => client.status.state === "online", 10_000, "the client to be back");
  client.close();
  await proxy.close();
  await own.stop();
});

test.run();
