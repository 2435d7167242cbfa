/**
 * Offering tools: the offers of one client, kept up across connections, and the way of a call to its handler. Owns what
 * is offered and how many calls run at once; what happened to a call is the ledger's (calls.ts).
 */
import type { ApprovalRule, Effect, ToolOffer } from "../protocol/content.ts";
import { ProtocolError } from "../protocol/errors.ts";
import type { ClientFrameInputOf, NoticeType, ServerFrame, ServerFrameOf } from "../protocol/frames.ts";
import { toJsonValue } from "../protocol/values.ts";
import { CallLedger, NotStarted } from "./calls.ts";
import type { CallContext, ResultStore } from "./calls.ts";
import { between } from "./clock.ts";
import type { Clock } from "./clock.ts";
import { checked, toJsonSchema } from "./schema.ts";
import type { InputOf, Schema } from "./schema.ts";

/** One tool. `input` and `output` are JSON Schemas or Standard Schemas (zod 4.2 and newer). */
export interface ToolDefinition<S extends Schema = Schema> {
  readonly description: string;
  readonly input: S;
  readonly output?: Schema;
  /** `once` unless told: whether a call may run again after its provider was lost. */
  readonly effect?: Effect;
  /** Milliseconds from the call to its deadline (60 000). */
  readonly timeoutMs?: number;
  /** Approval rules, as the server reads them. */
  readonly approval?: ApprovalRule;
  /**
   * Does the work; what it returns is the output, as JSON. A throw is the outcome `error` with the error's message and
   * its `code` if that is a string.
   */
  execute(input: InputOf<S>, context: CallContext): unknown;
}

export type ToolDefinitions = Readonly<Record<string, ToolDefinition>>;
/** Definitions by name, each with the type of its own input. */
export type ToolsOf<T extends Record<string, Schema>> = { readonly [K in keyof T]: ToolDefinition<T[K]> };

export interface ProvideOptions {
  /** Offer them to this session only. */
  readonly session?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Calls at once (8); more are answered `not-started`, so that the server gives them to others. */
  readonly maxConcurrent?: number;
}

/** Tools that are being provided. */
export interface ProvidedTools {
  /** The names that the server accepted, by its last answer. */
  readonly accepted: readonly string[];
  /** Calls that run now. */
  readonly running: number;
  /** Takes the offer back; what runs goes on to its end. */
  withdraw(): Promise<void>;
  /** Takes no more calls for any tool of this client; resolves when nothing runs and the server has every result. */
  drain(): Promise<void>;
}

/** What the provider needs of its client. */
export interface ProviderLink {
  readonly clock: Clock;
  isOnline(): boolean;
  /** A request of this connection: rejects when it is lost. */
  request<T extends "offerTools" | "withdrawTools" | "drain">(
    type: T,
    fields: Omit<ClientFrameInputOf<T>, "type" | "id">,
  ): Promise<unknown>;
  notify<T extends NoticeType>(type: T, fields: Omit<ClientFrameInputOf<T>, "type">): boolean;
  /** The server refused an offer that it had accepted before, or a result could not be stored. */
  failed(error: ProtocolError): void;
}

interface Offer {
  readonly tools: ToolDefinitions;
  readonly fields: Omit<ClientFrameInputOf<"offerTools">, "type" | "id" | "working">;
  readonly maxConcurrent: number;
  accepted: readonly string[];
  running: number;
  failures: number;
  /** Ends the wait of `provide`; undefined once it ended. */
  first: { resolve(): void; reject(error: Error): void } | undefined;
}

export class ToolProvider {
  readonly #link: ProviderLink;
  readonly #ledger: CallLedger;
  readonly #offers = new Set<Offer>();
  #draining = false;
  #drained: (() => void)[] = [];
  #ended = false;
  /** Tells connections apart: an answer to an older one's offer means nothing. */
  #connection = 0;

