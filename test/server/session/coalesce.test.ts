/**
 * Deltas on their way out: sent at once after a pause, together within a window, and however they are merged, dropped and
 * caught up with, every reader renders the same text. Time is the test's own; what is judged is frames.
 */
import fc from "fast-check";
import { LiveText as ShownText } from "../../../client/live.ts";
import { decodeTrusted, encodeFrame, type EncodedFrame } from "../../../protocol/codec.ts";
import type { EventFrame } from "../../../protocol/entries.ts";
import type { ServerFrame } from "../../../protocol/frames.ts";
import { scanMsgpack } from "../../../protocol/scan.ts";
import { fold } from "../../../protocol/state.ts";
import { Coalescer } from "../../../server/session/coalesce.ts";
import { Feed, feedTotals } from "../../../server/session/feed.ts";
import type { Subscriber } from "../../../server/session/subscriber.ts";
import { MemoryStore } from "../../../server/store/memory.ts";
import { closeRuntimes, finishes, says, startRuntime, TestModel, thinks } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { seedFromEnvironment } from "../../support/wait.ts";
import { TestReader } from "./reader.ts";

const test = suite("coalescing");
test.after.each(closeRuntimes);
const seed = seedFromEnvironment();

/** Windows end when the test says so. */
class Windows {
  readonly #open: (() => void)[] = [];
  readonly schedule = (_ms: number, callback: () => void): void => void this.#open.push(callback);

  get open(): number {
    return this.#open.length;
  }

  end(): void {
    for (const callback of this.#open.splice(0)) callback();
  }
}

function coalescer(windowMs = 50): { sent: string[]; windows: Windows; it: Coalescer } {
  const sent: string[] = [];
  const windows = new Windows();
  const it = new Coalescer(
    windowMs,
    (message, { part, offset, text }) => sent.push(`${message}.${part}@${offset} ${text}`),
    windows.schedule,
  );
  return { sent, windows, it };
}

test("the first piece is sent at once, those of a window together at its end, and after a pause at once again", () => {
  const { sent, windows, it } = coalescer();
  ["a", "b", "c"].forEach((text, offset) => it.add("m", { part: 0, offset, text }));
  assert.equal(sent, ["m.0@0 a"]);
  windows.end();
  assert.equal(sent, ["m.0@0 a", "m.0@1 bc"]);
  it.add("m", { part: 0, offset: 3, text: "d" });
  assert.is(sent.length, 2, "what was sent at the end of a window begins another");
  windows.end();
  windows.end();
  assert.is(windows.open, 0, "nothing is scheduled while nothing comes");
  it.add("m", { part: 0, offset: 4, text: "e" });
  assert.equal(sent, ["m.0@0 a", "m.0@1 bc", "m.0@3 d", "m.0@4 e"]);
});

test("parts that are written side by side are merged each for itself", () => {
  const { sent, windows, it } = coalescer();
  for (let at = 0; at < 3; at++) for (const part of [0, 1]) it.add("m", { part, offset: at, text: `${at}` });
  windows.end();
  assert.equal(sent, ["m.0@0 0", "m.1@0 012", "m.0@1 12"]);
});

test("what waits goes before another message, and when it is asked for", () => {
  const { sent, it } = coalescer();
  it.add("m", { part: 0, offset: 0, text: "a" });
  it.add("m", { part: 0, offset: 1, text: "b" });
  it.add("n", { part: 0, offset: 0, text: "c" });
  it.flush();
  it.flush();
  assert.equal(sent, ["m.0@0 a", "m.0@1 b", "n.0@0 c"]);
});

test("a window of 0 ms sends every piece as it comes", () => {
  const { sent, windows, it } = coalescer(0);
  for (let at = 0; at < 3; at++) it.add("m", { part: 0, offset: at, text: "x" });
  assert.equal([sent.length, windows.open], [3, 0]);
});

test("a part begins only after the text that came before it", async () => {
  const runtime = await startRuntime({
    model: new TestModel([
      ...["so ", "much ", "thought"].map((text) => thinks(text)),
      says("well"),
      finishes(),
    ]),
  });
  const session = await runtime.session();
  const reader = new TestReader();
  await reader.attach(runtime, session);
  await runtime.run(session, "hello");
  const streamed = reader.frames.flatMap((frame) =>
    frame.type === "part"
      ? [`part ${frame.part}`]
      : frame.type === "delta"
        ? [`${frame.part}: ${frame.text}`]
        : [],
  );
  assert.equal(streamed, ["part 0", "0: so ", "0: much thought", "part 1", "1: well"]);
});

const LAG = 6;
const ROOM = 2;

/** A connection that is as slow as the test wants, with a client behind it that follows the wire's rule. */
class SlowReader implements Subscriber {
  readonly gone = false;
  readonly shown = new ShownText();
  seq: number | undefined;
  #queue: EncodedFrame[] = [];
  #wake: (() => void)[] = [];

  get lagging(): boolean {
    return this.#queue.length > LAG;
  }

