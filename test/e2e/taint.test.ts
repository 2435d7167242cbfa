/**
 * Nothing of one user reaches another without the right: several users with private sessions work at once, each with random
 * marks in ids, titles, texts, metadata, tool names, inputs and outputs; every byte sent to every socket is kept, and searched
 * for the marks that its user may not see. Frames of attacks, which name a session, are answered without anything else of it.
 */
import { randomBytes } from "node:crypto";
import { Reader } from "../support/reader.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { seeded, seedFromEnvironment, type Random } from "../support/wait.ts";
import { Wire, type Frame } from "../support/wire.ts";
import { newId } from "../../protocol/ids.ts";
import { calls, Provider, say, script } from "./play.ts";

const test = suite("taint");
let server: TestServer;

const USERS = ["ann", "bob", "cat", "dan"] as const;
/** Executes calls of everybody at server scope, and so sees their inputs. */
const WORKER = "worker";
const ROUNDS = 8;
const tokenOf = (user: string): string => `${user}-secret-0123456789`;

test.before(async () => {
  const tokens = [
    ...USERS.map((user) => ({ user, token: tokenOf(user) })),
    { user: WORKER, token: tokenOf(WORKER), rights: ["provide:*"] },
    { user: "stranger", token: tokenOf("stranger"), rights: [] },
  ];
  server = await TestServer.start({ config: { auth: { mode: "token", tokens } } });
});
test.after(() => server.kill());

interface Mark {
  readonly text: string;
  readonly seenBy: ReadonlySet<string>;
}

const marks: Mark[] = [];

/** A text that is nowhere else, and who may have it. */
function mark(...seenBy: string[]): string {
  const text = `mk${randomBytes(9).toString("hex")}`;
  marks.push({ text, seenBy: new Set(seenBy) });
  return text;
}

interface Socket {
  readonly user: string;
  readonly wire: Wire;
  /** Ids of requests that ask for what is not theirs. */
  readonly attacks: Set<number>;
}

const sockets: Socket[] = [];

async function enter(user: string, encoding: "msgpack" | "json" = "msgpack"): Promise<Socket> {
  const socket = {
    user,
    wire: await Wire.connect(server.url, { token: tokenOf(user), encoding }),
    attacks: new Set<number>(),
  };
  sockets.push(socket);
  return socket;
}

/** All that came on a socket, but for the answers to attacks, which repeat an id; and what its deltas come to. */
function received({ wire, attacks }: Socket): Buffer {
  const texts = new Map<string, string>();
  const pieces: (Uint8Array | string)[] = [];
  for (const { frame, raw } of wire.received) {
    if (frame["type"] === "delta") {
      const part = `${frame["channel"]}/${frame["message"]}/${frame["part"]}`;
      texts.set(part, (texts.get(part) ?? "") + frame["text"]);
    }
    const echoes = attacks.has(frame["id"] as number) || frame["verdict"] === "unknown";
    if (!echoes) pieces.push(raw);
  }
  return Buffer.concat([...pieces, ...texts.values()].map((piece) => Buffer.from(piece as string)));
}

/** A session with marks wherever its owner can put one. */
async function ownSession(owner: Socket, members: readonly string[] = []): Promise<string> {
  const { wire, user } = owner;
  const all = [user, ...members];
  // Providers of the server are told which session a call is of.
  const session = `ses_${mark(...all, WORKER)}`;
  await wire.ok("createSession", {
    agent: "demo",
    session,
    key: mark(...all),
    title: mark(...all),
    metadata: { [mark(...all)]: mark(...all) },
  });
  for (const member of members) await wire.ok("grant", { session, user: member, role: "editor" });
  return session;
}

/** Answers every call by a mark that the call's readers may see. */
function serve(provider: Provider, seenBy: (call: Frame) => string[]): void {
  provider.wire.listeners.add(({ frame }) => {
    if (frame["type"] !== "call") return;
    provider.accept(frame);
    provider.progress(frame, mark(provider.wire.welcome["user"].id, ...seenBy(frame)));
    provider.result(frame, { output: { [mark(provider.wire.welcome["user"].id, ...seenBy(frame))]: 1 } });
  });
}

