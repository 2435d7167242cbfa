/**
 * page: the page in a real Chromium, beside what is promised. How soon a session of 10 000 messages is painted (1 s), how even
 * frames are while it is scrolled, and the tasks of the page's main thread while 300 deltas a second come, each a frame of
 * its own (100 ms). A task is given twice, as it took and as what it computed: on a machine that others use it may be waiting
 * for a core, and only the second is the page's doing. The rows are of the samples from which the machine's host took next to
 * nothing, as long as there are any.
 */
import { connect } from "../../client/index.ts";
import type { Client } from "../../client/index.ts";
import { TestServer } from "../support/server.ts";
import { stolenShare } from "../support/stolen.ts";
import { findTool } from "../support/tools.ts";
import { importMessages } from "../ui/support/long-session.ts";
import { TestBrowser, type Page } from "../ui/support/browser.ts";
import { samplesOf } from "./bench.ts";
import type { Bench, BenchOptions, Row } from "./bench.ts";
import { table } from "./report.ts";
import { median, quantile, ratioOf } from "./stats.ts";

const MESSAGES = 10_000;
const PAINT_MS = 1000;
const TASK_MS = 100;
const CHUNK = 6;
const RATE = 310;
const SCROLLS = 120;
const LIMIT_MS = 300_000;
/** Of the processors' time, what the host may take from a sample that counts. */
const CALM_SHARE = 0.03;

interface Task {
  readonly ms: number;
  readonly cpuMs: number;
}
interface Sample {
  readonly paintMs: number;
  /** Between frames while the wheel turns. */
  readonly frameMs: readonly number[];
  readonly tasks: readonly Task[];
  readonly deltasPerSecond: number;
  readonly cpuShare: number;
  /** Of the machine's processors, what its host took while this was painted, and while text came. */
  readonly stolen: { readonly paint: number; readonly stream: number };
}

export const page: Bench = {
  name: "page",
  about: "the page in Chromium: 10 000 messages painted and scrolled, 300 deltas/s",
  async run(options) {
    if (findTool("chromium") === undefined) throw new Error("needs Chromium: apt-get install chromium");
    const seconds = options.size === "quick" ? 3 : 10;
    const count = samplesOf(options, { quick: 1, normal: 6, full: 12 });
    const samples: Sample[] = [];
    // Text is merged for 50 ms unless told: here the page gets every delta as a frame.
    const server = await TestServer.start({ store: "memory", config: { limits: { coalesceMs: 0 } } });
    const browser = await TestBrowser.launch();
    const client = connect({ url: server.url });
    try {
      await importMessages(client, "ses_long", MESSAGES);
      for (let at = 0; at < count; at++) samples.push(await visit(server, browser, client, seconds));
    } finally {
      client.close();
      await browser.close();
      await server.kill();
    }
    return report(samples, options);
  },
};

async function visit(
  server: TestServer,
  browser: TestBrowser,
  client: Client,
  seconds: number,
): Promise<Sample> {
  const { page: tab, context } = await browser.open(server.http);
  await tab.getByRole("heading", { name: "What shall we do?" }).waitFor();
  const stolenFromPaint = stolenShare();
  const paintMs = await painted(tab);
  const paint = stolenFromPaint();
  const frameMs = await scrolled(tab);
  const { session } = await client.createSession({ agent: "demo", title: "Fast" });
  await tab.goto(`${server.http}/#/s/${session}`);
  await tab.getByText("Nothing was said yet").waitFor();
  const stolenFromStream = stolenShare();
  const stream = await streamed(tab, client, session, seconds);
  await context.close();
  return { paintMs, frameMs, ...stream, stolen: { paint, stream: stolenFromStream() } };
}

/** From following the link until its last message is on the screen. */
function painted(tab: Page): Promise<number> {
  return tab.evaluate(
    async (last) => {
      const frame = (): Promise<unknown> => new Promise((resolve) => requestAnimationFrame(resolve));
      const began = performance.now();
      location.hash = "#/s/ses_long";
      while (document.querySelector(`[data-row="${last}"]`) === null) await frame();
      await frame();
      return performance.now() - began;
    },
    `msg_${MESSAGES - 1}`,
  );
}

