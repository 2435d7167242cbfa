/**
 * What happens in a world of chaos, drawn from its seed before anything runs: what each client does in each phase, and
 * after which counted event which fault strikes whom for how long. Owns the draw; the same seed is the same schedule on
 * every machine, also where a fault cannot be made.
 */
import type { SendMode } from "../../protocol/content.ts";
import { seeded, type Random } from "../support/wait.ts";

export const SESSIONS = 10;
export const CLIENTS_PER_SESSION = 3;
export const CLIENTS = SESSIONS * CLIENTS_PER_SESSION;
export const PROVIDERS = 2;
export const TOOLS = {
  pure_echo: "pure",
  idem_put: "idempotent",
  once_count: "once",
  once_pay: "once",
} as const;
/** Nobody waits longer for people. */
export const APPROVAL = { mode: "always", editable: true, expiresInMs: 500 } as const;
/** What is asked about by its provider, and by every agent where its input says so. */
export const PAY = "once_pay";
export const AGENTS = [
  { name: "steady", rule: { ...APPROVAL, by: { notRequester: true } } },
  { name: "short", compaction: { contextWindow: 1200 }, rule: { ...APPROVAL, by: { count: 2 } } },
  { name: "brittle", crashPolicy: "stop" },
].map(({ rule, ...agent }) => ({
  ...agent,
  tools: ["*", "ask"],
  approvals: {
    idem_put: { ...APPROVAL, mode: "when", when: { required: ["asked"] } },
    ...(rule === undefined ? {} : { [PAY]: rule }),
  },
}));
/** What a scripted failure says. */
export const SCRIPTED_ERROR = "chaos wants this";
const PHASES = 4;

/** What a client does. `pick` chooses among what there is at that moment. */
export type Op =
  | { readonly kind: "send"; readonly mode: SendMode; readonly content: string }
  | { readonly kind: "burst"; readonly contents: readonly string[] }
  | { readonly kind: "edit"; readonly pick: number; readonly content: string }
  | { readonly kind: "update"; readonly title: string }
  | { readonly kind: "repeat" | "withdraw" | "fork"; readonly pick: number }
  | { readonly kind: "cancel" | "retry" | "compact" | "history" };

/** What a client does when it is shown a request, after `ms`; a question is answered by all but `deny`, and by somebody. */
export interface Reaction {
  /** `twice`: the same at once again; `both`: yes and no at once; `late`: once it is resolved. */
  readonly kind: "approve" | "edit" | "deny" | "twice" | "both" | "late" | "at-expiry" | "none";
  readonly ms: number;
}

/** After so many of an event (an entry's type, `ack` or `live`) since the phase began. */
export interface Moment {
  readonly what: string;
  readonly times: number;
}

export type Fault =
  | { readonly kind: "kill" | "stop"; readonly after: Moment }
  | { readonly kind: "freeze" | "full" | "failing"; readonly after: Moment; readonly ms: number }
  | { readonly kind: "kill-provider"; readonly after: Moment; readonly provider: number; readonly ms: number }
  | {
      readonly kind: "freeze-provider";
      readonly after: Moment;
      readonly provider: number;
      readonly ms: number;
    }
  | {
      readonly kind: LinkFault;
      readonly after: Moment;
      readonly links: readonly number[];
      readonly ms: number;
    };

export type LinkFault = "cut" | "stall" | "stall-server" | "half-open" | "bytes" | "delay" | "refuse";

export interface Phase {
  /** By client. */
  readonly ops: readonly (readonly Op[])[];
  readonly faults: readonly Fault[];
}

export interface Schedule {
  readonly seed: number;
  readonly phases: readonly Phase[];
  /** By client: what it does about the first request that it is shown, the second, and so on, and then again. */
  readonly reactions: readonly (readonly Reaction[])[];
  /** For the providers' own draws. */
  readonly providerSeeds: readonly number[];
}

const MOMENTS: readonly (readonly [what: string, most: number])[] = [
  ["ack", 25],
  ["input-queued", 25],
  ["run-started", 15],
  ["message", 25],
  ["tool-dispatched", 12],
  ["tool-accepted", 5],
  ["request-opened", 8],
  ["request-resolved", 8],
  ["tool-result", 12],
  ["step-finished", 20],
  ["run-finished", 12],
  ["cancel-requested", 2],
  ["compacted", 1],
  ["live", 20],
];
const LINK_FAULTS: readonly LinkFault[] = [
  "cut",
  "cut",
  "stall",
  "stall-server",
  "half-open",
  "bytes",
  "delay",
  "refuse",
];

export function drawSchedule(seed: number): Schedule {
  const random = seeded(seed);
  const killed = random.int(PHASES);
  const phases = Array.from({ length: PHASES }, (_, phase) => ({
    ops: Array.from({ length: CLIENTS }, (__, client) => drawOps(random.fork(), phase, client)),
    faults: [
      drawFault(random.fork(), phase === killed),
      ...Array.from({ length: random.int(4) }, () => drawLinkFault(random.fork())),
    ],
  }));
  const providerSeeds = Array.from({ length: PROVIDERS }, () => random.int(2 ** 31));
  const reactions = Array.from({ length: CLIENTS }, () => drawReactions(random.fork()));
  return { seed, phases, reactions, providerSeeds };
}