/** One user's work in a session that these may read, until the run is over. */
async function converse(
  socket: Socket,
  reader: Reader,
  tool: string,
  seenBy: readonly string[],
  random: Random,
): Promise<void> {
  const { wire } = socket;
  const { session } = reader;
  const all = [...seenBy];
  const said = script(
    { text: `${mark(...all)} and ${mark(...all)}`, chunk: 1 + random.int(40) },
    { reasoning: mark(...all) },
    calls([tool, { [mark(...all)]: mark(...all) }], ["weigh", { it: mark(...all, WORKER) }], ["clock"]),
    { text: mark(...all), chunk: 1000 },
    ...(random.chance(0.2) ? [{ error: mark(...all) }] : []),
  );
  const { input } = await say(wire, session, [
    { type: "text", text: said },
    ...(random.chance(0.5) ? [{ type: "data-note", data: mark(...all) }] : []),
  ]);
  const more: (() => Promise<unknown>)[] = [
    () => wire.ok("updateSession", { session, title: mark(...all), metadata: [mark(...all)] }),
    () => wire.ok("history", { session }),
    () => wire.ok("listSessions"),
    () => wire.ok("listTools", { session }),
    () => wire.request("send", { session, key: mark(...all), content: mark(...all), mode: "reject" }),
  ];
  for (let at = 0; at < 3; at++) await random.pick(more)();
  await reader.runOf(input as string, 30_000);
  if (random.chance(0.3)) await wire.request("fork", { session });
}

/** Asks for another's session in every way, and by made-up ids; each answer has the words of one for what never was. */
async function attack({ wire, attacks }: Socket, session: string, call: Frame): Promise<void> {
  const ask = async (type: string, fields: Frame): Promise<string> => {
    const id = wire.newRequest();
    attacks.add(id);
    wire.send({ type, id, ...fields });
    const { id: _, ...answer } = await wire.frame((frame) => frame["id"] === id);
    return JSON.stringify(answer).replaceAll(fields["session"] as string, "…");
  };
  const requests: [string, Frame][] = [
    ["attach", {}],
    ["history", {}],
    ["listTools", {}],
    ["send", { key: "k", content: "in" }],
    ["fork", {}],
    ["compact", {}],
    ["cancel", { run: "run_1" }],
    ["retry", { run: "run_1", key: "k" }],
    ["updateSession", { title: "mine" }],
    ["grant", { user: "stranger", role: "owner" }],
    ["revoke", { user: "ann" }],
    ["invite", { role: "owner" }],
    ["offerTools", { tools: [{ name: "spy", inputSchema: {} }] }],
    ["close", {}],
    ["deleteSession", {}],
  ];
  for (const [type, fields] of requests) {
    const real = await ask(type, { session, ...fields });
    const none = await ask(type, { session: newId("ses"), ...fields });
    assert.is(real, none, type);
  }
  assert.is(await new Provider(wire).verdict(call, { output: "forged" }), "unknown");
}

