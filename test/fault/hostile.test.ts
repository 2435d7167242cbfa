/**
 * Hostile peers against a real server process: each is met by a typed error or by a close of the table, the server stays
 * up, and its other clients notice nothing.
 */
// limit: 300 s
import fc from "fast-check";
import { encodeFrame } from "../../protocol/codec.ts";
import type { Encoding } from "../../protocol/version.ts";
import { startServer, WireConnection, type Frame } from "../conformance/wire.ts";
import { attack, Bystander } from "../fuzz/hostile.ts";
import { FUZZED_TYPES, hostileInputs, noise } from "../fuzz/inputs.ts";
import { goldenFrames } from "../protocol/frames.ts";
import { JSON_HAZARDS, MSGPACK_HAZARDS } from "../protocol/hazards.ts";
import { assert, suite } from "../support/suite.ts";
import { seeded, seedFromEnvironment } from "../support/wait.ts";

const test = suite("hostile peers");
const random = seeded(seedFromEnvironment());
const { url } = await startServer();
const ENCODINGS: readonly Encoding[] = ["json", "msgpack"];

/** Sends messages that must each be a bad frame, nine at most on a connection, with a good request after each. */
async function eachRefused(
  encoding: Encoding,
  messages: readonly (readonly [string, Uint8Array | string])[],
): Promise<void> {
  let connection: WireConnection | undefined;
  for (const [index, [name, message]] of messages.entries()) {
    if (index % 9 === 0) {
      connection?.terminate();
      connection = await WireConnection.open(url, encoding);
    }
    connection!.sendRaw(message);
    // A good frame before the fault may have been answered.
    const error = await connection!.take((frame) => frame["code"] === "bad-frame");
    assert.not("id" in error, name);
    assert.is((await connection!.ask({ type: "listAgents", id: index }))["type"], "ok", name);
  }
  connection?.terminate();
}

test("every hazard of the decoder is a bad frame, and the connection goes on (MessagePack)", () =>
  eachRefused("msgpack", Object.entries(MSGPACK_HAZARDS)));

test("every hazard of JSON is a bad frame, and the connection goes on", () =>
  eachRefused("json", Object.entries(JSON_HAZARDS)));

test("a frame cut at any byte is a bad frame", { limitMs: 60_000 }, async () => {
  for (const golden of goldenFrames("client").filter(({ type }) =>
    ["send", "offerTools", "callResult"].includes(type),
  )) {
    const cuts = Array.from({ length: golden.bytes.length - 1 }, (_, length) => length + 1);
    await eachRefused(
      "msgpack",
      cuts.map((length) => [`${golden.name} to ${length}`, golden.bytes.subarray(0, length)]),
    );
  }
});

test("a message of the other kind, or no hello, before hello ends the connection", async () => {
  const first: (readonly [Encoding, Uint8Array | string])[] = [
    ["msgpack", '{"type":"hello","protocol":1}'],
    ["json", encodeFrame({ type: "hello", protocol: 1 })],
    ["json", "GET / HTTP/1.1"],
    ["json", ""],
    ["msgpack", new Uint8Array()],
    ["json", '{"type":"pong"}'],
    ["json", '{"type":"hello","protocol":"1"}'],
    ["json", '{"type":"hello","protocol":1}\n{"type":"listAgents","id":1}'],
    ["json", '{"type":"hello","protocol":1,"user":{"id":"__proto__"}}'],
    ...Object.values(MSGPACK_HAZARDS).map((bytes) => ["msgpack", bytes] as const),
    ...Object.values(JSON_HAZARDS).map((text) => ["json", text] as const),
  ];
  for (const [encoding, message] of first) {
    const connection = await WireConnection.open(url, encoding, { hello: false });
    connection.sendRaw(message);
    assert.is((await connection.take((frame) => frame["type"] === "error"))["retryable"], false);
    assert.is(await connection.closed(), 4500);
  }
});

test("a message of 2 MiB is closed with 1009, before and after hello", async () => {
  for (const encoding of ENCODINGS) {
    for (const hello of [{}, { hello: false }] as const) {
      const connection = await WireConnection.open(url, encoding, hello);
      const size = 2 * 1024 * 1024;
      connection.sendRaw(encoding === "json" ? `"${"x".repeat(size)}"` : new Uint8Array(size).fill(0x80));
      // The code is lost when the socket is reset over what is still being sent.
      assert.ok([1009, 1006].includes(await connection.closed()), String(connection.closeCode));
    }
  }
});

