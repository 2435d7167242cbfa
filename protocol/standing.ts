/**
 * How a session stands: the state that a snapshot carries and the unfinished text that `live` carries, as zod schemas with
 * inferred types. Owns these shapes; how entries make the state is fold's (state.ts).
 */
import { z } from "zod";
import {
  actor,
  content,
  effect,
  finishReason,
  epoch,
  id,
  json,
  message,
  milliseconds,
  openInvite,
  role,
  runReason,
  floor,
  sendMode,
  seq,
  sessionId,
  sessionInfo,
  usage,
} from "./content.ts";
import { allowance, givenAnswer, terms } from "./people.ts";

export const queuedInput = z.object({
  input: id,
  key: id,
  content,
  mode: sendMode,
  agent: id.optional(),
  actor: actor.optional(),
  seq,
  at: milliseconds,
  truncated: z.literal(true).optional(),
});
export const openRun = z.object({
  run: id,
  input: id,
  agent: id,
  agentVersion: z.int().min(0).optional(),
  model: z.string(),
  tools: z.array(z.object({ name: id, effect, timeoutMs: z.int() })),
  startedAt: milliseconds,
  actor: actor.optional(),
  step: z.int().min(0),
  usage,
  cancelRequested: seq.optional(),
  rollback: z.literal(true).optional(),
  recovered: z.object({ step: z.int().min(0), attempt: z.int().min(0) }).optional(),
  waitingSince: milliseconds.optional(),
  waitedMs: milliseconds.optional(),
});
export const finishedRun = z.object({
  run: id,
  reason: runReason,
  steps: z.int().min(0),
  usage,
  at: milliseconds,
  tools: z.array(id).optional(),
  rolledBack: z.literal(true).optional(),
});
export const openCall = z.object({
  call: id,
  message: id,
  run: id,
  tool: z.string(),
  state: z.enum(["waiting", "dispatched", "accepted", "lost"]),
  attempt: z.int().min(0),
  provider: id.optional(),
  effect: effect.optional(),
  deadlineAt: milliseconds.optional(),
  allowedAt: milliseconds.optional(),
  child: sessionId.optional(),
});
export const openRequest = z.object({
  request: id,
  kind: z.enum(["approval", "question"]),
  call: id.optional(),
  subject: json.optional(),
  expiresAt: milliseconds,
  ...terms,
  approvals: z.array(givenAnswer).optional(),
  notifiedAt: milliseconds.optional(),
  truncated: z.literal(true).optional(),
});
/** A message of the history with where it stands in the log. */
export const historyMessage = message.extend({
  seq,
  at: milliseconds,
  step: z.int().min(1).optional(),
  finishReason: finishReason.optional(),
  usage: usage.optional(),
  incomplete: z.literal(true).optional(),
  rolledBack: z.literal(true).optional(),
});
export const sessionState = z.object({
  session: sessionInfo,
  epoch,
  seq,
  members: z.record(z.string(), role),
  invites: z.array(openInvite).optional(),
  floor: floor.optional(),
  queue: z.array(queuedInput),
  run: openRun.optional(),
  lastRun: finishedRun.optional(),
  calls: z.array(openCall),
  requests: z.array(openRequest),
  allowances: z.array(allowance).optional(),
  compacted: z.object({ upTo: seq, summary: z.string() }).optional(),
  messages: z.array(historyMessage),
});
export type QueuedInput = z.infer<typeof queuedInput>;
export type OpenRun = z.infer<typeof openRun>;
export type OpenCall = z.infer<typeof openCall>;
export type OpenRequest = z.infer<typeof openRequest>;
export type HistoryMessage = z.infer<typeof historyMessage>;
export type SessionState = z.infer<typeof sessionState>;

export const partKind = z.enum(["text", "reasoning", "tool-input"]);
export type PartKind = z.infer<typeof partKind>;
/** Text of a message that is not committed yet; its parts in order of their beginning. */
export const partial = z.object({
  run: id,
  message: id,
  parts: z.array(
    z.object({
      part: z.int().min(0),
      kind: partKind,
      call: id.optional(),
      tool: z.string().optional(),
      text: z.string(),
    }),
  ),
});
export type Partial = z.infer<typeof partial>;
