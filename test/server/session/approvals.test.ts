/**
 * Approvals in one process: when people are asked, whose word counts, what an answer brings, and that one resolution is
 * all there ever is. On the real runtime with the memory store and a clock that the tests move.
 */
import type { ApprovalRule, JsonValue } from "../../../protocol/content.ts";
import type { ProtocolError } from "../../../protocol/errors.ts";
import type { Caller } from "../../../server/session/access.ts";
import type { LocalTool } from "../../../server/tool/local.ts";
import { actor, bodiesOf, Clock, closeRuntimes, script, startRuntime } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { admin, asked, ASKED, member, outcomes, refusal, shop, till } from "./shop.ts";

const test = suite("approvals");
test.after.each(closeRuntimes);

test("an approved call goes out in the append of its resolution, and once", async () => {
  const at = await shop({ mode: "always" });
  const { runtime, session, pay } = at;
  const { request, call, ended, ...opened } = await asked(at);
  assert.equal(opened, {
    type: "request-opened",
    kind: "approval",
    subject: { tool: "pay", input: { amount: 5 } },
    expiresAt: at.clock.now() + 3_600_000,
    who: [{ roles: ["owner", "approver"] }],
  });
  const waiting = await runtime.state(session);
  assert.equal([waiting.session.state, waiting.session.requests], ["waiting", 1]);
  assert.equal(pay.paid, []);
  const { seq } = await runtime.answer(session, { request, decision: "approve", reason: "fine" });
  assert.is((await ended).reason, "text");
  assert.equal(pay.paid, [{ amount: 5 }]);
  const log = await runtime.log(session);
  const at_ = log.findIndex(({ event }) => event.type === "request-resolved");
  assert.is(log[at_]!.seq, seq);
  assert.equal(log[at_]!.actor, actor("ada"));
  assert.equal(
    log.slice(at_, at_ + 2).map(({ event }) => event),
    [
      { type: "request-resolved", request, decision: "approve", by: [actor("ada")], reason: "fine" },
      {
        type: "tool-dispatched",
        call,
        attempt: 1,
        provider: "prv_local",
        effect: "once",
        deadlineAt: at.clock.now() + 60_000,
      },
    ],
  );
});

test("a denied call is a result that the model reads, with who and why", async () => {
  const at = await shop({ mode: "always" });
  const { request, ended } = await asked(at);
  await at.runtime.answer(at.session, { request, decision: "deny", reason: "too dear" });
  await ended;
  const [result] = bodiesOf(await at.runtime.log(at.session), "tool-result");
  assert.is(result?.outcome, "denied");
  assert.is(result?.error?.message, '"ada" said no: "too dear"');
  assert.equal(at.pay.paid, []);
});

test("rules by the input ask about what fits, and about what cannot be checked", async () => {
  const at = await shop({ mode: "when", when: { properties: { amount: { minimum: 100 } } } });
  await at.runtime.run(at.session, ASKED);
  assert.equal(at.pay.paid, [{ amount: 5 }]);
  const { request } = await asked(at, script({ calls: [{ tool: "pay", input: { amount: 100 } }] }));
  await at.runtime.answer(at.session, { request, decision: "deny" });
  assert.equal(at.pay.paid, [{ amount: 5 }]);
  const hard = await shop({
    mode: "when",
    when: { properties: { note: { pattern: `^(${"a?".repeat(900)})*b$` } } },
  });
  const note = "a".repeat(300_000);
  await asked(hard, script({ calls: [{ tool: "pay", input: { amount: 1, note } }] }));
});

test("a rule whose schema cannot be checked is refused with the tool, and with the agent", async () => {
  const bad: ApprovalRule = { mode: "when", when: { type: "nonsense" } };
  const { runtime } = await startRuntime();
  assert.throws(() => runtime.registerTool(till(bad)), /cannot be checked/);
  assert.throws(() => runtime.registerTool(till({ mode: "when" })), /when/);
  assert.throws(() => runtime.registerTool(till({ mode: "always", maybe: true } as never)), /maybe/);
  const refused = await refusal(runtime.addAgent({ name: "careful", approvals: { "pay*": bad } }));
  assert.match(refused.message, /cannot be checked/);
});

