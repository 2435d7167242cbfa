/**
 * The feed over all sessions, without sockets: that a turn's changes are one frame, that a watcher which reads too slowly is
 * dropped and told so, and that nothing is made where nobody watches.
 */
import { setImmediate as turn } from "node:timers/promises";
import type { EncodedFrame } from "../../../protocol/codec.ts";
import { decodeTrusted } from "../../../protocol/codec.ts";
import type { SessionState } from "../../../protocol/frames.ts";
import { fold } from "../../../protocol/state.ts";
import type { Caller } from "../../../server/session/access.ts";
import { Watches, type Watcher } from "../../../server/session/watches.ts";
import { entry } from "../../protocol/logs.ts";
import { actor } from "../../support/runtime.ts";
import { assert, suite } from "../../support/suite.ts";

const test = suite("watches");
type Told = Record<string, any>;

class TestWatcher implements Watcher {
  readonly identity: Caller;
  queuedBytes = 0;
  readonly told: Told[] = [];

  constructor(user: string, rights: readonly string[] = []) {
    this.identity = { actor: actor(user), rights };
  }

  deliver(frame: EncodedFrame): void {
    this.told.push(decodeTrusted(frame.bytes) as Told);
  }
}

const NEW = fold(undefined, entry(1, { type: "session-created", agent: "demo", owner: "ada" }));
const titled = (state: SessionState, title: string): SessionState =>
  fold(state, entry(state.seq + 1, { type: "session-updated", title }));
const view = (state: SessionState) => ({ id: state.session.id, state });

test("what changes in one turn is told once, as it stands then", async () => {
  const watches = new Watches();
  const ada = new TestWatcher("ada");
  watches.begin(ada, { sessions: {} });
  const session = { id: NEW.session.id, state: NEW };
  watches.changed(session, undefined, []);
  for (const title of ["one", "two", "three"]) {
    const before = session.state;
    session.state = titled(before, title);
    watches.changed(session, before, []);
  }
  await turn();
  assert.equal(
    ada.told.map(({ info }) => info.title as string),
    ["three"],
  );
});

test("a watcher for which too much waits is dropped, told so once, and costs the others nothing", async () => {
  const watches = new Watches({ maxQueuedBytes: 1000 });
  const [slow, fast] = [new TestWatcher("ada"), new TestWatcher("root", ["admin"])];
  for (const watcher of [slow, fast]) watches.begin(watcher, { sessions: {} });
  slow.queuedBytes = 1001;
  const one = titled(NEW, "one");
  watches.changed(view(one), NEW, []);
  await turn();
  slow.queuedBytes = 0;
  watches.changed(view(titled(one, "two")), one, []);
  await turn();
  assert.equal(slow.told, [{ type: "watchEnded", reason: "lagging" }]);
  assert.is(fast.told.length, 2);
  watches.begin(slow, { sessions: {} });
  const two = titled(one, "two");
  watches.changed(view(titled(two, "three")), two, []);
  await turn();
  assert.is(slow.told.at(-1)?.["info"].title, "three");
});

test("an entry that changes only when a session was last used is not told", async () => {
  const watches = new Watches();
  const ada = new TestWatcher("ada");
  watches.begin(ada, { sessions: {}, requests: true });
  const after = fold(NEW, entry(2, { type: "tool-audit", call: "call_1", attempt: 1, verdict: "stale" }));
  watches.changed(view(after), NEW, []);
  await turn();
  assert.equal(ada.told, []);
});

test("who watches nothing any more is forgotten", () => {
  const watches = new Watches();
  const ada = new TestWatcher("ada");
  watches.begin(ada, { sessions: {} });
  watches.begin(ada, { requests: true });
  assert.is(watches.size, 1);
  watches.end(ada);
  assert.is(watches.size, 0);
});

test.run();
