// limit: 180 s
/**
 * Everyone sees the same session: entries are the same bytes for every reader, live, replayed and after a restart, and
 * whoever joins in the middle of a run ends with the state and the text of those who were there from its start.
 */
import { transcodeToJson } from "../../protocol/codec.ts";
import { cut } from "../../protocol/state.ts";
import { Reader } from "../support/reader.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { Wire, type WireOptions } from "../support/wire.ts";
import { Provider, calls, newSession, say, script } from "./play.ts";

const test = suite("joining");
let server: TestServer;

test.before(async () => {
  server = await TestServer.start();
});
test.after(() => server.kill());

const connect = (options?: WireOptions): Promise<Wire> => Wire.connect(server.url, options);

const LONG = Array.from({ length: 120 }, (_, at) => `word ${at} 🦭 `).join("");
const RICH = script(
  { reasoning: "Let me think about this.", chunk: 3 },
  { text: "I ask the clock. ", chunk: 4 },
  calls(["clock"], ["roll_dice", { sides: 6, count: 2 }]),
  { text: "Done, in two steps. ", rate: 400, chunk: 2 },
);

function hex(raw: Uint8Array | string): string {
  return typeof raw === "string" ? raw : Buffer.from(raw).toString("hex");
}

function sameBytes(a: Reader, b: Reader): void {
  assert.equal(
    a.entries.map(({ raw }) => hex(raw)),
    b.entries.map(({ raw }) => hex(raw)),
  );
}

function sameState(a: Reader, b: Reader, tail: number): void {
  assert.is.not(a.state, undefined);
  assert.equal(cut(a.state!, tail), cut(b.state!, tail));
}

function noFaults(...readers: Reader[]): void {
  for (const reader of readers) assert.equal(reader.faults, []);
}

test("two clients get byte-identical entries, and a JSON client the same ones transcoded", async () => {
  const [first, second, json] = [await connect(), await connect(), await connect({ encoding: "json" })];
  const session = await newSession(first);
  const readers = [Reader.fromStart(session), Reader.fromStart(session), Reader.fromStart(session)] as const;
  const wires = [first, second, json];
  for (const [at, reader] of readers.entries()) await reader.enter(wires[at]!);
  const { input } = await say(first, session, RICH);
  for (const reader of readers) await reader.runOf(input as string);
  const [a, b, c] = readers;
  assert.ok(a.entries.length >= 12, a.types.join());
  sameBytes(a, b);
  assert.equal(
    a.entries.map(({ raw }) => transcodeToJson(raw as Uint8Array)),
    c.entries.map(({ raw }) => raw),
  );
  sameState(a, b, 200);
  sameState(a, c, 200);
  noFaults(...readers);
});

test("entries are the same bytes live, replayed from memory, and replayed after kill -9", async () => {
  const own = await TestServer.start();
  const wire = await Wire.connect(own.url);
  const session = await newSession(wire, { title: "bytes", metadata: { deep: [1, 2.5, null, "ü🦭"] } });
  const live = Reader.fromStart(session);
  await live.enter(wire);
  for (const content of [RICH, "hello", script({ text: "x".repeat(3000) })]) {
    await live.runOf((await say(wire, session, content))["input"] as string);
  }
  const replayed = Reader.fromStart(session);
  await replayed.enter(await Wire.connect(own.url));
  await own.kill();
  const again = await own.again();
  const restored = Reader.fromStart(session);
  await restored.enter(await Wire.connect(again.url));
  sameBytes(live, replayed);
  sameBytes(live, restored);
  sameState(live, restored, 200);
  noFaults(live, replayed, restored);
  await again.kill();
});

/** Readers that join now, each in its own way. */
async function join(session: string, middle: { epoch: number; seq: number }): Promise<Reader[]> {
  const readers = [
    new Reader(session),
    new Reader(session, { tail: 1 }),
    Reader.fromStart(session),
    new Reader(session, { after: middle }),
  ];
  for (const [at, reader] of readers.entries()) {
    await reader.enter(await connect({ encoding: at % 2 === 0 ? "msgpack" : "json" }));
  }
  return readers;
}

