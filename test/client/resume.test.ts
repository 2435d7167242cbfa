/**
 * The client against a real server, over connections that break: nothing is lost, nothing comes twice.
 * limit: 240 s
 */
import { connect } from "../../client/index.ts";
import type { Client, ConnectOptions, SessionHandle } from "../../client/index.ts";
import { CLOSE_CODES } from "../../protocol/errors.ts";
import type { EventFrame } from "../../protocol/entries.ts";
import { startProxy } from "../support/proxy.ts";
import type { Proxy } from "../support/proxy.ts";
import { TestServer } from "../support/server.ts";
import { suite, assert } from "../support/suite.ts";
import { seeded, seedFromEnvironment, until } from "../support/wait.ts";

const test = suite("client resume");
const random = seeded(seedFromEnvironment());
let server: TestServer;
let proxy: Proxy;
const clients: Client[] = [];

test.before(async () => {
  server = await TestServer.start();
  proxy = await startProxy({ port: server.port });
});
test.after.each(() => {
  for (const client of clients.splice(0)) client.close();
  proxy.refuse(false);
  proxy.delay(0);
  proxy.flow();
});
test.after(async () => {
  await proxy.close();
  await server.stop();
});

/** Quick retries: the tests cut often. */
function client(options: Partial<ConnectOptions> = {}): Client {
  const backoff = { firstMs: 20, minMs: 5, baseMs: 20, youngCapMs: 100 };
  const made = connect({ url: proxy.url, backoff, ...options });
  clients.push(made);
  return made;
}

async function newSession(own: Client): Promise<SessionHandle> {
  const { session } = await own.createSession({ agent: "demo" });
  return own.attach(session);
}

const script = (...steps: object[]): string => JSON.stringify({ script: steps });

/** Fails unless the entries are all of a log from `first` on, each once. */
function gapless(entries: readonly EventFrame[], first = 1): void {
  assert.equal(
    entries.map((entry) => entry.seq),
    entries.map((_, index) => first + index),
  );
}

test("asks and is answered, in both encodings", async () => {
  for (const encoding of ["msgpack", "json"] as const) {
    const session = await newSession(client({ encoding }));
    const end = await session.ask("hello");
    assert.is(end.reason, "text");
    assert.match(end.text!, /hello/);
    assert.is(session.state?.messages.length, 2);
  }
});

test("streams what becomes the message", async () => {
  const session = await newSession(client());
  let text = "";
  let pieces = 0;
  for await (const event of session.stream(
    script({ text: "some words to stream ".repeat(20), rate: 200, chunk: 3 }),
  )) {
    if (event.type !== "text") continue;
    text += event.text;
    pieces++;
  }
  assert.is(text, "some words to stream ".repeat(20));
  assert.ok(pieces > 3, `${pieces} pieces`);
});

test("who attaches during a run sees the text so far, then the rest", async () => {
  const session = await newSession(client());
  const words = Array.from({ length: 100 }, (_, index) => `${index} `).join("");
  const running = session.ask(script({ text: words, rate: 100, chunk: 5 }));
  await until(() => (session.partial?.parts[0]?.text.length ?? 0) > 50, 10_000, "some text");
  const late = await client().attach(session.id);
  await until(() => late.partial !== undefined, 10_000, "the text so far");
  assert.ok(words.startsWith(late.partial!.parts[0]!.text));
  const shown = late.shown().at(-1)!;
  assert.is(shown.unfinished, true);
  await running;
  await until(() => late.state?.run === undefined, 10_000, "the end");
  assert.equal(late.state, session.state);
});

test("whatever is cut, every entry comes once and the text is whole", { limitMs: 60_000 }, async () => {
  const own = client();
  const session = await newSession(own);
  const watcher = await client().attach(session.id, { after: { epoch: 0, seq: 0 } });
  const entries: EventFrame[] = [];
  watcher.on("entry", (entry) => entries.push(entry));
  const texts = Array.from({ length: 4 }, (_, turn) => `${turn}: ${"text that is cut ".repeat(30)}`);
  let cuts = 0;
  const cutting = setInterval(() => {
    if (!random.chance(0.5)) return;
    proxy.cut();
    cuts++;
  }, 60);
  try {
    for (const text of texts) {
      let streamed = "";
      for await (const event of session.stream(script({ text, rate: 150, chunk: 7 }))) {
        if (event.type === "text") streamed += event.text;
      }
      assert.is(streamed, text);
    }
  } finally {
    clearInterval(cutting);
  }
  assert.ok(cuts > 3, `${cuts} cuts`);
  const head = (await own.attach(session.id)).position!.seq;
  await until(() => watcher.caughtUp && watcher.position!.seq >= head, 20_000, "the watcher to catch up");
  gapless(entries);
  const answers = watcher.state!.messages.filter((message) => message.role === "assistant");
  assert.equal(
    answers.map((message) => message.parts[0]),
    texts.map((text) => ({ type: "text", text })),
  );
});