async function scrolled(tab: Page): Promise<number[]> {
  await tab.mouse.move(700, 400);
  await tab.evaluate(() => {
    const seen = { over: false, frames: [] as number[] };
    (window as unknown as { seen: typeof seen }).seen = seen;
    let before = performance.now();
    const look = (now: number): void => {
      seen.frames.push(now - before);
      before = now;
      if (!seen.over) requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  });
  for (let at = 0; at < SCROLLS; at++) await tab.mouse.wheel(0, at < SCROLLS * 0.8 ? -400 : 400);
  return tab.evaluate(() => {
    const { seen } = window as unknown as { seen: { over: boolean; frames: number[] } };
    seen.over = true;
    return seen.frames;
  });
}

const section = (n: number): string =>
  `## Part ${n}\n\nSome **bold** words and \`code\`, a [link](https://example.com/${n}).\n\n- one\n- two\n\n` +
  `\`\`\`ts\nconst part${n} = ${n}; // a comment\nconsole.log(part${n}, "words");\n\`\`\`\n`;

async function streamed(
  tab: Page,
  client: Client,
  session: string,
  seconds: number,
): Promise<Pick<Sample, "tasks" | "deltasPerSecond" | "cpuShare">> {
  let text = "";
  for (let n = 0; text.length < seconds * 300 * CHUNK; n++) text += `${section(n)}\n`;
  const handle = await client.attach(session);
  let deltas = 0;
  const stop = client.on("frame", ({ type }) => void (deltas += Number(type === "delta")));
  const browser = tab.context().browser()!;
  await browser.startTracing(tab, { categories: ["toplevel"] });
  const began = performance.now();
  await handle.ask(JSON.stringify({ script: [{ text, rate: RATE, chunk: CHUNK }] }), {
    timeoutMs: LIMIT_MS,
  });
  const ms = performance.now() - began;
  // Where others keep the cores busy, a page is behind its server for a while.
  await tab.locator(".working").waitFor({ state: "detached", timeout: LIMIT_MS });
  const tasks = tasksOf(await browser.stopTracing(), tab.url());
  stop();
  handle.detach();
  const cpuMs = tasks.reduce((sum, task) => sum + task.cpuMs, 0);
  return { tasks, deltasPerSecond: (deltas / ms) * 1000, cpuShare: cpuMs / ms };
}

interface TraceEvent {
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  /** Microseconds, and those in which its thread ran. */
  readonly dur?: number;
  readonly tdur?: number;
  readonly args?: { readonly name?: string };
}

/** What the busiest main thread of a page did; the others are of pages that show nothing. */
function tasksOf(trace: Buffer, url: string): Task[] {
  const { traceEvents } = JSON.parse(trace.toString()) as { traceEvents: readonly TraceEvent[] };
  const threads = new Map<string, Task[]>();
  for (const { name, pid, tid, args } of traceEvents)
    if (name === "thread_name" && args?.name === "CrRendererMain") threads.set(`${pid} ${tid}`, []);
  for (const { name, pid, tid, dur, tdur } of traceEvents) {
    if (name !== "ThreadControllerImpl::RunTask" || dur === undefined || tdur === undefined) continue;
    threads.get(`${pid} ${tid}`)?.push({ ms: dur / 1000, cpuMs: tdur / 1000 });
  }
  const busy = [...threads.values()].toSorted((a, b) => b.length - a.length)[0] ?? [];
  if (busy.length === 0) throw new Error(`the trace has no task of ${url}`);
  return busy;
}

function report(samples: readonly Sample[], { say }: BenchOptions): Row[] {
  const longest = (of: keyof Task): number[] =>
    samples.map(({ tasks }) => tasks.reduce((most, task) => Math.max(most, task[of]), 0));
  const frames = samples.map(({ frameMs }) => frameMs);
  const over = (of: keyof Task): number[] =>
    samples.map(({ tasks }) => tasks.filter((task) => task[of] > TASK_MS).length);
  const figures: [string, readonly number[]][] = [
    [`${MESSAGES} messages painted, ms`, samples.map(({ paintMs }) => paintMs)],
    ["scrolling: between frames, p50 ms", frames.map((each) => median(each))],
    ["scrolling: between frames, p95 ms", frames.map((each) => quantile(each, 0.95))],
    ["deltas a second", samples.map(({ deltasPerSecond }) => deltasPerSecond)],
    ["share of a core for them", samples.map(({ cpuShare }) => cpuShare)],
    [`tasks over ${TASK_MS} ms, as they took`, over("ms")],
    [`tasks over ${TASK_MS} ms of computing`, over("cpuMs")],
    ["the longest task as it took, ms", longest("ms")],
    ["the longest task's computing, ms", longest("cpuMs")],
    ["taken by the host while painting, %", samples.map(({ stolen }) => 100 * stolen.paint)],
    ["taken by the host meanwhile, %", samples.map(({ stolen }) => 100 * stolen.stream)],
  ];
  const digits = (value: number): string => (value < 10 ? value.toFixed(2) : value.toFixed(0));
  say(
    table(
      ["the page", "samples", "median", "worst"],
      figures.map(([name, values]) => [
        name,
        String(values.length),
        digits(median(values)),
        digits(name.startsWith("deltas") ? Math.min(...values) : Math.max(...values)),
      ]),
    ),
  );
  const row = (name: string, of: keyof Sample["stolen"], values: readonly number[], goal: number): Row => {
    const calm = values.filter((_, at) => samples[at]!.stolen[of] <= CALM_SHARE);
    say(`${name}: ${calm.length} of ${values.length} samples are calm`);
    const groups = (calm.length > 0 ? calm : values).map((value) => ({ ours: [value], theirs: [goal] }));
    return { name, goal: 1, better: "lower", ...ratioOf(groups, median) };
  };
  return [
    row("page, 10 000 messages painted / 1 s", "paint", figures[0]![1], PAINT_MS),
    row("page, the longest task at 300 deltas/s / 100 ms", "stream", longest("ms"), TASK_MS),
    row("page, the longest task's computing / 100 ms", "stream", longest("cpuMs"), TASK_MS),
  ];
}
