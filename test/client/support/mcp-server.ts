/**
 * An MCP server of its own process, made with MCP's own library, whose tools a test steers: one that waits for its abort,
 * two that end the process the first time, one that changes the list. Writes what happens to the file of its argument.
 */
import { appendFileSync, existsSync, writeFileSync } from "node:fs";
import { McpServer } from "@modelcontextprotocol/server";
import { StdioServerTransport } from "@modelcontextprotocol/server/stdio";
import { z } from "zod";

const [, , file = ""] = process.argv;
const note = (line: string): void => appendFileSync(file, `${line}\n`);
const server = new McpServer({ name: "steered", version: "1.0.0" });
const text = (value: string) => ({ content: [{ type: "text" as const, text: value }] });

server.registerTool("wait", { description: "Waits for its abort." }, async (context) => {
  note("waits");
  const { signal } = context.mcpReq;
  await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  note("aborted");
  return text("aborted");
});
for (const [name, readOnlyHint] of [
  ["die_pure", true],
  ["die_once", false],
] as const) {
  server.registerTool(
    name,
    {
      description: "Ends the process unless the file is there.",
      inputSchema: z.object({ mark: z.string() }),
      annotations: { readOnlyHint },
    },
    ({ mark }) => {
      note(name);
      if (existsSync(mark)) return text("the second time");
      writeFileSync(mark, "");
      process.exit(1);
    },
  );
}
const shrinking = server.registerTool("shrinking", { description: "Goes away." }, () => text("here"));
server.registerTool("change", { description: "Adds one tool, removes another." }, () => {
  shrinking.remove();
  server.registerTool("grown", { description: "Was not there before." }, () => text("grown"));
  return text("changed");
});

await server.connect(new StdioServerTransport());
note("started");
