/**
 * Members of a session: granting, revoking and inviting, with what stands in the way of each; there is always an owner, and
 * the last use of an invitation is used once.
 */
import type { Role } from "../../../protocol/content.ts";
import type { EventFrame } from "../../../protocol/entries.ts";
import { ProtocolError } from "../../../protocol/errors.ts";
import { decodeTrusted } from "../../../protocol/codec.ts";
import type { ResultOf } from "../../../protocol/frames.ts";
import { editInput, withdrawInput } from "../../../server/session/commands.ts";
import { invite, join, revokeInvite, type InviteRequest } from "../../../server/session/invites.ts";
import { grant, revoke } from "../../../server/session/members.ts";
import { caller, closeRuntimes, startRuntime, type TestRuntime } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";

const test = suite("members");
test.after.each(closeRuntimes);

const LIMITS = { maxMembers: 1000, maxInvites: 100 };

/** One session of ada's, and what people do with its members. */
class Room {
  readonly runtime: TestRuntime;
  readonly session: string;

  constructor(runtime: TestRuntime, session: string) {
    this.runtime = runtime;
    this.session = session;
  }

  static async open(now?: () => number): Promise<Room> {
    const runtime = await startRuntime(now === undefined ? {} : { now });
    return new Room(runtime, await runtime.session());
  }

  grant(user: string, role: Role, by = "ada", maxMembers = 1000): Promise<{ seq: number }> {
    return this.runtime.runtime.registry.with(this.session, (held) =>
      grant(held, caller(by), user, role, maxMembers),
    );
  }

  revoke(user: string, by = "ada"): Promise<{ seq: number }> {
    return this.runtime.runtime.registry.with(this.session, (held) => revoke(held, caller(by), user));
  }

  invite(request: InviteRequest, by = "ada", limits = LIMITS): Promise<ResultOf<"invite">> {
    return this.runtime.runtime.registry.with(this.session, (held) =>
      invite(held, caller(by), request, limits),
    );
  }

  revokeInvite(id: string, by = "ada"): Promise<{ seq: number }> {
    return this.runtime.runtime.registry.with(this.session, (held) => revokeInvite(held, caller(by), id));
  }

  join(user: string, token: string, limits = LIMITS): Promise<ResultOf<"join">> {
    return join(this.runtime.runtime.registry, caller(user), token, limits);
  }

  async members(): Promise<Record<string, Role>> {
    return (await this.runtime.state(this.session)).members;
  }

  async log(): Promise<EventFrame[]> {
    const read = await this.runtime.runtime.store.read(this.session, 0, 10_000);
    return read.map(({ bytes }) => decodeTrusted(bytes) as EventFrame);
  }
}

async function refused(promise: Promise<unknown>): Promise<ProtocolError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ProtocolError)) throw new Error("not refused", { cause: error });
  return error;
}

const codeOf = async (promise: Promise<unknown>): Promise<string> => (await refused(promise)).code;

test("a role takes the place of the one before, and what stands already is not written again", async () => {
  const room = await Room.open();
  assert.is((await room.grant("bob", "viewer")).seq, 2);
  assert.is((await room.grant("bob", "editor")).seq, 3);
  assert.is((await room.grant("bob", "editor")).seq, 3);
  assert.equal(await room.members(), { ada: "owner", bob: "editor" });
  assert.is((await room.revoke("bob")).seq, 4);
  assert.is((await room.revoke("bob")).seq, 4);
  assert.is((await room.revoke("constructor")).seq, 4);
  assert.equal(await room.members(), { ada: "owner" });
  const [, ...changes] = await room.log();
  assert.equal(
    changes.map(({ event, actor }) => [event, actor?.id]),
    [
      [{ type: "member-changed", user: "bob", role: "viewer" }, "ada"],
      [{ type: "member-changed", user: "bob", role: "editor" }, "ada"],
      [{ type: "member-changed", user: "bob", role: null }, "ada"],
    ],
  );
});

