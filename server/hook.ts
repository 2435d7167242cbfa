/**
 * Hook: how an embedder takes part in the runtime, all points optional and async. Owns the interface and the way several
 * hooks compose into one; never calls itself.
 */
import type { Actor } from "../protocol/content.ts";
import type { EventFrame } from "../protocol/entries.ts";
import type { AgentOptions } from "./agent/agent.ts";
import type { LiveDelta } from "./session/services.ts";
import type { LocalTool } from "./tool/local.ts";

/** What happens in a run, as the wire tells it: streamed text, or a committed entry. */
export type AgentEvent = LiveDelta | EventFrame;

export interface EventContext {
  readonly session: string;
  readonly run: string | undefined;
  readonly agent: string;
  readonly actor: Actor | undefined;
}

/** Where a hook registers its tools: schema and effect for the registry, `execute` for this process. */
export interface ToolRegistrar {
  register(tool: LocalTool): void;
}

export interface Hook {
  /** Once, before the runtime serves anything. */
  onRegisterTools?(registry: ToolRegistrar): void | Promise<void>;
  /** Each time an agent is added; what it answers is registered. */
  onBuildAgent?(options: AgentOptions): AgentOptions | Promise<AgentOptions>;
  /** Live, in order, for every run; a rejection is logged and harms nobody. */
  onEvent?(context: EventContext, event: AgentEvent): void | Promise<void>;
  /** May change the prompt that asks a model for a summary. */
  onCompact?(prompt: string): string | Promise<string>;
}

/** A hook with every point there. */
export interface ComposedHook {
  onRegisterTools(registry: ToolRegistrar): Promise<void>;
  onBuildAgent(options: AgentOptions): Promise<AgentOptions>;
  onEvent(context: EventContext, event: AgentEvent): Promise<void>;
  onCompact(prompt: string): Promise<string>;
}

/** One hook that is all of them: registrations and events go to each, a built agent or a prompt passes through in order. */
export function composeHooks(...hooks: readonly Hook[]): ComposedHook {
  return {
    async onRegisterTools(registry) {
      for (const hook of hooks) await hook.onRegisterTools?.(registry);
    },
    async onBuildAgent(options) {
      let built = options;
      for (const hook of hooks) built = (await hook.onBuildAgent?.(built)) ?? built;
      return built;
    },
    async onEvent(context, event) {
      await Promise.all(hooks.map(async (hook) => hook.onEvent?.(context, event)));
    },
    async onCompact(prompt) {
      let text = prompt;
      for (const hook of hooks) text = (await hook.onCompact?.(text)) ?? text;
      return text;
    },
  };
}
