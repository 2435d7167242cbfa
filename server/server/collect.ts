/**
 * The metrics that are read off the parts at every scrape. Owns their names and words; what counts is the parts' own.
 */
import type { Metrics } from "../observe/metrics.ts";
import type { Runtime } from "../runtime.ts";
import type { Connections } from "../socket/connections.ts";

export function collect(metrics: Metrics, runtime: Runtime, { totals }: Connections): void {
  metrics.collect("gauge", "haulout_sessions_loaded", "Sessions in memory", () => runtime.registry.size);
  metrics.collect("gauge", "haulout_runs_open", "Runs that have a place", () => runtime.gate.open);
  metrics.collect(
    "gauge",
    "haulout_runs_waiting",
    "Inputs and runs that wait for one",
    () => runtime.gate.waiting,
  );
  metrics.collect(
    "gauge",
    "haulout_outbox_queued_bytes",
    "Bytes that wait for readers",
    () => totals.queuedBytes,
  );
  metrics.collect("counter", "haulout_outbox_writes_total", "Messages written", () => totals.writes);
  metrics.collect("counter", "haulout_outbox_frames_total", "Frames written", () => totals.frames);
  metrics.collect("counter", "haulout_outbox_bytes_total", "Bytes written", () => totals.bytes);
  const { router, feeds } = runtime;
  metrics.collect(
    "counter",
    "haulout_text_pieces_total",
    "Pieces of text that models streamed to readers",
    () => feeds.pieces,
  );
  metrics.collect(
    "counter",
    "haulout_deltas_total",
    "Frames that carried them, encoded once each",
    () => feeds.deltas,
  );
  metrics.collect(
    "counter",
    "haulout_readers_lagged_total",
    "Times a reader left the live set to catch up from the log",
    () => feeds.lagged,
  );
  metrics.collect("counter", "haulout_attaches_total", "Attaches, by how they were answered", () => [
    ['mode="events"', feeds.replays],
    ['mode="snapshot"', feeds.snapshots],
  ]);
  metrics.collect(
    "gauge",
    "haulout_tool_providers",
    "Connections that offer tools",
    () => router.totals.providers,
  );
  metrics.collect(
    "gauge",
    "haulout_tool_calls_in_flight",
    "Tool calls at a provider",
    () => router.totals.inFlight,
  );
  metrics.collect(
    "gauge",
    "haulout_tool_calls_waiting",
    "Tool calls that wait for a provider",
    () => router.totals.waiting,
  );
  metrics.collect(
    "gauge",
    "haulout_commits_waiting",
    "Appends that wait for the store",
    () => runtime.commits.counters.queued,
  );
}
