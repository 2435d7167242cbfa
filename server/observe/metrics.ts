/**
 * Numbers about the process, in the text form of Prometheus. Owns the kinds of metric, the names of all of them and the
 * bound on how many series one may have; never decides when something happened.
 */
import { monitorEventLoopDelay, type IntervalHistogram } from "node:perf_hooks";

/** Label values, one for each name in `L`. */
type Values<L extends readonly string[]> = { readonly [K in keyof L]: string };

interface Metric {
  text(): string;
}

/** A metric with labels keeps at most this many series; what comes later is counted under `other`. */
const MAX_SERIES = 500;

abstract class Labelled<L extends readonly string[], T> implements Metric {
  readonly name: string;
  readonly #head: string;
  readonly #labels: L;
  readonly #overflow: string;
  readonly #series = new Map<string, T>();

  constructor(kind: string, name: string, help: string, labels: L) {
    this.name = name;
    this.#head = `# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n`;
    this.#labels = labels;
    this.#overflow = labels.map(() => "other").join("\u0000");
  }

  protected abstract fresh(): T;
  protected abstract lines(series: T, labels: string): string;

  protected series(values: Values<L>): T {
    const key = values.join("\u0000");
    const found = this.#series.get(key);
    if (found !== undefined) return found;
    if (this.#series.size < MAX_SERIES || key === this.#overflow) {
      const series = this.fresh();
      this.#series.set(key, series);
      return series;
    }
    return this.series(this.#labels.map(() => "other") as unknown as Values<L>);
  }

  text(): string {
    if (this.#labels.length === 0) this.series([] as unknown as Values<L>);
    let text = this.#head;
    for (const [key, series] of this.#series) {
      const values = key.split("\u0000");
      text += this.lines(
        series,
        this.#labels.map((label, at) => `${label}="${escape(values[at]!)}"`).join(","),
      );
    }
    return text;
  }
}

export class Counter<L extends readonly string[] = []> extends Labelled<L, { value: number }> {
  constructor(name: string, help: string, labels: L) {
    super("counter", name, help, labels);
  }

  add(amount: number, ...labels: Values<L>): void {
    this.series(labels).value += amount;
  }

  protected fresh(): { value: number } {
    return { value: 0 };
  }

  protected lines(series: { value: number }, labels: string): string {
    return line(this.name, labels, series.value);
  }
}

export class Gauge<L extends readonly string[] = []> extends Labelled<L, { value: number }> {
  constructor(name: string, help: string, labels: L) {
    super("gauge", name, help, labels);
  }

  add(amount: number, ...labels: Values<L>): void {
    this.series(labels).value += amount;
  }

  set(value: number, ...labels: Values<L>): void {
    this.series(labels).value = value;
  }

  protected fresh(): { value: number } {
    return { value: 0 };
  }

  protected lines(series: { value: number }, labels: string): string {
    return line(this.name, labels, series.value);
  }
}

interface Buckets {
  readonly counts: number[];
  sum: number;
  count: number;
}

export class Histogram<L extends readonly string[] = []> extends Labelled<L, Buckets> {
  readonly #bounds: readonly number[];

  /** `bounds`: the upper bound of each bucket, ascending; one without bound is added. */
  constructor(name: string, help: string, labels: L, bounds: readonly number[]) {
    super("histogram", name, help, labels);
    this.#bounds = bounds;
  }

  observe(value: number, ...labels: Values<L>): void {
    const series = this.series(labels);
    const at = this.#bounds.findIndex((bound) => value <= bound);
    if (at >= 0) series.counts[at]!++;
    series.sum += value;
    series.count++;
  }

  protected fresh(): Buckets {
    return { counts: this.#bounds.map(() => 0), sum: 0, count: 0 };
  }

  protected lines(series: Buckets, labels: string): string {
    const prefix = labels === "" ? "" : `${labels},`;
    let below = 0;
    let text = "";
    this.#bounds.forEach((bound, at) => {
      below += series.counts[at]!;
      text += line(`${this.name}_bucket`, `${prefix}le="${bound}"`, below);
    });
    text += line(`${this.name}_bucket`, `${prefix}le="+Inf"`, series.count);
    return (
      text + line(`${this.name}_sum`, labels, series.sum) + line(`${this.name}_count`, labels, series.count)
    );
  }
}

/** A metric whose value is asked for when it is read. */
class Collected implements Metric {
  readonly #text: () => string;

  constructor(
    kind: "gauge" | "counter",
    name: string,
    help: string,
    read: () => number | [string, number][],
  ) {
    this.#text = () => {
      const value = read();
      const lines =
        typeof value === "number" ? line(name, "", value) : value.map((item) => line(name, ...item)).join("");
      return `# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n${lines}`;
    };
  }

