/**
 * Answering in a chat what the session asks of people: which typed lines are answers, to which request, and the hints for
 * whoever types. Owns that; who may answer is the server's to say, and how a request is shown to all is conversation.ts's.
 */
import type { JsonValue } from "../../protocol/content.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { OpenRequest } from "../../protocol/frames.ts";
import type { Question, Questions } from "../../protocol/people.ts";
import type { SessionHandle } from "../session.ts";
import { nameOf, oneLine } from "./text.ts";

/** Lines that answer an approval: yes, always, no and why, yes with another input. */
const ANSWER = /^(?:(y)|(a)|(n)(?:\s+(\S.*))?|e\s+(\S.*))$/i;

export class Asked {
  readonly #session: SessionHandle;
  readonly #notice: (line: string) => void;
  /** Requests that this person has answered, or may not. */
  readonly #done = new Set<string>();
  readonly #told = new Set<string>();
  #answers: Record<string, string | string[]> = {};
  #at: string | undefined;

  constructor(session: SessionHandle, notice: (line: string) => void) {
    this.#session = session;
    this.#notice = notice;
  }

  /** The request that the next line answers. */
  get current(): OpenRequest | undefined {
    return this.#session.requests.find(({ request }) => !this.#done.has(request));
  }

  /** Says once how to answer what is open. */
  hint(): void {
    const open = this.current;
    if (open === undefined || this.#told.has(open.request)) return;
    this.#told.add(open.request);
    this.#notice(open.kind === "approval" ? hintOf(open) : this.#question(open));
  }

  /** Whether a line could be an answer at all. */
  static isAnswer(line: string): boolean {
    return ANSWER.test(line.trim());
  }

  /** Takes a line as an answer; false when it is none, and to be said to everybody. Rejects with what refuses it. */
  async take(line: string): Promise<boolean> {
    const open = this.current;
    if (open === undefined) return false;
    if (open.kind === "question") return this.#takeQuestion(open, line);
    const [, yes, always, no, reason, edited] = ANSWER.exec(line.trim()) ?? [];
    const { request } = open;
    if (yes !== undefined) await this.#say(open, () => this.#session.approve(request, asEdited(open)));
    else if (always !== undefined) {
      const remember = { what: "tool", for: "session" } as const;
      await this.#say(open, () => this.#session.approve(request, { ...asEdited(open), remember }));
    } else if (no !== undefined)
      await this.#say(open, () => this.#session.deny(request, reason === undefined ? {} : { reason }));
    else if (edited !== undefined) {
      const input = JSON.parse(edited) as JsonValue;
      await this.#say(open, () => this.#session.approve(request, { input }));
    } else return false;
    return true;
  }

  async #say(open: OpenRequest, answer: () => Promise<unknown>): Promise<void> {
    try {
      await answer();
      this.#done.add(open.request);
    } catch (error) {
      // What one may not answer, or what is answered, is not asked for again.
      const { code, details } = error instanceof ProtocolError ? error : { code: "", details: undefined };
      const isOver = code === "conflict" && details?.["decision"] !== undefined;
      if (code === "forbidden" || isOver) this.#done.add(open.request);
      throw error;
    }
  }

  async #takeQuestion(open: OpenRequest, line: string): Promise<boolean> {
    const next = this.#next(open);
    const declined = /^\/decline(?:\s+(\S.*))?$/.exec(line.trim());
    if (declined !== null) {
      const [, reason] = declined;
      await this.#say(open, () => this.#session.deny(open.request, reason === undefined ? {} : { reason }));
      return true;
    }
    if (next === undefined || line.startsWith("/")) return false;
    const answer = read(next, line.trim());
    if (answer === undefined) {
      this.#notice(this.#question(open));
      return true;
    }
    this.#answers[next.id] = answer;
    if (this.#next(open) !== undefined) {
      this.#notice(this.#question(open));
      return true;
    }
    const answers = this.#answers;
    this.#answers = {};
    await this.#say(open, () => this.#session.answer(open.request, answers));
    return true;
  }

  /** The first of its questions without an answer. */
  #next(open: OpenRequest): Question | undefined {
    if (this.#at !== open.request) {
      this.#at = open.request;
      this.#answers = {};
    }
    const { questions = [] } = (open.subject ?? {}) as Partial<Questions>;
    return questions.find(({ id }) => !Object.hasOwn(this.#answers, id));
  }

  #question(open: OpenRequest): string {
    const next = this.#next(open);
    if (next === undefined) return "a question waits that cannot be shown";
    const how =
      next.kind === "text"
        ? "type the answer"
        : next.kind === "choice"
          ? "type its number"
          : "type numbers: 1,2";
    return `${oneLine(next.text)}${optionsOf(next)} (${how}, or /decline)`;
  }
}

function hintOf(open: OpenRequest): string {
  const { tool = "a call" } = (open.subject ?? {}) as { tool?: string };
  const more = [
    ...(open.editable ? ["e {…} yes, with this input"] : []),
    ...(open.remember ? ["a yes, always in this session"] : []),
  ];
  return `allow ${nameOf(tool)}? y yes, n [why] no${more.map((item) => `, ${item}`).join("")}`;
}

/** Where somebody edited the input before, that is what is approved. */
function asEdited({ approvals = [] }: OpenRequest): { input?: JsonValue } {
  const input = approvals.at(-1)?.input;
  return input === undefined ? {} : { input };
}

/** Its options with their numbers. */
export function optionsOf({ options = [] }: Question): string {
  return options.map((option, index) => ` ${index + 1}) ${oneLine(option, 80)}`).join("");
}

/** What a line answers; undefined when it does not. Options by number or by their text. */
function read({ kind, options = [] }: Question, line: string): string | string[] | undefined {
  if (kind === "text") return line;
  const find = (text: string): string | undefined =>
    options.find((option) => option === text.trim()) ?? options[Number(text) - 1];
  if (kind === "choice") return find(line);
  const found = line.split(",").map(find);
  return found.every((item) => item !== undefined) ? [...new Set(found)] : undefined;
}
