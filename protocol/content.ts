/**
 * The values that frames and entries are made of: identifiers, actors, message parts, tools, usage. Owns their zod
 * schemas; the types are inferred. Never imported as a value by the browser, which takes the types only.
 */
import { z } from "zod";
import { SESSION_ID } from "./ids.ts";

/** Any JSON value. The scan has bounded it before zod sees it, so it is not walked again here. */
export type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue };
export const json = z.custom<JsonValue>((value) => value !== undefined, {
  message: "a JSON value is required",
});

export const sessionId = z.string().regex(SESSION_ID, "1–64 of A-Z a-z 0-9 _ -");
/** Ids of runs, inputs, messages, calls, requests, and the names of agents and tools. */
export const id = z.string().min(1).max(128);
/** A user. Members are keyed by it, and the wire has no key `__proto__`. */
export const userId = id.refine((value) => value !== "__proto__", "no user is named __proto__");
/** The name of an agent or a tool: what every model provider accepts. */
export const toolName = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, "1–64 of A-Z a-z 0-9 _ -");
export const seq = z.int().min(0);
export const epoch = z.int().min(0);
export const milliseconds = z.int().min(0);

export const position = z.object({ epoch, seq });
export type Position = z.infer<typeof position>;

export const role = z.enum(["owner", "editor", "approver", "viewer"]);
export type Role = z.infer<typeof role>;

/** `hash`: of the token's secret, SHA-256 in base64url; the secret itself is nowhere kept. `uses`: how many are left. */
export const openInvite = z.object({
  invite: id,
  role,
  hash: z.string().length(43),
  expiresAt: milliseconds,
  uses: z.int().min(1),
});
export type OpenInvite = z.infer<typeof openInvite>;

export const effect = z.enum(["pure", "idempotent", "once"]);
export type Effect = z.infer<typeof effect>;

/** Stamped by the server from the authenticated connection, never from a client's words. */
export const actor = z.object({
  kind: z.enum(["user", "agent", "provider", "system"]),
  id,
  name: z.string().max(256),
  verified: z.boolean(),
});
export type Actor = z.infer<typeof actor>;

export const usage = z.object({
  inputTokens: z.int().min(0),
  outputTokens: z.int().min(0),
  cachedInputTokens: z.int().min(0).optional(),
  reasoningTokens: z.int().min(0).optional(),
  /** Millionths of the currency of the server's prices. */
  cost: z.int().min(0).optional(),
});
export type Usage = z.infer<typeof usage>;

/** What a budget is counted in. */
export const budgetUnit = z.enum(["tokens", "cost"]);
export type BudgetUnit = z.infer<typeof budgetUnit>;
/** Whose use of models a budget bounds: a session's, a user's in all, or a user's on one UTC day. */
export const budgetScope = z.enum(["session", "user", "user-day"]);
export type BudgetScope = z.infer<typeof budgetScope>;

// --- Message parts: the shapes of the AI SDK's UIMessage ---

export const textPart = z.object({
  type: z.literal("text"),
  text: z.string(),
  truncated: z.literal(true).optional(),
});
export const reasoningPart = z.object({
  type: z.literal("reasoning"),
  text: z.string(),
  truncated: z.literal(true).optional(),
});
/** `url` is http(s) or a data URL. */
export const filePart = z.object({
  type: z.literal("file"),
  mediaType: z.string().min(1).max(256),
  filename: z.string().max(1024).optional(),
  url: z.string().regex(/^(https?:|data:)/, "an http, https or data URL"),
});
export const dataPart = z.object({
  type: z.templateLiteral(["data-", z.string()]),
  id: z.string().max(128).optional(),
  data: json,
});
export const outcome = z.enum([
  "ok",
  "error",
  "invalid-input",
  "invalid-output",
  "denied",
  "approval-expired",
  "unavailable",
  "timeout",
  "cancelled",
  "outcome-unknown",
]);
export type Outcome = z.infer<typeof outcome>;

/** `truncated`: the input or output did not fit where this part is shown; the log's entries have it whole. */
export const toolPart = z.object({
  type: z.literal("dynamic-tool"),
  toolName: z.string().max(256),
  toolCallId: id,
  state: z.enum([
    "input-streaming",
    "input-available",
    "approval-requested",
    "approval-responded",
    "output-available",
    "output-error",
    "output-denied",
  ]),
  input: json.optional(),
  output: json.optional(),
  errorText: z.string().optional(),
  approval: z.object({ id, approved: z.boolean().optional(), reason: z.string().optional() }).optional(),
  /** Once it has ended. `attempt` and `provider` if it was dispatched. */
  outcome: outcome.optional(),
  durationMs: milliseconds.optional(),
  attempt: z.int().min(1).optional(),
  provider: id.optional(),
  /** The session in which another agent does what the call asks for. */
  child: sessionId.optional(),
  truncated: z.literal(true).optional(),
});
export type TextPart = z.infer<typeof textPart>;
export type ReasoningPart = z.infer<typeof reasoningPart>;
export type FilePart = z.infer<typeof filePart>;
export type DataPart = z.infer<typeof dataPart>;
export type ToolPart = z.infer<typeof toolPart>;

export const messagePart = z.union([textPart, reasoningPart, toolPart, filePart, dataPart]);
export type MessagePart = z.infer<typeof messagePart>;

