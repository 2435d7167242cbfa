/**
 * The client that was written from SPEC.md alone, in another language, passes against the real server: one test a check.
 */
// limit: 300 s
import { join } from "node:path";
import { spawnProcess } from "../support/process.ts";
import { repositoryRoot } from "../support/root.ts";
import { assert, suite } from "../support/suite.ts";
import { ensureTool, findTool } from "../support/tools.ts";
import { startServer } from "./wire.ts";

const test = suite("client.py");

if (await ensureTool("python3")) {
  const { url } = await startServer();
  const script = join(repositoryRoot, "test", "conformance", "client.py");
  const python = spawnProcess(findTool("python3")!, ["-B", script, url]);
  const end = await python.exited;
  const output = [...python.stdout, ...python.stderr].join("\n");
  for (const line of python.stdout) {
    const check = /^(ok|FAIL) {2,4}(.+)$/.exec(line);
    if (check !== null) test(check[2]!, () => assert.is(check[1], "ok", output));
  }
  test("ends with 0 and tells what it counted", () => {
    assert.is(end.code, 0, output);
    assert.match(python.stdout.at(-1)!, /^\d+ passed, 0 failed$/);
  });
} else {
  test.skip("all checks", "python3 is not here");
}

test.run();
