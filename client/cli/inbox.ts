/**
 * `haulout inbox`: what waits for this user's answer in any session, and answering it by lines. Owns the form of an item and
 * what a line means; that the list is up to date is the client's watch.
 */
import { createInterface } from "node:readline";
import type { JsonValue } from "../../protocol/content.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import type { ListedRequest } from "../../protocol/frames.ts";
import type { Question, Questions } from "../../protocol/people.ts";
import type { Client } from "../client.ts";
import { COMMON_HELP, connectAs, firstOnline, parse, reportConnection, UsageError } from "./options.ts";
import { plainOutput } from "./output.ts";
import type { Output } from "./output.ts";
import { untilSignal } from "./signal.ts";
import { brief, jsonLine, nameOf, oneLine } from "./text.ts";

const LINES = `  approve N          allow the call of item N
  deny N REASON      refuse it, or to answer; the model reads the reason, which may be left out
  answer N TEXT      answer a question: by text, or an option, or options parted by commas; several by JSON`;

const HELP = `usage: haulout inbox [options]

Lists what waits for your answer, in all sessions. With --watch it stays, says what comes and goes, and takes lines:

${LINES}

  --watch        stay until stopped, or until the end of a pipe
${COMMON_HELP.replace("print every frame from the server as a line of JSON, and nothing else", "print each request as a line of JSON, and nothing else")}
`;

export async function inbox(args: string[]): Promise<number> {
  const { common, values } = parse(args, { watch: { type: "boolean" } } as const, 0);
  if (common.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const stays = values["watch"] === true;
  if (stays && common.json) throw new UsageError("--watch is for reading; use haulout watch --json");
  const client = connectAs({ ...common, json: false });
  try {
    await firstOnline(client, common);
    if (!stays) return await list(client, common.json);
    return await new Inbox(client, plainOutput(process.stdout, process.stderr)).run();
  } finally {
    client.close();
  }
}

async function list(client: Client, json: boolean): Promise<number> {
  let number = 0;
  for (let cursor: string | undefined; ;) {
    const page = await client.listRequests(cursor === undefined ? {} : { cursor });
    for (const item of page.items)
      process.stdout.write(json ? `${jsonLine(item)}\n` : describe(++number, item));
    ({ cursor } = page);
    if (cursor !== undefined) continue;
    if (number === 0 && !json) process.stdout.write("nothing waits for you\n");
    return 0;
  }
}

class Inbox {
  readonly #client: Client;
  readonly #output: Output;
  /** By request; an item keeps its number as long as this runs. */
  readonly #numbers = new Map<string, number>();
  readonly #open = new Map<number, ListedRequest>();
  #failed = false;

  constructor(client: Client, output: Output) {
    this.#client = client;
    this.#output = output;
  }

  async run(): Promise<number> {
    reportConnection(this.#client, this.#output);
    const watching = this.#client.watch({ requests: true });
    const listed = new Promise<void>((resolve) => {
      watching.on("listed", () => {
        this.#renew(watching.requests);
        resolve();
      });
    });
    watching.on("request", (request, open, decision) => {
      if (!watching.isListed) return;
      if (open !== undefined) this.#show(open);
      else this.#gone(request, decision);
    });
    const ended = new Promise<never>((_, reject) => {
      watching.on("ended", reject);
      this.#client.on("status", ({ state, reason }) => {
        if (state === "closed") reject(new Error(`closed: ${oneLine(reason ?? "")}`));
      });
    });
    await Promise.race([listed, ended]);
    if (this.#open.size === 0) this.#output.notice("nothing waits for you");
    return Promise.race([untilSignal(), this.#read(), ended]);
  }

  async #read(): Promise<number> {
    for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
      try {
        await this.#take(line.trim());
      } catch (error) {
        this.#failed = true;
        const code = error instanceof ProtocolError ? `${error.code}: ` : "";
        this.#output.notice(`${code}${oneLine(error instanceof Error ? error.message : String(error))}`);
      }
    }
    return this.#failed ? 1 : 0;
  }

  async #take(line: string): Promise<void> {
    if (line === "") return;
    const [, verb = "", number = "", rest = ""] = /^(\w+)\s+(\d+)\s*(.*)$/s.exec(line) ?? [];
    const item = this.#open.get(Number(number));
    if (!["approve", "deny", "answer"].includes(verb)) return this.#output.notice(`lines are:\n${LINES}`);
    if (item === undefined) throw new Error(`there is no item ${number}`);
    const { session, request } = item;
    const answer =
      verb === "answer"
        ? { answers: answersOf(item, rest) }
        : verb === "deny"
          ? { decision: "deny" as const, ...(rest === "" ? {} : { reason: rest }) }
          : { decision: "approve" as const };
    await this.#client.request("answer", { session, request: request.request, ...answer });
    this.#output.notice(
      `${number} ${verb === "deny" ? "denied" : verb === "approve" ? "approved" : "answered"}`,
    );
  }

  #renew(requests: ReadonlyMap<string, ListedRequest>): void {
    for (const request of this.#numbers.keys()) if (!requests.has(request)) this.#gone(request, undefined);
    for (const item of requests.values()) this.#show(item);
  }

  #show(item: ListedRequest): void {
    const { request } = item.request;
    const known = this.#numbers.get(request);
    const number = known ?? this.#numbers.size + 1;
    this.#numbers.set(request, number);
    const isNew = !this.#open.has(number);
    this.#open.set(number, item);
    if (isNew) this.#output.write(describe(number, item), "plain");
  }

  #gone(request: string, decision: string | undefined): void {
    const number = this.#numbers.get(request);
    if (number === undefined || !this.#open.delete(number)) return;
    this.#output.write(`${number} is over${decision === undefined ? "" : `: ${decision}`}\n`, "faint");
  }
}

/** An item as lines, the first with its number. */
function describe(number: number, { session, agent, title, requester, request }: ListedRequest): string {
  const until = new Date(request.expiresAt).toISOString().slice(0, 19).replace("T", " ");
  const of = requester === undefined ? "" : `, for ${nameOf(requester.name)}`;
  const name = title === undefined ? "" : ` "${oneLine(title, 60)}"`;
  const head = `${number} ${request.kind} by ${nameOf(agent)}${of} in ${oneLine(session, 64)}${name}, until ${until} UTC\n`;
  if (request.subject === undefined) return `${head}    too long for a list: see it in the session\n`;
  if (request.kind === "question") return head + questionsOf(request.subject).map(ask).join("");
  const { tool, input } = request.subject as { tool: string; input?: JsonValue };
  return `${head}    ${nameOf(tool)}(${brief(input, 400)})\n`;
}

function questionsOf(subject: JsonValue): readonly Question[] {
  return (subject as unknown as Questions).questions;
}

function ask({ id, text, options }: Question): string {
  const choices = options === undefined ? "" : ` [${options.map((item) => oneLine(item, 60)).join(", ")}]`;
  return `    ${oneLine(id, 64)}: ${oneLine(text, 400)}${choices}\n`;
}

/** What was typed as the answers to the questions. Throws Error for JSON that is none. */
function answersOf({ request }: ListedRequest, text: string): JsonValue {
  if (text.startsWith("{")) return JSON.parse(text) as JsonValue;
  const [only, ...more] = request.subject === undefined ? [] : questionsOf(request.subject);
  if (only === undefined || more.length > 0) throw new Error("several questions are answered by JSON");
  return { [only.id]: only.kind === "choices" ? text.split(",").map((item) => item.trim()) : text };
}
