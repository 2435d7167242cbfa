/**
 * From log entries to metrics: runs and tool calls as they begin and end. Owns which call belongs to which tool while it
 * is open, bounded; never anything of a call's content.
 */
import type { EventFrame } from "../../protocol/entries.ts";
import type { Metrics } from "./metrics.ts";

/** Calls remembered at once: those of deleted sessions never end. */
const MAX_OPEN_CALLS = 50_000;

/** Call it with every committed entry of the process. Never throws. */
export function countEvents(metrics: Metrics): (event: EventFrame) => void {
  const tools = new Map<string, string>();
  return ({ event }) => {
    switch (event.type) {
      case "run-started":
        metrics.runsStarted.add(1);
        break;
      case "run-recovered":
        metrics.runsRecovered.add(1);
        break;
      case "step-finished":
      case "compacted":
        metrics.tokens.add(event.usage?.inputTokens ?? 0, "input");
        metrics.tokens.add(event.usage?.outputTokens ?? 0, "output");
        break;
      case "run-finished":
        metrics.runsFinished.add(1, event.reason);
        break;
      case "message":
        for (const part of event.message.parts) {
          if (part.type !== "dynamic-tool" || event.message.role !== "assistant") continue;
          const [oldest] = tools.size >= MAX_OPEN_CALLS ? tools.keys() : [];
          if (oldest !== undefined) tools.delete(oldest);
          tools.set(part.toolCallId, part.toolName);
        }
        break;
      case "tool-lost":
        metrics.toolLost.add(1, event.cause);
        break;
      case "tool-result": {
        // A call of before a restart is known by its id alone.
        const tool = tools.get(event.call) ?? "unknown";
        metrics.toolCalls.add(1, tool, event.outcome);
        if (event.attempt !== undefined) metrics.toolSeconds.observe(event.durationMs / 1000, tool);
        tools.delete(event.call);
        break;
      }
      default:
        break;
    }
  };
}
