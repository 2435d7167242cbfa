/**
 * The order of waiting inputs: by examples, and what holds whatever people send.
 */
import fc from "fast-check";
import type { SendMode } from "../../protocol/content.ts";
import type { QueuedInput } from "../../protocol/frames.ts";
import { queued, reordered } from "../../protocol/queue.ts";
import { assert, suite } from "../support/suite.ts";
import { ADA } from "./logs.ts";

const test = suite("the queue");
const TURNS = { mode: "queue" } as const;

/** `a1` is an input of user `a`. */
function item(name: string, mode: SendMode = "queue"): QueuedInput {
  return { input: name, key: name, content: "x", mode, actor: { ...ADA, id: name[0]! }, seq: 1, at: 1 };
}

function names(queue: readonly QueuedInput[]): string {
  return queue.map(({ input }) => input).join(" ");
}

function after(
  items: readonly QueuedInput[],
  running?: string,
  floor: Parameters<typeof queued>[2] = TURNS,
): string {
  return names(items.reduce<QueuedInput[]>((queue, input) => queued(queue, input, floor, running), []));
}

const sent = (text: string): QueuedInput[] => text.split(" ").map((name) => item(name));

test("people take turns, whoever has a run counts as having had one", () => {
  assert.is(after(sent("a1 a2 a3 b1 b2 c1")), "a1 b1 c1 a2 b2 a3");
  assert.is(after(sent("a1 a2 a3 b1 b2 c1"), "a"), "b1 c1 a1 b2 a2 a3");
  assert.is(after(sent("a1 b1 a2 b2")), "a1 b1 a2 b2");
});

test("where the floor is open, they go in the order in which they came", () => {
  assert.is(after(sent("a1 a2 a3 b1 b2 c1"), "a", { mode: "open" }), "a1 a2 a3 b1 b2 c1");
});

test("interrupts go first, then steers, in turns among themselves", () => {
  const mixed = [
    item("a1"),
    item("a2", "steer"),
    item("a3", "steer"),
    item("b1", "steer"),
    item("a4", "interrupt"),
    item("b2", "rollback"),
    item("c1"),
  ];
  assert.is(after(mixed), "a4 b2 a2 b1 a3 c1 a1");
  assert.is(after(mixed, undefined, { mode: "open" }), "a4 b2 a2 a3 b1 a1 c1");
});

test("inputs that are put in another order share their places, and names of none count nothing", () => {
  const queue = sent("a1 b1 a2 c1 a3");
  assert.is(names(reordered(queue, ["a3", "a1", "a2"])), "a3 b1 a1 c1 a2");
  assert.is(names(reordered(queue, ["c1", "gone", "a1", "c1"])), "c1 b1 a2 a1 a3");
  assert.is(names(reordered(queue, [])), names(queue));
});

test("whoever has nothing else waiting waits for one input of everybody else at most; nobody overtakes themselves", () => {
  const step = fc.oneof(fc.constantFrom("a", "b", "c", "d"), fc.constant("next"));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      let queue: QueuedInput[] = [];
      let running: string | undefined;
      for (const [at, who] of steps.entries()) {
        if (who === "next") {
          const [first, ...rest] = queue;
          running = first?.actor?.id;
          queue = rest;
          continue;
        }
        const alone = running !== who && !queue.some(({ actor }) => actor?.id === who);
        queue = queued(queue, { ...item(`${who}${at}`), seq: at }, TURNS, running);
        const before = queue
          .slice(
            0,
            queue.findIndex(({ seq }) => seq === at),
          )
          .map(({ actor }) => actor!.id);
        if (alone) assert.is(new Set(before).size, before.length, names(queue));
        for (const user of ["a", "b", "c", "d"]) {
          const own = queue.filter(({ actor }) => actor?.id === user).map(({ seq }) => seq);
          assert.equal(
            own,
            own.toSorted((x, y) => x - y),
          );
        }
      }
    }),
    { numRuns: 500 },
  );
});

test.run();
