/**
 * Every frame of the wire as zod schemas: client → server requests and notices, server → client frames, and what the
 * `ok` of each request carries. Owns shapes; order, limits and meaning are in SPEC.md. Entries live in entries.ts.
 */
import { z } from "zod";
import { eventFrame } from "./entries.ts";
import {
  actor,
  callError,
  content,
  epoch,
  floor,
  id,
  json,
  labels,
  milliseconds,
  position,
  role,
  sendMode,
  seq,
  sessionId,
  sessionInfo,
  toolName,
  toolSpecification,
  usage,
  userId,
  verdict,
} from "./content.ts";
import { ERROR_CODES } from "./errors.ts";
import { presentUser, remember } from "./people.ts";
import {
  backedUp,
  dayUsage,
  importedEntry,
  listedAgent,
  listedAllowance,
  listedRequest,
  listedTool,
  searchHit,
  sessionFilter,
  tally,
  userBudget,
} from "./lists.ts";
import { historyMessage, partial, partKind, sessionState } from "./standing.ts";
import { MAX_TAIL } from "./version.ts";

export * from "./lists.ts";
export * from "./standing.ts";

const requestId = z.int().min(0).max(0xffff_ffff);
const attempt = z.int().min(1);
const limit = z.int().min(1).max(200);
const cursor = z.string().max(512);
const paging = { cursor: cursor.optional(), limit: limit.optional() };
const title = z.string().max(1024);

function request<T extends string, S extends z.ZodRawShape>(type: T, shape: S) {
  return z.object({ type: z.literal(type), id: requestId, ...shape });
}

// --- client → server ---

export const requests = {
  hello: z.object({
    type: z.literal("hello"),
    id: requestId.optional(),
    protocol: z.int(),
    instance: z.string().min(1).max(64).optional(),
    token: z.string().max(8192).optional(),
    user: z.object({ id: userId, name: z.string().max(256).optional() }).optional(),
    client: z.object({ name: z.string().max(128), version: z.string().max(64).optional() }).optional(),
  }),
  createSession: request("createSession", {
    agent: id,
    session: sessionId.optional(),
    title: title.optional(),
    metadata: json.optional(),
    key: id.optional(),
  }),
  attach: request("attach", {
    session: sessionId,
    after: position.optional(),
    tail: z.int().min(0).max(MAX_TAIL).optional(),
  }),
  detach: request("detach", { session: sessionId }),
  close: request("close", { session: sessionId }),
  deleteSession: request("deleteSession", { session: sessionId }),
  send: request("send", {
    session: sessionId,
    key: id,
    content,
    mode: sendMode.optional(),
    agent: id.optional(),
  }),
  editInput: request("editInput", { session: sessionId, input: id, content }),
  withdrawInput: request("withdrawInput", { session: sessionId, input: id }),
  orderInputs: request("orderInputs", { session: sessionId, inputs: z.array(id).min(1).max(1000) }),
  cancel: request("cancel", { session: sessionId, run: id, rollback: z.literal(true).optional() }),
  listSessions: request("listSessions", { ...sessionFilter.shape, ...paging }),
  search: request("search", { ...sessionFilter.shape, text: z.string().min(1).max(256), ...paging }),
  listRequests: request("listRequests", paging),
  listAllowances: request("listAllowances", paging),
  watch: request("watch", { sessions: sessionFilter.optional(), requests: z.literal(true).optional() }),
  unwatch: request("unwatch", {}),
  history: request("history", { session: sessionId, ...paging }),
  listAgents: request("listAgents", paging),
  putAgent: request("putAgent", { agent: z.record(z.string(), json) }),
  removeAgent: request("removeAgent", { name: toolName }),
  listTools: request("listTools", { session: sessionId.optional(), ...paging }),
  updateSession: request("updateSession", {
    session: sessionId,
    title: title.optional(),
    metadata: json.optional(),
  }),
  compact: request("compact", { session: sessionId }),
  fork: request("fork", {
    session: sessionId,
    at: seq.optional(),
    newSession: sessionId.optional(),
    key: id.optional(),
  }),
  retry: request("retry", { session: sessionId, run: id, key: id }),
  offerTools: request("offerTools", {
    tools: z.array(toolSpecification).max(256),
    session: sessionId.optional(),
    labels: labels.optional(),
    maxConcurrent: z.int().min(1).max(10_000).optional(),
    working: z
      .array(z.object({ session: sessionId, call: id, attempt }))
      .max(10_000)
      .optional(),
  }),
  withdrawTools: request("withdrawTools", { names: z.array(toolName).max(256).optional() }),
  drain: request("drain", {}),
  drainProvider: request("drainProvider", { provider: id }),
  answer: request("answer", {
    session: sessionId,
    request: id,
    decision: z.enum(["approve", "deny"]).optional(),
    answers: json.optional(),
    reason: z.string().max(4096).optional(),
    input: json.optional(),
    remember: remember.optional(),
  }),
  forget: request("forget", { session: sessionId, allowance: id }),
  grant: request("grant", { session: sessionId, user: userId, role }),
  revoke: request("revoke", { session: sessionId, user: userId }),
  invite: request("invite", {
    session: sessionId,
    role,
    expiresInMs: z.int().min(1).max(31_536_000_000).optional(),
    uses: z.int().min(1).max(1000).optional(),
  }),
  revokeInvite: request("revokeInvite", { session: sessionId, invite: id }),
  join: request("join", { token: z.string().max(512) }),
  markRead: request("markRead", { session: sessionId, seq: seq.optional() }),
  setFloor: request("setFloor", { session: sessionId, ...floor.shape }),
  passFloor: request("passFloor", { session: sessionId, to: userId.optional() }),
  setPresence: request("setPresence", {
    session: sessionId,
    typing: z.boolean().optional(),
    viewing: id.optional(),
  }),
  refreshToken: request("refreshToken", { token: z.string().max(8192) }),
  usage: request("usage", { user: userId.optional() }),
  backup: request("backup", { cursor: cursor.optional() }),
  importEntries: request("importEntries", {
    session: sessionId,
    after: seq,
    entries: z.array(importedEntry).max(1000),
    last: z.literal(true).optional(),
  }),
} as const;