test("text that is not UTF-8 is closed with 1007, a broken WebSocket frame with 1002", async () => {
  const text = await WireConnection.open(url, "json");
  text.sendAsText(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x7d));
  assert.is(await text.closed(), 1007);
  const broken = [
    [0xff, 0x80, 0, 0, 0, 0],
    [0x83, 0x80, 0, 0, 0, 0],
    [0x81, 0x01, 0x61],
    [0x00, 0x80, 0, 0, 0, 0],
    [0x89, 0xfe, 0xff, 0xff, 0, 0, 0, 0],
  ];
  for (const bytes of broken) {
    const connection = await WireConnection.open(url, "json");
    connection.sendUnframed(Uint8Array.from(bytes));
    assert.is(await connection.closed(), 1002, String(bytes));
  }
});

test("a flood of tiny fragments is closed", async () => {
  const connection = await WireConnection.open(url, "json");
  connection.sendUnframed(Uint8Array.of(0x01, 0x80, 0, 0, 0, 0));
  const fragment = Uint8Array.of(0x00, 0x81, 0, 0, 0, 0, 0x20);
  const fragments = new Uint8Array(fragment.length * 20_000);
  for (let at = 0; at < fragments.length; at += fragment.length) fragments.set(fragment, at);
  connection.sendUnframed(fragments);
  assert.ok([1008, 1006].includes(await connection.closed()), String(connection.closeCode));
});

test("a message of a million tiny frames costs ten errors", async () => {
  for (const encoding of ENCODINGS) {
    const connection = await WireConnection.open(url, encoding);
    connection.sendRaw(encoding === "json" ? "{}\n".repeat(340_000) : new Uint8Array(1_000_000).fill(0x80));
    assert.is(await connection.closed(), 4500);
    assert.is(connection.frames.filter((frame) => frame["type"] === "error").length, 10);
  }
});

test("a million empty lines cost nothing", async () => {
  const connection = await WireConnection.open(url, "json");
  connection.sendRaw(`${"\n".repeat(1_000_000)}{"type":"listAgents","id":1}`);
  assert.is((await connection.take((frame) => frame["id"] === 1))["type"], "ok");
});

test("requests beyond those in flight are refused one by one, and a flood of them ends the connection", async () => {
  const connection = await WireConnection.open(url, "msgpack");
  const flood = (count: number): Frame[] =>
    Array.from({ length: count }, (_, id) => ({ type: "createSession", id, agent: "demo" }));
  const { maxInFlight } = connection.welcome["limits"] as { maxInFlight: number };
  connection.send(...flood(200));
  const codes: unknown[] = [];
  for (let id = 0; id < 200; id++) {
    const answer = await connection.take((frame) => frame["id"] === id);
    codes.push(answer["type"] === "ok" ? "ok" : answer["code"]);
  }
  assert.equal(new Set(codes), new Set(["ok", "rate-limited"]));
  assert.ok(codes.filter((code) => code === "ok").length >= maxInFlight);
  connection.send(...flood(2000));
  assert.is(await connection.closed(), 4104);
});

test("what one peer stores, no other peer chokes on: odd values come back as they went in, in both encodings", async () => {
  const odd = {
    large: 1e20,
    larger: 1.7e308,
    small: 5e-324,
    integer: Number.MAX_SAFE_INTEGER,
    constructor: { prototype: 1 },
    toJSON: 1,
    "": null,
    text: "\u0000\u2028\ufeff🦭",
    nested: { constructor: null, toJSON: [] },
  };
  const ids = await Promise.all(
    ENCODINGS.map(async (encoding) => {
      const connection = await WireConnection.open(url, encoding);
      const created = await connection.ask({ type: "createSession", id: 1, agent: "demo", metadata: odd });
      assert.is(created["type"], "ok", JSON.stringify(created));
      connection.terminate();
      return created["session"] as string;
    }),
  );
  for (const session of ids) {
    for (const encoding of ENCODINGS) {
      const reader = await WireConnection.open(url, encoding);
      reader.send({ type: "attach", id: 1, session, after: { epoch: 0, seq: 0 } });
      const entry = await reader.take((frame) => frame["type"] === "event");
      assert.is(JSON.stringify((entry["event"] as Frame)["metadata"]), JSON.stringify(odd));
      reader.terminate();
    }
  }
});

