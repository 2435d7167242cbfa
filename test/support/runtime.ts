/**
 * A runtime in the process of the test: started with one agent, watched from its first event, closed with the test.
 * Owns the ways of asking it what users of the wire may ask, and of reading its log; a model whose every part the test
 * writes; a clock that only the test moves. Never a stand-in for anything between runtime and store.
 */
import type { AgentOptions } from "../../server/agent/agent.ts";
import type { AgentEvent, Hook } from "../../server/hook.ts";
import type { Model, ModelPart, ModelRequest } from "../../server/model/model.ts";
import { scriptedModel } from "../../server/model/scripted.ts";
import { Runtime } from "../../server/runtime.ts";
import type { RuntimeOptions } from "../../server/runtime/options.ts";
import type { Caller } from "../../server/session/access.ts";
import { answer, type AnswerRequest } from "../../server/session/answer.ts";
import * as commands from "../../server/session/commands.ts";
import { createSession, type CreateRequest } from "../../server/session/create.ts";
import type { Store } from "../../server/store/store.ts";
import type { LocalTool } from "../../server/tool/local.ts";
import { decodeTrusted } from "../../protocol/codec.ts";
import type { Actor, Content, FinishReason, JsonValue, SendMode, Usage } from "../../protocol/content.ts";
import type { EntryBodyOf, EntryType, EventFrame } from "../../protocol/entries.ts";
import type { ResultOf, SessionState } from "../../protocol/frames.ts";
import { newId } from "../../protocol/ids.ts";

export interface RuntimeSetup extends RuntimeOptions {
  /** The scripted model unless told. */
  model?: Model;
  hook?: Hook | readonly Hook[];
  /** Changes to the agent `demo`, which is there unless this is null. */
  agent?: Partial<AgentOptions> | null;
  tools?: readonly LocalTool[];
}

export interface SendOptions {
  user?: string;
  mode?: SendMode;
  key?: string;
  agent?: string;
}

const opened = new Set<Runtime>();

/** Closes every runtime that `startRuntime` started: for `test.after.each`. */
export async function closeRuntimes(): Promise<void> {
  const all = [...opened];
  opened.clear();
  await Promise.all(all.map((runtime) => runtime.close()));
}

export async function startRuntime(setup: RuntimeSetup = {}): Promise<TestRuntime> {
  const { model = scriptedModel, hook = [], agent = {}, tools = [], ...options } = setup;
  const runtime = new Runtime(model, hook, options);
  opened.add(runtime);
  const test = new TestRuntime(runtime);
  for (const tool of tools) runtime.registerTool(tool);
  if (agent !== null) await runtime.addAgent({ name: "demo", ...agent });
  await runtime.start();
  return test;
}

export function actor(id: string): Actor {
  return { kind: "user", id, name: id, verified: true };
}

export function caller(id: string): Caller {
  return { actor: actor(id), rights: ["create:*"] };
}

/** The text that makes the scripted model play these items. */
export function script(...items: JsonValue[]): string {
  return JSON.stringify({ script: items });
}

export class TestRuntime {
  readonly runtime: Runtime;
  readonly events = new EventLog();

  constructor(runtime: Runtime) {
    this.runtime = runtime;
    runtime.onEvent = (event) => this.events.add(event);
  }

  /** A session of `ada`. */
  async session(request: Partial<CreateRequest> = {}, user = "ada"): Promise<string> {
    const { registry, store } = this.runtime;
    return (await createSession(registry, store, caller(user), { agent: "demo", ...request })).session;
  }

  send(session: string, content: Content, options: SendOptions = {}): Promise<ResultOf<"send">> {
    const { user = "ada", key = newId("key"), ...rest } = options;
    const { registry } = this.runtime;
    return registry.with(session, (held) =>
      commands.send(held, caller(user), { key, content, ...rest }, this.runtime),
    );
  }

  /** Sends, and resolves with the end of the run that it starts. */
  async run(
    session: string,
    content: Content,
    options: SendOptions = {},
  ): Promise<EntryBodyOf<"run-finished">> {
    const { input } = await this.send(session, content, options);
    return this.endOf(session, input);
  }

  async endOf(session: string, input: string): Promise<EntryBodyOf<"run-finished">> {
    const started = await this.entry(session, "run-started", (body) => body.input === input);
    return (await this.entry(session, "run-finished", (body) => body.run === started.event.run)).event;
  }

  cancel(session: string, run: string, user = "ada", rollback = false): Promise<ResultOf<"cancel">> {
    return this.runtime.registry.with(session, (held) => commands.cancel(held, caller(user), run, rollback));
  }

  answer(session: string, said: AnswerRequest, user: string | Caller = "ada"): Promise<{ seq: number }> {
    const { registry, store } = this.runtime;
    const who = typeof user === "string" ? caller(user) : user;
    return registry.with(session, (held) => answer(held, who, said, store));
  }

  close(session: string, user = "ada"): Promise<{ seq: number }> {
    return this.runtime.registry.with(session, (held) => commands.close(held, caller(user)));
  }

  remove(session: string, user = "ada"): Promise<void> {
    return this.runtime.registry.with(session, (held) => commands.remove(held, caller(user)));
  }

  async state(session: string): Promise<SessionState> {
    const state = await this.runtime.session(session);
    if (state === undefined) throw new Error(`no session ${session}`);
    return state;
  }

