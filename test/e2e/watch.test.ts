// limit: 300 s
/**
 * The feed over all sessions and the list of what waits for an answer, over real sockets: who is told of what, as filters and
 * rights say, and that nobody learns of a session that they may not read.
 */
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { Wire, type Frame } from "../support/wire.ts";
import { calls, newSession, say, script } from "./play.ts";

const test = suite("watching");
let server: TestServer;

const USERS: Readonly<Record<string, readonly string[]>> = {
  ada: ["create:*"],
  bob: ["create:*"],
  eve: ["create:*"],
  boss: ["watch"],
  root: ["admin"],
};
const tokenOf = (user: string): string => `${user}-secret-0123456789`;
const QUESTION = { questions: [{ id: "q", text: "Now?", kind: "text" }] };
/** Requests of one connection that are unanswered together. */
const AT_ONCE = 20;
const ASKS = script(calls(["ask", QUESTION]), { text: "thanks" });

test.before(async () => {
  const tokens = Object.entries(USERS).map(([user, rights]) => ({ user, rights, token: tokenOf(user) }));
  tokens.push({ user: "boss", rights: ["create:*"], token: "boss-lesser-0123456789" });
  const agents = [{ name: "demo", tools: ["ask"] }, { name: "other" }];
  server = await TestServer.start({ config: { auth: { mode: "token", tokens }, agents } });
});
test.after(() => server.kill());

const enter = (user: string): Promise<Wire> => Wire.connect(server.url, { token: tokenOf(user) });

async function watching(user: string, fields: Frame): Promise<Wire> {
  const wire = await enter(user);
  await wire.ok("watch", fields);
  return wire;
}

/** Of this session, once it says so. */
const told = (wire: Wire, session: string, match: (frame: Frame) => boolean = () => true): Promise<Frame> =>
  wire.frame((frame) => frame["type"] === "sessionChanged" && frame["session"] === session && match(frame));
const asked = (wire: Wire, session: string, match: (frame: Frame) => boolean = () => true): Promise<Frame> =>
  wire.frame((frame) => frame["type"] === "requestChanged" && frame["session"] === session && match(frame));
const sessionsTold = (wire: Wire): Set<string> =>
  new Set(
    wire.received.flatMap(({ frame }) =>
      ["sessionChanged", "requestChanged"].includes(frame["type"]) ? [frame["session"] as string] : [],
    ),
  );

test("a watcher is told of sessions as they begin, change, close and go", async () => {
  const ada = await enter("ada");
  const watcher = await watching("ada", { sessions: {}, requests: true });
  const session = await newSession(ada, { title: "Seals" });
  const { info } = await told(watcher, session);
  assert.equal([info.title, info.state, info.queued, info.requests], ["Seals", "idle", 0, 0]);
  await ada.ok("updateSession", { session, title: "Walruses" });
  await told(watcher, session, (frame) => frame["info"]?.title === "Walruses");
  await say(ada, session, ASKS);
  await told(watcher, session, (frame) => frame["info"]?.state === "waiting" && frame["info"].requests === 1);
  await ada.ok("close", { session });
  await told(watcher, session, (frame) => frame["info"]?.state === "closed" && frame["info"].requests === 0);
  await ada.ok("deleteSession", { session });
  assert.equal(await told(watcher, session, (frame) => frame["info"] === undefined), {
    type: "sessionChanged",
    session,
  });
});

