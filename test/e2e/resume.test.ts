// limit: 240 s
/**
 * Gapless, ordered, exactly once: readers that are cut at random, and that resume in every awkward way, end with every
 * entry once, the same bytes and the same state as one that was never cut, and never show a character twice.
 * A property test over seeds: the choices are the seed's, the moments in which they fall are the machine's.
 */
import { fold, cut } from "../../protocol/state.ts";
import type { SessionState } from "../../protocol/frames.ts";
import { startProxy, type Proxy } from "../support/proxy.ts";
import { Reader } from "../support/reader.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { seedFromEnvironment, seeded, type Random } from "../support/wait.ts";
import { Wire, WireOver, type Frame } from "../support/wire.ts";
import { calls, newSession, say, script } from "./play.ts";

const SESSIONS = 6;
const READERS = 4;
const CUTS = 12;

const test = suite("cut and resume");
let server: TestServer;

test.before(async () => {
  server = await TestServer.start();
});
test.after(() => server.kill());

type Kind =
  | "after frames"
  | "after bytes"
  | "before the answer"
  | "in replay"
  | "nothing new"
  | "half-open"
  | "superseded";
const KINDS: readonly Kind[] = [
  "after frames",
  "after bytes",
  "before the answer",
  "in replay",
  "nothing new",
  "half-open",
  "superseded",
];

/** A session that something always happens in, and a reader of it that is never cut. */
class Busy {
  readonly session: string;
  readonly reference: Reader;
  readonly #wire: Wire;
  readonly #random: Random;
  #stopped = false;
  readonly done: Promise<void>;

  private constructor(session: string, wire: Wire, reference: Reader, random: Random) {
    this.session = session;
    this.reference = reference;
    this.#wire = wire;
    this.#random = random;
    this.done = this.#work();
  }

  static async begin(random: Random): Promise<{ busy: Busy; created: Frame }> {
    const wire = await Wire.connect(server.url);
    const created = await wire.ok("createSession", { agent: "demo" });
    const session = created["session"] as string;
    const reference = Reader.fromStart(session);
    await reference.enter(wire);
    return { busy: new Busy(session, wire, reference, random), created };
  }

  /** Stops after the run that is open, and waits for it. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.done;
  }

  async #work(): Promise<void> {
    while (!this.#stopped) {
      const { input } = await say(this.#wire, this.session, this.#content());
      await this.reference.runOf(input as string);
    }
  }

  #content(): string {
    const random = this.#random;
    const text = (): object => ({
      text: Array.from(
        { length: 5 + random.int(60) },
        (_, at) => `${at}:${random.pick(["ab", "🦭", "ü ", "\n"])}`,
      ).join(""),
      chunk: 1 + random.int(12),
      rate: random.pick([200, 500, 1000]),
    });
    return random.pick([
      () => "just words",
      () => script(text()),
      () => script({ reasoning: "why ".repeat(random.int(20) + 1), rate: 500 }, text()),
      () => script(text(), calls(["clock"], ["roll_dice", { sides: 20 }]), text(), calls(["clock"]), text()),
      () => script(text(), { error: "broken" }),
    ])();
  }
}

/** A reader that is cut again and again. */
class Flaky {
  readonly reader: Reader;
  readonly counts = new Map<string, number>();
  readonly #busy: Busy;
  readonly #proxy: Proxy;
  readonly #random: Random;
  readonly #options: { encoding: "msgpack" | "json"; instance: string };
  #wire: Wire | undefined;

  constructor(reader: Reader, busy: Busy, proxy: Proxy, random: Random) {
    this.reader = reader;
    this.#busy = busy;
    this.#proxy = proxy;
    this.#random = random;
    this.#options = { encoding: random.pick(["msgpack", "json"]), instance: `ins_${random.int(2 ** 32)}` };
  }

