/**
 * Members and invitations as entries make them: roles set and removed, uses counted, and what expired or is used up gone
 * from the state.
 */
import type { EntryBody, EventFrame } from "../../protocol/entries.ts";
import type { SessionState } from "../../protocol/frames.ts";
import { cut, fold } from "../../protocol/state.ts";
import { assert, suite } from "../support/suite.ts";

const test = suite("members of a state");

const hash = "x".repeat(43);
const CREATED: EntryBody = { type: "session-created", agent: "demo", owner: "ada" };
const invited = (invite: string, uses: number, expiresAt = 1000): EntryBody => {
  return { type: "invite-created", invite, role: "viewer", hash, expiresAt, uses };
};
const joined = (user: string, invite: string): EntryBody => {
  return { type: "member-changed", user, role: "viewer", invite };
};

function folded(...bodies: [body: EntryBody, at?: number][]): SessionState {
  let state: SessionState | undefined;
  for (const [index, [event, at = 1]] of bodies.entries()) {
    const entry: EventFrame = { type: "event", session: "s", epoch: 5, seq: index + 1, at, event };
    state = fold(state, entry);
  }
  return state!;
}

const open = (state: SessionState): [string, number][] =>
  (state.invites ?? []).map(({ invite, uses }) => [invite, uses]);

test("an invitation stands in the state until its last use", () => {
  const start: [EntryBody][] = [[CREATED], [invited("a", 2)], [invited("b", 1)]];
  assert.equal(open(folded(...start)), [
    ["a", 2],
    ["b", 1],
  ]);
  assert.equal(folded(...start).invites?.[0], {
    invite: "a",
    role: "viewer",
    hash,
    expiresAt: 1000,
    uses: 2,
  });
  const once = folded(...start, [joined("bob", "a")], [joined("eve", "b")]);
  assert.equal(open(once), [["a", 1]]);
  assert.equal(once.members, { ada: "owner", bob: "viewer", eve: "viewer" });
  const twice = folded(...start, [joined("bob", "a")], [joined("eve", "b")], [joined("mal", "a")]);
  assert.not.ok("invites" in twice, "none is none, not an empty list");
});

test("one that is revoked goes; one that expired goes when the next is made", () => {
  assert.equal(open(folded([CREATED], [invited("a", 2)], [{ type: "invite-revoked", invite: "a" }])), []);
  assert.equal(open(folded([CREATED], [invited("a", 2)], [{ type: "invite-revoked", invite: "b" }])), [
    ["a", 2],
  ]);
  const later = folded([CREATED], [invited("a", 2, 10)], [invited("b", 2, 30)], [invited("c", 2, 40), 10]);
  assert.equal(open(later), [
    ["b", 2],
    ["c", 2],
  ]);
});

test("members and invitations are no part of what is cut", () => {
  const state = folded([CREATED], [invited("a", 2)], [joined("bob", "a")]);
  assert.equal(cut(state, 0), state);
});

test.run();
