/**
 * What lists, watches and backups are about, as zod schemas with inferred types: a session among others, not from within.
 * Owns these shapes; the frames that carry them are frames.ts's.
 */
import { z } from "zod";
import {
  actor,
  effect,
  id,
  json,
  jsonSchema,
  labels,
  milliseconds,
  seq,
  sessionId,
  sessionStatus,
  toolName,
  usage,
  userId,
} from "./content.ts";
import { allowance } from "./people.ts";
import { openRequest } from "./standing.ts";

/** Which sessions: all of what is given holds. `text`: somewhere in the title, in either case. */
export const sessionFilter = z.object({
  agent: id.optional(),
  owner: id.optional(),
  state: sessionStatus.optional(),
  labels: labels.optional(),
  text: z.string().max(256).optional(),
  parent: sessionId.optional(),
});
export type SessionFilter = z.infer<typeof sessionFilter>;

/** A request as those see it who are not in its session. */
export const listedRequest = z.object({
  session: sessionId,
  agent: id,
  owner: id,
  title: z.string().optional(),
  requester: actor.optional(),
  request: openRequest,
});
export type ListedRequest = z.infer<typeof listedRequest>;

/** What holds for a user's runs in every session, and where it was said. */
export const listedAllowance = z.object({ session: sessionId, allowance });
export type ListedAllowance = z.infer<typeof listedAllowance>;

/** Where something is found; without `message` in the session's title. `marks`: from and up to, in the snippet. */
export const searchHit = z.object({
  session: sessionId,
  agent: id,
  owner: id,
  title: z.string().optional(),
  seq,
  at: milliseconds,
  message: id.optional(),
  author: actor.optional(),
  snippet: z.string(),
  marks: z.array(z.tuple([z.int().min(0), z.int().min(0)])),
});
export type SearchHit = z.infer<typeof searchHit>;

export const listedAgent = z.object({
  name: id,
  description: z.string(),
  model: z.string(),
  tools: z.array(z.string()),
  /** By `putAgent`, so that it can be replaced and removed. */
  put: z.literal(true).optional(),
  members: z.array(id).optional(),
});
/** One of those who offer a tool; its calls in flight are those of all its tools. */
export const listedProvider = z.object({
  provider: id,
  state: z.enum(["ready", "draining", "away"]),
  inFlight: z.int(),
  maxConcurrent: z.int(),
  labels: labels.optional(),
});
export const listedTool = z.object({
  name: toolName,
  description: z.string(),
  inputSchema: jsonSchema,
  outputSchema: jsonSchema.optional(),
  effect,
  timeoutMs: z.int(),
  scope: z.enum(["server", "session"]),
  providers: z.int(),
  inFlight: z.int(),
  waiting: z.int().optional(),
  pool: z.array(listedProvider).optional(),
});
/** A session that a backup is through with: all of its log up to `head`, or the word that it was deleted. */
export const backedUp = z.object({
  session: sessionId,
  head: seq.optional(),
  deletedAt: milliseconds.optional(),
  damaged: z.literal(true).optional(),
});
export type BackedUp = z.infer<typeof backedUp>;
/** What was used in a user's name on one UTC day. `day`: when it began. */
export const tally = z.object({ user: userId, day: milliseconds, usage });
export type Tally = z.infer<typeof tally>;
export const dayUsage = tally.omit({ user: true });
export type DayUsage = z.infer<typeof dayUsage>;
/** What a user may use; `cost` in millionths, as in a usage. */
export const budgetLimit = z.object({ tokens: z.int().min(1).optional(), cost: z.int().min(0).optional() });
export const userBudget = z.object({ day: budgetLimit.optional(), total: budgetLimit.optional() });
export type UserBudget = z.infer<typeof userBudget>;
export type ListedAgent = z.infer<typeof listedAgent>;
export type ListedProvider = z.infer<typeof listedProvider>;
export type ListedTool = z.infer<typeof listedTool>;

/** An entry of an exported log without its place, which the import gives it. `event` is judged when it has one. */
export const importedEntry = z.object({
  at: milliseconds,
  run: id.optional(),
  actor: actor.optional(),
  event: json,
});
export type ImportedEntry = z.infer<typeof importedEntry>;