test("a filter holds for lists and watches alike, and a session that leaves it is gone", async () => {
  const ada = await enter("ada");
  const filter = { agent: "demo", labels: { team: "north" }, text: "SEAL" };
  const watcher = await watching("ada", { sessions: filter });
  const metadata = { team: "north" };
  const wrong = [
    await newSession(ada, { title: "seals", metadata: { team: "south" } }),
    await newSession(ada, { title: "seals", metadata: ["team"] }),
    await newSession(ada, { title: "otters", metadata }),
    await newSession(ada, { title: "seals", metadata, agent: "other" }),
  ];
  const right = await newSession(ada, { title: "Two seals", metadata });
  await told(watcher, right);
  assert.equal([...sessionsTold(watcher)], [right]);
  const { items } = await ada.ok("listSessions", filter);
  assert.equal(
    (items as Frame[]).map(({ id }) => id as string),
    [right],
  );
  await ada.ok("updateSession", { session: wrong[2]!, title: "Sealed" });
  await told(watcher, wrong[2]!, (frame) => frame["info"] !== undefined);
  await ada.ok("updateSession", { session: right, title: "Otters" });
  await told(watcher, right, (frame) => frame["info"] === undefined);
});

test(
  "of 1000 sessions a watcher is told of the half that it may read, and receives nothing of the other",
  { limitMs: 60_000 },
  async () => {
    const [ada, eve] = [await enter("ada"), await enter("eve")];
    const watcher = await watching("bob", { sessions: {}, requests: true });
    const boss = await watching("boss", { sessions: {}, requests: true });
    const mine = new Set<string>();
    const others = new Set<string>();
    const make = async (number: number): Promise<void> => {
      const isMine = number % 2 === 0;
      const owner = isMine ? ada : eve;
      const session = await newSession(owner, { title: "seals" });
      if (isMine) await ada.ok("grant", { session, user: "bob", role: "editor" });
      (isMine ? mine : others).add(session);
      if (number % 50 < 2) await say(owner, session, ASKS);
    };
    for (let from = 0; from < 1000; from += AT_ONCE)
      await Promise.all(Array.from({ length: AT_ONCE }, (_, at) => make(from + at)));
    const asking = new Set<string>();
    const isAsking = (frame: Frame): boolean => {
      if (frame["type"] === "sessionChanged" && frame["info"]?.requests === 1) asking.add(frame["session"]);
      return asking.size === 40;
    };
    await boss.frame(isAsking, { ms: 30_000, what: "40 sessions that ask" });
    const shared = [...mine].at(-1)!;
    await ada.ok("updateSession", { session: shared, title: "the end" });
    await told(watcher, shared, (frame) => frame["info"]?.title === "the end");
    assert.equal(sessionsTold(watcher), mine);
    const received = JSON.stringify(watcher.received.map(({ frame }) => frame));
    assert.equal(
      [...others].filter((session) => received.includes(session)),
      [],
    );
    assert.is(sessionsTold(boss).size, 1000);
  },
);

test("who is removed is told that the session is gone, and nothing more of it", async () => {
  const ada = await enter("ada");
  const watcher = await watching("bob", { sessions: {}, requests: true });
  const session = await newSession(ada);
  await ada.ok("grant", { session, user: "bob", role: "editor" });
  await told(watcher, session, (frame) => frame["info"] !== undefined);
  await say(ada, session, ASKS);
  await asked(watcher, session, (frame) => frame["open"] !== undefined);
  await ada.ok("revoke", { session, user: "bob" });
  await told(watcher, session, (frame) => frame["info"] === undefined);
  const { items } = await watcher.ok("listRequests");
  assert.equal(
    (items as Frame[]).filter((item) => item["session"] === session),
    [],
  );
  await ada.ok("updateSession", { session, title: "secret" });
  await ada.ok("close", { session });
  const other = await newSession(await enter("bob"));
  await told(watcher, other);
  const of = watcher.received.filter(({ frame }) => frame["session"] === session).map(({ frame }) => frame);
  assert.equal(of.slice(-2), [
    { type: "sessionChanged", session },
    { type: "requestChanged", session, request: of.at(-1)!["request"] },
  ]);
});

