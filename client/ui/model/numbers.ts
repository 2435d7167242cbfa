/**
 * The server's numbers over the last two minutes, read once a second while somebody looks: series for charts, and what
 * became of tool calls. Owns turning counters into rates and histograms into times; draws nothing.
 */
import { signal } from "@preact/signals";
import { ProtocolError, readMetrics } from "../../index.ts";
import type { Sample } from "../../index.ts";
import { ofTab } from "./keep.ts";

const EVERY_MS = 1000;
const KEPT = 120;

/** One reading against the one before. */
export interface Point {
  readonly at: number;
  readonly runs: number;
  readonly tokensPerSecond: number;
  readonly queuedBytes: number;
  readonly connections: number;
  readonly commitsPerSecond: number;
  /** Mean of the commits since the last reading, ms; undefined when there were none. */
  readonly commitMs: number | undefined;
}

export interface ToolNumbers {
  readonly outcomes: ReadonlyMap<string, number>;
  /** Calls by their time: up to `seconds`, the last bound being Infinity. */
  readonly times: readonly { readonly seconds: number; readonly calls: number }[];
}

export const points = signal<readonly Point[]>([]);
export const toolNumbers = signal<ReadonlyMap<string, ToolNumbers>>(new Map());
/** Why there are none; undefined while there are. */
export const whyNot = signal<string | undefined>(undefined);

/** Reads until the answer is called. */
export function readNumbers(): () => void {
  let isOver = false;
  let before: { readonly at: number; readonly samples: readonly Sample[] } | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const read = async (): Promise<void> => {
    try {
      const samples = await readMetrics(new URL("metrics", pageUrl()).href, ofTab.get<string>("token"));
      if (isOver) return;
      const at = Date.now();
      points.value = [...points.value, pointOf(samples, at, before)].slice(-KEPT);
      toolNumbers.value = toolsOf(samples);
      before = { at, samples };
      whyNot.value = undefined;
    } catch (error) {
      before = undefined;
      whyNot.value = error instanceof ProtocolError ? error.message : String(error);
    }
    if (!isOver) timer = setTimeout(() => void read(), EVERY_MS);
  };
  void read();
  return () => {
    isOver = true;
    clearTimeout(timer);
  };
}

const pageUrl = (): string => location.href.replace(/[#?].*$/, "");

function total(samples: readonly Sample[], name: string): number {
  return samples.reduce((sum, sample) => (sample.name === name ? sum + sample.value : sum), 0);
}

function pointOf(
  samples: readonly Sample[],
  at: number,
  before: { readonly at: number; readonly samples: readonly Sample[] } | undefined,
): Point {
  // A server that was started again counts from nothing.
  const since = (name: string): number =>
    before === undefined ? 0 : Math.max(0, total(samples, name) - total(before.samples, name));
  const seconds = before === undefined ? 1 : Math.max(0.001, (at - before.at) / 1000);
  const commits = since("haulout_commit_seconds_count");
  return {
    at,
    runs: total(samples, "haulout_runs_open"),
    tokensPerSecond: since("haulout_tokens_total") / seconds,
    queuedBytes: total(samples, "haulout_outbox_queued_bytes"),
    connections: total(samples, "haulout_connections"),
    commitsPerSecond: commits / seconds,
    commitMs: commits === 0 ? undefined : (since("haulout_commit_seconds_sum") / commits) * 1000,
  };
}

function toolsOf(samples: readonly Sample[]): Map<string, ToolNumbers> {
  const tools = new Map<
    string,
    { outcomes: Map<string, number>; times: { seconds: number; calls: number }[] }
  >();
  const of = (name = ""): { outcomes: Map<string, number>; times: { seconds: number; calls: number }[] } => {
    let found = tools.get(name);
    if (found === undefined) tools.set(name, (found = { outcomes: new Map(), times: [] }));
    return found;
  };
  for (const { name, labels, value } of samples) {
    if (name === "haulout_tool_calls_total") of(labels["tool"]).outcomes.set(labels["outcome"] ?? "", value);
    if (name !== "haulout_tool_call_seconds_bucket") continue;
    const { times } = of(labels["tool"]);
    const below = times.reduce((sum, { calls }) => sum + calls, 0);
    const seconds = labels["le"] === "+Inf" ? Infinity : Number(labels["le"]);
    times.push({ seconds, calls: value - below });
  }
  return tools;
}
