/**
 * Violations of what people were asked, for the oracle's own test to plant, each with what must be said of it. Owns those
 * of requests; all others stand in the test.
 */
import type { Left } from "./chaos-evidence.ts";
import type { Promised } from "./chaos-player.ts";

/** What is planted, the rule that is meant for it, and some of what it says. */
export type Planted = readonly [what: string, rule: string, plant: (left: Left) => unknown, says: RegExp];

/** Changes an entry of the session in which people are asked. */
function change(left: Left, place: number, more: object): void {
  const [event, run] = left.asked[place]!;
  left.asked[place] = [{ ...event, ...more }, run!];
}
const answers = (left: Left): Promised[] => left.promised.filter(({ asked }) => asked.kind === "answer");

export const PLANTED_PEOPLE: readonly Planted[] = [
  [
    "a lost ack of an approval that alone is not enough",
    "what was acked",
    (left) => left.asked.splice(8, 1),
    /answer by client of ann/,
  ],
  [
    "an ack of the other answer",
    "what was acked",
    (left) => change(left, 11, { decision: "approve" }),
    /answer/,
  ],
  [
    "an ack that somebody else's answer had",
    "what was acked",
    (left) => change(left, 13, { by: [] }),
    /answer by client of ann/,
  ],
  [
    "an answer that was never replied to",
    "what was acked",
    (left) => (answers(left)[0]!.answer = "unknown"),
    /never had an answer/,
  ],
  ["a request that was lost", "requests", (left) => left.asked.splice(11, 1), /req_d is open at rest/],
  [
    "a request that is opened twice",
    "requests",
    (left) => left.asked.splice(6, 0, left.asked[5]!),
    /opened twice/,
  ],
  [
    "a request that is resolved twice",
    "requests",
    (left) => left.asked.splice(12, 0, left.asked[11]!),
    /resolved twice/,
  ],
  [
    "an approval of what is resolved",
    "requests",
    (left) => left.asked.splice(10, 0, left.asked[8]!),
    /request-answered: is resolved/,
  ],
  [
    "one person who counts as two",
    "requests",
    (left) => {
      const [event] = left.asked[9]!;
      if (event.type === "request-resolved") change(left, 9, { by: [event.by![0], event.by![0]] });
    },
    /1 people allowed it/,
  ],
  [
    "an approval of one's own request",
    "requests",
    (left) => change(left, 7, { notRequester: true }),
    /by who asked for it/,
  ],
  [
    "a question without answers",
    "requests",
    (left) => change(left, 13, { answers: undefined }),
    /are missing/,
  ],
  [
    "a request that expires too early",
    "requests",
    (left) => change(left, 11, { decision: "expired" }),
    /before it expired/,
  ],
  [
    "a request that a restart cancelled",
    "requests",
    (left) => change(left, 11, { decision: "cancelled" }),
    /its run ends no-action/,
  ],
  [
    "a call that goes out before people allow it",
    "requests",
    (left) => left.asked.splice(9, 1),
    /nobody allowed/,
  ],
  [
    "a call that nobody was asked about",
    "requests",
    (left) => left.asked.splice(5, 1),
    /nobody allowed call_p/,
  ],
  ["a denied call with a result", "requests", (left) => change(left, 12, { outcome: "ok" }), /ok after deny/],
  [
    "a call that expired without its request",
    "requests",
    (left) => change(left, 12, { outcome: "approval-expired" }),
    /approval-expired after deny/,
  ],
  [
    "a denied call that a provider executed",
    "requests",
    (left) =>
      left.journal.push({
        did: "begun",
        reference: { session: "people", call: "call_d", attempt: 1 },
        tool: "once_pay",
        input: { mark: "p" },
      }),
    /executed and is deny/,
  ],
  [
    "a call that was executed as nobody allowed it",
    "requests",
    (left) => change(left, 9, { input: undefined }),
    /another input/,
  ],
  [
    "a client that was told another end of a request",
    "requests",
    (left) => {
      const told = answers(left).at(-1)!;
      told.frame = { ...told.frame, details: { decision: "deny", by: [{ id: "bob" }] } };
    },
    /was told deny of req_a/,
  ],
  [
    "a client that was told of another who decided",
    "requests",
    (left) => {
      const told = answers(left).at(-1)!;
      told.frame = { ...told.frame, details: { decision: "approve", by: [{ id: "bob" }] } };
    },
    /was told approve of req_a/,
  ],
  [
    "an answer that was forbidden to whom it is for",
    "requests",
    (left) => (answers(left).at(-1)!.frame = { code: "forbidden" }),
    /was forbidden to answer/,
  ],
  [
    "an answer refused for nothing",
    "requests",
    (left) => (answers(left).at(-1)!.frame = { code: "conflict" }),
    /conflict about open/,
  ],
];