/** A line for each fault, and what the clients do, counted by kind. */
export function describe({ phases }: Schedule): string[] {
  return phases.flatMap(({ ops, faults }, phase) => {
    const kinds = new Map<string, number>();
    for (const { kind } of ops.flat()) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    const asked = [...kinds].map(([kind, times]) => `${times} ${kind}`).join(", ");
    return [
      `phase ${phase}: ${asked}`,
      ...faults.map(({ kind, after, ...rest }) => {
        const more = Object.keys(rest).length === 0 ? "" : ` ${JSON.stringify(rest)}`;
        return `phase ${phase}: after ${after.times} ${after.what}: ${kind}${more}`;
      }),
    ];
  });
}

function drawMoment(random: Random): Moment {
  const [what, most] = random.pick(MOMENTS);
  return { what, times: 1 + random.int(most) };
}

function drawFault(random: Random, kills: boolean): Fault {
  const after = drawMoment(random);
  const kind = random.pick([
    "kill",
    "kill",
    "stop",
    "freeze",
    "full",
    "failing",
    "kill-provider",
    "freeze-provider",
  ] as const);
  const provider = random.int(PROVIDERS);
  const ms = 50 + random.int(500);
  // Longer than a provider has to accept a call.
  const long = random.chance(0.1);
  if (kills) return { kind: "kill", after };
  if (kind === "kill" || kind === "stop") return { kind, after };
  if (kind === "kill-provider") return { kind, after, provider, ms };
  if (kind === "freeze-provider") return { kind, after, provider, ms: long ? 5_500 : ms };
  return { kind, after, ms };
}

function drawLinkFault(random: Random): Fault {
  const after = drawMoment(random);
  const share = random.pick([0.1, 0.3, 1]);
  const links = Array.from({ length: CLIENTS + PROVIDERS }, (_, link) => link).filter(() =>
    random.chance(share),
  );
  return { kind: random.pick(LINK_FAULTS), after, links, ms: 50 + random.int(500) };
}

function drawReactions(random: Random): Reaction[] {
  return Array.from({ length: 12 }, () => ({
    kind: random.pick([
      "approve",
      "approve",
      "edit",
      "deny",
      "twice",
      "twice",
      "both",
      "late",
      "at-expiry",
      "none",
    ] as const),
    ms: random.pick([0, 0, 0, 50, 150]),
  }));
}

function drawOps(random: Random, phase: number, client: number): Op[] {
  return Array.from({ length: 1 + random.int(2) }, (_, at) => drawOp(random, `${client}.${phase}.${at}`));
}

function drawOp(random: Random, mark: string): Op {
  const pick = random.int(1000);
  const roll = random.int(100);
  if (roll < 40) {
    const mode = random.pick(["queue", "queue", "queue", "steer", "steer", "interrupt", "reject"] as const);
    return { kind: "send", mode, content: drawContent(random, mark) };
  }
  if (roll < 52) {
    const contents = Array.from({ length: 2 + random.int(2) }, (_, at) =>
      drawContent(random, `${mark}.${at}`),
    );
    return { kind: "burst", contents };
  }
  if (roll < 60) return { kind: "edit", pick, content: drawContent(random, `${mark} edited`) };
  if (roll < 65) return { kind: "withdraw", pick };
  if (roll < 73) return { kind: "cancel" };
  if (roll < 78) return { kind: "update", title: mark };
  if (roll < 83) return { kind: "compact" };
  if (roll < 87) return { kind: "fork", pick };
  if (roll < 92) return { kind: "retry" };
  if (roll < 97) return { kind: "repeat", pick };
  return { kind: "history" };
}

/** A script for the scripted model, or plain words that it quotes. */
function drawContent(random: Random, mark: string): string {
  const text = (): object => ({
    text: `${mark} ${"said ".repeat(random.int(15))}`,
    rate: random.pick([200, 1000]),
    chunk: 8,
  });
  const calls = (): object => ({
    calls: Array.from({ length: 1 + random.int(2) }, () => {
      const tool = random.pick(["pure_echo", "idem_put", "idem_put", "once_count", PAY, "ask"]);
      if (tool === "ask") return { tool, input: QUESTIONS };
      const asked = tool === "idem_put" && random.chance(0.5) ? { asked: true } : {};
      return { tool, input: { mark, ms: random.pick([0, 0, 10, 40, 250]), ...asked } };
    }),
  });
  const kind = random.int(10);
  if (kind < 2) return mark;
  if (kind < 4) return script(text());
  if (kind < 6) return script(calls(), text());
  if (kind < 8) return script(text(), calls(), { stall: random.int(40) }, calls(), text());
  if (kind < 9) return script({ reasoning: `about ${mark}`, rate: 500 }, text(), calls());
  return script(text(), calls(), { error: SCRIPTED_ERROR });
}

/** What the tool `ask` is given. */
const QUESTIONS = {
  questions: [
    { id: "go", text: "Shall it go on?", kind: "choice", options: ["yes", "no"] },
    { id: "why", text: "Why?", kind: "text", required: false },
  ],
};

function script(...items: object[]): string {
  return JSON.stringify({ script: items });
}
