/**
 * Two people who fight over one session: they interrupt and steer it 200 times in alternation, by a seed, while tools run
 * and text streams. What comes of it is one valid history in a fair order, and the same for both.
 * limit: 120 s
 */
import { connect, type Client, type SessionHandle } from "../../client/index.ts";
import type { EventFrame } from "../../protocol/entries.ts";
import { violations } from "../server/agent/rules.ts";
import { TestServer } from "../support/server.ts";
import { assert, suite } from "../support/suite.ts";
import { seeded, seedFromEnvironment, type Random } from "../support/wait.ts";
import { calls, script } from "./play.ts";

const test = suite("turns");
const TIMES = 200;
const random = seeded(seedFromEnvironment());
const clients: Client[] = [];

test.after.each(() => {
  for (const client of clients.splice(0)) client.close();
});

interface Person {
  readonly handle: SessionHandle;
  readonly log: EventFrame[];
}

async function enter(server: TestServer, user: string, session?: string): Promise<Person> {
  const client = connect({ url: server.url, user: { id: user } });
  clients.push(client);
  const id = session ?? (await client.createSession({ agent: "demo" })).session;
  const handle = await client.attach(id, { after: { epoch: 0, seq: 0 } });
  const log: EventFrame[] = [];
  handle.on("entry", (entry) => void log.push(entry));
  return { handle, log };
}

/** What is asked: some of it calls tools, some is never done unless somebody stops it. */
function content(chance: Random, name: string): string {
  const steps = Array.from({ length: 1 + chance.int(3) }, () => calls(["clock"], ["roll_dice"]));
  const end = chance.chance(0.5) ? { stall: 600_000 } : { text: "so it is ", rate: 200, chunk: 2 };
  return script({ text: name }, ...steps, end);
}

/** Resolves once it holds, now or after a change. */
function until(handle: SessionHandle, holds: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (!holds()) return;
      stop();
      resolve();
    };
    const stop = handle.on("change", look);
    look();
  });
}

test(
  "two people alternate interrupt and steer 200 times: one valid history, fair, and both see the same",
  { limitMs: 100_000 },
  async () => {
    const server = await TestServer.start({ store: "memory" });
    const ann = await enter(server, "ann");
    const bob = await enter(server, "bob", ann.handle.id);
    const people = [ann, bob];
    const sent: string[] = [];
    for (let at = 0; at < TIMES; at++) {
      const { handle } = people[at % 2]!;
      const mode = random.pick(["interrupt", "steer"] as const);
      const { input } = await handle.send(content(random, `${at}`), { mode });
      sent.push(input);
      // The other one's turn comes at once, or when this interrupt has begun.
      if (mode === "interrupt" && random.chance(0.5))
        await until(handle, () => !handle.state?.queue.some((item) => item.input === input));
      // Steers wait for a run that goes on; now and then nobody lets it.
      if ((handle.state?.queue.length ?? 0) > 32) await handle.cancel();
    }
    const idle = ({ handle: { state } }: Person): boolean =>
      state?.run === undefined && state?.queue.length === 0;
    while (!people.every(idle)) {
      // What stalls is stopped, so that all that waits has its turn.
      const run = ann.handle.state?.run;
      if (run !== undefined && run.cancelRequested === undefined) await ann.handle.cancel(run.run);
      await until(ann.handle, () => idle(ann) || ann.handle.state?.run?.run !== run?.run);
      if (idle(ann)) await until(bob.handle, () => idle(bob));
    }
    await until(bob.handle, () => bob.log.length === ann.log.length);

    assert.equal(bob.log, ann.log);
    assert.equal(bob.handle.state, ann.handle.state);
    assert.equal(bob.handle.partial, ann.handle.partial);
    // Also that no call is without its one result, and whose turn it was at each start of a run.
    assert.equal(violations(ann.log), []);
    const said = ann.log.flatMap(({ event }) =>
      event.type === "message" && event.message.role === "user" ? [event.message.id] : [],
    );
    assert.equal(said.toSorted(), sent.toSorted());
    const modes = new Map(
      ann.log.flatMap(({ event }) => (event.type === "input-queued" ? [[event.input, event.mode]] : [])),
    );
    assert.ok(["interrupt", "steer"].every((mode) => [...modes.values()].includes(mode as "steer")));
    for (const person of [0, 1])
      for (const mode of ["interrupt", "steer"]) {
        const own = (input: string): boolean =>
          sent.indexOf(input) % 2 === person && modes.get(input) === mode;
        assert.equal(
          said.filter(own),
          sent.filter(own),
          `${mode} of person ${person}, in the order of sending`,
        );
      }
    await server.kill();
  },
);

test.run();
