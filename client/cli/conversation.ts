/**
 * A session's entries and deltas as the text of a conversation. Owns the form: two readers of one session print the same
 * lines, whether they saw the text being written, joined later or lost their connection in between. Writes to a port
 * and knows no terminal.
 */
import type { Content, JsonValue, MessagePart } from "../../protocol/content.ts";
import type { EntryBodyOf, EventFrame } from "../../protocol/entries.ts";
import type { Questions } from "../../protocol/people.ts";
import { ShownText } from "../live.ts";
import type { TextDelta } from "../live.ts";
import { floorText } from "./floor.ts";
import { optionsOf } from "./people.ts";
import { brief, clean, duration, nameOf, oneLine } from "./text.ts";

export type Style = "plain" | "user" | "agent" | "faint" | "warning";

/** Takes the conversation's text; a piece may begin and end within a line. */
export type Write = (text: string, style: Style) => void;

export class Conversation {
  readonly #write: Write;
  readonly #shown = new ShownText();
  readonly #calls = new Map<string, { tool: string; input: JsonValue | undefined }>();
  /** Which call an open request is about. */
  readonly #requests = new Map<string, string>();
  #agent = "agent";
  /** The message whose text is being written, and its part. */
  #open: { message: string; part: number; labelled: boolean } | undefined;
  /** Newlines that are written only if more text follows. */
  #newlines = 0;

  constructor(write: Write) {
    this.#write = write;
  }

  /** Takes what later entries refer to, without showing anything. */
  skip(entry: EventFrame): void {
    const body = entry.event;
    if (body.type === "run-started") this.#agent = nameOf(body.agent);
    else if (body.type === "message") this.#remember(body.message.parts);
    else if (body.type === "tool-result") this.#calls.delete(body.call);
    else if (body.type === "request-opened" && body.call !== undefined)
      this.#requests.set(body.request, body.call);
    else if (body.type === "request-resolved") this.#resolved(body);
  }

  delta(delta: TextDelta): void {
    if (delta.kind === "text" && this.#shown.delta(delta)) this.#text(delta);
  }

  entry(entry: EventFrame): void {
    const body = entry.event;
    switch (body.type) {
      case "run-started":
        this.skip(entry);
        return;
      case "message":
        if (body.message.role === "user") this.#said(body.message.author.name, body.message.parts);
        else this.#answered(body);
        return;
      case "message-abandoned":
        this.#abandoned(body);
        return;
      case "tool-delegated":
        this.#line(`  * ${this.#callOf(body.call)} goes on in session ${oneLine(body.child, 64)}`, "faint");
        return;
      case "tool-result":
        this.#result(body);
        return;
      case "request-opened":
        this.skip(entry);
        for (const line of this.#wanted(body)) this.#line(`  ? ${line}`, "warning");
        return;
      case "request-answered":
        this.#line(`  ? one yes by ${nameOf(entry.actor?.name ?? "")}`, "faint");
        return;
      case "request-resolved":
        this.skip(entry);
        this.#line(`  ? ${body.decision}${by(body)}`, "faint");
        return;
      case "run-finished":
        this.#finished(body);
        return;
      default: {
        const line = aside(entry);
        if (line !== undefined) this.#line(`-- ${line}`, "faint");
      }
    }
  }

  /** Ends a line that is being written, for instance because nothing more will come. */
  end(): void {
    if (this.#open?.labelled) this.#write("\n", "plain");
    this.#open = undefined;
    this.#newlines = 0;
  }

  #said(name: string, parts: readonly MessagePart[]): void {
    this.end();
    this.#write(`${nameOf(name)}> `, "user");
    this.#write(`${indented(textOf(parts))}\n`, "plain");
  }

  #answered({ message, incomplete }: EntryBodyOf<"message">): void {
    // Of a fork's first messages no run tells whose they are.
    this.#agent = nameOf(message.author.name);
    for (const delta of this.#shown.commit(message)) if (delta.kind === "text") this.#text(delta);
    this.end();
    if (incomplete) this.#line("  [incomplete]", "warning");
    this.#remember(message.parts);
  }

  #abandoned(body: EntryBodyOf<"message-abandoned">): void {
    const whole = { id: body.message, parts: [{ type: "text" as const, text: body.text }] };
    for (const delta of this.#shown.commit(whole)) this.#text(delta);
    this.end();
    if (body.text !== "") this.#line(`  [abandoned: ${oneLine(body.cause)}]`, "warning");
  }

  #result(body: EntryBodyOf<"tool-result">): void {
    const why = body.error === undefined ? "" : `: ${oneLine(body.error.message)}`;
    const output = body.outcome === "ok" ? ` ${brief(body.output)}` : why;
    const style = body.outcome === "ok" ? "faint" : "warning";
    this.#line(
      `  * ${this.#callOf(body.call)} ${body.outcome} in ${duration(body.durationMs)}${output}`.trimEnd(),
      style,
    );
    this.#calls.delete(body.call);
  }

