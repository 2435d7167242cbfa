/**
 * What waits for one's answer, through the client library and the command: kept across connections and restarts of a real
 * server, and answered by lines.
 */
import { connect, type Client } from "../../client/index.ts";
import { newId } from "../../protocol/ids.ts";
import { spawnNode } from "../support/process.ts";
import { compiled } from "../support/root.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";

const test = suite("inbox");
const QUESTION = { questions: [{ id: "q", text: "Now?", kind: "text" }] };
const ASKS = JSON.stringify({ script: [{ calls: [{ tool: "ask", input: QUESTION }] }, { text: "thanks" }] });
let server: TestServer;
const clients: Client[] = [];

test.before.each(async () => {
  server = await TestServer.start({ config: { agents: [{ name: "demo", tools: ["ask"] }] } });
});
test.after.each(async () => {
  for (const client of clients.splice(0)) client.close();
  await server.kill();
});

function client(user: string): Client {
  const made = connect({ url: server.url, user: { id: user } });
  clients.push(made);
  return made;
}

async function ask(on: Client): Promise<string> {
  const { session } = await on.createSession({ agent: "demo", title: "Ask" });
  await on.request("send", { session, key: newId("key"), content: ASKS });
  return session;
}

/** Resolves once the watch says so. */
function when(watching: ReturnType<Client["watch"]>, holds: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (holds()) resolve();
    };
    watching.on("request", look);
    watching.on("session", look);
    watching.on("listed", look);
    look();
  });
}

test("a watch has what was there, what comes, and what is over", async () => {
  const ada = client("ada");
  const before = await ask(ada);
  const watching = client("bob").watch({ sessions: {}, requests: true });
  const sessions = (): string[] => [...watching.requests.values()].map((item) => item.session).toSorted();
  await when(watching, () => watching.isListed && sessions().includes(before));
  const after = await ask(ada);
  await when(watching, () => sessions().length === 2);
  assert.equal(sessions(), [before, after].toSorted());
  await when(watching, () => watching.sessions.get(after)?.requests === 1);
  const [first] = watching.requests.values();
  const { session, request } = first!;
  await ada.request("answer", { session, request: request.request, answers: { q: "yes" } });
  await when(watching, () => sessions().length === 1);
  watching.end();
});

test("a watch goes on over a restart of the server, with what it missed", async () => {
  const ada = client("ada");
  const first = await ask(ada);
  const other = client("bob");
  const watching = other.watch({ requests: true });
  await when(watching, () => watching.isListed && watching.requests.size === 1);
  const { port } = server;
  await server.kill();
  server = await TestServer.start({
    data: server.data,
    config: { agents: [{ name: "demo", tools: ["ask"] }] },
    env: { HAULOUT_PORT: String(port) },
  });
  await when(watching, () => watching.isListed && watching.requests.size === 1);
  const second = await ask(ada);
  await when(watching, () => watching.requests.size === 2);
  assert.equal(
    [...watching.requests.values()].map(({ session }) => session).toSorted(),
    [first, second].toSorted(),
  );
});

test("haulout inbox lists what waits, and answers by lines", async () => {
  const session = await ask(client("ada"));
  const env = { HAULOUT_URL: server.url };
  const main = compiled("server/main.ts");
  const listing = spawnNode([main, "inbox"], { env });
  assert.is((await listing.exited).code, 0);
  const text = listing.stdout.join("\n");
  assert.ok(text.startsWith(`1 question by demo, for ada in ${session} "Ask", until `), text);
  assert.ok(text.includes("    q: Now?"), text);
  const watching = spawnNode([main, "inbox", "--watch"], { env });
  await watching.waitForLine(/^1 question/, 10_000);
  watching.stdin.write("answer 7 yes\n");
  watching.stdin.write("answer 1 yes\n");
  await watching.waitForLine(/^1 is over: approve$/, 10_000);
  watching.stdin.end();
  assert.is((await watching.exited).code, 1, "a line that failed makes it so");
  assert.ok(watching.stderr.includes("there is no item 7"), watching.stderr.join("\n"));
  const after = spawnNode([main, "inbox", "--json"], { env });
  assert.is((await after.exited).code, 0);
  assert.equal(after.stdout, []);
});

test.run();
