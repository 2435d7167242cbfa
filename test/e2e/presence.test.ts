/**
 * A thousand watchers of one session, each on a socket of its own: they join, some type, half leave, and after each of these
 * every one that is there is told how it stands. How long that takes, and what it costs, `npm run bench -- presence` says.
 */
import { watched } from "../bench/presence.ts";
import { assert, suite } from "../support/suite.ts";

const test = suite("presence of a thousand");

test(
  "1000 watchers join, 20 of them type, half leave: all who are there are told the same",
  { limitMs: 120_000 },
  async () => {
    const phases = new Map<string, unknown>();
    await watched(1000, (phase, told) => {
      const [first, ...rest] = told;
      for (const frame of rest) assert.equal(frame, first);
      const { users, people, connections } = first!;
      const typing = (users as { id: string; typing?: boolean }[]).filter((user) => user.typing);
      phases.set(phase, {
        readers: told.length,
        people,
        connections,
        typing: typing.map(({ id }) => id).toSorted(),
      });
    });
    const last20 = Array.from({ length: 20 }, (_, at) => `user${980 + at}`);
    assert.equal(Object.fromEntries(phases), {
      join: { readers: 1000, people: 1000, connections: 1000, typing: [] },
      type: { readers: 1000, people: 1000, connections: 1000, typing: last20 },
      leave: { readers: 501, people: 501, connections: 501, typing: [] },
    });
  },
);

test.run();