  log(session: string): Promise<EventFrame[]> {
    return readLog(this.runtime.store, session);
  }

  /** The first entry of the type, committed before or to come. */
  entry<T extends EntryType>(
    session: string,
    type: T,
    wanted: (body: EntryBodyOf<T>) => boolean = () => true,
  ): Promise<EventFrame & { event: EntryBodyOf<T> }> {
    const matches = (event: AgentEvent): event is EventFrame & { event: EntryBodyOf<T> } =>
      event.type === "event" &&
      event.session === session &&
      event.event.type === type &&
      wanted(event.event as EntryBodyOf<T>);
    return this.events.first(matches, `${type} in ${session}`);
  }

  /** The first streamed text of the session that contains this, counted over all deltas of one part. */
  delta(session: string, text: string): Promise<AgentEvent> {
    let said = "";
    const matches = (event: AgentEvent): event is AgentEvent => {
      if (event.type !== "delta" || event.session !== session) return false;
      said += event.text;
      return said.includes(text);
    };
    return this.events.first(matches, `the text ${text}`);
  }
}

/** What a runtime told, in order, and the way to wait for what it will tell. */
export class EventLog {
  readonly all: AgentEvent[] = [];
  readonly #waiting = new Set<(event: AgentEvent) => void>();

  add(event: AgentEvent): void {
    this.all.push(event);
    for (const look of this.#waiting) look(event);
  }

  /** The first event, past or to come, that matches; rejects after `ms`. `matches` sees every event once. */
  first<E extends AgentEvent>(
    matches: (event: AgentEvent) => event is E,
    what: string,
    ms = 20_000,
  ): Promise<E> {
    for (const event of this.all) if (matches(event)) return Promise.resolve(event);
    return new Promise((resolve, reject) => {
      const stop = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(look);
      };
      const look = (event: AgentEvent): void => {
        if (!matches(event)) return;
        stop();
        resolve(event);
      };
      const timer = setTimeout(() => {
        stop();
        const last = this.all.slice(-12).map((event) => JSON.stringify(event).slice(0, 300));
        reject(new Error(`waited ${ms} ms for ${what}; the last events were\n${last.join("\n")}`));
      }, ms);
      this.#waiting.add(look);
    });
  }
}

export async function readLog(store: Store, session: string): Promise<EventFrame[]> {
  const log: EventFrame[] = [];
  for (;;) {
    const page = await store.read(session, log.length, 1000);
    if (page.length === 0) return log;
    for (const { bytes } of page) log.push(decodeTrusted(bytes) as EventFrame);
  }
}

export function bodiesOf<T extends EntryType>(log: readonly EventFrame[], type: T): EntryBodyOf<T>[] {
  return log.flatMap(({ event }) => (event.type === type ? [event as EntryBodyOf<T>] : []));
}

export function typesOf(log: readonly EventFrame[]): EntryType[] {
  return log.map(({ event }) => event.type);
}

// --- a model whose every part the test writes ---

/** One model call. Arrays are streamed part by part; a function sees the request and may wait, throw or read its signal. */
export type Turn =
  | readonly ModelPart[]
  | ((request: ModelRequest, signal: AbortSignal) => AsyncIterable<ModelPart>);

/** Plays its turns in order, the last one again and again. */
export class TestModel implements Model {
  readonly id = "test";
  readonly requests: ModelRequest[] = [];
  readonly #turns: readonly Turn[];

  constructor(...turns: Turn[]) {
    this.#turns = turns;
  }

  stream(request: ModelRequest, signal: AbortSignal): AsyncIterable<ModelPart> {
    const turn = this.#turns[Math.min(this.requests.length, this.#turns.length - 1)] ?? [];
    this.requests.push(request);
    return typeof turn === "function" ? turn(request, signal) : partByPart(turn);
  }
}

async function* partByPart(parts: readonly ModelPart[]): AsyncGenerator<ModelPart, void> {
  yield* parts;
}

export const USAGE: Usage = { inputTokens: 3, outputTokens: 2 };

export function says(text: string, block = "0"): ModelPart {
  return { type: "text", block, text };
}

export function thinks(text: string, block = "0"): ModelPart {
  return { type: "reasoning", block, text };
}

let blocks = 0;

export function calls(tool: string, input: JsonValue = {}): ModelPart {
  return callsWith(tool, JSON.stringify(input));
}

/** A call whose input is this text, JSON or not. */
export function callsWith(tool: string, input: string): ModelPart {
  return { type: "tool-call", block: `call ${++blocks}`, tool, input };
}

export function finishes(reason: FinishReason = "stop", usage: Usage = USAGE): ModelPart {
  return { type: "finish", reason, usage };
}

/** Rejects when the signal aborts, as a model's request does. */
export function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const fail = (): void => reject(new Error("the request was aborted"));
    if (signal.aborted) fail();
    else signal.addEventListener("abort", fail, { once: true });
  });
}

/** A clock that only the test moves; the wheel of deadlines looks at it every 20 ms. */
export class Clock {
  #ms: number;

  constructor(ms = 1_700_000_000_000) {
    this.#ms = ms;
  }

  readonly now = (): number => this.#ms;

  advance(ms: number): void {
    this.#ms += ms;
  }
}