/** The joiners have ended where the one who was there has. */
function sameEnd(there: Reader, joined: readonly Reader[]): void {
  for (const reader of joined) {
    assert.equal(reader.position, there.position);
    // One that began in the middle of the log has entries, but no state to fold them into.
    if (reader.state !== undefined) sameState(there, reader, 1);
    const bytes = new Map(there.entries.map(({ entry, raw }) => [entry.seq, raw]));
    for (const { entry, raw } of reader.entries) {
      if (typeof raw !== "string") assert.is(hex(raw), hex(bytes.get(entry.seq)!));
    }
    for (const [message, text] of reader.shownAtCommit) {
      assert.is(text, there.shownAtCommit.get(message), "the text shown last");
    }
  }
  sameState(there, joined[0]!, 50);
  noFaults(there, ...joined);
}

async function begin(
  content: string,
): Promise<{ wire: Wire; session: string; there: Reader; input: string }> {
  const wire = await connect();
  const session = await newSession(wire);
  const there = Reader.fromStart(session);
  await there.enter(wire);
  await there.runOf((await say(wire, session, "earlier"))["input"] as string);
  const { input } = await say(wire, session, content);
  return { wire, session, there, input: input as string };
}

test("one that joins mid-run gets the whole text so far, then the rest, and ends with the same state", async () => {
  const { session, there, input } = await begin(
    script({ reasoning: "hm ".repeat(20), rate: 400 }, { text: LONG, rate: 250, chunk: 7 }),
  );
  const middle = there.position!;
  const shownText = (reader: Reader): string =>
    [...reader.shown.values()].map((parts) => parts.map(({ text }) => text).join("|")).join();
  const joined: Reader[] = [];
  for (const length of [1, 80, 400, 1000]) {
    await there.until(() => shownText(there).length >= length, `${length} characters`);
    const before = shownText(there);
    const arrived = await join(session, middle);
    for (const reader of arrived) {
      assert.ok(shownText(reader).startsWith(before), `${shownText(reader)} does not begin with ${before}`);
    }
    joined.push(...arrived);
  }
  await there.runOf(input);
  for (const reader of joined) await reader.entry(endOf(there));
  assert.is([...there.shownAtCommit.values()].at(-1), `${"hm ".repeat(20)}|${LONG}`);
  for (const reader of joined)
    assert.is(reader.shownAtCommit.size > 0, true, "it saw the text before it was committed");
  sameEnd(there, joined);
});

/** The newest entry that `there` has seen: the end of the run. */
function endOf(there: Reader): (entry: { seq: number }) => boolean {
  const seq = there.position!.seq;
  return (entry) => entry.seq === seq;
}

test("one that joins between two steps ends with the same state", async () => {
  const { session, there, input } = await begin(
    script({ text: "first" }, calls(["clock"]), { stall: 700 }, { text: LONG, rate: 1000 }),
  );
  await there.until(() => there.state?.run?.step === 1, "the end of step 1");
  const joined = await join(session, there.entries[2]!.entry);
  for (const reader of joined) {
    assert.is(reader.shown.size, 0, "nothing is unfinished between two steps");
    if (reader.state !== undefined) assert.is(reader.state.run?.step, 1);
  }
  await there.runOf(input);
  for (const reader of joined) await reader.entry(endOf(there));
  sameEnd(there, joined);
});

test("one that joins mid-tool sees the open call and ends with the same state", async () => {
  const provider = await Provider.offer(await connect(), { hold: { effect: "once" } });
  const { session, there, input } = await begin(
    script({ text: "calling " }, calls(["hold", { n: 1 }], ["clock"]), {
      text: "called",
      rate: 500,
      chunk: 1,
    }),
  );
  const call = await provider.next();
  provider.accept(call);
  await there.entry("tool-accepted");
  await there.entry(({ event }) => event.type === "tool-result");
  const joined = await join(session, there.entries[1]!.entry);
  for (const reader of joined) {
    if (reader.state === undefined) continue;
    assert.equal(
      reader.state.calls.map(({ tool, state }) => [tool, state]),
      [["hold", "accepted"]],
    );
  }
  provider.progress(call, { percent: 50 });
  for (const reader of joined)
    await reader.until(() => reader.trace.includes("toolProgress"), "toolProgress");
  assert.is(await provider.verdict(call, { output: { held: true } }), "stored");
  await there.runOf(input);
  for (const reader of joined) await reader.entry(endOf(there));
  sameEnd(there, joined);
  await provider.wire.close();
});

test.run();
