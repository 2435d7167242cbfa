/**
 * What SPEC.md §6 says of each request about a session, asked on a real socket: idempotent sends and creations, closing,
 * deleting, the waiting inputs, steering, lists and history.
 */
import { newId } from "../../protocol/ids.ts";
import { Reader } from "../support/reader.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { Wire, type Frame } from "../support/wire.ts";
import { Provider, calls, newSession, say, script } from "./play.ts";

const test = suite("requests");
let server: TestServer;
let wire: Wire;

test.before(async () => {
  server = await TestServer.start();
  wire = await Wire.connect(server.url);
});
test.after(() => server.kill());

async function begin(fields: Frame = {}): Promise<{ session: string; reader: Reader }> {
  const session = await newSession(wire, fields);
  const reader = Reader.fromStart(session);
  await reader.enter(wire);
  return { session, reader };
}

/** A session whose run stands still, and what cancels that run. */
async function busy(): Promise<{ session: string; reader: Reader; run: string }> {
  const { session, reader } = await begin();
  await say(wire, session, script({ stall: 60_000 }));
  const { run } = await reader.entry("run-started");
  return { session, reader, run: run! };
}

const code = async (type: string, fields: Frame): Promise<string> =>
  (await wire.refused(type, fields))["code"] as string;

test("a repeated send answers the first one and does nothing else", async () => {
  const { session, reader } = await begin();
  const send = { session, key: "key_a", content: [{ type: "text", text: "hello" }] };
  const first = await wire.ok("send", send);
  assert.is(first["duplicate"], false);
  await reader.runOf(first["input"] as string);
  const head = reader.position!.seq;
  const other = await Wire.connect(server.url, { encoding: "json" });
  for (const client of [wire, other, wire]) {
    const again = await client.ok("send", send);
    assert.equal([again["seq"], again["input"], again["duplicate"]], [first["seq"], first["input"], true]);
  }
  for (const change of [{ content: "hello" }, { mode: "steer" }, { agent: "demo" }]) {
    assert.is(await code("send", { ...send, ...change }), "conflict");
  }
  assert.is(reader.position!.seq, head);
  // The key is the user's and the session's.
  const ann = await Wire.connect(server.url, { user: { id: "ann" } });
  assert.is((await ann.ok("send", send))["duplicate"], false);
  const elsewhere = await newSession(wire);
  assert.is((await wire.ok("send", { ...send, session: elsewhere }))["duplicate"], false);
  await wire.ok("close", { session });
  assert.equal((await wire.ok("send", send))["seq"], first["seq"], "even when it is closed");
});

test("sends with one key at the same moment make one input", async () => {
  const { session, reader } = await begin();
  const clients = await Promise.all(Array.from({ length: 8 }, () => Wire.connect(server.url)));
  const send = { session, key: "key_race", content: "once" };
  const answers = await Promise.all(
    clients.flatMap((client) => [client.ok("send", send), client.ok("send", send)]),
  );
  assert.is(answers.filter(({ duplicate }) => duplicate === false).length, 1);
  assert.is(new Set(answers.map(({ seq }) => seq)).size, 1);
  await reader.runOf(answers[0]!["input"] as string);
  assert.is(reader.types.filter((type) => type === "input-queued").length, 1);
  assert.is(reader.types.filter((type) => type === "run-started").length, 1);
});

test("a session's id is its creator's with the same key, and nobody's a second time", async () => {
  const session = newId("ses");
  const create = { agent: "demo", session, key: "mine", title: "first" };
  const first = await wire.ok("createSession", create);
  const { id: _, ...again } = await wire.ok("createSession", create);
  assert.equal(again, { type: "ok", session, epoch: first["epoch"], seq: 1 });
  assert.is(await code("createSession", { ...create, key: "other" }), "conflict");
  assert.is(await code("createSession", { ...create, title: "second" }), "conflict");
  assert.is(await code("createSession", { agent: "demo", session }), "conflict");
  assert.is(await code("createSession", { agent: "demo", key: "no id" }), "bad-frame");
  assert.is(await code("createSession", { agent: "nobody" }), "not-found");
  await wire.ok("deleteSession", { session });
  assert.is(await code("createSession", create), "conflict");
  assert.is(await code("attach", { session }), "not-found");
});

test("closing ends the run, withdraws what waits, keeps the history, and answers the same again", async () => {
  const { session, reader, run } = await busy();
  const waiting = (await say(wire, session, "never"))["input"];
  const { seq } = await wire.ok("close", { session });
  const end = await reader.entry("run-finished");
  assert.equal([end.run, (end.event as Frame)["reason"]], [run, "cancelled"]);
  const at = reader.entries.findIndex(({ entry }) => entry.seq === seq);
  assert.equal(
    reader.entries.slice(at, at + 3).map(({ entry: { event } }) => (event as Frame)["input"] ?? event.type),
    ["session-closed", "cancel-requested", waiting],
  );
  assert.is((await wire.ok("close", { session }))["seq"], seq, "the first one's seq");
  assert.is(await code("send", { session, key: "k", content: "x" }), "closed");
  assert.is(reader.state!.session.state, "closed");
  const later = new Reader(session);
  await later.enter(await Wire.connect(server.url));
  assert.equal(later.state, reader.state);
  assert.is(((await wire.ok("history", { session }))["items"] as Frame[]).length, 1);
});

test("deleting leaves nothing, tells those attached, and stops the run", async () => {
  const { session, reader } = await busy();
  await wire.ok("deleteSession", { session });
  await reader.until(() => reader.trace.includes("detached"), "detached");
  for (const [type, fields] of [
    ["attach", {}],
    ["send", { key: "k", content: "x" }],
    ["history", {}],
    ["close", {}],
    ["deleteSession", {}],
  ] as const) {
    assert.is(await code(type, { session, ...fields }), "not-found", type);
  }
  const ids = ((await wire.ok("listSessions"))["items"] as Frame[]).map(({ id }) => id);
  assert.not.ok(ids.includes(session));
});

