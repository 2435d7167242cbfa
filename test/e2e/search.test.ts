/**
 * Search over real sockets: who finds what, from the commit to the deletion of what was said, through grants, forks, imports
 * and restarts. Words and pages are proved in test/server/session/words.test.ts and test/contract.
 */
import { connect } from "../../client/index.ts";
import { silentLog } from "../../server/observe/log.ts";
import { startServer, type HauloutServer } from "../../server/server.ts";
import { temporaryDirectory } from "../support/process.ts";
import { assert, suite } from "../support/suite.ts";
import { Wire, type Frame } from "../support/wire.ts";

const test = suite("search");
const data = temporaryDirectory();
const users = ["ann", "bob", "root", "all"] as const;
const rightsOf = { ann: ["create:*"], bob: ["create:*"], root: ["admin"], all: ["create:*", "watch"] };
const secretOf = (user: string): string => `${user}-secret-0123456789`;
let server: HauloutServer;
let wires: Record<(typeof users)[number], Wire>;

async function start(): Promise<void> {
  const tokens = users.map((user) => ({ token: secretOf(user), user, rights: rightsOf[user] }));
  const auth = { mode: "token", tokens } as const;
  server = await startServer({ port: 0, store: "embedded", data, log: silentLog(), auth });
  const enter = (user: string): Promise<Wire> =>
    Wire.connect(`ws://127.0.0.1:${server.port}/ws`, { token: secretOf(user) });
  const entered = await Promise.all(users.map(enter));
  wires = Object.fromEntries(users.map((user, at) => [user, entered[at]])) as typeof wires;
}

test.before(start);
test.after(() => server.stop());

async function newSession(user: keyof typeof wires, title?: string): Promise<string> {
  const fields = title === undefined ? {} : { title };
  return (await wires[user].ok("createSession", { agent: "demo", ...fields }))["session"] as string;
}

/** Says it and waits for the end of the run. */
async function say(user: keyof typeof wires, session: string, content: string): Promise<void> {
  const client = connect({ url: server.url.replace("http", "ws") + "/ws", token: secretOf(user) });
  const chat = await client.attach(session);
  await chat.ask(content);
  client.close();
}

const play = (...items: object[]): string => JSON.stringify({ script: items });

/** Once all is indexed: `session title|role: snippet` of each hit. */
async function find(user: keyof typeof wires, text: string, fields: Frame = {}): Promise<string[]> {
  await server.runtime.indexer.idle();
  const { items } = await wires[user].ok("search", { text, ...fields });
  return (items as Frame[]).map(({ session, author, snippet }) => {
    const who = (author as Frame | undefined)?.["kind"] ?? "title";
    return `${session as string} ${who as string}: ${snippet as string}`;
  });
}

test("people's and agents' words and titles are found; reasoning, calls and what they gave are not", async () => {
  const session = await newSession("ann", "Walrus census");
  const calls = [{ tool: "roll_dice", input: { sides: 7919 } }];
  await say(
    "ann",
    session,
    play({ reasoning: "hiddenthought" }, { text: "Tusks counted." }, { calls }, { text: "Done." }),
  );
  assert.is((await find("ann", "tusks counted"))[0], `${session} agent: Tusks counted.`);
  const hits = await find("ann", "hiddenthought");
  assert.ok(
    hits.every((hit) => hit.includes(" user: ")),
    "only where somebody wrote the script",
  );
  assert.equal(await find("ann", "census"), [`${session} title: Walrus census`]);
  await wires.ann.ok("updateSession", { session, title: "Walrus tally" });
  assert.equal(await find("ann", "census"), []);
  assert.equal(await find("ann", "walrus tal"), [`${session} title: Walrus tally`]);
  assert.equal(await find("ann", "tally", { agent: "demo", owner: "ann", state: "idle" }), [
    `${session} title: Walrus tally`,
  ]);
  for (const filter of [{ agent: "other" }, { owner: "bob" }, { state: "closed" }, { labels: { a: "b" } }])
    assert.equal(await find("ann", "tally", filter), []);
});

test("what one may not read leaves no trace: no hit, no page, no cursor", async () => {
  const word = "cormorant";
  const anns: string[] = [];
  for (let at = 0; at < 5; at++) anns.unshift(await newSession("ann", `${word} ${at}`));
  const bobs = await newSession("bob", `${word} of bob`);
  anns.unshift(await newSession("ann", `${word} 5`));
  await server.runtime.indexer.idle();
  const asked = async (user: keyof typeof wires, text: string, fields: Frame): Promise<string> => {
    const answer: Frame = await wires[user].request("search", { text, ...fields });
    return JSON.stringify({ ...answer, id: 0 }).replaceAll(text, "…");
  };
  const one = await wires.bob.ok("search", { text: word, limit: 2 });
  assert.equal([(one["items"] as Frame[]).map(({ session }) => session), one["cursor"]], [[bobs], undefined]);
  assert.is(await asked("bob", `${word} 3`, {}), await asked("bob", "never said 3", {}));
  const page = await wires.ann.ok("search", { text: word, limit: 2 });
  assert.equal(
    (page["items"] as Frame[]).map(({ session }) => session),
    anns.slice(0, 2),
  );
  const { cursor } = page;
  const next = await wires.ann.ok("search", { text: word, limit: 2, cursor });
  assert.equal(
    (next["items"] as Frame[]).map(({ session }) => session),
    anns.slice(2, 4),
  );
  const taken = await asked("bob", word, { cursor });
  assert.is(taken, await asked("bob", word, { cursor: "1.ses_00000000000000000000000000" }));
  assert.match(taken, /bad-frame/);
  for (const user of ["all", "root"] as const) assert.is((await find(user, word)).length, 7);
});

test("who is let in finds what was said before, and nothing any more once out", async () => {
  const session = await newSession("ann", "Guillemot");
  await say("ann", session, "A guillemot came by.");
  assert.equal(await find("bob", "guillemot"), []);
  await wires.ann.ok("grant", { session, user: "bob", role: "viewer" });
  assert.is((await find("bob", "guillemot")).length, 3);
  await wires.ann.ok("revoke", { session, user: "bob" });
  const { items } = await wires.bob.ok("search", { text: "guillemot" });
  assert.equal(items, [], "at once, whatever is indexed");
  assert.equal(await find("bob", "guillemot"), []);
  assert.is((await find("ann", "guillemot")).length, 3);
});

test("forks and imports are found, deleted sessions are not, through a restart", async () => {
  const session = await newSession("ann", "Puffin");
  await say("ann", session, "A puffin flew.");
  const forked = (await wires.ann.ok("fork", { session }))["session"] as string;
  const event = { type: "session-created", agent: "demo", owner: "ann", title: "Imported puffin" };
  await wires.root.ok("importEntries", {
    session: "imported",
    after: 0,
    entries: [{ at: 1, event }],
    last: true,
  });
  const found = await find("ann", "puffin");
  const sessions = found.map((hit) => hit.split(" ")[0]!).toSorted();
  assert.equal(sessions, [forked, forked, forked, "imported", session, session, session].toSorted());
  await wires.ann.ok("deleteSession", { session: forked });
  const after = (await wires.ann.ok("search", { text: "puffin" }))["items"] as Frame[];
  assert.is(after.length, 4, "at once");
  // Stopped before this is indexed: the next start goes on.
  await wires.ann.ok("updateSession", { session, title: "Razorbill" });
  await server.stop();
  await start();
  assert.equal(await find("ann", "razorbill"), [`${session} title: Razorbill`]);
  assert.is((await find("ann", "puffin")).length, 3);
});

test.run();
