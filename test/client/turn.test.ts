/**
 * One input from its send to the end of its run: send, ask, stream, cancel; the server is played by hand.
 */
import type { TurnEvent } from "../../client/index.ts";
import type { Message } from "../../protocol/content.ts";
import { suite, assert } from "../support/suite.ts";
import { make } from "./support/attached.ts";
import { ann } from "./support/entries.ts";
import { settled } from "./support/wire.ts";

const test = suite("client turn");

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

test.run();