  /** One connection and its end. */
  async live(kind: Kind): Promise<void> {
    const random = this.#random;
    const { reader } = this;
    const before = reader.position;
    this.#proxy.cutAfter(kind === "after bytes" ? 200 + random.int(3000) : undefined);
    if (kind === "in replay") {
      const goal = (reader.position?.seq ?? 0) + 6;
      await this.#busy.reference.until(
        () => this.#busy.reference.position!.seq >= goal,
        `entry ${goal}`,
        20_000,
      );
    }
    try {
      const wire = await this.#connect();
      if (kind === "before the answer") {
        const attached = reader.attach(wire);
        if (random.chance(0.5)) await new Promise(setImmediate);
        wire.cut();
        await attached;
      } else if (kind === "in replay") {
        this.#cutAfter(wire, 1 + random.int(5), "event");
        await reader.enter(wire);
      } else if (kind === "nothing new") {
        await reader.attach(wire);
        wire.cut();
      } else if (kind === "after frames") {
        this.#cutAfter(wire, 1 + random.int(60));
        await reader.attach(wire);
        await wire.closed;
      } else {
        await reader.enter(wire);
        const frames = 1 + random.int(20);
        await reader.until(() => reader.trace.length > frames, `${frames} frames`);
      }
    } catch (error) {
      if (!(error instanceof WireOver)) throw error;
    }
    this.#leave(kind);
    this.#count(kind);
    if (reader.position?.seq === before?.seq) this.#count("no new entry");
    if (!reader.live && reader.trace.includes("event")) this.#count("cut inside a replay");
  }

  /** Catches up with a log that does not grow any more. */
  async finish(head: number): Promise<void> {
    this.#proxy.cutAfter(undefined);
    await this.reader.enter(await this.#connect());
    await this.reader.until(() => this.reader.position?.seq === head, `entry ${head}`);
  }

  #connect(): Promise<Wire> {
    return Wire.connect(this.#proxy.url, this.#options).then((wire) => (this.#wire = wire));
  }

  #cutAfter(wire: Wire, frames: number, type?: string): void {
    let left = frames;
    wire.listeners.add(({ frame }) => {
      if (type !== undefined && frame["type"] !== type) return;
      if (--left === 0) wire.cut();
    });
  }

  /** The old connection's end, or, before it is noticed, the next one's beginning. */
  #leave(kind: Kind): void {
    const wire = this.#wire;
    if (kind === "half-open") this.#proxy.halfOpen();
    else if (kind !== "superseded") wire?.cut();
    else
      void wire?.closed.then(({ code }) => {
        if (code === 4510) this.#count("closed with 4510");
      });
  }

  #count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }
}

/** How a reader begins: with every entry, with a snapshot, or with the position of createSession's answer. */
function beginning(session: string, created: Frame, at: number, random: Random): Reader {
  const { epoch, seq } = created as { epoch: number; seq: number };
  if (at === 0) return Reader.fromStart(session);
  if (at === 1) return new Reader(session, { tail: random.int(6) });
  if (at === 2) return new Reader(session, { tail: 200 });
  return new Reader(session, { after: { epoch, seq } });
}

function foldOf(reader: Reader): SessionState {
  let state: SessionState | undefined;
  for (const { entry } of reader.entries) state = fold(state, entry);
  return state!;
}

test(
  `${SESSIONS * READERS * CUTS} random cuts and resumes show every entry once, in order, and no text twice`,
  { limitMs: 180_000 },
  async () => {
    const random = seeded(seedFromEnvironment());
    const counts = new Map<string, number>();
    let entries = 0;
    const oneSession = async (number: number): Promise<void> => {
      const { busy, created } = await Busy.begin(random.fork());
      const oneReader = async (at: number): Promise<void> => {
        const own = random.fork();
        const proxy = await startProxy({ port: server.port });
        const flaky = new Flaky(beginning(busy.session, created, at, own), busy, proxy, own);
        for (let cycle = 0; cycle < CUTS; cycle++) {
          await flaky.live(KINDS[(number + at + cycle) % KINDS.length]!);
        }
        ready();
        await busy.done;
        const { reference } = busy;
        await flaky.finish(reference.position!.seq);
        check(flaky.reader, reference);
        await proxy.close();
        for (const [what, times] of flaky.counts) counts.set(what, (counts.get(what) ?? 0) + times);
      };
      let left = READERS;
      const ready = (): void => {
        if (--left === 0) void busy.stop();
      };
      await Promise.all([busy.done, ...Array.from({ length: READERS }, (_, at) => oneReader(at))]);
      entries += busy.reference.position!.seq;
    };
    await Promise.all(Array.from({ length: SESSIONS }, (_, number) => oneSession(number)));
    console.log(`${entries} entries; ${[...counts].map(([what, times]) => `${what}: ${times}`).join(", ")}`);
    const total = KINDS.reduce((sum, kind) => sum + (counts.get(kind) ?? 0), 0);
    assert.ok(total >= 200, `${total} cuts`);
    for (const kind of [...KINDS, "no new entry", "cut inside a replay", "closed with 4510"]) {
      assert.ok((counts.get(kind) ?? 0) >= 10, `${kind} came to pass ${counts.get(kind)} times`);
    }
  },
);

