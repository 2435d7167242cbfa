// limit: 600 s
/**
 * Tool calls whose providers, sockets and server are killed, frozen and cut, with and without cancels: one outcome each,
 * `once` at most once, nothing lost, nothing late, and verdicts that say what the log says. Small worlds; the long ones
 * are `npm run chaos -- --suite tools --seeds 100` and `--suite tools-cancels`. Also that the oracle finds what it is for.
 */
import type { EntryBody, EventFrame } from "../../protocol/entries.ts";
import { assert, suite } from "../support/suite.ts";
import { seedFromEnvironment } from "../support/wait.ts";
import { judge, type Evidence } from "./tools-check.ts";
import { GRACE_MS, TOOLS, type Trace } from "./tools-rules.ts";
import { toolsSuite } from "./tools-world.ts";

const SEEDS = 5;
const CALLS = 60;
const test = suite("tool calls in chaos");

for (const [what, cancelShare] of [
  ["", 0],
  [", cancelled at random", 0.03],
] as const) {
  test(`${SEEDS} worlds of ${CALLS} calls${what}`, { limitMs: 290_000 }, async () => {
    const first = seedFromEnvironment();
    const worlds = toolsSuite({ calls: CALLS, cancelShare });
    const counts: Record<string, number> = {};
    for (let at = 0; at < SEEDS; at++) {
      const report = await worlds.run((first + at) % 2 ** 32);
      assert.equal(report.problems, [], `seed ${report.seed}\n${report.schedule.join("\n")}`);
      for (const [name, count] of Object.entries(report.counts)) counts[name] = (counts[name] ?? 0) + count;
    }
    console.log(`seed ${first}: ${JSON.stringify(counts)}`);
    assert.ok(Object.keys(counts).some((name) => name.endsWith("server")));
    assert.is(counts["asked"], SEEDS * CALLS);
    if (cancelShare === 0) assert.is(counts["calls"], counts["asked"]);
    else assert.ok(counts["cancels"]! > 0);
  });
}

// --- controls: worlds that are fine, and one thing wrong in each ---

const CALL = { session: "ses_1", call: "call_1" };

interface Planted {
  readonly tool?: string;
  readonly mode?: string;
  /** What follows the message that asks for the call; at 1000. */
  readonly log: readonly (readonly [number, EntryBody])[];
  readonly traces: readonly (Pick<Trace, "what" | "at"> & Partial<Trace>)[];
  readonly killed?: readonly number[];
}

function evidence({ tool = "pure_work", mode = "obey", log, traces, killed = [] }: Planted): Evidence {
  const parts = [
    { type: "dynamic-tool", toolName: tool, toolCallId: CALL.call, input: { work: 1, mode } },
  ] as never;
  const author = { kind: "agent", id: "demo", name: "demo", verified: true } as const;
  const message: EntryBody = { type: "message", message: { id: "msg_1", role: "assistant", author, parts } };
  const bodies = [[1000, message] as const, ...log];
  const frames = bodies.map(([at, event], index): EventFrame => ({
    type: "event",
    session: CALL.session,
    epoch: 1,
    seq: index + 1,
    at,
    run: "run_1",
    event,
  }));
  return {
    logs: [frames],
    traces: traces.map((trace) => ({
      ...CALL,
      attempt: 1,
      provider: "p0",
      pid: 1,
      nonce: "n",
      ...trace,
    })),
    killed: new Set(killed),
    stopped: [],
  };
}

const dispatched = (attempt = 1, effect: "pure" | "once" = "pure"): readonly [number, EntryBody] => [
  1001,
  { type: "tool-dispatched", call: CALL.call, attempt, provider: "prv_1", effect, deadlineAt: 30_000 },
];
const ended = (outcome: string, more: object = {}, at = 1010): readonly [number, EntryBody] => [
  at,
  {
    type: "tool-result",
    call: CALL.call,
    attempt: 1,
    outcome,
    durationMs: 1,
    ...(outcome === "ok" ? { output: { nonce: "n" } } : {}),
    ...more,
  } as EntryBody,
];
const cancelled: readonly [number, EntryBody] = [1005, { type: "cancel-requested", run: "run_1" }];
const executed = [
  { what: "begin", at: 1002 },
  { what: "effect", at: 1003 },
  { what: "end", at: 1004 },
] as const;
const told = (verdict: string): Planted["traces"][number] => ({ what: "verdict", at: 1011, verdict });

