/**
 * The people of the tools chaos: one client with many sessions, whose messages are scripts full of tool calls, and who
 * sometimes cancel. Owns what is asked and knows when all of it has ended; the log is read by others.
 */
import { connect } from "../../client/index.ts";
import type { Client } from "../../client/index.ts";
import type { EventFrame } from "../../protocol/entries.ts";
import { deferred, type Random } from "../support/wait.ts";
import { TOOLS, type ChaosInput } from "./tools-rules.ts";

const SESSIONS = 20;
const MAX_STEPS = 3;
const MAX_CALLS = 5;

export class Load {
  readonly sessions: string[] = [];
  readonly problems: string[] = [];
  /** Calls that were asked for; those after a cancel may never be made. */
  asked = 0;
  cancels = 0;
  /** Outcomes that were seen. */
  outcomes = 0;
  readonly #client: Client;
  readonly #random: Random;
  readonly #cancelShare: number;
  /** Inputs that have no end yet. */
  readonly #waiting = new Set<string>();
  /** Runs that are open, by session, and the input of each run. */
  readonly #open = new Map<string, string>();
  readonly #inputs = new Map<string, string>();
  readonly #over = new Set<string>();
  readonly #done = deferred();
  #sent = false;

  /** `cancelShare`: of the moments at which a run may be cancelled. */
  constructor(url: string, random: Random, cancelShare: number) {
    this.#random = random;
    this.#cancelShare = cancelShare;
    this.#client = connect({
      url,
      user: { id: "asker" },
      backoff: { firstMs: 60, minMs: 20, baseMs: 40, youngCapMs: 150, capMs: 150 },
      outbox: { maxRequests: 10_000, maxBytes: 16 * 2 ** 20 },
    });
  }

  /** Makes the sessions and asks for `calls` calls in all; resolves when the server has taken every input. */
  async ask(calls: number): Promise<void> {
    for (let at = 0; at < SESSIONS; at++) {
      const { session } = await this.#client.createSession({ agent: "demo" });
      this.sessions.push(session);
      const handle = await this.#client.attach(session);
      handle.on("entry", (entry) => this.#see(entry));
    }
    const sends: Promise<void>[] = [];
    while (this.asked < calls) sends.push(this.#send(this.#random.pick(this.sessions), calls - this.asked));
    await Promise.all(sends);
    this.#sent = true;
    this.#check();
  }

  /** Resolves when every run has its end. */
  get done(): Promise<void> {
    return this.#done.promise;
  }

  /** What still has no end, for a world that hangs. */
  get unfinished(): string {
    return `${this.#waiting.size} inputs without an end`;
  }

  close(): void {
    this.#client.close();
  }

  async #send(session: string, most: number): Promise<void> {
    const script: object[] = [];
    let left = most;
    for (let step = 1 + this.#random.int(MAX_STEPS); step > 0 && left > 0; step--) {
      const count = Math.min(left, 1 + this.#random.int(MAX_CALLS));
      left -= count;
      script.push({ calls: Array.from({ length: count }, () => this.#call()) });
    }
    this.asked += most - left;
    const content = JSON.stringify({ script: [...script, { text: "done" }] });
    const { input } = await this.#client.request(
      "send",
      { session, key: `key_${this.#random.int(2 ** 32)}_${this.asked}`, content },
      { timeoutMs: Infinity },
    );
    if (!this.#over.has(input)) this.#waiting.add(input);
  }

  #call(): { tool: string; input: ChaosInput } {
    const random = this.#random;
    const hangs = random.chance(0.03);
    const names = Object.keys(TOOLS).filter((name) => name.endsWith("_hang") === hangs);
    const mode = random.pick<ChaosInput["mode"]>(["obey", "obey", "obey", "finish", "fail"]);
    return { tool: random.pick(names), input: { work: 2 + random.int(random.pick([20, 200, 500])), mode } };
  }

  #see({ session, event }: EventFrame): void {
    if (event.type === "tool-result") this.outcomes++;
    if (event.type === "run-started") {
      this.#open.set(session, event.run);
      this.#inputs.set(event.run, event.input);
    }
    if (event.type === "run-finished") {
      const input = this.#inputs.get(event.run)!;
      this.#open.delete(session);
      this.#over.add(input);
      this.#waiting.delete(input);
      this.#check();
    }
    const moments = [
      "run-started",
      "message",
      "tool-dispatched",
      "tool-accepted",
      "tool-lost",
      "tool-result",
    ];
    if (this.#cancelShare > 0 && moments.includes(event.type) && this.#random.chance(this.#cancelShare))
      this.#cancel(session);
  }

  #cancel(session: string): void {
    const delay = this.#random.pick([0, 0, 5, 30, 100]);
    const run = this.#open.get(session);
    if (run === undefined) return;
    setTimeout(() => {
      this.#client.request("cancel", { session, run }, { timeoutMs: Infinity }).then(
        ({ state }) => {
          if (state === "cancelling") this.cancels++;
        },
        (error: unknown) => this.problems.push(`a cancel is refused: ${String(error)}`),
      );
    }, delay);
  }

  #check(): void {
    if (this.#sent && this.#waiting.size === 0) this.#done.resolve();
  }
}