  /** `results`: where they outlive the process. */
  constructor(link: ProviderLink, results?: ResultStore) {
    this.#link = link;
    this.#ledger = new CallLedger(
      {
        accepted: ({ session, call, attempt }) =>
          void link.notify("callAccepted", { session, call, attempt }),
        progress: (reference, progress) => void link.notify("callProgress", { ...reference, progress }),
        result: ({ session, call, attempt }, end) => {
          try {
            link.notify("callResult", { session, call, attempt, ...end });
          } catch (error) {
            // As JSON an output may be larger than it was measured.
            const message = error instanceof Error ? error.message : String(error);
            link.notify("callResult", { session, call, attempt, error: { code: "too-large", message } });
          }
        },
      },
      link.clock,
      () => this.#settled(),
      results,
      (error) => {
        const message = "a result is not kept on disk";
        link.failed(new ProtocolError("unavailable", message, { cause: error }));
      },
    );
  }

  async provide(tools: ToolDefinitions, options: ProvideOptions = {}): Promise<ProvidedTools> {
    const { session, labels, maxConcurrent = 8 } = options;
    const offer: Offer = {
      tools,
      fields: {
        tools: Object.entries(tools).map(([name, definition]) => toOffer(name, definition)),
        maxConcurrent,
        ...(session === undefined ? {} : { session }),
        ...(labels === undefined ? {} : { labels: { ...labels } }),
      },
      maxConcurrent,
      accepted: [],
      running: 0,
      failures: 0,
      first: undefined,
    };
    const provided: ProvidedTools = {
      get accepted() {
        return offer.accepted;
      },
      get running() {
        return offer.running;
      },
      withdraw: () => this.#withdraw(offer),
      drain: () => this.#drain(),
    };
    return new Promise((resolve, reject) => {
      offer.first = { resolve: () => resolve(provided), reject };
      this.#offers.add(offer);
      if (this.#link.isOnline()) void this.#offer(offer);
    });
  }

  /** Resolves when the server has answered every offer. */
  online(): Promise<unknown> {
    this.#connection++;
    this.#ledger.resend();
    const offered = [...this.#offers].map((offer) => this.#offer(offer));
    if (this.#draining) this.#link.request("drain", {}).catch(() => undefined);
    return Promise.all(offered);
  }

  /** What still comes on a connection that another one took the place of: a call is better given to somebody else. */
  late(frame: ServerFrame): object | undefined {
    if (frame.type === "resultAck") this.#ledger.confirm(frame);
    if (frame.type !== "call") return undefined;
    const { session, call, attempt } = frame;
    const error = { code: "not-started", message: "its provider has moved to another connection" };
    return { type: "callResult", session, call, attempt, error };
  }

  offline(): void {
    this.#connection++;
  }

  receive(frame: ServerFrameOf<"call" | "callCancel" | "resultAck">): void {
    if (frame.type === "call") this.#call(frame);
    else if (frame.type === "callCancel") this.#ledger.cancel(frame, frame.reason);
    else this.#ledger.confirm(frame);
  }

  /** The server ended the connection: what it has not accepted yet, it never will. */
  refuse(error: Error): void {
    for (const offer of this.#offers) {
      if (offer.first === undefined) continue;
      this.#offers.delete(offer);
      offer.first.reject(error);
    }
  }

  /** The client is closed. */
  end(error: Error): void {
    this.#ended = true;
    this.#ledger.abortAll(error);
    this.refuse(error);
    this.#offers.clear();
    this.#settled();
  }

  #call(frame: ServerFrameOf<"call">): void {
    const offers = [...this.#offers].filter((item) => Object.hasOwn(item.tools, frame.tool));
    const offer =
      offers.find((item) => item.fields.session === frame.session) ??
      offers.find((item) => item.fields.session === undefined);
    const tool = offer?.tools[frame.tool];
    if (offer === undefined || tool === undefined || this.#draining) {
      // A repetition of what ran before the withdrawal still gets its answer.
      this.#ledger.call(
        frame,
        () => false,
        () => Promise.resolve(null),
      );
      return;
    }
    this.#ledger.call(
      frame,
      () => offer.running < offer.maxConcurrent,
      async (context) => {
        offer.running++;
        try {
          const input = await checked(tool.input, frame.input, "invalid-input");
          // The call and its cancel came together, as after a long sleep.
          if (context.signal.aborted) throw new NotStarted("stopped before it began");
          const output = await tool.execute(input, context);
          return toJsonValue(await checked(tool.output, output, "invalid-output"));
        } finally {
          offer.running--;
        }
      },
      (tool.effect ?? "once") === "once",
    );
  }

  async #offer(offer: Offer): Promise<void> {
    const connection = this.#connection;
    await this.#link.request("offerTools", { ...offer.fields, working: this.#ledger.working }).then(
      (ok) => {
        offer.failures = 0;
        offer.accepted = (ok as { accepted: string[] }).accepted;
        offer.first?.resolve();
        offer.first = undefined;
      },
      (error: unknown) => {
        // A lost connection refuses nothing: the next one offers again.
        if (connection !== this.#connection || !this.#offers.has(offer)) return;
        if (!(error instanceof ProtocolError) || error.retryable)
          return this.#offerLater(offer, connection, error);
        offer.accepted = [];
        if (offer.first === undefined) return this.#link.failed(error);
        this.#offers.delete(offer);
        offer.first.reject(error);
      },
    );
  }

  #offerLater(offer: Offer, connection: number, error: unknown): void {
    const least = error instanceof ProtocolError ? (error.retryAfterMs ?? 0) : 0;
    const most = Math.min(10_000, 250 * 2 ** Math.min(offer.failures++, 10));
    this.#link.clock.after(least + between(this.#link.clock, 100, most), () => {
      if (connection === this.#connection && this.#offers.has(offer)) void this.#offer(offer);
    });
  }

  async #withdraw(offer: Offer): Promise<void> {
    if (!this.#offers.delete(offer)) return;
    offer.accepted = [];
    if (!this.#link.isOnline()) return;
    const names = Object.keys(offer.tools);
    await this.#link.request("withdrawTools", { names });
    // Names are withdrawn in every scope: what else we offer under them is offered again.
    for (const other of this.#offers)
      if (names.some((name) => Object.hasOwn(other.tools, name))) void this.#offer(other);
  }

  async #drain(): Promise<void> {
    if (!this.#draining) {
      this.#draining = true;
      if (this.#link.isOnline()) this.#link.request("drain", {}).catch(() => undefined);
    }
    if (this.#ended || this.#ledger.idle) return;
    await new Promise<void>((resolve) => this.#drained.push(resolve));
  }

  #settled(): void {
    if (!this.#ended && !this.#ledger.idle) return;
    for (const resolve of this.#drained.splice(0)) resolve();
  }
}

function toOffer(name: string, definition: ToolDefinition): ToolOffer {
  const { description, input, output, effect, timeoutMs, approval } = definition;
  return {
    name,
    description,
    inputSchema: toJsonSchema(input, "input"),
    ...(output === undefined ? {} : { outputSchema: toJsonSchema(output, "output") }),
    ...(effect === undefined ? {} : { effect }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(approval === undefined ? {} : { approval }),
  };
}
