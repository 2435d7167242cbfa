/**
 * Nobody speaks or acts as another: a provider answers its own calls only, no tool takes another's name, and the actor of an
 * entry is who sent it, whatever a frame says.
 */
import { Reader } from "../support/reader.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { Wire, type Frame } from "../support/wire.ts";
import { calls, newSession, Provider, referenceOf, say, script } from "./play.ts";

const test = suite("forged");
let server: TestServer;

const RIGHTS: Readonly<Record<string, readonly string[]>> = {
  ann: ["create:*", "provide:*"],
  bob: ["create:*", "provide:*"],
  mal: ["create:*", "provide:*"],
};
const tokenOf = (user: string): string => `${user}-secret-0123456789`;

test.before(async () => {
  const tokens = Object.entries(RIGHTS).map(([user, rights]) => ({ user, rights, token: tokenOf(user) }));
  server = await TestServer.start({ store: "memory", config: { auth: { mode: "token", tokens } } });
});
test.after(() => server.kill());

const enter = (user: string, options: object = {}): Promise<Wire> =>
  Wire.connect(server.url, { token: tokenOf(user), ...options });

async function watched(wire: Wire): Promise<Reader> {
  const reader = Reader.fromStart(await newSession(wire));
  await reader.enter(wire);
  return reader;
}

test("a provider that answers a call not its own changes nothing and learns nothing, in the same pool too", async () => {
  const ann = await enter("ann");
  const reader = await watched(ann);
  const { session } = reader;
  const mine = await Provider.offer(await enter("bob"), { weigh: { effect: "once" } });
  const { input } = await say(ann, session, script(calls(["weigh"]), { text: "so" }));
  const call = await mine.next();
  const forgers = [
    await Provider.offer(await enter("mal"), { weigh: { effect: "once" } }),
    // The same user, another instance; the sender of the input; one who offers nothing.
    await Provider.offer(await enter("bob"), { weigh: { effect: "once" } }),
    new Provider(ann),
    new Provider(await enter("mal")),
  ];
  for (const forger of forgers) {
    forger.accept(call);
    forger.progress(call, "forged");
    for (const reference of [call, { ...call, attempt: 2 }, { ...call, call: "call_none" }])
      assert.is(await forger.verdict(reference, { output: "forged" }), "unknown");
    await forger.wire.ok("offerTools", { tools: [], working: [referenceOf(call)] });
  }
  assert.is(reader.state?.calls[0]?.state, "dispatched");
  assert.is(await mine.answer(call, "true"), "stored");
  for (const forger of forgers) assert.is(await forger.verdict(call, { output: "late" }), "unknown");
  await reader.runOf(input as string);
  assert.is(((await reader.entry("tool-result")).event as Frame)["output"], "true");
  assert.equal(
    reader.types.filter((type) => type === "tool-audit" || type === "tool-lost"),
    [],
  );
  assert.equal(
    ann.received.filter(({ frame }) => frame["type"] === "toolProgress"),
    [],
  );
  assert.equal(
    forgers.flatMap(({ calls: taken }) => taken),
    [],
  );
  assert.equal(reader.faults, []);
});

test("no session shadows a tool of the server, and nobody takes the place of one by another schema", async () => {
  const ann = await enter("ann");
  const reader = await watched(ann);
  const { session } = reader;
  const offer = async (wire: Wire, tool: Frame, scope: Frame = {}): Promise<string> =>
    (await wire.request("offerTools", { tools: [{ inputSchema: {}, ...tool }], ...scope }))["code"] ?? "ok";
  const bob = await enter("bob");
  const provider = await Provider.offer(bob, { scale: { effect: "pure" } });
  const schema = { type: "object" };
  // In the process and by a provider; with the same schema, too.
  assert.is(await offer(ann, { name: "clock", effect: "pure" }, { session }), "conflict");
  assert.is(await offer(ann, { name: "clock", effect: "pure" }), "conflict");
  assert.is(
    await offer(ann, { name: "scale", effect: "pure", inputSchema: schema }, { session }),
    "conflict",
  );
  assert.is(await offer(ann, { name: "scale", effect: "pure", inputSchema: { type: "array" } }), "conflict");
  assert.is(await offer(ann, { name: "scale", effect: "once", inputSchema: schema }), "conflict");

  // A session's own name that becomes one of the server's: from the next run on it is the server's.
  const own = await Provider.offer(ann, { late: { effect: "pure" } }, { session });
  await provider.offer({ late: { effect: "pure" } });
  const { input } = await say(ann, session, script(calls(["late"], ["scale"]), { text: "so" }));
  await provider.answer(await provider.next(), 1);
  await provider.answer(await provider.next(), 2);
  await reader.runOf(input as string);
  assert.equal(own.calls, []);

  // What one session offers is nobody else's.
  const other = await watched(bob);
  await Provider.offer(ann, { only: { effect: "pure" } }, { session });
  const listed = (await bob.ok("listTools", { session: other.session }))["items"] as Frame[];
  assert.not.ok(listed.some(({ name }) => name === "only"));
  assert.is(
    await offer(bob, { name: "only", inputSchema: { type: "array" } }, { session: other.session }),
    "ok",
  );
});

test("the actor is who sent it, whatever a frame says of itself", async () => {
  const ann = await enter("ann");
  const mal = await enter("mal", { user: { id: "ann", name: "Ann" } });
  const reader = await watched(ann);
  const { session } = reader;
  await ann.ok("grant", { session, user: "mal", role: "editor" });
  const forged = { kind: "user", id: "ann", name: "ann", verified: true };
  const claims = { actor: forged, author: forged, user: forged, sender: "ann", by: [forged], run: "run_1" };
  const provider = await Provider.offer(ann, { enquire: { effect: "pure" } }, { session });
  const { input } = await say(mal, session, script(calls(["enquire"]), { text: "so" }), claims);
  const call = await provider.next();
  const truth = { kind: "user", id: "mal", name: "mal", verified: true };
  assert.equal(call["actor"], truth, "the provider sees who asked");
  provider.result(call, { output: 1, ...claims, provider: "prv_local" });
  await reader.runOf(input as string);
  const said = script({ text: "busy", rate: 1, chunk: 1 });
  const busy = await say(ann, session, said);
  const waits = await say(ann, session, "ann's words");
  const edit = { session, input: waits["input"], content: "other words", ...claims };
  assert.is((await mal.refused("editInput", edit))["code"], "forbidden");
  assert.is(
    (await mal.refused("importEntries", { session: "ses_forged", after: 0, entries: [] }))["code"],
    "forbidden",
  );
  await mal.ok("updateSession", { session, title: "by mal", ...claims });
  const { run } = await reader.entry(
    ({ event }) => event.type === "run-started" && event.input === busy["input"],
  );
  await mal.ok("cancel", { ...claims, session, run });
  await reader.runOf(waits["input"] as string);
  const by = (type: string): (string | undefined)[] =>
    reader.entries.filter(({ entry }) => entry.event.type === type).map(({ entry }) => entry.actor?.id);
  assert.equal(by("input-queued"), ["mal", "ann", "ann"]);
  assert.equal(by("session-updated"), ["mal"]);
  assert.equal(by("cancel-requested"), ["mal"]);
  const authors = reader.state!.messages.filter(({ role }) => role === "user").map(({ author }) => author.id);
  assert.equal(authors, ["mal", "ann", "ann"]);
  assert.equal(reader.faults, []);
});

test.run();
