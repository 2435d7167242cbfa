/**
 * `haulout chat`: talk in a session with whoever else is there. Owns what the lines that are typed or piped do and when
 * the command is over; the conversation's form is conversation.ts, the terminal is screen.ts.
 */
import { createInterface } from "node:readline";
import type { SendMode } from "../../protocol/content.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { Client } from "../client.ts";
import type { SendOptions, SessionHandle } from "../session.ts";
import { Conversation } from "./conversation.ts";
import { floorText } from "./floor.ts";
import { CatchUp, OwnInputs } from "./follow.ts";
import {
  COMMON_HELP,
  connectAs,
  DEFAULT_URL,
  firstOnline,
  ownCommand,
  parse,
  reportConnection,
  UsageError,
} from "./options.ts";
import type { CommonOptions } from "./options.ts";
import { plainOutput } from "./output.ts";
import { Asked } from "./people.ts";
import { peopleIn, typists } from "./presence.ts";
import { Turns } from "./turns.ts";
import type { Output } from "./output.ts";
import { Screen } from "./screen.ts";
import { brief, nameOf, oneLine } from "./text.ts";

const HELP = `usage: haulout chat [SESSION] [options]

Talks in a session; without one, creates it and prints how others join. Each line is a message. Lines from a pipe are
sent in order; at its end the command waits for the last answer.

  --agent NAME   the agent of a new session (the server's first unless told)
  --title TEXT   the title of a new session
  --tail N       how many earlier messages to print (50)
${COMMON_HELP}

While chatting:
  /cancel        stop the answer that is being written
  /retry         ask again for the answer that failed or was stopped
  /compact       have the agent sum up what was said, and go on from that
  /fork          make a session of your own that begins with this one's messages
  y, n [why]     when a call waits for people: allow it, or do not; a allows the tool for the session, e {…} with this
                 input, where that is offered
  /decline [why] when a question waits: do not answer; else the next line is the answer, options by number
  /say text      a message, while a question waits
  /who           say who is here
  /steer, /interrupt, /rollback TEXT
                 a message that joins the answer that is being written, or ends it and goes first; with rollback the
                 agent does not read what it ended
  /ask AGENT TEXT
                 a message that another agent answers, as a guest here; /ask alone lists the agents
  /queue         list what waits, by number; then /edit N TEXT, /withdraw N, /first N
  /floor [MODE]  say who may send, or set it: open, queue (in turns), owner-only, hand; then /take, /pass [USER]
  /help          print these
  /quit          leave; the session and its answer go on
  //text         a message that begins with a slash
`;

const COMMANDS =
  "/cancel stops the answer, /retry asks for it again, /compact sums up what was said, /fork makes a session " +
  "that begins like this one, /ask AGENT TEXT has another agent answer, /who, /queue and /floor say how things stand, y or n answers what waits for people, /quit leaves, //text sends text that begins with a slash";
/** How long a piped message may wait for the server. */
const PIPED_SEND_MS = 120_000;