test("there is always an owner, and several may be", async () => {
  const room = await Room.open();
  assert.is(await codeOf(room.revoke("ada")), "conflict");
  assert.is(await codeOf(room.grant("ada", "editor")), "conflict");
  await room.grant("bob", "owner");
  await room.grant("ada", "viewer", "bob");
  assert.is(await codeOf(room.grant("bob", "viewer", "bob")), "conflict");
  assert.is(await codeOf(room.revoke("bob", "ada")), "forbidden");
  await room.revoke("ada", "bob");
  assert.equal(await room.members(), { bob: "owner" });
  const both = await Room.open();
  await both.grant("bob", "owner");
  const left = await Promise.allSettled([both.revoke("ada", "bob"), both.revoke("bob", "ada")]);
  assert.is(left.filter(({ status }) => status === "fulfilled").length, 1, "one of two who go at once stays");
});

test("members are bounded; who is one already may change", async () => {
  const room = await Room.open();
  await room.grant("bob", "viewer", "ada", 2);
  const error = await refused(room.grant("eve", "viewer", "ada", 2));
  assert.equal([error.code, error.details], ["conflict", { limit: 2 }]);
  await room.grant("bob", "editor", "ada", 2);
  const { token } = await room.invite({ role: "viewer" });
  assert.is(await codeOf(room.join("eve", token, { ...LIMITS, maxMembers: 2 })), "conflict");
  await room.join("eve", token);
});

test("who has a token joins once per use, and a repetition is answered like the first", async () => {
  const room = await Room.open();
  const { token, invite: id } = await room.invite({ role: "editor", uses: 2 });
  const joined = await room.join("bob", token);
  assert.equal(joined, { session: room.session, role: "editor", seq: 3 });
  assert.equal(await room.join("bob", token), joined);
  await room.join("eve", token);
  assert.equal(await room.join("bob", token), { ...joined, seq: 4 }, "also when it is used up");
  assert.is(await codeOf(room.join("mal", token)), "not-found");
  assert.equal(await room.members(), { ada: "owner", bob: "editor", eve: "editor" });
  assert.is((await room.runtime.state(room.session)).invites, undefined);
  const entry = (await room.log())[2]!;
  assert.equal(entry.event, { type: "member-changed", user: "bob", role: "editor", invite: id });
  assert.is(entry.actor?.id, "bob");
});

test("joining takes nothing from a member, and raises a role that the invitation's includes", async () => {
  const room = await Room.open();
  const viewer = await room.invite({ role: "viewer", uses: 9 });
  const editor = await room.invite({ role: "editor", uses: 9 });
  assert.is((await room.join("ada", viewer.token)).role, "owner");
  await room.join("bob", viewer.token);
  assert.is((await room.join("bob", editor.token)).role, "editor");
  assert.is((await room.join("bob", viewer.token)).role, "editor");
  await room.grant("eve", "approver");
  assert.is((await room.join("eve", editor.token)).role, "approver");
  const uses = (await room.runtime.state(room.session)).invites?.map((open) => open.uses);
  assert.equal(uses, [8, 8]);
});

test("a token that is no good looks all the same, whatever is wrong with it", async () => {
  let now = Date.now();
  const room = await Room.open(() => now);
  const used = await room.invite({ role: "viewer" });
  await room.join("bob", used.token);
  const revoked = await room.invite({ role: "viewer" });
  await room.revokeInvite(revoked.invite);
  const short = await room.invite({ role: "viewer", expiresInMs: 1000 });
  assert.is(short.expiresAt, now + 1000);
  const open = await room.invite({ role: "viewer", uses: 5 });
  const gone = await Room.open();
  const lost = await gone.invite({ role: "viewer" });
  now += 1000;
  const [session, id, secret = ""] = open.token.split(".");
  const other = `${secret[0] === "A" ? "B" : "A"}${secret.slice(1)}`;
  const tokens = {
    used: used.token,
    revoked: revoked.token,
    expired: short.token,
    "of another secret": `${session}.${id}.${other}`,
    "without a secret": `${session}.${id}.`,
    "of another invitation": `${session}.${short.invite}.${secret}`,
    "of no invitation": `${session}.inv_none.${secret}`,
    "with more behind it": `${open.token}.x`,
    "of another server's session": lost.token,
    empty: "",
    "of no session id": `../${open.token}`,
  };
  const looks = { code: "not-found", message: "no such invitation", retryable: false };
  for (const [what, token] of Object.entries(tokens)) {
    const { code, message, retryable, retryAfterMs, details } = await refused(room.join("mal", token));
    assert.equal({ code, message, retryable }, looks, what);
    assert.equal([retryAfterMs, details], [undefined, undefined], what);
  }
  assert.is((await room.join("mal", open.token)).role, "viewer");
});

