/**
 * The floor in the runtime: who may send in each mode, how it is passed, and that nobody who has left keeps it, by a clock
 * that the test moves, also over a restart.
 */
import { ProtocolError } from "../../../protocol/errors.ts";
import type { Floor, SendMode } from "../../../protocol/content.ts";
import type { Caller } from "../../../server/session/access.ts";
import { orderInputs } from "../../../server/session/commands.ts";
import { passFloor, setFloor } from "../../../server/session/floor.ts";
import { grant, revoke } from "../../../server/session/members.ts";
import type { Session } from "../../../server/session/session.ts";
import { MemoryStore } from "../../../server/store/memory.ts";
import {
  aborted,
  bodiesOf,
  caller,
  Clock,
  closeRuntimes,
  startRuntime,
  TestModel,
  type TestRuntime,
} from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";
import { TestReader } from "./reader.ts";

const test = suite("the floor");
test.after.each(closeRuntimes);

class Person extends TestReader {
  readonly identity: Caller;

  constructor(user: string) {
    super();
    this.identity = caller(user);
    this.user = user;
  }
}

/** A session of ada's with bob and cleo as editors and vic as viewer; its runs do not end. */
class Room {
  readonly runtime: TestRuntime;
  readonly session: string;

  constructor(runtime: TestRuntime, session: string) {
    this.runtime = runtime;
    this.session = session;
  }

  static async open(clock = new Clock()): Promise<Room> {
    const runtime = await startRuntime({ now: clock.now, model: endless() });
    const room = new Room(runtime, await runtime.session());
    for (const [user, role] of [
      ["bob", "editor"],
      ["cleo", "editor"],
      ["vic", "viewer"],
    ] as const)
      await room.held((session) => grant(session, caller("ada"), user, role, 100));
    return room;
  }

  held<T>(use: (session: Session) => Promise<T>): Promise<T> {
    return this.runtime.runtime.registry.with(this.session, use);
  }

  set(floor: Floor, by = "ada"): Promise<{ seq: number }> {
    return this.held((session) => setFloor(session, caller(by), floor));
  }

  pass(to: string | undefined, by: string): Promise<{ seq: number }> {
    return this.held((session) => passFloor(session, caller(by), to));
  }

  send(user: string, mode: SendMode = "queue", key?: string): Promise<{ seq: number; input: string }> {
    return this.runtime.send(this.session, `of ${user}`, {
      user,
      mode,
      ...(key === undefined ? {} : { key }),
    });
  }

  async floor(): Promise<Floor | undefined> {
    return (await this.runtime.state(this.session)).floor;
  }

  async waiting(): Promise<(string | undefined)[]> {
    return (await this.runtime.state(this.session)).queue.map(({ actor }) => actor?.id);
  }

  /** What the log says of the floor, one entry after another. */
  async said(): Promise<Floor[]> {
    const bodies = bodiesOf(await this.runtime.log(this.session), "floor-changed");
    return bodies.map(({ type: _, ...floor }) => floor);
  }
}

function endless(): TestModel {
  return new TestModel(async function* (_request, signal) {
    yield await aborted(signal);
  });
}

async function refused(code: string, work: Promise<unknown>): Promise<ProtocolError> {
  const error = await work.then(
    () => assert.unreachable(`not refused, as ${code}`),
    (thrown: unknown) => thrown,
  );
  assert.instance(error, ProtocolError);
  assert.is((error as ProtocolError).code, code);
  return error as ProtocolError;
}

test("only owners send where the floor is theirs; what waits already stays, and a repeated send is answered", async () => {
  const room = await Room.open();
  await room.send("ada");
  const before = await room.send("bob", "queue", "k");
  await room.set({ mode: "owner-only" });
  const { details } = await refused("forbidden", room.send("bob"));
  assert.equal(details, { floor: { mode: "owner-only" } });
  for (const mode of ["steer", "interrupt", "rollback", "reject"] as const)
    await refused(mode === "reject" ? "busy" : "forbidden", room.send("bob", mode));
  assert.is((await room.send("bob", "queue", "k")).seq, before.seq);
  await room.send("ada");
  assert.equal(await room.waiting(), ["bob", "ada"]);
  await refused("forbidden", room.set({ mode: "open" }, "bob"));
});

