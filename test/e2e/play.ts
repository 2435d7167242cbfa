/**
 * What the tests at the wire say and do again and again: scripts for the scripted model, new sessions, sends, and a tool
 * provider whose calls a test answers by hand. Owns no assertion.
 */
import { newId } from "../../protocol/ids.ts";
import { PATIENCE_MS, type Frame, type Wire } from "../support/wire.ts";

/** A message that the scripted model plays. */
export function script(...items: object[]): string {
  return JSON.stringify({ script: items });
}

/** Calls of one step, as an item of a script. */
export function calls(...asked: [tool: string, input?: object][]): object {
  return { calls: asked.map(([tool, input = {}]) => ({ tool, input })) };
}

export async function newSession(wire: Wire, fields: Frame = {}): Promise<string> {
  return (await wire.ok("createSession", { agent: "demo", ...fields }))["session"] as string;
}

/** Sends with a fresh key unless one is given; the `ok` once it is acked. */
export function say(wire: Wire, session: string, content: unknown, fields: Frame = {}): Promise<Frame> {
  return wire.ok("send", { session, key: newId("key"), content, ...fields });
}

export interface OfferedTool {
  readonly effect?: "pure" | "idempotent" | "once";
  readonly timeoutMs?: number;
  readonly inputSchema?: object;
  readonly outputSchema?: object;
}

/** A provider on one connection. Nothing is accepted or answered but by the test. */
export class Provider {
  readonly wire: Wire;
  #calls = 0;

  constructor(wire: Wire) {
    this.wire = wire;
  }

  static async offer(
    wire: Wire,
    tools: Readonly<Record<string, OfferedTool>>,
    fields: Frame = {},
  ): Promise<Provider> {
    const provider = new Provider(wire);
    await provider.offer(tools, fields);
    return provider;
  }

  offer(tools: Readonly<Record<string, OfferedTool>>, fields: Frame = {}): Promise<Frame> {
    const offers = Object.entries(tools).map(([name, tool]) => ({
      name,
      description: `${name}, of a test`,
      inputSchema: { type: "object" },
      ...tool,
    }));
    return this.wire.ok("offerTools", { tools: offers, ...fields });
  }

  /** All calls that came so far. */
  get calls(): Frame[] {
    return this.wire.received.map(({ frame }) => frame).filter((frame) => frame["type"] === "call");
  }

  /** The next call, in the order they came; each is given once. */
  async next(ms = PATIENCE_MS): Promise<Frame> {
    const number = this.#calls++;
    return this.wire.wait(() => this.calls[number], ms, `call ${number + 1}`);
  }

  accept(call: Frame): void {
    this.wire.send({ type: "callAccepted", ...referenceOf(call) });
  }

  progress(call: Frame, progress: unknown): void {
    this.wire.send({ type: "callProgress", ...referenceOf(call), progress });
  }

  /** `answer`: `{ output }` or `{ error: { code, message } }`. */
  result(call: Frame, answer: Frame): void {
    this.wire.send({ type: "callResult", ...referenceOf(call), ...answer });
  }

  /** Accepts and answers; resolves with the verdict. */
  async answer(call: Frame, output: unknown): Promise<string> {
    this.accept(call);
    return this.verdict(call, { output });
  }

  /** Sends a result; resolves with the verdict on it. */
  async verdict(call: Frame, answer: Frame): Promise<string> {
    const from = this.wire.received.length;
    this.result(call, answer);
    const fits = (frame: Frame): boolean => frame["type"] === "resultAck" && isAbout(frame, call);
    return (await this.wire.frame(fits, { from, what: "resultAck" }))["verdict"] as string;
  }

  cancelled(call: Frame, ms = PATIENCE_MS): Promise<Frame> {
    const fits = (frame: Frame): boolean => frame["type"] === "callCancel" && isAbout(frame, call);
    return this.wire.frame(fits, { ms, what: "callCancel" });
  }
}

/** The three fields that name one attempt of a call. */
export function referenceOf({ session, call, attempt }: Frame): Frame {
  return { session, call, attempt };
}

function isAbout(frame: Frame, call: Frame): boolean {
  return frame["call"] === call["call"] && frame["attempt"] === call["attempt"];
}