  text(): string {
    return this.#text();
  }
}

function line(name: string, labels: string, value: number): string {
  return `${name}${labels === "" ? "" : `{${labels}}`} ${value}\n`;
}

function escape(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
}

const LOOP_RESOLUTION_MS = 20;
const CALL_SECONDS = [0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800];
const COMMIT_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

/** All metrics of a server. One instance a server; parts that count get it handed in. */
export class Metrics {
  readonly connections = new Gauge("haulout_connections", "Open connections, by encoding", ["encoding"]);
  readonly accepted = new Counter(
    "haulout_connections_accepted_total",
    "Connections whose hello was accepted",
    [],
  );
  readonly refusedUpgrades = new Counter(
    "haulout_upgrades_refused_total",
    "Upgrades refused in HTTP, by reason",
    ["reason"],
  );
  readonly framesReceived = new Counter("haulout_frames_received_total", "Frames from clients, by type", [
    "type",
  ]);
  readonly errors = new Counter("haulout_errors_total", "Error replies, by code", ["code"]);
  readonly disconnects = new Counter("haulout_disconnects_total", "Ended connections, by close code", [
    "code",
  ]);
  readonly commits = new Counter("haulout_commits_total", "Commits of the store", []);
  readonly commitEntries = new Counter("haulout_commit_entries_total", "Entries committed", []);
  readonly commitBytes = new Counter("haulout_commit_bytes_total", "Bytes committed", []);
  readonly commitSeconds = new Histogram("haulout_commit_seconds", "Time of a commit", [], COMMIT_SECONDS);
  readonly runsStarted = new Counter("haulout_runs_started_total", "Runs started", []);
  readonly runsRecovered = new Counter(
    "haulout_runs_recovered_total",
    "Runs of a process that is gone which go on",
    [],
  );
  readonly runsFinished = new Counter("haulout_runs_finished_total", "Runs finished, by reason", ["reason"]);
  readonly tokens = new Counter("haulout_tokens_total", "Tokens that models counted, by direction", [
    "direction",
  ]);
  readonly toolLost = new Counter("haulout_tool_attempts_lost_total", "Attempts of calls lost, by cause", [
    "cause",
  ]);
  readonly toolSeconds = new Histogram(
    "haulout_tool_call_seconds",
    "From the commit of a dispatched call to its outcome, by tool",
    ["tool"],
    CALL_SECONDS,
  );
  readonly toolCalls = new Counter("haulout_tool_calls_total", "Tool calls ended, by tool and outcome", [
    "tool",
    "outcome",
  ]);

  readonly #collected: Metric[] = [];
  readonly #loop: IntervalHistogram = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });

  constructor(build: { readonly version: string }) {
    this.#loop.enable();
    const labels = `version="${escape(build.version)}",node="${escape(process.version)}"`;
    this.collect("gauge", "haulout_build_info", "What is running", () => [[labels, 1]]);
    this.collect(
      "gauge",
      "haulout_event_loop_delay_seconds",
      "Delay of the event loop since the last scrape",
      () => this.#loopDelay(),
    );
    this.collect("gauge", "process_resident_memory_bytes", "Resident memory", () =>
      process.memoryUsage.rss(),
    );
    this.collect("counter", "process_cpu_seconds_total", "Processor time, user and system", () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    });
    const startedAt = Date.now() / 1000 - process.uptime();
    this.collect("gauge", "process_start_time_seconds", "When the process started", () => startedAt);
  }

  /** Adds a metric that is read at every scrape: a number, or pairs of `name="value"` labels and a number. */
  collect(
    kind: "gauge" | "counter",
    name: string,
    help: string,
    read: () => number | [string, number][],
  ): void {
    this.#collected.push(new Collected(kind, name, help, read));
  }

  /** The whole in the text format 0.0.4. */
  text(): string {
    const own = Object.values(this).filter((value): value is Metric => value instanceof Labelled);
    return [...own, ...this.#collected].map((metric) => metric.text()).join("");
  }

  /** Stops measuring; the numbers stay. */
  close(): void {
    this.#loop.disable();
  }

  #loopDelay(): [string, number][] {
    // The histogram holds the distance between two ticks of its timer, not what it was late.
    const seconds = (ns: number): number => Math.max(0, ns / 1e9 - LOOP_RESOLUTION_MS / 1e3);
    const result: [string, number][] =
      this.#loop.count === 0
        ? []
        : [
            ['quantile="0.5"', seconds(this.#loop.percentile(50))],
            ['quantile="0.99"', seconds(this.#loop.percentile(99))],
            ['quantile="1"', seconds(this.#loop.max)],
          ];
    this.#loop.reset();
    return result;
  }
}
