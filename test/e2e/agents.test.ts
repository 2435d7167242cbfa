// limit: 300 s
/**
 * Agents over the wire, as their users meet them: an admin puts, replaces and removes them with the command, everybody's
 * list shows it, kill -9 loses none of it, and a run that was open goes on with the definition it began with.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run as command } from "../fault/backup-load.ts";
import { temporaryDirectory } from "../support/process.ts";
import { Reader } from "../support/reader.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { Wire, type Frame } from "../support/wire.ts";
import { calls, newSession, say, script } from "./play.ts";

const test = suite("agents over the wire");
/** Each of them starts several processes. */
const LONG = { limitMs: 120_000 };

async function listed(wire: Wire): Promise<Frame[]> {
  return (await wire.ok("listAgents"))["items"] as Frame[];
}

const question = { questions: [{ id: "go", text: "Shall I?", kind: "text" }] };
const work = script(calls(["ask", question]), calls(["clock"]), { text: "done" });

test(
  "kill -9 in a run whose agent was replaced, or removed: it ends as it began, the next as it is now",
  LONG,
  async () => {
    let server = await TestServer.start();
    let wire = await Wire.connect(server.url);
    const definition = { tools: ["ask", "clock"], instructions: "Be brief." };
    for (const name of ["kept", "gone"]) await wire.ok("putAgent", { agent: { name, ...definition } });
    const sessions: string[] = [];
    for (const agent of ["kept", "gone"]) {
      const session = await newSession(wire, { agent });
      await wire.ok("attach", { session });
      await say(wire, session, work);
      await wire.event("request-opened", { session });
      sessions.push(session);
    }
    await wire.ok("putAgent", { agent: { name: "kept", tools: ["ask"], maxSteps: 1 } });
    await wire.ok("removeAgent", { name: "gone" });
    await server.kill();

    server = await server.again();
    wire = await Wire.connect(server.url);
    assert.equal(
      (await listed(wire)).map(({ name, tools, put }) => [name, tools, put]),
      [
        ["demo", ["*", "ask"], undefined],
        ["kept", ["ask"], true],
      ],
    );
    for (const session of sessions) {
      const reader = Reader.fromStart(session);
      await reader.enter(wire);
      const { request } = reader.state!.requests[0]!;
      await wire.ok("answer", { session, request, answers: { go: "yes" } });
      const { reason, steps } = (await reader.entry("run-finished")).event as Frame;
      assert.equal([reason, steps], ["text", 3], session);
      assert.equal(reader.faults, []);
    }
    const [kept, gone] = sessions as [string, string];
    await say(wire, kept, script(calls(["clock"]), { text: "done" }));
    const isCut = ({ event }: Frame): boolean =>
      event.type === "run-finished" && event.reason === "max-steps";
    await wire.event(isCut, { session: kept });
    const refusal = await wire.refused("send", { session: gone, key: "k", content: "and now?" });
    assert.equal([refusal["code"], refusal["details"]], ["not-found", { agent: "gone" }]);
    assert.ok(((await wire.ok("history", { session: gone }))["items"] as Frame[]).length >= 2);
    await server.kill();
  },
);

test(
  "the command puts a file, lists and removes; others may not, and the audit log tells of each",
  LONG,
  async () => {
    const folder = temporaryDirectory();
    const auditLog = join(folder, "audit.jsonl");
    const tokens = [
      { token: "secret-of-root-0123456789", user: "root", rights: ["admin"] },
      { token: "secret-of-ann-0123456789", user: "ann", rights: ["create:*"] },
    ];
    const config = { auditLog, agents: [{ name: "own" }], auth: { mode: "token", tokens } };
    const server = await TestServer.start({ store: "memory", config });
    const agents = (user: string, ...args: string[]): ReturnType<typeof command> =>
      command(["agents", ...args, "--token", `secret-of-${user}-0123456789`], server.url);
    const file = join(folder, "helper.json");
    const headers = { "x-key": "secret-header" };
    writeFileSync(file, JSON.stringify({ name: "helper", description: "Helps.\u001b[31m", headers }));
    const done = await agents("root", "put", file);
    assert.equal([done.code, done.err], [0, ""], done.err);
    assert.match(done.out, /^helper \d+$/);
    const all = await agents("ann", "list");
    assert.match(all.out, /^helper +scripted +put +Helps\./m);
    assert.match(all.out, /^own +scripted$/m);
    assert.not(/secret|\u001b/.test(all.out), all.out);
    writeFileSync(file, '{"headers": "secret-header"');
    const broken = await agents("root", "put", file);
    assert.equal([broken.code, broken.err], [1, `haulout agents: ${file} is not valid JSON`]);
    assert.is((await agents("root", "put")).code, 2);

    const ann = await Wire.connect(server.url, { token: tokens[1]!.token });
    const root = await Wire.connect(server.url, { token: tokens[0]!.token });
    const why = async (wire: Wire, type: string, fields: Frame): Promise<string> => {
      const { code, message } = await wire.refused(type, fields);
      return `${code}: ${message}`;
    };
    const agent = { name: "helper" };
    assert.match(await why(ann, "putAgent", { agent }), /^forbidden/);
    assert.match(await why(ann, "removeAgent", { name: "helper" }), /^forbidden/);
    assert.match(await why(root, "putAgent", { agent: { name: "own" } }), /^conflict/);
    const unusable: [string, RegExp][] = [
      ["module:./model.js", /^bad-frame: agent\.model: .*configuration/],
      ["nobody:x", /^bad-frame: agent\.model: .*no provider "nobody"/],
    ];
    for (const [model, words] of unusable)
      assert.match(await why(root, "putAgent", { agent: { ...agent, model } }), words);
    assert.is((await agents("root", "remove", "helper")).code, 0);
    assert.match(await why(root, "removeAgent", { name: "helper" }), /^not-found/);
    assert.equal(
      (await listed(ann)).map(({ name }) => name),
      ["own"],
    );
    await server.stop();

    const text = readFileSync(auditLog, "utf8");
    const lines = text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.equal(
      lines.map(({ event, user, subject, outcome }) => [event, user, subject, outcome]),
      [
        ["putAgent", "root", "helper", "ok"],
        ["putAgent", "ann", "helper", "forbidden"],
        ["removeAgent", "ann", "helper", "forbidden"],
        ["putAgent", "root", "own", "conflict"],
        ["putAgent", "root", "helper", "bad-frame"],
        ["putAgent", "root", "helper", "bad-frame"],
        ["removeAgent", "root", "helper", "ok"],
        ["removeAgent", "root", "helper", "not-found"],
      ],
    );
    assert.not(/secret/.test(text), text);
  },
);

test.run();