test("what waits for an answer is listed for those who may give it, and for nobody else", async () => {
  const ada = await enter("ada");
  const [approver, editor, viewer] = [await enter("bob"), await enter("eve"), await enter("boss")];
  await approver.ok("watch", { requests: true });
  const session = await newSession(ada, { title: "Ask" });
  await ada.ok("grant", { session, user: "bob", role: "approver" });
  await ada.ok("grant", { session, user: "eve", role: "viewer" });
  await say(ada, session, ASKS);
  const { open } = await asked(approver, session);
  assert.equal(
    { ...open, request: undefined },
    {
      session,
      agent: "demo",
      owner: "ada",
      title: "Ask",
      requester: { kind: "user", id: "ada", name: "ada", verified: true },
      request: undefined,
    },
  );
  assert.equal([open.request.kind, open.request.subject], ["question", QUESTION]);
  const listed = async (wire: Wire): Promise<unknown[]> =>
    ((await wire.ok("listRequests"))["items"] as Frame[]).filter((item) => item["session"] === session);
  assert.equal(await listed(approver), [open]);
  assert.equal(await listed(ada), [open]);
  assert.equal(await listed(await enter("root")), [open]);
  assert.equal([await listed(editor), await listed(viewer)], [[], []]);
  const { request } = open.request as { request: string };
  await approver.ok("answer", { session, request, answers: { q: "yes" } });
  assert.equal(await asked(approver, session, (frame) => frame["open"] === undefined), {
    type: "requestChanged",
    session,
    request,
    decision: "approve",
  });
  assert.equal([await listed(approver), await listed(ada)], [[], []]);
});

test("pages of what waits follow each other without loss or repeat, also after a restart", async () => {
  const ada = await enter("ada");
  const expected: string[] = [];
  for (let number = 0; number < 4; number++) {
    const session = await newSession(ada);
    const watcher = await watching("ada", { requests: true });
    await say(ada, session, script(calls(["ask", QUESTION], ["ask", QUESTION]), { text: "thanks" }));
    const seen = new Set<string>();
    await asked(watcher, session, (frame) => (seen.add(frame["request"] as string), seen.size === 2));
    expected.push(...[...seen].map((request) => `${session} ${request}`));
    watcher.cut();
  }
  const listed = async (wire: Wire, limit: number): Promise<string[]> => {
    const found: string[] = [];
    for (let cursor: string | undefined; ;) {
      const page = await wire.ok("listRequests", { limit, ...(cursor === undefined ? {} : { cursor }) });
      assert.ok(page["items"].length <= limit);
      found.push(
        ...(page["items"] as Frame[]).map(({ session, request }) => `${session} ${request.request}`),
      );
      ({ cursor } = page as { cursor?: string });
      if (cursor === undefined) return found.filter((item) => expected.includes(item));
    }
  };
  for (const limit of [1, 3, 200]) assert.equal(await listed(ada, limit), expected.toSorted());
  await server.kill();
  server = await server.again();
  assert.equal(await listed(await enter("ada"), 3), expected.toSorted());
  const refused = await (await enter("ada")).request("listRequests", { cursor: "?" });
  assert.is(refused["code"], "bad-frame");
});

test("a second watch takes the first one's place, and unwatch ends it", async () => {
  const ada = await enter("ada");
  const watcher = await watching("ada", { sessions: { text: "one" } });
  await watcher.ok("watch", { sessions: { text: "two" } });
  await newSession(ada, { title: "one" });
  const two = await newSession(ada, { title: "two" });
  await told(watcher, two);
  await watcher.ok("unwatch");
  const after = await watching("ada", { sessions: {} });
  await told(after, await newSession(ada, { title: "two" }));
  assert.equal([...sessionsTold(watcher)], [two]);
});

test("a watch ends, and says so, when the rights of who watches change", async () => {
  const boss = await watching("boss", { sessions: {} });
  await boss.ok("refreshToken", { token: "boss-lesser-0123456789" });
  assert.equal(await boss.frame("watchEnded"), { type: "watchEnded", reason: "rights" });
  const ada = await enter("ada");
  const after = await watching("ada", { sessions: {} });
  const session = await newSession(ada);
  await told(after, session);
  assert.equal(sessionsTold(boss).has(session), false);
});

test.run();
