/**
 * What is remembered for a user in all sessions, through the commands of a real server: listed, in a backup, not in an
 * import, taken back, and in the audit log.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../fault/backup-load.ts";
import { temporaryDirectory } from "../support/process.ts";
import { script } from "../support/runtime.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { Wire, type Frame } from "../support/wire.ts";

const test = suite("allowed in all sessions");
const ASKED = script({ calls: [{ tool: "pay", input: {} }] });
const auditLog = join(temporaryDirectory(), "audit.jsonl");
/** A server with a provider whose calls are asked about, and ada's connection to it. */
async function start(data?: string): Promise<{ server: TestServer; ada: Wire }> {
  const server = await TestServer.start({ config: { auditLog }, ...(data === undefined ? {} : { data }) });
  const provider = await Wire.connect(server.url);
  provider.listeners.add(({ frame: { type, session, call, attempt } }) => {
    if (type === "call") provider.send({ type: "callResult", session, call, attempt, output: "paid" });
  });
  const approval = { mode: "always", remember: true };
  await provider.ok("offerTools", { tools: [{ name: "pay", inputSchema: { type: "object" }, approval }] });
  return { server, ada: await Wire.connect(server.url, { user: { id: "ada" } }) };
}

/** Sends what needs an approval; the request, or undefined when the run ends without one. */
async function ask(wire: Wire): Promise<{ session: string; request?: string }> {
  const { session } = (await wire.ok("createSession", { agent: "demo" })) as { session: string };
  await wire.ok("attach", { session });
  await wire.ok("send", { session, key: "k", content: ASKED });
  const ends = ({ event }: Frame): boolean =>
    ["request-opened", "run-finished"].includes((event as Frame)["type"] as string);
  const came = await wire.event(ends, { session });
  const { request } = came["event"] as { request?: string };
  return request === undefined ? { session } : { session, request };
}

test("it is listed, in a backup but not in an import, and taken back", { limitMs: 60_000 }, async () => {
  const { server, ada: wire } = await start();
  const { session, request } = await ask(wire);
  const remember = { what: "tool", for: "user" };
  await wire.ok("answer", { session, request, decision: "approve", remember });
  assert.is((await ask(wire)).request, undefined);
  const listing = await run(["allowed", "--as", "ada"], server.url);
  assert.match(listing.out, new RegExp(`^alw_\\w+ pay\\(any input\\), by ada on [0-9-]+ in ${session}$`));

  const folder = join(temporaryDirectory(), "backup");
  assert.is((await run(["backup", folder], server.url)).code, 0);
  const file = join(temporaryDirectory(), "session.jsonl");
  assert.is((await run(["export", session, "--out", file], server.url)).code, 0);
  const allowance = listing.out.split(" ")[0]!;
  const taken = await run(["allowed", "--as", "ada", "--forget", allowance], server.url);
  assert.equal([taken.code, taken.out], [0, "nothing is allowed in all your sessions"]);
  assert.ok((await ask(wire)).request !== undefined);
  assert.is((await run(["import", file], server.url)).code, 0);
  assert.ok((await ask(wire)).request !== undefined);
  await server.stop();

  const data = join(temporaryDirectory(), "data");
  assert.is((await run(["restore", folder, "--data", data])).code, 0);
  const restored = await start(data);
  assert.is((await ask(restored.ada)).request, undefined);
  await restored.server.stop();

  const audited = readFileSync(auditLog, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Frame);
  const told = ({ event, user, subject, remember: what }: Frame): unknown => [event, user, subject, what];
  assert.equal(audited.filter(({ event }) => event === "answer" || event === "forget").map(told), [
    ["answer", "ada", request, "tool for user"],
    ["forget", "ada", allowance, undefined],
  ]);
});

test.run();
