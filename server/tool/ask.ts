/**
 * The tool `ask`, whose executor is the people of the session. Owns what an agent may ask and which answers fit; who may
 * answer and how long is asked is approval.ts's and request.ts's. No provider may offer its name.
 */
import type { JsonValue, ToolSpecification } from "../../protocol/content.ts";
import { ProtocolError } from "../../protocol/errors.ts";
import { questions } from "../../protocol/people.ts";
import type { Question, Questions } from "../../protocol/people.ts";

const MAX_TEXT = 16_384;

export const ASK: ToolSpecification = {
  name: "ask",
  description:
    "Asks the people in this conversation and waits for their answers. kind: text (free text), choice (one of the " +
    "options) or choices (any of them). to: the id of the one user who is asked; absent, whoever may answer.",
  effect: "once",
  timeoutMs: 60_000,
  inputSchema: {
    type: "object",
    required: ["questions"],
    additionalProperties: false,
    properties: {
      questions: {
        type: "array",
        minItems: 1,
        maxItems: 16,
        items: {
          type: "object",
          required: ["id", "text", "kind"],
          additionalProperties: false,
          properties: {
            id: { type: "string", minLength: 1, maxLength: 64 },
            text: { type: "string", minLength: 1, maxLength: 2000 },
            kind: { enum: ["text", "choice", "choices"] },
            options: {
              type: "array",
              minItems: 1,
              maxItems: 32,
              uniqueItems: true,
              items: { type: "string", minLength: 1, maxLength: 200 },
            },
            required: { type: "boolean" },
          },
        },
      },
      to: { type: "string", minLength: 1, maxLength: 128 },
    },
  },
};

/** The questions of a call, or what is wrong with them beyond the schema. */
export function readQuestions(input: JsonValue): Questions | string {
  const { data, error } = questions.safeParse(input);
  if (data === undefined) return error?.issues[0]?.message ?? "no questions";
  const ids = data.questions.map(({ id }) => id);
  if (new Set(ids).size < ids.length) return "two questions have the same id";
  if (ids.includes("__proto__")) return "no question is named __proto__";
  const wrong = data.questions.find(({ kind, options }) => (kind === "text") !== (options === undefined));
  return wrong === undefined
    ? data
    : `question ${wrong.id}: options are for choice and choices, which need them`;
}

/** Throws ProtocolError `bad-frame` for answers that do not fit: `{id: text, or list of options for choices}`. */
export function checkAnswers({ questions: asked }: Questions, answers: JsonValue): void {
  if (typeof answers !== "object" || answers === null || Array.isArray(answers))
    throw unfit("an object from the questions' ids");
  for (const id of Object.keys(answers))
    if (!asked.some((item) => item.id === id)) throw unfit(`nobody asked ${JSON.stringify(id)}`);
  for (const item of asked) {
    const given = Object.hasOwn(answers, item.id) ? answers[item.id] : undefined;
    if (given !== undefined) checkAnswer(item, given);
    else if (item.required !== false) throw unfit(`${item.id} is not answered`);
  }
}

function checkAnswer({ id, kind, options = [], required }: Question, given: JsonValue): void {
  const isOption = (value: JsonValue): boolean => typeof value === "string" && options.includes(value);
  if (kind === "text") {
    if (typeof given !== "string" || given.length > MAX_TEXT)
      throw unfit(`${id}: text of at most ${MAX_TEXT}`);
    if (required !== false && given.trim() === "") throw unfit(`${id} is not answered`);
  } else if (kind === "choice") {
    if (!isOption(given)) throw unfit(`${id}: one of its options`);
  } else {
    const fits = Array.isArray(given) && given.every(isOption) && new Set(given).size === given.length;
    if (!fits) throw unfit(`${id}: a list of its options, none twice`);
    if (required !== false && given.length === 0) throw unfit(`${id} is not answered`);
  }
}

function unfit(message: string): ProtocolError {
  return new ProtocolError("bad-frame", `answers: ${message}`);
}