test("the tool's and the agent's rules join, each clause to the stricter", async () => {
  const at = await shop(
    { mode: "always", by: { roles: ["approver", "editor"], count: 2 }, expiresInMs: 9000, editable: true },
    {
      agent: {
        approvals: {
          "p*y": {
            mode: "always",
            by: { roles: ["editor"], notRequester: true },
            editable: true,
            remember: true,
          },
          pay: { mode: "when", when: { properties: { amount: { const: 7 } } }, by: { count: 9 } },
          other: { mode: "always", by: { count: 9 } },
        },
      },
    },
  );
  const { request: _r, call: _c, ended: _e, ...opened } = await asked(at);
  assert.equal(opened, {
    type: "request-opened",
    kind: "approval",
    subject: { tool: "pay", input: { amount: 5 } },
    expiresAt: at.clock.now() + 9000,
    who: [{ roles: ["approver", "editor"] }, { roles: ["editor"] }],
    count: 2,
    notRequester: true,
    editable: true,
  });
});

test("who may not answer is refused: viewers, the requester where that is said, strangers", async () => {
  const at = await shop(
    { mode: "always", by: { roles: ["owner", "approver"], users: ["vera"], notRequester: true } },
    { members: { vera: "viewer", victor: "viewer", pat: "approver" } },
  );
  const { request } = await asked(at);
  const answer = (user: string | Caller): Promise<unknown> =>
    at.runtime.answer(at.session, { request, decision: "approve" }, user);
  assert.is((await refusal(answer("victor"))).code, "forbidden");
  assert.is((await refusal(answer("ada"))).code, "forbidden");
  assert.is((await refusal(answer(admin("ada")))).code, "forbidden");
  assert.is((await refusal(answer("nobody"))).code, "not-found");
  assert.equal(at.pay.paid, []);
  await answer("vera");
  assert.is((await refusal(answer("pat"))).code, "conflict");
});

test("an approver of another session finds no such request", async () => {
  const at = await shop({ mode: "always" });
  const { request } = await asked(at);
  const other = await at.runtime.session({}, "olga");
  const said = { request, decision: "approve" } as const;
  assert.is((await refusal(at.runtime.answer(other, said, "olga"))).code, "not-found");
  assert.is((await refusal(at.runtime.answer(at.session, said, "olga"))).code, "not-found");
});

test("of several who must approve each counts once, and the one who completes the rule is told from the others", async () => {
  const members = { bob: "approver", carl: "approver", dora: "approver" } as const;
  const at = await shop({ mode: "always", by: { count: 2 } }, { members });
  const { runtime, session, pay } = at;
  const { request, ended } = await asked(at);
  const said = { request, decision: "approve" } as const;
  const first = await runtime.answer(session, said, "bob");
  assert.equal(await runtime.answer(session, said, "bob"), first);
  assert.is(bodiesOf(await runtime.log(session), "request-answered").length, 1);
  const [open] = (await runtime.state(session)).requests;
  assert.equal(
    open?.approvals?.map(({ user, seq }) => [user.id, seq]),
    [["bob", first.seq]],
  );
  assert.equal(pay.paid, []);
  const last = await runtime.answer(session, said, "carl");
  await ended;
  assert.equal(pay.paid, [{ amount: 5 }]);
  const [resolved] = bodiesOf(await runtime.log(session), "request-resolved");
  assert.equal(
    resolved?.by?.map(({ id }) => id),
    ["bob", "carl"],
  );
  // Again, by both; and too late, by another.
  assert.equal(await runtime.answer(session, said, "carl"), last);
  assert.equal(await runtime.answer(session, said, "bob"), last);
  const late = await refusal(runtime.answer(session, said, "dora"));
  assert.is(late.code, "conflict");
  assert.equal(late.details, {
    request,
    decision: "approve",
    by: [
      { id: "bob", name: "bob" },
      { id: "carl", name: "carl" },
    ],
  });
});

test("one denial decides, whoever approved before", async () => {
  const at = await shop(
    { mode: "always", by: { count: 3 } },
    { members: { bob: "approver", carl: "approver" } },
  );
  const { request, ended } = await asked(at);
  await at.runtime.answer(at.session, { request, decision: "approve" }, "bob");
  await at.runtime.answer(at.session, { request, decision: "deny" }, "carl");
  await ended;
  assert.equal(await outcomes(at), ["denied"]);
});

