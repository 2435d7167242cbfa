/** Sessions in the hands of an application: attach, resume, gaps, turns; the server is played by hand. */
import { connect } from "../../client/index.ts";
import type { SessionHandle, TurnEvent } from "../../client/index.ts";
import type { SessionState } from "../../protocol/frames.ts";
import type { Message } from "../../protocol/content.ts";
import type { EventFrame } from "../../protocol/entries.ts";
import { fold } from "../../protocol/state.ts";
import { suite, assert } from "../support/suite.ts";
import { manualClock } from "./support/clock.ts";
import { ann, Log } from "./support/entries.ts";
import { handTransport, settled } from "./support/wire.ts";
import type { Sent } from "./support/wire.ts";

const test = suite("client session");

async function make() {
  const clock = manualClock();
  const transport = handTransport();
  const client = connect({ url: "ws://host/ws", clock, transport: transport.open });
  await settled();
  transport.last.open();
  transport.last.welcome();
  await settled();
  const log = new Log();
  log.created();
  /** The newest request of a type. */
  const request = (type: string): Sent => transport.last.of(type).at(-1)!;
  const stateOf = (entries: readonly EventFrame[]): SessionState =>
    entries.reduce<SessionState | undefined>(fold, undefined)!;
  const attached = (mode: "events" | "snapshot") => {
    const state = stateOf(log.entries);
    const { epoch, seq } = state;
    return {
      type: "ok",
      id: request("attach")["id"],
      session: state.session,
      channel: 7,
      epoch,
      head: seq,
      mode,
      ...(mode === "snapshot" ? { snapshot: { epoch, seq, state } } : {}),
    };
  };
  const live = (more: object = {}) => {
    const { epoch, seq } = log.entries.at(-1)!;
    return { type: "live", session: "ses_1", epoch, seq, ...more };
  };
  /** Attaches by a snapshot and is caught up. */
  const attach = async (): Promise<SessionHandle> => {
    const handle = client.attach("ses_1");
    transport.last.feed(attached("snapshot"), live());
    await settled();
    clock.advance(0);
    return handle;
  };
  const again = async (): Promise<void> => {
    transport.last.close(1006);
    clock.advance(1000);
    await settled();
    transport.last.open();
    transport.last.welcome();
  };
  const part = (message: string) => ({ type: "part", channel: 7, message, part: 0, kind: "text" });
  const delta = (message: string, offset: number, text: string) => ({
    type: "delta",
    channel: 7,
    message,
    part: 0,
    offset,
    text,
  });
  const sent = (more: object) => ({
    type: "ok",
    id: request("send")["id"],
    seq: 2,
    position: 0,
    duplicate: false,
    ...more,
  });
  return {
    clock,
    transport,
    client,
    log,
    request,
    attached,
    live,
    attach,
    again,
    part,
    delta,
    sent,
    stateOf,
  };
}

test("attaches by a snapshot, then follows events and text", async () => {
  const { transport, log, attach, request, part, delta } = await make();
  const handle = await attach();
  assert.equal(request("attach"), { type: "attach", session: "ses_1", id: request("attach")["id"] });
  assert.is(handle.caughtUp, true);
  assert.is(handle.state?.session.agent, "demo");
  const seen: string[] = [];
  handle.on("entry", (entry) => seen.push(entry.event.type));
  handle.on("delta", (item) => seen.push(item.text));
  transport.last.feed(
    ...log.asked("hi", { input: "msg_1", run: "run_1" }),
    part("msg_2"),
    delta("msg_2", 0, "He"),
  );
  assert.equal(seen, ["input-queued", "run-started", "message", "He"]);
  assert.is(handle.partial?.run, "run_1");
  assert.is(handle.state?.run?.run, "run_1");
  transport.last.feed(
    log.answered("msg_2", "run_1", [{ type: "text", text: "Hello" }]),
    log.finished("run_1", "Hello"),
  );
  assert.is(handle.partial, undefined);
  assert.is(handle.state?.run, undefined);
  assert.equal(handle.position, { epoch: 10, seq: log.entries.length });
});

