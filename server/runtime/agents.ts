/**
 * The agents of a runtime: those that its program registered, and those that admins put while it runs, which the store
 * keeps. Owns who answers to a name now and which definition an open run began with; never who may change one, and never
 * a run.
 */
import { isDeepStrictEqual } from "node:util";
import { Mutex } from "async-mutex";
import type { JsonValue } from "../../protocol/content.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { OpenRun } from "../../protocol/frames.ts";
import { checkPayload } from "../../protocol/values.ts";
import { agentDefinition, defineAgent } from "../agent/agent.ts";
import type { Agent, AgentOptions } from "../agent/agent.ts";
import type { Log } from "../observe/log.ts";
import { unknownAgent } from "../session/access.ts";
import type { Store } from "../store/store.ts";

export interface AgentParts {
  readonly store: Pick<Store, "agents" | "writeAgent">;
  readonly log: Log;
  readonly now: () => number;
  /** What becomes of a definition before it is registered. */
  build(options: AgentOptions): Promise<AgentOptions>;
  /** Why no agent that is put may name this model. */
  problem(model: string): string | undefined;
  /** The definitions that open runs began with; undefined while not all of these runs are known. */
  inUse(): readonly { readonly agent: string; readonly version: number }[] | undefined;
}

/** A definition as it was put, and what was built of it. */
interface Version {
  readonly version: number;
  readonly definition: AgentOptions;
  readonly agent: Agent;
}

/** `current` absent: it was removed, and runs still have it. */
interface Put {
  readonly current?: Version | undefined;
  readonly versions: readonly Version[];
}

/** What the store keeps under a name, in JSON. */
interface Row {
  readonly current?: number;
  readonly versions: readonly { readonly version: number; readonly definition: AgentOptions }[];
}

export class AgentRegistry {
  readonly #parts: AgentParts;
  readonly #registered = new Map<string, Agent>();
  readonly #put = new Map<string, Put>();
  readonly #versions = new WeakMap<Agent, number>();
  readonly #changing = new Mutex();

  constructor(parts: AgentParts) {
    this.#parts = parts;
  }

