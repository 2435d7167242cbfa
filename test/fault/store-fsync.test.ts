/**
 * fsync before ack, seen from outside: a writer runs under strace, and for every ack that it says, the log write with
 * that entry must have been followed by an fdatasync that had returned before the ack was written. Skipped where strace
 * is not to be had or may not trace.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { spawnProcess, temporaryDirectory } from "../support/process.ts";
import { assert, suite } from "../support/suite.ts";
import { ensureTool, findTool } from "../support/tools.ts";
import { contentOf } from "./store-load.ts";

const WRITER = fileURLToPath(new URL("./store-writer.js", import.meta.url));
const test = suite("fsync before ack");

interface Call {
  readonly name: string;
  readonly fd: string;
  /** What was written, as strace shows it. */
  readonly text: string;
  readonly begins: number;
  /** The line in which it returns. */
  ends: number;
  result: string;
}

/** System calls of all threads; positions are lines, which strace writes in the order of events. */
function callsIn(trace: string): Call[] {
  const calls: Call[] = [];
  const unfinished = new Map<string, Call>();
  for (const [line, text] of trace.split("\n").entries()) {
    const started = /^(\d+) +(\w+)\((\d+)(.*)$/.exec(text);
    const resumed = /^(\d+) +<\.\.\. \w+ resumed>.*= (-?\d+)/.exec(text);
    if (started !== null) {
      const [, thread = "", name = "", fd = "", rest = ""] = started;
      const result = / = (-?\d+)[^=]*$/.exec(rest)?.[1];
      const call = {
        name,
        fd,
        text: rest,
        begins: line,
        ends: result === undefined ? Infinity : line,
        result: result ?? "",
      };
      calls.push(call);
      if (result === undefined) unfinished.set(thread, call);
    } else if (resumed !== null) {
      const [, thread = "", result = ""] = resumed;
      const call = unfinished.get(thread);
      if (call !== undefined) Object.assign(call, { ends: line, result });
      unfinished.delete(thread);
    }
  }
  return calls;
}

const strace = (await ensureTool("strace")) ? findTool("strace") : undefined;
const traces = strace !== undefined && spawnSync(strace, ["-o", "/dev/null", "true"]).status === 0;

if (strace === undefined || !traces) {
  test.skip("every ack comes after the fdatasync that covers it", "needs strace, and the right to trace");
} else {
  test("every ack comes after the fdatasync that covers it", { limitMs: 120_000 }, async () => {
    const output = join(temporaryDirectory(), "trace");
    const filter = ["-f", "-e", "trace=fdatasync,fsync,write", "-s", "1000000", "-o", output];
    const writer = spawnProcess(strace, [
      ...filter,
      process.execPath,
      WRITER,
      temporaryDirectory(),
      "7",
      "5",
    ]);
    const [, pid] = await writer.waitForLine(/^opening (\d+)$/);
    await writer.waitForLine(/^total 500$/, 60_000);
    // strace itself would leave the writer running.
    process.kill(Number(pid), "SIGKILL");
    await writer.exited;
    const calls = callsIn(readFileSync(output, "utf8"));
    const syncs = calls.filter(({ name, result }) => name.endsWith("sync") && result === "0");
    const logs = calls.filter(({ name, fd }) => name === "write" && Number(fd) > 2);
    let proven = 0;
    for (const said of calls.filter(({ name, fd }) => name === "write" && fd === "1")) {
      const ack = /^, "ack (\w+) (\d+)\\n/.exec(said.text);
      if (ack === null) continue;
      const [, id = "", seq = ""] = ack;
      const content = contentOf(id, Number(seq)).slice(0, 40);
      const logged = logs.filter(({ text }) => text.includes(content)).at(0);
      // A record that crosses a block of the log is written in two pieces; its content may be cut anywhere.
      if (logged === undefined) continue;
      const covered = syncs.some(
        ({ fd, begins, ends }) => fd === logged.fd && begins > logged.ends && ends < said.begins,
      );
      assert.ok(covered, `${id} ${seq} was acked before it was synced`);
      proven++;
    }
    console.log(`${proven} acks, each after its fdatasync; ${syncs.length} syncs`);
    assert.ok(proven > 300);
  });
}

test.run();