test("whoever listens right after the attach misses no entry, although all came in one message", async () => {
  const { transport, log, client, clock, attached, live } = await make();
  log.asked("hi", { input: "msg_1", run: "run_1" });
  const attaching = client.attach("ses_1", { after: { epoch: 0, seq: 0 } });
  transport.last.feed(attached("events"), ...log.entries, live());
  const wrapped = async (): Promise<SessionHandle> => {
    const handle = await attaching;
    await Promise.resolve();
    return handle;
  };
  const handle = await wrapped();
  const events = handle.events();
  assert.is(handle.info?.agent, "demo");
  clock.advance(0);
  for (const entry of log.entries) assert.equal((await events.next()).value, entry);
  assert.is(handle.caughtUp, true);
});

test("after a lost connection it resumes by position, and shows every entry once", async () => {
  const { transport, log, attach, again, attached, live, request } = await make();
  const handle = await attach();
  const seqs: number[] = [];
  handle.on("entry", (entry) => seqs.push(entry.seq));
  transport.last.feed(...log.asked("one", { input: "msg_1", run: "run_1" }));
  const position = handle.position!;
  await again();
  assert.is(handle.caughtUp, false);
  assert.equal(request("attach")["after"], position);
  log.finished("run_1");
  transport.last.feed(attached("events"), ...log.entries.slice(position.seq - 2), live());
  assert.is(handle.caughtUp, true);
  assert.equal(seqs, [2, 3, 4, 5]);
});

test("a takeover's higher epoch goes on, the old connection's late events do not reach it", async () => {
  const { transport, log, attach, again, attached, live } = await make();
  const handle = await attach();
  const old = transport.last;
  await again();
  old.feed(log.add({ type: "session-updated", title: "late" }));
  log.epoch = 11;
  log.entries.pop();
  transport.last.feed(attached("events"), log.add({ type: "session-updated", title: "new" }), live());
  assert.is(handle.state?.session.title, "new");
  assert.equal(handle.position, { epoch: 11, seq: 2 });
});

test("a gap makes it attach anew without a position; what the old attachment still sends is ignored", async () => {
  const { transport, log, attach, attached, live, request } = await make();
  const handle = await attach();
  const entries: number[] = [];
  const snapshots: number[] = [];
  handle.on("entry", (entry) => entries.push(entry.seq));
  handle.on("snapshot", (state) => snapshots.push(state.seq));
  log.asked("one", { input: "msg_1", run: "run_1" });
  transport.last.feed(log.entries[3]!);
  assert.is(transport.last.of("attach").length, 2);
  assert.is(request("attach")["after"], undefined);
  transport.last.feed(log.entries[1]!);
  assert.equal(entries, []);
  transport.last.feed(attached("snapshot"), live());
  assert.equal(snapshots, [4]);
  assert.is(handle.state?.run?.run, "run_1");
  assert.is(handle.caughtUp, true);
});

test("a live beyond what came is a gap too, and attaching again and again is slowed down", async () => {
  const { transport, attach, clock, live } = await make();
  await attach();
  transport.last.feed({ ...live(), seq: 99 });
  assert.is(transport.last.of("attach").length, 2);
  const { id } = transport.last.of("attach").at(-1)!;
  transport.last.feed({ type: "error", id, code: "unavailable", message: "x", retryable: true });
  await settled();
  assert.is(transport.last.of("attach").length, 2);
  clock.advance(10_000);
  assert.is(transport.last.of("attach").length, 3);
});

test("a position that the server does not know any more is answered with a snapshot", async () => {
  const { transport, attach, again, attached, live } = await make();
  const handle = await attach();
  let replaced = 0;
  handle.on("snapshot", () => replaced++);
  const events = handle.events();
  const next = events.next();
  await again();
  transport.last.feed(attached("snapshot"), live());
  assert.is(replaced, 1);
  assert.is((await assert.rejects(next)).code, "unavailable");
});