test("in the mode hand whoever holds it sends and passes it, and what nobody holds is there to be taken", async () => {
  const room = await Room.open();
  await room.set({ mode: "hand", holder: "bob" });
  assert.equal((await refused("forbidden", room.send("ada"))).details, {
    floor: { mode: "hand", holder: "bob" },
  });
  await room.send("bob");
  await refused("forbidden", room.pass("cleo", "cleo"));
  await refused("conflict", room.pass("vic", "bob"));
  await refused("conflict", room.pass("nobody", "bob"));
  await room.pass("cleo", "bob");
  await refused("forbidden", room.send("bob"));
  await room.send("cleo");
  await room.pass(undefined, "cleo");
  await refused("forbidden", room.send("cleo"));
  await refused("forbidden", room.pass("cleo", "bob"));
  await room.pass("bob", "bob");
  await room.pass("ada", "ada");
  const { seq } = await room.pass("ada", "ada");
  assert.is(seq, (await room.runtime.state(room.session)).seq, "what stands is not written again");
  assert.equal(
    (await room.said()).map(({ holder }) => holder),
    ["bob", "cleo", undefined, "bob", "ada"],
  );
  await refused("bad-frame", room.set({ mode: "open", holder: "bob" }));
  await room.set({ mode: "open" });
  await refused("conflict", room.pass("bob", "ada"));
  await room.send("bob");
});

test("whoever stops being an editor does not hold the floor either", async () => {
  const room = await Room.open();
  await room.set({ mode: "hand", holder: "bob" });
  await room.held((session) => revoke(session, caller("ada"), "bob"));
  assert.equal(await room.floor(), { mode: "hand" });
});

test("a holder who left is waited for, and then does not hold it any more", async () => {
  const clock = new Clock();
  const room = await Room.open(clock);
  const [ada, bob, again] = [new Person("ada"), new Person("bob"), new Person("bob")];
  for (const person of [ada, bob]) await person.attach(room.runtime, room.session);
  await room.set({ mode: "hand", holder: "bob" });
  const leave = (person: Person): Promise<unknown> =>
    room.held((session) => Promise.resolve(session.feed.detach(person)));
  const freed = (): boolean =>
    ada.frames.some(
      (frame) =>
        frame.type === "event" && frame.event.type === "floor-changed" && frame.event.holder === undefined,
    );
  await leave(bob);
  clock.advance(9000);
  await again.attach(room.runtime, room.session);
  clock.advance(60_000);
  assert.not.ok(freed(), "back in time");
  await leave(again);
  clock.advance(10_000);
  await ada.until(freed);
  assert.equal(await room.floor(), { mode: "hand" });
  await leave(ada);
});

test("whom a restart has made leave is waited for anew", async () => {
  const clock = new Clock();
  const store = new MemoryStore();
  const close = store.close.bind(store);
  store.close = () => Promise.resolve();
  const first = await startRuntime({ store, now: clock.now, model: endless() });
  const session = await first.session();
  await first.runtime.registry.with(session, (held) => setFloor(held, caller("ada"), { mode: "hand" }));
  await first.runtime.close();
  clock.advance(60_000);
  store.close = close;
  const runtime = await startRuntime({ store, now: clock.now, model: endless() });
  const reader = new Person("bob");
  reader.user = undefined;
  await reader.attach(runtime, session, { after: { epoch: 0, seq: 0 } });
  assert.equal((await runtime.state(session)).floor, { mode: "hand", holder: "ada" });
  clock.advance(10_000);
  await runtime.entry(session, "floor-changed", ({ holder }) => holder === undefined);
});

test("people change the order of what is theirs, owners of all, and nobody of what does not wait", async () => {
  const room = await Room.open();
  await room.send("ada");
  const inputs: Record<string, string> = {};
  for (const name of ["bob1", "bob2", "cleo1", "bob3"])
    inputs[name] = (await room.send(name.slice(0, -1))).input;
  const order = async (names: readonly string[], by: string): Promise<string[]> => {
    const { seq } = await room.held((session) =>
      orderInputs(
        session,
        caller(by),
        names.map((name) => inputs[name] ?? name),
      ),
    );
    const { queue, seq: head } = await room.runtime.state(room.session);
    assert.is(seq, head);
    return queue.map(({ input }) => Object.keys(inputs).find((name) => inputs[name] === input)!);
  };
  assert.equal(await order(["bob1"], "bob"), ["bob1", "cleo1", "bob2", "bob3"]);
  assert.equal(await order(["bob3", "bob1"], "bob"), ["bob3", "cleo1", "bob2", "bob1"]);
  assert.equal(await order(["bob2", "cleo1", "bob1"], "ada"), ["bob3", "bob2", "cleo1", "bob1"]);
  await refused("forbidden", order(["cleo1", "bob2"], "bob"));
  await refused("conflict", order(["bob1", "msg_gone"], "bob"));
  await refused("bad-frame", order(["bob1", "bob1"], "bob"));
});

test.run();