test("the yes of a member whose role is taken away counts no more", async () => {
  const at = await shop(
    { mode: "always", by: { count: 2 } },
    { members: { bob: "approver", carl: "approver" } },
  );
  const { request, ended } = await asked(at);
  const said = { request, decision: "approve" } as const;
  await at.runtime.answer(at.session, said, "bob");
  await member(at.runtime, at.session, "bob", null);
  await at.runtime.answer(at.session, said, "carl");
  assert.equal(at.pay.paid, []);
  assert.is((await at.runtime.state(at.session)).requests.length, 1);
  await member(at.runtime, at.session, "bob", "approver");
  await at.runtime.answer(at.session, { ...said, reason: "still" }, "carl");
  await ended;
  assert.equal(at.pay.paid, [{ amount: 5 }]);
});

test("an edited input is what the tool gets, and is held to its schema and to every rule", async () => {
  const at = await shop(
    { mode: "always", editable: true },
    { agent: { approvals: { pay: { mode: "when", when: { properties: { amount: { minimum: 100 } } } } } } },
  );
  const { runtime, session } = at;
  const { request, ended, call } = await asked(at);
  const say = (input: JsonValue): Promise<unknown> =>
    runtime.answer(session, { request, decision: "approve", input });
  assert.is((await refusal(say({ amount: "much" }))).code, "bad-frame");
  assert.is((await refusal(say({ amount: 100 }))).code, "forbidden");
  await say({ amount: 6 });
  await ended;
  assert.equal(at.pay.paid, [{ amount: 6 }]);
  const [resolved] = bodiesOf(await runtime.log(session), "request-resolved");
  assert.equal(resolved?.input, { amount: 6 });
  const part = (await runtime.state(session)).messages
    .flatMap(({ parts }) => parts)
    .find((item) => item.type === "dynamic-tool" && item.toolCallId === call);
  assert.equal((part as { input: JsonValue }).input, { amount: 6 });
});

test("an input is not edited where a rule does not say so", async () => {
  const at = await shop({ mode: "always" });
  const { request } = await asked(at);
  const edit = { request, decision: "approve", input: { amount: 1 } } as const;
  assert.is((await refusal(at.runtime.answer(at.session, edit))).code, "forbidden");
  await at.runtime.answer(at.session, { ...edit, input: { amount: 5 } });
});

test("several approve one input: who edits begins anew, and nobody approves what he did not see", async () => {
  const at = await shop(
    { mode: "always", editable: true, by: { count: 2 } },
    { members: { bob: "approver", carl: "approver" } },
  );
  const { request, ended } = await asked(at);
  const say = (user: string, input?: JsonValue): Promise<unknown> =>
    at.runtime.answer(
      at.session,
      { request, decision: "approve", ...(input === undefined ? {} : { input }) },
      user,
    );
  await say("bob");
  await say("carl", { amount: 6 });
  assert.equal(at.pay.paid, []);
  assert.is((await refusal(say("bob"))).code, "conflict");
  await say("bob", { amount: 6 });
  await ended;
  assert.equal(at.pay.paid, [{ amount: 6 }]);
});

test("nobody's answer in time is a denial, by the clock and also for an answer of that instant", async () => {
  const at = await shop({ mode: "always", expiresInMs: 5000 });
  const { request, ended } = await asked(at);
  at.clock.advance(5000);
  const late = await refusal(at.runtime.answer(at.session, { request, decision: "approve" }));
  assert.is(late.code, "conflict");
  assert.is(late.details?.["decision"], "expired");
  await ended;
  assert.equal(await outcomes(at), ["approval-expired"]);
  assert.equal(at.pay.paid, []);
});

test("a cancel resolves the request at once, and an answer after it conflicts", async () => {
  const at = await shop({ mode: "always" });
  const { request, ended } = await asked(at);
  const { run } = (await at.runtime.state(at.session)).run!;
  // In this order at the lock: the log has the cancel when the answer is looked at.
  const [, late] = await Promise.all([
    at.runtime.cancel(at.session, run),
    refusal(at.runtime.answer(at.session, { request, decision: "approve" })),
  ]);
  assert.is((await ended).reason, "cancelled");
  assert.is(late.code, "conflict");
  assert.is(late.details?.["decision"], "cancelled");
  const log = await at.runtime.log(at.session);
  const from = log.findIndex(({ event }) => event.type === "request-resolved");
  assert.equal(
    log.slice(from).map(({ event }) => event.type),
    ["request-resolved", "tool-result", "step-finished", "run-finished"],
  );
  assert.equal(await outcomes(at), ["cancelled"]);
  assert.equal(at.pay.paid, []);
});

