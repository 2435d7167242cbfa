/**
 * A life of a process that has a run whose context is compacted at every step, then a summary that a member asks for,
 * another run and a fork; it dies of SIGKILL after its n-th commit or in the middle of a summary, or goes on with what it
 * finds. As a process of its own its arguments are those of `live`, and it prints each log as one JSON line.
 */
import { join } from "node:path";
import type { EventFrame } from "../../protocol/entries.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { Model, ModelRequest } from "../../server/model/model.ts";
import { Runtime } from "../../server/runtime.ts";
import { send } from "../../server/session/commands.ts";
import { createSession } from "../../server/session/create.ts";
import { fork } from "../../server/session/fork.ts";
import { CommitQueue } from "../../server/store/commit.ts";
import { EmbeddedStore } from "../../server/store/embedded.ts";
import { readLog } from "../support/runtime.ts";
import { asProcess } from "./lives.ts";
import { Runs } from "./runs.ts";

const SESSION = "onward";
const LOOKS = 3;
const full = { inputTokens: 80, outputTokens: 1 };
const die = (): void => void process.kill(process.pid, "SIGKILL");

/** How often the tool has been looked with, as far as a prompt tells. */
function looks({ messages }: ModelRequest): number {
  const text = JSON.stringify(messages);
  const before = Number(/(\d+) looks so far/.exec(text)?.[1] ?? 0);
  return before + [...text.matchAll(/"call":"call_\w+","tool":"look","ok"|{\\"tool\\":\\"look\\"/g)].length;
}

/** The log of each session once all is done. `at`: n, or `summary:n`, or 0. */
export async function live(directory: string, at: string): Promise<EventFrame[][]> {
  let summaries = 0;
  /** Knows what it has done from the prompt alone, so that a summary which is wrong or lost shows. */
  const counting: Model = {
    id: "counting",
    async *stream(request) {
      await Promise.resolve();
      const done = looks(request);
      if (request.toolChoice === "none") {
        yield { type: "text", block: "0", text: `${done} looks ` };
        if (at === `summary:${++summaries}`) die();
        yield { type: "text", block: "0", text: "so far" };
        yield { type: "finish", reason: "stop", usage: full };
      } else if (done < LOOKS) {
        yield { type: "tool-call", block: "0", tool: "look", input: JSON.stringify({ number: done }) };
        yield { type: "finish", reason: "tool-calls", usage: full };
      } else {
        yield { type: "text", block: "0", text: `looked ${done} times` };
        yield { type: "finish", reason: "stop", usage: full };
      }
    },
  };

  const store = await EmbeddedStore.open(join(directory, "data"));
  let commits = 0;
  const queue = new CommitQueue(store, {
    onCommit: () => {
      if (++commits === Number(at)) die();
    },
  });
  const runtime = new Runtime(counting, [], {
    store,
    commits: queue,
    router: { graceMs: 100, noProviderMs: 100 },
  });
  runtime.registerTool({ name: "look", effect: "pure", inputSchema: {}, execute: () => "seen" });
  await runtime.addAgent({ name: "looker", compaction: { contextWindow: 100 } });

  const runs = new Runs();
  runtime.onEvent = (event) => void (event.type === "event" && runs.see(event));
  for (const entry of await readLog(store, SESSION)) runs.see(entry);

  const caller = {
    actor: { kind: "user" as const, id: "ann", name: "Ann", verified: false },
    rights: ["admin"],
  };
  const { registry } = runtime;

  async function run(key: string): Promise<void> {
    const { input } = await registry.with(SESSION, (session) =>
      send(session, caller, { key, content: "look around" }, runtime),
    );
    await runs.over(input);
  }

  await runtime.start();
  await createSession(registry, store, caller, { agent: "looker", session: SESSION, key: "made" });
  await run("first");
  try {
    await registry.with(SESSION, (session) => session.compactor.run(caller));
  } catch (error) {
    // It is there from the life before, and the second run may be open already.
    if (!(error instanceof ProtocolError) || !["conflict", "busy"].includes(error.code)) throw error;
  }
  await run("second");
  await registry.with(SESSION, ({ state }) => fork(registry, store, caller, state));
  const logs: EventFrame[][] = [];
  for await (const id of runtime.sessions()) logs.push(await readLog(store, id));
  await runtime.close();
  return logs;
}

await asProcess(import.meta.url, ([directory = "", at = "0"]) => live(directory, at));
