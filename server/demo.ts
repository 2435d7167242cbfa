/**
 * What a server offers when nobody configured it: one agent on the scripted model with two in-process tools, and the
 * built-in ones: it asks people, and gives tasks to itself. Owns these definitions; never anything that another part
 * depends on.
 */
import { randomInt } from "node:crypto";
import type { AgentOptions } from "./agent/agent.ts";
import type { Hook } from "./hook.ts";

export const demoAgent: AgentOptions = {
  name: "demo",
  description: "Plays scripts and quotes what you say; no language model.",
  model: "scripted",
  tools: ["*", "ask"],
  members: ["demo"],
};

export const demoHook: Hook = {
  onRegisterTools(registry) {
    registry.register({
      name: "clock",
      description: "The time now, in a time zone.",
      effect: "pure",
      inputSchema: {
        type: "object",
        properties: { timeZone: { type: "string" } },
        additionalProperties: false,
      },
      execute(input) {
        const { timeZone = "UTC" } = input as { timeZone?: string };
        const now = new Date();
        return { time: now.toISOString(), local: now.toLocaleString("en-GB", { timeZone }), timeZone };
      },
    });
    registry.register({
      name: "roll_dice",
      description: "Rolls dice.",
      effect: "idempotent",
      inputSchema: {
        type: "object",
        properties: {
          sides: { type: "integer", minimum: 2, maximum: 1000 },
          count: { type: "integer", minimum: 1, maximum: 100 },
        },
        additionalProperties: false,
      },
      execute(input) {
        const { sides = 6, count = 1 } = input as { sides?: number; count?: number };
        const rolls = Array.from({ length: count }, () => randomInt(1, sides + 1));
        return { rolls, sum: rolls.reduce((sum, roll) => sum + roll, 0) };
      },
    });
  },
};
