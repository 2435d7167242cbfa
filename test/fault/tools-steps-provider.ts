/**
 * A provider process that dies at one step of a call, and may be started again as the same instance. Arguments: URL, folder
 * of its instance and its kept results, whether it keeps them there, file of its executions, step to die at. Owns that one
 * death; the provider's part is the client library's.
 */
import { appendFileSync } from "node:fs";
import { connect } from "../../client/index.ts";
import { keepIn } from "../../client/node.ts";

const [url = "", folder = "", keeps = "", file = "", step = ""] = process.argv.slice(2);
const die = (at: string): void => {
  if (at === step) process.kill(process.pid, "SIGKILL");
};

const { instance, results } = await keepIn(folder);
const keeping = {
  ...results,
  async keep(result: Parameters<typeof results.keep>[0]) {
    await results.keep(result);
    die("the result is kept");
  },
};
const client = connect({
  url,
  instance,
  user: { id: "provider" },
  ...(keeps === "keeps" ? { results: keeping } : {}),
});
client.on("frame", (frame) => {
  if (frame.type === "call") die("the call came");
  if (frame.type === "resultAck") {
    die("the answer to the result came");
    console.log(`told ${frame.verdict}`);
    setImmediate(() => die("the result is confirmed"));
  }
});
const tool = (effect: "pure" | "idempotent" | "once") => ({
  description: "Leaves a trace.",
  input: { type: "object" },
  effect,
  execute: (_: unknown, { progress }: { progress: (value: unknown) => void }) => {
    appendFileSync(file, "x");
    die("it was accepted and began");
    progress({ half: true });
    return new Promise((resolve) => {
      setImmediate(() => {
        die("progress was sent");
        resolve("done");
        if (step === "it was done") die(step);
      });
    });
  },
});
await client.provideTools({ pure: tool("pure"), idempotent: tool("idempotent"), once: tool("once") });
console.log("offered");
die("it offered");
