/**
 * The tool provider of the chaos test: offers one pure and one `once` tool, survives every restart of the server with its
 * instance, keeps each result until the server's verdict. Owns the count of executions, which the `once` promise is
 * measured by.
 */
import type { Random } from "../support/wait.ts";
import { Wire, WireOver, type Frame } from "../support/wire.ts";
import type { World } from "./chaos-world.ts";

interface Execution {
  readonly reference: Frame;
  output: unknown;
  verdict?: string;
}

export class ChaosProvider {
  /** By session, call and attempt. */
  readonly executions = new Map<string, Execution>();
  /** Times that a call of the `once` tool came, by session and call. */
  readonly onceCalls = new Map<string, number>();
  readonly problems: string[] = [];
  readonly #world: World;
  readonly #random: Random;
  /** Results to keep, by the key of their execution. */
  readonly #kept = new Map<string, Frame>();
  readonly #working = new Map<string, Frame>();
  #wire: Wire | undefined;

  constructor(world: World, random: Random) {
    this.#world = world;
    this.#random = random;
  }

  /** Until the world is over. */
  async run(): Promise<void> {
    while (!this.#world.over) {
      try {
        const wire = await Wire.connect(await this.#world.url(), {
          instance: "ins_chaos_provider",
          user: { id: "provider" },
        });
        this.#wire = wire;
        wire.listeners.add(({ frame }) => this.#take(frame));
        // Results first, so that no call that is done counts as forgotten.
        for (const result of this.#kept.values()) wire.send(result);
        await wire.ok("offerTools", {
          tools: [
            { name: "pure_echo", inputSchema: { type: "object" }, effect: "pure" },
            { name: "once_count", inputSchema: { type: "object" }, effect: "once" },
          ],
          working: [...this.#working.values()],
        });
        this.#world.happened("offer");
        await Promise.race([wire.closed, this.#world.ending]);
        if (this.#world.over) await this.#lastVerdicts(wire);
        wire.cut();
      } catch (error) {
        if (!(error instanceof WireOver) && !isConnectionError(error)) throw error;
        await this.#world.pause();
      }
    }
  }

  /** A call that ended otherwise may still be at work here; its result is answered too. */
  async #lastVerdicts(wire: Wire): Promise<void> {
    const settled = (): true | undefined => (this.#kept.size + this.#working.size === 0 ? true : undefined);
    await wire.wait(settled, 10_000, "the last verdicts").catch((error: unknown) => {
      this.problems.push(String(error));
    });
  }

  #take(frame: Frame): void {
    if (frame["type"] === "call") this.#execute(frame);
    else if (frame["type"] === "resultAck") this.#acknowledged(frame);
  }

  #execute(frame: Frame): void {
    const reference = { session: frame["session"], call: frame["call"], attempt: frame["attempt"] };
    const key = keyOf(frame);
    if (this.executions.has(key)) this.problems.push(`${key} was sent twice`);
    const output = { done: key };
    this.executions.set(key, { reference, output });
    if (frame["tool"] === "once_count") {
      const name = `${frame["session"]}/${frame["call"]}`;
      this.onceCalls.set(name, (this.onceCalls.get(name) ?? 0) + 1);
    }
    this.#working.set(key, reference);
    this.#wire?.send({ type: "callAccepted", ...reference });
    const finish = (): void => {
      this.#working.delete(key);
      const result = { type: "callResult", ...reference, output };
      this.#kept.set(key, result);
      if (this.#wire?.over === false) this.#wire.send(result);
    };
    if (this.#random.chance(0.4)) finish();
    else setTimeout(finish, this.#random.int(40));
  }

  #acknowledged(frame: Frame): void {
    const key = keyOf(frame);
    const execution = this.executions.get(key);
    if (execution === undefined) this.problems.push(`a verdict on ${key}, which was never executed`);
    else if (execution.verdict === undefined) execution.verdict = frame["verdict"] as string;
    this.#kept.delete(key);
  }
}

function keyOf(frame: Frame): string {
  return `${frame["session"]}/${frame["call"]}/${frame["attempt"]}`;
}

function isConnectionError(error: unknown): boolean {
  return (
    error instanceof Error &&
    /ECONN|socket hang up|503/.test(`${(error as { code?: string }).code} ${error.message}`)
  );
}
