/**
 * A process that sends one scripted message to a session and dies of SIGKILL after its n-th commit, or goes on with what
 * it finds. Arguments: directory; n, or the type of an entry to die at, or 0; crash policy. Prints the log as JSON lines
 * once the run has ended. Owns two tools, which leave a trace of each execution in a file.
 */
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { decodeTrusted } from "../../protocol/codec.ts";
import { scriptedModel } from "../../server/model/scripted.ts";
import { Runtime } from "../../server/runtime.ts";
import { send } from "../../server/session/commands.ts";
import { createSession } from "../../server/session/create.ts";
import { CommitQueue } from "../../server/store/commit.ts";
import { EmbeddedStore } from "../../server/store/embedded.ts";

const [directory = "", at = "0", policy = "restart-step"] = process.argv.slice(2);
const SESSION = "crash";
const SCRIPT = {
  script: [
    { text: "first I look and buy " },
    { calls: [{ tool: "look" }, { tool: "buy" }] },
    { text: "then I look again " },
    { calls: [{ tool: "look" }] },
    { text: "done" },
  ],
};

const store = await EmbeddedStore.open(join(directory, "data"));
let commits = 0;
const queue = new CommitQueue(store, {
  onCommit: () => {
    if (++commits === Number(at)) process.kill(process.pid, "SIGKILL");
  },
});
const runtime = new Runtime(scriptedModel, [], {
  store,
  commits: queue,
  router: { graceMs: 100, noProviderMs: 100 },
});
const trace = (name: string): object => {
  appendFileSync(join(directory, name), "x");
  return { done: name };
};
runtime.registerTool({ name: "look", effect: "pure", inputSchema: {}, execute: () => trace("look") });
runtime.registerTool({ name: "buy", effect: "once", inputSchema: {}, execute: () => trace("buy") });
await runtime.addAgent({ name: "shopper", crashPolicy: policy as "stop" });

const caller = {
  actor: { kind: "user" as const, id: "ann", name: "Ann", verified: false },
  everything: true,
};
const finished = new Promise<void>((resolve) => {
  runtime.onEvent = (event) => {
    if (event.type !== "event") return;
    if (event.event.type === at) process.kill(process.pid, "SIGKILL");
    if (event.event.type === "run-finished") resolve();
  };
});
await runtime.start();
await createSession(runtime.registry, store, caller, { agent: "shopper", session: SESSION, key: "made" });
await runtime.registry.with(SESSION, (session) =>
  send(session, caller, { key: "sent", content: JSON.stringify(SCRIPT) }, { store, maxQueue: 64 }),
);
const { state } = await runtime.registry.with(SESSION, (session) => Promise.resolve(session));
if (state.lastRun === undefined) await finished;
for (const { bytes } of await store.read(SESSION, 0, 1000)) {
  process.stdout.write(`${JSON.stringify(decodeTrusted(bytes))}\n`);
}
await runtime.close();
