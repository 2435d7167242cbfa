/**
 * Plays what a client was drawn to do, and writes down what it was promised: acked (and where), refused, or unknown.
 * What has a key is said again until it has an answer. Owns the promises; whether they are kept is ./chaos-oracle.ts.
 */
import type { JsonValue, SendMode } from "../../protocol/content.ts";
import type { QueuedInput } from "../../protocol/frames.ts";
import type { Frame } from "../support/wire.ts";
import type { ChaosClient } from "./chaos-client.ts";
import type { Op } from "./chaos-schedule.ts";

export type Asked =
  | { readonly kind: "send"; readonly key: string; readonly content: string; readonly mode: SendMode }
  | { readonly kind: "retry"; readonly key: string; readonly run: string }
  | { readonly kind: "edit"; readonly input: string; readonly content: string; readonly own: boolean }
  | { readonly kind: "withdraw"; readonly input: string }
  | { readonly kind: "cancel"; readonly run: string }
  | { readonly kind: "update"; readonly title: string }
  | { readonly kind: "fork"; readonly at?: number }
  | { readonly kind: "compact" }
  | ({ readonly kind: "answer"; readonly request: string } & Said);

/** What somebody says to a request. */
export type Said =
  | { readonly decision: "approve"; readonly input?: JsonValue }
  | { readonly decision: "deny"; readonly reason: string }
  | { readonly answers: JsonValue };

export interface Promised {
  readonly client: string;
  readonly user: string;
  readonly session: string;
  readonly asked: Asked;
  /** `unknown`: the connection ended before the answer, and it has no key to ask again with. */
  answer: "acked" | "refused" | "unknown";
  /** The ok, or the error. */
  frame?: Frame;
}

/** Refusals that chaos brings about; any other breaks a promise. */
const REFUSALS: Readonly<Record<Asked["kind"], readonly string[]>> = {
  send: ["busy"],
  retry: ["conflict", "not-found"],
  edit: ["conflict"],
  withdraw: ["conflict"],
  cancel: ["not-found"],
  update: [],
  fork: ["conflict"],
  compact: ["busy", "conflict"],
  answer: ["conflict", "forbidden"],
};

export class Player {
  readonly client: ChaosClient;
  readonly promised: Promised[] = [];
  readonly problems: string[] = [];
  readonly counts = { repeats: 0, duplicates: 0, refused: 0, unknown: 0 };
  /** What it waits for. */
  readonly pending = new Set<Promised>();
  readonly #happened: (what: string) => void;
  #keys = 0;

  constructor(client: ChaosClient, happened: (what: string) => void) {
    this.client = client;
    this.#happened = happened;
  }

  /** Answers a request, again and again until that is acked or refused. */
  async answer(request: string, said: Said): Promise<void> {
    await this.#ask("answer", { kind: "answer", request, ...said });
  }