// WireConnection itself fails on a frame over 1 MiB.
test("no answer is larger than a frame, however large the things it lists", { limitMs: 60_000 }, async () => {
  const connection = await WireConnection.open(url, "msgpack");
  const schema = (size: number): Frame => ({ type: "object", description: "x".repeat(size) });
  const tool = (name: string, size: number): Frame => ({ name, description: "", inputSchema: schema(size) });
  for (let i = 0; i < 4; i++) {
    const tools = Array.from({ length: 10 }, (_, n) => tool(`large_${i}_${n}`, 60_000));
    await connection.ask({ type: "offerTools", id: 1, tools });
  }
  const large = await connection.ask({ type: "offerTools", id: 2, tools: [tool("large_0_0", 700_000)] });
  assert.is(large["code"], "too-large");
  // What stands in the way of another provider is told, however large it is.
  const other = await WireConnection.open(url, "msgpack");
  const long = "/".repeat(60_000);
  for (const inputSchema of [
    { type: "string", const: "x".repeat(120_000) },
    { type: "object", required: [long] },
    { type: "object", properties: { [long]: { type: "string" } }, additionalProperties: false },
  ]) {
    const tools = [{ name: "large_0_0", description: "", inputSchema }];
    const refused = await other.ask({ type: "offerTools", id: 3, tools });
    assert.is(refused["code"], "conflict");
    assert.ok(JSON.stringify(refused).length < 4096);
  }
  const beside = (inputSchema: Frame): Promise<Frame> =>
    other.ask({ type: "offerTools", id: 4, tools: [{ name: "deep", description: "", inputSchema }] });
  await connection.ask({
    type: "offerTools",
    id: 5,
    tools: [{ ...tool("deep", 0), inputSchema: { type: "object", properties: { [long]: {} } } }],
  });
  const deep = await beside({ type: "object", properties: { [long]: { type: "string" } } });
  assert.is(deep["code"], "conflict");
  assert.ok(JSON.stringify(deep).length < 4096);
  await pages(connection, { type: "listTools" });
  const title = "€".repeat(1024);
  for (let i = 0; i < 220; i++) {
    const metadata = "x".repeat(4000);
    const made = await connection.ask({ type: "createSession", id: 4, agent: "demo", title, metadata });
    assert.is(made["type"], "ok");
  }
  assert.ok((await pages(connection, { type: "listSessions", limit: 200 })).length >= 220);
  assert.is(connection.closeCode, undefined);
});

test(
  "no payload locks readers out, of either encoding, however it is spelled",
  { limitMs: 60_000 },
  async () => {
    const writer = await WireConnection.open(url, "msgpack");
    // As much as a payload may be: text that JSON writes as it is, and text that it writes in six times as many bytes.
    const texts = [
      "x".repeat(780_000),
      "\u0001".repeat(131_000),
      '"'.repeat(390_000),
      "\u0001".repeat(780_000),
    ];
    const made: [string, string][] = [];
    for (const metadata of texts) {
      const answer = await writer.ask({ type: "createSession", id: 1, agent: "demo", metadata });
      if (answer["type"] === "ok") made.push([answer["session"] as string, metadata]);
      else assert.is(answer["code"], "too-large");
    }
    assert.is(made.length, 3);
    for (const encoding of ENCODINGS) {
      for (const [session, metadata] of made) {
        const reader = await WireConnection.open(url, encoding);
        reader.send({ type: "attach", id: 1, session, after: { epoch: 0, seq: 0 } });
        const entry = await reader.take((frame) => frame["type"] === "event");
        assert.ok((entry["event"] as Frame)["metadata"] === metadata);
        await reader.take((frame) => frame["type"] === "live");
        const { snapshot } = await reader.ask({ type: "attach", id: 2, session });
        const state = (snapshot as Frame)["state"] as { session: Frame };
        assert.ok(state.session["metadata"] === metadata);
        reader.terminate();
      }
    }
  },
);

async function pages(connection: WireConnection, request: Frame): Promise<unknown[]> {
  const items: unknown[] = [];
  for (let cursor: Frame | undefined = {}, id = 1000; cursor !== undefined; id++) {
    const page: Frame = await connection.ask({ ...request, ...cursor, id });
    assert.is(page["type"], "ok", JSON.stringify(page).slice(0, 500));
    items.push(...(page["items"] as unknown[]));
    cursor = page["cursor"] === undefined ? undefined : { cursor: page["cursor"] };
  }
  return items;
}

test(
  "10 000 hostile frames: typed error or tabled close, and bystanders go on",
  { limitMs: 240_000 },
  async () => {
    const attacked = await startServer();
    const bystanders = await Promise.all(ENCODINGS.map((encoding) => Bystander.join(attacked.url, encoding)));
    for (const bystander of bystanders) bystander.start(2);
    const inputs = fc.sample(fc.oneof(noise, ...FUZZED_TYPES.map(hostileInputs)), {
      numRuns: 10_000,
      seed: random.seed,
    });
    const report = await attack(attacked.url, inputs, random);
    for (const bystander of bystanders) await bystander.stop();
    assert.is(report.sent, 10_000);
    const refused = [...report.errors.values()].reduce((sum, number) => sum + number, 0);
    assert.ok(refused > 5000, JSON.stringify([...report.errors]));
    assert.ok((report.closes.get(4500) ?? 0) > 100, JSON.stringify([...report.closes]));
    const health = await fetch(`${attacked.url.replace("ws:", "http:").replace("/ws", "")}/healthz`);
    assert.is(health.status, 200);
    // Nothing of it was a surprise to the server, which would log it.
    const surprises = attacked.process.stderr.filter((line) => line.includes('"level":"error"'));
    assert.equal(surprises.slice(0, 3), []);
    assert.not(report.errors.has("internal"));
  },
);

test.run();
