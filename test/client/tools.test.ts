/**
 * Offers of a client: what is offered when, what a provider says when it is back; the server is played by hand.
 */
import { connect } from "../../client/index.ts";
import type { ConnectOptions } from "../../client/index.ts";
import { suite, assert } from "../support/suite.ts";
import { deferred } from "../support/wait.ts";
import { manualClock } from "./support/clock.ts";
import { ann } from "./support/entries.ts";
import { handTransport, settled } from "./support/wire.ts";

const test = suite("client offers");

async function online(options: Partial<ConnectOptions> = {}) {
  const clock = manualClock();
  const transport = handTransport();
  const client = connect({ url: "ws://host/ws", clock, transport: transport.open, ...options });
  await settled();
  transport.last.open();
  transport.last.welcome();
  await settled();
  const accept = async (...accepted: string[]): Promise<void> => {
    transport.last.feed({ type: "ok", id: transport.last.of("offerTools").at(-1)!["id"], accepted });
    await settled();
  };
  const refuse = async (code: string, retryable: boolean): Promise<void> => {
    const { id } = transport.last.of("offerTools").at(-1)!;
    transport.last.feed({ type: "error", id, code, message: "no", retryable });
    await settled();
  };
  const again = async (): Promise<void> => {
    transport.last.close(1006);
    clock.advance(1000);
    await settled();
    transport.last.open();
    transport.last.welcome();
    await settled();
  };
  const call = (id: string, more: object = {}): void =>
    transport.last.feed({
      type: "call",
      session: "ses_1",
      call: id,
      attempt: 1,
      run: "run_1",
      agent: "demo",
      tool: "add",
      input: {},
      actor: ann,
      timeoutMs: 60_000,
      ...more,
    });
  return { clock, transport, client, accept, refuse, again, call };
}

const tool = (execute: () => unknown) => ({ description: "adds", input: { type: "object" }, execute });

test("an offer is what the definitions say, and nothing that they do not say", async () => {
  const { client, transport, accept } = await online();
  const providing = client.provideTools(
    { add: { ...tool(() => 1), effect: "pure", timeoutMs: 5000, output: { type: "number" } } },
    { session: "ses_1", labels: { gpu: "1" }, maxConcurrent: 2 },
  );
  await accept("add");
  const { id: _, ...offer } = transport.last.of("offerTools")[0]!;
  assert.equal(offer, {
    type: "offerTools",
    tools: [
      {
        name: "add",
        description: "adds",
        inputSchema: { type: "object" },
        outputSchema: { type: "number" },
        effect: "pure",
        timeoutMs: 5000,
      },
    ],
    maxConcurrent: 2,
    session: "ses_1",
    labels: { gpu: "1" },
    working: [],
  });
  assert.equal((await providing).accepted, ["add"]);
});

test("back again: first the results that nobody confirmed, then the offer with what still runs", async () => {
  const { client, transport, accept, again, call } = await online();
  const first = deferred<number>();
  const second = deferred<number>();
  const ends = [first, second];
  void client.provideTools({ add: tool(() => ends.shift()!.promise) });
  await accept("add");
  call("c1");
  call("c2");
  first.resolve(1);
  await settled();
  await again();
  const types = transport.last.sent.map((frame) => frame.type);
  assert.ok(types.indexOf("callResult") < types.indexOf("offerTools"), types.join());
  assert.is(transport.last.of("callResult")[0]!["output"], 1);
  assert.equal(transport.last.of("offerTools")[0]!["working"], [
    { session: "ses_1", call: "c2", attempt: 1 },
  ]);
  transport.last.feed({ type: "resultAck", session: "ses_1", call: "c1", attempt: 1, verdict: "stored" });
  second.resolve(2);
  await settled();
  await again();
  assert.equal(
    transport.last.of("callResult").map((frame) => frame["call"]),
    ["c2"],
  );
});

test("a refused first offer rejects, a refused later one is an error of the client", async () => {
  const { client, accept, refuse, again } = await online();
  const errors: string[] = [];
  client.on("error", (error) => errors.push(error.code));
  const refused = assert.rejects(client.provideTools({ add: tool(() => 1) }));
  await refuse("forbidden", false);
  assert.is((await refused).code, "forbidden");
  const providing = client.provideTools({ add: tool(() => 1) });
  await accept("add");
  const provided = await providing;
  await again();
  await refuse("conflict", false);
  assert.equal(errors, ["conflict"]);
  assert.equal(provided.accepted, []);
});

