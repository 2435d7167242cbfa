/**
 * The session of one task: its first entries, whether it is still at its task, and what its log says became of it. Owns
 * that reading and the words for it; never waits for a session and never changes one (tasks.ts).
 */
import { decodeTrusted } from "../../protocol/codec.ts";
import type { CallError, ParentLink, Role, RunReason } from "../../protocol/content.ts";
import type { EntryBody, EntryBodyOf, EventFrame } from "../../protocol/entries.ts";
import type { SessionState } from "../../protocol/frames.ts";
import { newMessageId } from "../../protocol/ids.ts";
import { cutText } from "../../protocol/values.ts";
import type { Task } from "../agent/context.ts";
import type { Store } from "../store/store.ts";
import type { Judgement } from "../tool/outcome.ts";
import { listedInfo } from "./listing.ts";

const PAGE = 500;
const MAX_TITLE = 100;
/** Of an answer, in UTF-16 units; its session has all of it. */
const MAX_TEXT = 64 * 1024;

/** How the run of a task ended. */
interface Ended {
  readonly reason: RunReason | "withdrawn";
  readonly text: string;
  readonly error?: CallError | undefined;
}

/** The task that a session is at work on for another, if it is. */
export function taskOf(state: SessionState): ParentLink | undefined {
  const { parent } = state.session;
  return parent !== undefined && state.run?.input === parent.input ? parent : undefined;
}

export function isAtTask({ run, queue }: SessionState, { input: task }: ParentLink): boolean {
  return run?.input === task || queue.some(({ input }) => input === task);
}

export function depthOf(parent: ParentLink | undefined): number {
  return parent?.depth ?? 0;
}

/** It belongs to whom the other belongs to, members and all, and bears its labels. */
export function firstEntries(
  task: Task,
  { session: above, members }: SessionState,
): [EntryBodyOf<"session-created">, EntryBody] {
  const { session, run, call, by, agent, text, deadlineAt } = task;
  const input = newMessageId();
  const { metadata } = listedInfo(above);
  return [
    {
      type: "session-created",
      agent,
      owner: ownerOf(above.owner, members),
      title: cutText(text.trim().split("\n", 1)[0] ?? "", MAX_TITLE),
      ...(metadata === undefined ? {} : { metadata }),
      parent: { session, run, call, agent: by, input, depth: depthOf(above.parent) + 1, deadlineAt },
      members,
    },
    { type: "input-queued", input, key: call, content: text, mode: "queue" },
  ];
}

/** Whoever made a session may have left it to others. */
function ownerOf(first: string, members: Readonly<Record<string, Role>>): string {
  const owners = Object.keys(members).filter((user) => members[user] === "owner");
  return owners.includes(first) ? first : (owners[0] ?? first);
}

/** What came of a task that the session is not at any more. */
export async function endOfTask(
  store: Pick<Store, "read">,
  { session, agent, input }: { readonly session: string; readonly agent: string; readonly input: string },
): Promise<Judgement> {
  let run: string | undefined;
  let text = "";
  for (let after = 0; ;) {
    const page = await store.read(session, after, PAGE);
    if (page.length === 0) throw new Error(`session ${session} does not say what became of its task`);
    after += page.length;
    for (const { bytes } of page) {
      const entry = decodeTrusted(bytes) as EventFrame;
      const { event } = entry;
      if (event.type === "input-withdrawn" && event.input === input)
        return judged(session, agent, { reason: "withdrawn", text });
      if (event.type === "run-started" && event.input === input) run = event.run;
      if (run === undefined || entry.run !== run) continue;
      if (event.type === "message" && event.message.role === "assistant") text = textOf(event) || text;
      if (event.type === "run-finished")
        return judged(session, agent, { ...event, text: event.text ?? text });
    }
  }
}

function textOf({ message }: EntryBodyOf<"message">): string {
  return message.parts.map((part) => (part.type === "text" ? part.text : "")).join("");
}

function judged(session: string, agent: string, { reason, text, error }: Ended): Judgement {
  const about = `${agent}, in session ${session},`;
  switch (reason) {
    case "cancelled":
    case "withdrawn":
      return { outcome: "cancelled", error: { code: "cancelled", message: `${about} was cancelled` } };
    case "deadline":
      return { outcome: "timeout", error: { code: "timeout", message: `${about} had no more time` } };
    case "error":
    case "interrupted": {
      const message = `${about} ended without an answer: ${error?.message ?? reason}`;
      return { outcome: "error", error: { code: error?.code ?? reason, message } };
    }
    default: {
      const said = cutText(text, MAX_TEXT);
      const truncated = said.length < text.length ? { truncated: true } : {};
      return { outcome: "ok", output: { session, reason, text: said, ...truncated } };
    }
  }
}
