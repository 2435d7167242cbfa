// limit: 180 s
/**
 * People in the loop over real sockets, through the client library: many answer at once, an agent asks, and requests
 * outlive servers that are killed. Owns what all of them must agree on.
 */
import { connect, type Client, type ProtocolError, type SessionHandle } from "../../client/index.ts";
import type { OpenRequest } from "../../protocol/frames.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { script } from "./play.ts";

const test = suite("people in the loop");
const PEOPLE = Array.from({ length: 50 }, (_, index) => `person${index}`);
const token = (user: string): string => `${user}-secret-0123456789`;
const clients: Client[] = [];

test.after.each(() => {
  for (const client of clients.splice(0)) client.close();
});

function client(server: TestServer, user: string): Client {
  const made = connect({ url: server.url, token: token(user) });
  clients.push(made);
  return made;
}

const config = {
  auth: {
    mode: "token",
    tokens: [...PEOPLE, "ann"].map((user) => ({
      token: token(user),
      user,
      rights: ["create:*", "provide:*"],
    })),
  },
  agents: [{ name: "clerk", model: "scripted", tools: ["*", "ask"] }],
};

/** Resolves with what is found in the session, now or after a change. */
async function until<T>(session: SessionHandle, find: () => T | undefined): Promise<T> {
  for (;;) {
    const found = find();
    if (found !== undefined) return found;
    await new Promise<void>((resolve) => {
      const stop = session.on("change", () => {
        stop();
        resolve();
      });
    });
  }
}

/** The open request that is not this one. */
function request(session: SessionHandle, but?: string): Promise<OpenRequest> {
  return until(session, () => session.requests.find((item) => item.request !== but));
}

/** The part of the call that people decided about, once its run is over. */
function resolution(session: SessionHandle): Promise<unknown> {
  return until(session, () => {
    const parts = session.state?.messages.flatMap((message) => message.parts) ?? [];
    const decided = parts.findLast(
      (item) => item.type === "dynamic-tool" && item.approval?.approved !== undefined,
    );
    return session.state?.run === undefined ? decided : undefined;
  });
}

async function provide(on: Client): Promise<{ paid: unknown[] }> {
  const paid: unknown[] = [];
  await on.provideTools({
    pay: {
      description: "Pays.",
      input: { type: "object", properties: { amount: { type: "integer" } } },
      effect: "once",
      approval: { mode: "always" },
      execute: (input) => (paid.push(input), "paid"),
    },
  });
  return { paid };
}

const PAY = script({ calls: [{ tool: "pay", input: { amount: 5 } }] }, { text: "done" });

test("fifty people answer at once: one resolution, everybody sees the same, the call runs at most once", async () => {
  const server = await TestServer.start({ store: "memory", config });
  const ann = client(server, "ann");
  const { session: id } = await ann.createSession({ agent: "clerk" });
  const { paid } = await provide(ann);
  const own = await ann.attach(id);
  for (const user of PEOPLE) await ann.request("grant", { session: id, user, role: "approver" });
  const people = await Promise.all(PEOPLE.map((user) => client(server, user).attach(id)));
  const ended = own.ask(PAY);
  const open = await Promise.all(people.map((session) => request(session)));
  assert.is(new Set(open.map((item) => item.request)).size, 1);
  const answers = await Promise.allSettled(
    people.map((session, index) =>
      index % 2
        ? session.approve(open[index]!.request)
        : session.deny(open[index]!.request, { reason: "no" }),
    ),
  );
  await ended;
  const winners = answers.flatMap((item, index) => (item.status === "fulfilled" ? [index] : []));
  assert.is(winners.length, 1);
  const [winner = -1] = winners;
  for (const item of answers) {
    if (item.status === "fulfilled") continue;
    const { code, details } = item.reason as ProtocolError;
    assert.is(code, "conflict");
    assert.is(details?.["decision"], winner % 2 ? "approve" : "deny");
    assert.equal(details?.["by"], [{ id: PEOPLE[winner], name: PEOPLE[winner] }]);
  }
  assert.equal(paid, winner % 2 ? [{ amount: 5 }] : []);
  const seen = await Promise.all([own, ...people].map(resolution));
  for (const part of seen) assert.equal(part, seen[0]);
  await server.kill();
});

