/**
 * Sessions in the hands of an application: attach, resume, gaps and ends; the server is played by hand.
 */
import type { SessionHandle } from "../../client/index.ts";
import { suite, assert } from "../support/suite.ts";
import { make } from "./support/attached.ts";
import { settled } from "./support/wire.ts";

const test = suite("client session");

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
  handle.on("presence", ({ users, people, connections }) =>
    seen.push(users[0]!.id, `${people} on ${connections}`),
  );
  handle.on("progress", ({ progress }) => seen.push(JSON.stringify(progress)));
  transport.last.feed(
    { type: "presence", session: "ses_1", users: [{ id: "bob", name: "Bob", connections: 2 }] },
    {
      type: "presence",
      session: "ses_1",
      users: [{ id: "eve", name: "Eve", connections: 1, typing: true }],
      people: 400,
      connections: 500,
    },
    { type: "toolProgress", session: "ses_1", call: "c", attempt: 1, progress: { percent: 5 } },
  );
  assert.equal(seen, ["bob", "1 on 2", "eve", "400 on 500", '{"percent":5}']);
  assert.is(handle.presence.people, 400);
});

test.run();