export const message = z.object({
  id,
  role: z.enum(["user", "assistant"]),
  author: actor,
  run: id.optional(),
  parts: z.array(messagePart),
});
export type Message = z.infer<typeof message>;

/** What a person may send: text, or parts of text, files and data. */
export const content = z.union([
  z.string().min(1),
  z
    .array(z.union([textPart, filePart, dataPart]))
    .min(1)
    .max(256),
]);
export type Content = z.infer<typeof content>;

export const sendMode = z.enum(["queue", "reject", "steer", "interrupt", "rollback"]);
export type SendMode = z.infer<typeof sendMode>;

/** Who may send to a session, and in which order it is taken. */
export const floorMode = z.enum(["open", "queue", "owner-only", "hand"]);
export type FloorMode = z.infer<typeof floorMode>;
/** `holder`: the user who may send, in the mode `hand`; absent: nobody may. */
export const floor = z.object({ mode: floorMode, holder: userId.optional() });
export type Floor = z.infer<typeof floor>;

// --- Tools ---

export const jsonSchema = z.record(z.string(), json);
export type JsonSchema = z.infer<typeof jsonSchema>;

/** Members with one of the roles, and the users named; with neither, those whom the kind of request asks by default. */
export const answerers = z.object({
  roles: z.array(role).min(1).max(4).optional(),
  users: z.array(userId).min(1).max(32).optional(),
});
export type Answerers = z.infer<typeof answerers>;

/** When people are asked before a call goes out, whom, and what they may do. A key that is not known is refused. */
export const approvalRule = z
  .strictObject({
    mode: z.enum(["never", "always", "when"]),
    /** With mode `when`: calls whose input fits are asked about. */
    when: jsonSchema.optional(),
    by: z
      .strictObject({
        ...answerers.shape,
        /** Whoever sent the run's input may not answer. */
        notRequester: z.boolean().optional(),
        /** How many different people must approve; one denial decides. */
        count: z.int().min(1).max(16).optional(),
      })
      .optional(),
    /** Then it counts as denied. 1 h unless told. */
    expiresInMs: z.int().min(1).max(2_592_000_000).optional(),
    /** Whoever approves may change the input. */
    editable: z.boolean().optional(),
    /** Whoever approves may have later calls allowed, too. */
    remember: z.boolean().optional(),
  })
  .refine((rule) => (rule.mode === "when") === (rule.when !== undefined), {
    path: ["when"],
    message: "a schema, with mode when and no other",
  });
export type ApprovalRule = z.infer<typeof approvalRule>;

export const toolSpecification = z.object({
  name: toolName,
  description: z.string().max(16_384).default(""),
  inputSchema: jsonSchema,
  outputSchema: jsonSchema.optional(),
  effect: effect.default("once"),
  timeoutMs: z.int().min(1).max(86_400_000).default(60_000),
  approval: approvalRule.optional(),
});
export type ToolSpecification = z.infer<typeof toolSpecification>;
/** The same before its defaults are filled in: what a provider writes. */
export type ToolOffer = z.input<typeof toolSpecification>;

/** What is said of a provider, and may be required of one. */
export const labels = z.record(z.string().max(64), z.string().max(256));
export type Labels = Readonly<z.infer<typeof labels>>;

export const verdict = z.enum(["stored", "duplicate", "stale", "unknown"]);
export type Verdict = z.infer<typeof verdict>;

export const callError = z.object({ code: z.string().min(1).max(64), message: z.string().max(65_536) });
export type CallError = z.infer<typeof callError>;

export const finishReason = z.enum(["stop", "tool-calls", "length", "content-filter", "error", "other"]);
export type FinishReason = z.infer<typeof finishReason>;

export const runReason = z.enum([
  "text",
  "no-action",
  "max-steps",
  "max-tokens",
  "content-filter",
  "cancelled",
  "deadline",
  "error",
  "interrupted",
]);
export type RunReason = z.infer<typeof runReason>;

/**
 * Where a session was made in which an agent does another's task: the open call, by the agent that gave it. `input`: the
 * task; `depth`: 1 below a session that people made; `deadlineAt`: when the time of the run is over that waits for it.
 */
export const parentLink = z.object({
  session: sessionId,
  run: id,
  call: id,
  agent: id,
  input: id,
  depth: z.int().min(1),
  deadlineAt: milliseconds,
});
export type ParentLink = z.infer<typeof parentLink>;

export const sessionStatus = z.enum(["idle", "running", "waiting", "closed"]);

/** How a session stands, as lists and snapshots show it. Metadata over 4 KiB is left out of lists. */
export const sessionInfo = z.object({
  id: sessionId,
  agent: id,
  owner: id,
  title: z.string().optional(),
  metadata: json.optional(),
  createdAt: milliseconds,
  updatedAt: milliseconds,
  state: sessionStatus,
  queued: z.int(),
  requests: z.int(),
  /** That were said; absent: none. */
  messages: z.int().min(0).optional(),
  /** Of them, those that whoever asks has not marked as read; in lists only. */
  unread: z.int().min(0).optional(),
  /** How the last run ended that failed, until the next one begins. */
  failed: runReason.optional(),
  forkedFrom: z.object({ session: sessionId, at: seq }).optional(),
  parent: parentLink.optional(),
  /** Of all its models since it began; absent: nothing yet. */
  usage: usage.optional(),
});
export type SessionInfo = z.infer<typeof sessionInfo>;
