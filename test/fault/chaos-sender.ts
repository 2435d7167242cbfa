/**
 * One client of the chaos test: sends keyed messages, keeps every key until it is acked and repeats it after each broken
 * connection, now and then repeats an acked one, cancels a run or cuts its own socket. Owns what it was promised
 * (acks, entries it was shown); whether the log keeps it is judged by ./chaos-check.ts.
 */
import { newId } from "../../protocol/ids.ts";
import { Reader } from "../support/reader.ts";
import type { Random } from "../support/wait.ts";
import { Refused, Wire, WireOver, type Frame } from "../support/wire.ts";
import type { World } from "./chaos-world.ts";

/** A message that was given a key, and what the server said to it. */
export interface Sent {
  readonly user: string;
  readonly session: string;
  readonly key: string;
  readonly content: string;
  ack?: { readonly seq: number; readonly input: string };
  /** How often it was said. */
  times: number;
}

/** Inputs of one client that are acked and not yet answered; it sends no more beyond. */
const MAX_UNANSWERED = 6;

export class Sender {
  readonly user: string;
  readonly sent: Sent[] = [];
  readonly readers: Reader[];
  /** Runs whose cancel was acked as `cancelling`. */
  readonly cancelled: { readonly session: string; readonly run: string }[] = [];
  readonly problems: string[] = [];
  readonly counts = { repeats: 0, duplicates: 0, connections: 0, refused: 0 };
  readonly #world: World;
  readonly #random: Random;
  readonly #options: { encoding: "msgpack" | "json"; instance: string; user: { id: string } };
  #ended = 0;

