/**
 * Answering in a chat what the session asks of people, as somebody types it or pipes it, against a real server.
 * limit: 120 s
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { spawnNode, temporaryDirectory } from "../support/process.ts";
import { compiled } from "../support/root.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";

const MAIN = compiled("server/main.ts");
const test = suite("a chat with people in the loop");
const script = (...steps: object[]): string => JSON.stringify({ script: steps });
const GREET = `export default { greet: { description: "Greets.", effect: "pure",
  input: { type: "object", properties: { name: { type: "string" } }, required: ["name"] },
  execute: ({ name }) => "hello " + name } };`;

function fileOf(name: string, text: string): string {
  const file = join(temporaryDirectory(), name);
  writeFileSync(file, text);
  return file;
}

test("what waits for people is answered by a line: allowed, refused, changed, and a question by numbers", async () => {
  const ask = {
    calls: [
      {
        tool: "ask",
        input: {
          questions: [
            { id: "why", text: "Why?", kind: "text" },
            { id: "which", text: "Which?", kind: "choices", options: ["red", "green", "blue"] },
          ],
        },
      },
    ],
  };
  const asking = await TestServer.start({
    store: "memory",
    config: {
      agents: [
        {
          name: "clerk",
          tools: ["*", "ask"],
          approvals: { greet: { mode: "always", editable: true, remember: true } },
        },
      ],
    },
  });
  const greet = spawnNode([MAIN, "tools", fileOf("greet.mjs", GREET)], { env: { HAULOUT_URL: asking.url } });
  await greet.waitForLine(/greet/);
  const call = (name: string): object => ({ calls: [{ tool: "greet", input: { name } }] });
  const lines = [
    script(call("a"), { text: "done" }),
    "n not now",
    script(call("b"), { text: "done" }),
    'e {"name":"c"}',
    script(call("d"), { text: "done" }),
    "a",
    script(call("e"), { text: "done" }),
    script(ask, { text: "done" }),
  ];
  const chat = spawnNode([MAIN, "chat", "--as", "ann"], { env: { HAULOUT_URL: asking.url } });
  chat.stdin.write(lines.map((line) => `${line}\n`).join(""));
  await chat.waitForLine(/asked: Which\? 1\) red 2\) green 3\) blue/);
  chat.stdin.end("because\n1,3\n");
  const { code } = await chat.exited;
  assert.is(code, 0, chat.stderr.join("\n"));
  const shown = chat.stdout
    .filter((line) => /^ {2}[?*]/.test(line))
    .map((line) => line.replace(/ in \d.*? (m?s)\b/, ""));
  assert.equal(shown, [
    '  ? approval wanted: greet({"name":"a"})',
    "  ? deny by ann",
    '  * greet({"name":"a"}) denied: "ann" said no: "not now"',
    '  ? approval wanted: greet({"name":"b"})',
    "  ? approve by ann",
    '  * greet({"name":"c"}) ok "hello c"',
    '  ? approval wanted: greet({"name":"d"})',
    "  ? approve by ann",
    '  * greet({"name":"d"}) ok "hello d"',
    '  * greet({"name":"e"}) ok "hello e"',
    "  ? asked: Why?",
    "  ? asked: Which? 1) red 2) green 3) blue",
    "  ? approve by ann",
    shown.at(-1)!,
  ]);
  assert.match(shown.at(-1)!, /ok \{"answers":\{"why":"because","which":\["red","blue"\]\}/);
  greet.kill("SIGTERM");
  await asking.kill();
});

test.run();