test("no mark of one user is in the bytes sent to another", async () => {
  const random = seeded(seedFromEnvironment());
  const worker = await enter(WORKER);
  const weigher = await Provider.offer(worker.wire, { weigh: { effect: "pure" } }, { maxConcurrent: 100 });
  const readersOf = new Map<string, string[]>();
  serve(weigher, (call) => readersOf.get(call["session"] as string) ?? []);

  // Everybody has a private session; ann shares one with bob.
  const work = USERS.map(async (user, at) => {
    const draws = random.fork();
    const [first, second] = [await enter(user), await enter(user, "json")];
    const session = await ownSession(first);
    readersOf.set(session, [user]);
    const tool = mark(user);
    serve(
      await Provider.offer(
        first.wire,
        { [tool]: { effect: "pure", outputSchema: { type: "object" } } },
        { session },
      ),
      () => [user],
    );
    const readers = [Reader.fromStart(session), new Reader(session)];
    await readers[0]!.enter(first.wire);
    await readers[1]!.enter(second.wire);
    for (let round = 0; round < ROUNDS; round++)
      await converse(draws.pick([first, second]), readers[0]!, tool, [user], draws);
    for (const reader of readers) assert.equal(reader.faults, [], `${user} ${at}`);
    return {
      first,
      second,
      session,
      call: first.wire.received.find(({ frame }) => frame["type"] === "call")!.frame,
    };
  });
  const share = async (): Promise<void> => {
    const draws = random.fork();
    const [ann, bob] = [await enter("ann"), await enter("bob")];
    const session = await ownSession(ann, ["bob"]);
    readersOf.set(session, ["ann", "bob"]);
    const tool = mark("ann", "bob");
    const providers = [ann, bob].map(({ wire }) =>
      Provider.offer(wire, { [tool]: { effect: "pure" } }, { session }),
    );
    for (const provider of providers) serve(await provider, () => readersOf.get(session)!);
    const [annReads, bobReads] = [Reader.fromStart(session), Reader.fromStart(session)];
    await annReads.enter(ann.wire);
    await bobReads.enter(bob.wire);
    for (let round = 0; round < ROUNDS / 2; round++)
      await converse(draws.pick([ann, bob]), draws.pick([annReads, bobReads]), tool, ["ann", "bob"], draws);
    // From here on it is ann's alone.
    await ann.wire.ok("revoke", { session, user: "bob" });
    readersOf.set(session, ["ann"]);
    for (let round = 0; round < ROUNDS / 2; round++) await converse(ann, annReads, tool, ["ann"], draws);
    await bob.wire.frame("detached");
    await attack(bob, session, { session, call: "call_1", attempt: 1 });
    assert.equal(annReads.faults, []);
  };
  const [sharing, ...done] = await Promise.all([share(), ...work]);
  assert.is(sharing, undefined);
  const stranger = await enter("stranger");
  for (const [at, mine] of done.entries()) {
    const theirs = done[(at + 1) % done.length]!;
    await attack(mine.first, theirs.session, theirs.call);
    await attack(stranger, theirs.session, theirs.call);
    await mine.second.wire.ok("listSessions");
    await mine.second.wire.ok("listTools");
  }
  await stranger.wire.ok("listSessions");
  await stranger.wire.ok("listTools");

  // What is said in every round, and by the two calls of each.
  const conversations = (USERS.length + 1) * ROUNDS;
  assert.ok(marks.length > conversations * (7 + 2 * 2), `${marks.length} marks`);
  for (const { user } of sockets) assert.ok(sockets.some((socket) => socket.user === user));
  const leaks: string[] = [];
  let seen = 0;
  for (const socket of sockets) {
    const bytes = received(socket);
    for (const { text, seenBy } of marks) {
      if (!bytes.includes(text)) continue;
      if (seenBy.has(socket.user)) seen++;
      else leaks.push(`${socket.user} has ${text} of ${[...seenBy].join(", ")}: ${around(bytes, text)}`);
    }
  }
  assert.equal(leaks, []);
  // Those who may see them did: the search finds what is there.
  const found = new Set(
    marks.filter(({ text }) => sockets.some((socket) => received(socket).includes(text))),
  );
  assert.ok(
    found.size > marks.length * 0.9,
    `${found.size} of ${marks.length} marks came to somebody, ${seen} times`,
  );
  for (const path of ["/metrics", "/healthz", "/readyz"]) {
    const body = await (await fetch(`${server.http}${path}`)).text();
    assert.equal(
      marks.filter(({ text }) => body.includes(text)),
      [],
      path,
    );
  }
});

function around(bytes: Buffer, text: string): string {
  const at = bytes.indexOf(text);
  return bytes.subarray(Math.max(0, at - 200), at + 60).toString("latin1");
}

test.run();
