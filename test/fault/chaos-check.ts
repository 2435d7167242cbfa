/**
 * What must hold after chaos: compares what clients were promised (acks, entries they saw, verdicts on results) with the
 * log as the server has it now, entry by entry. Owns the rules; never the load.
 */
import type { EventFrame } from "../../protocol/entries.ts";
import { transcodeToJson } from "../../protocol/codec.ts";
import { cut } from "../../protocol/state.ts";
import { isDeepStrictEqual } from "node:util";
import { Reader } from "../support/reader.ts";
import { Wire } from "../support/wire.ts";
import type { ChaosProvider } from "./chaos-provider.ts";
import type { Sender, Sent } from "./chaos-sender.ts";
import type { World } from "./chaos-world.ts";

export interface Checked {
  readonly entries: number;
  readonly acked: number;
  readonly runs: number;
  readonly reasons: Readonly<Record<string, number>>;
  readonly calls: number;
  readonly problems: string[];
}

export async function check(
  world: World,
  senders: readonly Sender[],
  provider: ChaosProvider,
): Promise<Checked> {
  const problems = [...provider.problems, ...senders.flatMap((sender) => sender.problems)];
  const reasons: Record<string, number> = {};
  const totals = { entries: 0, runs: 0, calls: 0 };
  const sent = senders.flatMap((sender) => sender.sent);
  const wire = await Wire.connect(world.server.url);
  for (const { id } of world.sessions) {
    const log = Reader.fromStart(id);
    await log.enter(wire);
    const say = (problem: string): void => void problems.push(`${id}: ${problem}`);
    for (const fault of log.faults) say(`the log itself: ${fault}`);
    const entries = log.entries.map(({ entry }) => entry);
    checkInputs(
      entries,
      sent.filter(({ session }) => session === id),
      say,
    );
    const runs = checkRuns(entries, say);
    for (const [, reason] of runs) reasons[reason] = (reasons[reason] ?? 0) + 1;
    checkCancels(entries, senders, id, say);
    totals.calls += checkCalls(entries, provider, id, say);
    totals.runs += runs.size;
    totals.entries += entries.length;
    for (const sender of senders)
      checkReader(
        sender.readers.find(({ session }) => session === id)!,
        log,
        say,
      );
    const snapshot = new Reader(id, { tail: 200 });
    await snapshot.enter(await Wire.connect(world.server.url));
    if (!isDeepStrictEqual(snapshot.state, cut(log.state!, 200)))
      say("the snapshot is not the fold of the log");
    const { run, queue } = log.state!;
    if (run !== undefined || queue.length > 0) say(`not at rest: ${run?.run}, ${queue.length} waiting`);
  }
  wire.cut();
  return { ...totals, reasons, acked: sent.length, problems };
}

/** Every acked send is there once, where the ack says; nothing else is. */
function checkInputs(
  entries: readonly EventFrame[],
  sent: readonly Sent[],
  say: (problem: string) => void,
): void {
  const found = new Map<string, EventFrame[]>();
  for (const entry of entries) {
    if (entry.event.type !== "input-queued") continue;
    const name = `${entry.actor?.id}/${entry.event.key}`;
    found.set(name, [...(found.get(name) ?? []), entry]);
  }
  for (const { user, key, content, ack } of sent) {
    const name = `${user}/${key}`;
    const queued = found.get(name) ?? [];
    found.delete(name);
    if (ack === undefined) say(`${name} was never acked`);
    if (queued.length !== 1) say(`${name} is ${queued.length} times in the log`);
    const [entry] = queued;
    if (entry?.event.type !== "input-queued" || ack === undefined) continue;
    if (entry.seq !== ack.seq || entry.event.input !== ack.input) say(`${name} is not where its ack says`);
    if (entry.event.content !== content) say(`${name} has another content`);
  }
  for (const name of found.keys()) say(`${name} was never sent`);
}

