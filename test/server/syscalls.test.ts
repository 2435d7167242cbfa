// limit: 300 s
/**
 * What work costs the system, in calls and never in time: a whole server under strace. Beside counts.test.ts, which counts
 * what the server says that it writes; here is counted what it does. Skipped where strace is not to be had or may not trace.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { spawnProcess, temporaryDirectory } from "../support/process.ts";
import { Reader } from "../support/reader.ts";
import { compiled } from "../support/root.ts";
import { assert, suite } from "../support/suite.ts";
import { ensureTool, findTool } from "../support/tools.ts";
import { Wire } from "../support/wire.ts";

const test = suite("system calls");
const READERS = 20;
const NAME = "a run for many readers: a write per message, and a sync per commit";

const strace = (await ensureTool("strace")) ? findTool("strace") : undefined;
const traces = strace !== undefined && spawnSync(strace, ["-o", "/dev/null", "true"]).status === 0;

if (strace === undefined || !traces) test.skip(NAME, "needs strace, and the right to trace");
else
  test(NAME, { limitMs: 120_000 }, async () => {
    const trace = join(temporaryDirectory(), "trace");
    const data = temporaryDirectory();
    const server = spawnProcess(
      strace,
      ["-f", "-y", "-o", trace, process.execPath, compiled("server/main.ts"), "serve"],
      {
        cwd: data,
        env: { HAULOUT_PORT: "0", HAULOUT_DATA: data, HAULOUT_LOG: "error" },
      },
    );
    const [, address = ""] = await server.waitForLine(/listening on http:\/\/(\S+)/, 60_000);
    // strace itself would leave the server running.
    const [pid] = readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, "utf8").split(" ");

    let messages = 0;
    const connect = async (): Promise<Wire> => {
      const wire = await Wire.open(`ws://${address}/ws`);
      wire.socket.on("message", () => messages++);
      await wire.hello();
      return wire;
    };
    const wires = await Promise.all(Array.from({ length: READERS }, connect));
    const [sender] = wires as [Wire];
    const { session } = await sender.ok("createSession", { agent: "demo" });
    const readers = await Promise.all(
      wires.map(async (wire) => {
        const reader = new Reader(session as string);
        await reader.enter(wire);
        return reader;
      }),
    );
    const text = "Word after word after word. ".repeat(40);
    const script = [{ text, chunk: 4, rate: 2000 }];
    const { input } = await sender.ok("send", { session, key: "k", content: JSON.stringify({ script }) });
    await Promise.all(readers.map((reader) => reader.runOf(input as string)));
    for (const wire of wires) await wire.close();
    process.kill(Number(pid), "SIGTERM");
    await server.exited;

    const all = readFileSync(trace, "utf8").split("\n");
    const lines = all.slice(all.findIndex((line) => /^\d+ +accept4?\(/.test(line)));
    const count = (pattern: RegExp): number => lines.filter((line) => pattern.test(line)).length;
    const writes = count(/^\d+ +(write|writev|sendto|sendmsg)\(\d+<(TCP|socket):/);
    const syncs = count(/^\d+ +f(data)?sync\(/);
    // The answer to an upgrade, and the two ends of a close.
    assert.ok(writes <= messages + 3 * READERS, `${writes} writes for ${messages} messages`);
    // Two of a turn go out together, but most are alone here, or the trace is not theirs.
    assert.ok(messages > 10 * READERS && writes > messages / 2, `${writes} writes for ${messages} messages`);
    // Of all kinds and threads: the write, what woke the loop for it, and what a connection costs from its start to its end.
    const calls = count(/^\d+ +[a-z]\w*\(/);
    assert.ok(calls <= 3 * messages + 40 * READERS, `${calls} calls for ${messages} messages`);
    // One of the creation, three of the run; the engine syncs what it opens with, and the log that it leaves.
    assert.ok(syncs >= 4 && syncs <= 4 + 6, `${syncs} syncs`);
  });

test.run();