test("a waiting input can be edited and withdrawn, one that was taken cannot", async () => {
  const { session, reader, run } = await busy();
  const edited = (await say(wire, session, "before"))["input"] as string;
  const withdrawn = (await say(wire, session, "never"))["input"] as string;
  await wire.ok("editInput", { session, input: edited, content: "after" });
  await wire.ok("withdrawInput", { session, input: withdrawn });
  await wire.ok("cancel", { session, run });
  await reader.runOf(edited);
  const said = reader.state!.messages.find(({ id }) => id === edited)!;
  assert.equal(said.parts, [{ type: "text", text: "after" }]);
  assert.not.ok(reader.state!.messages.some(({ id }) => id === withdrawn));
  assert.is(await code("editInput", { session, input: edited, content: "late" }), "conflict");
  assert.is(await code("withdrawInput", { session, input: edited }), "conflict");
  assert.is(await code("withdrawInput", { session, input: withdrawn }), "conflict");
});

test("a steering input joins before the next step, and one without a run is an input like others", async () => {
  const provider = await Provider.offer(await Wire.connect(server.url), { step: { effect: "pure" } });
  const { session, reader } = await begin();
  const { input } = await say(wire, session, script(calls(["step"]), { text: "then" }));
  const call = await provider.next();
  const waiting = (await say(wire, session, "in line"))["input"];
  const steer = (await say(wire, session, "by the way", { mode: "steer" }))["input"];
  await provider.answer(call, "stepped");
  const finished = await reader.runOf(input as string);
  const before = reader.entries.filter(({ entry }) => entry.seq < finished.seq);
  const order = before.flatMap(({ entry: { event } }) =>
    event.type === "message" ? [event.message.role === "user" ? event.message.id : "agent"] : [],
  );
  assert.equal(order, [input, "agent", steer, "agent"]);
  await reader.runOf(waiting as string);
  const alone = await say(wire, session, "alone", { mode: "steer" });
  await reader.runOf(alone["input"] as string);
  assert.equal(reader.faults, []);
  await provider.wire.close();
});

test("a detached connection gets nothing more, and a second attach replaces the first", async () => {
  const { session } = await begin();
  const other = await Wire.connect(server.url);
  const reader = new Reader(session);
  await reader.enter(other);
  const again = new Reader(session, { tail: 0 });
  await again.enter(other);
  const { input } = await say(wire, session, "hello");
  await again.runOf(input as string);
  const events = other.received.filter(({ frame }) => frame["type"] === "event");
  assert.is(events.length, again.entries.length, "each entry came once");
  await other.ok("detach", { session });
  const from = other.received.length;
  const watcher = new Reader(session);
  await watcher.enter(wire);
  await watcher.runOf((await say(wire, session, "alone"))["input"] as string);
  await other.ok("listAgents");
  const after = other.received.slice(from).map(({ frame }) => frame["type"]);
  assert.equal(
    after.filter((type) => type !== "ping"),
    ["ok"],
  );
});

test("history goes back page by page, without gap or repetition", async () => {
  const { session, reader } = await begin();
  for (let at = 0; at < 12; at++) {
    const content = at % 3 === 0 ? script(calls(["clock"]), { text: `${at}` }) : `message ${at}`;
    await reader.runOf((await say(wire, session, content))["input"] as string);
  }
  let items: Frame[] = [];
  let cursor: string | undefined;
  let pages = 0;
  do {
    const page = await wire.ok("history", { session, limit: 5, ...(cursor === undefined ? {} : { cursor }) });
    items = [...(page["items"] as Frame[]), ...items];
    cursor = page["cursor"] as string | undefined;
    pages++;
  } while (cursor !== undefined);
  assert.equal(items, reader.state!.messages);
  assert.ok(pages >= 6);
  assert.is(await code("history", { session, cursor: "not one of ours" }), "bad-frame");
});

test("lists are paged, newest first, and filtered", async () => {
  const user = { id: `lister${Date.now()}` };
  const own = await Wire.connect(server.url, { user });
  const created: string[] = [];
  for (let at = 0; at < 7; at++) created.unshift(await newSession(own, { title: `list ${at}` }));
  const listed: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await own.ok("listSessions", {
      owner: user.id,
      limit: 3,
      ...(cursor === undefined ? {} : { cursor }),
    });
    listed.push(...(page["items"] as Frame[]).map(({ id }) => id as string));
    cursor = page["cursor"] as string | undefined;
  } while (cursor !== undefined);
  assert.equal(new Set(listed), new Set(created));
  assert.is(listed.length, created.length);
  const none = await own.ok("listSessions", { owner: user.id, agent: "another" });
  assert.equal(none["items"], []);
  const agents = (await own.ok("listAgents"))["items"] as Frame[];
  assert.equal(
    agents.map(({ name, model }) => [name, model]),
    [["demo", "scripted"]],
  );
});

test("title and metadata are replaced whole, and seen by all", async () => {
  const { session, reader } = await begin({ title: "one", metadata: { a: 1, b: 2 } });
  await wire.ok("updateSession", { session, metadata: { b: 3 } });
  await wire.ok("updateSession", { session, title: "two" });
  await reader.until(() => reader.state?.session.title === "two", "the title");
  assert.equal(reader.state!.session.metadata, { b: 3 });
  const listed = ((await wire.ok("listSessions"))["items"] as Frame[]).find(({ id }) => id === session)!;
  assert.equal([listed["title"], listed["metadata"]], ["two", { b: 3 }]);
});

test.run();
