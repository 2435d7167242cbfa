// limit: 1000 s
/**
 * kill -9 of the server, and of the provider, at each step of one call, for each effect: what becomes of it is what the
 * table in SPEC.md §12 says. The rows here are the rows there.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "../../client/index.ts";
import type { Client } from "../../client/index.ts";
import type { EventFrame } from "../../protocol/entries.ts";
import { spawnNode, temporaryDirectory, type TestProcess } from "../support/process.ts";
import { startProxy, type Proxy } from "../support/proxy.ts";
import { Reader } from "../support/reader.ts";
import { compiled } from "../support/root.ts";
import { assert, suite } from "../support/suite.ts";
import { deferred, until } from "../support/wait.ts";
import { Wire } from "../support/wire.ts";

const EFFECTS = ["pure", "idempotent", "once"] as const;
type Effect = (typeof EFFECTS)[number];
const START_LIMIT_MS = 60_000;
const PATIENCE_MS = 60_000;

const test = suite("a death at each step of a call");
const backoff = { firstMs: 40, minMs: 10, baseMs: 20, youngCapMs: 100, capMs: 100 };

/** A server that is started again at once wherever it dies, behind one address. */
class Home {
  readonly data = temporaryDirectory();
  server!: TestProcess;
  proxy!: Proxy;
  port = 0;

  async start(): Promise<void> {
    this.server = spawnNode([
      "--enable-source-maps",
      compiled("test/fault/tools-steps-server.ts"),
      this.data,
    ]);
    const [, port] = await this.server.waitForLine(/^listening on port (\d+)$/, START_LIMIT_MS);
    this.port = Number(port);
    this.proxy ??= await startProxy({ port: this.port });
    this.proxy.target(this.port);
  }

  async arm(death: string): Promise<void> {
    this.server.stdin.write(`${death}\n`);
    await this.server.waitForLine(new RegExp(`^armed: ${death}$`));
  }

  async again(): Promise<void> {
    await this.server.exited;
    await this.start();
  }

  async end(): Promise<void> {
    this.server.kill("SIGKILL");
    await this.server.exited;
    await this.proxy.close();
  }
}

/** Asks for one call of the tool of that effect's name. */
async function ask(client: Client, effect: Effect): Promise<string> {
  const { session } = await client.createSession({ agent: "demo" });
  const script = [{ calls: [{ tool: effect, input: {} }] }, { text: "done" }];
  await client.request("send", { session, key: "key_1", content: JSON.stringify({ script }) });
  return session;
}

/** What the log says of the call, once the run is over: its entries in short, and its outcome. */
async function course(home: Home, session: string): Promise<{ outcome: string; attempts: number }> {
  const reader = Reader.fromStart(session);
  const wire = await Wire.connect(`ws://127.0.0.1:${home.port}/ws`);
  await reader.enter(wire);
  await reader.entry("run-finished", PATIENCE_MS);
  wire.cut();
  assert.equal(reader.faults, []);
  const events = reader.entries.map(({ entry }: { entry: EventFrame }) => entry.event);
  const results = events.flatMap((event) => (event.type === "tool-result" ? [event.outcome] : []));
  assert.is(results.length, 1, `outcomes: ${results.join(", ")}`);
  const attempts = events.filter(({ type }) => type === "tool-dispatched").length;
  return { outcome: results[0]!, attempts };
}

// --- the server dies, its provider lives ---

interface ServerRow {
  readonly dies: string;
  /** An append to die at, or what this provider sees when it is time. */
  readonly at: `${"before" | "after"} ${string}` | "begun" | "progress" | "confirmed";
  readonly repeatable: readonly [outcome: string, attempts: number, executions: number, verdicts: string];
  readonly once: ServerRow["repeatable"];
}

const ok1 = (verdicts: string): ServerRow["repeatable"] => ["ok", 1, 1, verdicts];
const same = (row: ServerRow["repeatable"]) => ({ repeatable: row, once: row });

const SERVER: readonly ServerRow[] = [
  {
    dies: "before the append of the message with the call",
    at: "before tool-dispatched",
    ...same(ok1("stored")),
  },
  {
    dies: "after tool-dispatched, before the call left",
    at: "after tool-dispatched",
    repeatable: ["ok", 2, 1, "stored"],
    once: ["outcome-unknown", 1, 0, ""],
  },
  { dies: "after the call", at: "begun", ...same(ok1("stored")) },
  { dies: "after progress", at: "progress", ...same(ok1("stored")) },
  { dies: "after the result came, before its append", at: "before tool-result", ...same(ok1("stored")) },
  {
    dies: "after the append of the result, before its answer",
    at: "after tool-result",
    ...same(ok1("duplicate")),
  },
  { dies: "after the answer", at: "confirmed", ...same(ok1("stored")) },
];
/** Acceptance is logged for `once` alone. */
const SERVER_ONCE: readonly ServerRow[] = [
  { dies: "before the append of the acceptance", at: "before tool-accepted", ...same(ok1("stored")) },
  { dies: "after the append of the acceptance", at: "after tool-accepted", ...same(ok1("stored")) },
];

