/**
 * Approvals that hold for later calls: as far as they say, no further than the rules of the day, until they are taken
 * back. On the real runtime with the memory store.
 */
import { forget } from "../../../server/session/answer.ts";
import { caller, closeRuntimes, script } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { asked, ASKED, member, refusal, shop, till } from "./shop.ts";

const test = suite("remembered approvals");
test.after.each(closeRuntimes);

test("what is remembered lets later calls through, as far as it says, until it is taken back", async () => {
  const at = await shop({ mode: "always", remember: true }, { members: { bob: "editor" } });
  const { runtime, session, pay } = at;
  const { request, ended } = await asked(at);
  const remember = { what: "input", for: "user" } as const;
  await runtime.answer(session, { request, decision: "approve", remember });
  await ended;
  await runtime.run(session, ASKED);
  assert.is(pay.paid.length, 2);
  // Another input, and another's run, are asked about.
  const other = await asked(at, script({ calls: [{ tool: "pay", input: { amount: 6 } }] }));
  await runtime.answer(session, { request: other.request, decision: "deny" });
  await other.ended;
  const bobs = await asked(at, ASKED, "bob");
  await runtime.answer(session, {
    request: bobs.request,
    decision: "approve",
    remember: { what: "tool", for: "session" },
  });
  await bobs.ended;
  await runtime.run(session, script({ calls: [{ tool: "pay", input: { amount: 7 } }] }), { user: "bob" });
  assert.equal(
    pay.paid.map((item) => (item as { amount: number }).amount),
    [5, 5, 5, 7],
  );
  const { allowances = [] } = await runtime.state(session);
  assert.equal(
    allowances.map(({ tool, input, user, by }) => [tool, input, user, by.map((item) => item.user.id)]),
    [
      ["pay", { amount: 5 }, "ada", ["ada"]],
      ["pay", undefined, undefined, ["ada"]],
    ],
  );
  for (const { allowance } of allowances) {
    const take = (user: string): Promise<unknown> =>
      runtime.runtime.registry.with(session, (held) => forget(held, caller(user), allowance));
    assert.is((await refusal(take("bob"))).code, "forbidden");
    await take("ada");
    assert.is((await refusal(take("ada"))).code, "not-found");
  }
  const last = await asked(at);
  await runtime.answer(session, { request: last.request, decision: "deny" });
});

test("nothing is remembered where a rule does not say so, and no longer than by today's rule", async () => {
  const plain = await shop({ mode: "always" });
  const first = await asked(plain);
  const remember = { what: "tool", for: "session" } as const;
  const said = { request: first.request, decision: "approve", remember } as const;
  assert.is((await refusal(plain.runtime.answer(plain.session, said))).code, "forbidden");

  const at = await shop({ mode: "always", remember: true }, { members: { bob: "approver" } });
  const { request, ended } = await asked(at);
  await at.runtime.answer(at.session, { request, decision: "approve", remember }, "bob");
  await ended;
  await at.runtime.run(at.session, ASKED);
  // The tool's rule becomes stricter; then whoever gave it is no approver any more.
  at.runtime.runtime.registerTool(till({ mode: "always", remember: true, by: { count: 2 } }));
  const stricter = await asked(at);
  await at.runtime.answer(at.session, { request: stricter.request, decision: "deny" });
  await stricter.ended;
  at.runtime.runtime.registerTool(till({ mode: "always", remember: true }));
  await member(at.runtime, at.session, "bob", "viewer");
  await asked(at);
});

test.run();
