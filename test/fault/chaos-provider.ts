/**
 * A tool provider as a process of its own: `node chaos-provider.js URL JOURNAL INSTANCE SEED KIND`. Kind `raw` speaks the
 * wire itself and survives its own death with its instance and results (its journal is its memory); kind `library` is the
 * client library and forgets. Both write down what they execute. Owns no judgement.
 */
import { connect } from "../../client/index.ts";
import type { JsonValue } from "../../protocol/content.ts";
import { seeded } from "../support/wait.ts";
import { Refused, Wire, type Frame } from "../support/wire.ts";
import { Journal, type Reference } from "./chaos-journal.ts";
import { APPROVAL, PAY, TOOLS } from "./chaos-schedule.ts";

const [url = "", path = "", instance = "", seed = "0", kind = "raw"] = process.argv.slice(2);
const journal = new Journal(path);
const random = seeded(Number(seed));
const user = { id: `provider-${kind}` };
const TIMEOUT_MS = 8_000;
/** Results without a verdict are said again. */
const REPEAT_MS = 2_000;

const keyOf = ({ session, call, attempt }: Reference): string => `${session}/${call}/${attempt}`;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function library(): void {
  const client = connect({ url, instance, user, backoff: { firstMs: 50, minMs: 10, youngCapMs: 200 } });
  const tools = Object.entries(TOOLS).map(([name, effect]) => {
    const execute = async (input: unknown, context: Reference): Promise<object> => {
      const { session, call, attempt } = context;
      const reference = { session, call, attempt };
      journal.write({ did: "begun", reference, tool: name, input: input as JsonValue });
      await pause((input as { ms?: number }).ms ?? 0);
      const output = { done: keyOf(reference) };
      journal.write({ did: "done", reference, output });
      return output;
    };
    const approval = name === PAY ? { approval: APPROVAL } : {};
    const offered = { description: name, input: { type: "object" }, effect, timeoutMs: TIMEOUT_MS };
    return [name, { ...offered, ...approval, execute }] as const;
  });
  client.on("error", (error) => journal.write({ did: "problem", problem: `provider: ${error.message}` }));
  void client.provideTools(Object.fromEntries(tools)).then(() => console.log("offered"));
}

class RawProvider {
  /** Results without a verdict, by attempt. */
  readonly #kept = new Map<string, Frame>();
  readonly #working = new Map<string, Reference>();
  /** Every attempt that ever came. */
  readonly #known = new Set<string>();
  #wire: Wire | undefined;

  constructor() {
    for (const line of journal.read()) {
      if (line.did === "begun") this.#known.add(keyOf(line.reference));
      if (line.did === "done") this.#keep(line.reference, line.output);
      if (line.did === "told") this.#kept.delete(keyOf(line.reference));
    }
    setInterval(() => {
      for (const result of this.#kept.values()) this.#say(result);
    }, REPEAT_MS);
  }

  async run(): Promise<never> {
    for (;;) {
      try {
        const wire = await Wire.connect(url, { instance, user });
        this.#wire = wire;
        wire.listeners.add(({ frame }) => this.#take(frame));
        // Results first, so that no call that is done counts as forgotten.
        for (const result of this.#kept.values()) wire.send(result);
        await wire.ok("offerTools", {
          tools: Object.entries(TOOLS).map(([name, effect]) => ({
            name,
            description: name,
            inputSchema: { type: "object" },
            effect,
            timeoutMs: TIMEOUT_MS,
            ...(name === PAY ? { approval: APPROVAL } : {}),
          })),
          working: [...this.#working.values()],
        });
        console.log("offered");
        await wire.closed;
      } catch (error) {
        if (error instanceof Refused && error.frame["retryable"] !== true)
          journal.write({ did: "problem", problem: `provider: ${error.message}` });
      }
      this.#wire?.cut();
      await pause(30);
    }
  }

  #take(frame: Frame): void {
    if (frame["type"] === "call") void this.#call(frame);
    else if (frame["type"] === "resultAck") {
      const reference = referenceOf(frame);
      if (!this.#known.has(keyOf(reference))) this.#problem(`a verdict on ${keyOf(reference)}, never asked`);
      this.#kept.delete(keyOf(reference));
      journal.write({ did: "told", reference, verdict: frame["verdict"] as string });
    } else if (frame["type"] === "error" && frame["id"] === undefined) this.#problem(JSON.stringify(frame));
  }

  async #call(frame: Frame): Promise<void> {
    const reference = referenceOf(frame);
    const key = keyOf(reference);
    if (this.#known.has(key)) return this.#problem(`${key} was sent twice`);
    this.#known.add(key);
    if (random.chance(0.05)) {
      const error = { code: "not-started", message: "busy with chaos" };
      return this.#say({ type: "callResult", ...reference, error });
    }
    const input = frame["input"] as JsonValue;
    journal.write({ did: "begun", reference, tool: frame["tool"] as string, input });
    this.#working.set(key, reference);
    this.#say({ type: "callAccepted", ...reference });
    await pause((input as { ms?: number }).ms ?? 0);
    this.#working.delete(key);
    const output = { done: key };
    journal.write({ did: "done", reference, output });
    this.#say(this.#keep(reference, output));
  }

  #keep(reference: Reference, output: unknown): Frame {
    const result = { type: "callResult", ...reference, output };
    this.#kept.set(keyOf(reference), result);
    return result;
  }

  #say(frame: Frame): void {
    if (this.#wire?.over === false) this.#wire.send(frame);
  }

  #problem(problem: string): void {
    journal.write({ did: "problem", problem: `provider: ${problem}` });
  }
}

function referenceOf(frame: Frame): Reference {
  return {
    session: frame["session"] as string,
    call: frame["call"] as string,
    attempt: frame["attempt"] as number,
  };
}

// Whoever started it is gone.
process.stdin.resume().on("end", () => process.exit(0));
if (kind === "library") library();
else void new RawProvider().run();