test("detached by the server: deleted ends it, unavailable comes back, position-lost starts anew", async () => {
  const { transport, attach, clock, attached, live, request } = await make();
  const handle = await attach();
  transport.last.feed({ type: "detached", session: "ses_1", reason: "position-lost" });
  assert.is(request("attach")["after"], undefined);
  transport.last.feed(attached("snapshot"), live());
  transport.last.feed({ type: "detached", session: "ses_1", reason: "unavailable" });
  clock.advance(11_000);
  assert.is(transport.last.of("attach").length, 3);
  assert.ok(request("attach")["after"]);
  transport.last.feed(attached("events"), live());
  const next = handle.events().next();
  transport.last.feed({ type: "detached", session: "ses_1", reason: "deleted" });
  assert.is((await assert.rejects(next)).code, "not-found");
  assert.is(handle.ended?.code, "not-found");
  assert.is(transport.last.of("detach").length, 0);
});

test("attach rejects with the server's refusal, and one handle serves all who attach", async () => {
  const { transport, client, attach, request } = await make();
  const refused = client.attach("ses_2");
  transport.last.feed({
    type: "error",
    id: request("attach")["id"],
    code: "not-found",
    message: "no",
    retryable: false,
  });
  assert.is((await assert.rejects(refused)).code, "not-found");
  const handle = await attach();
  assert.is(await client.attach("ses_1"), handle);
  handle.detach();
  assert.is(transport.last.of("detach").length, 1);
  assert.equal(await handle.events().next(), { value: undefined, done: true });
});

test("attach gives up at its deadline", async () => {
  const { transport, client, clock, request } = await make();
  const attaching = client.attach("ses_1", { timeoutMs: 1000 });
  clock.advance(1000);
  assert.is((await assert.rejects(attaching)).code, "timeout");
  assert.is(transport.last.of("detach").length, 1);
  assert.is(request("attach")["session"], "ses_1");
});

test("a send in flight when the socket dies is repeated with the same key", async () => {
  const { transport, attach, again, request, sent } = await make();
  const handle = await attach();
  const sending = handle.send("hi");
  const before = request("send");
  await again();
  assert.equal(request("send"), before);
  transport.last.feed(sent({ input: "msg_1", duplicate: true }));
  assert.is((await sending).duplicate, true);
});

test("a busy session refuses a send with mode reject at once", async () => {
  const { transport, attach, request } = await make();
  const handle = await attach();
  const sending = handle.send("hi", { mode: "reject" });
  transport.last.feed({
    type: "error",
    id: request("send")["id"],
    code: "busy",
    message: "busy",
    retryable: true,
  });
  assert.is((await assert.rejects(sending)).code, "busy");
});

test("ask resolves with the end of the run that took the input, also when its entries came before the ok", async () => {
  const { transport, log, attach, sent } = await make();
  const handle = await attach();
  const asking = handle.ask("hi");
  transport.last.feed(
    ...log.asked("other", { input: "msg_1", run: "run_1" }),
    log.finished("run_1", "not this"),
    ...log.asked("hi", { input: "msg_3", run: "run_2" }),
    log.finished("run_2", "this"),
    sent({ input: "msg_3" }),
  );
  assert.is((await asking).text, "this");
});

test("ask finds the run that a steered input joined", async () => {
  const { transport, log, attach, sent } = await make();
  const handle = await attach();
  transport.last.feed(...log.asked("first", { input: "msg_1", run: "run_1" }));
  const asking = handle.ask("more", { mode: "steer" });
  const joined: Message = {
    id: "msg_2",
    role: "user",
    author: ann,
    run: "run_1",
    parts: [{ type: "text", text: "more" }],
  };
  transport.last.feed(
    sent({ input: "msg_2" }),
    log.add({ type: "message", message: joined }, { run: "run_1" }),
  );
  transport.last.feed(log.finished("run_1", "both"));
  assert.is((await asking).run, "run_1");
});

test("ask fails when the input is withdrawn", async () => {
  const { transport, log, attach, sent } = await make();
  const handle = await attach();
  const asking = handle.ask("hi");
  transport.last.feed(sent({ input: "msg_1" }), log.add({ type: "input-withdrawn", input: "msg_1" }));
  assert.is((await assert.rejects(asking)).code, "conflict");
});