export async function chat(args: string[]): Promise<number> {
  const extra = { agent: { type: "string" }, title: { type: "string" }, tail: { type: "string" } } as const;
  const { common, positionals, text } = parse(args, extra, 1);
  if (common.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const tail = Number(text("tail") ?? 50);
  if (!Number.isInteger(tail) || tail < 0) throw new UsageError("--tail is a number from 0");
  const client = connectAs(common);
  try {
    await firstOnline(client, common);
    const [given] = positionals;
    const id = given ?? (await create(client, text("agent"), text("title")));
    // From the first entry on, so that everybody prints the same, whenever they came.
    const session = await client.attach(id, { after: { epoch: 0, seq: 0 } });
    const room = new Room(client, session, common, tail, given === undefined);
    return await room.over;
  } finally {
    client.close();
  }
}

async function create(client: Client, agent: string | undefined, title: string | undefined): Promise<string> {
  const name = agent ?? (await client.listAgents({ limit: 1 })).items[0]?.name;
  if (name === undefined) throw new Error("this server has no agent");
  const created = await client.createSession({ agent: name, ...(title === undefined ? {} : { title }) });
  return created.session;
}

class Room {
  /** The exit code, once the chat is over. */
  readonly over: Promise<number>;
  readonly #client: Client;
  readonly #session: SessionHandle;
  readonly #output: Output;
  readonly #conversation: Conversation;
  readonly #own = new OwnInputs();
  readonly #asked: Asked;
  readonly #turns: Turns;
  readonly #interactive: boolean;
  #leave!: (code: number) => void;
  #failed = false;
  #progress: { readonly call: string; readonly text: string } | undefined;
  #ended = false;
  /** Lines are handled one after the other: the order of what was typed is the order of what is sent. */
  #lines: Promise<void> = Promise.resolve();

  constructor(client: Client, session: SessionHandle, common: CommonOptions, tail: number, isNew: boolean) {
    this.#client = client;
    this.#session = session;
    const { stdin, stdout, stderr } = process;
    this.#interactive = !common.json && stdin.isTTY && stdout.isTTY && process.env["TERM"] !== "dumb";
    const leave = new Promise<number>((resolve) => (this.#leave = resolve));
    this.#output = this.#interactive
      ? new Screen(stdin, stdout, nameOf(client.user?.name ?? "you"), {
          line: (line) => this.#take(line),
          leave: () => this.#leave(0),
          typed: (isEmpty) => this.#session.setTyping(!isEmpty && !this.#readsOnly),
        })
      : plainOutput(stdout, stderr);
    this.over = leave.finally(() => this.#end());
    this.#conversation = new Conversation((text, style) => {
      if (!common.json) this.#output.write(text, style);
    });
    if (!common.json) {
      this.#head(common, isNew);
      reportConnection(client, this.#output);
    }
    const notice = (line: string): void => this.#output.notice(line);
    this.#asked = new Asked(session, notice);
    this.#turns = new Turns(session, () => client.user?.id, notice);
    this.#follow(tail);
    if (!this.#interactive) void this.#readAll();
  }

  #head(common: CommonOptions, isNew: boolean): void {
    const { info } = this.#session;
    const id = oneLine(this.#session.id, 64);
    const agent = info === undefined ? "" : ` with ${nameOf(info.agent)}`;
    this.#output.write(`# session ${id}${agent}\n`, "faint");
    if (!isNew) return;
    const url = common.url === DEFAULT_URL ? "" : ` --url ${oneLine(common.url, 300)}`;
    const command = ownCommand();
    this.#output.write(`# join from another terminal: ${command} chat ${id}${url} --as NAME\n`, "faint");
  }

  #follow(tail: number): void {
    const catchUp = new CatchUp(this.#conversation, tail);
    this.#session.on("entry", (entry) => {
      this.#own.entry(entry);
      catchUp.entry(entry);
      if (entry.event.type === "run-finished") this.#markRead();
    });
    this.#session.on("delta", (delta) => catchUp.delta(delta));
    this.#session.on("live", () => {
      catchUp.done();
      this.#markRead();
    });
    this.#session.on("snapshot", () => {
      this.#output.notice("the log was replaced on the server: what was printed may not be in it any more");
    });
    this.#session.on("change", () => {
      this.#showStatus();
      if (this.#interactive && this.#session.caughtUp) this.#asked.hint();
    });
    this.#session.on("progress", ({ call, progress }) => {
      this.#progress = { call, text: brief(progress, 40) };
      this.#showStatus();
    });
    this.#session.on("presence", () => this.#showStatus());
    this.#client.on("status", ({ state, reason }) => {
      this.#showStatus();
      if (state === "closed") this.#fail(`closed: ${oneLine(reason ?? "")}`);
    });
    this.#session.on("detached", (error) => {
      if (error.details?.["reason"] !== "detach") this.#fail(oneLine(error.message));
    });
  }

  /** What was printed is read; that it could not be said is of no consequence. */
  #markRead(): void {
    const { caughtUp, position } = this.#session;
    if (caughtUp && position !== undefined) this.#session.markRead(position.seq).catch(() => undefined);
  }

  /** Sends what comes from a pipe, then waits for the answers. */
  async #readAll(): Promise<void> {
    for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) this.#take(line);
    await this.#lines;
    await this.#own.allOver();
    await this.#caughtUp();
    this.#leave(this.#failed ? 1 : 0);
  }

  #take(line: string): void {
    this.#lines = this.#lines.then(async () => {
      try {
        await this.#handle(line);
      } catch (error) {
        this.#failed = true;
        this.#refused(error);
      }
    });
  }

  #refused(error: unknown): void {
    const code = error instanceof ProtocolError ? `${error.code}: ` : "";
    this.#output.notice(`${code}${oneLine(error instanceof Error ? error.message : String(error))}`);
  }

  async #handle(line: string): Promise<void> {
    if (line.trim() === "") return;
    // Of a pipe, what looks like an answer is one to what the lines before it bring.
    if (!this.#interactive && Asked.isAnswer(line)) await this.#requestOrEnd();
    if (await this.#asked.take(line)) return this.#interactive ? this.#asked.hint() : undefined;
    if (line.startsWith("/say ")) return this.#say(line.slice("/say ".length));
    if (!line.startsWith("/")) return this.#say(line);
    if (line.startsWith("//")) return this.#say(line.slice(1));
    const [, mode, text] = /^\/(steer|interrupt|rollback)\s+(\S.*)$/.exec(line.trim()) ?? [];
    if (text !== undefined) return this.#say(text, { mode: mode as SendMode });
    const [, agent, question] = /^\/ask\s+(\S+)\s+(\S.*)$/.exec(line.trim()) ?? [];
    if (agent !== undefined && question !== undefined) return this.#say(question, { agent });
    switch (line.trim()) {
      case "/cancel":
        return this.#cancel();
      case "/retry":
        return this.#retry();
      case "/compact":
        return this.#compact();
      case "/fork":
        return this.#fork();
      case "/ask":
        return this.#agents();
      case "/who":
        while (this.#session.presence.people === 0 && this.#session.ended === undefined)
          await this.#next("presence");
        return this.#output.notice(peopleIn(this.#session.presence));
      case "/quit":
        this.#leave(this.#failed ? 1 : 0);
        return;
      case "/help":
        this.#output.notice(COMMANDS);
        return;
      default:
        await (this.#interactive ? this.#caughtUp() : this.#begun());
        if (await this.#turns.take(line)) return;
        this.#output.notice(`no such command: ${oneLine(line, 40)}; ${COMMANDS}`);
    }
  }

  async #say(text: string, how: Pick<SendOptions, "mode" | "agent"> = {}): Promise<void> {
    // Of a pipe, what it is about has begun by then.
    if (how.mode !== undefined && !this.#interactive) await this.#begun();
    const timeoutMs = this.#interactive ? Infinity : PIPED_SEND_MS;
    const ok = await this.#session.send(text, { ...how, timeoutMs });
    this.#own.sent(ok.input);
  }

  async #agents(): Promise<void> {
    const { items } = await this.#client.listAgents();
    const names = items.map(({ name }) => nameOf(name)).join(", ");
    this.#output.notice(`agents: ${names}; /ask AGENT TEXT asks one`);
  }

  async #cancel(): Promise<void> {
    await this.#begun();
    const run = this.#session.state?.run?.run;
    if (run === undefined) this.#output.notice("nothing is being written");
    else await this.#session.cancel(run, { timeoutMs: PIPED_SEND_MS });
  }

  /** What was sent before this line may not have begun yet. */
  async #begun(): Promise<void> {
    await this.#caughtUp();
    while (this.#session.state?.run === undefined && this.#own.waiting) await this.#next("state");
  }

  async #retry(): Promise<void> {
    await this.#answered();
    const last = this.#session.state?.lastRun;
    if (last === undefined) return this.#output.notice("nothing was answered yet");
    const ok = await this.#session.retry(last.run, { timeoutMs: PIPED_SEND_MS });
    this.#own.sent(ok.input);
  }

  async #compact(): Promise<void> {
    await this.#answered();
    const compacting = this.#session.compact();
    // Whoever types need not wait for the model.
    if (this.#interactive) compacting.catch((error: unknown) => this.#refused(error));
    else await compacting;
  }

  async #fork(): Promise<void> {
    await this.#answered();
    const id = oneLine(await this.#session.fork({ timeoutMs: PIPED_SEND_MS }), 64);
    this.#output.notice(`forked: ${ownCommand()} chat ${id}`);
  }

  async #requestOrEnd(): Promise<void> {
    await this.#caughtUp();
    while (this.#asked.current === undefined && this.#own.waiting && this.#session.ended === undefined)
      await this.#next("change");
  }

  /** Lines of a pipe are about what the lines before them have brought. */
  async #answered(): Promise<void> {
    await this.#caughtUp();
    if (!this.#interactive) await this.#own.allOver();
  }

  async #caughtUp(): Promise<void> {
    while (!this.#session.caughtUp && this.#session.ended === undefined) await this.#next("change");
  }

  #next(type: "state" | "change" | "presence"): Promise<void> {
    return new Promise((resolve) => {
      const stop = this.#session.on(type, () => {
        stop();
        resolve();
      });
    });
  }

  get #readsOnly(): boolean {
    return this.#session.role === "viewer";
  }

  #showStatus(): void {
    const reads = this.#readsOnly;
    this.#output.speaker(reads ? undefined : nameOf(this.#client.user?.name ?? "you"));
    const { state: connection, unsent } = this.#client.status;
    const state = this.#session.state;
    const parts: string[] = reads ? ["you read here"] : [];
    if (connection !== "online") parts.push(connection);
    else if (!this.#session.caughtUp) parts.push("catching up");
    if (state?.run !== undefined) {
      const agent = nameOf(state.run.agent);
      const calls = state.calls.slice(0, 3).map(({ call, tool }) => {
        const progress = this.#progress?.call === call ? ` ${this.#progress.text}` : "";
        return `${nameOf(tool)}${progress}`;
      });
      const busy = state.requests.length > 0 ? "waits for people" : calls.length > 0 ? calls.join(", ") : "…";
      parts.push(state.run.cancelRequested ? `${agent} is stopping` : `${agent} ${busy}`);
    }
    if (state !== undefined && state.queue.length > 0) parts.push(`${state.queue.length} queued`);
    const { floor } = this.#session;
    if (floor.mode === "owner-only" || floor.mode === "hand") parts.push(`floor: ${floorText(floor)}`);
    const typing = typists(this.#session.presence, this.#client.user?.id);
    if (typing !== "") parts.push(typing);
    if (unsent > 0) parts.push(`${unsent} unsent`);
    this.#output.status(parts.join(", "));
  }

  #fail(why: string): void {
    if (this.#ended) return;
    this.#output.notice(why);
    this.#leave(1);
  }

  #end(): void {
    this.#ended = true;
    this.#conversation.end();
    this.#output.close();
    // Nothing more is read; an open pipe must not keep the process.
    process.stdin.destroy();
  }
}
