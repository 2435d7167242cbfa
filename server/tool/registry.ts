/**
 * The tool registry: names and schemas of every tool, by scope, and what an agent may see. Owns schemas only; who
 * executes a call is the router's. Names of server scope are reserved: no session may shadow them.
 */
import type { ToolOffer, ToolSpecification } from "../../protocol/content.ts";
import { toolSpecification } from "../../protocol/content.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import { checkRule } from "./approval.ts";
import { ASK } from "./ask.ts";
import { delegateTool } from "./delegate.ts";
import type { TeamMember } from "./delegate.ts";
import { compileSchema } from "./schema.ts";

/** A session id, or "" for the whole server. */
export type Scope = string;
export const SERVER_SCOPE: Scope = "";

export interface RegisteredTool {
  readonly scope: Scope;
  readonly specification: ToolSpecification;
  /** Registered in this process by a hook or the embedder: no offer may take its place. */
  readonly inProcess: boolean;
  /** The same for all that may take each other's calls; undefined: whatever is offered under the name. */
  readonly kind: object | undefined;
}

/** In a filter: every tool but those that must be named. */
export const ALL = "*";
/** Tools that the server executes itself, each for the agents that are set to have it. */
const BUILT_IN: ReadonlyMap<string, RegisteredTool> = new Map([ASK, delegateTool([])].map(builtIn));

function builtIn(specification: ToolSpecification): [string, RegisteredTool] {
  return [specification.name, { scope: SERVER_SCOPE, specification, inProcess: true, kind: undefined }];
}

function reserved(name: string): ProtocolError {
  return new ProtocolError("conflict", `tool ${name} is the server's own name`, { details: { tool: name } });
}

export class ToolRegistry {
  readonly #waiting = new Set<() => void>();
  readonly #scopes = new Map<Scope, Map<string, RegisteredTool>>([[SERVER_SCOPE, new Map()]]);

  /** Registers an in-process tool; an earlier one of the name is replaced. Throws for a schema that cannot be checked. */
  register(tool: ToolOffer): void {
    const specification = toolSpecification.parse(tool);
    if (BUILT_IN.has(specification.name)) throw reserved(specification.name);
    this.#check(specification);
    this.#scopes
      .get(SERVER_SCOPE)!
      .set(specification.name, { scope: SERVER_SCOPE, specification, inProcess: true, kind: {} });
    this.#changed();
  }

  /** False when there was no in-process tool of that name. */
  unregister(name: string): boolean {
    return this.get(SERVER_SCOPE, name)?.inProcess === true && this.remove(SERVER_SCOPE, name);
  }

  /** Throws ProtocolError `conflict` for a name that is the server's, `bad-frame` for a schema that cannot be checked. */
  admit(scope: Scope, specification: ToolSpecification): void {
    this.#check(specification);
    const { name } = specification;
    const own = this.get(SERVER_SCOPE, name);
    if (own !== undefined && (own.inProcess || scope !== SERVER_SCOPE)) throw reserved(name);
  }

  /** What is offered first stands until it is removed; whoever joins it accepts all that it does. */
  add(scope: Scope, specification: ToolSpecification): RegisteredTool {
    let tools = this.#scopes.get(scope);
    if (tools === undefined) this.#scopes.set(scope, (tools = new Map()));
    let tool = tools.get(specification.name);
    if (tool === undefined) {
      tool = { scope, specification, inProcess: false, kind: {} };
      tools.set(specification.name, tool);
    }
    this.#changed();
    return tool;
  }

  /** The same kind of tool from now on as another of its providers describes it. */
  replace(scope: Scope, specification: ToolSpecification): void {
    const tools = this.#scopes.get(scope);
    const tool = tools?.get(specification.name);
    if (tool !== undefined) tools?.set(specification.name, { ...tool, specification });
  }

  /** Resolves once all the names are there for a session, or once `signal` aborts. */
  async whenThere(names: readonly string[], session: string, signal: AbortSignal): Promise<void> {
    const there = (): boolean =>
      names.every((name) => (this.get(SERVER_SCOPE, name) ?? this.get(session, name)) !== undefined);
    while (!there() && !signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#waiting.add(resolve);
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    }
  }

  #changed(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }

  remove(scope: Scope, name: string): boolean {
    const tools = this.#scopes.get(scope);
    const removed = tools?.delete(name) ?? false;
    if (scope !== SERVER_SCOPE && tools?.size === 0) this.#scopes.delete(scope);
    return removed;
  }

  get(scope: Scope, name: string): RegisteredTool | undefined {
    const own = BUILT_IN.get(name);
    if (own !== undefined) return scope === SERVER_SCOPE ? own : undefined;
    return this.#scopes.get(scope)?.get(name);
  }

  /**
   * The tools of a session as an agent sees them, sorted by name. An empty filter, or `*` in one, is the server's and the
   * session's own; `ask` is there only where it is named, `delegate` only for an agent with members.
   */
  visible(filter: readonly string[], session: string, members: readonly TeamMember[] = []): RegisteredTool[] {
    const all = new Map([...(this.#scopes.get(session) ?? []), ...this.#scopes.get(SERVER_SCOPE)!]);
    const names = filter.length === 0 ? [ALL] : filter;
    if (names.includes(ASK.name)) all.set(...builtIn(ASK));
    const chosen = names.includes(ALL)
      ? [...all.values()]
      : [...new Set(names)].flatMap((name) => all.get(name) ?? []);
    if (members.length > 0) chosen.push(builtIn(delegateTool(members))[1]);
    return chosen.sort((a, b) => (a.specification.name < b.specification.name ? -1 : 1));
  }

  #check(specification: ToolSpecification): void {
    const { approval } = specification;
    if (approval !== undefined) checkRule(approval);
    compileSchema(specification.inputSchema);
    if (specification.outputSchema !== undefined) compileSchema(specification.outputSchema);
  }
}