  /** Reads what was put in earlier lives. What cannot be read is logged and left as it is. */
  async load(): Promise<void> {
    const { store, log } = this.#parts;
    for (const { name, body } of await store.agents()) {
      try {
        if (body === undefined) throw new Error("its row is damaged");
        const row = JSON.parse(Buffer.from(body).toString()) as Row;
        const versions: Version[] = [];
        for (const { version, definition } of row.versions)
          versions.push(await this.#build(version, definition));
        this.#put.set(name, { versions, current: versions.find(({ version }) => version === row.current) });
        if (row.current !== undefined && this.#registered.has(name))
          log.warn({ agent: name }, "an agent that was put is hidden by one of the same name");
      } catch (error) {
        // What the parser says quotes the text, in which there may be a key.
        const problem = error instanceof SyntaxError ? "it is not JSON" : (error as Error).message;
        log.error({ agent: name, problem }, "an agent that was put cannot be read");
      }
    }
  }

  /** One of the program's own, in place of one of the same name. */
  async register(options: AgentOptions): Promise<Agent> {
    const agent = defineAgent(await this.#parts.build(options));
    this.#registered.set(agent.name, agent);
    return agent;
  }

  get(name: string): Agent | undefined {
    return this.#registered.get(name) ?? this.#put.get(name)?.current?.agent;
  }

  /** Throws ProtocolError `not-found`. */
  require(name: string): Agent {
    const agent = this.get(name);
    if (agent === undefined) throw unknownAgent(name);
    return agent;
  }

  /** Sorted. */
  names(): string[] {
    const put = [...this.#put].flatMap(([name, { current }]) => (current === undefined ? [] : [name]));
    return [...new Set([...this.#registered.keys(), ...put])].sort();
  }

  /** Whether the agent of that name is one that was put, and so can be removed. */
  isPut(name: string): boolean {
    return !this.#registered.has(name) && this.#put.get(name)?.current !== undefined;
  }

  /** Which definition of its name this is; undefined for one that the program registered. */
  versionOf(agent: Agent): number | undefined {
    return this.#versions.get(agent);
  }

  /** The agent that a run began with, as far as it is kept; else who has its name now. */
  ofRun({ agent, agentVersion }: Pick<OpenRun, "agent" | "agentVersion">): Agent | undefined {
    const begun = this.#put.get(agent)?.versions.find(({ version }) => version === agentVersion);
    return begun?.agent ?? this.get(agent);
  }

  /**
   * Adds an agent or replaces it, durably; the same definition again changes nothing. Throws ProtocolError `bad-frame` (not
   * a definition, or its model cannot be used: `details.field`), `too-large`, `conflict` (the program has one of that name).
   */
  async put(given: Readonly<Record<string, JsonValue>>): Promise<{ version: number }> {
    checkPayload("agent", given);
    const { name, model, fallback = [] } = checked(given);
    for (const [at, each] of [model, ...fallback].entries()) {
      const problem = this.#parts.problem(each);
      if (problem !== undefined) throw wrong(at === 0 ? "model" : `fallback.${at - 1}`, problem);
    }
    const definition = given as AgentOptions;
    return this.#changing.runExclusive(async () => {
      this.#assertFree(name);
      const { current, versions = [] } = this.#put.get(name) ?? {};
      if (current !== undefined && isDeepStrictEqual(current.definition, definition))
        return { version: current.version };
      const version = Math.max(this.#parts.now(), (versions.at(-1)?.version ?? 0) + 1);
      const next = await this.#build(version, definition);
      await this.#change(name, next, [...versions, next]);
      return { version };
    });
  }

  /** Throws ProtocolError `not-found`, `conflict` (it is one of the program's own). */
  async remove(name: string): Promise<void> {
    await this.#changing.runExclusive(async () => {
      this.#assertFree(name);
      const put = this.#put.get(name);
      if (put?.current === undefined) throw unknownAgent(name);
      await this.#change(name, undefined, put.versions);
    });
  }

  /** Lets go of the definitions that neither count nor have a run any more. */
  async prune(): Promise<void> {
    await this.#changing.runExclusive(async () => {
      for (const name of this.#put.keys()) await this.#prune(name);
    });
  }

  /** All that there was is kept until it does not count any more: meanwhile a run may begin with it. */
  async #change(name: string, current: Version | undefined, versions: readonly Version[]): Promise<void> {
    await this.#write(name, current, versions);
    await this.#prune(name);
  }

  async #prune(name: string): Promise<void> {
    const { current, versions } = this.#put.get(name)!;
    const used = this.#parts.inUse();
    if (used === undefined) return;
    const kept = versions.filter(
      ({ version }) =>
        version === current?.version || used.some((run) => run.agent === name && run.version === version),
    );
    if (kept.length < versions.length) await this.#write(name, current, kept);
  }

  /** Written first: what is not durable does not count. */
  async #write(name: string, current: Version | undefined, versions: readonly Version[]): Promise<void> {
    const row: Row = {
      ...(current === undefined ? {} : { current: current.version }),
      versions: versions.map(({ version, definition }) => ({ version, definition })),
    };
    await this.#parts.store.writeAgent(name, versions.length === 0 ? null : Buffer.from(JSON.stringify(row)));
    if (versions.length === 0) this.#put.delete(name);
    else this.#put.set(name, { current, versions });
  }

  async #build(version: number, definition: AgentOptions): Promise<Version> {
    const agent = defineAgent({ ...(await this.#parts.build(definition)), name: definition.name });
    this.#versions.set(agent, version);
    return { version, definition, agent };
  }

  #assertFree(name: string): void {
    if (this.#registered.has(name))
      throw new ProtocolError("conflict", `agent '${name}' is one of the server's own`, {
        details: { agent: name },
      });
  }
}

function checked(given: unknown): Agent {
  const result = agentDefinition.safeParse(given);
  if (result.success) return result.data;
  const { path, message } = result.error.issues[0]!;
  throw wrong(path.map(String).join("."), message);
}

function wrong(path: string, message: string): ProtocolError {
  const field = path === "" ? "agent" : `agent.${path}`;
  return new ProtocolError("bad-frame", `${field}: ${message}`, { details: { field } });
}