test("sends during an outage arrive once each and in order", { limitMs: 60_000 }, async () => {
  const own = client();
  const session = await newSession(own);
  const sent: Promise<unknown>[] = [];
  for (let number = 0; number < 20; number++) {
    if (number % 5 === 2) proxy.cut();
    if (number === 8) proxy.refuse(true);
    sent.push(session.send(script({ text: `answer ${number}` })));
    await new Promise((resolve) => setTimeout(resolve, random.int(8)));
  }
  assert.ok(own.status.unsent > 0);
  proxy.refuse(false);
  await Promise.all(sent);
  await until(
    () => session.state!.queue.length === 0 && session.state!.run === undefined && session.caughtUp,
    30_000,
    "all answers",
  );
  const answers = session.state!.messages.filter((message) => message.role === "assistant");
  assert.equal(
    answers.map((message) => (message.parts[0] as { text: string }).text),
    Array.from({ length: 20 }, (_, number) => `answer ${number}`),
  );
});

test("two creations with one key are one session, also when the answer is lost", async () => {
  const own = client();
  await own.online();
  proxy.stallServer();
  const made = own.createSession({ agent: "demo", title: "once" });
  await new Promise((resolve) => setTimeout(resolve, 200));
  proxy.flow();
  proxy.cut();
  const { session } = await made;
  const { items } = await own.listSessions({ limit: 200 });
  assert.is(items.filter((item) => item.title === "once").length, 1);
  assert.ok(items.some((item) => item.id === session));
});

test(
  "a server that is killed and comes back continues the session, each entry once",
  { limitMs: 90_000 },
  async () => {
    const own = client();
    const session = await newSession(own);
    const entries: EventFrame[] = [];
    session.on("entry", (entry) => entries.push(entry));
    const first = session.position!.seq;
    await session.ask("before");
    const slow = session.send(script({ text: "slow ".repeat(100), rate: 50 }));
    await slow;
    await until(() => session.partial !== undefined, 10_000, "a run");
    await server.kill();
    await until(() => own.status.state === "reconnecting", 10_000, "the loss to be noticed");
    const after = session.send("after");
    server = await server.again();
    proxy.target(server.port);
    await after;
    await until(
      () => session.state?.run === undefined && session.state?.queue.length === 0 && session.caughtUp,
      60_000,
      "all runs to end",
    );
    gapless(entries, first + 1);
    assert.is(entries.filter((entry) => entry.event.type === "run-finished").length, 3);
    const fresh = await client().attach(session.id);
    assert.equal(session.state, fresh.state);
  },
);

test(
  "a server that drains sends its clients away, and they are back by themselves",
  { limitMs: 60_000 },
  async () => {
    const own = client();
    const session = await newSession(own);
    const statuses: string[] = [];
    own.on("status", ({ state }) => statuses.push(state));
    const [exit] = await Promise.all([
      server.stop(),
      until(() => own.status.state !== "online", 20_000, "the goodbye"),
    ]);
    assert.is(exit.code, 0);
    server = await server.again();
    proxy.target(server.port);
    assert.is((await session.ask("hello again", { timeoutMs: 60_000 })).reason, "text");
    assert.ok(!statuses.includes("closed"), statuses.join());
  },
);

test("a second client of the same instance takes over; the first one stays away", async () => {
  const first = client({ instance: "ins_same", user: { id: "ann" } });
  await first.online();
  const codes: number[] = [];
  first.on("frame", (frame) => frame.type === "disconnect" && codes.push(frame.code));
  const second = client({ instance: "ins_same", user: { id: "ann" } });
  await second.online();
  await until(() => first.status.state === "closed", 10_000, "the first to be closed");
  assert.equal(codes, [CLOSE_CODES.superseded]);
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.is(first.status.state, "closed");
  assert.is(second.status.state, "online");
});

test("refusals are ProtocolErrors with the server's code", async () => {
  const own = client();
  assert.is((await assert.rejects(own.attach("ses_nowhere"))).code, "not-found");
  assert.is((await assert.rejects(own.createSession({ agent: "nobody" }))).code, "not-found");
  const session = await newSession(own);
  await own.closeSession(session.id);
  assert.is((await assert.rejects(session.send("late"))).code, "closed");
  await own.deleteSession(session.id);
  await until(() => session.ended !== undefined, 10_000, "the detachment");
  assert.is(session.ended?.code, "not-found");
});

test("cancel stops the run, and the partial text stays as incomplete", async () => {
  const session = await newSession(client());
  const asking = session.ask(script({ text: "never ending ".repeat(200), rate: 50 }));
  await until(() => (session.partial?.parts[0]?.text.length ?? 0) > 20, 10_000, "some text");
  assert.is((await session.cancel()).state, "cancelling");
  assert.is((await asking).reason, "cancelled");
  assert.is(session.state?.messages.at(-1)?.incomplete, true);
  assert.is(session.partial, undefined);
});

test("a reader of events that is too slow is told, not fed holes", async () => {
  const session = await newSession(client());
  const events = session.events({ maxQueued: 3 });
  await session.ask("hello");
  const seen: EventFrame[] = [];
  const error = await assert.rejects(async () => {
    for await (const entry of events) seen.push(entry);
  });
  assert.is(error.code, "queue-full");
  assert.is(seen.length, 3);
  gapless(seen, seen[0]!.seq);
});

test("a slow line changes nothing but the time", async () => {
  proxy.delay(80);
  const session = await newSession(client());
  let text = "";
  for await (const event of session.stream(script({ text: "slowly but surely ".repeat(10), rate: 300 }))) {
    if (event.type === "text") text += event.text;
  }
  assert.is(text, "slowly but surely ".repeat(10));
});

test.run();
