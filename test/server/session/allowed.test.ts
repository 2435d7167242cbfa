/**
 * What is remembered for a user in all sessions: who is let through by it, whom it stops holding for, and that it is there
 * after a restart. On the real runtime, with the memory and the embedded store.
 */
import { forget } from "../../../server/session/answer.ts";
import { verify } from "../../../server/session/verify.ts";
import { EmbeddedStore } from "../../../server/store/embedded.ts";
import { temporaryDirectory } from "../../support/process.ts";
import { bodiesOf, caller, closeRuntimes, script, startRuntime } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { asked, ASKED, member, shop, till, type Shop } from "./shop.ts";

const test = suite("approvals for all sessions of a user");
test.after.each(closeRuntimes);

const RULE = { mode: "always", remember: true } as const;
const FOR_USER = { what: "tool", for: "user" } as const;

/** Ada is asked in a session, and `by` lets her calls through from then on. */
async function allow(at: Shop, by = "ada"): Promise<string> {
  const { request, ended } = await asked(at);
  await at.runtime.answer(at.session, { request, decision: "approve", remember: FOR_USER }, by);
  await ended;
  return (await at.runtime.state(at.session)).allowances!.at(-1)!.allowance;
}

/** Whether a run of this user in another session is let through. */
async function passes(at: Shop, session: string, user = "ada"): Promise<boolean> {
  const before = at.pay.paid.length;
  const { input } = await at.runtime.send(session, ASKED, { user });
  const started = await at.runtime.entry(session, "run-started", (body) => body.input === input);
  const next = await at.runtime.events.first(
    (event): event is typeof event & { type: "event" } =>
      event.type === "event" &&
      event.run === started.event.run &&
      (event.event.type === "request-opened" || event.event.type === "run-finished"),
    "a request or the end",
  );
  if (next.event.type === "run-finished") return at.pay.paid.length > before;
  await at.runtime.cancel(session, started.run!, user);
  await at.runtime.endOf(session, input);
  return false;
}

const take = (at: Shop, user: string, allowance: string): Promise<unknown> =>
  at.runtime.runtime.registry.with(at.session, (held) => forget(held, caller(user), allowance));

test("it holds in other sessions of that user, now and later, and for nobody else", async () => {
  const at = await shop(RULE, { members: { bob: "editor" } });
  const before = await at.runtime.session();
  const allowance = await allow(at);
  const after = await at.runtime.session();
  const bobs = await at.runtime.session({}, "bob");
  assert.ok(await passes(at, before));
  assert.ok(await passes(at, after));
  assert.not(await passes(at, bobs, "bob"));
  await member(at.runtime, after, "bob", "editor");
  assert.not(await passes(at, after, "bob"));
  // Whom it is for may take it back, too.
  await take(at, "ada", allowance);
  assert.not(await passes(at, after));
  assert.not(await passes(at, at.session));
});

test("whoever gave it must be able to give it in the session of the call", async () => {
  const at = await shop(RULE, { members: { bob: "approver" } });
  await allow(at, "bob");
  const other = await at.runtime.session();
  assert.not(await passes(at, other), "bob is nobody there");
  await member(at.runtime, other, "bob", "approver");
  assert.ok(await passes(at, other));
  await member(at.runtime, other, "bob", "viewer");
  assert.not(await passes(at, other));
});

test("it ends with the membership of the user, and with the session", async () => {
  const at = await shop(RULE);
  await allow(at);
  const other = await at.runtime.session();
  assert.ok(await passes(at, other));
  await member(at.runtime, at.session, "bob", "owner");
  await member(at.runtime, at.session, "ada", null);
  assert.not(await passes(at, other));
  await member(at.runtime, at.session, "ada", "editor");
  assert.ok(await passes(at, other));
  await at.runtime.runtime.deleteSession(at.session);
  assert.not(await passes(at, other));
});

test("of a session's own tool it holds in that session alone", async () => {
  const at = await shop(undefined);
  const { runtime, session } = at;
  const calls: string[] = [];
  const host = {
    call: ({ session: of, call }: { session: string; call: string }) => (calls.push(`${of}/${call}`), true),
    cancelCall() {},
    acknowledgeResult() {},
  };
  const specification = {
    name: "lend",
    description: "",
    inputSchema: { type: "object" },
    effect: "once",
    timeoutMs: 60_000,
    approval: RULE,
  } as const;
  const other = await runtime.session();
  for (const [id, scope] of [
    ["prv_one", session],
    ["prv_two", other],
  ] as const)
    runtime.runtime.router.offer(id, host, { tools: [specification], scope });
  const lends = script({ calls: [{ tool: "lend", input: { amount: 5 } }] });
  const { request } = await asked(at, lends);
  await runtime.answer(session, { request, decision: "approve", remember: FOR_USER });
  const { allowances } = await runtime.state(session);
  assert.is(allowances?.[0]?.everywhere, undefined);
  const again = await asked({ ...at, session: other }, lends);
  assert.is(again.kind, "approval");
  assert.ok(calls.every((call) => call.startsWith(session)));
});

test("it is there after a restart, and the data directory is whole", async () => {
  const directory = temporaryDirectory();
  const open = async (): Promise<Shop> => shop(RULE, { store: await EmbeddedStore.open(directory) });
  const first = await open();
  const allowance = await allow(first);
  const other = await first.runtime.session();
  await closeRuntimes();
  const again = await open();
  assert.ok(await passes(again, other));
  assert.equal(bodiesOf(await again.runtime.log(other), "request-opened"), []);
  await take({ ...again, session: first.session }, "ada", allowance);
  assert.not(await passes(again, other));
  await closeRuntimes();
  const faults: unknown[] = [];
  await verify(directory, (fault) => faults.push(fault));
  assert.equal(faults, []);
});

test("who cannot read what was said elsewhere asks people", async () => {
  const runtime = await startRuntime({ tools: [till(RULE)] });
  const session = await runtime.session();
  runtime.runtime.store.asked = () => Promise.reject(new Error("out of work"));
  const { input } = await runtime.send(session, ASKED);
  await runtime.entry(session, "request-opened", () => true);
  await runtime.cancel(session, (await runtime.state(session)).run!.run);
  await runtime.endOf(session, input);
});

test.run();
