/**
 * A tool provider at the port that connections implement: it takes calls, says what the test makes it say, and remembers
 * what it was told. Also one run that asks for calls, so that a test begins with the call at its provider.
 */
import type { JsonValue, ToolOffer, Verdict } from "../../../protocol/content.ts";
import { toolSpecification } from "../../../protocol/content.ts";
import type { EntryBodyOf } from "../../../protocol/entries.ts";
import type { ModelPart } from "../../../server/model/model.ts";
import type { Runtime } from "../../../server/runtime.ts";
import { Inbox } from "../../../server/tool/inbox.ts";
import { SERVER_SCOPE } from "../../../server/tool/registry.ts";
import type { CallReference, ToolCall, ToolHost } from "../../../server/tool/tool.ts";
import {
  calls as asks,
  finishes,
  says,
  startRuntime,
  TestModel,
  type RuntimeSetup,
  type TestRuntime,
} from "../../support/runtime.ts";
import { deferred } from "../../support/wait.ts";

export interface OfferOptions {
  session?: string;
  maxConcurrent?: number;
  labels?: Readonly<Record<string, string>>;
  working?: readonly CallReference[];
}

export class TestProvider implements ToolHost {
  readonly id: string;
  /** Everything it was told, in order. */
  readonly calls: ToolCall[] = [];
  readonly cancels: (CallReference & { reason: string })[] = [];
  readonly acks: (CallReference & { verdict: Verdict })[] = [];
  /** False: its socket takes no more, and every call is certainly not sent. */
  open = true;
  /** Told of every call as it comes. */
  onCall: (call: ToolCall) => void = () => {};
  readonly #runtime: Runtime;
  readonly #called = new Inbox<ToolCall>();
  readonly #cancelled = new Inbox<CallReference & { reason: string }>();
  readonly #acked = new Inbox<CallReference & { verdict: Verdict }>();

  constructor(runtime: Runtime, id: string) {
    this.#runtime = runtime;
    this.id = id;
  }

  // --- what the server tells ---

  call(call: ToolCall): boolean {
    if (!this.open) return false;
    this.calls.push(call);
    this.#called.push(call);
    this.onCall(call);
    return true;
  }

  cancelCall(reference: CallReference, reason: string): void {
    const { session, call, attempt } = reference;
    this.cancels.push({ session, call, attempt, reason });
    this.#cancelled.push({ session, call, attempt, reason });
  }

  acknowledgeResult(reference: CallReference, verdict: Verdict): void {
    const { session, call, attempt } = reference;
    this.acks.push({ session, call, attempt, verdict });
    this.#acked.push({ session, call, attempt, verdict });
  }

  // --- the next of each, past or to come ---

  nextCall(): Promise<ToolCall> {
    return this.#called.next();
  }

  nextCancel(): Promise<CallReference & { reason: string }> {
    return this.#cancelled.next();
  }

  nextAck(): Promise<CallReference & { verdict: Verdict }> {
    return this.#acked.next();
  }

  // --- what it says ---

  offer(tools: readonly ToolOffer[], options: OfferOptions = {}): string[] {
    const { session = SERVER_SCOPE, ...rest } = options;
    return this.#runtime.router.offer(this.id, this, {
      scope: session,
      tools: tools.map((tool) => toolSpecification.parse(tool)),
      ...rest,
    });
  }

  withdraw(...names: string[]): void {
    this.#runtime.router.withdraw(this.id, names.length === 0 ? undefined : names);
  }

  drain(): void {
    this.#runtime.router.drain(this.id);
  }

  accept(call: CallReference): void {
    this.#runtime.router.accepted(this.id, call);
  }

  progress(call: CallReference, progress: JsonValue): void {
    this.#runtime.router.progress(this.id, call, progress);
  }

  /** False: only the log can tell the verdict. */
  result(call: CallReference, output: JsonValue): boolean {
    return this.#runtime.router.result({ id: this.id, host: this, reference: call, answer: { output } });
  }

  fail(call: CallReference, code: string, message = code): boolean {
    return this.#runtime.router.result({
      id: this.id,
      host: this,
      reference: call,
      answer: { error: { code, message } },
    });
  }

  disconnect(superseded = false): void {
    this.open = false;
    this.#runtime.router.gone(this.id, this, superseded);
  }

  /** The same provider on its next socket; it offers nothing yet. */
  again(): TestProvider {
    return new TestProvider(this.#runtime, this.id);
  }
}

export const anything = { type: "object" } as const;

export function tool(name: string, change: Partial<ToolOffer> = {}): ToolOffer {
  return { name, inputSchema: anything, effect: "pure", ...change };
}

/** A model whose first turn begins when the test says so: what it asks for then is its second turn's to end. */
export function waitingModel(...parts: ModelPart[]): { model: TestModel; goOn: () => void } {
  const { promise, resolve } = deferred();
  const first = async function* (): AsyncGenerator<ModelPart> {
    await promise;
    yield* parts;
    yield finishes("tool-calls");
  };
  return { model: new TestModel(first, [finishes()]), goOn: resolve };
}

export interface CallsSetup extends RuntimeSetup {
  /** The tool that the model calls. Default `work`, pure. */
  offer?: ToolOffer;
  /** How often its one step calls it. Default 1. */
  times?: number;
  /** Who offers it. Default `prv_a`. */
  providers?: readonly string[];
  options?: OfferOptions;
}

export interface Calls {
  readonly runtime: TestRuntime;
  readonly session: string;
  /** By the order of `providers`. */
  readonly by: readonly [TestProvider, ...TestProvider[]];
  ended(): Promise<EntryBodyOf<"tool-result">[]>;
}

/** One run whose first step calls the offered tool, and whose second ends it. */
export async function callsOf(setup: CallsSetup = {}): Promise<Calls> {
  const { offer = tool("work"), times = 1, providers = ["prv_a"], options = {}, ...rest } = setup;
  const asked = Array.from({ length: times }, (_, n) => asks(offer.name, { n }));
  const runtime = await startRuntime({
    model: new TestModel([...asked, finishes("tool-calls")], [says("done"), finishes()]),
    ...rest,
  });
  const by = providers.map((id) => new TestProvider(runtime.runtime, id));
  for (const provider of by) provider.offer([offer], options);
  const session = await runtime.session();
  await runtime.send(session, "go");
  return {
    runtime,
    session,
    by: by as [TestProvider, ...TestProvider[]],
    ended: async () => {
      await runtime.entry(session, "run-finished");
      const log = await runtime.log(session);
      return log.flatMap(({ event }) => (event.type === "tool-result" ? [event] : []));
    },
  };
}
