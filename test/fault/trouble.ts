/**
 * What tests of a server on a bad disk share: clients that go on asking for changes whatever the answer, what was acked,
 * and the proof that all of it is there. Owns no fault; a test brings one.
 */
import { setTimeout as pause } from "node:timers/promises";
import { assert } from "../support/suite.ts";
import { until } from "../support/wait.ts";
import { Wire } from "../support/wire.ts";

type Frame = Record<string, unknown>;

export class Load {
  readonly wire: Wire;
  readonly http: string;
  /** By session: the title that each acked seq wrote. */
  readonly acked = new Map<string, Map<number, string>>();
  readonly refused = new Map<string, number>();
  acks = 0;
  #stopped = false;
  #writers: Promise<void>[] = [];

  private constructor(wire: Wire, http: string) {
    this.wire = wire;
    this.http = http;
  }

  static async start(http: string, sessions: number): Promise<Load> {
    const url = `${http.replace("http", "ws")}/ws`;
    const load = new Load(await Wire.connect(url), http);
    for (let at = 0; at < sessions; at++) {
      const session = `ses_${at}`;
      await load.wire.ok("createSession", { agent: "demo", session });
      load.acked.set(session, new Map());
      load.#writers.push(load.#write(session));
    }
    return load;
  }

  /** A client's life: asks, and after a refusal waits as long as it was told. Any other answer fails the test. */
  async #write(session: string): Promise<void> {
    for (let count = 0; !this.#stopped; count++) {
      const title = `${session} ${count} ${"x".repeat(count % 1000)}`;
      const answer: Frame = await this.wire.request("updateSession", { session, title }, 30_000);
      if (answer["type"] === "ok") {
        this.acks++;
        this.acked.get(session)!.set(answer["seq"] as number, title);
        continue;
      }
      const { code, retryable, retryAfterMs } = answer;
      assert.equal([code, retryable], ["unavailable", true], JSON.stringify(answer));
      assert.ok((retryAfterMs as number) > 0, JSON.stringify(answer));
      this.refused.set(session, (this.refused.get(session) ?? 0) + 1);
      await pause(Math.min(retryAfterMs as number, 100));
    }
  }

  /** Resolves when that many more changes were acked. */
  async more(acks: number, ms = 20_000): Promise<void> {
    const goal = this.acks + acks;
    await Promise.race([
      until(() => this.acks >= goal, ms, `${acks} more acks`),
      // They end only by failing.
      Promise.all(this.#writers),
    ]);
  }

  /** Resolves when every session was refused something from now on. */
  async refusals(): Promise<void> {
    const before = new Map(this.refused);
    const all = (): boolean =>
      [...this.acked.keys()].every((id) => (this.refused.get(id) ?? 0) > (before.get(id) ?? 0));
    await Promise.race([until(all, 20_000, "a refusal in each session"), Promise.all(this.#writers)]);
  }

  ready(status: number): Promise<unknown> {
    const look = async (): Promise<boolean> => (await fetch(`${this.http}/readyz`)).status === status;
    return until(look, 20_000, `readyz to say ${status}`);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#writers);
  }

  /** Reads every log from its beginning: gapless, and each acked change at its seq. */
  async check(url: string): Promise<number> {
    const wire = await Wire.connect(url);
    let checked = 0;
    for (const [session, titles] of this.acked) {
      const { head } = await wire.ok("attach", { session, after: { epoch: 0, seq: 0 } });
      const log: Frame[] = [];
      await wire.wait(
        () => {
          const all = wire.received.map(({ frame }) => frame);
          const events = all.filter((frame) => frame["type"] === "event" && frame["session"] === session);
          return events.length >= (head as number) ? log.push(...events) : undefined;
        },
        20_000,
        `the log of ${session}`,
      );
      log.forEach((entry, at) => assert.is(entry["seq"], at + 1));
      for (const [seq, title] of titles) {
        assert.is(
          (log[seq - 1]?.["event"] as Frame | undefined)?.["title"],
          title,
          `${session} ${seq} was acked and is lost`,
        );
        checked++;
      }
    }
    await wire.close();
    return checked;
  }
}