/** Client → server frames that have no id and get no `ok`. */
export const notices = {
  callAccepted: z.object({ type: z.literal("callAccepted"), session: sessionId, call: id, attempt }),
  callProgress: z.object({
    type: z.literal("callProgress"),
    session: sessionId,
    call: id,
    attempt,
    progress: json,
  }),
  callResult: z.object({
    type: z.literal("callResult"),
    session: sessionId,
    call: id,
    attempt,
    output: json.optional(),
    error: callError.optional(),
  }),
  pong: z.object({ type: z.literal("pong") }),
} as const;

export const clientFrames = { ...requests, ...notices } as const;

export type RequestType = keyof typeof requests;
export type NoticeType = keyof typeof notices;
export type ClientFrameType = keyof typeof clientFrames;
export type ClientFrameOf<T extends ClientFrameType> = z.infer<(typeof clientFrames)[T]>;
/** The same before the schema fills in defaults: what a client writes. */
export type ClientFrameInputOf<T extends ClientFrameType> = z.input<(typeof clientFrames)[T]>;
export type ClientFrame = { [T in ClientFrameType]: ClientFrameOf<T> }[ClientFrameType];
export type ClientFrameInput = { [T in ClientFrameType]: ClientFrameInputOf<T> }[ClientFrameType];

// --- server → client ---

const partNumber = z.int().min(0);
const channel = z.int().min(0);