/** One run at a time, in the order of the inputs, each with one end. Answers the reasons by run. */
function checkRuns(entries: readonly EventFrame[], say: (problem: string) => void): Map<string, string> {
  const reasons = new Map<string, string>();
  const queued: string[] = [];
  const started: string[] = [];
  const consumed = new Map<string, number>();
  let open: string | undefined;
  for (const { event, run } of entries) {
    if (event.type === "input-queued") queued.push(event.input);
    if (event.type === "message" && event.message.role === "user")
      consumed.set(event.message.id, (consumed.get(event.message.id) ?? 0) + 1);
    if (event.type === "run-started") {
      if (open !== undefined) say(`${event.run} starts while ${open} is open`);
      open = event.run;
      started.push(event.input);
    } else if (run !== undefined && event.type !== "tool-audit" && run !== open) {
      say(`${event.type} of ${run}, which is not open`);
    }
    if (event.type === "run-finished") {
      if (reasons.has(event.run)) say(`${event.run} ends twice`);
      reasons.set(event.run, event.reason);
      open = undefined;
    }
  }
  if (!isDeepStrictEqual(started, queued)) say("inputs are not run once each, in their order");
  for (const input of queued)
    if (consumed.get(input) !== 1) say(`${input} joins the history ${consumed.get(input)} times`);
  const allowed = ["text", "interrupted", "cancelled"];
  for (const [run, reason] of reasons) if (!allowed.includes(reason)) say(`${run} ends ${reason}`);
  return reasons;
}

/** An acked cancel is in the log, and its run does not go on to another step. */
function checkCancels(
  entries: readonly EventFrame[],
  senders: readonly Sender[],
  session: string,
  say: (problem: string) => void,
): void {
  const acked = senders.flatMap(({ cancelled }) => cancelled).filter((cancel) => cancel.session === session);
  for (const { run } of acked) {
    const from = entries.findIndex(({ event }) => event.type === "cancel-requested" && event.run === run);
    if (from < 0) say(`the cancel of ${run} was acked and is not in the log`);
    const end = entries.find(({ event }) => event.type === "run-finished" && event.run === run)?.event;
    if (end?.type === "run-finished" && end.reason === "interrupted")
      say(`${run} was cancelled and ends interrupted`);
    const steps = entries
      .slice(from)
      .filter(({ event }) => event.type === "message" && event.message.run === run);
    if (steps.length > 1) say(`${run} goes on after its cancel`);
  }
}

/** Every call has one outcome; what a provider was told of its results is so. Answers the number of calls. */
function checkCalls(
  entries: readonly EventFrame[],
  provider: ChaosProvider,
  session: string,
  say: (problem: string) => void,
): number {
  const outcomes = new Map<string, { outcome: string; attempt: number; output: unknown }[]>();
  const dispatches = new Map<string, number>();
  for (const { event } of entries) {
    if (event.type === "message") {
      for (const part of event.message.parts)
        if (part.type === "dynamic-tool") outcomes.set(part.toolCallId, []);
    } else if (event.type === "tool-dispatched") {
      const name = `${session}/${event.call}`;
      if (event.effect === "once" && dispatches.has(name)) say(`${name} is dispatched again, and is once`);
      dispatches.set(name, event.attempt);
    } else if (event.type === "tool-result") {
      const { outcome, attempt = 0, output } = event;
      outcomes.get(event.call)?.push({ outcome, attempt, output });
    }
  }
  for (const [call, ended] of outcomes) if (ended.length !== 1) say(`${call} has ${ended.length} outcomes`);
  for (const [name, times] of provider.onceCalls)
    if (times > 1) say(`${name} came ${times} times, and is once`);
  for (const { reference, output, verdict } of provider.executions.values()) {
    if (reference["session"] !== session) continue;
    const [ended] = outcomes.get(reference["call"] as string) ?? [];
    const counted = ended?.outcome === "ok" && isDeepStrictEqual(ended.output, output);
    if (verdict === undefined) say(`no verdict on ${JSON.stringify(output)}`);
    if (verdict === "stored" && !counted) say(`${JSON.stringify(output)} was stored and does not count`);
    if (!dispatches.has(`${session}/${reference["call"]}`))
      say(`${JSON.stringify(output)} was sent before its dispatch`);
  }
  return outcomes.size;
}

/** What a client was shown stands in the log, byte for byte. */
function checkReader(reader: Reader, log: Reader, say: (problem: string) => void): void {
  for (const fault of reader.faults) say(`a reader: ${fault}`);
  for (const { entry, raw } of reader.entries) {
    const other = log.entries[entry.seq - 1]?.raw as Uint8Array | undefined;
    const same =
      other !== undefined &&
      (typeof raw === "string" ? raw === transcodeToJson(other) : Buffer.compare(raw, other) === 0);
    if (!same) say(`entry ${entry.seq} was shown and is now another or none`);
  }
}
