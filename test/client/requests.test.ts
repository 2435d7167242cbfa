/**
 * Requests: ids, deadlines, the outbox, and what is sent again after a lost connection.
 */
import { decodeBinary } from "../../protocol/codec.ts";
import { Requests } from "../../client/requests.ts";
import type { OutboxLimits, RequestPolicy } from "../../client/requests.ts";
import { suite, assert } from "../support/suite.ts";
import { manualClock } from "./support/clock.ts";

const test = suite("client requests");

const KEYED: RequestPolicy = { replay: true, retry: true };
const ONCE: RequestPolicy = { replay: false };
const BOUND: RequestPolicy = { replay: false, bound: true };

function make(outbox: OutboxLimits = {}) {
  const clock = manualClock();
  const sent: { type: string; id: number; n?: number }[] = [];
  let connected = false;
  const requests = new Requests({
    encoding: "msgpack",
    clock,
    outbox,
    transmit(data) {
      if (!connected) return false;
      for (const frame of decodeBinary(data as Uint8Array)) sent.push(frame as (typeof sent)[0]);
      return true;
    },
    changed: () => undefined,
  });
  return {
    clock,
    sent,
    requests,
    up: (maxInFlight = 32) => {
      connected = true;
      requests.online(maxInFlight);
    },
    down: () => {
      connected = false;
      requests.offline();
    },
    ok: (id: number) => requests.settle({ type: "ok", id }),
    refuse: (
      id: number,
      code: "busy" | "conflict" | "rate-limited",
      retryable: boolean,
      retryAfterMs?: number,
    ) =>
      requests.settle({
        type: "error",
        id,
        code,
        message: "no",
        retryable,
        ...(retryAfterMs ? { retryAfterMs } : {}),
      }),
  };
}

test("requests made offline are sent in order once online, and each gets its own answer", async () => {
  const { requests, sent, up, ok } = make();
  const first = requests.call({ type: "send", n: 1 }, KEYED);
  const second = requests.call({ type: "history", n: 2 }, { replay: true });
  assert.is(requests.unsent, 2);
  up();
  assert.equal(
    sent.map((frame) => frame.n),
    [1, 2],
  );
  assert.is(requests.unsent, 0);
  ok(sent[1]!.id);
  ok(sent[0]!.id);
  assert.is((await first).id, sent[0]!.id);
  assert.is((await second).id, sent[1]!.id);
});

test("a lost connection repeats what may be repeated, in order, and fails the rest", async () => {
  const { requests, sent, up, down, ok } = make();
  up();
  const send = requests.call({ type: "send", n: 1 }, KEYED);
  const once = requests.call({ type: "grant", n: 2 }, ONCE);
  const bound = requests.call({ type: "attach", n: 3 }, BOUND);
  const read = requests.call({ type: "history", n: 4 }, { replay: true });
  down();
  assert.is((await assert.rejects(once)).code, "unavailable");
  assert.is((await assert.rejects(bound)).code, "unavailable");
  up();
  assert.equal(
    sent.slice(4).map((frame) => frame.n),
    [1, 4],
  );
  for (const frame of sent.slice(4)) ok(frame.id);
  await Promise.all([send, read]);
});

test("what was never sent is sent later, even if a repetition would do it twice", async () => {
  const { requests, sent, up, ok } = make();
  const once = requests.call({ type: "grant", n: 1 }, ONCE);
  up();
  assert.is(sent.length, 1);
  ok(sent[0]!.id);
  await once;
});

test("what belongs to a connection is refused offline and goes before all others", async () => {
  const { requests, sent, up, ok } = make();
  await assert.rejects(requests.call({ type: "attach" }, BOUND), /no connection/);
  void requests.call({ type: "send", n: 1 }, KEYED);
  void requests.call({ type: "send", n: 2 }, KEYED);
  up(1);
  void requests.call({ type: "attach", n: 3 }, BOUND);
  assert.equal(
    sent.map((frame) => frame.n),
    [1],
  );
  ok(sent[0]!.id);
  ok(sent[1]!.id);
  assert.equal(
    sent.map((frame) => frame.n),
    [1, 3, 2],
  );
});

test("no more are in flight than the server allows", () => {
  const { requests, sent, up, ok } = make();
  up(2);
  for (let n = 0; n < 5; n++) void requests.call({ type: "history", n }, { replay: true });
  assert.is(sent.length, 2);
  assert.is(requests.unsent, 3);
  ok(sent[0]!.id);
  assert.is(sent.length, 3);
});