test("the server dies at each step: the outcome is the table's", { limitMs: 480_000 }, async () => {
  const home = new Home();
  await home.start();
  let executions = 0;
  let verdicts: string[] = [];
  let begun = deferred();
  let goOn = deferred();
  let confirmed = deferred();
  const provider = connect({ url: home.proxy.url, user: { id: "provider" }, backoff });
  provider.on("frame", (frame) => {
    if (frame.type !== "resultAck") return;
    verdicts.push(frame.verdict);
    confirmed.resolve();
  });
  const definition = (effect: Effect) => ({
    description: "Leaves a trace.",
    input: { type: "object" },
    effect,
    execute: async (_: unknown, { progress }: { progress: (value: unknown) => void }) => {
      executions++;
      begun.resolve();
      progress({ half: true });
      await goOn.promise;
      return "done";
    },
  });
  await provider.provideTools({
    pure: definition("pure"),
    idempotent: definition("idempotent"),
    once: definition("once"),
  });
  const asker = connect({ url: home.proxy.url, user: { id: "asker" }, backoff });
  const rows = [
    ...SERVER.flatMap((row) => EFFECTS.map((effect) => ({ row, effect }))),
    ...SERVER_ONCE.map((row) => ({ row, effect: "once" as const })),
  ];
  for (const { row, effect } of rows) {
    const when = `${effect}: the server dies ${row.dies}`;
    executions = 0;
    verdicts = [];
    [begun, goOn, confirmed] = [deferred(), deferred(), deferred()];
    const progressed = deferred();
    const stop = asker.on("frame", ({ type }) => type === "toolProgress" && progressed.resolve());
    const append = row.at.includes(" ") ? row.at : undefined;
    if (append !== undefined) await home.arm(append);
    // Else the result would share the append of what is before it.
    if (append?.endsWith("tool-result")) goOn.resolve();
    const { session } = await asker.createSession({ agent: "demo" });
    await asker.attach(session);
    const script = [{ calls: [{ tool: effect, input: {} }] }, { text: "done" }];
    await asker.request("send", { session, key: "key_1", content: JSON.stringify({ script }) });
    if (row.at === "begun") await begun.promise;
    if (row.at === "progress") await progressed.promise;
    if (row.at === "confirmed") goOn.resolve();
    if (row.at === "confirmed") await confirmed.promise;
    if (append === undefined) home.server.kill("SIGKILL");
    await home.again();
    goOn.resolve();
    const { outcome, attempts } = await course(home, session);
    const [, , , expected] = effect === "once" ? row.once : row.repeatable;
    if (expected !== "") await until(() => verdicts.length > 0, PATIENCE_MS, `${when}: a verdict`);
    assert.equal(
      [outcome, attempts, executions, verdicts.join(" ")],
      effect === "once" ? row.once : row.repeatable,
      when,
    );
    stop();
  }
  provider.close();
  asker.close();
  await home.end();
});

// --- the provider dies and returns as the same instance ---

interface ProviderRow {
  readonly dies: string;
  readonly keeps?: true;
  readonly repeatable: readonly [outcome: string, attempts: number, executions: number];
  readonly once: ProviderRow["repeatable"];
}

const alike = (row: ProviderRow["repeatable"]) => ({ repeatable: row, once: row });
const FORGOTTEN = { repeatable: ["ok", 2, 2], once: ["outcome-unknown", 1, 1] } as const;

const PROVIDER: readonly ProviderRow[] = [
  { dies: "it offered", ...alike(["ok", 1, 1]) },
  { dies: "the call came", repeatable: ["ok", 2, 1], once: ["outcome-unknown", 1, 0] },
  { dies: "it was accepted and began", ...FORGOTTEN },
  { dies: "progress was sent", ...FORGOTTEN },
  { dies: "it was done", ...FORGOTTEN },
  { dies: "it was done", keeps: true, ...FORGOTTEN },
  { dies: "the result is kept", keeps: true, ...alike(["ok", 1, 1]) },
  { dies: "the answer to the result came", ...alike(["ok", 1, 1]) },
  { dies: "the answer to the result came", keeps: true, ...alike(["ok", 1, 1]) },
  { dies: "the result is confirmed", ...alike(["ok", 1, 1]) },
];

test("the provider dies at each step: the outcome is the table's", { limitMs: 480_000 }, async () => {
  const home = new Home();
  await home.start();
  const asker = connect({ url: home.proxy.url, user: { id: "asker" }, backoff });
  for (const { dies, keeps, repeatable, once } of PROVIDER) {
    for (const effect of EFFECTS) {
      const when = `${effect}: the provider dies when ${dies}${keeps ? ", keeping results on disk" : ""}`;
      const folder = temporaryDirectory();
      const file = join(folder, "executions");
      const spawn = (step: string): TestProcess =>
        spawnNode([
          "--enable-source-maps",
          compiled("test/fault/tools-steps-provider.ts"),
          home.proxy.url,
          join(folder, "kept"),
          keeps ? "keeps" : "forgets",
          file,
          step,
        ]);
      const first = spawn(dies);
      await first.waitForLine(/^offered$/, START_LIMIT_MS);
      if (dies === "it offered") await first.exited;
      const session = await ask(asker, effect);
      const { signal } = await first.exited;
      assert.is(signal, "SIGKILL", `${when}: it died`);
      const second = spawn("never");
      await second.waitForLine(/^offered$/, START_LIMIT_MS);
      const { outcome, attempts } = await course(home, session);
      const executions = existsSync(file) ? readFileSync(file).length : 0;
      assert.equal([outcome, attempts, executions], effect === "once" ? once : repeatable, when);
      if (dies === "the result is kept") await second.waitForLine(/^told stored$/);
      if (dies === "the answer to the result came" && keeps) await second.waitForLine(/^told duplicate$/);
      second.kill("SIGKILL");
      await second.exited;
      // Its place is given up at once when the same instance withdraws; here the next one is another instance.
    }
  }
  asker.close();
  await home.end();
});

test.run();