test("ask survives a snapshot: the run's end is told by the state", async () => {
  const { transport, log, attach, again, attached, live, sent } = await make();
  const handle = await attach();
  const asking = handle.ask("hi");
  transport.last.feed(...log.asked("hi", { input: "msg_1", run: "run_1" }), sent({ input: "msg_1" }));
  await settled();
  await again();
  log.answered("msg_2", "run_1", [{ type: "text", text: "Hello" }]);
  log.finished("run_1");
  transport.last.feed(attached("snapshot"), live());
  assert.is((await asking).text, "Hello");
});

test("stream yields the text once, whatever was dropped, then the end of the run", async () => {
  const { transport, log, attach, sent, part, delta, live, again, attached } = await make();
  const handle = await attach();
  const stream = handle.stream("hi");
  transport.last.feed(
    sent({ input: "msg_1" }),
    ...log.asked("hi", { input: "msg_1", run: "run_1" }),
    part("msg_2"),
  );
  await settled();
  transport.last.feed(
    delta("msg_2", 0, "Hel"),
    delta("msg_2", 2, "llo"),
    delta("msg_2", 9, "dropped before"),
  );
  transport.last.feed(
    live({
      partial: { run: "run_1", message: "msg_2", parts: [{ part: 0, kind: "text", text: "Hello, wo" }] },
    }),
  );
  await again();
  transport.last.feed(
    attached("events"),
    log.answered("msg_2", "run_1", [{ type: "text", text: "Hello, world" }]),
  );
  transport.last.feed(log.finished("run_1", "Hello, world"), live());
  const events: TurnEvent[] = [];
  for await (const event of stream) events.push(event);
  assert.is(events.map((event) => (event.type === "text" ? event.text : "")).join(""), "Hello, world");
  const types = events.flatMap((event) => (event.type === "entry" ? [event.entry.event.type] : []));
  assert.equal(types, ["run-started", "message", "message", "run-finished"]);
});

test("leaving a stream stops listening, not the run", async () => {
  const { transport, log, attach, sent } = await make();
  const handle = await attach();
  const stream = handle.stream("hi");
  transport.last.feed(sent({ input: "msg_1" }), ...log.asked("hi", { input: "msg_1", run: "run_1" }));
  await settled();
  for await (const event of stream) {
    assert.is(event.type, "entry");
    break;
  }
  assert.is(transport.last.of("cancel").length, 0);
  assert.is(handle.state?.run?.run, "run_1");
});

test("cancel names the open run, and is finished at once when there is none", async () => {
  const { transport, log, attach, request } = await make();
  const handle = await attach();
  assert.equal(await handle.cancel(), { state: "finished" });
  transport.last.feed(...log.asked("hi", { input: "msg_1", run: "run_1" }));
  const cancelling = handle.cancel();
  assert.is(request("cancel")["run"], "run_1");
  transport.last.feed({ type: "ok", id: request("cancel")["id"], seq: 9, state: "cancelling" });
  assert.is((await cancelling).state, "cancelling");
});

test("a listener that throws harms neither the others nor the position", async () => {
  const { transport, log, attach } = await make();
  const handle = await attach();
  const thrown: unknown[] = [];
  const catcher = (error: unknown): void => void thrown.push(error);
  const others = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.once("uncaughtException", catcher);
  let count = 0;
  handle.on("entry", () => {
    throw new Error("mine");
  });
  handle.on("entry", () => count++);
  transport.last.feed(log.add({ type: "session-updated", title: "t" }));
  await settled();
  process.off("uncaughtException", catcher);
  for (const other of others) process.on("uncaughtException", other);
  assert.is(count, 1);
  assert.is(thrown.length, 1);
  assert.is(handle.position?.seq, 2);
});

test("presence and progress are handed on", async () => {
  const { transport, attach } = await make();
  const handle = await attach();
  const seen: string[] = [];
  handle.on("presence", (users) => seen.push(users[0]!.id));
  handle.on("progress", ({ progress }) => seen.push(JSON.stringify(progress)));
  transport.last.feed(
    { type: "presence", session: "ses_1", users: [{ id: "bob", name: "Bob", connections: 1 }] },
    { type: "toolProgress", session: "ses_1", call: "c", attempt: 1, progress: { percent: 5 } },
  );
  assert.equal(seen, ["bob", '{"percent":5}']);
  assert.is(handle.presence.length, 1);
});

test.run();