export const serverFrames = {
  welcome: z.object({
    type: z.literal("welcome"),
    id: requestId.optional(),
    protocol: z.literal(1),
    connection: id,
    user: z.object({ id, name: z.string() }),
    node: z.string(),
    pingMs: z.int(),
    limits: z.object({ maxFrame: z.int(), maxInFlight: z.int(), maxPayload: z.int(), maxQueue: z.int() }),
    features: z.array(z.string()),
  }),
  ok: z.looseObject({ type: z.literal("ok"), id: requestId }),
  error: z.object({
    type: z.literal("error"),
    id: requestId.optional(),
    code: z.enum(ERROR_CODES),
    message: z.string(),
    retryable: z.boolean(),
    retryAfterMs: z.int().min(0).optional(),
    details: z.record(z.string(), json).optional(),
  }),
  event: eventFrame,
  part: z.object({
    type: z.literal("part"),
    channel,
    message: id,
    part: partNumber,
    kind: partKind,
    call: id.optional(),
    tool: z.string().optional(),
  }),
  delta: z.object({
    type: z.literal("delta"),
    channel,
    message: id,
    part: partNumber,
    offset: z.int().min(0),
    text: z.string(),
  }),
  live: z.object({ type: z.literal("live"), session: sessionId, epoch, seq, partial: partial.optional() }),
  detached: z.object({
    type: z.literal("detached"),
    session: sessionId,
    reason: z.enum(["deleted", "forbidden", "position-lost", "unavailable"]),
  }),
  call: z.object({
    type: z.literal("call"),
    session: sessionId,
    call: id,
    attempt,
    run: id,
    agent: id,
    tool: toolName,
    input: json,
    actor,
    timeoutMs: z.int(),
  }),
  callCancel: z.object({
    type: z.literal("callCancel"),
    session: sessionId,
    call: id,
    attempt,
    reason: z.string(),
  }),
  resultAck: z.object({ type: z.literal("resultAck"), session: sessionId, call: id, attempt, verdict }),
  presence: z.object({
    type: z.literal("presence"),
    session: sessionId,
    users: z.array(presentUser),
    people: z.int().min(0).optional(),
    connections: z.int().min(0).optional(),
  }),
  toolProgress: z.object({
    type: z.literal("toolProgress"),
    session: sessionId,
    call: id,
    attempt,
    progress: json,
  }),
  sessionChanged: z.object({
    type: z.literal("sessionChanged"),
    session: sessionId,
    info: sessionInfo.optional(),
  }),
  readMarked: z.object({
    type: z.literal("readMarked"),
    session: sessionId,
    seq,
    messages: z.int().min(0),
  }),
  requestChanged: z.object({
    type: z.literal("requestChanged"),
    session: sessionId,
    request: id,
    open: listedRequest.optional(),
    decision: z.enum(["approve", "deny", "expired", "cancelled"]).optional(),
  }),
  watchEnded: z.object({ type: z.literal("watchEnded"), reason: z.enum(["lagging", "rights"]) }),
  ping: z.object({ type: z.literal("ping") }),
  authExpiring: z.object({ type: z.literal("authExpiring"), expiresAt: milliseconds }),
  goaway: z.object({
    type: z.literal("goaway"),
    code: z.int(),
    reconnectAfterMs: z.tuple([z.int().min(0), z.int().min(0)]),
  }),
  disconnect: z.object({
    type: z.literal("disconnect"),
    code: z.int(),
    reason: z.string(),
    reconnect: z.boolean(),
  }),
} as const;

export type ServerFrameType = keyof typeof serverFrames;
export type ServerFrameOf<T extends ServerFrameType> = z.infer<(typeof serverFrames)[T]>;
export type ServerFrame = { [T in ServerFrameType]: ServerFrameOf<T> }[ServerFrameType];

// --- what `ok` carries, by request ---

const committed = z.object({ seq });
const sent = z.object({ seq, input: id, position: z.int().min(0), duplicate: z.boolean() });
const page = <T extends z.ZodType>(item: T) => z.object({ items: z.array(item), cursor: cursor.optional() });

export const results = {
  createSession: z.object({ session: sessionId, epoch, seq }),
  attach: z.object({
    session: sessionInfo,
    role: role.optional(),
    channel,
    epoch,
    head: seq,
    mode: z.enum(["events", "snapshot"]),
    snapshot: z.object({ epoch, seq, state: sessionState }).optional(),
  }),
  detach: z.object({}),
  close: committed,
  deleteSession: z.object({}),
  send: sent,
  editInput: committed,
  withdrawInput: committed,
  orderInputs: committed,
  cancel: z.object({ seq: seq.optional(), state: z.enum(["cancelling", "finished"]) }),
  listSessions: page(sessionInfo),
  search: page(searchHit),
  listRequests: page(listedRequest),
  listAllowances: page(listedAllowance),
  watch: z.object({}),
  unwatch: z.object({}),
  history: page(historyMessage),
  listAgents: page(listedAgent),
  putAgent: z.object({ version: z.int().min(0) }),
  removeAgent: z.object({}),
  listTools: page(listedTool),
  updateSession: committed,
  compact: committed,
  fork: z.object({ session: sessionId }),
  retry: sent,
  offerTools: z.object({ accepted: z.array(toolName) }),
  withdrawTools: z.object({}),
  drain: z.object({}),
  drainProvider: z.object({}),
  answer: committed,
  forget: committed,
  grant: committed,
  revoke: committed,
  invite: z.object({ seq, invite: id, token: z.string(), expiresAt: milliseconds }),
  revokeInvite: committed,
  join: z.object({ session: sessionId, role, seq }),
  markRead: z.object({ seq, unread: z.int().min(0) }),
  setFloor: committed,
  passFloor: committed,
  setPresence: z.object({}),
  refreshToken: z.object({}),
  usage: z.object({ user: id, total: usage, days: z.array(dayUsage), budget: userBudget.optional() }),
  backup: z.object({
    sessions: z.array(backedUp),
    tallies: z.array(tally).optional(),
    cursor: cursor.optional(),
  }),
  importEntries: committed,
} as const satisfies Record<Exclude<RequestType, "hello">, z.ZodType>;
export type ResultOf<T extends keyof typeof results> = z.infer<(typeof results)[T]>;
