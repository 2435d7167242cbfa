// limit: 120 s
/**
 * Text that was streamed and never committed, when its server is killed: what was shown is taken back by name and written
 * again, and everybody ends with the same messages. Programs use the client library, as pages do.
 */
import { connect } from "../../client/index.ts";
import type { SessionHandle } from "../../client/index.ts";
import { Reader } from "../support/reader.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { until } from "../support/wait.ts";
import { Wire } from "../support/wire.ts";
import { script } from "../e2e/play.ts";

const test = suite("unfinished text over a kill");
const TEXT = "one and on ".repeat(40);
/** A checkpoint is written within a second of the first text. */
const ENOUGH = 200;

const textOf = (session: SessionHandle): string =>
  (session.partial?.parts ?? []).map((part) => part.text).join("");

test(
  "what was shown is taken back by name and written again, on every screen",
  { limitMs: 90_000 },
  async () => {
    const server = await TestServer.start();
    const clients = ["ann", "bob"].map((id) => connect({ url: server.url, user: { id, name: id } }));
    const [ann, bob] = clients as [(typeof clients)[0], (typeof clients)[0]];
    const { session } = await ann.createSession({ agent: "demo" });
    const first = await ann.attach(session);
    const second = await bob.attach(session);
    const { input } = await first.send(script({ text: TEXT, rate: 20, chunk: 5 }));
    const waiting = await second.send("and you?");
    await until(() => textOf(second).length >= ENOUGH, 30_000, "text");
    const shown = second.partial!.message;
    await server.kill();
    const again = await TestServer.start({ data: server.data, env: { HAULOUT_PORT: String(server.port) } });
    const ended = (handle: SessionHandle): boolean =>
      handle.state?.run === undefined && handle.state?.queue.length === 0 && handle.caughtUp;
    await until(() => clients.every((_, at) => ended([first, second][at]!)), 60_000, "both runs to end");
    assert.equal(first.shown(), second.shown());
    const answers = second.shown().filter(({ role }) => role === "assistant");
    assert.is(answers.length, 2, "what was taken back is not shown any more, and what waited was answered");
    assert.equal(
      answers[0]!.parts.map((part) => (part.type === "text" ? part.text : part.type)),
      [TEXT],
    );
    assert.is.not(answers[0]!.id, shown);
    const log = Reader.fromStart(session);
    await log.enter(await Wire.connect(again.url));
    const bodies = log.entries.map(({ entry }) => entry.event);
    const taken = bodies.flatMap((body) => (body.type === "message-abandoned" ? [body] : []));
    assert.equal(
      taken.map(({ message, cause }) => [message, cause]),
      [[shown, "crash"]],
    );
    assert.ok(taken[0]!.text.length > 0 && TEXT.startsWith(taken[0]!.text), taken[0]!.text);
    const recovered = bodies.flatMap((body) => (body.type === "run-recovered" ? [body] : []));
    assert.equal(
      recovered.map(({ step, attempt, abandoned }) => [step, attempt, abandoned]),
      [[1, 1, shown]],
    );
    assert.equal(
      bodies.flatMap((body) => (body.type === "run-started" ? [body.input] : [])),
      [input, waiting.input],
    );
    assert.equal(log.faults, []);
    for (const client of clients) client.close();
    await again.kill();
  },
);

test.run();