test("of many who join at once as many get in as there are uses", async () => {
  const room = await Room.open();
  const { token } = await room.invite({ role: "viewer", uses: 5 });
  const users = Array.from({ length: 30 }, (_, n) => `user${n}`);
  const tries = await Promise.allSettled(users.map((user) => room.join(user, token)));
  assert.is(tries.filter(({ status }) => status === "fulfilled").length, 5);
  assert.is(Object.keys(await room.members()).length, 6);
  assert.is((await room.log()).filter(({ event }) => event.type === "member-changed").length, 5);
});

test("the secret of a token is in no entry and no state", async () => {
  const room = await Room.open();
  const { token } = await room.invite({ role: "owner", uses: 2 });
  await room.join("bob", token);
  const secret = token.split(".")[2]!;
  assert.ok(secret.length >= 43);
  const kept = JSON.stringify([await room.log(), await room.runtime.state(room.session)]);
  assert.not.ok(kept.includes(secret));
});

test("open invitations are bounded; those that expired make room and leave the state", async () => {
  let now = Date.now();
  const room = await Room.open(() => now);
  const limits = { ...LIMITS, maxInvites: 2 };
  await room.invite({ role: "viewer", expiresInMs: 10 }, "ada", limits);
  await room.invite({ role: "viewer" }, "ada", limits);
  assert.is(await codeOf(room.invite({ role: "viewer" }, "ada", limits)), "conflict");
  now += 10;
  await room.invite({ role: "viewer" }, "ada", limits);
  assert.is((await room.runtime.state(room.session)).invites?.length, 2);
  const [first] = (await room.runtime.state(room.session)).invites!;
  const { seq } = await room.revokeInvite(first!.invite);
  assert.is((await room.revokeInvite(first!.invite)).seq, seq, "what is not open is left so");
});

test("nobody but an owner grants, revokes or invites; everybody may leave", async () => {
  const room = await Room.open();
  for (const role of ["editor", "approver", "viewer"] as const) {
    await room.grant(role, role);
    assert.is(await codeOf(room.grant("eve", "viewer", role)), "forbidden");
    assert.is(await codeOf(room.revoke("ada", role)), "forbidden");
    assert.is(await codeOf(room.invite({ role: "viewer" }, role)), "forbidden");
    assert.is(await codeOf(room.revokeInvite("inv_1", role)), "forbidden");
    await room.revoke(role, role);
    assert.is(await codeOf(room.revoke(role, role)), "not-found");
  }
  assert.equal((await room.runtime.state(room.session)).members, { ada: "owner" });
  assert.is(await codeOf(room.grant("eve", "owner", "eve")), "not-found");
});

test("nobody edits another's words; an owner withdraws them, an editor only the own", async () => {
  const room = await Room.open();
  const { runtime, session } = room;
  const busy = JSON.stringify({ script: [{ stall: 60_000 }] });
  const first = await runtime.send(session, busy);
  await runtime.entry(session, "run-started", (body) => body.input === first.input);
  await room.grant("bob", "editor");
  const [adas, bobs] = [
    await runtime.send(session, "ada's"),
    await runtime.send(session, "bob's", { user: "bob" }),
  ];
  const edit = (user: string, input: string): Promise<unknown> =>
    runtime.runtime.registry.with(session, (held) => editInput(held, caller(user), input, "other words"));
  const withdraw = (user: string, input: string): Promise<unknown> =>
    runtime.runtime.registry.with(session, (held) => withdrawInput(held, caller(user), input));
  assert.is(await codeOf(edit("bob", adas.input)), "forbidden");
  assert.is(await codeOf(edit("ada", bobs.input)), "forbidden", "not even an owner");
  assert.is(await codeOf(withdraw("bob", adas.input)), "forbidden");
  await edit("bob", bobs.input);
  await withdraw("ada", bobs.input);
  const state = await runtime.state(session);
  assert.equal(
    state.queue.map(({ input, content }) => [input, content]),
    [[adas.input, "ada's"]],
  );
});

test.run();
