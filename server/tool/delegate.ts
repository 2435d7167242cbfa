/**
 * The tool `delegate`, with which an agent has a member of its team do a task. Owns its name and what a model reads of it;
 * the session in which the task is done is the server's (session/delegation.ts). No provider may offer its name.
 */
import type { ToolSpecification } from "../../protocol/content.ts";
import { cutText } from "../../protocol/values.ts";

export const DELEGATE = "delegate";

const MAX_DESCRIPTION = 512;

export interface TeamMember {
  readonly name: string;
  readonly description: string;
}

/** What a call of it says, once its input fits. */
export interface DelegatedInput {
  readonly agent: string;
  readonly task: string;
}

/** As an agent with these members sees it. It has no time of its own: a task may take as long as the run that waits. */
export function delegateTool(members: readonly TeamMember[]): ToolSpecification {
  const listed = members.map(({ name, description }) => `${name}: ${cutText(description, MAX_DESCRIPTION)}`);
  return {
    name: DELEGATE,
    description: [
      "Has another agent do a task in a conversation of its own, and gives back its answer. It sees nothing but the task:",
      "say everything that it must know. Several calls at once are worked on side by side. The agents:",
      ...listed,
    ].join("\n"),
    effect: "once",
    timeoutMs: 86_400_000,
    inputSchema: {
      type: "object",
      required: ["agent", "task"],
      additionalProperties: false,
      properties: {
        agent: { enum: members.map(({ name }) => name) },
        task: { type: "string", minLength: 1 },
      },
    },
  };
}