test("an agent asks everybody, and then one by name: answers are checked and are what the tool brings", async () => {
  const server = await TestServer.start({ store: "memory", config });
  const ann = client(server, "ann");
  const { session: id } = await ann.createSession({ agent: "clerk" });
  await ann.request("grant", { session: id, user: "person1", role: "viewer" });
  await ann.request("grant", { session: id, user: "person2", role: "editor" });
  const own = await ann.attach(id);
  const viewer = await client(server, "person1").attach(id);
  const editor = await client(server, "person2").attach(id);
  const questions = [
    { id: "why", text: "Why?", kind: "text" },
    { id: "colour", text: "Which colour?", kind: "choice", options: ["red", "blue"] },
    { id: "days", text: "Which days?", kind: "choices", options: ["mon", "tue"], required: false },
  ];
  const named = { questions: [{ id: "ok", text: "Fine?", kind: "text" }], to: "person1" };
  const ended = own.ask(
    script(
      { calls: [{ tool: "ask", input: { questions } }] },
      { calls: [{ tool: "ask", input: named }] },
      { text: "done" },
    ),
  );
  const first = await request(editor);
  assert.equal([first.kind, first.subject], ["question", { questions }]);
  const refused = async (answer: Promise<unknown>, code: string): Promise<void> =>
    assert.is(((await answer.catch((error: unknown) => error)) as ProtocolError).code, code);
  const good = { why: "because", colour: "red" };
  await refused(viewer.answer(first.request, good), "forbidden");
  await refused(editor.answer(first.request, { why: "because" }), "bad-frame");
  await refused(editor.answer(first.request, { ...good, colour: "green" }), "bad-frame");
  await refused(editor.answer(first.request, { ...good, days: ["mon", "mon"] }), "bad-frame");
  await refused(editor.answer(first.request, { ...good, more: "x" }), "bad-frame");
  await editor.answer(first.request, good);
  const second = await request(viewer, first.request);
  await refused(own.answer(second.request, { ok: "yes" }), "forbidden");
  await viewer.answer(second.request, { ok: "yes" });
  assert.is((await ended).reason, "text");
  const outputs = own.state!.messages.flatMap(({ parts }) =>
    parts.flatMap((part) => (part.type === "dynamic-tool" ? [part.output] : [])),
  );
  assert.equal(outputs, [
    { answers: good, by: { id: "person2", name: "person2" } },
    { answers: { ok: "yes" }, by: { id: "person1", name: "person1" } },
  ]);
  await server.kill();
});

test(
  "a request outlives twenty servers that are killed, and the call runs once",
  { limitMs: 150_000 },
  async () => {
    let server = await TestServer.start({ config });
    let ann = client(server, "ann");
    const { session: id } = await ann.createSession({ agent: "clerk" });
    let { paid } = await provide(ann);
    const began = await ann.attach(id);
    await began.send(PAY);
    const { request: asked } = await request(began);
    for (let round = 0; round < 20; round++) {
      await server.kill();
      ann.close();
      server = await server.again();
      ann = client(server, "ann");
      const { requests } = await ann.attach(id);
      assert.equal(
        requests.map((item) => item.request),
        [asked],
        `after restart ${round + 1}`,
      );
    }
    ({ paid } = await provide(ann));
    const session = await ann.attach(id);
    await session.approve(asked);
    await resolution(session);
    assert.equal(paid, [{ amount: 5 }]);
    assert.is(session.state?.lastRun?.reason, "text");
    await server.kill();
  },
);

test("a request whose time was over while no server ran resolves by itself, and who comes late is told", async () => {
  const agents = [
    { name: "clerk", model: "scripted", approvals: { "*": { mode: "always", expiresInMs: 300 } } },
  ];
  const first = await TestServer.start({
    config: { ...config, agents },
    env: { HAULOUT_PROVIDER_GRACE_MS: "500" },
  });
  const ann = client(first, "ann");
  const { session: id } = await ann.createSession({ agent: "clerk" });
  await provide(ann);
  const began = await ann.attach(id);
  await began.send(PAY);
  const { request: asked } = await request(began);
  await first.kill();
  ann.close();
  const second = await first.again();
  const session = await client(second, "ann").attach(id);
  await resolution(session);
  const late = (await session.approve(asked).catch((error: unknown) => error)) as ProtocolError;
  assert.equal([late.code, late.details?.["decision"]], ["conflict", "expired"]);
  await second.kill();
});

test.run();
