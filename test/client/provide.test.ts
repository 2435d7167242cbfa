/**
 * Tools of a client against a real server, over connections that break: each call runs once and ends once.
 * limit: 240 s
 */
import { z } from "zod";
import { connect } from "../../client/index.ts";
import type { CallContext, Client, ConnectOptions, SessionHandle } from "../../client/index.ts";
import type { EntryBodyOf, EventFrame } from "../../protocol/entries.ts";
import { startProxy } from "../support/proxy.ts";
import type { Proxy } from "../support/proxy.ts";
import { spawnNode } from "../support/process.ts";
import { compiled } from "../support/root.ts";
import { TestServer } from "../support/server.ts";
import { suite, assert } from "../support/suite.ts";
import { deferred, until } from "../support/wait.ts";

const test = suite("client tools");
let server: TestServer;
/** Between the provider and the server; the chatting client is not disturbed. */
let proxy: Proxy;
const clients: Client[] = [];

test.before(async () => {
  server = await TestServer.start({ env: { HAULOUT_PROVIDER_GRACE_MS: "15000" } });
  proxy = await startProxy({ port: server.port });
});
test.after.each(() => {
  for (const client of clients.splice(0)) client.close();
  proxy.refuse(false);
});
test.after(async () => {
  await proxy.close();
  await server.stop();
});

function client(options: Partial<ConnectOptions> = {}): Client {
  const backoff = { firstMs: 20, minMs: 5, baseMs: 20, youngCapMs: 100 };
  const made = connect({ url: server.url, backoff, ...options });
  clients.push(made);
  return made;
}
const provider = (options: Partial<ConnectOptions> = {}): Client =>
  client({ url: proxy.url, user: { id: "prov" }, ...options });

async function newSession(): Promise<SessionHandle> {
  const own = client({ user: { id: "ann" } });
  const { session } = await own.createSession({ agent: "demo" });
  return own.attach(session);
}

/** Has the model call a tool; answers how the call ended and what came of the run. */
async function callTool(session: SessionHandle, tool: string, input: object = {}) {
  const entries: EventFrame[] = [];
  const stop = session.on("entry", (entry) => entries.push(entry));
  const end = await session.ask(
    JSON.stringify({ script: [{ calls: [{ tool, input }] }, { text: "done" }] }),
    {
      timeoutMs: 60_000,
    },
  );
  stop();
  const bodies = entries.map((entry) => entry.event);
  const results = bodies.filter((body): body is EntryBodyOf<"tool-result"> => body.type === "tool-result");
  assert.is(results.length, 1);
  const dispatched = bodies.filter((body) => body.type === "tool-dispatched").length;
  return { end, result: results[0]!, dispatched };
}

const anything = { type: "object" } as const;

test("a schema of zod describes the tool, checks the input and types it", async () => {
  const own = provider();
  const provided = await own.provideTools({
    weather: {
      description: "the weather somewhere",
      input: z.object({ city: z.string(), days: z.number().int().default(1) }),
      output: z.object({ city: z.string(), forecast: z.array(z.string()) }),
      effect: "pure",
      execute: ({ city, days }) => ({ city, forecast: Array.from({ length: days }, () => "sun") }),
    },
  });
  assert.equal(provided.accepted, ["weather"]);
  const { items } = await own.listTools({ limit: 200 });
  const listed = items.find((item) => item.name === "weather")!;
  assert.is(listed.effect, "pure");
  assert.equal(listed.inputSchema["required"], ["city"]);
  const session = await newSession();
  const good = await callTool(session, "weather", { city: "Bern" });
  assert.equal(good.result.output, { city: "Bern", forecast: ["sun"] });
  const bad = await callTool(session, "weather", { city: 5 });
  assert.is(bad.result.outcome, "invalid-input");
  await provided.withdraw();
  assert.is((await callTool(session, "weather", { city: "Bern" })).result.outcome, "unavailable");
});

test("a handler whose run was cancelled while its connection was away is aborted when it is back", async () => {
  const works: CallContext[] = [];
  const aborted = deferred<string>();
  await provider().provideTools({
    absent: {
      description: "away",
      input: anything,
      timeoutMs: 600_000,
      execute: (_input, context) => {
        works.push(context);
        context.signal.addEventListener("abort", () => aborted.resolve(String(context.signal.reason)));
        return aborted.promise;
      },
    },
  });
  const session = await newSession();
  const called = callTool(session, "absent");
  await until(() => works.length === 1, 10_000, "the call");
  proxy.refuse(true);
  proxy.cut();
  await session.cancel();
  assert.is((await called).result.outcome, "outcome-unknown");
  assert.not(works[0]!.signal.aborted);
  proxy.refuse(false);
  assert.match(await aborted.promise, "ended");
});

