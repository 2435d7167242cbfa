/**
 * Presence without sockets, by a clock that the test moves: who is listed, when readers are told, and what ends by itself.
 */
import { Presence } from "../../../server/session/presence.ts";
import type { PresenceOptions } from "../../../server/session/presence.ts";
import type { Subscriber } from "../../../server/session/subscriber.ts";
import { manualClock } from "../../client/support/clock.ts";
import { caller } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";

const test = suite("presence");

function reader(user: string): Subscriber {
  return {
    identity: caller(user),
    deliver: () => undefined,
    lagging: false,
    drop: () => {},
    room: () => undefined,
    mayRead: () => true,
    gone: false,
  };
}

function make(options: PresenceOptions = {}) {
  const clock = manualClock();
  const told: Parameters<ConstructorParameters<typeof Presence>[1]["broadcast"]>[0][] = [];
  let changes = 0;
  const presence = new Presence(
    "ses_1",
    { deadlines: clock, broadcast: (frame) => told.push(frame), usersChanged: () => changes++ },
    options,
  );
  const enter = (user: string): Subscriber => {
    const entered = reader(user);
    presence.enter(entered);
    return entered;
  };
  return { clock, presence, told, enter, changes: () => changes };
}

test("users are told by name with their connections, whoever came first first, and those who left are gone", () => {
  const { clock, presence, told, enter, changes } = make();
  const [ann] = [enter("ann"), enter("bob"), enter("ann")];
  clock.advance(0);
  assert.equal(told, [
    {
      type: "presence",
      session: "ses_1",
      users: [
        { id: "ann", name: "ann", connections: 2 },
        { id: "bob", name: "bob", connections: 1 },
      ],
    },
  ]);
  assert.is(changes(), 2);
  presence.leave(ann);
  presence.leave(ann);
  clock.advance(250);
  assert.equal(
    told.at(-1)!.users.map(({ id, connections }) => [id, connections]),
    [
      ["ann", 1],
      ["bob", 1],
    ],
  );
  assert.is(presence.find("ann")?.actor.id, "ann");
  assert.is(changes(), 2);
});

test("however often somebody types, readers are told four times a second, and at the end how it stands", () => {
  const { clock, presence, told, enter } = make();
  const ann = enter("ann");
  clock.advance(0);
  for (let at = 0; at < 1000; at++) {
    presence.set(ann, { typing: at % 2 === 0, viewing: `msg_${at}` });
    clock.advance(1);
  }
  clock.advance(250);
  assert.is(told.length, 1 + 4);
  assert.equal(told.at(-1)!.users, [{ id: "ann", name: "ann", connections: 1, viewing: "msg_999" }]);
});

test("typing ends by itself unless it is said again, and with its reader", () => {
  const { clock, presence, told, enter } = make();
  const [ann, bob] = [enter("ann"), enter("bob")];
  presence.set(ann, { typing: true });
  presence.set(bob, { typing: true });
  clock.advance(4000);
  presence.set(bob, { typing: true });
  clock.advance(3000);
  const typing = (): string[] => told.at(-1)!.users.flatMap(({ id, typing: is }) => (is ? [id] : []));
  assert.equal(typing(), ["bob"]);
  presence.leave(bob);
  clock.advance(250);
  assert.equal(typing(), []);
  assert.is(clock.timers, 0);
});

test("of several connections of a user one typing counts, and what the last one that spoke looks at", () => {
  const { clock, presence, told, enter } = make();
  const [phone, page] = [enter("ann"), enter("ann")];
  presence.set(phone, { typing: true, viewing: "msg_1" });
  presence.set(page, { viewing: "msg_2" });
  clock.advance(0);
  assert.equal(told.at(-1)!.users, [
    { id: "ann", name: "ann", connections: 2, typing: true, viewing: "msg_2" },
  ]);
  presence.leave(page);
  clock.advance(250);
  assert.equal(told.at(-1)!.users, [
    { id: "ann", name: "ann", connections: 1, typing: true, viewing: "msg_1" },
  ]);
});

test("a hundred users are all listed; of one more there are counts, and up to twenty who type", () => {
  const { clock, presence, told, enter } = make();
  const readers = Array.from({ length: 100 }, (_, at) => enter(`user${at}`));
  clock.advance(0);
  assert.is(told.at(-1)!.users.length, 100);
  assert.is(told.at(-1)!.people, undefined);
  enter("user100");
  enter("user100");
  for (const each of readers.slice(50, 80)) presence.set(each, { typing: true });
  clock.advance(250);
  const { users, people, connections } = told.at(-1)!;
  assert.equal([people, connections, users.length], [101, 102, 20]);
  assert.ok(users.every(({ typing }) => typing));
});

test("with many readers the pace is slower, and never slower than once a second", () => {
  const { clock, told, enter } = make();
  for (let at = 0; at < 5000; at++) enter(`user${at}`);
  clock.advance(0);
  enter("late");
  clock.advance(999);
  assert.is(told.length, 1);
  clock.advance(1);
  assert.is(told.at(-1)!.people, 5001);
});

test("who is not here says nothing, and a reader that is nobody is not listed", () => {
  const { clock, presence, told, enter } = make();
  assert.not.ok(presence.set(reader("ann"), { typing: true }));
  const { identity: _, ...nobody } = reader("ann");
  presence.enter(nobody);
  enter("bob");
  clock.advance(0);
  assert.equal(
    told.at(-1)!.users.map(({ id }) => id),
    ["bob"],
  );
});

test.run();
