/**
 * The rules of tool calls after chaos: what providers wrote down in their journals against what the logs say. Owns that
 * comparison; attempts and outcomes within one log are ../server/agent/rules.ts.
 */
import { isDeepStrictEqual } from "node:util";
import type { EntryBodyOf } from "../../protocol/entries.ts";
import type { Reference } from "./chaos-journal.ts";
import type { Evidence } from "./chaos-oracle.ts";
import { TOOLS } from "./chaos-schedule.ts";

interface Logged {
  readonly attempts: Set<number>;
  result?: EntryBodyOf<"tool-result">;
}

export function judgeCalls({ logs, journals }: Evidence): string[] {
  const found: string[] = [];
  const calls = new Map<string, Logged>();
  for (const [session, { entries }] of logs) {
    for (const { event } of entries) {
      if (event.type === "tool-dispatched") {
        const call = calls.get(`${session}/${event.call}`) ?? { attempts: new Set<number>() };
        call.attempts.add(event.attempt);
        calls.set(`${session}/${event.call}`, call);
      } else if (event.type === "tool-result") {
        const call = calls.get(`${session}/${event.call}`);
        if (call !== undefined) call.result ??= event;
      }
    }
  }
  const begun = new Map<string, number>();
  const done = new Map<string, unknown>();
  for (const line of journals.flat()) {
    if (line.did === "problem") {
      found.push(line.problem);
      continue;
    }
    const name = `${line.reference.session}/${line.reference.call}`;
    const attempt = attemptOf(line.reference);
    const call = calls.get(name);
    if (line.did === "begun") {
      if (!call?.attempts.has(line.reference.attempt))
        found.push(`${attempt} was executed before its dispatch`);
      if (begun.has(attempt)) found.push(`${attempt} was executed twice`);
      begun.set(attempt, 1);
      begun.set(name, (begun.get(name) ?? 0) + 1);
      const effect = TOOLS[line.tool as keyof typeof TOOLS];
      if (effect === "once" && begun.get(name) !== 1) found.push(`${name} was executed again, and is once`);
    } else if (line.did === "done") {
      done.set(attempt, line.output);
    } else {
      const counts =
        call?.result?.outcome === "ok" && isDeepStrictEqual(call.result.output, done.get(attempt));
      if (line.verdict === "unknown") found.push(`${attempt} is unknown to the server`);
      if (line.verdict === "stored" && done.has(attempt) && !counts)
        found.push(`${attempt} was stored and does not count`);
      if (line.verdict === "stale" && done.has(attempt) && counts)
        found.push(`${attempt} was stale and counts`);
    }
  }
  for (const [name, { result, attempts }] of calls) {
    if (result?.outcome !== "ok") continue;
    const attempt = `${name}/${result.attempt}`;
    // A provider that has done a call before answers a further attempt with what it has.
    const outputs = [...attempts].map((number) => `${name}/${number}`).filter((one) => done.has(one));
    if (outputs.length === 0) found.push(`${attempt} is ok, and nobody executed it`);
    else if (!outputs.some((one) => isDeepStrictEqual(result.output, done.get(one))))
      found.push(`${attempt} has another output`);
  }
  return found;
}

function attemptOf({ session, call, attempt }: Reference): string {
  return `${session}/${call}/${attempt}`;
}