  async play(op: Op): Promise<void> {
    const { client } = this;
    switch (op.kind) {
      case "send":
        await this.#send(op.content, op.mode);
        return;
      case "burst":
        await Promise.all(op.contents.map((content) => this.#send(content, "queue")));
        return;
      case "repeat":
        return this.#repeat(op.pick);
      case "update":
        return void (await this.#ask("updateSession", { kind: "update", title: op.title }));
      case "compact":
        return void (await this.#ask("compact", { kind: "compact" }));
      case "cancel": {
        const run = client.state?.run?.run;
        if (run !== undefined) await this.#ask("cancel", { kind: "cancel", run });
        return;
      }
      case "retry": {
        const last = client.state?.lastRun;
        if (last !== undefined) await this.#ask("retry", { kind: "retry", run: last.run, key: this.#key() });
        return;
      }
      case "edit": {
        const queued = this.#waiting(op.pick);
        if (queued === undefined) return;
        const { input, actor } = queued;
        const own = actor?.id === client.user;
        await this.#ask("editInput", { kind: "edit", input, content: op.content, own });
        return;
      }
      case "withdraw": {
        const input = this.#waiting(op.pick)?.input;
        if (input !== undefined) await this.#ask("withdrawInput", { kind: "withdraw", input });
        return;
      }
      case "fork":
        return this.#fork(op.pick);
      case "history": {
        const answer = await client.ask("history", { session: client.session, limit: 20 });
        if (answer?.["type"] === "error" && answer["retryable"] !== true)
          this.problems.push(`${client.name}: history is refused: ${JSON.stringify(answer)}`);
      }
    }
  }

  #waiting(pick: number): QueuedInput | undefined {
    const { queue = [] } = this.client.state ?? {};
    return queue[pick % queue.length];
  }

  async #send(content: string, mode: SendMode, session = this.client.session): Promise<void> {
    await this.#ask("send", { kind: "send", key: this.#key(), content, mode }, session);
  }

  /** Says again what was acked: nothing may happen, and the answer is the first one. */
  async #repeat(pick: number): Promise<void> {
    const acked = this.promised.filter(({ asked, answer }) => asked.kind === "send" && answer === "acked");
    const first = acked[pick % acked.length];
    if (first === undefined) return;
    this.counts.repeats++;
    const { kind, ...fields } = first.asked;
    const answer = await this.client.ask(kind, { session: first.session, ...fields });
    if (answer === undefined || answer["retryable"] === true) return;
    const same = answer["seq"] === first.frame?.["seq"] && answer["input"] === first.frame?.["input"];
    if (answer["duplicate"] !== true || !same)
      this.problems.push(
        `${this.client.name}: ${JSON.stringify(first.frame)} is repeated as ${JSON.stringify(answer)}`,
      );
  }

  async #fork(pick: number): Promise<void> {
    const { ends } = this.client;
    const at = pick % 2 === 0 ? undefined : ends[pick % ends.length];
    const { answer, frame } = await this.#ask("fork", { kind: "fork", ...(at === undefined ? {} : { at }) });
    if (answer !== "acked") return;
    // A script of its own: plain words would go on with one that was cut off, and nobody is there to answer what it asks.
    const script = [{ text: `after a fork by ${this.client.name}` }];
    await this.#send(JSON.stringify({ script }), "queue", frame?.["session"]);
  }

  async #ask(type: string, asked: Asked, session = this.client.session): Promise<Promised> {
    const { name, user } = this.client;
    const promised: Promised = { client: name, user, session, asked, answer: "unknown" };
    this.promised.push(promised);
    this.pending.add(promised);
    try {
      return await this.#answered(type, promised);
    } finally {
      this.pending.delete(promised);
    }
  }

  async #answered(type: string, promised: Promised): Promise<Promised> {
    const { session, asked } = promised;
    const { kind: _, own: __, ...fields } = { own: undefined, ...asked };
    for (let times = 1; ; times++) {
      const answer = await this.client.ask(type, { session, ...fields });
      if (answer?.["type"] === "ok" || (answer !== undefined && !("code" in answer))) {
        promised.answer = "acked";
        promised.frame = answer;
        if (answer["duplicate"] === true) this.counts.duplicates++;
        this.#happened("ack");
        return promised;
      }
      const code = answer?.["code"] as string | undefined;
      if (code !== undefined && this.#isRefusal(asked, code, answer)) {
        promised.answer = "refused";
        promised.frame = answer!;
        this.counts.refused++;
        return promised;
      }
      if (!mayBeRepeated(asked)) {
        this.counts.unknown++;
        return promised;
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Whether an answer says that it was not done and never will be. */
  #isRefusal(asked: Asked, code: string, answer: Frame | undefined): boolean {
    if (REFUSALS[asked.kind].includes(code)) return true;
    if (asked.kind === "edit" && code === "forbidden" && !asked.own) return true;
    if (answer?.["retryable"] === true) return false;
    this.problems.push(`${this.client.name}: ${asked.kind} is refused: ${JSON.stringify(answer)}`);
    return true;
  }

  #key(): string {
    return `${this.client.name}-${this.#keys++}`;
  }
}

/** What has a key, and answers: the same person's same answer is one. */
export function mayBeRepeated(asked: Asked): boolean {
  return "key" in asked || asked.kind === "answer";
}