test(
  "a call whose connection is lost goes on, runs once, and its result arrives afterwards",
  { limitMs: 60_000 },
  async () => {
    const works: CallContext[] = [];
    const end = deferred<string>();
    await provider().provideTools({
      keep: {
        description: "once",
        input: anything,
        execute: (_input, context) => {
          works.push(context);
          return end.promise;
        },
      },
    });
    const session = await newSession();
    const calling = callTool(session, "keep");
    await until(() => works.length === 1, 10_000, "the call");
    assert.is(works[0]!.actor.id, "ann");
    for (let cut = 0; cut < 3; cut++) {
      const before = proxy.total;
      proxy.cut();
      await until(() => proxy.total > before && proxy.open > 0, 10_000, "a new connection");
    }
    end.resolve("kept");
    const { result, dispatched } = await calling;
    assert.is(result.outcome, "ok");
    assert.is(result.output, "kept");
    assert.is(works.length, 1);
    assert.is(dispatched, 1);
  },
);

test("a result that could not be sent is sent when the connection is back", { limitMs: 60_000 }, async () => {
  const end = deferred<string>();
  const begun = deferred();
  const own = provider();
  await own.provideTools({
    late: {
      description: "ends while nobody is there",
      input: anything,
      execute: () => {
        begun.resolve();
        return end.promise;
      },
    },
  });
  const session = await newSession();
  const calling = callTool(session, "late");
  await begun.promise;
  proxy.refuse(true);
  proxy.cut();
  await until(() => own.status.state === "reconnecting", 10_000, "the loss");
  end.resolve("done meanwhile");
  await new Promise((resolve) => setTimeout(resolve, 200));
  proxy.refuse(false);
  const { result } = await calling;
  assert.is(result.outcome, "ok");
  assert.is(result.output, "done meanwhile");
});

test("cancelling the run aborts the handler, and its end is confirmed", async () => {
  const begun = deferred<CallContext>();
  await provider().provideTools({
    endless: {
      description: "until it is stopped",
      input: anything,
      execute: async (_input, context) => {
        begun.resolve(context);
        await new Promise((_, reject) => {
          context.signal.addEventListener("abort", () => reject(context.signal.reason));
        });
      },
    },
  });
  const session = await newSession();
  const calling = callTool(session, "endless");
  const context = await begun.promise;
  await session.cancel();
  const { result, end } = await calling;
  assert.is(context.signal.aborted, true);
  assert.is(result.outcome, "cancelled");
  assert.is(end.reason, "cancelled");
});

test("what a handler throws is the error of the call", async () => {
  await provider().provideTools({
    broken: {
      description: "throws",
      input: anything,
      execute: () => {
        throw Object.assign(new Error("no such file\u001b[31m"), { code: "ENOENT" });
      },
    },
  });
  const { result } = await callTool(await newSession(), "broken");
  assert.is(result.outcome, "error");
  assert.equal(result.error, { code: "ENOENT", message: "no such file\u001b[31m" });
});

test("a tool offered to one session is not seen in another", async () => {
  const one = await newSession();
  const other = await newSession();
  // In auth mode none everyone may edit every session.
  await provider().provideTools(
    { mine: { description: "only here", input: anything, execute: () => "here" } },
    { session: one.id },
  );
  assert.is((await callTool(one, "mine")).result.output, "here");
  assert.is((await callTool(other, "mine")).result.outcome, "unavailable");
});

test("two schemas under one name are a conflict, and reserved names are refused", async () => {
  await provider().provideTools({ twice: { description: "a", input: anything, execute: () => 1 } });
  const second = provider({ user: { id: "other" } });
  const tool = {
    description: "b",
    input: { type: "object", properties: { x: {} }, required: ["x"] },
    execute: () => 2,
  };
  assert.is((await assert.rejects(second.provideTools({ twice: tool }))).code, "conflict");
  assert.is((await assert.rejects(second.provideTools({ clock: tool }))).code, "conflict");
});