function check(reader: Reader, reference: Reader): void {
  assert.equal(reader.faults, []);
  assert.equal(reference.faults, []);
  assert.equal(reader.position, reference.position);
  assert.ok(reader.snapshots <= 1, `${reader.snapshots} snapshots: a position was not valid`);
  const first = reference.position!.seq - reader.entries.length + 1;
  assert.equal(
    reader.entries.map(({ entry }) => entry.seq),
    Array.from({ length: reader.entries.length }, (_, at) => first + at),
  );
  const all = foldOf(reference);
  assert.equal(reference.state, all);
  for (const { entry, raw } of reader.entries) {
    const other = reference.entries[entry.seq - 1]!;
    if (typeof raw === "string") assert.equal(entry, other.entry);
    else assert.is(Buffer.compare(raw, other.raw as Uint8Array), 0);
  }
  if (reader.state === undefined) return;
  // A snapshot has the messages that there were; what came since is beside them.
  const tail = reader.snapshots === 0 ? 200 : Math.min(200, reader.state.messages.length);
  assert.equal(cut(reader.state, tail), cut(all, tail));
}

test("a reader that has seen no entry resumes at position 0 and misses nothing", async () => {
  const writer = await Wire.connect(server.url);
  const session = await newSession(writer);
  const reader = Reader.fromStart(session);
  for (let cycle = 0; cycle < 3; cycle++) {
    const wire = await Wire.connect(server.url);
    // The answer comes, and the connection ends before the first entry is read.
    wire.listeners.add(({ frame }) => frame["type"] === "ok" && wire.cut());
    await reader.attach(wire).catch(() => undefined);
    assert.equal(reader.position, { epoch: 0, seq: 0 });
  }
  const { input } = await say(writer, session, "hello");
  await reader.enter(writer);
  await reader.runOf(input as string);
  assert.equal(reader.faults, []);
  assert.is(reader.entries[0]!.entry.seq, 1);
  assert.is(reader.snapshots, 0);
});

test(
  "a replay that the server is in the middle of is cut, and superseded, and resumed where it was",
  { limitMs: 60_000 },
  async () => {
    const writer = await Wire.connect(server.url);
    const session = await newSession(writer);
    const reference = Reader.fromStart(session);
    await reference.enter(writer);
    // Far more than sockets hold on their way: 8 MiB, in memory only in part.
    for (let sent = 0; sent < 100; sent++) {
      const { input } = await say(writer, session, `${sent} `.repeat(14_000));
      await reference.runOf(input as string);
    }
    const proxy = await startProxy({ port: server.port });
    const reader = Reader.fromStart(session);
    const instance = "ins_replay";
    for (const goal of [20, 120, 220]) {
      const wire = await Wire.connect(proxy.url, { instance });
      await reader.attach(wire);
      await reader.until(() => reader.position!.seq >= goal, `entry ${goal}`);
      assert.not.ok(reader.live, "the replay is not over");
      if (goal === 120) proxy.halfOpen();
      else wire.cut();
    }
    const late = await Wire.connect(server.url, { instance });
    await reader.enter(late);
    assert.equal(reader.faults, []);
    assert.equal(reader.position, reference.position);
    assert.equal(reader.state, foldOf(reference));
    assert.equal(
      reader.entries.map(({ entry }) => entry.seq),
      Array.from({ length: reference.position!.seq }, (_, at) => at + 1),
    );
    await proxy.close();
  },
);

test("a position that the log does not have is answered by a snapshot", async () => {
  const wire = await Wire.connect(server.url);
  const session = await newSession(wire);
  const reference = Reader.fromStart(session);
  await reference.enter(wire);
  await reference.runOf((await say(wire, session, "hello"))["input"] as string);
  const { epoch, seq } = reference.position!;
  for (const after of [
    { epoch, seq: seq + 1 },
    { epoch: epoch - 1, seq },
    { epoch: epoch + 1, seq: 2 },
  ]) {
    const reader = new Reader(session, { after });
    await reader.enter(await Wire.connect(server.url));
    assert.is(reader.snapshots, 1);
    assert.equal(reader.state, reference.state);
    assert.equal(reader.faults, []);
  }
});

test.run();
