/**
 * What a client says of itself: how often, until when, and again after a lost connection; the server is played by hand.
 */
import { assert, suite } from "../support/suite.ts";
import { make } from "./support/attached.ts";
import { settled } from "./support/wire.ts";

const test = suite("own presence");

async function here() {
  const parts = await make();
  const handle = await parts.attach();
  const said = (): unknown[] =>
    parts.transport.last.of("setPresence").map(({ typing, viewing }) => ({
      ...(typing === undefined ? {} : { typing }),
      ...(viewing === undefined ? {} : { viewing }),
    }));
  return { ...parts, handle, said };
}

test("typing is said at once, not at every key, again while it goes on, and its end by itself", async () => {
  const { clock, handle, said } = await here();
  for (let key = 0; key < 70; key++) {
    handle.setTyping();
    clock.advance(100);
  }
  assert.equal(said(), [{ typing: true }, { typing: true }, { typing: true }]);
  clock.advance(5000);
  assert.equal(said().slice(3), [{}]);
  clock.advance(10_000);
  assert.is(said().length, 4);
});

test("what changes quickly is said twice a second, the last of it in the end", async () => {
  const { clock, handle, said } = await here();
  for (let at = 0; at < 10; at++) handle.setViewing(`msg_${at}`);
  assert.equal(said(), [{ viewing: "msg_0" }]);
  clock.advance(500);
  assert.equal(said().slice(1), [{ viewing: "msg_9" }]);
  handle.setTyping();
  handle.setTyping(false);
  clock.advance(500);
  assert.is(said().length, 2, "nothing is left to say");
});

test("after a lost connection it is said again once the session is live", async () => {
  const { again, attached, handle, live, transport, said } = await here();
  handle.setViewing("msg_1");
  await again();
  assert.equal(said(), []);
  transport.last.feed(attached("events"), live());
  await settled();
  assert.equal(said(), [{ viewing: "msg_1" }]);
});

test("who says nothing is not heard, and nothing is said after the end", async () => {
  const { clock, handle, said } = await here();
  assert.equal(said(), []);
  handle.setTyping();
  handle.detach();
  handle.setViewing("msg_1");
  clock.advance(10_000);
  assert.equal(said(), [{ typing: true }]);
});

test.run();
