/**
 * What ends with a role: every stream of the session on every socket of the user, live and in replay, its tool calls, its
 * place in lists; at once, and nothing of it comes later. The others notice nothing but the entry that says so.
 */
import { Reader } from "../support/reader.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { Wire, type Frame } from "../support/wire.ts";
import { until } from "../support/wait.ts";
import { calls, newSession, Provider, say, script } from "./play.ts";

const test = suite("revoking");
let server: TestServer;

const tokenOf = (user: string): string => `${user}-secret-0123456789`;

test.before(async () => {
  const tokens: object[] = ["ann", "bob", "eve"].map((user) => ({ user, token: tokenOf(user) }));
  tokens.push({ user: "sam", token: tokenOf("sam"), rights: ["watch", "provide:*"] });
  tokens.push({ user: "sam", token: tokenOf("less"), rights: ["provide:kept"] });
  server = await TestServer.start({ config: { auth: { mode: "token", tokens } } });
});
test.after(() => server.kill());

const enter = (user: string, options: object = {}): Promise<Wire> =>
  Wire.connect(server.url, { token: tokenOf(user), ...options });

/** Frames of the session, by their names or its channel, that came after the `detached`; it must be there once. */
function afterEnd(wire: Wire, session: string, channel: unknown): Frame[] {
  const frames = wire.received.map(({ frame }) => frame);
  const ends = frames.filter((frame) => frame["type"] === "detached");
  assert.equal(ends, [{ type: "detached", session, reason: "forbidden" }]);
  return frames
    .slice(frames.indexOf(ends[0]!) + 1)
    .filter((frame) => frame["session"] === session || frame["channel"] === channel);
}

test("a revoked user's streams stop at once on every socket, in the middle of a text, and the run goes on", async () => {
  const ann = await enter("ann");
  const session = await newSession(ann, { title: "ours" });
  const reader = Reader.fromStart(session);
  await reader.enter(ann);
  await ann.ok("grant", { session, user: "bob", role: "editor" });
  const bobs = [await enter("bob"), await enter("bob", { encoding: "json" }), await enter("bob")];
  const attached = await Promise.all(bobs.map((bob) => bob.ok("attach", { session })));
  assert.equal(
    attached.map(({ role }) => role),
    ["editor", "editor", "editor"],
  );
  const { input } = await say(bobs[0]!, session, script({ text: "word ".repeat(400), rate: 200 }));
  await Promise.all(bobs.map((bob) => bob.frame("delta")));
  await ann.ok("revoke", { session, user: "bob" });
  const run = await reader.runOf(input as string);
  assert.is((run.event as Frame)["reason"], "text", "it belongs to the server");
  // An answer on the same socket: whatever was sent before has come.
  for (const bob of bobs) {
    assert.equal((await bob.ok("listSessions"))["items"], []);
    assert.equal(afterEnd(bob, session, attached[0]!["channel"]), []);
    const seen = bob.received.filter(({ frame }) => frame["event"]?.["role"] === null);
    assert.equal(seen, [], "the entry that ends it is not for him");
    const gone = await bob.refused("attach", { session });
    const never = await bob.refused("attach", { session: "ses_never" });
    assert.equal(
      [gone["code"], gone["message"].replace(session, "…")],
      [never["code"], never["message"].replace("ses_never", "…")],
    );
    assert.is((await bob.refused("send", { session, key: "k9", content: "still me" }))["code"], "not-found");
  }
  assert.equal(reader.faults, []);
});

test("a member leaves by himself, whatever the role, and the last owner stays", async () => {
  const [ann, bob] = [await enter("ann"), await enter("bob")];
  const session = await newSession(ann);
  for (const role of ["viewer", "approver", "editor", "owner"]) {
    await ann.ok("grant", { session, user: "bob", role });
    await bob.ok("attach", { session });
    await bob.ok("revoke", { session, user: "bob" });
    await bob.frame("detached");
    assert.is((await bob.refused("revoke", { session, user: "bob" }))["code"], "not-found");
    assert.equal((await bob.ok("listSessions"))["items"], []);
  }
  await ann.ok("grant", { session, user: "bob", role: "editor" });
  assert.is((await bob.refused("revoke", { session, user: "ann" }))["code"], "forbidden");
  assert.is((await bob.refused("grant", { session, user: "bob", role: "owner" }))["code"], "forbidden");
  assert.is((await ann.refused("revoke", { session, user: "ann" }))["code"], "conflict");
});