test("closing the session cancels its requests, deleting it ends those who wait", async () => {
  const at = await shop({ mode: "always" });
  const { ended } = await asked(at);
  await at.runtime.close(at.session);
  assert.is((await ended).reason, "cancelled");
  assert.equal((await at.runtime.state(at.session)).requests, []);
  const again = { ...at, session: await at.runtime.session() };
  const { request } = await asked(again);
  await at.runtime.remove(again.session);
  const said = { request, decision: "approve" } as const;
  assert.is((await refusal(at.runtime.answer(again.session, said))).code, "not-found");
  assert.equal(at.pay.paid, []);
});

test("the run's time stands still while only people are waited for, the tool's begins when they are through", async () => {
  const at = await shop({ mode: "always", expiresInMs: 3_600_000 }, { agent: { runTimeoutMs: 60_000 } });
  const { request, ended } = await asked(at);
  const other = await at.runtime.session();
  const stalled = at.runtime.run(other, script({ stall: 3_600_000 }));
  await at.runtime.entry(other, "run-started");
  at.clock.advance(600_000);
  // A run whose time does not stand still is over by then.
  assert.is((await stalled).reason, "deadline");
  await at.runtime.answer(at.session, { request, decision: "approve" });
  assert.is((await ended).reason, "text");
  const [dispatched] = bodiesOf(await at.runtime.log(at.session), "tool-dispatched");
  assert.is(dispatched?.deadlineAt, at.clock.now() + 60_000);
});

test("a second call that is at work keeps the run's time going", async () => {
  const slow: LocalTool = {
    name: "slow",
    inputSchema: {},
    execute: (_, { signal }) =>
      new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(new Error("stopped")))),
  };
  const clock = new Clock();
  const pay = till({ mode: "always" });
  const runtime = await startRuntime({ tools: [pay, slow], now: clock.now, agent: { runTimeoutMs: 30_000 } });
  const at = { runtime, session: await runtime.session(), pay, clock };
  const both = script({ calls: [{ tool: "pay", input: { amount: 5 } }, { tool: "slow" }] });
  const { ended } = await asked(at, both);
  clock.advance(30_000);
  assert.is((await ended).reason, "deadline");
});

test("an answer that says what it may not is refused, and nothing is resolved", async () => {
  const at = await shop({ mode: "always", editable: true, remember: true });
  const { request } = await asked(at);
  const bad = [
    { request },
    { request, answers: { a: 1 } },
    { request, decision: "approve", answers: { a: 1 } },
    { request, decision: "deny", input: { amount: 1 } },
    { request, decision: "deny", remember: { what: "tool", for: "session" } },
  ] as const;
  for (const said of bad) assert.is((await refusal(at.runtime.answer(at.session, said))).code, "bad-frame");
  const nobody = await refusal(at.runtime.answer(at.session, { request: "req_none", decision: "approve" }));
  assert.is(nobody.code, "not-found");
  assert.is((await at.runtime.state(at.session)).requests.length, 1);
});

test("of fifty answers at once one resolves, and the rest are told who did", async () => {
  const names = Array.from({ length: 50 }, (_, index) => `user${index}`);
  const members = Object.fromEntries(names.map((name) => [name, "approver" as const]));
  const at = await shop({ mode: "always" }, { members });
  const { request, ended } = await asked(at);
  const answers = await Promise.allSettled(
    names.map((name, index) =>
      at.runtime.answer(at.session, { request, decision: index % 2 ? "approve" : "deny" }, name),
    ),
  );
  await ended;
  const won = answers.flatMap((item, index) => (item.status === "fulfilled" ? [names[index]] : []));
  assert.is(won.length, 1);
  for (const item of answers) {
    if (item.status === "fulfilled") continue;
    const { code, details } = item.reason as ProtocolError;
    assert.is(code, "conflict");
    assert.equal(details?.["by"], [{ id: won[0], name: won[0] }]);
  }
  assert.is(bodiesOf(await at.runtime.log(at.session), "request-resolved").length, 1);
  assert.ok(at.pay.paid.length <= 1);
});

test.run();
