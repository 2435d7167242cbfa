/**
 * A life of a process that sends a scripted message to a session, then a plain one, and dies of SIGKILL after its n-th
 * commit, or goes on with what it finds. Owns two tools, which leave a trace of each execution in a file, and leaves what
 * ann used in another. As a process of its own its arguments are those of `live`, and it prints the log as JSON lines.
 */
import { appendFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { EventFrame } from "../../protocol/entries.ts";
import { scriptedModel } from "../../server/model/scripted.ts";
import { Runtime } from "../../server/runtime.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import { answer } from "../../server/session/answer.ts";
import { send } from "../../server/session/commands.ts";
import { createSession } from "../../server/session/create.ts";
import { CommitQueue } from "../../server/store/commit.ts";
import { EmbeddedStore } from "../../server/store/embedded.ts";
import { readLog } from "../support/runtime.ts";
import { asProcess } from "./lives.ts";
import { Runs } from "./runs.ts";

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
const SHORT = { script: [{ calls: [{ tool: "buy" }] }, { text: "done" }] };

/**
 * The log once both runs have ended. `at`: n, or the type of an entry to die at, or the name of a tool to die in, or 0;
 * `asked` where two people are asked about each purchase, who say yes; `tokens`: the session's budget, if any.
 */
export async function live(
  directory: string,
  at: string,
  policy: string,
  asked?: string,
  tokens?: string,
): Promise<EventFrame[]> {
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
    ...(tokens === undefined ? {} : { budgets: { session: { tokens: Number(tokens) } } }),
  });
  const trace = (name: string): object => {
    appendFileSync(join(directory, name), "x");
    if (name === at) process.kill(process.pid, "SIGKILL");
    return { done: name };
  };
  runtime.registerTool({ name: "look", effect: "pure", inputSchema: {}, execute: () => trace("look") });
  const approval = { mode: "always" as const, by: { count: 2 }, remember: true };
  runtime.registerTool({
    name: "buy",
    effect: "once",
    inputSchema: {},
    execute: () => trace("buy"),
    ...(asked === "asked" ? { approval } : {}),
  });
  await runtime.addAgent({ name: "shopper", crashPolicy: policy as "stop" });

  const caller = {
    actor: { kind: "user" as const, id: "ann", name: "Ann", verified: false },
    rights: ["admin"],
  };
  const runs = new Runs();
  runtime.onEvent = (event) => {
    if (event.type !== "event") return;
    if (event.event.type === at) process.kill(process.pid, "SIGKILL");
    runs.see(event);
    if (event.event.type === "request-opened") approve(event.event.request);
  };
  for (const entry of await readLog(store, SESSION)) runs.see(entry);

  /** Two people, who do not know what a process before this one was told. */
  function approve(request: string): void {
    const said = { request, decision: "approve", remember: { what: "tool", for: "session" } } as const;
    for (const id of ["ann", "bob"]) {
      const by = { ...caller, actor: { ...caller.actor, id } };
      runtime.registry
        .with(SESSION, (session) => answer(session, by, said, store))
        .catch((error: unknown) => {
          // What is resolved needs no answer.
          if (!(error instanceof ProtocolError) || error.code !== "conflict") throw error;
        });
    }
  }

  async function run(key: string, content: string): Promise<void> {
    const { input } = await runtime.registry.with(SESSION, (session) =>
      send(session, caller, { key, content }, runtime),
    );
    await runs.over(input);
  }

  await runtime.start();
  await createSession(runtime.registry, store, caller, { agent: "shopper", session: SESSION, key: "made" });
  for (const { request } of (await runtime.session(SESSION))?.requests ?? []) approve(request);
  await run("sent", JSON.stringify(asked === "asked" ? SHORT : SCRIPT));
  await run("next", JSON.stringify({ script: [{ text: "yes" }] }));
  const log = await readLog(store, SESSION);
  writeFileSync(join(directory, "spent"), JSON.stringify(await store.spent("ann", 0)));
  await runtime.close();
  return log;
}

await asProcess(import.meta.url, ([directory = "", at = "0", policy = "restart-step", asked, tokens]) =>
  live(directory, at, policy, asked, tokens),
);
