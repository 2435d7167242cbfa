/**
 * What people are asked and what they say, as zod schemas with inferred types: terms of a request, answers, questions,
 * what is allowed from then on. Owns these shapes; who may answer and what an answer brings is the server's.
 */
import { z } from "zod";
import { actor, answerers, id, json, milliseconds, seq } from "./content.ts";

/** What is allowed beyond the one call: the tool, or the tool with this very input; in the session, or for its requester. */
export const remember = z.object({ what: z.enum(["tool", "input"]), for: z.enum(["session", "user"]) });
export type Remember = z.infer<typeof remember>;

/** Fields of a request that say who may answer it and how; each of `who` must allow an answerer. */
export const terms = {
  who: z.array(answerers).optional(),
  /** How many must approve; 1 when absent. */
  count: z.int().min(1).optional(),
  notRequester: z.literal(true).optional(),
  editable: z.literal(true).optional(),
  remember: z.literal(true).optional(),
};

/** `admin`: by a right that is not membership. */
export const allower = z.object({ user: actor, admin: z.literal(true).optional() });
export type Allower = z.infer<typeof allower>;

/** An approval that alone did not complete its rule. */
export const givenAnswer = allower.extend({
  seq,
  at: milliseconds,
  input: json.optional(),
  reason: z.string().optional(),
  remember: remember.optional(),
});
export type GivenAnswer = z.infer<typeof givenAnswer>;

/** What calls of a tool need no new approval, as long as those who gave it could still give it. */
export const allowance = z.object({
  allowance: id,
  request: id,
  tool: z.string(),
  /** Absent: any. */
  input: json.optional(),
  /** Whose runs; absent: everybody's in the session. */
  user: id.optional(),
  /** In every session of that user. */
  everywhere: z.literal(true).optional(),
  by: z.array(allower),
  seq,
  at: milliseconds,
});
export type Allowance = z.infer<typeof allowance>;

/** Somebody who is attached to a session, and what they do there. */
export const presentUser = z.object({
  id,
  name: z.string(),
  connections: z.int(),
  typing: z.boolean().optional(),
  viewing: id.optional(),
});

export const question = z.object({
  id: z.string().min(1).max(64),
  text: z.string().min(1).max(2000),
  kind: z.enum(["text", "choice", "choices"]),
  options: z.array(z.string().min(1).max(200)).min(1).max(32).optional(),
  /** True unless told. */
  required: z.boolean().optional(),
});
export type Question = z.infer<typeof question>;

/** The input of the tool `ask`, and the subject of a question. `to`: the one user who may answer. */
export const questions = z.object({
  questions: z.array(question).min(1).max(16),
  to: id.optional(),
});
export type Questions = z.infer<typeof questions>;
