/**
 * An agent: the immutable definition that a run is executed by. Owns its schema and defaults; what a registered agent may
 * see and do never changes while a run holds it. Never runs anything.
 */
import { z } from "zod";
import { approvalRule, json, labels, toolName } from "../../protocol/content.ts";
import { checkRule } from "../tool/approval.ts";

export const toolChoice = z.union([
  z.enum(["auto", "none", "required"]),
  /** This tool must be called in the first step. */
  z.object({ tool: toolName }),
]);
export type ToolChoice = z.infer<typeof toolChoice>;

export const agentDefinition = z.strictObject({
  name: toolName,
  description: z.string().max(4096).default(""),
  /** The system prompt. */
  instructions: z.string().default(""),
  /** `provider:name`, `module:./file.js`, or `scripted`. */
  model: z.string().min(1).default("scripted"),
  /** Models that are asked in turn when the one before fails before it has said anything. */
  fallback: z.array(z.string().min(1)).max(8).optional(),
  /** How the models are asked; what one does not know, it ignores. */
  temperature: z.number().min(0).max(2).optional(),
  /** Tokens of one answer, reasoning included; the provider's own limit unless told. */
  maxOutputTokens: z.int().min(1).optional(),
  /** By provider, as its package documents them: `{"anthropic": {"effort": "high"}}`. */
  providerOptions: z.record(z.string(), z.record(z.string(), json)).optional(),
  /** Sent with each request to a model. Never logged. */
  headers: z.record(z.string(), z.string()).optional(),
  /**
   * Names of the tools it may see; empty, or `*`: every server tool and the session's own. The built-in `ask`, with which
   * it asks the people of the session, only where it is named.
   */
  tools: z.array(z.union([toolName, z.literal("*")])).default([]),
  /** Agents that it may give tasks to, by the built-in `delegate`; each is done in a session of its own. */
  members: z.array(toolName).max(16).default([]),
  /** When people are asked before a call goes out, by tool; `*` stands for any characters. Joined with the tool's own rule. */
  approvals: z
    .record(
      z.string().regex(/^[A-Za-z0-9_*-]{1,64}$/, "a tool's name, in which * stands for any characters"),
      approvalRule.superRefine((rule, context) => {
        try {
          checkRule(rule);
        } catch (error) {
          context.addIssue({ code: "custom", path: ["when"], message: (error as Error).message });
        }
      }),
    )
    .default({}),
  /** Its calls go only to providers that offered with these labels; in-process tools have none and need none. */
  labels: labels.optional(),
  /** A session's calls go to the provider that served it last, while that has room. */
  affinity: z.boolean().default(false),
  /** Model calls in one run. */
  maxSteps: z.int().min(1).max(1000).default(16),
  /** Holds for the first step; later steps are free. */
  toolChoice: toolChoice.default("auto"),
  /** Asks the model to reason, where it can. */
  reasoning: z.boolean().default(false),
  /** What becomes of a run whose process died: `restart-step` goes on where the log ends, `stop` ends it `interrupted`. */
  crashPolicy: z.enum(["restart-step", "stop"]).default("restart-step"),
  /** A run longer than this ends with reason `deadline`. */
  runTimeoutMs: z
    .int()
    .min(1)
    .default(30 * 60_000),
  /**
   * Once a step's prompt has filled this share of the model's context window (tokens), what came before is replaced by
   * a summary. Off unless told.
   */
  compaction: z
    .strictObject({ contextWindow: z.int().min(1), at: z.number().gt(0).max(1).default(0.8) })
    .optional(),
});
/** What a caller writes. */
export type AgentOptions = z.input<typeof agentDefinition>;
export type Agent = Readonly<z.infer<typeof agentDefinition>>;

/** An agent with its defaults filled in, frozen to its depth. Throws ZodError for a bad definition. */
export function defineAgent(options: AgentOptions): Agent {
  return frozen(structuredClone(agentDefinition.parse(options)));
}

function frozen<T>(value: T): T {
  if (typeof value === "object" && value !== null) for (const part of Object.values(value)) frozen(part);
  return Object.freeze(value);
}
