/**
 * A provider process of the tools chaos, made with the client library as anybody would: a map of functions. Arguments:
 * URL, name, instance, directory of the traces. Owns the side effects: each step of an execution is a line appended to
 * the file of its call. On SIGTERM it drains and says so.
 */
import { randomUUID } from "node:crypto";
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../client/index.ts";
import type { CallContext, ToolDefinition } from "../../client/index.ts";
import { TOOLS } from "./tools-rules.ts";
import type { ChaosInput, Trace } from "./tools-rules.ts";

const [url = "", name = "", instance = "", directory = ""] = process.argv.slice(2);

function trace(
  what: Trace["what"],
  { session, call, attempt }: Pick<Trace, "session" | "call" | "attempt">,
  more: Pick<Trace, "nonce" | "verdict"> = {},
): void {
  const { pid } = process;
  const line: Trace = { what, session, call, attempt, provider: name, pid, at: Date.now(), ...more };
  // One write with O_APPEND: lines of several processes do not mix.
  appendFileSync(join(directory, call), `${JSON.stringify(line)}\n`);
}

async function execute(tool: string, { work, mode }: ChaosInput, context: CallContext): Promise<unknown> {
  const nonce = randomUUID();
  const { signal } = context;
  trace("begin", context, { nonce });
  const aborted = (): void => trace("abort", context, { nonce });
  if (signal.aborted) aborted();
  else signal.addEventListener("abort", aborted, { once: true });
  context.progress({ nonce });
  const stoppable = mode === "finish" ? undefined : signal;
  try {
    await sleep(work / 2, undefined, { signal: stoppable });
    trace("effect", context, { nonce });
    await sleep(work / 2, undefined, { signal: stoppable });
    if (tool.endsWith("_hang")) await sleep(600_000, undefined, { signal });
  } catch {
    // The timer's own error says nothing of why.
    signal.throwIfAborted();
  }
  if (mode === "fail") throw Object.assign(new Error("it went wrong"), { code: "broken" });
  trace("end", context, { nonce });
  return { nonce };
}

const client = connect({
  url,
  instance,
  user: { id: "provider" },
  backoff: { firstMs: 60, minMs: 20, baseMs: 40, youngCapMs: 150, capMs: 150 },
});
client.on("frame", (frame) => {
  if (frame.type === "resultAck") trace("verdict", frame, { verdict: frame.verdict });
});
const tools: Record<string, ToolDefinition> = {};
for (const [tool, { effect, timeoutMs }] of Object.entries(TOOLS)) {
  tools[tool] = {
    description: "Leaves traces.",
    input: { type: "object" },
    effect,
    timeoutMs,
    execute: (input, context) => execute(tool, input as ChaosInput, context),
  };
}
const provided = await client.provideTools(tools, { maxConcurrent: 8 });
process.once("SIGTERM", () => {
  void provided.drain().then(() => {
    console.log(`drained, ${provided.running} running`);
    process.exit(0);
  });
});
console.log("offered");
