/**
 * Who may see a session: with tokens its creator alone, and for everybody else it is as if it did not exist, whatever
 * they ask; without authentication everyone may enter. Identity is the server's word, never a client's.
 */
import type { RequestType } from "../../protocol/frames.ts";
import { Reader } from "../support/reader.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { Wire, type Frame, type WireOptions } from "../support/wire.ts";
import { Provider, calls, newSession, say, script } from "./play.ts";

const ANN = { token: "ann-secret-0123456789" };
const BOB = { token: "bob-secret-0123456789" };
const ROOT = { token: "root-secret-0123456789" };
const ANN_ELSEWHERE = { token: "anns-other-secret-0123456789" };
const LIMITED = { token: "limited-secret-0123456789" };

const test = suite("access");
let closed: TestServer;
let open: TestServer;

test.before(async () => {
  const tokens = [
    { ...ANN, user: "ann", name: "Ann" },
    { ...ANN_ELSEWHERE, user: "ann", rights: ["provide:*"] },
    { ...BOB, user: "bob", rights: ["create:*", "provide:bobs_*"] },
    { ...ROOT, user: "root", rights: ["admin"] },
    { ...LIMITED, user: "lea", rights: ["create:other*"] },
  ];
  closed = await TestServer.start({ config: { auth: { mode: "token", tokens } } });
  open = await TestServer.start({ store: "memory" });
});
test.after(async () => {
  await closed.kill();
  await open.kill();
});

const enter = (options: WireOptions): Promise<Wire> => Wire.connect(closed.url, options);

/** Every request that names a session, with fields that are right for one that exists. */
function requestsOf(session: string, run: string, input: string): readonly (readonly [RequestType, Frame])[] {
  return [
    ["attach", { session }],
    ["attach", { session, after: { epoch: 0, seq: 0 } }],
    ["close", { session }],
    ["deleteSession", { session }],
    ["send", { session, key: "key_1", content: "let me in" }],
    ["send", { session, key: "key_2", content: "let me in", mode: "interrupt" }],
    ["editInput", { session, input, content: "other words" }],
    ["withdrawInput", { session, input }],
    ["orderInputs", { session, inputs: [input] }],
    ["markRead", { session }],
    ["setFloor", { session, mode: "open" }],
    ["passFloor", { session }],
    ["cancel", { session, run }],
    ["history", { session }],
    ["listTools", { session }],
    ["updateSession", { session, title: "mine now" }],
    ["offerTools", { session, tools: [{ name: "spy", inputSchema: {} }] }],
    ["compact", { session }],
    ["fork", { session }],
    ["retry", { session, run, key: "key_3" }],
    ["answer", { session, request: "req_1", decision: "approve" }],
    ["forget", { session, allowance: "alw_1" }],
    ["grant", { session, user: "bob", role: "owner" }],
    ["revoke", { session, user: "ann" }],
    ["setPresence", { session, typing: true }],
    ["detach", { session }],
  ];
}

test("another user's session is not there, whatever one asks of it", async () => {
  const ann = await enter(ANN);
  const session = await newSession(ann, { title: "private" });
  const reader = Reader.fromStart(session);
  await reader.enter(ann);
  await say(ann, session, script({ text: "secret ".repeat(500), rate: 20 }));
  const { run } = await reader.entry("run-started");
  const { input } = await say(ann, session, "waiting");
  const head = reader.position!.seq;
  const bob = await enter(BOB);
  const names = { session, run: run!, input: input as string };
  const unknown = { session: "ses_00000000000000000000000000", run: "run_none", input: "msg_none" };
  const real = requestsOf(names.session, names.run, names.input);
  const none = requestsOf(unknown.session, unknown.run, unknown.input);
  for (const [at, [type, fields]] of real.entries()) {
    const answer = await bob.request(type, fields);
    const nothing = await bob.request(type, none[at]![1]);
    const what = `${type} ${JSON.stringify(fields)}`;
    if (answer["type"] === "error") {
      assert.is(answer["code"], "not-found", what);
      assert.is(answer["retryable"], false);
    }
    const hidden = JSON.stringify(answer)
      .replaceAll(session, "…")
      .replace(/"id":\d+/, "");
    const missing = JSON.stringify(nothing)
      .replaceAll(unknown.session, "…")
      .replace(/"id":\d+/, "");
    assert.is(hidden, missing, "the same answer as for a session that never was");
    assert.is(answer["type"], type === "detach" ? "ok" : "error", what);
  }
  assert.is((await bob.refused("createSession", { agent: "demo", session }))["code"], "conflict");
  assert.is((await bob.refused("createSession", { agent: "demo", session, key: "k" }))["code"], "conflict");
  assert.equal((await bob.ok("listSessions"))["items"], []);
  const call = { session, call: "call_x", attempt: 1 };
  const forged = new Provider(bob);
  assert.is(await forged.verdict(call, { output: 1 }), "unknown");
  await bob.ok("listAgents");
  const leaked = bob.received
    .map(({ frame }) => JSON.stringify(frame))
    .filter((text) => /secret|private/.test(text));
  assert.equal(leaked, []);

  // And nothing of it has left a trace.
  await ann.ok("cancel", { session, run: names.run });
  await reader.runOf(names.input);
  const between = reader.entries.filter(({ entry }) => entry.seq > head).map(({ entry }) => entry.actor?.id);
  assert.not.ok(between.includes("bob"));
  assert.is(reader.types.filter((type) => type === "input-queued").length, 2);
  assert.equal(reader.faults, []);
});