test("no more calls run at once than the offer says", { limitMs: 60_000 }, async () => {
  let running = 0;
  let most = 0;
  await provider().provideTools(
    {
      narrow: {
        description: "two at a time",
        input: anything,
        effect: "pure",
        execute: async () => {
          most = Math.max(most, ++running);
          await new Promise((resolve) => setTimeout(resolve, 50));
          running--;
          return most;
        },
      },
    },
    { maxConcurrent: 2 },
  );
  const session = await newSession();
  const calls = Array.from({ length: 6 }, () => ({ tool: "narrow", input: {} }));
  const end = await session.ask(JSON.stringify({ script: [{ calls }, { text: "done" }] }), {
    timeoutMs: 50_000,
  });
  assert.is(end.reason, "text");
  assert.ok(most <= 2, `${most} at once`);
  const parts = session.state!.messages.flatMap((message) => message.parts);
  const outputs = parts.filter((part) => part.type === "dynamic-tool" && part.state === "output-available");
  assert.is(outputs.length, 6);
});

test("drain waits for what runs and takes nothing more", async () => {
  const end = deferred<string>();
  const begun = deferred();
  const provided = await provider().provideTools({
    last: {
      description: "the last one",
      input: anything,
      execute: () => {
        begun.resolve();
        return end.promise;
      },
    },
  });
  const session = await newSession();
  const calling = callTool(session, "last");
  await begun.promise;
  assert.is(provided.running, 1);
  const drained = provided.drain();
  end.resolve("finished");
  await drained;
  assert.is((await calling).result.output, "finished");
  assert.is(provided.running, 0);
});

test("the command lists providers, and whom it drains ends its call and gets no other", async () => {
  const end = deferred<string>();
  const worker = (name: string, labels: Record<string, string>): ReturnType<Client["provideTools"]> => {
    const execute = async (): Promise<string> => (name === "one" ? await end.promise : name);
    return provider({ user: { id: name } }).provideTools(
      { share: { description: "is shared", input: anything, effect: "pure", execute } },
      { labels, maxConcurrent: 2 },
    );
  };
  const command = async (...args: string[]): Promise<{ out: string; err: string }> => {
    const ran = spawnNode([compiled("server/main.ts"), "providers", ...args, "--url", server.url], {});
    await ran.exited;
    return { out: ran.stdout.join("\n"), err: ran.stderr.join("\n") };
  };
  await worker("one", { zone: "a" });
  const first = await newSession();
  const held = callTool(first, "share");
  const drained = await until(() => first.state?.calls[0]?.provider, 10_000, "the call at work");
  await worker("two", { zone: "b" });
  const { out } = await command("--drain", drained);
  assert.match(out, new RegExp(`${drained} +draining +1/2 +zone=a +share`));
  assert.match(out, /prv_\S+ +ready +0\/2 +zone=b +share/);
  const second = await newSession();
  assert.is((await callTool(second, "share")).result.output, "two");
  end.resolve("one");
  assert.is((await held).result.output, "one");
  assert.match((await command("--drain", drained)).err, /not-found/);
});

test(
  "after a restart of the server the tools are offered again, and what runs does not run twice",
  { limitMs: 90_000 },
  async () => {
    const end = deferred<string>();
    let works = 0;
    const own = provider();
    const provided = await own.provideTools({
      survive: {
        description: "outlives the server",
        input: anything,
        execute: () => {
          works++;
          return end.promise;
        },
      },
    });
    const session = await newSession();
    await session.send(
      JSON.stringify({ script: [{ calls: [{ tool: "survive", input: {} }] }, { text: "and on" }] }),
    );
    await until(
      () => works === 1 && session.state?.calls[0]?.state === "accepted",
      10_000,
      "the accepted call",
    );
    await server.kill();
    server = await server.again();
    proxy.target(server.port);
    await until(() => own.status.state === "online", 20_000, "the provider to be back");
    const again = await client({ user: { id: "ann" } }).attach(session.id);
    end.resolve("survived");
    await until(() => again.state?.run === undefined && again.caughtUp, 40_000, "the end of the run");
    assert.is(works, 1);
    assert.is((await callTool(again, "survive")).result.output, "survived");
    assert.is(works, 2);
    // Every result has been confirmed, that of the call before the restart too.
    await provided.drain();
  },
);

test.run();
