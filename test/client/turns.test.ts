/**
 * The lines of a chat about whose turn it is, as somebody pipes them, against a real server.
 */
import { spawnNode } from "../support/process.ts";
import { compiled } from "../support/root.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";

const test = suite("turns in a chat");

test("the queue is listed and changed, the floor said and set, and a rollback goes first", async () => {
  const server = await TestServer.start({ store: "memory" });
  const chat = spawnNode([compiled("server/main.ts"), "chat", "--as", "ann"], {
    env: { HAULOUT_URL: server.url },
  });
  const lines = [
    JSON.stringify({ script: [{ text: "so" }, { stall: 600_000 }] }),
    "one",
    "two",
    "three",
    "/queue",
    "/first 3",
    "/edit 1 THREE",
    "/withdraw 2",
    "/queue",
    "/first 9",
    "/floor",
    "/floor hand",
    "/floor everybody",
    "/pass",
    "/take",
    "/floor",
    "/rollback now this",
  ];
  chat.stdin.end(`${lines.join("\n")}\n`);
  await chat.exited;
  assert.equal(chat.stderr, [
    "1 ann: one",
    "2 ann: two",
    "3 ann: three",
    "1 ann: THREE",
    "2 ann: two",
    "there is no such input: /queue lists them by number",
    "the floor: open to all, in turns",
    "the floor is one of open, queue, owner-only, hand",
    "the floor: ann has it",
  ]);
  const shown = chat.stdout.filter((line) => /^(ann>|--)/.test(line)).slice(1);
  assert.equal(shown, [
    "-- an input was withdrawn by ann",
    "-- the floor: ann has it",
    "-- the floor: nobody has it, /take takes it",
    "-- the floor: ann has it",
    "-- the run ended: cancelled; the agent does not read it any more",
    "ann> now this",
    "ann> THREE",
    "ann> two",
  ]);
  await server.kill();
});

test("another agent answers as a guest, under its own name, also of what waits", async () => {
  const agents = [{ name: "clerk" }, { name: "critic" }];
  const server = await TestServer.start({ store: "memory", config: { agents } });
  const chat = spawnNode([compiled("server/main.ts"), "chat", "--as", "ann", "--agent", "clerk"], {
    env: { HAULOUT_URL: server.url },
  });
  const slow = JSON.stringify({ script: [{ text: "so" }, { stall: 600_000 }] });
  const lines = ["/ask", `/ask critic ${slow}`, "/ask nobody hello", "/ask clerk why?", "/queue", "/cancel"];
  chat.stdin.end(`${lines.join("\n")}\n`);
  await chat.exited;
  assert.equal(chat.stderr, [
    "agents: clerk, critic; /ask AGENT TEXT asks one",
    "not-found: agent 'nobody' not registered",
    "1 ann: why? (to clerk)",
  ]);
  const shown = chat.stdout.filter((line) => /^(clerk|critic|--)/.test(line));
  assert.is(shown[0], "critic: so");
  assert.match(shown[1]!, /cancelled/);
  assert.match(shown[2]!, /^clerk: You said “why\?”/);
  await server.kill();
});

test.run();