test("an offer that may be made again is, and one that never can is given up with the connection", async () => {
  const { client, transport, refuse, clock, accept } = await online();
  const providing = client.provideTools({ add: tool(() => 1) });
  await refuse("unavailable", true);
  clock.advance(500);
  await settled();
  assert.is(transport.last.of("offerTools").length, 2);
  await accept("add");
  await providing;
  const second = client.provideTools({ other: tool(() => 1) });
  transport.last.close(4501, "bad token");
  await assert.rejects(second, /bad token/);
});

test("calls for what is not offered, or beyond its limit, are not started", async () => {
  const { client, transport, accept, call } = await online();
  const providing = client.provideTools(
    { add: tool(() => new Promise(() => undefined)) },
    { maxConcurrent: 1 },
  );
  await accept("add");
  const provided = await providing;
  call("c1", { tool: "toString" });
  call("c2");
  call("c3");
  await settled();
  const results = transport.last.of("callResult").map((frame) => [frame["call"], frame["error"].code]);
  assert.equal(results, [
    ["c1", "not-started"],
    ["c3", "not-started"],
  ]);
  assert.is(provided.running, 1);
  void provided.withdraw();
  call("c4");
  assert.is(transport.last.of("callResult").at(-1)!["call"], "c4");
  assert.equal(transport.last.of("withdrawTools")[0]!["names"], ["add"]);
});

test("a session's own tool goes before one for all", async () => {
  const { client, transport, accept, call } = await online();
  void client.provideTools({ add: tool(() => "for all") });
  await accept("add");
  void client.provideTools({ add: tool(() => "own") }, { session: "ses_1" });
  await accept("add");
  call("c1");
  call("c2", { session: "ses_2" });
  await settled();
  assert.equal(
    transport.last.of("callResult").map((frame) => frame["output"]),
    ["own", "for all"],
  );
});

test("an output too large for its frame as JSON is an error, not the end of the connection", async () => {
  const clock = manualClock();
  const transport = handTransport();
  const client = connect({ url: "ws://host/ws", clock, transport: transport.open, encoding: "json" });
  await settled();
  transport.last.open();
  transport.last.welcome();
  await settled();
  void client.provideTools({ add: tool(() => "\u0001".repeat(500_000)) });
  const { id } = transport.last.of("offerTools")[0]!;
  transport.last.feed({ type: "ok", id, accepted: ["add"] });
  transport.last.feed({
    type: "call",
    session: "ses_1",
    call: "c1",
    attempt: 1,
    run: "run_1",
    agent: "demo",
    tool: "add",
    input: {},
    actor: ann,
    timeoutMs: 60_000,
  });
  await settled();
  assert.is(transport.last.of("callResult")[0]!["error"].code, "too-large");
});

test("closing the client aborts what runs", async () => {
  const { client, accept, call } = await online();
  const signals: AbortSignal[] = [];
  void client.provideTools({
    add: {
      description: "",
      input: {},
      execute: (_input, { signal }) => {
        signals.push(signal);
        return new Promise(() => undefined);
      },
    },
  });
  await accept("add");
  call("c1");
  await settled();
  client.close();
  assert.is(signals[0]!.aborted, true);
});

test("a schema that cannot describe itself is refused at once", async () => {
  const { client } = await online();
  const schema = {
    "~standard": { version: 1, vendor: "old", validate: (value: unknown) => ({ value }) },
  } as const;
  await assert.rejects(
    client.provideTools({ add: { description: "", input: schema, execute: () => 1 } }),
    TypeError,
  );
});

test("a call whose cancel came with it was not started", async () => {
  const { client, transport, accept, call } = await online();
  let ran = 0;
  const providing = client.provideTools({ add: tool(() => ++ran) });
  await accept("add");
  await providing;
  call("c");
  const reference = { session: "ses_1", call: "c", attempt: 1 };
  transport.last.feed({ type: "callCancel", ...reference, reason: "cancelled" });
  await settled();
  assert.is(ran, 0);
  const result = transport.last.of("callResult").at(-1);
  assert.is(result?.["error"].code, "not-started");
  client.close();
});

test.run();