  #finished({ reason, error, rolledBack }: EntryBodyOf<"run-finished">): void {
    if (reason === "text" && !rolledBack) return this.end();
    const why = error === undefined ? "" : ` (${oneLine(`${error.code}: ${error.message}`)})`;
    const gone = rolledBack ? "; the agent does not read it any more" : "";
    this.#line(`-- the run ended: ${reason}${why}${gone}`, "warning");
  }

  /** Text of the message that is being written, continued on its line. */
  #text(delta: TextDelta): void {
    if (this.#open?.message !== delta.message) {
      this.end();
      this.#open = { message: delta.message, part: delta.part, labelled: false };
    } else if (this.#open.part !== delta.part) {
      this.#open.part = delta.part;
      this.#newlines = Math.max(1, this.#newlines);
    }
    for (const [index, piece] of clean(delta.text).split("\n").entries()) {
      if (index > 0) this.#newlines++;
      if (piece === "") continue;
      // Not before there is something to show: a message may be nothing but calls, or begin with empty lines.
      if (!this.#open.labelled) {
        this.#write(`${this.#agent}: `, "agent");
        this.#newlines = 0;
        this.#open.labelled = true;
      }
      this.#write(`${"\n  ".repeat(this.#newlines)}${piece}`, "plain");
      this.#newlines = 0;
    }
  }

  #line(text: string, style: Style): void {
    this.end();
    this.#write(`${text}\n`, style);
  }

  #remember(parts: readonly MessagePart[]): void {
    for (const part of parts) {
      if (part.type === "dynamic-tool")
        this.#calls.set(part.toolCallId, { tool: part.toolName, input: part.input });
    }
  }

  /** What was approved may be another input than the one asked for. */
  #resolved({ request, input }: EntryBodyOf<"request-resolved">): void {
    const call = this.#requests.get(request) ?? "";
    this.#requests.delete(request);
    const known = this.#calls.get(call);
    if (known !== undefined && input !== undefined) this.#calls.set(call, { ...known, input });
  }

  #wanted({ kind, call, subject, count = 1 }: EntryBodyOf<"request-opened">): string[] {
    const several = count > 1 ? `, by ${count}` : "";
    if (kind === "approval") return [`approval wanted${several}: ${this.#callOf(call)}`];
    const { questions = [] } = (subject ?? {}) as Partial<Questions>;
    return questions.map((question) => `asked: ${oneLine(question.text)}${optionsOf(question)}`);
  }

  #callOf(call: string | undefined): string {
    const known = call === undefined ? undefined : this.#calls.get(call);
    return known === undefined ? oneLine(call ?? "", 64) : `${nameOf(known.tool)}(${brief(known.input)})`;
  }
}

/** What is worth a line although nobody said it. */
function aside({ event, actor }: EventFrame): string | undefined {
  switch (event.type) {
    case "session-updated":
      return event.title === undefined ? undefined : `the title is now "${oneLine(event.title)}"`;
    case "session-closed":
      return `the session was closed${actor === undefined ? "" : ` by ${nameOf(actor.name)}`}`;
    case "member-changed":
      return event.role === null
        ? `${nameOf(event.user)} is no member any more`
        : `${nameOf(event.user)} is ${event.role} now`;
    case "invite-created":
      return `others may join as ${event.role} with a token${actor === undefined ? "" : ` of ${nameOf(actor.name)}`}`;
    case "input-withdrawn":
      return `an input was withdrawn${actor === undefined ? "" : ` by ${nameOf(actor.name)}`}`;
    case "floor-changed":
      return `the floor: ${floorText(event)}`;
    case "run-recovered":
      return "the run goes on after a restart";
    case "compacted":
      return "older messages were summarised for the agent";
    default:
      return undefined;
  }
}

function by(body: EntryBodyOf<"request-resolved">): string {
  const names = body.by?.map((actor) => nameOf(actor.name)) ?? [];
  return names.length === 0 ? "" : ` by ${names.join(", ")}`;
}

/** The text of a message or of what somebody sent; files and data are named. */
export function textOf(content: Content | readonly MessagePart[]): string {
  if (typeof content === "string") return clean(content);
  const pieces = content.flatMap((part) => {
    if (part.type === "text") return [clean(part.text)];
    if (part.type === "file") return [`[file ${oneLine(part.filename ?? part.mediaType)}]`];
    return part.type === "reasoning" || part.type === "dynamic-tool" ? [] : [`[${oneLine(part.type)}]`];
  });
  return pieces.join("\n");
}

/** Later lines are set in, so that nobody's text can pass for somebody else's line. */
function indented(text: string): string {
  return text.replace(/\n+$/u, "").replaceAll("\n", "\n  ");
}