test("a replay in progress stops, too", async () => {
  const ann = await enter("ann");
  const session = await newSession(ann);
  await ann.ok("grant", { session, user: "bob", role: "viewer" });
  const metadata = "x".repeat(700_000);
  let head = 0;
  for (let at = 0; at < 16; at++)
    head = (await ann.ok("updateSession", { session, metadata }))["seq"] as number;
  const bob = await enter("bob");
  bob.socket.pause();
  const asked = bob.request("attach", { session, after: { epoch: 0, seq: 0 } });
  // Answered on another socket: the attach, which came before, has begun.
  const other = await enter("bob");
  await other.ok("attach", { session });
  await ann.ok("revoke", { session, user: "bob" });
  await other.frame("detached");
  bob.socket.resume();
  const answer = await asked;
  await bob.ok("listAgents");
  const events = bob.received.filter(({ frame }) => frame["type"] === "event");
  assert.ok(events.length < head, `${events.length} of ${head} entries came`);
  if (answer["type"] === "ok") assert.equal(afterEnd(bob, session, answer["channel"]), []);
  else assert.is(answer["code"], "not-found");
});

for (const effect of ["pure", "once"] as const) {
  test(`a call of a session's tool leaves the provider who is revoked (${effect})`, async () => {
    const ann = await enter("ann");
    const session = await newSession(ann);
    const reader = Reader.fromStart(session);
    await reader.enter(ann);
    await ann.ok("grant", { session, user: "bob", role: "editor" });
    const bob = await enter("bob", { instance: `bobs-${effect}` });
    const provider = await Provider.offer(bob, { look: { effect } }, { session });
    const { input } = await say(ann, session, script(calls(["look"]), { text: "so" }));
    const call = await provider.next();
    provider.accept(call);
    provider.progress(call, "half");
    await ann.frame("toolProgress");
    const spare = await Provider.offer(ann, { look: { effect } }, { session });
    await ann.ok("revoke", { session, user: "bob" });
    assert.is((await provider.cancelled(call))["reason"], "forbidden");
    const from = ann.received.length;
    provider.progress(call, "more");
    assert.is(await provider.verdict(call, { output: "late" }), "unknown", "as for a call that never was");
    if (effect === "pure") await spare.answer(await spare.next(), "from ann");
    await reader.runOf(input as string);
    const { outcome, output } = (await reader.entry("tool-result")).event as Frame;
    if (effect === "pure") assert.equal([outcome, output], ["ok", "from ann"]);
    else assert.is(outcome, "outcome-unknown");
    assert.is(((await reader.entry("tool-lost")).event as Frame)["cause"], "revoked");
    const told = ann.received.slice(from).filter(({ frame }) => frame["type"] === "toolProgress");
    assert.equal(told, []);
    assert.is(
      (await bob.refused("offerTools", { session, tools: [{ name: "x", inputSchema: {} }] }))["code"],
      "not-found",
    );
    assert.equal(reader.faults, []);
  });
}

test("whoever is an editor no more loses the tools, reads on, and may not write", async () => {
  const ann = await enter("ann");
  const session = await newSession(ann);
  await ann.ok("grant", { session, user: "bob", role: "editor" });
  const bob = await enter("bob");
  const reader = Reader.fromStart(session);
  await reader.enter(bob);
  await Provider.offer(bob, { look: { effect: "pure" } }, { session });
  const listed = async (): Promise<string[]> =>
    ((await ann.ok("listTools", { session }))["items"] as Frame[])
      .filter(({ scope }) => scope === "session")
      .map(({ name }) => name as string);
  assert.equal(await listed(), ["look"]);
  await ann.ok("grant", { session, user: "bob", role: "viewer" });
  assert.equal(await listed(), []);
  assert.is((await bob.refused("send", { session, key: "k", content: "hi" }))["code"], "forbidden");
  const { input } = await say(ann, session, "hello");
  await reader.runOf(input as string);
  assert.equal(
    bob.received.filter(({ frame }) => frame["type"] === "detached"),
    [],
  );
  assert.equal(reader.faults, []);
});

