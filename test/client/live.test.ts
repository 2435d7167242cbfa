/**
 * Unfinished text: the Client rule, and that any cutting, merging, dropping and repeating of deltas gives one text.
 */
import fc from "fast-check";
import { LiveText, ShownText } from "../../client/live.ts";
import type { TextDelta } from "../../client/live.ts";
import type { Partial } from "../../protocol/frames.ts";
import { suite, assert } from "../support/suite.ts";
import { seedFromEnvironment } from "../support/wait.ts";

const test = suite("client live text");
const seed = seedFromEnvironment();

const part = (message: string, number: number, kind: "text" | "reasoning" = "text") =>
  ({ type: "part", channel: 1, message, part: number, kind }) as const;
const delta = (message: string, number: number, offset: number, text: string) =>
  ({ type: "delta", channel: 1, message, part: number, offset, text }) as const;
const textOf = (live: LiveText): string[] | undefined => live.partial?.parts.map((item) => item.text);

test("text grows by deltas that fit, overlaps add their tail, repetitions nothing", () => {
  const live = new LiveText();
  assert.ok(live.part(part("m", 0), "r"));
  assert.is(live.part(part("m", 0), "r"), false);
  assert.is(live.delta(delta("m", 0, 0, "Hello"))?.text, "Hello");
  assert.is(live.delta(delta("m", 0, 3, "lo, w"))?.text, ", w");
  assert.is(live.delta(delta("m", 0, 0, "Hello")), undefined);
  assert.is(live.delta(delta("m", 0, 8, "orld"))?.offset, 8);
  assert.equal(textOf(live), ["Hello, world"]);
});

test("a delta that is ahead stops everything until the next live", () => {
  const live = new LiveText();
  live.part(part("m", 0), "r");
  live.delta(delta("m", 0, 0, "ab"));
  assert.is(live.delta(delta("m", 0, 3, "d")), undefined);
  assert.is(live.delta(delta("m", 0, 2, "c")), undefined);
  assert.is(live.part(part("m", 1), "r"), false);
  const added = live.live({ run: "r", message: "m", parts: [{ part: 0, kind: "text", text: "abcd" }] });
  assert.equal(
    added.map(({ offset, text }) => [offset, text]),
    [[2, "cd"]],
  );
  assert.is(live.delta(delta("m", 0, 4, "e"))?.text, "e");
});

test("a committed message ends that too, and its late parts and deltas are ignored", () => {
  const live = new LiveText();
  live.delta(delta("m", 0, 0, "lost"));
  live.committed("m");
  assert.is(live.part(part("m", 0), "r"), false);
  assert.is(live.delta(delta("m", 0, 0, "late")), undefined);
  assert.is(live.partial, undefined);
  assert.ok(live.part(part("n", 0), "r"));
  assert.is(live.delta(delta("n", 0, 0, "new"))?.text, "new");
});

test("an abandoned message is taken away and stays away", () => {
  const live = new LiveText();
  live.part(part("m", 0), "r");
  live.delta(delta("m", 0, 0, "x"));
  live.abandoned("m");
  assert.is(live.partial, undefined);
  assert.equal(live.live({ run: "r", message: "m", parts: [{ part: 0, kind: "text", text: "x" }] }), []);
  assert.is(live.partial, undefined);
});

test("live without a partial clears what is unfinished, with another message replaces it", () => {
  const live = new LiveText();
  live.part(part("m", 0), "r");
  live.delta(delta("m", 0, 0, "x"));
  const added = live.live({ run: "r", message: "n", parts: [{ part: 0, kind: "text", text: "yz" }] });
  assert.equal(
    added.map((item) => item.text),
    ["yz"],
  );
  live.live(undefined);
  assert.is(live.partial, undefined);
});

test("partials handed out do not change", () => {
  const live = new LiveText();
  live.part(part("m", 0), "r");
  live.delta(delta("m", 0, 0, "a"));
  const before = live.partial;
  live.delta(delta("m", 0, 1, "b"));
  assert.equal(before?.parts[0]?.text, "a");
});

/** A model's message as frames, cut anywhere; some are lost, which a `live` must follow before anything else. */
const stream = fc.record({
  parts: fc.array(
    fc.record({
      kind: fc.constantFrom("text" as const, "reasoning" as const),
      pieces: fc.array(fc.string({ unit: "grapheme", minLength: 1, maxLength: 6 }), {
        minLength: 1,
        maxLength: 8,
      }),
    }),
    { minLength: 1, maxLength: 4 },
  ),
  fates: fc.array(fc.constantFrom("once", "twice", "merged", "lost"), { minLength: 40, maxLength: 40 }),
});

test("deltas cut, merged, repeated and dropped in any way show the same text, and a terminal prints it once", () => {
  fc.assert(
    fc.property(stream, ({ parts, fates }) => {
      const live = new LiveText();
      const shown = new ShownText();
      const printed = new Map<number, string>();
      const print = (item: TextDelta | undefined): void => {
        if (item === undefined || !shown.delta(item)) return;
        printed.set(item.part, (printed.get(item.part) ?? "") + item.text);
      };
      const server: Partial = { run: "r", message: "m", parts: [] };
      let dropped = false;
      let step = 0;
      for (const [number, { kind, pieces }] of parts.entries()) {
        server.parts.push({ part: number, kind, text: "" });
        if (!dropped) live.part(part("m", number, kind), "r");
        for (const piece of pieces) {
          const own = server.parts[number]!;
          const offset = own.text.length;
          own.text += piece;
          const fate = fates[step++ % fates.length];
          if (fate === "lost") dropped = true;
          else if (dropped) {
            // Who dropped something sends a live before anything else.
            for (const item of live.live(structuredClone(server))) print(item);
            dropped = false;
          } else if (fate === "merged") print(live.delta(delta("m", number, 0, own.text)));
          else {
            print(live.delta(delta("m", number, offset, piece)));
            if (fate === "twice") print(live.delta(delta("m", number, offset, piece)));
          }
          if (!dropped)
            assert.equal(
              textOf(live),
              server.parts.map((item) => item.text),
            );
        }
      }
      for (const item of shown.commit({
        id: "m",
        parts: server.parts.map(({ kind, text }) => ({ type: kind as "text", text })),
      })) {
        printed.set(item.part, (printed.get(item.part) ?? "") + item.text);
      }
      for (const item of server.parts) assert.is(printed.get(item.part) ?? "", item.text);
    }),
    { seed, numRuns: 500 },
  );
});

test("the rest of a committed message is found although its parts were counted otherwise", () => {
  const shown = new ShownText();
  shown.delta({ message: "m", part: 3, kind: "text", offset: 0, text: "Hel" });
  const rest = shown.commit({
    id: "m",
    parts: [
      { type: "reasoning", text: "hm" },
      { type: "text", text: "Hello" },
      { type: "text", text: "bye" },
    ],
  });
  assert.equal(
    rest.map(({ part: number, offset, text }) => [number, offset, text]),
    [
      [4, 0, "hm"],
      [3, 3, "lo"],
      [5, 0, "bye"],
    ],
  );
});

test.run();