  constructor(user: string, world: World, random: Random) {
    this.user = user;
    this.#world = world;
    this.#random = random;
    this.#options = {
      encoding: random.pick(["msgpack", "json"]),
      instance: newId("ins"),
      user: { id: user },
    };
    this.readers = world.sessions.map(({ id, epoch, seq }) => new Reader(id, { after: { epoch, seq } }));
  }

  /** Until the world is settled: everything that was sent is acked, and all it may see has come to an end. */
  async run(): Promise<void> {
    for (;;) {
      const wire = await this.#connect();
      if (wire === undefined) continue;
      try {
        await this.#work(wire);
        wire.cut();
        return;
      } catch (error) {
        wire.cut();
        if (!(error instanceof WireOver)) throw error;
      }
    }
  }

  async #connect(): Promise<Wire | undefined> {
    try {
      const wire = await Wire.connect(await this.#world.url(), this.#options);
      this.counts.connections++;
      return wire;
    } catch {
      await this.#world.pause();
      return undefined;
    }
  }

  async #work(wire: Wire): Promise<void> {
    const random = this.#random;
    wire.listeners.add(({ frame }) => this.#see(wire, frame));
    for (const reader of this.readers) {
      const ok = await reader.attach(wire);
      if (ok["mode"] !== "events")
        this.problems.push(`${this.user}: the position in ${reader.session} is lost`);
    }
    // What was never acked is said again, in the order of the first time.
    for (const sent of this.sent.filter(({ ack }) => ack === undefined)) await this.#say(wire, sent);
    while (!this.#world.settling) {
      if (this.#unanswered() >= MAX_UNANSWERED) {
        await this.#progress(wire);
        continue;
      }
      const fresh = Array.from({ length: 1 + random.int(3) }, () => this.#compose());
      const batch = fresh.map((sent) => this.#say(wire, sent));
      if (random.chance(0.2)) batch.push(this.#say(wire, fresh[0]!));
      if (this.#ended > 0 && random.chance(0.3)) batch.push(this.#repeat(wire));
      await Promise.all(batch);
      if (random.chance(0.04)) {
        wire.cut();
        throw new WireOver("cut by itself");
      }
    }
    for (const sent of this.sent) if (sent.ack === undefined) await this.#say(wire, sent);
    for (const reader of this.readers) {
      const own = this.sent.filter(({ session }) => session === reader.session);
      for (const { ack } of own) await reader.runOf(ack!.input, 60_000);
    }
  }

  #compose(): Sent {
    const random = this.#random;
    const sent: Sent = {
      user: this.user,
      session: random.pick(this.#world.sessions).id,
      key: newId("key"),
      content: content(random, `${this.user}/${this.sent.length}`),
      times: 0,
    };
    this.sent.push(sent);
    return sent;
  }

  async #say(wire: Wire, sent: Sent): Promise<void> {
    const { session, key, content } = sent;
    for (;;) {
      sent.times++;
      try {
        const ok = await wire.ok("send", { session, key, content }, 20_000);
        this.#acked(sent, ok);
        return;
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        this.counts.refused++;
        if (error.frame["retryable"] !== true) {
          this.problems.push(`${this.user}: ${error.message}`);
          return;
        }
        await this.#progress(wire);
      }
    }
  }

  #acked(sent: Sent, ok: Frame): void {
    const ack = { seq: ok["seq"] as number, input: ok["input"] as string };
    if (ok["duplicate"] === true) this.counts.duplicates++;
    if (ok["duplicate"] === true && sent.times === 1)
      this.problems.push(`${sent.key} is said once, and a duplicate`);
    if (sent.ack !== undefined && (sent.ack.seq !== ack.seq || sent.ack.input !== ack.input))
      this.problems.push(`${sent.key} is acked as ${JSON.stringify(sent.ack)} and ${JSON.stringify(ack)}`);
    if (sent.ack !== undefined && ok["duplicate"] !== true)
      this.problems.push(`${sent.key} is acked twice as new`);
    sent.ack ??= ack;
    this.#world.happened("ack");
  }

  /** Says again what was acked already. */
  #repeat(wire: Wire): Promise<void> {
    const acked = this.sent.filter(({ ack }) => ack !== undefined);
    this.counts.repeats++;
    return this.#say(wire, this.#random.pick(acked));
  }

  /** Waits for the end of some run, a kill, or the end of it all. */
  async #progress(wire: Wire): Promise<void> {
    const before = this.#ended;
    await wire.wait(() => this.#ended !== before || this.#world.settling || undefined, 60_000, "a run's end");
  }

  #unanswered(): number {
    const ended = this.readers.reduce((sum, { entries }) => sum + ownEnds(entries, this.user), 0);
    return this.sent.filter(({ ack }) => ack !== undefined).length - ended;
  }

  #see(wire: Wire, frame: Frame): void {
    if (frame["type"] !== "event") return;
    const event = frame["event"] as Frame;
    const type = event["type"] as string;
    this.#world.happened(type);
    if (type === "run-finished") this.#ended++;
    if (type !== "run-started" || !this.#random.chance(0.08)) return;
    const [session, run] = [frame["session"] as string, event["run"] as string];
    wire.request("cancel", { session, run }).then(
      (answer) => {
        if (answer["state"] === "cancelling") this.cancelled.push({ session, run });
      },
      () => undefined,
    );
  }
}

/** Runs that a user's inputs began and that are over. */
function ownEnds(entries: Reader["entries"], user: string): number {
  const own = new Set<string>();
  let ends = 0;
  for (const { entry } of entries) {
    if (entry.event.type === "run-started" && entry.actor?.id === user) own.add(entry.event.run);
    if (entry.event.type === "run-finished" && own.has(entry.event.run)) ends++;
  }
  return ends;
}

function content(random: Random, mark: string): string {
  const text = {
    text: `${mark} ${"said ".repeat(random.int(30))}`,
    rate: random.pick([300, 1000]),
    chunk: 6,
  };
  const tool = random.pick(["clock", "pure_echo", "once_count", "once_count"]);
  const calls = { calls: Array.from({ length: 1 + random.int(2) }, () => ({ tool, input: { mark } })) };
  const clock = { calls: [{ tool: "clock", input: {} }] };
  const items = random.pick<readonly object[]>([
    [text],
    [text],
    [tool === "clock" ? clock : calls, text],
    [text, tool === "clock" ? clock : calls, { stall: random.int(30) }, text],
  ]);
  return random.chance(0.3) ? mark : JSON.stringify({ script: items });
}
