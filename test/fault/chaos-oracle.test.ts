/**
 * The control of chaos: an oracle that finds nothing may be blind. One small world in which every promise is kept, and
 * one violation of each kind planted in a copy of it: the rule that is meant for it finds it.
 */
import { assert, suite } from "../support/suite.ts";
import { evidenceOf, kept, usage, type Left } from "./chaos-evidence.ts";
import type { Line } from "./chaos-journal.ts";
import { judge, RULES } from "./chaos-oracle.ts";
import { PLANTED_PEOPLE, type Planted } from "./chaos-planted.ts";

const test = suite("oracle of chaos");

test("a world that keeps every promise is found to", () => {
  assert.equal(judge(evidenceOf(kept())), []);
});

const at = (left: Left, type: string): number => left.said.findIndex(([event]) => event.type === type);

const PLANTED: readonly Planted[] = [
  ["a call with two outcomes", "logs", (left) => left.said.splice(7, 0, left.said[6]!), /second result/],
  [
    "a call without an outcome",
    "logs",
    (left) => left.said.splice(6, 1),
    /call without a result|calls are open/,
  ],
  [
    "a run that ends twice",
    "logs",
    (left) => left.said.splice(14, 0, left.said[13]!),
    /has ended|no such run/,
  ],
  ["a run that never ends", "logs", (left) => left.said.splice(12), /never ends/],
  ["an input that is never answered", "logs", (left) => left.said.splice(-1), /wait for ever/],
  [
    "a once call that is dispatched again",
    "logs",
    (left) =>
      left.said.splice(
        6,
        0,
        [{ type: "tool-lost", call: "call_1", attempt: 1, cause: "disconnected" }, "run_1"],
        [
          {
            type: "tool-dispatched",
            call: "call_1",
            attempt: 2,
            provider: "p",
            effect: "once",
            deadlineAt: 9,
          },
          "run_1",
        ],
      ),
    /once/,
  ],
  [
    "a run that ends for no reason",
    "runs end",
    (left) =>
      (left.said[13] = [
        { type: "run-finished", run: "run_1", reason: "error", steps: 1, usage, model: "m" },
        "run_1",
      ]),
    /ends error/,
  ],
  [
    "a call without a result in the history",
    "history",
    (left) => left.said.splice(6, 1),
    /input-available at rest/,
  ],
  ["a lost ack of a send", "what was acked", (left) => left.said.splice(1, 1), /send by client0/],
  [
    "a lost ack of an edit",
    "what was acked",
    (left) => left.said.splice(at(left, "input-edited"), 1),
    /edit/,
  ],
  [
    "a lost ack of a withdrawal",
    "what was acked",
    (left) => left.said.splice(at(left, "input-withdrawn"), 1),
    /withdraw/,
  ],
  [
    "a lost ack of an update",
    "what was acked",
    (left) => left.said.splice(at(left, "session-updated"), 1),
    /update/,
  ],
  [
    "a lost ack of a cancel",
    "what was acked",
    (left) => left.said.splice(at(left, "cancel-requested"), 1),
    /cancel/,
  ],
  [
    "a lost ack of a summary",
    "what was acked",
    (left) => left.said.splice(at(left, "compacted"), 1),
    /compact/,
  ],
  ["a lost ack of a retry", "what was acked", (left) => left.said.splice(15), /retry/],
  [
    "a retry that asks something else",
    "what was acked",
    (left) =>
      (left.said[15] = [
        { type: "input-queued", input: "msg_3", key: "k3", content: "other", mode: "queue" },
      ]),
    /retry/,
  ],
  [
    "a send that never had an answer",
    "what was acked",
    (left) => (left.promised[0]!.answer = "unknown"),
    /never had an answer/,
  ],
  [
    "an input that was refused",
    "inputs",
    (left) => (left.promised[0]!.answer = "refused"),
    /refused and is queued/,
  ],
  ["an input that nobody sent", "inputs", (left) => left.promised.splice(0, 1), /never sent/],
  [
    "an input that is queued twice",
    "inputs",
    (left) => left.said.splice(2, 0, left.said[1]!),
    /queued twice/,
  ],
  [
    "an entry that was shown and is gone",
    "what was shown",
    (left) => {
      left.shown = [...left.said];
      left.said.splice(11, 1);
    },
    /was shown/,
  ],
  [
    "an entry that was shown otherwise",
    "what was shown",
    (left) => {
      left.shown = [...left.said];
      left.shown[11] = [{ type: "session-updated", title: "another" }];
    },
    /another entry 12|another state/,
  ],
  [
    "a client that stays behind",
    "what was shown",
    (left) => (left.shown = left.said.slice(0, -1)),
    /16 entries of 17/,
  ],
  ["a fault that a client saw", "what was shown", (left) => left.faults.push("a gap"), /a gap/],
  [
    "a snapshot of something else",
    "what was shown",
    (left) => (left.snapshot = left.said.slice(0, 12)),
    /snapshot/,
  ],
  ["a fork that is gone", "forks", (left) => (left.forked = []), /acked and is not there/],
  ["a fork without what was said", "forks", (left) => left.forked.splice(2, 1), /does not begin with/],
  [
    "a fork of an open run",
    "forks",
    (left) =>
      (left.forked[0] = [
        { type: "session-created", agent: "steady", owner: "ann", forkedFrom: { session: "ses", at: 8 } },
      ]),
    /middle of a run/,
  ],
  [
    "a once call that was executed twice",
    "calls",
    (left) =>
      left.journal.push({
        did: "begun",
        reference: { session: "ses", call: "call_1", attempt: 2 },
        tool: "once_count",
        input: {},
      }),
    /executed again, and is once/,
  ],
  [
    "a call that was executed twice",
    "calls",
    (left) => left.journal.push(left.journal[0]!),
    /executed twice/,
  ],
  [
    "a call that was executed before its dispatch",
    "calls",
    (left) => left.said.splice(5, 1),
    /before its dispatch/,
  ],
  ["an output that nobody made", "calls", (left) => left.journal.splice(1), /nobody executed it/],
  [
    "an output other than the one that was made",
    "calls",
    (left) => (left.journal[1] = { ...left.journal[1], output: "other" } as Line),
    /has another output/,
  ],
  [
    "a result that was stored and does not count",
    "calls",
    (left) =>
      (left.said[6] = [{ type: "tool-result", call: "call_1", outcome: "timeout", durationMs: 1 }, "run_1"]),
    /does not count/,
  ],
  [
    "a call that the server does not know",
    "calls",
    (left) => (left.journal[2] = { ...left.journal[2], verdict: "unknown" } as Line),
    /unknown to the server/,
  ],
  [
    "what a provider complains of",
    "calls",
    (left) => left.journal.push({ did: "problem", problem: "sent twice" }),
    /sent twice/,
  ],
  ...PLANTED_PEOPLE,
];

for (const [what, begins, plant, says] of PLANTED) {
  test(`finds ${what}`, () => {
    const left = kept();
    plant(left);
    const [rule] = Object.entries(RULES).filter(([name]) => name.startsWith(begins));
    assert.match(rule![1](evidenceOf(left)).join("\n"), says);
  });
}

test("every rule has its control", () => {
  const planted = new Set(PLANTED.map(([, begins]) => begins));
  for (const name of Object.keys(RULES))
    assert.ok(
      [...planted].some((begins) => name.startsWith(begins)),
      name,
    );
});

test("finds a log with a hole", () => {
  const evidence = evidenceOf(kept());
  const { entries, ...rest } = evidence.logs.get("ses")!;
  const logs = new Map(evidence.logs).set("ses", { ...rest, entries: entries.toSpliced(11, 1) });
  assert.match(judge({ ...evidence, logs }).join("\n"), /seq 13 \S+: stands at place 12/);
});

test.run();
