/**
 * presence: 1000 watchers of one session join, twenty of them type, half of them leave. Measured from the last of them being
 * answered until every watcher that is there has been told how it stands now; beside what is promised, 2 s. Also the CPU
 * that the server takes for it. A watcher that is never told fails the bench.
 */
import { samplesOf } from "./bench.ts";
import type { Bench, BenchOptions, Row } from "./bench.ts";
import { Link, type Frame } from "./link.ts";
import { cpuMs, startHaulout } from "./processes.ts";
import { table } from "./report.ts";
import { median, ratioOf } from "./stats.ts";

const PROMISED_MS = 2000;
const LIMIT_MS = 60_000;
const TYPING = 20;
/** Connecting at once, so that what is measured is not the accept queue. */
const BATCH = 50;

interface Phase {
  readonly ms: number;
  readonly cpuMs: number;
}
type Sample = Readonly<Record<"join" | "type" | "leave", Phase>>;

export const presence: Bench = {
  name: "presence",
  about: "watchers of one session join, type and leave: until all have been told",
  async run(options) {
    const watchers = options.size === "quick" ? 110 : 1000;
    const count = Math.max(1, samplesOf(options, { quick: 1, normal: 5, full: 10 }));
    const samples: Sample[] = [];
    for (let at = 0; at < count; at++) samples.push(await watched(watchers));
    return report(samples, watchers, options);
  },
};

/** A connection with what it was told last. */
interface Watcher {
  readonly link: Link;
  told: Frame;
}

/**
 * Rejects when a watcher was not told how it stands: who is here after the joins and the leaves, who types in between.
 * `check` sees what each that is there was told last, when a phase is over.
 */
export async function watched(
  count: number,
  check: (phase: keyof Sample, told: readonly Frame[]) => void = () => undefined,
): Promise<Sample> {
  const server = await startHaulout("memory");
  const watchers: Watcher[] = [];
  let look = (): void => undefined;
  const open = async (user: string): Promise<Watcher> => {
    const watcher: Watcher = { link: await Link.open(server.url, { user: { id: user } }), told: {} };
    watcher.link.onFrame = (frame) => {
      if (frame["type"] !== "presence") return;
      watcher.told = frame;
      look();
    };
    return watcher;
  };
  /** Does something, and measures until every watcher has been told what holds then. */
  const phase = async (
    name: keyof Sample,
    act: () => Promise<unknown>,
    holds: (told: Frame) => boolean,
  ): Promise<Phase> => {
    const cpu = cpuMs(server.pid);
    await act();
    const began = performance.now();
    await new Promise<void>((resolve, reject) => {
      const limit = setTimeout(() => reject(new Error("a watcher was not told")), LIMIT_MS);
      look = () => {
        if (!watchers.every(({ told }) => holds(told))) return;
        clearTimeout(limit);
        resolve();
      };
      look();
    });
    const measured = { ms: performance.now() - began, cpuMs: cpuMs(server.pid) - cpu };
    check(
      name,
      watchers.map(({ told }) => told),
    );
    return measured;
  };
  try {
    while (watchers.length < count) {
      const names = Array.from(
        { length: Math.min(BATCH, count - watchers.length) },
        (_, at) => at + watchers.length,
      );
      watchers.push(...(await Promise.all(names.map((at) => open(`user${at}`)))));
    }
    const { session } = await watchers[0]!.link.request({ type: "createSession", agent: "demo" });
    const all = (frame: Frame): Promise<unknown> =>
      Promise.all(watchers.map(({ link }) => link.request({ ...frame, session })));
    const typists = ({ users }: Frame): number =>
      (users as Frame[] | undefined)?.filter(({ typing }) => typing).length ?? 0;
    const join = await phase(
      "join",
      () => all({ type: "attach" }),
      ({ people }) => people === count,
    );
    const type = await phase(
      "type",
      () =>
        Promise.all(
          watchers
            .slice(-TYPING)
            .map(({ link }) => link.request({ type: "setPresence", session, typing: true })),
        ),
      (told) => typists(told) === TYPING,
    );
    const stay = Math.ceil(count / 2) + 1;
    const leave = await phase(
      "leave",
      async () => {
        for (const { link } of watchers.splice(stay)) link.close();
        // The last to leave: a round trip of who stays comes after it.
        await watchers[0]!.link.request({ type: "listAgents" });
      },
      (told) => (told["people"] ?? told["users"]?.length) === stay && typists(told) === 0,
    );
    return { join, type, leave };
  } finally {
    for (const { link } of watchers) link.close();
    await server.kill();
  }
}

function report(samples: readonly Sample[], watchers: number, { say }: BenchOptions): Row[] {
  const phases = ["join", "type", "leave"] as const;
  const figure = (name: (typeof phases)[number], of: keyof Phase): string =>
    median(samples.map((sample) => sample[name][of])).toFixed(0);
  say(
    table(
      [`${watchers} watchers`, "samples", "told, p50 ms", "longest", "server CPU, p50 ms"],
      phases.map((name) => [
        name,
        String(samples.length),
        figure(name, "ms"),
        Math.max(...samples.map((sample) => sample[name].ms)).toFixed(0),
        figure(name, "cpuMs"),
      ]),
    ),
  );
  return phases.map((name) => ({
    name: `presence, ${watchers} watchers, all told of ${name} / 2 s`,
    ...ratioOf(
      samples.map((sample) => ({ ours: [sample[name].ms], theirs: [PROMISED_MS] })),
      median,
    ),
    goal: 1,
    better: "lower",
  }));
}