test("a deadline fails a request whether it was sent or not, and a late answer is no answer", async () => {
  const { requests, sent, clock, up, ok } = make();
  const unsent = requests.call({ type: "send" }, KEYED, { timeoutMs: 100 });
  clock.advance(100);
  assert.is((await assert.rejects(unsent, /not sent/)).code, "timeout");
  up();
  const late = requests.call({ type: "send" }, KEYED);
  clock.advance(30_000);
  assert.is((await assert.rejects(late, /no answer/)).code, "timeout");
  assert.is(ok(sent[0]!.id), false);
  assert.is(clock.timers, 0);
});

test("a signal gives up waiting with its reason", async () => {
  const { requests, clock } = make();
  const stop = new AbortController();
  const waiting = requests.call({ type: "send" }, KEYED, { signal: stop.signal });
  const reason = new Error("changed my mind");
  stop.abort(reason);
  assert.is(await assert.rejects(waiting), reason);
  assert.is(await assert.rejects(requests.call({ type: "send" }, KEYED, { signal: stop.signal })), reason);
  assert.is(clock.timers, 0);
  assert.is(requests.unsent, 0);
});

test("the outbox is bounded in requests and in bytes", async () => {
  const { requests } = make({ maxRequests: 2 });
  void requests.call({ type: "send" }, KEYED);
  void requests.call({ type: "send" }, KEYED);
  assert.is((await assert.rejects(requests.call({ type: "send" }, KEYED))).code, "queue-full");
  const small = make({ maxBytes: 1000 });
  void small.requests.call({ type: "send", text: "x".repeat(900) }, KEYED);
  assert.is(
    (await assert.rejects(small.requests.call({ type: "send", text: "x".repeat(200) }, KEYED))).code,
    "queue-full",
  );
});

test("a frame that the server would close for is refused here", async () => {
  const { requests, up } = make();
  up();
  const error = await assert.rejects(requests.call({ type: "send", text: "x".repeat(1024 * 1024) }, KEYED));
  assert.is(error.code, "too-large");
});

test("a retryable refusal of a keyed request is tried again after what the server asks, a final one is not", async () => {
  const { requests, sent, clock, up, ok, refuse } = make();
  up();
  const send = requests.call({ type: "send" }, KEYED);
  refuse(sent[0]!.id, "busy", true, 1000);
  clock.advance(999);
  assert.is(sent.length, 1);
  clock.advance(1000);
  assert.is(sent.length, 2);
  ok(sent[1]!.id);
  await send;
  const final = requests.call({ type: "send" }, KEYED);
  refuse(sent[2]!.id, "conflict", false);
  assert.is((await assert.rejects(final)).code, "conflict");
  const read = requests.call({ type: "history" }, { replay: true });
  refuse(sent[3]!.id, "busy", true);
  assert.is((await assert.rejects(read)).retryable, true);
});

test("a refusal is handed on when its deadline leaves no time for another try", async () => {
  const { requests, sent, up, refuse } = make();
  up();
  const send = requests.call({ type: "send" }, KEYED, { timeoutMs: 500 });
  refuse(sent[0]!.id, "busy", true, 600);
  assert.is((await assert.rejects(send)).code, "busy");
});

test("a rate-limited request of any kind is sent again, and nothing else before the server's time is over", async () => {
  const { requests, sent, clock, up, ok, refuse } = make();
  up();
  const once = requests.call({ type: "grant", n: 1 }, ONCE);
  const bound = requests.call({ type: "attach", n: 2 }, BOUND);
  for (const { id } of sent) refuse(id, "rate-limited", true, 1000);
  const late = requests.call({ type: "history", n: 3 }, { replay: true });
  clock.advance(999);
  assert.is(sent.length, 2);
  clock.advance(1);
  assert.equal(
    sent.slice(2).map(({ n }) => n),
    [3],
  );
  clock.advance(2000);
  assert.equal(
    sent.slice(3).map(({ n }) => n),
    [1, 2],
  );
  for (const { id } of sent.slice(2)) ok(id);
  await Promise.all([once, bound, late]);
  assert.is(requests.unsent, 0);
});

test("fields that are undefined are left out", () => {
  const { requests, sent, up } = make();
  up();
  void requests.call({ type: "send", title: undefined, deep: { a: undefined, b: 1 } }, KEYED);
  assert.equal(sent[0], { type: "send", deep: { b: 1 }, id: 1 });
});

test.run();