test("the oracle is content with what is right", () => {
  const right: Planted[] = [
    { log: [dispatched(), ended("ok")], traces: [...executed, told("stored")] },
    { log: [dispatched(), ended("ok")], traces: executed, killed: [1] },
    { tool: "pure_hang", log: [dispatched(), ended("timeout")], traces: [] },
    {
      log: [dispatched(), cancelled, ended("cancelled")],
      traces: [executed[0], { what: "abort", at: 1006 }, told("stored")],
    },
    { tool: "once_work", log: [dispatched(1, "once"), ended("outcome-unknown")], traces: [] },
  ];
  for (const planted of right) assert.equal(judge(evidence(planted)).problems, []);
});

const late = 1000 + TOOLS["pure_work"]!.timeoutMs + GRACE_MS + 1;
const WRONG: readonly (readonly [string, RegExp, Planted])[] = [
  ["no outcome", /0 outcomes/, { log: [dispatched()], traces: [...executed, told("stored")] }],
  [
    "two outcomes",
    /2 outcomes/,
    { log: [dispatched(), ended("ok"), ended("ok")], traces: [...executed, told("stored")] },
  ],
  [
    "a once call that ran twice",
    /executed 2 times/,
    {
      tool: "once_work",
      log: [dispatched(1, "once"), ended("ok")],
      traces: [...executed, { what: "begin", at: 1003, pid: 2 }, told("stored")],
      killed: [2],
    },
  ],
  [
    "an execution that no dispatch was logged for",
    /attempt 2 was executed and is not in the log/,
    {
      log: [dispatched(), ended("ok")],
      traces: [...executed, { what: "begin", at: 1003, attempt: 2 }, told("stored")],
      killed: [1],
    },
  ],
  [
    "a pure call that is lost",
    /ends unavailable/,
    { log: [dispatched(), ended("unavailable")], traces: executed, killed: [1] },
  ],
  [
    "an output out of thin air",
    /of no execution/,
    { log: [dispatched(), ended("ok", { output: { nonce: "m" } })], traces: [...executed, told("stored")] },
  ],
  [
    "an outcome after its deadline and the grace",
    /ms after its bound/,
    { log: [dispatched(), ended("ok", {}, late)], traces: [...executed, told("stored")] },
  ],
  [
    "an effect after the cancel was confirmed",
    /after its cancel was confirmed/,
    {
      log: [dispatched(), cancelled, ended("cancelled")],
      traces: [executed[0], { what: "abort", at: 1006 }, { what: "effect", at: 1012 }, told("stored")],
    },
  ],
  [
    "a verdict that the log does not bear out",
    /was told stored; the log has timeout/,
    {
      tool: "pure_hang",
      log: [dispatched(), ended("timeout")],
      traces: [executed[0], { what: "abort", at: 1006 }, told("stored")],
    },
  ],
  [
    "an executor that was never told",
    /never told what became of it/,
    { log: [dispatched(), ended("ok")], traces: executed },
  ],
  [
    "an executor that nobody stopped",
    /neither ended nor was stopped/,
    { log: [dispatched(), cancelled, ended("outcome-unknown")], traces: [executed[0], told("stale")] },
  ],
];

for (const [what, pattern, planted] of WRONG) {
  test(`the oracle finds ${what}`, () => {
    assert.match(judge(evidence(planted)).problems.join("\n"), pattern);
  });
}

test("the oracle finds an execution that is in no log", () => {
  const { traces } = evidence({ log: [], traces: executed });
  const { problems } = judge({ logs: [], traces, killed: new Set(), stopped: [] });
  assert.match(problems.join("\n"), /is in no log/);
});

test.run();