test("the creator has the session on every connection, and an admin enters it", async () => {
  const session = await newSession(await enter(ANN));
  const again = await enter({ ...ANN, encoding: "json" });
  const { input } = await say(again, session, "it is me");
  const reader = Reader.fromStart(session);
  await reader.enter(await enter(ROOT));
  await reader.runOf(input as string);
  const queued = await reader.entry("input-queued");
  assert.equal(queued.actor, { kind: "user", id: "ann", name: "Ann", verified: true });
  const listed = (wire: Wire): Promise<string[]> =>
    wire.ok("listSessions").then(({ items }) => (items as Frame[]).map(({ id }) => id as string));
  assert.ok((await listed(again)).includes(session));
  assert.ok((await listed(await enter(ROOT))).includes(session));
  assert.not.ok((await listed(await enter(BOB))).includes(session));
});

test("a hello without a valid token is answered unauthenticated and closed with 4501", async () => {
  for (const options of [{}, { token: "ann-secret-012345678" }, { token: "" }, { user: { id: "ann" } }]) {
    const wire = await Wire.open(closed.url);
    const error = await wire.hello(options).then(
      () => "welcome",
      (refused: unknown) => (refused as { code: string }).code,
    );
    assert.is(error, "unauthenticated");
    assert.is((await wire.closed).code, 4501);
  }
});

test("with a token the user is the token's, whatever the client calls itself", async () => {
  const wire = await enter({ ...BOB, user: { id: "ann", name: "Ann" } });
  assert.equal(wire.welcome["user"], { id: "bob", name: "bob" });
});

test("rights are asked for creating and for providing", async () => {
  const limited = await enter(LIMITED);
  assert.is((await limited.refused("createSession", { agent: "demo" }))["code"], "forbidden");
  assert.equal((await limited.ok("listAgents"))["items"], []);
  const bob = await enter(BOB);
  const offer = (wire: Wire, name: string): Promise<string> =>
    wire
      .request("offerTools", { tools: [{ name, inputSchema: {} }] })
      .then((answer) => answer["code"] ?? "ok");
  assert.is(await offer(bob, "bobs_tool"), "ok");
  assert.is(await offer(bob, "other_tool"), "forbidden");
  assert.is(await offer(await enter(ANN), "anns_tool"), "forbidden");
});

test("a fork needs the right to create, for it is a session of one's own", async () => {
  const ann = await enter(ANN);
  const session = await newSession(ann, { title: "private" });
  const reader = Reader.fromStart(session);
  await reader.enter(ann);
  await reader.runOf((await say(ann, session, "hello"))["input"] as string);
  const elsewhere = await enter(ANN_ELSEWHERE);
  await elsewhere.ok("compact", { session });
  assert.is((await elsewhere.refused("fork", { session }))["code"], "forbidden");
  const { session: fork } = await (await enter(ROOT)).ok("fork", { session });
  assert.is(
    (await ann.refused("attach", { session: fork }))["code"],
    "not-found",
    "it is the forker's alone",
  );
});

test("a tool of one session's editor is not offered to others' sessions", async () => {
  const ann = await enter(ANN);
  const session = await newSession(ann);
  const provider = await Provider.offer(ann, { mine: { effect: "pure" } }, { session });
  const bob = await enter(BOB);
  const theirs = await newSession(bob);
  const reader = Reader.fromStart(theirs);
  await reader.enter(bob);
  const { input } = await say(bob, theirs, script(calls(["mine"]), { text: "so" }));
  await reader.runOf(input as string);
  assert.is(((await reader.entry("tool-result")).event as Frame)["outcome"], "unavailable");
  assert.is(provider.calls.length, 0);
});

test("without authentication everyone may enter, under the name that they give", async () => {
  const connect = (id?: string): Promise<Wire> =>
    Wire.connect(open.url, id === undefined ? {} : { user: { id, name: id.toUpperCase() } });
  const [ann, bob, nobody] = [await connect("ann"), await connect("bob"), await connect()];
  assert.equal(nobody.welcome["user"], { id: "local", name: "local" });
  const session = await newSession(ann);
  const reader = new Reader(session);
  await reader.enter(bob);
  const { input } = await say(bob, session, "hello from bob");
  await reader.runOf(input as string);
  const queued = await reader.entry("input-queued");
  assert.equal(queued.actor, { kind: "user", id: "bob", name: "BOB", verified: false });
  assert.equal((await nobody.ok("history", { session }))["items"], reader.state!.messages);
  await nobody.ok("updateSession", { session, title: "ours" });
  assert.is(((await bob.ok("listSessions"))["items"] as Frame[])[0]!["title"], "ours");
  await nobody.ok("deleteSession", { session });
  assert.is((await ann.refused("attach", { session }))["code"], "not-found");
  await bob.frame((frame) => frame["type"] === "detached" && frame["reason"] === "deleted");
});

test.run();
