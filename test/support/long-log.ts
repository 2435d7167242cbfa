/**
 * Sessions with a log of any length, written as the server would have: whole turns of a person and an agent, or nothing
 * but the entry that creates it. For tests and benches that need a session to be long before they begin. Never a runtime:
 * a hundred thousand entries are there in a second or two.
 */
import { encodeFrame } from "../../protocol/codec.ts";
import type { Actor } from "../../protocol/content.ts";
import type { EntryBody, EventFrame } from "../../protocol/entries.ts";
import { newId, newMessageId } from "../../protocol/ids.ts";
import { fold } from "../../protocol/state.ts";
import { indexRow } from "../../server/session/listing.ts";
import type { AppendItem, Member, Store } from "../../server/store/store.ts";

const ADA: Actor = { kind: "user", id: "ada", name: "Ada", verified: false };
const DEMO: Actor = { kind: "agent", id: "demo", name: "demo", verified: true };
const USAGE = { inputTokens: 40, outputTokens: 60 };
const QUESTION = "A message of a length that people write, neither a word nor a page.";
const ANSWER = "An answer is longer than its question: it says what was found, and how. ".repeat(4);
/** Entries of a turn. */
export const TURN = 6;
const PER_COMMIT = 600;

/** A new session, as one commit makes it. */
export function newSession(create: Member, owner: Actor = ADA): AppendItem {
  const id = newId("ses");
  const epoch = Date.now();
  const event = { type: "session-created", agent: "demo", owner: owner.id, title: "One of many" } as const;
  const entry: EventFrame = { type: "event", session: id, epoch, seq: 1, at: epoch, actor: owner, event };
  const index = indexRow(fold(undefined, entry));
  return { id, epoch, expectedSeq: 0, entries: [encodeFrame(entry)], index, create };
}

/** Writes a session of so many turns; answers its id and its head. Its grant is given back. */
export async function writeLongSession(store: Store, turns: number): Promise<{ id: string; head: number }> {
  const member = await store.join("writer", 600_000);
  const item = newSession(member);
  const { id, epoch } = item;
  await appended(store, item);
  let seq = 1;
  while (seq < 1 + turns * TURN) {
    const entries: Uint8Array[] = [];
    while (entries.length < PER_COMMIT && seq + entries.length < 1 + turns * TURN) {
      for (const { actor, run, event } of turn()) {
        const at = seq + entries.length + 1;
        entries.push(
          encodeFrame({ type: "event", session: id, epoch, seq: at, at: epoch + at, run, actor, event }),
        );
      }
    }
    await appended(store, { id, epoch, expectedSeq: seq, entries });
    seq += entries.length;
  }
  await store.leave(member);
  return { id, head: seq };
}

async function appended(store: Store, item: AppendItem): Promise<void> {
  const [result] = await store.append([item]);
  if (result?.status !== "ok") throw new Error(`entries could not be written: ${result?.status}`);
}

function turn(): { actor?: Actor; run?: string; event: EntryBody }[] {
  const [input, run, answer] = [newMessageId(), newId("run"), newMessageId()];
  const parts = (text: string): [{ type: "text"; text: string }] => [{ type: "text", text }];
  const said = { id: answer, role: "assistant", author: DEMO, run, parts: parts(ANSWER) } as const;
  const asked = { id: input, role: "user", author: ADA, run, parts: parts(QUESTION) } as const;
  const text = "text" as const;
  return [
    {
      actor: ADA,
      event: { type: "input-queued", input, key: newId("key"), content: QUESTION, mode: "queue" },
    },
    {
      actor: ADA,
      run,
      event: { type: "run-started", run, input, agent: "demo", model: "scripted", tools: [] },
    },
    { run, event: { type: "message", message: asked } },
    { run, event: { type: "message", message: said, step: 1, finishReason: "stop", usage: USAGE } },
    { run, event: { type: "step-finished", run, step: 1, finishReason: "stop", usage: USAGE } },
    {
      run,
      event: {
        type: "run-finished",
        run,
        reason: text,
        text: ANSWER,
        steps: 1,
        usage: USAGE,
        model: "scripted",
      },
    },
  ];
}