test("who shows a token of fewer rights keeps no stream and no tool of the others", async () => {
  const ann = await enter("ann");
  const session = await newSession(ann);
  const mine = await newSession(await enter("eve"));
  const sam = await enter("sam");
  const { role } = await sam.ok("attach", { session });
  assert.is(role, "viewer", "who may watch reads everything");
  await (await enter("eve")).ok("grant", { session: mine, user: "sam", role: "viewer" });
  await sam.ok("attach", { session: mine });
  assert.is((await sam.refused("send", { session, key: "k", content: "hi" }))["code"], "forbidden");
  const provider = await Provider.offer(sam, { kept: { effect: "pure" }, lost: { effect: "pure" } });
  const { input } = await say(ann, session, script(calls(["lost"]), { text: "so" }));
  const call = await provider.next();
  await sam.ok("refreshToken", { token: tokenOf("less") });
  assert.is((await provider.cancelled(call))["reason"], "forbidden");
  const ends = sam.received.map(({ frame }) => frame).filter((frame) => frame["type"] === "detached");
  assert.equal(
    ends,
    [{ type: "detached", session, reason: "forbidden" }],
    "of what it is a member it reads on",
  );
  assert.is(await provider.verdict(call, { output: 1 }), "unknown");
  const names = ((await ann.ok("listTools"))["items"] as Frame[]).map(({ name }) => name);
  assert.equal([names.includes("kept"), names.includes("lost")], [true, false]);
  assert.is((await sam.refused("history", { session }))["code"], "not-found");
  const reader = Reader.fromStart(session);
  await reader.enter(ann);
  await reader.runOf(input as string, 15_000);
  assert.is(((await reader.entry("tool-result")).event as Frame)["outcome"], "unavailable");
});

test("who has a role again comes back to the same session, and misses nothing", async () => {
  const ann = await enter("ann");
  const session = await newSession(ann);
  await ann.ok("grant", { session, user: "bob", role: "viewer" });
  const bob = await enter("bob");
  const reader = Reader.fromStart(session);
  await reader.enter(bob);
  await ann.ok("revoke", { session, user: "bob" });
  await bob.frame("detached");
  await ann.ok("updateSession", { session, title: "meanwhile" });
  await ann.ok("grant", { session, user: "bob", role: "viewer" });
  const { head } = await bob.ok("attach", { session, after: reader.position! });
  await until(() => reader.position?.seq === head, 10_000, "the head");
  assert.ok(reader.types.includes("session-updated"));
  assert.equal(reader.faults, []);
});

test("lists show what one may read, at once and after a restart", async () => {
  const ann = await enter("ann");
  const session = await newSession(ann, { title: "listed" });
  const listed = async (wire: Wire): Promise<boolean> =>
    ((await wire.ok("listSessions"))["items"] as Frame[]).some(({ id }) => id === session);
  const eve = await enter("eve");
  assert.is(await listed(eve), false);
  const { token } = await ann.ok("invite", { session, role: "viewer", uses: 2 });
  assert.is((await eve.ok("join", { token }))["session"], session);
  assert.is(await listed(eve), true);
  await server.kill();
  server = await server.again();
  const again = await enter("eve");
  assert.is(await listed(again), true);
  await again.ok("attach", { session });
  assert.is((await (await enter("bob")).ok("join", { token }))["role"], "viewer");
  const owner = await enter("ann");
  const { snapshot } = await owner.ok("attach", { session });
  assert.equal(snapshot["state"]["members"], { ann: "owner", eve: "viewer", bob: "viewer" });
  assert.is(snapshot["state"]["invites"], undefined, "used up");
  await owner.ok("revoke", { session, user: "eve" });
  assert.is(await listed(again), false);
  await server.kill();
  server = await server.again();
  assert.is(await listed(await enter("eve")), false);
});

test.run();
