/**
 * `haulout watch`: the entries of a session, or of all that run, as readable lines. Owns the form of a line; it sends
 * nothing but what watching needs.
 */
import type { SessionInfo } from "../../protocol/content.ts";
import type { EventFrame } from "../../protocol/entries.ts";
import type { ProtocolError } from "../../protocol/errors.ts";
import type { Client } from "../client.ts";
import type { SessionHandle } from "../session.ts";
import type { Watching } from "../watching.ts";
import { textOf } from "./conversation.ts";
import { COMMON_HELP, connectAs, firstOnline, parse, reportConnection } from "./options.ts";
import type { CommonOptions } from "./options.ts";
import { plainOutput } from "./output.ts";
import { untilSignal } from "./signal.ts";
import { brief, duration, nameOf, oneLine } from "./text.ts";

const HELP = `usage: haulout watch [SESSION] [options]

With a session: prints its entries, from the first one on, as they are in its log.
Without: lists the sessions that you may see and prints what happens in them from now on, in new ones too (in the 50
last used).

  --new          with a session: only what happens from now on
${COMMON_HELP}
`;

const MOST = 50;

export async function watch(args: string[]): Promise<number> {
  const { common, positionals, values } = parse(args, { new: { type: "boolean" } } as const, 1);
  if (common.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const client = connectAs(common);
  if (!common.json) reportConnection(client, plainOutput(process.stdout, process.stderr));
  let over = false;
  const closed = new Promise<number>((resolve) => {
    client.on("status", ({ state, reason }) => {
      if (state !== "closed" || over) return;
      process.stderr.write(`closed: ${oneLine(reason ?? "")}\n`);
      resolve(1);
    });
  });
  try {
    await firstOnline(client, common);
    const [session] = positionals;
    const watching =
      session === undefined
        ? new All(client, common).ended
        : watchOne(client, common, session, values["new"] === true);
    return await Promise.race([untilSignal(), closed, watching]);
  } finally {
    over = true;
    client.close();
  }
}

/** Resolves with an exit code when nothing more can come. */
async function watchOne(
  client: Client,
  common: CommonOptions,
  id: string,
  onlyNew: boolean,
): Promise<number> {
  const handle = await client.attach(id, onlyNew ? { tail: 0 } : { after: { epoch: 0, seq: 0 } });
  if (!common.json) handle.on("entry", (entry) => void process.stdout.write(`${lineOf(entry)}\n`));
  const error = await new Promise<ProtocolError>((resolve) => handle.on("detached", resolve));
  throw error;
}

/** The sessions of the feed: those used last are attached, those that begin are shown from their first entry. */
class All {
  /** Rejects when the server refuses the feed. */
  readonly ended: Promise<never>;
  readonly #client: Client;
  readonly #common: CommonOptions;
  readonly #watching: Watching;
  /** Attached or about to be, the last used last. */
  readonly #shown = new Map<string, SessionHandle | undefined>();
  /** A session that was made since, and was not listed, is new. */
  #listedUpTo: number | undefined;

  constructor(client: Client, common: CommonOptions) {
    this.#client = client;
    this.#common = common;
    this.#watching = client.watch({ sessions: {}, maxListed: MOST });
    this.#watching.on("listed", () => this.#listed());
    this.#watching.on("session", (id, info) => {
      if (this.#listedUpTo === undefined) return;
      if (info === undefined) this.#hide(id);
      else this.#show(info);
    });
    this.ended = new Promise((_, reject) => this.#watching.on("ended", reject));
  }

  #listed(): void {
    const { sessions } = this.#watching;
    const items = [...sessions.values()].sort((a, b) => a.updatedAt - b.updatedAt).slice(-MOST);
    const first = this.#listedUpTo === undefined;
    if (first) {
      if (!this.#common.json) introduce(items.toReversed());
      this.#listedUpTo = Math.max(0, ...items.map(({ updatedAt }) => updatedAt));
    }
    for (const id of this.#shown.keys()) if (!sessions.has(id)) this.#hide(id);
    for (const item of items) this.#show(item, first);
  }

  #show(info: SessionInfo, listed = false): void {
    const { id } = info;
    const handle = this.#shown.get(id);
    const known = this.#shown.delete(id);
    this.#shown.set(id, handle);
    if (!known) void this.#attach(id, !listed && info.createdAt >= this.#listedUpTo!);
    for (const [oldest] of this.#shown) {
      if (this.#shown.size <= MOST) return;
      this.#hide(oldest);
    }
  }

  #hide(id: string): void {
    this.#shown.get(id)?.detach();
    this.#shown.delete(id);
  }

  async #attach(id: string, isNew: boolean): Promise<void> {
    const from = isNew ? { after: { epoch: 0, seq: 0 } } : { tail: 0 };
    const handle = await this.#client.attach(id, from).catch(() => undefined);
    // Gone meanwhile, or not to be read: the feed has said so, or will.
    if (handle === undefined) return void this.#shown.delete(id);
    if (!this.#shown.has(id)) return handle.detach();
    if (this.#shown.get(id) !== undefined) return;
    this.#shown.set(id, handle);
    if (this.#common.json) return;
    handle.on("entry", (entry) => void process.stdout.write(`${oneLine(id, 64)} ${lineOf(entry)}\n`));
  }
}

function introduce(items: readonly SessionInfo[]): void {
  const running = items.filter((item) => item.state === "running" || item.state === "waiting");
  const which = items.length < MOST ? `${items.length} sessions` : `the ${MOST} sessions last used`;
  process.stdout.write(`watching ${which}, ${running.length} running\n`);
  for (const item of running) {
    process.stdout.write(`  ${oneLine(item.id, 64)} ${nameOf(item.agent)} ${oneLine(item.title ?? "")}\n`);
  }
}

/** An entry on one line: its seq, time, type, who caused it, and what matters of its body. */
export function lineOf(entry: EventFrame): string {
  const time = new Date(entry.at).toISOString().slice(11, 19);
  const who = entry.actor === undefined ? "" : ` by ${nameOf(entry.actor.name)}`;
  const what = bodyOf(entry);
  return `${entry.seq} ${time} ${oneLine(entry.event.type, 40)}${who}${what === "" ? "" : `: ${what}`}`;
}

function bodyOf({ event }: EventFrame): string {
  switch (event.type) {
    case "session-created": {
      const task = event.parent === undefined ? "" : `, a task of ${oneLine(event.parent.session, 64)}`;
      return `agent ${nameOf(event.agent)}${task}${event.title === undefined ? "" : `, "${oneLine(event.title)}"`}`;
    }
    case "input-queued":
      return `${event.mode} "${oneLine(textOf(event.content))}"`;
    case "run-started":
      return `${oneLine(event.run, 64)}, agent ${nameOf(event.agent)}, model ${oneLine(event.model)}, ${event.tools.length} tools`;
    case "message": {
      const calls = event.message.parts.flatMap((part) =>
        part.type === "dynamic-tool" ? [`${nameOf(part.toolName)}(${brief(part.input)})`] : [],
      );
      const text = oneLine(textOf(event.message.parts));
      const shown = [...(text === "" ? [] : [`"${text}"`]), ...calls].join(" ");
      return `${event.message.role} ${shown}${event.incomplete ? " [incomplete]" : ""}`;
    }
    case "message-abandoned":
      return `${oneLine(event.cause)} "${oneLine(event.text)}"`;
    case "tool-result": {
      const why =
        event.error === undefined
          ? brief(event.output)
          : oneLine(`${event.error.code}: ${event.error.message}`);
      return `${oneLine(event.call, 64)} ${event.outcome} in ${duration(event.durationMs)} ${why}`.trimEnd();
    }
    case "request-opened": {
      const left = brief(event.subject, 100);
      return `${oneLine(event.request, 64)} ${event.kind} until ${new Date(event.expiresAt).toISOString()} ${left}`.trimEnd();
    }
    case "request-resolved": {
      const names = event.by?.map(({ name }) => nameOf(name)).join(", ") ?? "";
      const why = event.reason === undefined ? "" : ` "${oneLine(event.reason)}"`;
      return `${oneLine(event.request, 64)} ${event.decision}${names === "" ? "" : ` by ${names}`}${why}`;
    }
    case "run-finished": {
      const why =
        event.error === undefined ? "" : ` (${oneLine(`${event.error.code}: ${event.error.message}`)})`;
      return `${oneLine(event.run, 64)} ${event.reason}${why}, ${event.steps} steps, ${event.usage.outputTokens} tokens`;
    }
    default: {
      const { type: _, ...rest } = event;
      return Object.keys(rest).length === 0 ? "" : oneLine(JSON.stringify(rest));
    }
  }
}
