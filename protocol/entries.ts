/**
 * Log entries: everything a session remembers, as zod schemas with inferred types. An entry is the `event` of an
 * `event` frame. Owns their bodies; what they mean for the state is fold's (state.ts). Later versions add types and
 * optional fields, so readers pass over what they do not know.
 */
import { z } from "zod";
import {
  actor,
  budgetScope,
  budgetUnit,
  callError,
  content,
  effect,
  epoch,
  finishReason,
  floor,
  id,
  json,
  message,
  milliseconds,
  openInvite,
  outcome,
  parentLink,
  role,
  runReason,
  sendMode,
  seq,
  sessionId,
  usage,
  verdict,
} from "./content.ts";
import { allowance, remember, terms } from "./people.ts";

const attempt = z.int().min(1);
const runError = z.object({ code: z.string().max(64), message: z.string() });

export const entryBodies = {
  "session-created": z.object({
    type: z.literal("session-created"),
    agent: id,
    owner: id,
    title: z.string().optional(),
    metadata: json.optional(),
    key: id.optional(),
    forkedFrom: z.object({ session: sessionId, at: seq }).optional(),
    parent: parentLink.optional(),
    members: z.record(z.string(), role).optional(),
  }),
  "session-updated": z.object({
    type: z.literal("session-updated"),
    title: z.string().optional(),
    metadata: json.optional(),
  }),
  "session-closed": z.object({ type: z.literal("session-closed") }),
  "member-changed": z.object({
    type: z.literal("member-changed"),
    user: id,
    role: role.nullable(),
    invite: id.optional(),
  }),
  "invite-created": z.object({ type: z.literal("invite-created"), ...openInvite.shape }),
  "invite-revoked": z.object({ type: z.literal("invite-revoked"), invite: id }),
  "input-queued": z.object({
    type: z.literal("input-queued"),
    input: id,
    key: id,
    content,
    mode: sendMode,
    agent: id.optional(),
  }),
  "input-edited": z.object({ type: z.literal("input-edited"), input: id, content }),
  "inputs-ordered": z.object({ type: z.literal("inputs-ordered"), inputs: z.array(id) }),
  "floor-changed": z.object({ type: z.literal("floor-changed"), ...floor.shape }),
  "input-withdrawn": z.object({ type: z.literal("input-withdrawn"), input: id }),
  "run-started": z.object({
    type: z.literal("run-started"),
    run: id,
    input: id,
    agent: id,
    agentVersion: z.int().min(0).optional(),
    model: z.string(),
    tools: z.array(z.object({ name: id, effect, timeoutMs: z.int() })),
  }),
  message: z.object({
    type: z.literal("message"),
    message,
    step: z.int().min(1).optional(),
    finishReason: finishReason.optional(),
    usage: usage.optional(),
    incomplete: z.literal(true).optional(),
  }),
  "message-abandoned": z.object({
    type: z.literal("message-abandoned"),
    message: id,
    text: z.string(),
    cause: z.string(),
  }),
  "tool-dispatched": z.object({
    type: z.literal("tool-dispatched"),
    call: id,
    attempt,
    provider: id,
    effect,
    deadlineAt: milliseconds,
  }),
  "tool-accepted": z.object({ type: z.literal("tool-accepted"), call: id, attempt }),
  "tool-lost": z.object({ type: z.literal("tool-lost"), call: id, attempt, cause: z.string() }),
  "tool-delegated": z.object({ type: z.literal("tool-delegated"), call: id, child: sessionId }),
  "tool-result": z.object({
    type: z.literal("tool-result"),
    call: id,
    attempt: attempt.optional(),
    outcome,
    output: json.optional(),
    error: callError.optional(),
    durationMs: z.int().min(0),
    usage: usage.optional(),
  }),
  "tool-audit": z.object({ type: z.literal("tool-audit"), call: id, attempt: z.int(), verdict }),
  "request-opened": z.object({
    type: z.literal("request-opened"),
    request: id,
    kind: z.enum(["approval", "question"]),
    call: id.optional(),
    subject: json.optional(),
    expiresAt: milliseconds,
    ...terms,
    truncated: z.literal(true).optional(),
  }),
  "request-answered": z.object({
    type: z.literal("request-answered"),
    request: id,
    input: json.optional(),
    reason: z.string().optional(),
    remember: remember.optional(),
    admin: z.literal(true).optional(),
  }),
  "request-notified": z.object({ type: z.literal("request-notified"), request: id }),
  "request-resolved": z.object({
    type: z.literal("request-resolved"),
    request: id,
    decision: z.enum(["approve", "deny", "expired", "cancelled"]),
    answers: json.optional(),
    reason: z.string().optional(),
    input: json.optional(),
    by: z.array(actor).optional(),
  }),
  "approval-remembered": z.object({
    type: z.literal("approval-remembered"),
    ...allowance.omit({ seq: true, at: true }).shape,
  }),
  "approval-forgotten": z.object({ type: z.literal("approval-forgotten"), allowance: id }),
  "step-finished": z.object({
    type: z.literal("step-finished"),
    run: id,
    step: z.int().min(1),
    finishReason,
    usage,
  }),
  "cancel-requested": z.object({
    type: z.literal("cancel-requested"),
    run: id,
    rollback: z.literal(true).optional(),
  }),
  "run-recovered": z.object({
    type: z.literal("run-recovered"),
    run: id,
    policy: z.enum(["restart-step", "stop"]),
    step: z.int().min(0),
    attempt: z.int().min(0),
    abandoned: id.optional(),
  }),
  compacted: z.object({
    type: z.literal("compacted"),
    upTo: seq,
    summary: z.string(),
    usage: usage.optional(),
  }),
  "budget-stopped": z.object({
    type: z.literal("budget-stopped"),
    run: id,
    scope: budgetScope,
    unit: budgetUnit,
    limit: z.int().min(0),
    spent: z.int().min(0),
  }),
  "run-finished": z.object({
    type: z.literal("run-finished"),
    run: id,
    reason: runReason,
    text: z.string().optional(),
    steps: z.int().min(0),
    usage,
    model: z.string(),
    error: runError.optional(),
    rolledBack: z.literal(true).optional(),
  }),
} as const;

export type EntryType = keyof typeof entryBodies;
export type EntryBody = { [T in EntryType]: z.infer<(typeof entryBodies)[T]> }[EntryType];
export type EntryBodyOf<T extends EntryType> = z.infer<(typeof entryBodies)[T]>;

/** One entry as it is committed, cached, fanned out and replayed: the very bytes of this frame. */
export const eventFrame = z.object({
  type: z.literal("event"),
  session: sessionId,
  epoch,
  seq: seq.min(1),
  at: milliseconds,
  run: id.optional(),
  actor: actor.optional(),
  event: z.discriminatedUnion(
    "type",
    Object.values(entryBodies) as unknown as [
      (typeof entryBodies)["session-created"],
      ...(typeof entryBodies)[EntryType][],
    ],
  ),
});
export interface EventFrame {
  type: "event";
  session: string;
  epoch: number;
  seq: number;
  at: number;
  run?: string | undefined;
  actor?: z.infer<typeof actor> | undefined;
  event: EntryBody;
}
