/**
 * A life of a process in which one agent gives two tasks at once, one of which gives another, and that dies of SIGKILL after
 * its n-th commit, or goes on with what it finds. As a process of its own its arguments are those of `live`, and it prints
 * each log as one JSON line.
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
import { asProcess } from "./lives.ts";
import { Runs } from "./runs.ts";

const SESSION = "lead";
const TASKS = 3;
const play = (...items: object[]): string => JSON.stringify({ script: items });
const gives = (...tasks: string[]): object => ({
  calls: tasks.map((task) => ({ tool: "delegate", input: { agent: "worker", task } })),
});
const caller = {
  actor: { kind: "user" as const, id: "ann", name: "Ann", verified: false },
  rights: ["admin"],
};

/** The log of each session once all is done. `at`: n, or 0; `cancel`: somebody cancels once all tasks are given. */
export async function live(
  directory: string,
  at: number,
  mode: "finish" | "cancel",
): Promise<EventFrame[][]> {
  const stalls = play({ text: "at work" }, { stall: 600_000 });
  const leaf = mode === "cancel" ? stalls : play({ text: "leaf" });
  const middle = play(gives(leaf), { text: "middle" });
  const store = await EmbeddedStore.open(join(directory, "data"));
  let commits = 0;
  const queue = new CommitQueue(store, {
    onCommit: () => {
      if (++commits === at) process.kill(process.pid, "SIGKILL");
    },
  });
  const runtime = new Runtime(scriptedModel, [], { store, commits: queue, maxRuns: 2 });
  await runtime.addAgent({ name: "worker", members: ["worker"] });

  const { registry } = runtime;
  const runs = new Runs();
  const given = new Set<string>();
  let sent: string | undefined;
  const see = (entry: EventFrame): void => {
    if (entry.session === SESSION) runs.see(entry);
    if (entry.event.type === "tool-delegated") given.add(entry.event.child);
  };
  const cancelOnceGiven = (): void => {
    if (mode !== "cancel" || given.size < TASKS || sent === undefined) return;
    const input = sent;
    sent = undefined;
    void registry.with(SESSION, async (session) => {
      const { run } = session.state;
      if (run?.input === input) await cancel(session, caller, run.run);
    });
  };
  runtime.onEvent = (event) => {
    if (event.type !== "event") return;
    see(event);
    cancelOnceGiven();
  };
  const run = async (key: string, content: string): Promise<void> => {
    const { input } = await registry.with(SESSION, (session) =>
      send(session, caller, { key, content }, runtime),
    );
    if (key === "sent") sent = input;
    cancelOnceGiven();
    await runs.over(input);
  };

  await runtime.start();
  await createSession(registry, store, caller, { agent: "worker", session: SESSION, key: "made" });
  for await (const id of runtime.sessions()) for (const entry of await readLog(store, id)) see(entry);
  await run("sent", play(gives(middle, leaf), { text: "done" }));
  await run("next", play({ text: "yes" }));
  const logs: EventFrame[][] = [];
  for await (const id of runtime.sessions()) logs.push(await readLog(store, id));
  await runtime.close();
  return logs;
}

await asProcess(import.meta.url, ([directory = "", at = "0", mode]) =>
  live(directory, Number(at), mode === "cancel" ? mode : "finish"),
);