  deliver(frame: EncodedFrame): void {
    this.#queue.push(frame);
  }

  drop(channel: number): void {
    this.#queue = this.#queue.filter((frame) => frame.channel !== channel);
  }

  room(): Promise<void> | undefined {
    return this.#queue.length <= ROOM ? undefined : new Promise((resolve) => this.#wake.push(resolve));
  }

  mayRead(): boolean {
    return true;
  }

  /** Reads so many frames of what waits. */
  read(count: number): void {
    for (const { bytes } of this.#queue.splice(0, count)) {
      for (let at = 0; at < bytes.length;) {
        const end = scanMsgpack(bytes, at);
        this.#take(decodeTrusted(bytes.subarray(at, end)) as ServerFrame);
        at = end;
      }
    }
    if (this.#queue.length <= ROOM) for (const wake of this.#wake.splice(0)) wake();
  }

  get waiting(): number {
    return this.#queue.length;
  }

  #take(frame: ServerFrame): void {
    if (frame.type === "live") this.shown.live(frame.partial);
    else if (frame.type === "part") this.shown.part(frame, "run");
    else if (frame.type === "delta") this.shown.delta(frame);
    else if (frame.type === "event") {
      assert.is(frame.seq, this.seq! + 1, "every entry once, in order");
      this.seq = frame.seq;
      if (frame.event.type === "message") this.shown.committed(frame.event.message.id);
    }
  }
}

/** A session that streams and commits as the test says. */
class Speaker {
  readonly windows = new Windows();
  readonly totals = feedTotals();
  readonly feed: Feed;
  #message = 0;
  #parts = 0;

  constructor() {
    const event = { type: "session-created", agent: "demo", owner: "ann" } as const;
    const first: EventFrame = { type: "event", session: "s", epoch: 1, seq: 1, at: 1, event };
    this.feed = new Feed(
      "s",
      fold(undefined, first),
      {
        store: new MemoryStore(),
        presence: { enter: () => {}, leave: () => {}, tell: () => {} },
        onFault: (error) => assert.unreachable(String(error)),
        totals: this.totals,
      },
      { schedule: this.windows.schedule },
    );
  }

  say(part: number, text: string): void {
    const message = `m${this.#message}`;
    if (part >= this.#parts) this.feed.begin("run", message, { part: (part = this.#parts++), kind: "text" });
    this.feed.say(message, part, text);
  }

  commit(): void {
    const { state } = this.feed;
    const author = { kind: "agent", id: "demo", name: "demo", verified: true } as const;
    const message = { id: `m${this.#message++}`, role: "assistant" as const, author, parts: [] };
    this.#parts = 0;
    const entry: EventFrame = {
      type: "event",
      session: "s",
      epoch: 1,
      seq: state.seq + 1,
      at: 1,
      event: { type: "message", message },
    };
    this.feed.publish([{ entry, bytes: encodeFrame(entry) }], fold(state, entry));
  }

  get text(): string[] {
    return (this.feed.live.partial?.parts ?? []).map((part) => part.text);
  }
}

const act = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({ say: fc.string({ unit: "grapheme", minLength: 1 }), part: fc.nat(2) }),
  },
  { weight: 3, arbitrary: fc.constant("window" as const) },
  { weight: 1, arbitrary: fc.constant("commit" as const) },
  { weight: 1, arbitrary: fc.constant("join" as const) },
  { weight: 4, arbitrary: fc.record({ read: fc.nat(9), reader: fc.nat(3) }) },
);

test("any merging, dropping and catching up of deltas renders the same text", async () => {
  let lagged = 0;
  let merged = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(act, { minLength: 20, maxLength: 120 }), async (acts) => {
      const speaker = new Speaker();
      const readers: SlowReader[] = [];
      const join = (): Promise<void> => {
        const reader = new SlowReader();
        readers.push(reader);
        return speaker.feed.attach(reader, {}, ({ head }) => (reader.seq = head));
      };
      await join();
      for (const each of acts) {
        if (each === "window") speaker.windows.end();
        else if (each === "commit") speaker.commit();
        else if (each === "join") await join();
        else if ("say" in each) speaker.say(each.part, each.say);
        else readers[each.reader % readers.length]!.read(each.read);
        // Whoever waits for room goes on in between.
        await Promise.resolve();
      }
      speaker.windows.end();
      do {
        for (const reader of readers) reader.read(Infinity);
        await new Promise(setImmediate);
      } while (readers.some((reader) => reader.waiting > 0));
      for (const reader of readers) {
        assert.is(reader.seq, speaker.feed.state.seq);
        assert.equal(
          (reader.shown.partial?.parts ?? []).map((part) => part.text),
          speaker.text,
        );
      }
      lagged += speaker.totals.lagged;
      merged += speaker.totals.pieces - speaker.totals.deltas;
    }),
    { seed, numRuns: 300 },
  );
  assert.ok(lagged > 50, `${lagged} times a reader lagged`);
  assert.ok(merged > 500, `${merged} pieces were merged`);
});

test.run();
