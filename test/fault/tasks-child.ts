/**
 * A process in which one agent gives two tasks at once, one of which gives another, and that dies of SIGKILL after its
 * n-th commit, or goes on with what it finds. Arguments: directory; n, or 0; `cancel` where somebody cancels the run once
 * all three tasks are at work, else `-`. Prints the log of each session as one JSON line once all is done.
 */
import { join } from "node:path";
import type { EventFrame } from "../../protocol/entries.ts";
import { scriptedModel } from "../../server/model/scripted.ts";
import { Runtime } from "../../server/runtime.ts";
import { cancel, send } from "../../server/session/commands.ts";
import { createSession } from "../../server/session/create.ts";
import { CommitQueue } from "../../server/store/commit.ts";
import { EmbeddedStore } from "../../server/store/embedded.ts";
import { readLog } from "../support/runtime.ts";
import { Runs } from "./runs.ts";

const [directory = "", at = "0", mode = "-"] = process.argv.slice(2);
const SESSION = "lead";
const play = (...items: object[]): string => JSON.stringify({ script: items });
const gives = (...tasks: string[]): object => ({
  calls: tasks.map((task) => ({ tool: "delegate", input: { agent: "worker", task } })),
});
const leaf =
  mode === "cancel"
    ? play({ text: "at work" }, { stall: 600_000 })
    : play({ calls: [{ tool: "look" }] }, { text: "leaf" });
const middle = play(gives(leaf), { text: "middle" });
const TASK = play(gives(middle, leaf), { text: "done" });

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
  maxRuns: 2,
  router: { graceMs: 100, noProviderMs: 100 },
});
runtime.registerTool({ name: "look", effect: "pure", inputSchema: {}, execute: () => "seen" });
await runtime.addAgent({ name: "worker", members: ["worker"] });

const caller = {
  actor: { kind: "user" as const, id: "ann", name: "Ann", verified: false },
  rights: ["admin"],
};
const { registry } = runtime;
const runs = new Runs();
const given = new Set<string>();
let sent: string | undefined;
runtime.onEvent = (event) => {
  if (event.type !== "event") return;
  see(event);
  cancelOnceGiven();
};
function see(entry: EventFrame): void {
  if (entry.session === SESSION) runs.see(entry);
  if (entry.event.type === "tool-delegated") given.add(entry.event.child);
}

function cancelOnceGiven(): void {
  if (mode !== "cancel" || given.size < 3 || sent === undefined) return;
  const input = sent;
  sent = undefined;
  void registry.with(SESSION, async (session) => {
    const { run } = session.state;
    if (run?.input === input) await cancel(session, caller, run.run);
  });
}

async function run(key: string, content: string): Promise<void> {
  const { input } = await registry.with(SESSION, (session) =>
    send(session, caller, { key, content }, runtime),
  );
  if (key === "sent") sent = input;
  cancelOnceGiven();
  await runs.over(input);
}

await runtime.start();
await createSession(registry, store, caller, { agent: "worker", session: SESSION, key: "made" });
for await (const id of runtime.sessions()) for (const entry of await readLog(store, id)) see(entry);
await run("sent", TASK);
await run("next", play({ text: "yes" }));
for await (const id of runtime.sessions())
  process.stdout.write(`${JSON.stringify(await readLog(store, id))}\n`);
await runtime.close();
